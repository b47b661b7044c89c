// The online softmax of 16 queries, one per lane, for attention on a matrix unit.
#pragma once

#include <cmath>

#include "eigenformer/core/detail/exp2.hpp"
#include "eigenformer/core/matrix_unit_packing.hpp"
#include "eigenformer/kernels/detail/attention/call.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The softmax of a block of 16 queries over the keys so far. A weight is 2^(factor * (score - reference)). Each query
/// has a reference: the largest score that some call of note() saw, not necessarily the largest so far. It changes
/// only when a weight would exceed 2^headroom, so results are rarely rescaled. If values are so large that their sums
/// with such weights overflow, the float kernels compute the query again.
class UnitSoftmax {
 public:
  static constexpr Index n = matrix_unit::block;

  /// Starts without keys. factor: turns scores into exponents of 2; 0 or more.
  void begin(float factor) {
    factor_ = factor;
    std::fill_n(reference_, n, std::numeric_limits<float>::lowest());
    std::fill_n(exponent_, n, std::numeric_limits<float>::lowest());
    std::fill_n(sum_, n, 0.0F);
  }

  /// Updates the references for the scores [keys x 16] of the next keys. Calls before_rescaling() before it rescales
  /// results [width x 16]: once for each packet whose references change.
  template <class Callback>
  void note(Index keys, const float* scores, Index width, float* results, Callback&& before_rescaling) {
    const P factor = simd::broadcast(factor_);
    for (Index i = 0; i < n; i += lanes) {
      P first = simd::broadcast(hidden_score<float>), second = first;
      for (Index j = 0; j + 2 <= keys; j += 2) {
        first = simd::maximum(simd::load(scores + j * n + i), first);
        second = simd::maximum(simd::load(scores + (j + 1) * n + i), second);
      }
      if (keys % 2 != 0) first = simd::maximum(simd::load(scores + (keys - 1) * n + i), first);
      const P largest = simd::maximum(first, second), hidden = simd::as_unknown(simd::broadcast(hidden_score<float>));
      const P exponent = simd::select_less(
          hidden, largest, simd::maximum(simd::multiply(largest, factor), simd::broadcast(least_exponent)), hidden);
      const P before = simd::load(exponent_ + i), limit = simd::add(before, simd::broadcast(headroom));
      if (!simd::any_less<float>(limit, exponent)) continue;
      before_rescaling();
      const P now = simd::select_less(limit, exponent, exponent, before);
      // Where the reference stays, not by the difference: it is NaN if the exponent is infinite.
      const P rescale =
          simd::select_less(limit, exponent, simd::exp2<float>(simd::subtract(before, now)), simd::broadcast(1.0F));
      simd::store(exponent_ + i, now);
      simd::store(reference_ + i, simd::select_less(limit, exponent, largest, simd::load(reference_ + i)));
      simd::store(sum_ + i, simd::multiply(simd::load(sum_ + i), rescale));
      for (Index f = 0; f < width; ++f) {
        float* const row = results + f * n + i;
        simd::store(row, simd::multiply(simd::load(row), rescale));
      }
    }
  }

  /// Replaces scores [keys x 16] with weights, and adds them to the sums.
  void weigh(Index keys, float* scores) {
    for_each_weight(keys, scores, [&](Index j, Index i, const P& weight) { simd::store(scores + j * n + i, weight); });
  }

  /// Computes the weights of scores [keys x 16] as pairs of keys, for a block of B, and adds them to the sums. `keys`
  /// must be even.
  void weigh_pairs(Index keys, const float* scores, Eigen::bfloat16* pairs) {
#if defined(EIGENFORMER_AVX512_BFLOAT16)
    P before = simd::broadcast(0.0F);
    for_each_weight(keys, scores, [&](Index j, Index, const P& weight) {
      if (j % 2 == 0)
        before = weight;
      else
        matrix_unit::store_pairs(before, weight, pairs + j / 2 * matrix_unit::depth<Eigen::bfloat16>);
    });
#else
    for_each_weight(keys, scores, [&](Index j, Index i, const P& weight) {
      alignas(64) float entries[lanes];
      simd::store(entries, weight);
      for (Index l = 0; l < lanes; ++l)
        pairs[j / 2 * matrix_unit::depth<Eigen::bfloat16> + (i + l) * 2 + j % 2] = Eigen::bfloat16(entries[l]);
    });
#endif
  }

  /// Writes the factors that turn results into weighted means: the inverse of each sum, or 0 if a query sees nothing.
  void inverse_sums(float* to) const {
    for (Index i = 0; i < n; ++i) to[i] = sum_[i] == 0 ? 0 : 1 / sum_[i];
  }
  /// Returns the log-sum-exp of a query's scores; minus infinity if it sees nothing.
  double log_sum_exp(Index query) const {
    if (sum_[query] == 0) return -std::numeric_limits<double>::infinity();
    const double exponent = std::abs(exponent_[query]) > large_exponent
                                ? static_cast<double>(reference_[query]) * static_cast<double>(factor_)
                                : static_cast<double>(exponent_[query]);
    return (exponent + std::log2(static_cast<double>(sum_[query]))) / log2_e<double>;
  }

 private:
  using P = simd::Packet<float>;
  static constexpr Index lanes = simd::lanes<float>;
  static constexpr float headroom = 10;  // weights are at most 2^10

  // factor * score - exponent takes one multiply-add, but has the rounding error of the exponent: up to 2^-24 of it.
  // Above this limit, score - reference is computed first: such scores have large errors themselves, but their
  // differences are exact.
  static constexpr float large_exponent = 0x1p20F;
  // The least exponent of a visible score. It is above the initial one, also where the product with the factor is not.
  static constexpr float least_exponent = std::numeric_limits<float>::lowest() / 2;

  P size_of_exponent(Index i) const {
    const P exponent = simd::load(exponent_ + i);
    return simd::maximum(exponent, simd::subtract(simd::broadcast(0.0F), exponent));
  }

  /// Calls body(key, first query, weights) for each packet of weights, and adds them to the sums.
  template <class Body>
  EIGEN_ALWAYS_INLINE void for_each_weight(Index keys, const float* scores, Body&& body) {
    for (Index i = 0; i < n; i += lanes) {
      if (simd::any_less<float>(simd::broadcast(large_exponent), size_of_exponent(i)))
        for_each_weight<true>(keys, scores, i, body);
      else
        for_each_weight<false>(keys, scores, i, body);
    }
  }
  template <bool large, class Body>
  EIGEN_ALWAYS_INLINE void for_each_weight(Index keys, const float* scores, Index i, Body&& body) {
    constexpr int together = simd::exponentials_together;
    const P factor = simd::broadcast(factor_), exponent = simd::load(exponent_ + i);
    P total = simd::broadcast(0.0F);
    const auto weigh = [&]<int count>(std::integral_constant<int, count>, Index j) {
      P weights[count];
      EIGENFORMER_UNROLL
      for (int c = 0; c < count; ++c) {
        const P score = simd::load(scores + (j + c) * n + i);
        weights[c] = simd::multiply_subtract(score, factor, exponent);
        if constexpr (large) {
          const P difference = simd::multiply(simd::subtract(score, simd::load(reference_ + i)), factor);
          weights[c] = simd::select_less(simd::broadcast(large_exponent), size_of_exponent(i), difference, weights[c]);
        }
      }
      simd::exp2_for_16_bits(weights);
      EIGENFORMER_UNROLL
      for (int c = 0; c < count; ++c) body(j + c, i, weights[c]);
      // Adds the weights in pairs first, because each addition to `total` waits for the previous one.
      static_assert((count & (count - 1)) == 0);
      EIGENFORMER_UNROLL
      for (int half = count / 2; half > 0; half /= 2) {
        EIGENFORMER_UNROLL
        for (int c = 0; c < half; ++c) weights[c] = simd::add(weights[c], weights[c + half]);
      }
      total = simd::add(total, weights[0]);
    };
    Index j = 0;
    for (; j + together <= keys; j += together) weigh(std::integral_constant<int, together>(), j);
    for (; j < keys; ++j) weigh(std::integral_constant<int, 1>(), j);
    simd::store(sum_ + i, simd::add(simd::load(sum_ + i), total));
  }

  float factor_;
  alignas(64) float exponent_[n];  // factor * reference
  alignas(64) float reference_[n];
  alignas(64) float sum_[n];
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
