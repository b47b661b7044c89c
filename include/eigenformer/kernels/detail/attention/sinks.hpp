// Attention sinks: a score of each head without a value, which takes a share of the weights (Xiao et al. 2023, arXiv
// 2309.17453; learned scores as in gpt-oss).
//
// With the sink s and the log-sum-exp L of a query's scores, the weights of the keys are multiplied by e^L / (e^L +
// e^s), and the log-sum-exp becomes log(e^L + e^s). So sinks need no kernel of their own: the results are scaled
// afterwards. Nor do the gradients of q, k and v, since weights are recomputed from the log-sum-exp. The sink's weight
// is p = e^(s - log-sum-exp), and its gradient is p (d_log_sum_exp - rowsum(O * dO)), where d_log_sum_exp may be 0.
#pragma once

#include <cmath>
#include <limits>

#include "eigenformer/core/threads.hpp"
#include "eigenformer/kernels/detail/attention/head_rows.hpp"
#include "eigenformer/kernels/detail/attention/layout.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Returns log(e^a + e^b); NaN if one of them is.
inline double log_add_exp(double a, double b) {
  if (!(a == a && b == b)) return a + b;
  const double larger = std::max<double>(a, b), smaller = std::min<double>(a, b);
  if (smaller == -std::numeric_limits<double>::infinity() || larger == std::numeric_limits<double>::infinity())
    return larger;
  return larger + std::log1p(std::exp(smaller - larger));
}
/// Returns e^(a - b), where b >= a; 0 if a is -inf.
inline double weight_in(double a, double b) {
  if (a == -std::numeric_limits<double>::infinity()) return 0;
  return a == b ? 1 : std::exp(a - b);  // also if both are infinite
}

/// Calls body(sequence, head, row) in parallel for all rows of a call.
template <class Body>
void for_each_head_row(const AttentionLayout& layout, Threads* threads, Body body) {
  parallel_for(threads, layout.sequences() * layout.heads, 1, [&](Index i, Index) {
    const Index sequence = i % layout.sequences();
    for (Index row = layout.query_rows.begin(sequence); row < layout.query_rows.end(sequence); ++row)
      body(sequence, i / layout.sequences(), row);
  });
}

/// Gives the sinks their share: scales results and adds the sinks to the log-sum-exps.
template <class Scalar>
void apply_sinks(const AttentionLayout& layout, const HeadRows<Scalar>& out, const HeadRows<Scalar>& log_sum_exp,
                 Threads* threads) {
  for_each_head_row(layout, threads, [&](Index sequence, Index head, Index row) {
    Scalar& sum = *log_sum_exp.of(sequence).row(head, row);
    const double before = static_cast<double>(sum);
    const double after = log_add_exp(before, layout.sinks[static_cast<std::size_t>(head)]);
    sum = static_cast<Scalar>(after);
    const auto share = static_cast<Scalar>(weight_in(before, after));
    Scalar* const entries = out.of(sequence).row(head, row);
    for (Index e = 0; e < layout.value_width; ++e) entries[e] *= share;
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
