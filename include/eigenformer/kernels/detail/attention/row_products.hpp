// The two products of attention of few queries. Both read rows of keys or values along the features, once per query.
#pragma once

#include <type_traits>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/kernels/detail/gemm/product.hpp"
#include "eigenformer/kernels/scores/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Contiguous rows of queries, each padded to whole packets.
template <class Scalar>
struct QueryRows {
  const Scalar* data;
  Index rows;
  Index packets;  // per row
};

/// Rows of keys or values, each padded to whole packets.
template <class Scalar>
struct PacketRows {
  const Scalar* data;
  Index row_stride;
  const Index* numbers = nullptr;  // of the rows, in multiples of the stride; null: 0, 1, 2, ..

  /// Returns the rows without their first `count` columns.
  PacketRows from_column(Index count) const { return {data + count, row_stride, numbers}; }
};

/// Writes Q K^T to `scores`, whose rows are padded to whole packets. Processes as many keys together as there are
/// lanes, each with a register of sums. Lanes beyond the last key repeat that key.
template <class Scalar>
EIGEN_DONT_INLINE void multiply_by_keys(const QueryRows<Scalar>& q_rows, Index keys, const PacketRows<Scalar>& key_rows,
                                        const ContiguousRows<Scalar>& scores) {
  // Copies, because the stores below could change what references refer to.
  const Index rows = q_rows.rows, width = q_rows.packets * simd::lanes<Scalar>, stride = scores.stride;
  const Scalar* const queries = q_rows.data;
  const PacketRows<Scalar> from = key_rows;
  using P = simd::Packet<Scalar>;
  constexpr Index lanes = simd::lanes<Scalar>;
  constexpr Index together = std::min<Index>(lanes, 8);  // keys whose addresses stay in registers
  for (Index j = 0; j < keys; j += lanes) {
    const Scalar* key[lanes];
    if (from.numbers == nullptr)
      for (Index i = 0; i < lanes; ++i) key[i] = from.data + std::min<Index>(j + i, keys - 1) * from.row_stride;
    else
      for (Index i = 0; i < lanes; ++i)
        key[i] = from.data + from.numbers[std::min<Index>(j + i, keys - 1)] * from.row_stride;
    const Scalar* q = queries;
    Scalar* to = scores.data + j;
    for (Index r = 0; r < rows; ++r, q += width, to += stride) {
      P sums[lanes];
      EIGENFORMER_UNROLL
      for (Index first = 0; first < lanes; first += together) {
        EIGENFORMER_UNROLL
        for (Index i = first; i < first + together; ++i) sums[i] = simd::broadcast(Scalar(0));
        for (Index c = 0; c < width; c += lanes) {
          const P query = simd::load(q + c);
          EIGENFORMER_UNROLL
          for (Index i = first; i < first + together; ++i)
            sums[i] = simd::multiply_add(query, simd::load(key[i] + c), sums[i]);
        }
      }
      simd::store(to, simd::sums_of_lanes<Scalar>(sums));
    }
  }
}

/// Adds weights [keys] V to result [packets * lanes], for one query. The keys alternate between `chains` sums per
/// packet: eight sums in total hide the latency of the additions. If `scores` is not null, the values of hidden keys
/// are not read. numbered: whether values.numbers is not null.
template <class Scalar, int packets, int chains, bool numbered>
EIGEN_DONT_INLINE void add_values(Index keys, const Scalar* weights, const Scalar* scores,
                                  const PacketRows<Scalar>& value_rows, Scalar* result) {
  const PacketRows<Scalar> values =
      value_rows;  // a copy, because the stores below could change what a reference refers to
  using P = simd::Packet<Scalar>;
  constexpr Index lanes = simd::lanes<Scalar>;
  P sums[chains][packets];
  EIGENFORMER_UNROLL
  for (int p = 0; p < packets; ++p) {
    sums[0][p] = simd::load(result + p * lanes);
    EIGENFORMER_UNROLL
    for (int chain = 1; chain < chains; ++chain) sums[chain][p] = simd::broadcast(Scalar(0));
  }
  for (Index j = 0; j < keys; j += chains) {
    EIGENFORMER_UNROLL
    for (int chain = 0; chain < chains; ++chain) {
      const Index key = j + chain;
      if (key >= keys || (scores != nullptr && is_minus_infinity(scores[key]))) continue;
      const P weight = simd::broadcast(weights[key]);
      const Scalar* const row = values.data + (numbered ? values.numbers[key] : key) * values.row_stride;
      EIGENFORMER_UNROLL
      for (int p = 0; p < packets; ++p)
        sums[chain][p] = simd::multiply_add(weight, simd::load(row + p * lanes), sums[chain][p]);
    }
  }
  EIGENFORMER_UNROLL
  for (int p = 0; p < packets; ++p) {
    EIGENFORMER_UNROLL
    for (int chain = 1; chain < chains; ++chain) sums[0][p] = simd::add(sums[0][p], sums[chain][p]);
    simd::store(result + p * lanes, sums[0][p]);
  }
}
/// Adds weights [keys] V to result [packets * lanes], for one query and any number of packets. If `scores` is not null,
/// the values of hidden keys are not read.
template <class Scalar>
void add_values(Index keys, Index packets, const Scalar* weights, const Scalar* scores,
                const PacketRows<Scalar>& values, Scalar* result) {
  constexpr Index lanes = simd::lanes<Scalar>;
  Index p = 0;
  const auto rest = [&](auto count) {
    constexpr int together = count;
    for (; p + together <= packets; p += together) {
      const PacketRows<Scalar> part = values.from_column(p * lanes);
      if (part.numbers == nullptr)
        add_values<Scalar, together, 8 / together, false>(keys, weights, scores, part, result + p * lanes);
      else
        add_values<Scalar, together, 8 / together, true>(keys, weights, scores, part, result + p * lanes);
    }
  };
  rest(std::integral_constant<int, 8>{});
  rest(std::integral_constant<int, 4>{});
  rest(std::integral_constant<int, 1>{});
}

EIGENFORMER_FLOAT(void multiply_by_keys(const QueryRows<float>&, Index, const PacketRows<float>&,
                                        const ContiguousRows<float>&));
EIGENFORMER_DOUBLE(void multiply_by_keys(const QueryRows<double>&, Index, const PacketRows<double>&,
                                         const ContiguousRows<double>&));
EIGENFORMER_FLOAT(void add_values(Index, Index, const float*, const float*, const PacketRows<float>&, float*));
EIGENFORMER_DOUBLE(void add_values(Index, Index, const double*, const double*, const PacketRows<double>&, double*));

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
