// Checks the argument types of attention; static assertions explain wrong ones.
#pragma once

#include <tuple>
#include <utility>

#include "eigenformer/core/tensor.hpp"
#include "eigenformer/kernels/attention_options.hpp"
#include "eigenformer/kernels/detail/attention/checked_score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Whether T is AttentionOptions, or derives from it.
template <class T>
inline constexpr bool is_options = std::is_base_of_v<AttentionOptions, T>;

/// Returns body(score, options) for the last arguments of a call: a score and options, or options alone. To pass
/// options alone, pass them as `score` and NoOptions as `options`; then body gets Unmasked as its score. Any other
/// arguments fail a static assertion that says what to write.
/// Scalar: the attention's scalar type. differentiated: whether the score will be differentiated.
template <class Scalar, bool differentiated = false, class S, class O, class Body>
auto with_score_and_options(const S& score, const O& options, Body body) {
  constexpr bool is_last = std::is_same_v<O, NoOptions>, is_number = std::is_arithmetic_v<S>;
  static_assert(!is_options<S> || is_last, "options come last, after the score: attention(q, k, v, score, options)");
  static_assert(is_options<S> || is_options<O>, "what follows the score is AttentionOptions, such as {.heads = 8}");
  static_assert(!is_number, "options have names, and stand in braces: attention(q, k, v, {.heads = 8})");
  if constexpr (is_options<S>)
    return body(Unmasked{}, score);
  else if constexpr (is_number || !is_options<O>)
    return body(Unmasked{}, AttentionOptions{});
  else if constexpr (differentiated)
    return body(differentiable_score<Scalar>(score), options);
  else
    return body(checked_score<Scalar>(score), options);
}

/// Returns a matrix operand (q, k or v) as its derived type.
template <class Derived>
const Derived& operand(const Eigen::MatrixBase<Derived>& matrix) {
  return matrix.derived();
}
/// Returns a tensor operand (q, k or v) as a read-only view.
template <class Scalar>
TensorView<const std::remove_const_t<Scalar>> operand(const TensorView<Scalar>& tensor) {
  return tensor;
}
/// Returns a read-only view of a tensor operand (q, k or v).
template <class Scalar>
TensorView<const Scalar> operand(const Tensor<Scalar>& tensor) {
  return tensor.view();
}

/// The scalar type of what `operand` returns. For use in decltype only.
template <class Derived>
typename Derived::Scalar scalar_of(const Eigen::MatrixBase<Derived>&);
template <class Scalar>
Scalar scalar_of(const TensorView<const Scalar>&);

/// Whether attention takes T as q, k or v.
template <class T>
concept Operand = requires(const T& x) {
  operand(x);
};
/// Whether attention takes T as q, k or v, and T is a tensor.
template <class T>
concept TensorOperand = requires(const T& x) {
  operand(x).strides();
};
template <Operand T>
using OperandScalar = decltype(scalar_of(operand(std::declval<const T&>())));

/// Returns whether attention takes operands of these types. If not, a static assertion says what is wrong.
template <class Q, class... KeysAndValues>
constexpr bool are_operands() {
  constexpr bool readable =
      Operand<Q> && (... && Operand<KeysAndValues>)&&(... && (TensorOperand<KeysAndValues> == TensorOperand<Q>));
  static_assert(readable,
                "attention takes Eigen matrices or tensors: write x.matrix() for an Array, x.value() "
                "for a Variable, an Eigen::Map for other memory; attention(context, q, k, v) takes Variables");
  if constexpr (readable) {
    using Scalar = ComputeType<OperandScalar<Q>>;
    constexpr bool computed = std::is_same_v<Scalar, float> || std::is_same_v<Scalar, double>;
    constexpr bool alike = (... && std::is_same_v<ComputeType<OperandScalar<KeysAndValues>>, Scalar>);
    static_assert(computed, "attention takes float, double, Eigen::half or Eigen::bfloat16");
    constexpr bool stored_alike = [] {
      using Given = OperandScalar<Q>;
      using Stored = std::tuple_element_t<0, std::tuple<OperandScalar<KeysAndValues>...>>;
      return (std::is_same_v<Given, Stored> ||
              std::is_same_v<Given, Scalar>)&&(... && std::is_same_v<OperandScalar<KeysAndValues>, Stored>);
    }();
    static_assert(
        !computed || (alike && stored_alike),
        "attention: q, k and v must have one scalar type; if q is float, k and v may be 16-bit, both of one type");
    return computed && alike && stored_alike;
  }
  return false;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
