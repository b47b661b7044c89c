// Differentiable views and arrangements of tensors: see core/tensor_view.hpp. reshape, unsqueeze and squeeze share the
// memory of x; the others copy.
#pragma once

#include <span>
#include <vector>

#include "eigenformer/ops/arithmetic.hpp"
#include "eigenformer/tensors/joining.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns the entries of x that view(x's tensor) shows. The view must not show an entry twice.
template <class Scalar, class View>
Variable<Scalar> copied_view(const Context<Scalar>& context, const Variable<Scalar>& x, View view) {
  const Variable<Scalar> y = evaluated(context, view(x.tensor()));
  return context.record(y, {x}, [x, view, shape = y.sizes()](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) {
      d_x.setZero();
      view(TensorView<Scalar>(d_x.data(), x.sizes())).array() = gradient_view(d_y, shape);
    });
  });
}

}  // namespace detail

/// Returns x with a dimension of one entry before `dimension`; -1 adds it behind the last.
template <class Scalar>
Variable<Scalar> unsqueeze(const Context<Scalar>& context, const Variable<Scalar>& x, Index dimension) {
  return reshape(context, x, x.tensor().unsqueeze(dimension).shape());
}
/// Returns x without a dimension, if it has one entry.
template <class Scalar>
Variable<Scalar> squeeze(const Context<Scalar>& context, const Variable<Scalar>& x, Index dimension) {
  return reshape(context, x, x.tensor().squeeze(dimension).shape());
}
/// Returns x with its dimensions in another order: dimension i of the result is dimension order[i].
template <class Scalar>
Variable<Scalar> permute(const Context<Scalar>& context, const Variable<Scalar>& x, const Sizes& order) {
  return detail::copied_view(context, x, [order](const auto& view) { return view.permute(order); });
}
/// Returns x with two dimensions exchanged; by default the last two.
template <class Scalar>
Variable<Scalar> transpose(const Context<Scalar>& context, const Variable<Scalar>& x, Index a = -2, Index b = -1) {
  return detail::copied_view(context, x, [a, b](const auto& view) { return view.transpose(a, b); });
}
/// Returns the entries of x at one index of a dimension. The result lacks that dimension.
template <class Scalar>
Variable<Scalar> select(const Context<Scalar>& context, const Variable<Scalar>& x, Index dimension, Index index) {
  return detail::copied_view(context, x, [=](const auto& view) { return view.select(dimension, index); });
}
/// Returns a range of a dimension, as Python's [begin:end:step].
template <class Scalar>
Variable<Scalar> slice(const Context<Scalar>& context, const Variable<Scalar>& x, Index dimension, const Slice& range) {
  return detail::copied_view(context, x, [=](const auto& view) { return view.slice(dimension, range); });
}
/// Returns the entries at which two dimensions have the same index, as a new last dimension.
template <class Scalar>
Variable<Scalar> diagonal(const Context<Scalar>& context, const Variable<Scalar>& x, Index a = -2, Index b = -1) {
  return detail::copied_view(context, x, [a, b](const auto& view) { return view.diagonal(a, b); });
}
/// Returns x with dimensions of one entry repeated, and with new dimensions before the first. -1 keeps a size.
template <class Scalar>
Variable<Scalar> expand(const Context<Scalar>& context, const Variable<Scalar>& x, const Sizes& shape) {
  const Variable<Scalar> y = detail::evaluated(context, x.tensor().expand(shape));
  return context.record(y, {x}, [x, full = y.sizes()](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    detail::add_tensor_gradient(tape, x, detail::gradient_view(d_y, full));
  });
}
/// Returns the parts one after the other along a dimension. Throws if their other dimensions differ.
template <class Scalar>
Variable<Scalar> concat(const Context<Scalar>& context, const std::vector<Variable<Scalar>>& parts, Index dimension) {
  std::vector<TensorView<const Scalar>> views;
  for (const Variable<Scalar>& part : parts) views.push_back(part.tensor());
  const Variable<Scalar> y = detail::evaluated(context, concat(views, dimension));
  if (context.tape == nullptr) return y;
  const std::span<const Variable<Scalar>> inputs = parts;
  return context.record(y, inputs,
                        [parts, dimension, shape = y.sizes()](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          const TensorView<const Scalar> d = detail::gradient_view(d_y, shape);
                          Index begin = 0;
                          for (const Variable<Scalar>& part : parts) {
                            const Index end = begin + part.tensor().dimension(dimension);
                            detail::add_tensor_gradient(tape, part, d.slice(dimension, {.begin = begin, .end = end}));
                            begin = end;
                          }
                        });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
