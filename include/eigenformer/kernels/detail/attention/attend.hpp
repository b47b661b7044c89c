// The entry point to attention's kernels. Picks the kernel for a score, and declares the instances that the compiled
// library holds.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/kernels/detail/attention/erased_score.hpp"
#include "eigenformer/kernels/detail/attention/sinks.hpp"
#include "eigenformer/kernels/detail/attention/tasks.hpp"
#include "eigenformer/kernels/scores/causal.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

template <class Scalar, Score S>
using CallOf = AttentionCall<Scalar, Scalar, S>;
template <class Scalar>
using AnyMaskOf = ScoreOfKind<Scalar, ScoreKind{}>;
template <class Scalar>
using AnyScoreOf = ScoreOfKind<Scalar, ScoreKind{true}>;
template <class Scalar>
using AnyMatrixOf = ScoreOfKind<Scalar, ScoreKind{true, true}>;  // scores that read a matrix, such as DenseBias

EIGENFORMER_FLOAT(void attend(const CallOf<float, Unmasked>&, Threads*, Workspace*));
EIGENFORMER_FLOAT(void attend(const CallOf<float, Causal>&, Threads*, Workspace*));
EIGENFORMER_FLOAT(void attend(const CallOf<float, AnyMaskOf<float>>&, Threads*, Workspace*));
EIGENFORMER_FLOAT(void attend(const CallOf<float, AnyScoreOf<float>>&, Threads*, Workspace*));
EIGENFORMER_FLOAT(void attend(const CallOf<float, AnyMatrixOf<float>>&, Threads*, Workspace*));
EIGENFORMER_DOUBLE(void attend(const CallOf<double, Unmasked>&, Threads*, Workspace*));
EIGENFORMER_DOUBLE(void attend(const CallOf<double, Causal>&, Threads*, Workspace*));
EIGENFORMER_DOUBLE(void attend(const CallOf<double, AnyMaskOf<double>>&, Threads*, Workspace*));
EIGENFORMER_DOUBLE(void attend(const CallOf<double, AnyScoreOf<double>>&, Threads*, Workspace*));
EIGENFORMER_DOUBLE(void attend(const CallOf<double, AnyMatrixOf<double>>&, Threads*, Workspace*));

/// Computes attention: reads the operands in `rows`, and writes the results to `rows`. Throws if the score does not
/// cover the batch.
template <class Scalar, class Stored, Score S>
void attend(const AttentionLayout& layout, const AttentionRows<Scalar, Stored>& rows, const S& score,
            const AttentionOptions& options) {
  const auto& kernel_score = for_kernel<Scalar, kind_of_forward<S>>(score);
  const AttentionDropout dropout(options.dropout, options.dropout_key);
  using Call = AttentionCall<Scalar, Stored, std::remove_cvref_t<decltype(kernel_score)>>;
  if (layout.sinks.empty())
    return attend(Call{layout, kernel_score, dropout, rows}, options.threads, options.workspace);
  AttentionRows<Scalar, Stored> with_sums = rows;
  Matrix<Scalar> sums;
  if (rows.log_sum_exp.data == nullptr) {
    sums.resize(layout.query_rows.rows(), layout.heads);
    with_sums.log_sum_exp = {sums.data(), 1, layout.heads, 1, 1};
  }
  attend(Call{layout, kernel_score, dropout, with_sums}, options.threads, options.workspace);
  apply_sinks(layout, with_sums.out, with_sums.log_sum_exp, options.threads);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
