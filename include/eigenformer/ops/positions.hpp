// Differentiable addition of position embeddings.
#pragma once

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/ops/detail/sequences.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns y_i = x_i + table_p, where p = first + the position of row i in its sequence. Throws if a sequence reaches
/// beyond the table.
/// x: [tokens x width], table: [positions x width].
template <class Scalar>
Variable<Scalar> add_positions(const Context<Scalar>& context, const Variable<Scalar>& x, const Variable<Scalar>& table,
                               const RowOffsets& rows = {}, Index first = 0) {
  detail::check_has_sequences("add_positions", "x", x, rows);
  const RowOffsets batch = rows.for_rows(x.rows(), "add_positions", "x");
  check(x.cols() == table.cols(), "add_positions: x is ", shape(x), ", the table is ", shape(table));
  check(first >= 0 && first + batch.max_length() <= table.rows(), "add_positions: position ",
        first + batch.max_length() - 1, " does not exist, the table has ", table.rows());
  Variable<Scalar> y = context.new_matrix(x.rows(), x.cols());
  for (Index s = 0; s < batch.sequences(); ++s)
    y.writable().middleRows(batch.begin(s), batch.length(s)) =
        x.value().middleRows(batch.begin(s), batch.length(s)) + table.value().middleRows(first, batch.length(s));
  return context.record(
      std::move(y), {x, table}, [x, table, batch, first](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
        tape.add_gradient(x, d_y);
        tape.add_gradient(table, [&](MatrixMap<Scalar> d_table) {
          d_table.setZero();
          for (Index s = 0; s < batch.sequences(); ++s)
            d_table.middleRows(first, batch.length(s)) += d_y.value().middleRows(batch.begin(s), batch.length(s));
        });
      });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
