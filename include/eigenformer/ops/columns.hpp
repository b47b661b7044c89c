// Differentiable slicing and concatenation of columns.
#pragma once

#include "eigenformer/autograd/context.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns columns first .. first + count - 1 of x: [rows x count]. If x is a tensor, the result is a tensor with this
/// range of the last dimension. Throws if x has no such columns.
template <class Scalar>
Variable<Scalar> columns(const Context<Scalar>& context, const Variable<Scalar>& x, Index first, Index count) {
  check(first >= 0 && count >= 0 && count <= x.cols() - first, "columns: ", count, " columns from column ", first,
        " on, expected a range inside ", shape(x));
  if (count == x.cols()) return x;
  Variable<Scalar> y = context.new_rows(x, count);
  y.writable() = x.value().middleCols(first, count);
  return context.record(std::move(y), {x}, [x, first, count](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) {
      d_x.leftCols(first).setZero();
      d_x.middleCols(first, count) = d_y.value();
      d_x.rightCols(d_x.cols() - first - count).setZero();
    });
  });
}

/// Returns [a b]: the columns of a, then those of b, as a matrix. Throws if the numbers of rows differ.
template <class Scalar>
Variable<Scalar> concat_columns(const Context<Scalar>& context, const Variable<Scalar>& a, const Variable<Scalar>& b) {
  check(a.rows() == b.rows(), "concat_columns: a is ", shape(a), ", b is ", shape(b));
  Variable<Scalar> y = context.new_matrix(a.rows(), a.cols() + b.cols());
  y.writable().leftCols(a.cols()) = a.value();
  y.writable().rightCols(b.cols()) = b.value();
  return context.record(std::move(y), {a, b}, [a, b](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(a, [&](MatrixMap<Scalar> d_a) { d_a = d_y.value().leftCols(a.cols()); });
    tape.add_gradient(b, [&](MatrixMap<Scalar> d_b) { d_b = d_y.value().rightCols(b.cols()); });
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
