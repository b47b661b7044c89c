// Attention of blocks of queries, one query per lane.
//
// A register holds the scores of one key, or the results of one value feature, for as many queries as it has lanes: the
// kernel computes S^T = K Q^T and O^T = V^T P^T. Keys and values are broadcast entry by entry from where they lie, so
// only queries and results are ever transposed. The maximum, the sum, the rescaling and the exponential work lane by
// lane, without sums across a register. Lanes never mix, so a query's result does not depend on its neighbours.
#pragma once

#include "eigenformer/kernels/detail/attention/hidden_keys.hpp"
#include "eigenformer/kernels/detail/attention/key_tiles.hpp"
#include "eigenformer/kernels/detail/attention/online_softmax.hpp"
#include "eigenformer/kernels/detail/attention/result_rows.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

// d = width of a key head, e = width of a value head, n = block_queries.

/// The largest number of query blocks that go over the keys together.
template <class Scalar>
inline constexpr Index max_query_blocks = 1536 / block_queries<Scalar>;

/// Returns how many query blocks go over the keys together, so that a tile of keys is fetched once for all of them.
///
/// - Usually as many as fit on the stack of TileMemory, up to four.
/// - More if a tile is copied, or if one head's keys and values of the longest sequence take more than 1 MB, which a
///   core's caches may not hold. Then the blocks that go together take at most 5/8 MB. If threads are to `share` the
///   blocks, at most a sixteenth of all blocks go together, and at most max_query_blocks / 4.
///
/// Measured: Zen 3, 64 blocks instead of 16, rows 1024 floats apart, d = 64: 1.16 times the speed with n = 2048, 1.05
/// with 512.
/// Measured: Zen 3, 64 blocks instead of 16, contiguous rows, n = 8192: 1.05 to 1.1 times the speed with d = 128, equal
/// with 64.
/// Measured: Zen 3, 16 blocks instead of 2, d = 128, n = 8192: 1.8 times the speed.
/// Measured: Xeon with 2 MB of L2 cache, limit of 1 MB for all keys and values instead of 2 MB, d = 128, n = 2048: 1.04
/// times the speed.
template <class Scalar, class Stored>
Index blocks_together(const AttentionLayout& layout, const HeadRows<const Stored>& k, const HeadRows<const Stored>& v,
                      bool share) {
  using Reader = TileReader<Scalar>;
  const Index width = layout.key_width + layout.value_width, size = sizeof(Scalar);
  const Index block = std::max<Index>(width, 1) * block_queries<Scalar>;
  const Index few = std::clamp<Index>(TileMemory<Scalar>::capacity / block, 1, 4);
  const Index queries = layout.query_rows.max_length(), keys = layout.key_rows.max_length();
  const bool are_far = keys * width * size > (Index(1) << 20);
  if (!are_far && !Reader::copies(k, layout, queries, keys) && !Reader::copies(v, layout, queries, keys)) return few;
  const Index all = layout.query_rows.rows() / block_queries<Scalar> * layout.heads;
  const Index most = share ? std::min<Index>(max_query_blocks<Scalar> / 4, all / 16) : max_query_blocks<Scalar>;
  return std::max<Index>(few, std::min<Index>(most, (Index(5) << 17) / (block * size)));
}

/// max_tile_keys: the most keys of any tile. partly_hidden_tile_keys: the most keys of a tile in which some are hidden,
/// unless the score reads rows of keys. Such tiles are smaller, because a part is computed and masked as a whole, even
/// if most of it is hidden.
/// Measured: attention_bench, d = 64, n = 2048: 88.2 % of the peak with 128 keys, 89.1 with 512; causal, n = 512: 78.8
/// and 76.5.
/// Measured: Zen 3, with smaller caches: 256 keys have up to 1.02 times the speed of 512; with d = 128, 1.07 times.
inline constexpr Index max_tile_keys = 512, partly_hidden_tile_keys = 128;
/// Returns the number of keys per tile. Every tile has fixed costs, so tiles are large, but a copied tile should fit on
/// the stack of TileReader. Scores that read rows of keys get the largest tiles.
template <class Scalar, Score S>
Index tile_keys(const AttentionLayout& layout) {
  if (ScoreTraits<S>::reads_rows_of_keys) return max_tile_keys;
  const Index width = padded<Scalar>(std::max<Index>({layout.key_width, layout.value_width, 1}));
  return std::clamp<Index>(TileReader<Scalar>::capacity / width, 16, max_tile_keys / 2);
}

/// Consecutive whole blocks of one head's queries, at most max_query_blocks.
template <class Scalar, class Stored, Score S>
class QueryBlocks {
 public:
  using Call = AttentionCall<Scalar, Stored, S>;

  /// Loads the queries of `tile`.
  QueryBlocks(const Call& call, const ScoreTile& tile, HiddenKeys hidden)
      : call_(call),
        tile_(tile),
        hidden_(hidden),
        first_block_(query_blocks<Scalar>(tile.query_begin)),
        blocks_(query_blocks<Scalar>(tile.query_end) - first_block_),
        memory_(blocks_ * block_size()) {
    eigen_assert(call.rows.out.col_stride == 1 || e() <= 1);
    for (Index block = 0; block < blocks_; ++block) {
      pack_panel<Scalar>(d(), queries(block), transposed(call.rows.q.of(tile.sequence).from(tile.head, row(block))),
                         {q(block), n}, call.query_scale());
      std::fill_n(results(block), e() * n, Scalar(0));
      softmax_[block].begin();
    }
  }

  /// Returns how keys are split into tiles for `attend`.
  KeyTileSizes key_tiles() const {
    const Index keys = tile_keys<Scalar, S>(call_.layout);
    return {.keys = keys, .partly_hidden = keys};
  }

  /// Processes the next tile of keys.
  void attend(const KeyTile<Scalar>& keys) {
    for (Index block = 0; block < blocks_; ++block) {
      KeyTile<Scalar> own = keys;
      own.tile.query_begin = begin(block);
      own.tile.query_end = begin(block + 1);
      if (keys.seen != Visible::all) own.seen = call_.score.visible(own.tile);
      if (own.seen == Visible::none) continue;
      if (own.seen != Visible::some || ScoreTraits<S>::reads_rows_of_keys) {
        attend(block, own);
        continue;
      }
      for (Index key = own.tile.key_begin; key < own.tile.key_end; key += partly_hidden_tile_keys) {
        KeyTile<Scalar> part = own.part(key, std::min<Index>(own.tile.key_end, key + partly_hidden_tile_keys));
        part.seen = call_.score.visible(part.tile);
        attend(block, part);
      }
    }
  }

  /// Writes the results. Returns false, with results incomplete, if they must be finite but are not.
  bool finish(bool must_be_finite) {
    for (Index block = 0; block < blocks_; ++block) {
      if (!softmax_[block].finish(e(), results(block)) && must_be_finite) return false;
      store_rows(results(block), e(), queries(block), call_.rows.out.of(tile_.sequence).row(tile_.head, row(block)),
                 call_.rows.out.row_stride);
      if (!call_.asks_log_sum_exp()) continue;
      alignas(64) Scalar of_block[n];
      softmax_[block].log_sum_exp(of_block);
      for (Index i = 0; i < queries(block); ++i) call_.write_log_sum_exp(tile_, row(block) + i, of_block[i]);
    }
    return true;
  }

 private:
  static constexpr Index n = block_queries<Scalar>, lanes = simd::lanes<Scalar>;

  Index d() const { return call_.layout.key_width; }
  Index e() const { return call_.layout.value_width; }
  Index begin(Index block) const { return query_block_begin<Scalar>(tile_.queries, first_block_ + block); }
  Index queries(Index block) const { return begin(block + 1) - begin(block); }
  Index row(Index block) const { return tile_.first_row + begin(block); }
  Index block_size() const { return (d() + e()) * n; }
  Scalar* q(Index block) const { return memory_.data() + block * block_size(); }  // [d x n], scaled
  Scalar* results(Index block) const { return q(block) + d() * n; }               // [e x n]

  /// Returns whether the score is applied to a part. If so, the score may hide some of the part.
  static bool applies_to(const TilePart& part) { return part.seen == Visible::some || ScoreTraits<S>::changes_values; }

  /// Processes a tile of keys for one block of queries. The result does not depend on the other blocks.
  void attend(Index block, const KeyTile<Scalar>& keys) {
    const TileParts<Scalar, n> parts(call_.score, keys.tile, keys.seen);
    alignas(64) Scalar largest[n];
    std::fill_n(largest, n, hidden_score<Scalar>);
    for (const TilePart& part : parts) {
      const Index lane = part.packet * lanes;
      const bool applies = applies_to(part);
      const ContiguousRows<Scalar> s{scores_ + part.key * n + lane, n};
      multiply_packets<Scalar>({.rows = part.keys,
                                .cols = part.packets * lanes,
                                .depth = d(),
                                .a = keys.keys.from_row(part.key),
                                .b = {q(block) + lane, n},
                                .start = {},
                                .c = s},
                               applies ? nullptr : largest + lane);
      if (!applies) continue;
      const Index queries = part.tile.query_end - part.tile.query_begin;
      apply_score(call_.score, part.tile, ScoreBlock<Scalar>(s.data, queries, part.keys, Eigen::OuterStride<>(n)),
                  hidden_);
      note_largest(part.keys, part.packets, s.data, largest + lane);
    }
    const ScoresBefore<Scalar> before(hidden_, scores_, keys.size() * n);
    softmax_[block].add(parts, scores_, largest, e(), results(block));
    for (const TilePart& part : parts) {
      const Index lane = part.packet * lanes;
      const ContiguousRows<Scalar> weights{scores_ + part.key * n + lane, n};
      // After the softmax, because its sum includes the dropped weights.
      if (call_.dropout.active()) call_.dropout.apply(part.tile, weights.data, 1, n);
      if (before.data() != nullptr && applies_to(part)) {
        add_visible_values(part, before.data(), scores_, keys.values, e(), results(block));
        continue;
      }
      const ContiguousRows<Scalar> result{results(block) + lane, n};
      multiply_packets<Scalar>({.rows = e(),
                                .cols = part.packets * lanes,
                                .depth = part.keys,
                                .a = transposed(keys.values.from_row(part.key)),
                                .b = {weights.data, n},
                                .start = {result.data, n},
                                .c = result});
    }
  }

  const Call& call_;
  const ScoreTile tile_;
  const HiddenKeys hidden_;
  const Index first_block_, blocks_;
  const TileMemory<Scalar> memory_;
  OnlineSoftmax<Scalar, Call::in_base_2> softmax_[max_query_blocks<Scalar>];
  alignas(64) Scalar scores_[max_tile_keys * n];  // [keys x n], then weights
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
