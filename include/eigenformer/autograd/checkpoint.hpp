// Activation checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174): the
// backward computes a layer's intermediate results again instead of reading saved ones. A step takes about a third
// longer, and a layer keeps only its result.
#pragma once

#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "eigenformer/autograd/context.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

template <class Layer>
concept HasParameters = requires(const Layer& layer) {
  Layer::visit(layer, [](auto&&...) {});
};

/// What checkpoint() keeps of a layer: a reference to a struct of parameters, or a copy of a function.
template <class Layer>
using KeptLayer = std::conditional_t<HasParameters<Layer>, const Layer&, Layer>;

}  // namespace detail

/// Returns layer(context, x, more...), like a plain call, but the tape keeps only the inputs and the result. The
/// backward calls the layer again. Results and gradients are those of the plain call to the last bit: dropout draws the
/// same masks again.
///
///   y = checkpoint(context, feed_forward, x);
///   y = checkpoint(context, [&](const auto& c, const auto& input) { return encoder_layer(c, input, rows); }, x);
///
/// - A layer with parameters must neither move nor change until `backward` has run. A function is copied, but what it
///   refers to must live until then. A layer of your own that owns Parameters needs a static `visit` (see
///   autograd/parameter.hpp). Without `visit`, the layer is taken for a function and copied. The backward then throws,
///   because it would use the Parameters of the copy.
/// - The layer must depend on its arguments and parameters alone.
/// - Calls may be nested: a layer may call checkpoint().
/// - Without a tape, and if the context asks for head_weights, which would leave the layer, this is a plain call.
template <class Scalar, class Layer, class... Inputs>
Variable<Scalar> checkpoint(const Context<Scalar>& context, const Layer& layer, const Variable<Scalar>& x,
                            const Inputs&... more) {
  static_assert((std::is_same_v<Inputs, Variable<Scalar>> && ...),
                "checkpoint: all inputs are Variables; bind other arguments in a lambda");
  if (context.tape == nullptr || context.head_weights != nullptr) return layer(context, x, more...);
  const std::optional<Rng> rng = context.rng != nullptr ? std::optional<Rng>(*context.rng) : std::nullopt;
  std::tuple<detail::KeptLayer<Layer>> kept(layer);
  auto call_again = [kept, context, rng, x, more...] {
    std::optional<Rng> draws = rng;
    Context<Scalar> again = context;
    again.rng = draws.has_value() ? &*draws : nullptr;
    again.attention = nullptr;  // it has received the weights
    return std::get<0>(kept)(again, x, more...);
  };
  return context.tape->record_later([&] { return layer(context, x, more...); }, std::move(call_again));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
