// Length and coverage penalties: how beam search scores finished hypotheses of different lengths.
#pragma once

#include <algorithm>
#include <cmath>

#include "eigenformer/decode/options.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns the divisor of a hypothesis's log-probability:
/// - average: length^alpha
/// - gnmt: (5 + length)^alpha / 6^alpha (Wu et al. 2016, arXiv 1609.08144, equation 14)
/// length: the number of tokens without the end token; 0 counts as 1.
inline double length_penalty(LengthPenalty type, double alpha, Index length) {
  const auto tokens = static_cast<double>(std::max<Index>(1, length));
  return std::pow(type == LengthPenalty::gnmt ? (5 + tokens) / 6 : tokens, alpha);
}

/// Returns the coverage penalty beta * sum_j log(min(sum_i p_ij, 1)), at most 0 (Wu et al. 2016, equation 14). p_ij is
/// the weight with which target token i attends to source token j. As in CTranslate2, the end token has no row, and
/// source tokens without any weight are left out. coverage: sum_i p_ij for each j, any dense Eigen vector.
template <class Derived>
double coverage_penalty(double beta, const Eigen::DenseBase<Derived>& coverage) {
  double sum = 0;
  for (Index j = 0; j < coverage.size(); ++j) {
    const auto covered = static_cast<double>(coverage.derived()(j));
    if (covered > 0) sum += std::log(std::min<double>(covered, 1));
  }
  return beta * sum;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
