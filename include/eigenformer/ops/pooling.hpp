// Differentiable pooling: see kernels/pooling.hpp.
#pragma once

#include <utility>
#include <vector>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/pooling.hpp"
#include "eigenformer/ops/detail/sequences.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The pooled rows and the offsets of the pooled sequences.
template <class Scalar>
struct Pooled {
  Variable<Scalar> x;
  RowOffsets rows;
};

/// Pools each range of rows into one row: [ranges x features]. x: [tokens x features].
template <class Scalar>
Variable<Scalar> pool_ranges(const Context<Scalar>& context, Pooling pooling, const Variable<Scalar>& x,
                             std::vector<RowRange> ranges) {
  Variable<Scalar> y = context.new_matrix(static_cast<Index>(ranges.size()), x.cols());
  pool_forward<Scalar>(pooling, x.value(), ranges, y.writable(), context.threads);
  if (context.tape == nullptr) return y;
  return context.record(std::move(y), {x},
                        [pooling, x, ranges = std::move(ranges), threads = context.threads](const Variable<Scalar>& d_y,
                                                                                            Tape<Scalar>& tape) {
                          tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) {
                            pool_backward<Scalar>(pooling, x.value(), ranges, d_y.value(), d_x, threads);
                          });
                        });
}

/// Pools each window of each sequence into one row. x: [tokens x features].
template <class Scalar>
Pooled<Scalar> pool_windows(const Context<Scalar>& context, Pooling pooling, const Variable<Scalar>& x,
                            const PoolingWindow& window, const RowOffsets& rows = {}) {
  detail::check_has_sequences("pooling", "x", x, rows);
  const RowOffsets batch = rows.for_rows(x.rows(), "pooling", "x");
  return {pool_ranges(context, pooling, x, pooling_ranges(batch, window)), pooled_rows(batch, window)};
}

/// Pools each sequence into one row, of zeros if it is empty: [sequences x features]. x: [tokens x features].
template <class Scalar>
Variable<Scalar> pool_sequences(const Context<Scalar>& context, Pooling pooling, const Variable<Scalar>& x,
                                const RowOffsets& rows = {}) {
  detail::check_has_sequences("pooling", "x", x, rows);
  return pool_ranges(context, pooling, x, sequence_ranges(rows.for_rows(x.rows(), "pooling", "x")));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
