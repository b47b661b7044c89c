// Tensors as matrices for row-wise kernels: the dimensions that a kernel works on become the columns.
#pragma once

#include <optional>
#include <type_traits>
#include <utility>

#include "eigenformer/tensors/detail/lines.hpp"
#include "eigenformer/tensors/reductions.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Which dimensions of a tensor are a matrix's columns. The others are its rows.
struct RowShape {
  /// Throws for a dimension that does not exist or is named twice. where: begins messages.
  RowShape(const char* where, const Sizes& shape, const Dimensions& columns) : kept(shape) {
    const int rank = shape.rank();
    const Sizes is_column = named_dimensions(where, columns.numbers(), rank);
    Sizes row_sizes;
    for (const Index part : {0, 1})
      for (int d = 0; d < rank; ++d) {
        if (is_column[d] != part) continue;
        in_order = in_order && d == order.rank();
        order.push_back(d);
        permuted.push_back(shape[d]);
        (part == 0 ? row_sizes : column_sizes).push_back(shape[d]);
        if (part == 1) kept[d] = 1;
      }
    inverse = order;
    for (int i = 0; i < rank; ++i) inverse[static_cast<int>(order[i])] = i;
    rows = count_of(row_sizes);
    cols = count_of(column_sizes);
  }

  Sizes order, inverse;  // the tensor's dimensions with the columns' last, and the way back
  Sizes permuted;        // the shape in that order
  Sizes column_sizes;    // of the columns' dimensions
  Sizes kept;            // the tensor's shape, with one entry in each of the columns' dimensions
  bool in_order = true;  // whether the columns' dimensions are the last
  Index rows = 1, cols = 1;
};

/// Returns a contiguous tensor, whose dimensions are in order, as a matrix of rows.
template <class Scalar>
MatrixMap<Scalar> matrix_of(Tensor<Scalar>& x, const RowShape& shape) {
  return MatrixMap<Scalar>(x.data(), shape.rows, shape.cols);
}
template <class Scalar>
ConstMatrixMap<Scalar> matrix_of(const Tensor<Scalar>& x, const RowShape& shape) {
  return ConstMatrixMap<Scalar>(x.data(), shape.rows, shape.cols);
}

/// A matrix whose rows are contiguous and equally spaced.
template <class Scalar>
using RowsMap = Eigen::Map<const Matrix<Scalar>, Eigen::Unaligned, Eigen::OuterStride<>>;

/// Returns how far apart a view's rows are, or nothing if they are not contiguous or not equally spaced. Eigen::Ref
/// takes an outer stride of 0 for a missing one, so repeated rows cannot be read in place.
template <class Scalar>
std::optional<Index> distance_of_rows(const TensorView<const Scalar>& x, const RowShape& shape) {
  if (x.size() == 0 || x.is_contiguous()) return shape.in_order ? std::optional(shape.cols) : std::nullopt;
  const TensorView<const Scalar> permuted = x.permute(shape.order);
  const auto flat = reshaped({permuted.shape(), permuted.strides()}, {shape.rows, shape.cols});
  if (!flat.has_value() || (shape.cols > 1 && flat->strides[1] != 1)) return std::nullopt;
  const Index distance = shape.rows == 1 ? shape.cols : flat->strides[0];
  return distance > 0 ? std::optional(distance) : std::nullopt;
}

/// Whether kernels take entries of this type, after they are converted to ComputeType.
template <class Scalar>
inline constexpr bool has_row_kernels =
    std::is_same_v<ComputeType<Scalar>, float> || std::is_same_v<ComputeType<Scalar>, double>;

/// A tensor, a view or an expression as a matrix of rows in the type that kernels compute with. Reads it in place where
/// that is possible. The argument must outlive it.
template <TensorLike X>
class RowOperand {
 public:
  using Scalar = ScalarOf<X>;
  using Compute = ComputeType<Scalar>;

  template <class Y>
  RowOperand(Y&& x, const RowShape& shape)
      : evaluated_(x), rows_(shape.rows), cols_(shape.cols), distance_(shape.cols) {
    static_assert(has_row_kernels<Scalar>,
                  "this function takes tensors of float, double or 16-bit floats: write cast<float>() of the tensor");
    if constexpr (std::is_same_v<Scalar, Compute>) {
      if (const std::optional<Index> distance = distance_of_rows(evaluated_.view(), shape); distance.has_value()) {
        data_ = evaluated_.view().data();
        distance_ = *distance;
        return;
      }
    }
    copy_ = evaluated_.view().permute(shape.order).template cast<Compute>();
    data_ = copy_.data();
  }
  RowsMap<Compute> matrix() const { return RowsMap<Compute>(data_, rows_, cols_, Eigen::OuterStride<>(distance_)); }

 private:
  Evaluated<X> evaluated_;
  Index rows_, cols_, distance_;
  const Compute* data_ = nullptr;
  Tensor<Compute> copy_;
};
template <class X>
RowOperand(X&&, const RowShape&) -> RowOperand<X>;

/// Returns rows as a tensor of the type and the order of dimensions that the caller has.
template <class Scalar, class Compute>
Tensor<Scalar> from_rows(Tensor<Compute> rows, const RowShape& shape) {
  if (!shape.in_order) return rows.permute(shape.inverse).template cast<Scalar>();
  if constexpr (std::is_same_v<Scalar, Compute>)
    return rows;
  else
    return rows.template cast<Scalar>();
}

/// Returns what kernel(from, to) writes. `from` and `to` are the same memory if x is a temporary tensor, or had to be
/// copied or computed first.
template <class X, class Kernel>
Tensor<ScalarOf<X>> map_rows(X&& x, const RowShape& shape, Kernel kernel) {
  using Scalar = ScalarOf<X>;
  using Compute = ComputeType<Scalar>;
  static_assert(has_row_kernels<Scalar>,
                "this function takes tensors of float, double or 16-bit floats: write cast<float>() of the tensor");
  constexpr bool is_temporary = std::is_same_v<X, Tensor<Compute>>;
  constexpr bool is_lazy = LazyTensor<std::remove_cvref_t<X>>;
  Tensor<Compute> rows;
  const auto run = [&](const ConstMatrixRef<Compute>& from) { kernel(from, matrix_of(rows, shape)); };
  if constexpr ((is_temporary || is_lazy) && std::is_same_v<Scalar, Compute>) {
    rows = std::forward<X>(x);
    if (!shape.in_order) rows = Tensor<Compute>(rows.permute(shape.order));
    run(matrix_of(rows, shape));
  } else {
    const Evaluated<X> evaluated(x);
    const TensorView<const Scalar>& view = evaluated.view();
    std::optional<Index> distance;
    if constexpr (std::is_same_v<Scalar, Compute>) {
      distance = distance_of_rows(view, shape);
      if (distance.has_value()) {
        rows = Tensor<Compute>::uninitialized(shape.permuted);
        run(RowsMap<Compute>(view.data(), shape.rows, shape.cols, Eigen::OuterStride<>(*distance)));
      }
    }
    if (!distance.has_value()) {
      rows = view.permute(shape.order).template cast<Compute>();
      run(matrix_of(rows, shape));
    }
  }
  return from_rows<Scalar>(std::move(rows), shape);
}

/// Throws unless a tensor has the expected shape.
inline void check_same_shape(const char* where, const char* name, const Sizes& given, const Sizes& expected) {
  check(given == expected, where, ": ", name, " is ", given, ", expected ", expected);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
