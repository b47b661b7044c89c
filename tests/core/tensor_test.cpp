#include "eigenformer/core/tensor.hpp"

#include <cstdint>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Tensor;
using ef::TensorView;

static_assert(std::is_convertible_v<TensorView<float>, TensorView<const float>>);
static_assert(!std::is_convertible_v<TensorView<const float>, TensorView<float>>);
static_assert(std::is_same_v<decltype(std::declval<const Tensor<float>&>()(0, 0)), const float&>);
static_assert(std::is_same_v<decltype(std::declval<Tensor<float>&>()(0, 0)), float&>);

namespace {

std::vector<float> counted(std::size_t size) {
  std::vector<float> values(size);
  std::iota(values.begin(), values.end(), 0.0F);
  return values;
}

// Entry by entry, whatever the strides.
template <class Derived>
bool shows(const TensorView<const typename Derived::Scalar>& view, const Eigen::DenseBase<Derived>& matrix) {
  if (view.dimension(0) != matrix.rows() || view.dimension(1) != matrix.cols()) return false;
  for (Index i = 0; i < matrix.rows(); ++i)
    for (Index j = 0; j < matrix.cols(); ++j)
      if (&view(i, j) != &matrix.derived().coeffRef(i, j)) return false;
  return true;
}

}  // namespace

TEST_CASE("a view of contiguous memory has the last dimension's elements next to each other", "[core]") {
  std::vector<float> values = counted(24);
  const TensorView<float> view(values.data(), {2, 3, 4});
  CHECK(view.strides() == ef::Sizes{12, 4, 1});
  CHECK(view.size() == 24);
  CHECK(view.dimension(1) == 3);
  CHECK(view.stride(0) == 12);
  for (Index i = 0; i < 2; ++i)
    for (Index j = 0; j < 3; ++j)
      for (Index k = 0; k < 4; ++k) CHECK(view(i, j, k) == static_cast<float>(12 * i + 4 * j + k));
  view(1, 2, 3) = -1;
  CHECK(values.back() == -1);
  const TensorView<const float> reading = view;
  CHECK(&reading(1, 1, 1) == &view(1, 1, 1));
  CHECK(reading.shape() == view.shape());
  CHECK(reading.strides() == view.strides());
}

TEST_CASE("a view of any strides, and its matrices", "[core]") {
  // [batch 2 x tokens 5 x heads 3 x width 4] in memory, seen as [batch x heads x tokens x width].
  std::vector<float> values = counted(2 * 5 * 3 * 4);
  const TensorView<float> view(values.data(), {2, 3, 5, 4}, {60, 4, 12, 1});
  for (Index b = 0; b < 2; ++b)
    for (Index h = 0; h < 3; ++h) {
      const auto matrix = view.matrix(b, h);
      REQUIRE(ef::shape(matrix) == ef::Shape{5, 4});
      for (Index t = 0; t < 5; ++t)
        for (Index w = 0; w < 4; ++w) {
          CHECK(view(b, h, t, w) == static_cast<float>(((b * 5 + t) * 3 + h) * 4 + w));
          CHECK(&matrix(t, w) == &view(b, h, t, w));
        }
    }
  const TensorView<float> by_columns(values.data(), {3, 4}, {1, 3});
  CHECK(by_columns.matrix() == Eigen::Map<Eigen::MatrixXf>(values.data(), 3, 4));
  const TensorView<const float> repeated(values.data() + 1, {3, 4}, {0, 1});
  CHECK(repeated.matrix().row(2) == Eigen::RowVector4f(1, 2, 3, 4));
  view.matrix(1, 2)(4, 3) = -1;
  CHECK(values.back() == -1);
}

TEST_CASE("views without elements", "[core]") {
  const TensorView<float> nothing;
  CHECK(nothing.size() == 0);
  CHECK(nothing.data() == nullptr);
  const TensorView<float> no_rows(nullptr, {2, 0, 4});
  CHECK(no_rows.size() == 0);
  CHECK(ef::shape(no_rows.matrix(1)) == ef::Shape{0, 4});
}

TEST_CASE("every matrix with memory is viewed as it lies", "[core]") {
  Eigen::MatrixXf by_columns = Eigen::MatrixXf::Random(6, 8);
  ef::Matrix<float> by_rows = by_columns;
  const Eigen::VectorXf vector = by_columns.col(1);
  const Eigen::RowVectorXf row_vector = by_columns.row(1);
  const Eigen::Matrix<float, 3, 2> fixed = by_columns.topLeftCorner<3, 2>();
  CHECK(shows(ef::strided_view(by_columns), by_columns));
  CHECK(shows(ef::strided_view(by_rows), by_rows));
  CHECK(shows(ef::strided_view(vector), vector));
  CHECK(shows(ef::strided_view(row_vector), row_vector));
  CHECK(shows(ef::strided_view(fixed), fixed));
  CHECK(shows(ef::strided_view(vector.transpose()), vector.transpose()));
  CHECK(shows(ef::strided_view(by_columns.transpose()), by_columns.transpose()));
  CHECK(shows(ef::strided_view(by_columns.row(2)), by_columns.row(2)));
  CHECK(shows(ef::strided_view(by_rows.col(2)), by_rows.col(2)));
  CHECK(shows(ef::strided_view(by_rows.block(1, 2, 3, 4).transpose()), by_rows.block(1, 2, 3, 4).transpose()));
  CHECK(shows(ef::strided_view(by_columns.diagonal()), by_columns.diagonal()));
  using Stride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
  const Eigen::Map<Eigen::MatrixXf, 0, Stride> spread(by_columns.data(), 3, 4, Stride(12, 2));
  CHECK(shows(ef::strided_view(spread), spread));
  CHECK(shows(ef::strided_view(spread.block(1, 1, 2, 3)), spread.block(1, 1, 2, 3)));
  CHECK(shows(ef::strided_view(by_rows.array()), by_rows.array()));
}

TEST_CASE("a tensor owns its memory", "[core]") {
  Tensor<float> tensor({2, 3, 4});
  CHECK(tensor.size() == 24);
  CHECK(tensor.shape() == ef::Sizes{2, 3, 4});
  CHECK(tensor.dimension(2) == 4);
  if (EIGEN_MAX_ALIGN_BYTES > 0)
    CHECK(reinterpret_cast<std::uintptr_t>(tensor.data()) % std::max(EIGEN_MAX_ALIGN_BYTES, 1) == 0);
  for (Index i = 0; i < 24; ++i) CHECK(tensor.data()[i] == 0);

  tensor(1, 2, 3) = 5;
  CHECK(tensor.data()[23] == 5);
  tensor.matrix(0)(1, 2) = 7;
  CHECK(tensor(0, 1, 2) == 7);
  Tensor<float> copy = tensor;
  copy(0, 0, 0) = 9;
  CHECK(tensor(0, 0, 0) == 0);
  const Tensor<float>& constant = tensor;
  CHECK(constant(0, 1, 2) == 7);
  CHECK(constant.matrix(1)(2, 3) == 5);
  CHECK(&constant.view()(1, 2, 3) == &tensor(1, 2, 3));
  CHECK(&tensor.view()(1, 2, 3) == &tensor(1, 2, 3));

  const float* data = tensor.data();
  const Tensor<float> moved = std::move(tensor);
  CHECK(moved.data() == data);
}

TEST_CASE("tensors without elements, and ones that cannot be", "[core]") {
  CHECK(Tensor<float>().size() == 0);
  CHECK(Tensor<double>({2, 3, 0, 4}).size() == 0);
  CHECK(ef::testing::message_of([] { Tensor<float>({2, -3}); }) == "Tensor: the shape is [2 x -3], expected sizes of 0 or more");
}
