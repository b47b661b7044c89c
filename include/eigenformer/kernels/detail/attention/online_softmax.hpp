// The softmax of a block of queries over tiles of keys, one query per lane.
#pragma once

#include <array>

#include "eigenformer/core/detail/exp2.hpp"
#include "eigenformer/kernels/detail/attention/block_partition.hpp"
#include "eigenformer/kernels/detail/attention/call.hpp"
#include "eigenformer/kernels/detail/attention/tile_parts.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The online softmax of a block of queries over the keys so far (Milakov and Gimelshein 2018, arXiv 1805.02867; Dao et
/// al. 2022, arXiv 2205.14135). n = block_queries. All matrices have n columns and contiguous rows.
/// in_base_2: whether scores come multiplied by log2_e.
template <class Scalar, bool in_base_2>
class OnlineSoftmax {
 public:
  /// Starts with no keys. Must be called first: the constructor initialises nothing, because most objects of an array
  /// may stay unused.
  void begin() {
    largest_.fill(hidden_score<Scalar>);
    sum_.fill(Scalar(0));
  }

  /// Turns the scores [keys x n] of a tile's parts into weights, relative to the largest score so far or to one at most
  /// `slack` below it. Rescales earlier sums to match. largest: [n], each query's largest score in the tile. results:
  /// [width x n], the sums of weighted values.
  template <class Parts>
  void add(const Parts& parts, Scalar* scores, const Scalar* largest, Index width, Scalar* results) {
    for (Index packet = 0; packet < n / lanes; ++packet) {
      const P shift = raise(packet * lanes, simd::load(largest + packet * lanes), width, results);
      P sum = simd::broadcast(Scalar(0));
      for (const TilePart& part : parts)
        if (part.packet <= packet && packet < part.packet + part.packets)
          sum = weigh(part.keys, scores + part.key * n + packet * lanes, shift, sum);
      Scalar* total = sum_.data() + packet * lanes;
      simd::store(total, simd::add(simd::load(total), sum));
    }
  }

  /// Divides results [width x n] by the sums of weights. Results of queries that saw no key stay zero. Returns false if
  /// any result is infinite or NaN.
  EIGEN_DONT_INLINE bool finish(Index width, Scalar* results) const {
    const P zero = simd::broadcast(Scalar(0)), least = simd::broadcast((std::numeric_limits<Scalar>::min)());
    P factors[panel_packets], not_finite[panel_packets];  // not_finite: sums of 0 * result
    EIGENFORMER_UNROLL
    for (int p = 0; p < panel_packets; ++p) {
      const P sum = simd::load(sum_.data() + p * lanes);
      factors[p] = simd::select_less(sum, least, zero, simd::divide(simd::broadcast(Scalar(1)), sum));
      not_finite[p] = zero;
    }
    for (Index i = 0; i < width; ++i) {
      EIGENFORMER_UNROLL
      for (int p = 0; p < panel_packets; ++p) {
        Scalar* result = results + i * n + p * lanes;
        const P divided = simd::multiply(simd::load(result), factors[p]);
        not_finite[p] = simd::multiply_add(divided, zero, not_finite[p]);
        simd::store(result, divided);
      }
    }
    P all = not_finite[0];
    for (int p = 1; p < panel_packets; ++p) all = simd::add(all, not_finite[p]);
    return simd::sum_of_lanes<Scalar>(all) == 0;
  }

  /// Writes the log-sum-exp of each query's scores to `to` [n]; minus infinity for a query that saw no key.
  EIGEN_DONT_INLINE void log_sum_exp(Scalar* to) const {
    constexpr auto unit = static_cast<Scalar>(in_base_2 ? 1 / log2_e<double> : 1.0);
    for (Index l = 0; l < n; l += lanes)
      simd::store(to + l, simd::multiply_add(simd::load(largest_.data() + l), simd::broadcast(unit),
                                             simd::log(simd::load(sum_.data() + l))));
  }

 private:
  using P = simd::Packet<Scalar>;
  static constexpr Index n = block_queries<Scalar>;
  static constexpr int lanes = simd::lanes<Scalar>;
  // Sums are rescaled only if the largest score grows by more than this. So weights are at most 2^8.
  static constexpr auto slack = static_cast<Scalar>(in_base_2 ? 8.0 : 5.5);

  /// Where `top` exceeds the largest scores so far by more than `slack`, replaces them by `top` and rescales sums and
  /// results to match. lane: the first of a packet of queries. Returns the number to subtract from each query's scores.
  P raise(Index lane, const P& top, Index width, Scalar* results) {
    Scalar* kept = largest_.data() + lane;
    const P before = simd::load(kept);
    const P limit = simd::add(before, simd::broadcast(slack));
    if (!simd::any_less<Scalar>(limit, top)) return shift_of(before);
    const P largest = simd::select_less(limit, top, top, before);
    simd::store(kept, largest);
    const P hidden = simd::broadcast(hidden_score<Scalar>);
    if (!simd::any_less<Scalar>(hidden, before)) return shift_of(largest);  // nothing to rescale yet
    P factors[] = {simd::select_less(limit, top, simd::subtract(before, top), simd::broadcast(Scalar(0)))};
    exponentiate(factors);
    const P factor = factors[0];
    simd::store(sum_.data() + lane, simd::multiply(simd::load(sum_.data() + lane), factor));
    for (Index i = 0; i < width; ++i) {
      Scalar* result = results + i * n + lane;
      simd::store(result, simd::multiply(simd::load(result), factor));
    }
    return shift_of(largest);
  }

  /// Turns scores into weights in place. Returns `sum` plus the weights.
  EIGEN_DONT_INLINE static P weigh(Index keys, Scalar* scores, const P& shift, P sum) {
    constexpr int together = simd::exponentials_together;
    Index j = 0;
    for (; j + together <= keys; j += together) sum = weigh_some<together>(scores + j * n, shift, sum);
    for (; j < keys; ++j) sum = weigh_some<1>(scores + j * n, shift, sum);
    return sum;
  }
  /// Turns the scores of `keys` keys into weights in place. Returns `sum` plus the weights.
  template <int keys>
  EIGEN_ALWAYS_INLINE static P weigh_some(Scalar* scores, const P& shift, P sum) {
    P weights[keys];
    // Subtract first, so that weights depend on differences of scores, not on their size. A fused (x log2 e - shift)
    // would save an instruction, but round the shift, with an error that grows with the scores.
    EIGENFORMER_UNROLL
    for (int j = 0; j < keys; ++j) weights[j] = simd::subtract(simd::load(scores + j * n), shift);
    exponentiate(weights);
    EIGENFORMER_UNROLL
    for (int j = 0; j < keys; ++j) {
      sum = simd::add(sum, weights[j]);
      simd::store(scores + j * n, weights[j]);
    }
    return sum;
  }

  /// Replaces differences of scores by their exponentials: to base 2 with in_base_2, else to base e.
  template <int count>
  EIGEN_ALWAYS_INLINE static void exponentiate(P (&differences)[count]) {
    if constexpr (!in_base_2) {
      EIGENFORMER_UNROLL
      for (int i = 0; i < count; ++i) differences[i] = simd::multiply(differences[i], simd::broadcast(log2_e<Scalar>));
    }
    simd::exp2_each<Scalar>(differences);
  }

  /// Returns the number to subtract from scores: the largest score, or 0 for a query that has seen no key.
  static P shift_of(const P& largest) {
    return simd::select_less(simd::as_unknown(simd::broadcast(hidden_score<Scalar>)), largest, largest,
                             simd::broadcast(Scalar(0)));
  }

  std::array<Scalar, n> largest_, sum_;
};

/// Raises each of `largest` to the maximum of itself and its query's scores, for `packets` packets of queries. scores:
/// [keys x queries], with rows block_queries entries apart.
template <class Scalar>
EIGEN_DONT_INLINE void note_largest(Index keys, Index packets, const Scalar* scores, Scalar* largest) {
  constexpr Index n = block_queries<Scalar>, lanes = simd::lanes<Scalar>;
  constexpr int chains = 4;  // independent maxima, to hide their latency
  for (Index l = 0; l < packets * lanes; l += lanes) {
    simd::Packet<Scalar> top[chains];
    EIGENFORMER_UNROLL
    for (int i = 0; i < chains; ++i) top[i] = simd::load(largest + l);
    Index j = 0;
    for (; j + chains <= keys; j += chains) {
      EIGENFORMER_UNROLL
      for (int i = 0; i < chains; ++i) top[i] = simd::maximum(simd::load(scores + (j + i) * n + l), top[i]);
    }
    for (; j < keys; ++j) top[0] = simd::maximum(simd::load(scores + j * n + l), top[0]);
    simd::store(largest + l, simd::maximum(simd::maximum(top[0], top[1]), simd::maximum(top[2], top[3])));
  }
}

EIGENFORMER_FLOAT(void note_largest(Index, Index, const float*, float*));
EIGENFORMER_DOUBLE(void note_largest(Index, Index, const double*, double*));

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
