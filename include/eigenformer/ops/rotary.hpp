// Differentiable rotary position embeddings: see kernels/rotary.hpp.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/rotary.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Applies rotary position embeddings to x. x: [tokens x heads * width]; positions: each token's row of the table;
/// copied if a tape is recording.
template <class Scalar>
Variable<Scalar> rotary(const Context<Scalar>& context, const Variable<Scalar>& x,
                        const std::shared_ptr<const RotaryTable<Scalar>>& table, std::span<const Index> positions,
                        const RotaryOptions& options = {}) {
  Variable<Scalar> y = context.new_matrix(x.rows(), x.cols());
  rotary_forward<Scalar>(x.value(), *table, positions, options, y.writable(), context.threads);
  if (context.tape == nullptr) return y;
  return context.record(std::move(y), {x},
                        [x, table, kept = std::vector<Index>(positions.begin(), positions.end()), options,
                         threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) {
                            rotary_backward<Scalar>(d_y.value(), *table, kept, options, d_x, threads);
                          });
                        });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
