// Differentiable softmax and log-softmax: see kernels/softmax.hpp.
#pragma once

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/softmax.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns the softmax of each row.
template <class Scalar>
Variable<Scalar> softmax(const Context<Scalar>& context, const Variable<Scalar>& x) {
  Variable<Scalar> y = context.new_like(x);
  softmax_forward<Scalar>(x.value(), y.writable(), context.threads);
  return context.record(y, {x}, [x, y, threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(x,
                      [&](MatrixMap<Scalar> d_x) { softmax_backward<Scalar>(y.value(), d_y.value(), d_x, threads); });
  });
}

/// Returns the logarithm of the softmax of each row.
template <class Scalar>
Variable<Scalar> log_softmax(const Context<Scalar>& context, const Variable<Scalar>& x) {
  Variable<Scalar> y = context.new_like(x);
  log_softmax_forward<Scalar>(x.value(), y.writable(), context.threads);
  return context.record(y, {x}, [x, y, threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(
        x, [&](MatrixMap<Scalar> d_x) { log_softmax_backward<Scalar>(y.value(), d_y.value(), d_x, threads); });
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
