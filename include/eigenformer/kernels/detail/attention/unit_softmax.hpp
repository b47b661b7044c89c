// The online softmax of 16 queries, one per lane, for attention on a matrix unit.
#pragma once

#include <cmath>

#include "eigenformer/core/detail/exp2.hpp"
#include "eigenformer/core/matrix_unit_packing.hpp"
#include "eigenformer/kernels/detail/attention/call.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The softmax of a block of 16 queries over the keys so far. A weight is 2^(factor * score - reference), relative to a
/// reference of its query. The reference is the largest exponent of an earlier tile, not the largest so far: it changes
/// only when an exponent exceeds it by more than `headroom`, so results are rarely rescaled. Floats and bfloat16
/// numbers have the range for that.
class UnitSoftmax {
 public:
  static constexpr Index n = matrix_unit::block;

  void begin() {
    std::fill_n(reference_, n, std::numeric_limits<float>::lowest());
    std::fill_n(sum_, n, 0.0F);
  }

  /// Notes the scores [keys x 16] of the next keys. Rescales results [width x 16] if references change.
  void note(Index keys, const float* scores, float factor, Index width, float* results) {
    for (Index i = 0; i < n; i += lanes) {
      P first = simd::broadcast(hidden_score<float>), second = first;
      for (Index j = 0; j + 2 <= keys; j += 2) {
        first = simd::maximum(simd::load(scores + j * n + i), first);
        second = simd::maximum(simd::load(scores + (j + 1) * n + i), second);
      }
      if (keys % 2 != 0) first = simd::maximum(simd::load(scores + (keys - 1) * n + i), first);
      const P largest = simd::multiply(simd::maximum(first, second), simd::broadcast(factor));
      const P before = simd::load(reference_ + i), limit = simd::add(before, simd::broadcast(headroom));
      if (!simd::any_less<float>(limit, largest)) continue;
      const P now = simd::select_less(limit, largest, largest, before);
      const P rescale = simd::exp2<float>(simd::subtract(before, now));
      simd::store(reference_ + i, now);
      simd::store(sum_ + i, simd::multiply(simd::load(sum_ + i), rescale));
      for (Index f = 0; f < width; ++f) {
        float* const row = results + f * n + i;
        simd::store(row, simd::multiply(simd::load(row), rescale));
      }
    }
  }

  /// Replaces scores [keys x 16] by weights, and adds them to the sums.
  void weigh(Index keys, float* scores, float factor) {
    for_each_weight(keys, scores, factor,
                    [&](Index j, Index i, const P& weight) { simd::store(scores + j * n + i, weight); });
  }

  /// Computes the weights of scores [keys x 16] as pairs of keys, for a block of B, and adds them to the sums. `keys`
  /// must be even.
  void weigh_pairs(Index keys, const float* scores, float factor, Eigen::bfloat16* pairs) {
#if defined(EIGENFORMER_AVX512_BFLOAT16)
    P before = simd::broadcast(0.0F);
    for_each_weight(keys, scores, factor, [&](Index j, Index, const P& weight) {
      if (j % 2 == 0)
        before = weight;
      else
        matrix_unit::store_pairs(before, weight, pairs + j / 2 * matrix_unit::depth);
    });
#else
    for_each_weight(keys, scores, factor, [&](Index j, Index i, const P& weight) {
      alignas(64) float entries[lanes];
      simd::store(entries, weight);
      for (Index l = 0; l < lanes; ++l)
        pairs[j / 2 * matrix_unit::depth + (i + l) * 2 + j % 2] = Eigen::bfloat16(entries[l]);
    });
#endif
  }

  /// Writes the factors that turn results into means: the inverse of each sum, and 0 for a query that sees nothing.
  void inverse_sums(float* to) const {
    for (Index i = 0; i < n; ++i) to[i] = sum_[i] == 0 ? 0 : 1 / sum_[i];
  }
  /// Returns the log-sum-exp of a query's scores; minus infinity if it sees nothing.
  double log_sum_exp(Index query) const {
    if (sum_[query] == 0) return -std::numeric_limits<double>::infinity();
    return (static_cast<double>(reference_[query]) + std::log2(static_cast<double>(sum_[query]))) / log2_e<double>;
  }

 private:
  using P = simd::Packet<float>;
  static constexpr Index lanes = simd::lanes<float>;
  static constexpr float headroom = 10;  // weights are at most 2^10

  template <class Body>
  EIGEN_ALWAYS_INLINE void for_each_weight(Index keys, const float* scores, float factor, Body&& body) {
    constexpr int together = simd::exponentials_together;
    for (Index i = 0; i < n; i += lanes) {
      const P reference = simd::load(reference_ + i), factors = simd::broadcast(factor);
      P total = simd::broadcast(0.0F);
      Index j = 0;
      const auto weigh = [&]<int count>(std::integral_constant<int, count>) {
        P weights[count];
        EIGENFORMER_UNROLL
        for (int c = 0; c < count; ++c)
          weights[c] = simd::multiply_subtract(simd::load(scores + (j + c) * n + i), factors, reference);
        simd::exp2_for_16_bits(weights);
        EIGENFORMER_UNROLL
        for (int c = 0; c < count; ++c) {
          total = simd::add(total, weights[c]);
          body(j + c, i, weights[c]);
        }
        j += count;
      };
      while (j + together <= keys) weigh(std::integral_constant<int, together>());
      while (j < keys) weigh(std::integral_constant<int, 1>());
      simd::store(sum_ + i, simd::add(simd::load(sum_ + i), total));
    }
  }

  alignas(64) float reference_[n];
  alignas(64) float sum_[n];
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
