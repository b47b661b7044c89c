#include "eigenformer/kernels/detail/rows/entrywise.hpp"

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Matrix;
using namespace ef::testing;

namespace {

struct Square {
  template <class Scalar>
  static detail::RowPiece<Scalar> value(const detail::RowPiece<Scalar>& x) {
    return x * x;
  }
  template <class Scalar>
  static detail::RowPiece<Scalar> derivative(const detail::RowPiece<Scalar>& x) {
    return x + x;
  }
};

}  // namespace

TEMPLATE_TEST_CASE("a function and its derivative are applied to each entry", "[kernels]", float, double) {
  ef::Rng rng(6);
  for (const ef::Shape& s : odd_shapes()) {
    CAPTURE(s.rows, s.cols);
    const auto x = random_matrix<TestType>(s.rows, s.cols, rng), d_y = random_matrix<TestType>(s.rows, s.cols, rng);
    CHECK(identical<TestType>(detail::applied<Square>("square", x, nullptr), x.cwiseProduct(x)));
    Matrix<TestType> d_x = d_y;
    ef::MatrixRef<TestType> in_place = d_x;
    detail::apply_backward<Square, TestType>("square", x, d_x, in_place, nullptr);
    CHECK(identical<TestType>(d_x, d_y.cwiseProduct(x + x)));
  }
}

TEST_CASE("a function of each entry names what does not fit", "[kernels]") {
  const Matrix<float> x = Matrix<float>::Zero(2, 3);
  Matrix<float> wrong(3, 2);
  ef::MatrixRef<float> y = wrong;
  CHECK(message_of([&] { detail::apply<Square, float>("square", x, y, nullptr); }) ==
        "square: y is [3 x 2], expected [2 x 3]");
}
