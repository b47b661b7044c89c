// Differentiable loss of attention weights against alignments: see kernels/alignment_loss.hpp.
#pragma once

#include <span>
#include <vector>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/alignment_loss.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns the cross entropy [1 x 1] between alignments and attention weights, summed over the rows: see
/// alignment_loss_forward. weights: [queries x keys], as from differentiable_attention_weights.
template <class Scalar>
Variable<Scalar> alignment_loss(const Context<Scalar>& context, const Variable<Scalar>& weights,
                                std::span<const AlignmentLabel> labels) {
  Variable<Scalar> loss = context.new_matrix(1, 1);
  loss.writable()(0, 0) = alignment_loss_forward<Scalar>(weights.value(), labels);
  if (context.tape == nullptr) return loss;
  return context.record(std::move(loss), {weights},
                        [weights, kept = std::vector<AlignmentLabel>(labels.begin(), labels.end())](
                            const Variable<Scalar>& d_loss, Tape<Scalar>& tape) {
                          tape.add_gradient(weights, [&](MatrixMap<Scalar> d_weights) {
                            alignment_loss_backward<Scalar>(weights.value(), kept, d_loss.scalar(), d_weights);
                          });
                        });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
