// Activations made differentiable: see kernels/activations.hpp.
#pragma once

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/activations.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The chosen activation of each entry.
template <class Scalar>
Variable<Scalar> activate(const Context<Scalar>& context, Activation activation, const Variable<Scalar>& x) {
  Variable<Scalar> y = context.new_matrix(x.rows(), x.cols());
  activation_forward<Scalar>(activation, x.value(), y.writable(), context.threads);
  return context.record(std::move(y), {x},
                        [activation, x, threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) {
                            activation_backward<Scalar>(activation, x.value(), d_y.value(), d_x, threads);
                          });
                        });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
