#include "eigenformer/autograd/variable.hpp"

#include <utility>

#include "eigenformer/autograd/tape.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;

namespace {

template <class T>
concept Viewable = requires(T&& x) {
  ef::Variable<float>::view(std::forward<T>(x));
};

// Temporaries would not outlive the view.
static_assert(Viewable<ef::Matrix<float>&> && Viewable<const ef::Matrix<float>&>);
static_assert(!Viewable<ef::Matrix<float>> && !Viewable<const ef::Matrix<float>>);

}  // namespace

TEST_CASE("a variable copies the matrix that it is made from", "[autograd]") {
  Eigen::MatrixXd a = Eigen::MatrixXd::Random(3, 4);  // column-major
  const Eigen::MatrixXd before = a;
  const ef::Variable<double> x = a;
  a.setZero();
  REQUIRE(x.value() == before);
  REQUIRE(!x.requires_grad());
  REQUIRE(ef::shape(x) == ef::Shape{3, 4});
  REQUIRE(x.size() == 12);

  const ef::Variable<double> expression = 2 * before.transpose();
  REQUIRE(expression.value() == 2 * before.transpose());
}

TEST_CASE("copies of a variable share its memory, and a temporary's value is a matrix of its own", "[autograd]") {
  const ef::Variable<float> x = Eigen::MatrixXf::Random(2, 2);
  const ef::Variable<float> y = x;
  REQUIRE(x.value().data() == y.value().data());
  static_assert(std::is_same_v<decltype(ef::Variable<float>(x).value()), ef::Matrix<float>>);
}

TEST_CASE("a view has no memory of its own", "[autograd]") {
  ef::Matrix<float> a = ef::Matrix<float>::Random(2, 3);
  const ef::Variable<float> x = ef::Variable<float>::view(a);
  REQUIRE(x.value().data() == a.data());
}

TEST_CASE("only a single number is a scalar", "[autograd]") {
  REQUIRE(ef::Variable<double>(Eigen::MatrixXd::Constant(1, 1, 7)).scalar() == 7);
  REQUIRE_THROWS_AS(ef::Variable<double>(Eigen::MatrixXd::Zero(2, 1)).scalar(), ef::Error);
  REQUIRE(ef::Variable<double>().size() == 0);
}

TEST_CASE("the rows of an empty tensor must fit an Index", "[autograd]") {
  constexpr ef::Index many = ef::Index(1) << 40;
  CHECK(ef::Variable<float>(ef::Tensor<float>({many, 0})).rows() == many);
  CHECK(ef::testing::message_of([] {
          ef::Variable<float>(ef::Tensor<float>({many, many, 0}));
        }) == "Tensor: the shape is [1099511627776 x 1099511627776], which has too many entries to count");
}

TEST_CASE("a variable that was moved from is empty", "[autograd]") {
  ef::Tape<double> tape;
  ef::Variable<double> x = tape.variable(ef::Tensor<double>({2, 3, 4}, 1));
  ef::Variable<double> y = std::move(x);
  CHECK(x.size() == 0);  // NOLINT(bugprone-use-after-move): what the test is about
  CHECK(!x.is_tensor());
  CHECK(!x.requires_grad());
  CHECK(y.sizes() == ef::Sizes{2, 3, 4});
  CHECK(y.requires_grad());
  x = std::move(y);
  CHECK(x.sizes() == ef::Sizes{2, 3, 4});
  CHECK(y.size() == 0);  // NOLINT(bugprone-use-after-move)
  ef::Variable<double>& same = x;
  x = std::move(same);
  CHECK(x.sizes() == ef::Sizes{2, 3, 4});
  CHECK(x.value()(5, 3) == 1);
}
