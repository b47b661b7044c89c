#include "eigenformer/tensors/matmul.hpp"

#include <cstring>
#include <vector>

#include "eigenformer/core/thread_pool.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "tensors/tensor_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Sizes;
using ef::Tensor;
using ef::TensorView;
using ef::testing::broadcast_entry;
using ef::testing::entries_of;
using ef::testing::GuardedView;
using ef::testing::largest_difference;
using ef::testing::message_of;
using ef::testing::rounding;

namespace {

// The shapes of two operands and of their product, and the size of the sum.
struct MatmulCase {
  Sizes a, b, result;
  Index depth = 0;
  bool is_row = false, is_column = false;

  explicit MatmulCase(ef::Rng& rng) {
    const auto size = [&] { return rng.randint(12) == 0 ? 0 : 1 + rng.randint(9); };
    const Index m = size(), n = size();
    depth = size();
    is_row = rng.randint(5) == 0;
    is_column = rng.randint(5) == 0;
    const Sizes batch = ef::testing::random_shape(static_cast<int>(rng.randint(4)), rng);
    a = is_row ? Sizes() : ef::testing::random_broadcastable(batch, rng);
    b = is_column ? Sizes() : ef::testing::random_broadcastable(batch, rng);
    // A batch dimension that both operands lack is missing in the result; one of size 1 in both stays 1.
    for (int d = 0; d < batch.rank(); ++d) {
      const int of_a = d - batch.rank() + a.rank(), of_b = d - batch.rank() + b.rank();
      if (of_a < 0 && of_b < 0) continue;
      const bool is_one = (of_a < 0 || a[of_a] == 1) && (of_b < 0 || b[of_b] == 1);
      result.push_back(is_one ? 1 : batch[d]);
    }
    if (!is_row) {
      a.push_back(m);
      result.push_back(m);
    }
    a.push_back(depth);
    b.push_back(depth);
    if (!is_column) {
      b.push_back(n);
      result.push_back(n);
    }
  }

  template <class Scalar>
  double entry(const TensorView<Scalar>& x, const TensorView<Scalar>& y, const Sizes& index) const {
    Sizes of_x = index, of_y = index;
    if (!is_column) of_x.pop_back();
    if (!is_row) of_y.erase(of_y.rank() - (is_column ? 1 : 2));
    double sum = 0;
    for (Index k = 0; k < depth; ++k) {
      Sizes at_x = of_x, at_y = of_y;
      if (is_row) at_x = Sizes();
      at_x.push_back(k);
      if (is_column)
        at_y = Sizes{k};
      else
        at_y.insert(at_y.rank() - 1, k);
      sum += static_cast<double>(broadcast_entry(x, at_x)) * static_cast<double>(broadcast_entry(y, at_y));
    }
    return sum;
  }
};

}  // namespace

TEMPLATE_TEST_CASE("products of matrices in random views", "[tensors]", float, double, int, Eigen::bfloat16) {
  const int cases = std::is_same_v<TestType, float> ? 400 : 100;
  for (std::uint64_t seed = 0; seed < static_cast<std::uint64_t>(cases); ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    const MatmulCase shapes(rng);
    const GuardedView<TestType> a(shapes.a, rng), b(shapes.b, rng);
    CAPTURE(std::vector<Index>(shapes.a.begin(), shapes.a.end()), std::vector<Index>(shapes.b.begin(), shapes.b.end()));
    const double tolerance = std::is_same_v<TestType, Eigen::bfloat16> ? rounding<Eigen::bfloat16>(0.5) : 0;
    CHECK(largest_difference(matmul(a.view(), b.constant()), shapes.result,
                             [&](const Sizes& index) { return shapes.entry(a.view(), b.view(), index); }) <= tolerance);
  }
}

TEMPLATE_TEST_CASE("products of all ranks", "[tensors]", float, int, Eigen::bfloat16) {
  for (int of_a = 1; of_a <= Sizes::max_rank; ++of_a)
    for (int of_b = 1; of_b <= Sizes::max_rank; ++of_b) {
      CAPTURE(of_a, of_b);
      Sizes a = Sizes::of_rank(of_a, 2), b = Sizes::of_rank(of_b, 2), expected;
      a[of_a - 1] = 3;
      b[of_b == 1 ? 0 : of_b - 2] = 3;
      for (int d = 0; d < std::max(of_a, of_b) - 2; ++d) expected.push_back(2);
      if (of_a > 1) expected.push_back(2);
      if (of_b > 1) expected.push_back(2);
      const Tensor<TestType> product = matmul(Tensor<TestType>(a, TestType(2)), Tensor<TestType>(b, TestType(5)));
      CHECK(largest_difference(product, expected, [](const Sizes&) { return 30; }) == 0);
    }
}

TEST_CASE("products of expressions, temporaries and Eigen's matrices", "[tensors]") {
  const Eigen::MatrixXd a = Eigen::MatrixXd::Random(5, 7), b = Eigen::MatrixXd::Random(7, 3);
  CHECK(ef::testing::max_error(matmul(ef::strided_view(a), ef::strided_view(b)).matrix(), a * b) <=
        rounding<double>(8));
  const Tensor<double> x(a), y(b);
  CHECK(ef::testing::max_error(matmul(x * 2, Tensor<double>(b)).matrix(), 2 * a * b) <= rounding<double>(16));
  CHECK(ef::testing::max_error(matmul(y.transpose(), x.transpose()).matrix(), (a * b).transpose()) <=
        rounding<double>(8));
  CHECK(matmul(Tensor<Index>({2, 2}, 3), Tensor<Index>({2}, Index{1} << 40))(1) == 6 * (Index{1} << 40));
}

TEST_CASE("products of integers refuse a precision of bfloat16, as those of doubles do", "[tensors]") {
  const auto message = [](const auto& x) {
    return ef::testing::message_of([&] { matmul(x, x, {nullptr, ef::Precision::bfloat16}); });
  };
  const std::string of_doubles = message(Tensor<double>({2, 2}, 1.0));
  CHECK(of_doubles ==
        "matmul: the precision is bfloat16, but the matrices are not of floats; expected precision float32");
  CHECK(message(Tensor<int>({2, 2}, 1)) == of_doubles);
  CHECK(message(Tensor<std::uint8_t>(Sizes::of_rank(8, 1))) == of_doubles);
  CHECK(message(Tensor<float>({2, 2}, 1.0F)) == "nothing was thrown");
  CHECK(message(Tensor<Eigen::half>({2, 2}, Eigen::half(1))) == "nothing was thrown");
  CHECK(matmul(Tensor<std::uint64_t>({1, 2}, std::uint64_t{1} << 62), Tensor<std::uint64_t>({2}, 1))(0) ==
        std::uint64_t{1} << 63);
}

TEST_CASE("larger products do not depend on threads", "[tensors][threads]") {
  ef::ThreadPool threads(3);
  ef::Rng rng(3);
  const auto random = [&](const Sizes& shape) {
    Tensor<float> x(shape);
    for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(rng.normal());
    return x;
  };
  const auto check_product = [&](const TensorView<const float>& a, const TensorView<const float>& b) {
    const Tensor<float> alone = matmul(a, b), together = matmul(a, b, &threads);
    REQUIRE(alone.shape() == together.shape());
    CHECK(std::memcmp(alone.data(), together.data(), static_cast<std::size_t>(alone.size()) * sizeof(float)) == 0);
    for (Index batch = 0; batch < (alone.rank() == 3 ? alone.dimension(0) : 1); ++batch) {
      const auto of = [&](const TensorView<const float>& x) {
        return Eigen::MatrixXd((x.rank() == 3 ? x.matrix(batch) : x.matrix()).cast<double>());
      };
      CHECK(ef::testing::max_error(of(alone), of(a) * of(b)) <= rounding<float>(400));
    }
  };
  const Tensor<float> a = random({150, 130}), b = random({130, 140});
  check_product(a, b);
  check_product(b.transpose(), a.transpose());
  const Tensor<float> many = random({12, 33, 65}), other = random({65, 12, 47});
  check_product(many, other.transpose(0, 1));
  check_product(many.slice(2, {.step = -1}), other.transpose(0, 1));
  check_product(many.select(0, 0).unsqueeze(0).expand({12, 33, 65}), other.transpose(0, 1));
  const Tensor<float> tall = random({3, 65, 33}), wide = random({3, 65, 47});
  check_product(tall.transpose(), wide);
}

TEST_CASE("products of nothing, and sums of nothing", "[tensors]") {
  CHECK(matmul(Tensor<float>({0, 3}), Tensor<float>({3, 4})).shape() == Sizes{0, 4});
  CHECK(matmul(Tensor<float>({2, 3}), Tensor<float>({3, 0})).shape() == Sizes{2, 0});
  CHECK(entries_of(matmul(Tensor<float>({2, 0}), Tensor<float>({0, 2}))) == std::vector<float>{0, 0, 0, 0});
  CHECK(entries_of(matmul(Tensor<int>({2, 0}), Tensor<int>({0}))) == std::vector<int>{0, 0});
  CHECK(matmul(Tensor<float>({0}), Tensor<float>({0})).item() == 0);
  CHECK(matmul(Tensor<float>({0, 2, 3}), Tensor<float>({3, 4})).shape() == Sizes{0, 2, 4});
  CHECK(matmul(Tensor<float>({0, 2, 3}), Tensor<float>({1, 3, 4})).shape() == Sizes{0, 2, 4});
}

TEST_CASE("operands of a product that do not fit", "[tensors]") {
  const Tensor<float> x({2, 3}), scalar({}, 1.0F);
  CHECK(
      message_of([&] { matmul(x, x); }) ==
      "matmul: a is [2 x 3], b is [2 x 3], expected [.. x m x k] and [.. x k x n], whose leading sizes are equal or 1");
  CHECK(message_of([&] { matmul(x, Tensor<float>({2})); }) ==
        "matmul: a is [2 x 3], b is [2], expected [.. x m x k] and [.. x k x n], whose leading sizes are equal or 1");
  CHECK(message_of([&] { matmul(Tensor<float>({3}), x); }) ==
        "matmul: a is [3], b is [2 x 3], expected [.. x m x k] and [.. x k x n], whose leading sizes are equal or 1");
  CHECK(message_of([&] { matmul(scalar, x); }) == "matmul: a is [], b is [2 x 3], expected one dimension or more");
  CHECK(message_of([&] { matmul(x, scalar); }) == "matmul: a is [2 x 3], b is [], expected one dimension or more");
  CHECK(message_of([&] {
          matmul(Tensor<float>({2, 3, 4}), Tensor<float>({3, 4, 2}));
        }) ==
        "matmul: a is [2 x 3 x 4], b is [3 x 4 x 2], expected [.. x m x k] and [.. x k x n], whose leading sizes are "
        "equal or 1");
}
