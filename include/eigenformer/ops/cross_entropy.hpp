// Differentiable softmax cross entropy: see kernels/cross_entropy.hpp.
#pragma once

#include <span>
#include <vector>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/kernels/linear_cross_entropy.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns the cross entropy loss [1 x 1] of logits [tokens x vocabulary size], given a label for each row.
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
                            cross_entropy_backward<Scalar>({logits.value(), log_sum_exp.value()}, kept, options,
                                                           d_loss.scalar(), d_logits, threads);
                          });
                        });
}

/// Returns the cross entropy loss [1 x 1] of the logits x weight^T + bias, given a label for each row. The logits are
/// never stored in full, which saves memory with large vocabularies. With a tape, it also computes the gradients,
/// because it has the logits then; the backward only scales them. Within checkpoint(), it computes them only when the
/// backward calls it again.
/// x: [tokens x width]; weight: [vocabulary size x width]; bias: [1 x vocabulary size], or empty for none.
template <class Scalar>
Variable<Scalar> linear_cross_entropy(const Context<Scalar>& context, const Variable<Scalar>& x,
                                      const Variable<Scalar>& weight, const Variable<Scalar>& bias,
                                      std::span<const Token> labels, const CrossEntropyOptions& options = {}) {
  Variable<Scalar> loss = context.new_matrix(1, 1);
  const LinearCrossEntropyInputs<Scalar> in{x.value(), weight.value(), bias.value()};
  if (context.tape == nullptr || context.tape->records_later()) {
    Variable<Scalar> log_sum_exp = context.new_matrix(x.rows(), 1);
    loss.writable()(0, 0) =
        linear_cross_entropy_forward<Scalar>(in, labels, options, log_sum_exp.writable(), context.products());
    return context.record(std::move(loss), {x, weight, bias}, typename Tape<Scalar>::Backward());
  }
  const auto gradient_of = [&](const Variable<Scalar>& input) {
    return input.requires_grad() ? context.tape->new_matrix(input.rows(), input.cols()) : Variable<Scalar>();
  };
  Variable<Scalar> d_x = gradient_of(x), d_weight = gradient_of(weight), d_bias = gradient_of(bias);
  loss.writable()(0, 0) = linear_cross_entropy_with_gradients<Scalar>(
      in, labels, options, {d_x.writable(), d_weight.writable(), d_bias.writable()}, context.products());
  return context.record(std::move(loss), {x, weight, bias},
                        [x, weight, bias, d_x = std::move(d_x), d_weight = std::move(d_weight),
                         d_bias = std::move(d_bias)](const Variable<Scalar>& d_loss, Tape<Scalar>& tape) mutable {
                          const auto add_scaled = [&](const Variable<Scalar>& input, Variable<Scalar>& gradient) {
                            if (d_loss.scalar() != 1) gradient.writable() *= d_loss.scalar();
                            tape.add_gradient(input, std::move(gradient));
                          };
                          add_scaled(x, d_x);
                          add_scaled(weight, d_weight);
                          add_scaled(bias, d_bias);
                        });
}

/// Returns the loss [1 x 1] of an output layer with the parameters `weight` and `bias`. The logits x weight^T + bias
/// are never materialised. x: [tokens x width]; weight: [vocabulary size x width]; bias: [1 x vocabulary size], or
/// empty.
template <class Scalar>
Variable<Scalar> linear_cross_entropy(const Context<Scalar>& context, const Variable<Scalar>& x,
                                      const Parameter<Scalar>& weight, const Parameter<Scalar>& bias,
                                      std::span<const Token> labels, const CrossEntropyOptions& options = {}) {
  return linear_cross_entropy(context, x, context.use(weight), bias.empty() ? Variable<Scalar>() : context.use(bias),
                              labels, options);
}

EIGENFORMER_FLOAT(Variable<float> cross_entropy(const Context<float>&, const Variable<float>&, std::span<const Token>,
                                                const CrossEntropyOptions&));
EIGENFORMER_DOUBLE(Variable<double> cross_entropy(const Context<double>&, const Variable<double>&,
                                                  std::span<const Token>, const CrossEntropyOptions&));

}  // namespace eigenformer::inline EIGENFORMER_ABI
