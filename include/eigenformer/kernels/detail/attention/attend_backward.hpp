// The entry point to the kernels of attention's derivative. Picks the kernel for a score, and declares the instances
// that the compiled library holds.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/kernels/detail/attention/backward_tasks.hpp"
#include "eigenformer/kernels/detail/attention/erased_score.hpp"
#include "eigenformer/kernels/scores/causal.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

template <class Scalar, ScoreKind kind>
using BackwardCallOfKind = BackwardCall<Scalar, ScoreOfKind<Scalar, kind>>;

// The kind of scores with a derivative.
inline constexpr ScoreKind differentiable{true, false, 2};

EIGENFORMER_FLOAT(void attend_backward(const BackwardCall<float, Unmasked>&, Threads*));
EIGENFORMER_FLOAT(void attend_backward(const BackwardCall<float, Causal>&, Threads*));
EIGENFORMER_FLOAT(void attend_backward(const BackwardCallOfKind<float, ScoreKind{}>&, Threads*));
EIGENFORMER_FLOAT(void attend_backward(const BackwardCallOfKind<float, ScoreKind{true}>&, Threads*));
EIGENFORMER_FLOAT(void attend_backward(const BackwardCallOfKind<float, differentiable>&, Threads*));
EIGENFORMER_DOUBLE(void attend_backward(const BackwardCall<double, Unmasked>&, Threads*));
EIGENFORMER_DOUBLE(void attend_backward(const BackwardCall<double, Causal>&, Threads*));
EIGENFORMER_DOUBLE(void attend_backward(const BackwardCallOfKind<double, ScoreKind{}>&, Threads*));
EIGENFORMER_DOUBLE(void attend_backward(const BackwardCallOfKind<double, ScoreKind{true}>&, Threads*));
EIGENFORMER_DOUBLE(void attend_backward(const BackwardCallOfKind<double, differentiable>&, Threads*));

/// Computes the gradients of attention: reads the operands in `rows`, and writes the gradients to `rows`. Throws if the
/// score does not cover the batch.
template <class Scalar, Score S>
void attend_backward(const AttentionLayout& layout, const BackwardRows<Scalar>& rows, const S& score,
                     const AttentionOptions& options) {
  const auto& kernel_score = for_kernel<Scalar, kind_of_backward<S, Scalar>>(score);
  const AttentionDropout dropout(options);
  using Call = BackwardCall<Scalar, std::remove_cvref_t<decltype(kernel_score)>>;
  attend_backward(Call{layout, kernel_score, dropout, rows}, options.threads);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
