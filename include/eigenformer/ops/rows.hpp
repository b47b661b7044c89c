// Rows of a table looked up, made differentiable: see kernels/rows.hpp.
#pragma once

#include <span>
#include <vector>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/rows.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Row i of the result is row ids[i] of the table: [ids x features].
template <class Scalar>
Variable<Scalar> gather_rows(const Context<Scalar>& context, const Variable<Scalar>& table,
                             std::span<const Token> ids) {
  Variable<Scalar> y = context.new_matrix(static_cast<Index>(ids.size()), table.cols());
  gather_rows_forward<Scalar>(table.value(), ids, y.writable(), context.threads);
  if (context.tape == nullptr) return y;
  return context.record(std::move(y), {table},
                        [table, kept = std::vector<Token>(ids.begin(), ids.end()), threads = context.threads](
                            const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          tape.add_gradient(table, [&](MatrixMap<Scalar> d_table) {
                            d_table.setZero();
                            scatter_add_rows<Scalar>(std::span<const Token>(kept), d_y.value(), d_table, threads);
                          });
                        });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
