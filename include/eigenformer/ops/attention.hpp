// Differentiable attention: see kernels/attention.hpp.
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/kernels/scores/dense_mask.hpp"
#include "eigenformer/ops/detail/bfloat16_attention.hpp"
#include "eigenformer/ops/detail/score_gradients.hpp"
#include "eigenformer/ops/variable_score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The inputs of attention; the kernel's AttentionInputs as Variables.
template <class Scalar>
struct QueryKeyValue {
  Variable<Scalar> q;  // [queries x heads * d]
  Variable<Scalar> k;  // [keys x key_heads * d]
  Variable<Scalar> v;  // [keys x key_heads * e]
  // Scores of attention sinks, one per query head: AttentionOptions::sinks, with gradients. Empty: none.
  Variable<Scalar> sinks{};
};

namespace detail {

/// Completes options from the context: sets the threads, the dropout key and, without a tape, the workspace. Without a
/// generator dropout is off.
template <class Scalar>
AttentionOptions with_context(const Context<Scalar>& context, AttentionOptions options) {
  options.threads = context.threads;
  if (context.tape == nullptr) options.workspace = context.workspace;
  if (context.rng == nullptr) options.dropout = 0;
  if (options.dropout > 0) options.dropout_key = context.rng->split();
  return options;
}

/// Returns views of the inputs, as kernels take them.
template <class Scalar>
AttentionInputs<Scalar> inputs_of(const QueryKeyValue<Scalar>& in) {
  return {in.q.tensor(), in.k.tensor(), in.v.tensor()};
}

/// A call of attention and its results.
template <class Scalar>
struct RecordedAttention {
  QueryKeyValue<Scalar> in;
  AttentionOptions options;
  std::shared_ptr<const std::vector<double>> sinks{};  // a copy, for the backward; null: no sinks
  Variable<Scalar> y{}, log_sum_exp{};

  /// Throws if sinks are given both as a Variable and in the options.
  RecordedAttention(const QueryKeyValue<Scalar>& inputs, const AttentionOptions& given)
      : in(inputs), options(given), sinks(sink_numbers(in.sinks)) {
    check(sinks == nullptr || options.sinks.empty(),
          "attention: sinks are given as a Variable and in the options, expected one of them");
    if (!options.sinks.empty())
      sinks = std::make_shared<const std::vector<double>>(options.sinks.begin(), options.sinks.end());
    if (sinks != nullptr) options.sinks = *sinks;
  }

  /// Returns the number of query heads.
  Index heads() const { return log_sum_exp.is_tensor() ? log_sum_exp.sizes()[1] : log_sum_exp.cols(); }
};

/// Writes the gradients of q, k and v of a recorded call. Adds the gradients of its sinks to `to`, and those of the
/// score's inputs to `views` (see VariableScore::Make). `tape` has memory for intermediate results.
template <class Scalar>
using AttentionDerivative =
    std::function<void(Tape<Scalar>& tape, const RecordedAttention<Scalar>&, const Variable<Scalar>& d_y,
                       std::span<const TensorView<Scalar>> views, const AttentionGradients<Scalar>& to)>;

/// Records a call on the tape and returns its result. Compiled once for all scores.
template <class Scalar>
Variable<Scalar> record_attention(const Context<Scalar>& context, RecordedAttention<Scalar> call,
                                  const std::vector<ScoreInput<Scalar>>& score_inputs,
                                  AttentionDerivative<Scalar> derivative) {
  check(!call.options.key_index.has_value() && !call.options.key_pages.has_value(),
        "attention: key_index and key_pages have no backward, and a tape is recording");
  std::vector<Variable<Scalar>> inputs{call.in.q, call.in.k, call.in.v, call.in.sinks};
  for (const ScoreInput<Scalar>& input : score_inputs) inputs.push_back(input.variable);
  const Variable<Scalar> y = call.y;
  return context.record(y, inputs,
                        [call = std::move(call), score_inputs, derivative = std::move(derivative)](
                            const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          const auto& [q, k, v, sinks] = call.in;
                          const auto gradient_of = [&](const Variable<Scalar>& x) {
                            Variable<Scalar> d_x = tape.new_matrix(x.rows(), x.cols());
                            if (!x.is_tensor()) return d_x;
                            d_x.writable().setZero();  // of padding, which the backward does not write
                            return d_x.reshaped(x.sizes());
                          };
                          Variable<Scalar> d_q = gradient_of(q), d_k = gradient_of(k), d_v = gradient_of(v);
                          ScoreGradients<Scalar> others(tape, score_inputs, sinks, call.heads());
                          derivative(
                              tape, call, d_y, others.views(),
                              {d_q.writable_tensor(), d_k.writable_tensor(), d_v.writable_tensor(), others.d_sinks()});
                          tape.add_gradient(q, std::move(d_q));
                          tape.add_gradient(k, std::move(d_k));
                          tape.add_gradient(v, std::move(d_v));
                          others.finish();
                        });
}

template <class S>
inline constexpr bool is_any_score = false;
template <class Scalar>
inline constexpr bool is_any_score<AnyScore<Scalar>> = true;

/// Returns body(score), with an AnyScore as kernels take it.
template <class S, class Body>
auto with_kernel_score(const S& score, Body body) {
  if constexpr (is_any_score<S>)
    return score.visit(body);
  else
    return body(score);
}

/// A call of attention in the type of its Variables. Bfloat16Attention has the same members.
template <class Scalar>
class PlainAttention {
 public:
  PlainAttention(const Context<Scalar>&, const AttentionInputs<Scalar>& in) : in_(in) {}

  template <Score S>
  void forward(const Context<Scalar>&, const S& score, const AttentionOptions& options,
               const AttentionOutputs<Scalar>& to) const {
    attention_forward<Scalar>(in_, score, options, to);
  }
  template <Score S>
  void backward(Tape<Scalar>&, const S& score, const AttentionOptions& options, const AttentionSaved<Scalar>& saved,
                const TensorView<const Scalar>& d_out, const AttentionGradients<Scalar>& to) const {
    attention_backward<Scalar>(in_, score, options, saved, d_out, to);
  }

 private:
  AttentionInputs<Scalar> in_;  // views; RecordedAttention keeps their memory
};

/// Returns attention by PlainAttention or Bfloat16Attention. The arguments are those of attention_by.
template <class Attention, class Scalar, class MakeScore>
Variable<Scalar> attention_in(const Context<Scalar>& context, const QueryKeyValue<Scalar>& in,
                              const std::vector<ScoreInput<Scalar>>& score_inputs, const MakeScore& make_score,
                              const AttentionOptions& options) {
  RecordedAttention<Scalar> call(in, options);
  const ResultSizes sizes = result_sizes(in.q.sizes(), in.k.sizes(), in.v.sizes(), call.options);
  call.y = context.new_tensor(sizes.out);
  call.log_sum_exp = context.new_tensor(sizes.log_sum_exp);
  if (call.y.is_tensor()) {  // padding, which the forward does not write
    call.y.writable().setZero();
    call.log_sum_exp.writable().setConstant(hidden_score<Scalar>);
  }
  Attention computed(context, inputs_of(in));
  with_kernel_score(make_score({}), [&](const auto& score) {
    computed.forward(context, score, call.options, {call.y.writable_tensor(), call.log_sum_exp.writable_tensor()});
  });
  if (context.tape == nullptr) return call.y;
  return record_attention<Scalar>(
      context, std::move(call), score_inputs,
      [make_score, computed = std::move(computed)](
          Tape<Scalar>& tape, const RecordedAttention<Scalar>& recorded, const Variable<Scalar>& d_y,
          std::span<const TensorView<Scalar>> views, const AttentionGradients<Scalar>& to) {
        with_kernel_score(make_score(views), [&](const auto& score) {
          computed.backward(tape, score, recorded.options, {recorded.y.tensor(), recorded.log_sum_exp.tensor()},
                            TensorView<const Scalar>(d_y.value().data(), recorded.y.sizes()), to);
        });
      });
}

/// Returns attention with a score that reads `score_inputs`. make_score(views) must return the score: see
/// VariableScore::Make. Throws if options has key_index or key_pages while a tape is recording, since they have no
/// backward.
template <class Scalar, class MakeScore>
Variable<Scalar> attention_by(const Context<Scalar>& context, const QueryKeyValue<Scalar>& in,
                              const std::vector<ScoreInput<Scalar>>& score_inputs, const MakeScore& make_score,
                              const AttentionOptions& options) {
  if constexpr (std::is_same_v<Scalar, float> && matrix_unit::is_fast<Eigen::bfloat16>) {
    // A cache is not rounded: it would be rounded again in each step.
    const bool has_cache = options.key_index.has_value() || options.key_pages.has_value();
    if (context.precision == Precision::bfloat16 && !has_cache)
      return attention_in<Bfloat16Attention<Scalar>>(context, in, score_inputs, make_score, options);
  }
  return attention_in<PlainAttention<Scalar>>(context, in, score_inputs, make_score, options);
}

/// Returns attention with a VariableScore. options: completed by with_context.
template <class Scalar>
Variable<Scalar> attention_by(const Context<Scalar>& context, const QueryKeyValue<Scalar>& in,
                              const VariableScore<Scalar>& score, const AttentionOptions& options) {
  return attention_by(
      context, in, score.inputs(), [score](std::span<const TensorView<Scalar>> views) { return score.score(views); },
      options);
}

}  // namespace detail

/// Returns the attention of in.q over in.k and in.v: [queries x heads * value width].
/// q: [queries x heads * d], k: [keys x key_heads * d], v: [keys x key_heads * value width]. Tensors of rank 4 work
/// too, as in kernels/attention.hpp.
///
///   attention(context, {.q = q, .k = k, .v = v, .sinks = sinks}, Causal{}, {.heads = 8})
///
/// `score` and `options` are those of the kernel, and each may be omitted. Threads, precision and the dropout key come
/// from the context. Without a generator dropout is off. Besides the kernel's scores, `score` may be:
/// - an AnyScore. It is dispatched once per call, so Unmasked and Causal use the kernels that were compiled for them.
/// - a VariableScore, such as a PositionScore or a score() of Variables. The Variables that it reads get gradients too.
///
/// Throws if options has key_index or key_pages while a tape is recording, since they have no backward.
template <class Scalar, class S = AttentionOptions, class O = OptionsAfter<S>>
Variable<Scalar> attention(const Context<Scalar>& context, const QueryKeyValue<Scalar>& in, const S& score = {},
                           const O& options = {}) {
  if constexpr (detail::is_any_score<S> || requires { score.inputs(); }) {
    constexpr bool fits = std::is_same_v<S, AnyScore<Scalar>> || std::derived_from<S, VariableScore<Scalar>>;
    static_assert(fits, "this score has another scalar type than the attention");
    static_assert(detail::is_options<O>, "what follows the score is AttentionOptions, such as {.heads = 8}");
    if constexpr (fits && detail::is_options<O>)
      return detail::attention_by(context, in, VariableScore<Scalar>(score), detail::with_context(context, options));
    else
      return in.q;
  } else {
    return detail::with_score_and_options<Scalar, true>(
        score, options, [&](const auto& checked, const AttentionOptions& given) {
          return detail::attention_by(
              context, in, {}, [checked](std::span<const TensorView<Scalar>>) { return checked; },
              detail::with_context(context, given));
        });
  }
}

/// Returns the attention of q over k and v: [queries x heads * value width]. The arguments are those of the overload
/// that takes QueryKeyValue.
template <class Scalar, class S = AttentionOptions, class O = OptionsAfter<S>>
Variable<Scalar> attention(const Context<Scalar>& context, const Variable<Scalar>& q, const Variable<Scalar>& k,
                           const Variable<Scalar>& v, const S& score = {}, const O& options = {}) {
  const QueryKeyValue<Scalar> in{q, k, v};
  if constexpr (detail::is_any_score<S> || requires { score.inputs(); })
    return attention(context, in, score, options);
  else  // checks the arguments before the other overload does, which keeps the compiler's messages short
    return detail::with_score_and_options<Scalar, true>(
        score, options,
        [&](const auto& checked, const AttentionOptions& given) { return attention(context, in, checked, given); });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
