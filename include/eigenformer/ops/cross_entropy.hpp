// Softmax cross entropy made differentiable: see kernels/cross_entropy.hpp.
#pragma once

#include <span>
#include <vector>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/cross_entropy.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The loss [1 x 1] of logits [tokens x vocabulary size] given each row's label.
template <class Scalar>
Variable<Scalar> cross_entropy(const Context<Scalar>& context, const Variable<Scalar>& logits,
                               std::span<const Token> labels, const CrossEntropyOptions& options = {}) {
  Variable<Scalar> loss = context.new_matrix(1, 1);
  Variable<Scalar> log_sum_exp = context.new_matrix(logits.rows(), 1);
  loss.writable()(0, 0) =
      cross_entropy_forward<Scalar>(logits.value(), labels, options, log_sum_exp.writable(), context.threads);
  if (context.tape == nullptr) return loss;
  return context.record(std::move(loss), {logits},
                        [logits, kept = std::vector<Token>(labels.begin(), labels.end()), log_sum_exp, options,
                         threads = context.threads](const Variable<Scalar>& d_loss, Tape<Scalar>& tape) {
                          tape.add_gradient(logits, [&](MatrixMap<Scalar> d_logits) {
                            cross_entropy_backward<Scalar>(logits.value(), log_sum_exp.value(), kept, options,
                                                           d_loss.scalar(), d_logits, threads);
                          });
                        });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
