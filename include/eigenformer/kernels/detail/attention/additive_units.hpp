// Kernels of additive attention: the hidden units tanh(q_i + k_j), the scores v . tanh(q_i + k_j), and their gradients.
//
// The cost is mostly one tanh for each combination of query, key and hidden unit. It takes one exp2 and one division:
// tanh x = 1 - 2 r with r = 1 / (1 + e^2x). Softmax ignores a constant added to all scores of a query, so the scores
// are -2 v . r. The absolute error of tanh x is a few times the rounding error of 1. Only the absolute error matters,
// because the scores go through exp.
#pragma once

#include <algorithm>

#include "eigenformer/core/detail/exp2.hpp"
#include "eigenformer/kernels/detail/gemm/operands.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Computes e = exp(2 x) and r = 1 / (1 + e) for a packet x. Then tanh x = 1 - 2 r, and its slope is 4 e r^2.
template <class Scalar>
struct TanhParts {
  using P = simd::Packet<Scalar>;
  EIGEN_ALWAYS_INLINE explicit TanhParts(const P& x)
      : e(simd::exp2<Scalar>(simd::minimum(simd::multiply(x, simd::broadcast(Scalar(2.88539008177792681472))),
                                           simd::broadcast(Scalar(126))))),  // 2 log2(e); clamped to prevent infinity
        r(simd::divide(simd::broadcast(Scalar(1)), simd::add(e, simd::broadcast(Scalar(1))))) {}
  P e;
  P r;
};

/// Writes the scores [keys] of one query. q holds the query, minus_2v holds -2 v, and k holds one key per row. All are
/// padded to `packets` packets.
template <class Scalar>
EIGEN_DONT_INLINE void additive_scores(Index keys, Index packets, const Scalar* q, const Strided<Scalar>& k,
                                       const Scalar* minus_2v, Scalar* scores) {
  constexpr Index lanes = simd::lanes<Scalar>;
  for (Index j = 0; j < keys; ++j) {
    const Scalar* key = k.data + j * k.row_stride;
    // One accumulator is enough: every addition waits for its division anyway.
    auto sum = simd::broadcast(Scalar(0));
    for (Index c = 0; c < packets * lanes; c += lanes) {
      const TanhParts<Scalar> tanh(simd::add(simd::load(q + c), simd::load(key + c)));
      sum = simd::multiply_add(simd::load(minus_2v + c), tanh.r, sum);
    }
    scores[j] = simd::sum_of_lanes<Scalar>(sum);
  }
}

/// Loads a packet from the `count` entries at `from`. Lanes beyond `count` are zero.
template <class Scalar>
simd::Packet<Scalar> load_part(const Scalar* from, Index count) {
  constexpr Index lanes = simd::lanes<Scalar>;
  if (count >= lanes) return simd::load(from);
  Scalar part[lanes] = {};
  std::copy_n(from, count, part);
  return simd::load(part);
}

/// Stores the first `count` lanes of a packet, or all lanes if there are fewer.
template <class Scalar>
void store_part(Scalar* to, Index count, const simd::Packet<Scalar>& packet) {
  constexpr Index lanes = simd::lanes<Scalar>;
  if (count >= lanes) return simd::store(to, packet);
  Scalar part[lanes];
  simd::store(part, packet);
  std::copy_n(part, count, to);
}

/// The contributions of one query to the gradients, for one packet of hidden units. They lack constant factors: the
/// caller multiplies d_q by 4 v, and d_v by -2.
template <class Scalar>
struct AdditiveGradients {
  simd::Packet<Scalar> d_q;  // sum over keys of d_score e r^2
  simd::Packet<Scalar> d_v;  // sum over keys of d_score r
};

/// Returns the contributions of one query to the gradients, for one packet q of its hidden units. Adds d_score e r^2 to
/// each key's row of `d_keys`. key_panel: [keys x lanes], each key's packet of the same hidden units. d_keys: [keys x
/// lanes], their gradients, which the caller multiplies by 4 v. d_scores: [keys], the gradients of the query's scores.
template <class Scalar>
EIGEN_DONT_INLINE AdditiveGradients<Scalar> add_additive_gradients(Index keys, const simd::Packet<Scalar>& q,
                                                                   const Scalar* key_panel, const Scalar* d_scores,
                                                                   Scalar* d_keys) {
  constexpr Index lanes = simd::lanes<Scalar>;
  auto d_q = simd::broadcast(Scalar(0)), d_v = simd::broadcast(Scalar(0));
  for (Index j = 0; j < keys; ++j) {
    const TanhParts<Scalar> tanh(simd::add(q, simd::load(key_panel + j * lanes)));
    const auto slope = simd::multiply(simd::multiply(tanh.e, tanh.r), tanh.r);
    const auto d_score = simd::broadcast(d_scores[j]);
    d_q = simd::multiply_add(d_score, slope, d_q);
    d_v = simd::multiply_add(d_score, tanh.r, d_v);
    simd::store(d_keys + j * lanes, simd::multiply_add(d_score, slope, simd::load(d_keys + j * lanes)));
  }
  return {d_q, d_v};
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
