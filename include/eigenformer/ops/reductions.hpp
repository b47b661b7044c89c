// Differentiable functions of the entries of tensors, and sums and means over dimensions: see tensors/reductions.hpp.
#pragma once

#include "eigenformer/ops/arithmetic.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns the sum over some dimensions; negative numbers count from the end. Throws if a dimension does not exist or
/// is named twice.
template <class Scalar>
Variable<Scalar> sum(const Context<Scalar>& context, const Variable<Scalar>& x, const Dimensions& dimensions,
                     const ReductionOptions& options = {}) {
  const detail::ReducedShape to("sum", x.sizes(), dimensions.numbers());
  const Variable<Scalar> y = detail::evaluated(context, sum(x.tensor(), dimensions, options));
  return context.record(y, {x}, [x, shape = to.kept](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    detail::add_tensor_gradient(tape, x, detail::gradient_view(d_y, shape).expand(x.sizes()));
  });
}
/// Returns the mean over some dimensions; negative numbers count from the end. Throws if a dimension does not exist or
/// is named twice.
template <class Scalar>
Variable<Scalar> mean(const Context<Scalar>& context, const Variable<Scalar>& x, const Dimensions& dimensions,
                      const ReductionOptions& options = {}) {
  const detail::ReducedShape to("mean", x.sizes(), dimensions.numbers());
  const Variable<Scalar> y = detail::evaluated(context, mean(x.tensor(), dimensions, options));
  const auto count = static_cast<Scalar>(to.count);
  return context.record(y, {x}, [x, count, shape = to.kept](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    detail::add_tensor_gradient(tape, x, detail::gradient_view(d_y, shape).expand(x.sizes()) / count);
  });
}

/// Returns function(x), entry by entry. `function` and `derivative` take an Eigen array and return an expression;
/// `derivative` returns f'(x):
///
///   map(context, x, [](const auto& a) { return a.exp(); }, [](const auto& a) { return a.exp(); })
template <class Scalar, class Function, class Derivative>
Variable<Scalar> map(const Context<Scalar>& context, const Variable<Scalar>& x, Function function,
                     Derivative derivative) {
  const Variable<Scalar> y = detail::evaluated(context, map(function, x.tensor()));
  return context.record(y, {x}, [x, derivative](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    detail::add_tensor_gradient(tape, x, detail::gradient_view(d_y, x.sizes()) * map(derivative, x.tensor()));
  });
}
/// Returns exp(x), entry by entry.
template <class Scalar>
Variable<Scalar> exp(const Context<Scalar>& context, const Variable<Scalar>& x) {
  const auto exponential = [](const auto& a) { return detail::computed<detail::FullExponential>(a); };
  return map(context, x, exponential, exponential);
}
/// Returns the natural logarithm of x, entry by entry.
template <class Scalar>
Variable<Scalar> log(const Context<Scalar>& context, const Variable<Scalar>& x) {
  return map(
      context, x, [](const auto& a) { return detail::computed<detail::Logarithm>(a); },
      [](const auto& a) { return a.inverse(); });
}
/// Returns the square root of x, entry by entry.
template <class Scalar>
Variable<Scalar> sqrt(const Context<Scalar>& context, const Variable<Scalar>& x) {
  return map(
      context, x, [](const auto& a) { return detail::computed<detail::SquareRoot>(a); },
      [](const auto& a) { return Scalar(0.5) * detail::computed<detail::SquareRoot>(a).inverse(); });
}
/// Returns x^2, entry by entry.
template <class Scalar>
Variable<Scalar> square(const Context<Scalar>& context, const Variable<Scalar>& x) {
  return map(
      context, x, [](const auto& a) { return a.square(); }, [](const auto& a) { return Scalar(2) * a; });
}

/// Returns x with entries replaced by `value` where the mask is true. The mask broadcasts to the shape of x. Replaced
/// entries have no gradient.
template <class Scalar>
Variable<Scalar> masked_fill(const Context<Scalar>& context, const Variable<Scalar>& x, const Tensor<bool>& mask,
                             std::type_identity_t<Scalar> value) {
  const Tensor<bool> hidden(mask.expand(x.sizes()));
  const Variable<Scalar> y = detail::evaluated(context, masked_fill(x.tensor(), hidden, value));
  return context.record(y, {x}, [x, hidden](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    detail::add_tensor_gradient(tape, x, masked_fill(detail::gradient_view(d_y, x.sizes()), hidden, Scalar(0)));
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
