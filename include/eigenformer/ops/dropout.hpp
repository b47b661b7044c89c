// Differentiable dropout: see kernels/dropout.hpp.
#pragma once

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/dropout.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns x with entries dropped with probability `rate` and the others scaled up, so that the expectation is x.
/// Without a generator in the context, returns x itself. Throws unless 0 <= rate < 1.
template <class Scalar>
Variable<Scalar> dropout(const Context<Scalar>& context, const Variable<Scalar>& x, double rate) {
  check(rate >= 0 && rate < 1, "dropout: rate is ", rate, ", expected 0 or more and less than 1");
  if (context.rng == nullptr || rate == 0) return x;
  const RandomKey key = context.rng->split();
  Variable<Scalar> y = context.new_like(x);
  dropout_forward<Scalar>(x.value(), rate, key, y.writable(), context.threads);
  return context.record(
      std::move(y), {x}, [x, rate, key, threads = context.threads](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
        tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) {  // The backward applies the same mask, drawn again.
          dropout_forward<Scalar>(d_y.value(), rate, key, d_x, threads);
        });
      });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
