// Attention of few queries, as in decoding. Its time is bound by reading keys and values once.
//
// With one query per lane, most lanes would be empty. So a register holds features of a query, a key or a result
// instead, and the product of a query and a key is summed across the register. FewQueries works on one key head. It has
// a row for each query of each query head that reads this key head.
#pragma once

#include <array>

#include "eigenformer/kernels/detail/attention/hidden_keys.hpp"
#include "eigenformer/kernels/detail/attention/key_tiles.hpp"
#include "eigenformer/kernels/detail/attention/row_products.hpp"
#include "eigenformer/kernels/detail/attention/row_softmax.hpp"
#include "eigenformer/kernels/detail/rows/all_finite.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Returns whether a sequence has so few queries that sums across registers cost less than empty lanes.
/// Measured: decoding_bench on Zen 3, n = 256, d = 64: FewQueries takes 5.0 microseconds for four heads; GroupedHeads
/// in eight lanes takes 8.2 for five to eight heads.
template <class Scalar>
bool has_few_queries(const AttentionLayout& layout, Index sequence) {
  return layout.group() * layout.query_rows.length(sequence) <= simd::lanes<Scalar> / 2;
}

/// Applies a score to scores [queries x keys] in place. Their rows are contiguous and `stride` entries apart.
template <class Scalar, Score S>
void apply_to_rows(const S& score, const ScoreTile& tile, Scalar* rows, Index stride, HiddenKeys hidden) {
  const Index queries = tile.query_end - tile.query_begin, keys = tile.key_end - tile.key_begin;
  if (queries == 1) return apply_score(score, tile, ScoreBlock<Scalar>(rows, 1, keys, Eigen::OuterStride<>(1)), hidden);
  const TileMemory<Scalar> by_keys(keys * queries);
  Scalar* const entries = by_keys.data();
  for (Index i = 0; i < queries; ++i)
    for (Index j = 0; j < keys; ++j) entries[j * queries + i] = rows[i * stride + j];
  apply_score(score, tile, ScoreBlock<Scalar>(entries, queries, keys, Eigen::OuterStride<>(queries)), hidden);
  for (Index i = 0; i < queries; ++i)
    for (Index j = 0; j < keys; ++j) rows[i * stride + j] = entries[j * queries + i];
}

/// Returns the number of keys per tile, a multiple of a packet's lanes.
/// - One row of queries reads the keys once. Its tile is the largest of 64 to 512 keys that TileReader can copy to its
///   stack, so that the kernel alternates less often between keys and values.
/// - Several rows go over the same keys. Their tile has 128 keys if these fit into 32 KB of L1 cache, else 64.
/// The number depends on sizes alone, not on where keys and values lie, because it determines the order of sums.
/// Measured: decoding_bench on Zen 5, d = 64, times the speed of tiles of 64 keys: 1.02 with one row, 1.06 to 1.08 with
/// eight.
template <class Scalar>
Index few_queries_keys(Index rows, Index width) {
  if (rows == 1)
    return std::clamp<Index>(TileReader<Scalar>::capacity / padded<Scalar>(width) / 64, 1,
                             KeyTileSizes::max_numbers / 64) *
           64;
  return 128 * width * static_cast<Index>(sizeof(Scalar)) <= 32768 ? 128 : 64;
}

/// All queries of a sequence, of all query heads that share a key head.
template <class Scalar, class Stored, Score S>
class FewQueries {
 public:
  using Call = AttentionCall<Scalar, Stored, S>;

  /// Loads the queries of `tile`, whose head must be the first of its group.
  FewQueries(const Call& call, const ScoreTile& tile, HiddenKeys hidden)
      : call_(call),
        tile_(tile),
        hidden_(hidden),
        rows_(heads() * tile.queries),
        tile_keys_(few_queries_keys<Scalar>(rows_, std::max<Index>({d(), e(), 1}))),
        memory_(rows_ * (d_stride() + e_stride() + tile_keys_)),
        q_rows_(memory_.data()),
        results_(q_rows_ + rows_ * d_stride()),
        scores_(results_ + rows_ * e_stride()) {
    for (Index h = 0; h < heads(); ++h) {
      const Strided<Scalar> from = call_.rows.q.of(tile_.sequence).from(tile_.head + h, tile_.first_row);
      for (Index i = 0; i < tile_.queries; ++i)
        for (Index c = 0; c < d_stride(); ++c)
          q_rows_[(h * tile_.queries + i) * d_stride() + c] = c < d() ? from(i, c) * call_.query_scale() : Scalar(0);
    }
    std::fill_n(results_, rows_ * e_stride(), Scalar(0));
  }

  /// Returns how keys are split into tiles for `attend`.
  KeyTileSizes key_tiles() const {
    // A copy pays only if several queries read it.
    return {.keys = tile_keys_, .partly_hidden = 64, .heads = heads(), .whole_packets = true, .by_number = rows_ == 1};
  }

  /// Processes the next tile of keys.
  void attend(const KeyTile<Scalar>& keys) {
    multiply_by_keys<Scalar>({q_rows_, rows_, d_stride() / lanes}, keys.size(), rows_of(keys, keys.keys),
                             {scores_, tile_keys_});
    for (Index h = 0; h < heads(); ++h) {
      const ScoreTile own = tile_of(keys.tile, h);
      const Visible visible = keys.seen == Visible::all ? Visible::all : call_.score.visible(own);
      if (visible == Visible::none) std::fill_n(scores(h), own.queries * tile_keys_, hidden_score<Scalar>);
      if (visible == Visible::some || (visible == Visible::all && ScoreTraits<S>::changes_values))
        apply_to_rows(call_.score, own, scores(h), tile_keys_, hidden_);
    }
    for (Index r = 0; r < rows_; ++r) {
      Scalar* const row = scores_ + r * tile_keys_;
      std::fill(row + keys.size(), row + padded<Scalar>(keys.size()), hidden_score<Scalar>);
    }
    const ScoresBefore<Scalar> before(hidden_, scores_, rows_ * tile_keys_);
    for (Index r = 0; r < rows_; ++r)
      softmax_[static_cast<std::size_t>(r)].add(keys.size(), scores_ + r * tile_keys_, e(), results_ + r * e_stride());
    if (call_.dropout.active())
      for (Index h = 0; h < heads(); ++h) call_.dropout.apply(tile_of(keys.tile, h), scores(h), tile_keys_, 1);
    for (Index r = 0; r < rows_; ++r)
      add_values(keys.size(), e_stride() / lanes, scores_ + r * tile_keys_,
                 before.data() == nullptr ? nullptr : before.data() + r * tile_keys_, rows_of(keys, keys.values),
                 results_ + r * e_stride());
  }

  /// Writes the results. Returns false, with results incomplete, if they must be finite but are not.
  bool finish(bool must_be_finite) {
    if (must_be_finite && !all_finite(Strided<Scalar>{results_, e_stride(), 1}, rows_, e_stride())) return false;
    for (Index r = 0; r < rows_; ++r) {
      const RowSoftmax<Scalar, Call::in_base_2>& own = softmax_[static_cast<std::size_t>(r)];
      const ScoreTile of_head = tile_of(tile_, r / tile_.queries);
      const Index row = tile_.first_row + r % tile_.queries;
      const Scalar inverse = own.sum() == 0 ? Scalar(0) : 1 / own.sum();
      Scalar* const out = call_.rows.out.of(tile_.sequence).row(of_head.head, row);
      for (Index f = 0; f < e(); ++f) out[f] = results_[r * e_stride() + f] * inverse;
      if (call_.asks_log_sum_exp()) call_.write_log_sum_exp(of_head, row, own.log_sum_exp());
    }
    return true;
  }

 private:
  static constexpr Index lanes = simd::lanes<Scalar>;

  Index d() const { return call_.layout.key_width; }
  Index e() const { return call_.layout.value_width; }
  Index d_stride() const { return padded<Scalar>(d()); }
  Index e_stride() const { return padded<Scalar>(e()); }
  Index heads() const { return call_.layout.group(); }
  static PacketRows<Scalar> rows_of(const KeyTile<Scalar>& keys, const Strided<Scalar>& x) {
    return {x.data, x.row_stride, keys.numbers};
  }
  Scalar* scores(Index head) const { return scores_ + head * tile_.queries * tile_keys_; }
  static ScoreTile tile_of(ScoreTile tile, Index head) {
    tile.head += head;
    return tile;
  }

  const Call& call_;
  const ScoreTile tile_;
  const HiddenKeys hidden_;
  const Index rows_;       // queries of all heads
  const Index tile_keys_;  // largest number of keys per tile
  const TileMemory<Scalar> memory_;
  Scalar* const q_rows_;   // [rows x padded d], scaled
  Scalar* const results_;  // [rows x padded e]
  Scalar* const scores_;   // [rows x tile_keys], then weights
  // One per row; has_few_queries bounds the rows.
  std::array<RowSoftmax<Scalar, Call::in_base_2>, static_cast<std::size_t>((lanes + 1) / 2)> softmax_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
