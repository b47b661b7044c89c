// Differentiable lookup, slicing and concatenation of rows: see kernels/rows.hpp.
#pragma once

#include <iterator>
#include <span>
#include <vector>

#include "eigenformer/kernels/rows.hpp"
#include "eigenformer/ops/arithmetic.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns the rows of a table with the given ids: [ids x features]. Row i of the result is row ids[i] of the table.
/// constant_row: a row of the table that receives no gradient; -1: none. Throws if an id or constant_row is not a row
/// of the table.
template <class Scalar, RowIds Ids>
Variable<Scalar> gather_rows(const Context<Scalar>& context, const Variable<Scalar>& table, const Ids& ids,
                             Index constant_row = -1) {
  Variable<Scalar> y = context.new_matrix(static_cast<Index>(std::size(ids)), table.cols());
  check(constant_row >= -1 && constant_row < table.rows(), "gather_rows: constant_row is ", constant_row,
        ", the table has ", table.rows(), " rows");
  gather_rows_forward<Scalar>(table.value(), ids, y.writable(), context.threads);
  if (context.tape == nullptr) return y;
  return context.record(std::move(y), {table},
                        [table, kept = std::vector(std::begin(ids), std::end(ids)), constant_row,
                         threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          tape.add_gradient(table, [&](MatrixMap<Scalar> d_table) {
                            d_table.setZero();
                            scatter_add_rows<Scalar>(kept, d_y.value(), d_table, threads);
                            if (constant_row >= 0) d_table.row(constant_row).setZero();
                          });
                        });
}

/// Returns rows first .. first + count - 1 of x without a copy: [count x cols], also if x is a tensor. Throws if x has
/// no such rows.
template <class Scalar>
Variable<Scalar> slice_rows(const Context<Scalar>& context, const Variable<Scalar>& x, Index first, Index count) {
  check(first >= 0 && count >= 0 && count <= x.rows() - first, "slice_rows: ", count, " rows from row ", first,
        " on, expected a range inside ", shape(x));
  if (count == x.rows()) return x.is_tensor() ? reshape(context, x, x.rows(), x.cols()) : x;
  return context.record(x.middle_rows(first, count), {x}, [x, first](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_row_gradient(x, first, d_y);
  });
}

/// Returns the rows of all parts, stacked in order, as a matrix. Throws if their widths differ or there are no parts.
template <class Scalar>
Variable<Scalar> concat_rows(const Context<Scalar>& context, std::vector<Variable<Scalar>> parts) {
  check(!parts.empty(), "concat_rows: expected at least one part");
  Index rows = 0;
  for (const Variable<Scalar>& part : parts) {
    check(part.cols() == parts[0].cols(), "concat_rows: a part is ", shape(part), ", the first is ", shape(parts[0]));
    rows += part.rows();
  }
  Variable<Scalar> y = context.new_matrix(rows, parts[0].cols());
  rows = 0;
  for (const Variable<Scalar>& part : parts) {
    y.writable().middleRows(rows, part.rows()) = part.value();
    rows += part.rows();
  }
  if (context.tape == nullptr) return y;
  const std::span<const Variable<Scalar>> inputs = parts;
  return context.record(std::move(y), inputs, [parts](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    Index row = 0;
    for (const Variable<Scalar>& part : parts) {
      tape.add_gradient(part, d_y.middle_rows(row, part.rows()));
      row += part.rows();
    }
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
