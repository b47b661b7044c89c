// Differentiable attention: see kernels/attention.hpp.
#pragma once

#include <array>
#include <functional>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/kernels/scores/any_score.hpp"
#include "eigenformer/kernels/scores/dense_mask.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The inputs of attention; the kernel's AttentionInputs as Variables.
template <class Scalar>
struct QueryKeyValue {
  Variable<Scalar> q;  // [queries x heads * d]
  Variable<Scalar> k;  // [keys x key_heads * d]
  Variable<Scalar> v;  // [keys x key_heads * e]
};

namespace detail {

/// Completes options from the context: sets the threads and the dropout key. Without a generator dropout is off.
template <class Scalar>
AttentionOptions with_context(const Context<Scalar>& context, AttentionOptions options) {
  options.threads = context.threads;
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
  Variable<Scalar> y, log_sum_exp;
};

/// Writes the gradients of q, k and v of a recorded call. Adds the gradient of the score's differentiable numbers (see
/// attention_by) to d_numbers, unless it is null.
template <class Scalar>
using AttentionDerivative = std::function<void(const RecordedAttention<Scalar>&, const Variable<Scalar>& d_y,
                                               Scalar* d_numbers, const AttentionGradients<Scalar>& to)>;

/// Records a call on the tape and returns its result. Compiled once for all scores.
template <class Scalar>
Variable<Scalar> record_attention(const Context<Scalar>& context, RecordedAttention<Scalar> call,
                                  const Variable<Scalar>& numbers, AttentionDerivative<Scalar> derivative) {
  check(!call.options.key_index.has_value() && !call.options.key_pages.has_value(),
        "attention: key_index and key_pages have no backward, and a tape is recording");
  const std::array<Variable<Scalar>, 4> inputs{call.in.q, call.in.k, call.in.v, numbers};
  const Variable<Scalar> y = call.y;
  return context.record(y, inputs,
                        [call = std::move(call), numbers, derivative = std::move(derivative)](
                            const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          const auto& [q, k, v] = call.in;
                          const auto gradient_of = [&](const Variable<Scalar>& x) {
                            Variable<Scalar> d_x = tape.new_matrix(x.rows(), x.cols());
                            if (!x.is_tensor()) return d_x;
                            d_x.writable().setZero();  // of padding, which the backward does not write
                            return d_x.reshaped(x.sizes());
                          };
                          Variable<Scalar> d_q = gradient_of(q), d_k = gradient_of(k), d_v = gradient_of(v);
                          Variable<Scalar> d_numbers;
                          if (numbers.requires_grad()) {
                            d_numbers = tape.new_matrix(numbers.rows(), numbers.cols());
                            d_numbers.writable().setZero();
                          }
                          derivative(call, d_y, d_numbers.writable().data(),
                                     {d_q.writable_tensor(), d_k.writable_tensor(), d_v.writable_tensor()});
                          tape.add_gradient(q, std::move(d_q));
                          tape.add_gradient(k, std::move(d_k));
                          tape.add_gradient(v, std::move(d_v));
                          tape.add_gradient(numbers, std::move(d_numbers));
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

/// Returns attention with a score that may read differentiable `numbers`. They are empty if the score reads none.
/// make_score(d_numbers) must return the score. The score's backward adds the numbers' gradient to d_numbers, unless it
/// is null. Throws if options has key_index or key_pages while a tape is recording, since they have no backward.
template <class Scalar, class MakeScore>
Variable<Scalar> attention_by(const Context<Scalar>& context, const QueryKeyValue<Scalar>& in,
                              const Variable<Scalar>& numbers, const MakeScore& make_score,
                              const AttentionOptions& options) {
  const ResultSizes sizes = result_sizes(in.q.sizes(), in.k.sizes(), in.v.sizes(), options);
  Variable<Scalar> y = context.new_tensor(sizes.out);
  Variable<Scalar> log_sum_exp = context.new_tensor(sizes.log_sum_exp);
  if (y.is_tensor()) {  // padding, which the forward does not write
    y.writable().setZero();
    log_sum_exp.writable().setConstant(hidden_score<Scalar>);
  }
  with_kernel_score(make_score(nullptr), [&](const auto& score) {
    attention_forward<Scalar>(inputs_of(in), score, options, {y.writable_tensor(), log_sum_exp.writable_tensor()});
  });
  if (context.tape == nullptr) return y;
  return record_attention<Scalar>(context, {in, options, y, log_sum_exp}, numbers,
                                  [make_score](const RecordedAttention<Scalar>& recorded, const Variable<Scalar>& d_y,
                                               Scalar* d_numbers, const AttentionGradients<Scalar>& to) {
                                    with_kernel_score(make_score(d_numbers), [&](const auto& score) {
                                      attention_backward<Scalar>(
                                          inputs_of(recorded.in), score, recorded.options,
                                          {recorded.y.tensor(), recorded.log_sum_exp.tensor()},
                                          TensorView<const Scalar>(d_y.value().data(), recorded.y.sizes()), to);
                                    });
                                  });
}

/// Returns a function of d_numbers that makes the kernel's score: the make_score of attention_by. score: one with
/// differentiable numbers, such as a PositionScore.
template <class Scalar, class S>
auto score_maker(const S& score) {
  return [score](Scalar* d_numbers) { return score.score(d_numbers); };
}

}  // namespace detail

/// Returns the attention of q over k and v: [queries x heads * value width].
/// q: [queries x heads * d], k: [keys x key_heads * d], v: [keys x key_heads * value width]. Tensors of rank 4 work
/// too, as in kernels/attention.hpp.
///
/// `score` and `options` are those of the kernel, and each may be omitted. Threads and the dropout key come from the
/// context; without a generator dropout is off. Besides the kernel's scores, `score` may be:
/// - an AnyScore. It is dispatched once per call, so Unmasked and Causal use the kernels that were compiled for them.
/// - a PositionScore. Its numbers get gradients too.
///
/// Throws if options has key_index or key_pages while a tape is recording, since they have no backward.
template <class Scalar, class S = AttentionOptions, class O = OptionsAfter<S>>
Variable<Scalar> attention(const Context<Scalar>& context, const Variable<Scalar>& q, const Variable<Scalar>& k,
                           const Variable<Scalar>& v, const S& score = {}, const O& options = {}) {
  if constexpr (detail::is_any_score<S>) {
    static_assert(std::is_same_v<S, AnyScore<Scalar>>, "this score has another scalar type than the attention");
    static_assert(detail::is_options<O>, "what follows the score is AttentionOptions, such as {.heads = 8}");
    return detail::attention_by(
        context, QueryKeyValue<Scalar>{q, k, v}, Variable<Scalar>(), [score](Scalar*) { return score; },
        detail::with_context(context, options));
  } else if constexpr (requires { score.numbers(); }) {
    static_assert(detail::is_options<O>, "what follows the score is AttentionOptions, such as {.heads = 8}");
    return detail::attention_by(context, QueryKeyValue<Scalar>{q, k, v}, score.numbers(),
                                detail::score_maker<Scalar>(score), detail::with_context(context, options));
  } else {
    return detail::with_score_and_options<Scalar, true>(
        score, options, [&](const auto& checked, const AttentionOptions& given) {
          return detail::attention_by(
              context, QueryKeyValue<Scalar>{q, k, v}, Variable<Scalar>(), [checked](Scalar*) { return checked; },
              detail::with_context(context, given));
        });
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
