// The entry point to attention's kernels. Picks the kernel for a score, and declares the instances that the compiled
// library holds.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/core/function_ref.hpp"
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

/// Calls attends(rows), then applies the sinks, if there are any. Sinks need the log-sum-exps. If the caller did not
/// ask for them, `attends` gets a copy of `rows` with memory for them.
template <class Scalar, class Stored>
void attend_with_sinks(const AttentionLayout& layout, const AttentionRows<Scalar, Stored>& rows, Threads* threads,
                       std::type_identity_t<FunctionRef<void(const AttentionRows<Scalar, Stored>&)>> attends) {
  if (layout.sinks.empty()) return attends(rows);
  AttentionRows<Scalar, Stored> with_sums = rows;
  Matrix<Scalar> sums;
  if (rows.log_sum_exp.data == nullptr) {
    sums.resize(layout.query_rows.rows(), layout.heads);
    with_sums.log_sum_exp = {sums.data(), 1, layout.heads, 1, 1};
  }
  attends(with_sums);
  apply_sinks(layout, with_sums.out, with_sums.log_sum_exp, threads);
}

/// Computes attention: reads the operands in `rows`, and writes the results to `rows`. Throws if the score does not
/// cover the batch.
template <class Scalar, class Stored, Score S>
void attend(const AttentionLayout& layout, const AttentionRows<Scalar, Stored>& rows, const S& score,
            const AttentionOptions& options) {
  const auto& kernel_score = for_kernel<Scalar, kind_of_forward<S>>(score);
  const AttentionDropout dropout(options);
  using Call = AttentionCall<Scalar, Stored, std::remove_cvref_t<decltype(kernel_score)>>;
  attend_with_sinks(layout, rows, options.threads, [&](const AttentionRows<Scalar, Stored>& own) {
    attend(Call{layout, kernel_score, dropout, own}, options.threads, options.workspace);
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
