// The blocks into which the queries of a sequence are cut: each goes over the keys as one.
#pragma once

#include <algorithm>

#include "eigenformer/kernels/detail/gemm/register_tile.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Queries of a block: as wide as the widest register tile, which both products are made of.
template <class Scalar>
inline constexpr Index block_queries = panel_width<Scalar>;

/// Blocks of a sequence of so many queries.
template <class Scalar>
constexpr Index query_blocks(Index queries) {
  return (queries + block_queries<Scalar> - 1) / block_queries<Scalar>;
}

/// Where a block of a sequence begins, or, for the one after the last, the sequence ends. All but the last two have
/// block_queries; these two do not leave one packet to the last, of which register tiles are a fifth slower than of two
/// or three. (64 queries and keys, d = 64, on a Xeon: 1.05 times the speed.) It depends
/// on the number of queries alone, not on the batch or the threads, since so does the order of a query's sums. Tiles of
/// the backward that are of several blocks cut these anew.
template <class Scalar>
constexpr Index query_block_begin(Index queries, Index block) {
  constexpr Index lanes = simd::lanes<Scalar>;
  const Index packets = (queries + lanes - 1) / lanes;
  const bool is_last = block == query_blocks<Scalar>(queries) - 1;
  const Index taken = is_last && block > 0 && packets % panel_packets == 1 ? 1 : 0;  // from the block before
  return std::min<Index>(queries, (block * panel_packets - taken) * lanes);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
