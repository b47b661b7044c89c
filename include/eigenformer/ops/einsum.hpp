// Differentiable Einstein summation: see tensors/einsum.hpp.
//
// The derivative with respect to one operand is a contraction too. It multiplies the result's gradient by the other
// operands and keeps the operand's labels.
#pragma once

#include <string_view>
#include <vector>

#include "eigenformer/ops/detail/tensor_gradients.hpp"
#include "eigenformer/tensors/einsum.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Adds the gradient of operand `which`. d_y: of the contraction's result.
template <class Scalar>
void add_einsum_gradient(const EinsumEquation& forward, const std::vector<Variable<Scalar>>& x, std::size_t which,
                         const TensorView<const Scalar>& d_y, Threads* threads, Tape<Scalar>& tape) {
  if (!x[which].requires_grad()) return;
  EinsumEquation backward;
  backward.text = forward.text + " (backward)";
  backward.size_of = forward.size_of;
  std::vector<TensorView<const Scalar>> operands{d_y};
  backward.operands.push_back(forward.result);
  LabelSet present = label_set(forward.result);
  for (std::size_t k = 0; k < x.size(); ++k) {
    if (k == which) continue;
    operands.push_back(x[k].tensor());
    backward.operands.push_back(forward.operands[k]);
    present |= label_set(forward.operands[k]);
  }
  tape.add_gradient(x[which], [&](MatrixMap<Scalar> d_x) {
    d_x.setZero();  // what is not on the diagonal of a repeated label has no gradient
    TensorView<Scalar> to(d_x.data(), x[which].sizes());
    Sizes labels = forward.operands[which];
    make_labels_unique(to, labels, forward.size_of);
    backward.result = labels_in(labels, present);
    const Tensor<Scalar> gradient = einsum<Scalar>(backward, operands, threads);
    // Along labels that only this operand has, the gradient is constant.
    to.array() = arranged<Scalar>(gradient.view(), backward.result, labels);
  });
}

}  // namespace detail

/// Returns the contraction of tensors by an equation: einsum(context, "bhqd,bhkd->bhqk", {q, k}). The result has the
/// dimensions that follow "->". Without it, the result has those of "...", and then the letters that occur once, in
/// alphabetical order. Throws if the equation does not fit.
template <class Scalar>
Variable<Scalar> einsum(const Context<Scalar>& context, std::string_view equation,
                        const std::vector<Variable<Scalar>>& operands) {
  check(!operands.empty(), "einsum: \"", equation, "\" without operands");
  std::vector<TensorView<const Scalar>> views;
  for (const Variable<Scalar>& x : operands) views.push_back(x.tensor());
  const detail::EinsumEquation parsed = detail::parse_einsum(equation, views);
  const Variable<Scalar> y = detail::evaluated(context, detail::einsum<Scalar>(parsed, views, context.threads));
  if (context.tape == nullptr) return y;
  return context.record(y, std::span(operands),
                        [parsed, operands, shape = y.sizes(), threads = context.threads](const Variable<Scalar>& d_y,
                                                                                         Tape<Scalar>& tape) {
                          for (std::size_t k = 0; k < operands.size(); ++k)
                            detail::add_einsum_gradient(parsed, operands, k, detail::gradient_view(d_y, shape), threads,
                                                        tape);
                        });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
