// Attention of query heads that share a key head and have few queries. All their queries share the lanes of one block.
//
// With one block per head, most lanes would be empty, and every head would read the keys again.
#pragma once

#include <array>

#include "eigenformer/kernels/detail/attention/query_blocks.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Returns whether several query heads share a key head, and all their queries fit into one block.
template <class Scalar>
bool heads_fit_a_block(const AttentionLayout& layout, Index sequence) {
  return layout.group() > 1 && layout.group() * layout.query_rows.length(sequence) <= block_queries<Scalar>;
}

/// All queries of a sequence, of all query heads that share a key head.
/// Query i of head h of the group is in lane h * queries + i.
template <class Scalar, class Stored, Score S>
class GroupedHeads {
 public:
  using Call = AttentionCall<Scalar, Stored, S>;

  /// Loads the queries of `tile`, whose head must be the first of its group.
  GroupedHeads(const Call& call, const ScoreTile& tile, HiddenKeys hidden)
      : call_(call),
        tile_(tile),
        hidden_(hidden),
        packets_(padded<Scalar>(heads() * tile.queries) / lanes),
        memory_((d() + e()) * n),
        q_lanes_(memory_.data()),
        results_(q_lanes_ + d() * n) {
    std::fill_n(q_lanes_, (d() + e()) * n, Scalar(0));
    for_each_head(tile_, [&](const ScoreTile& own, Index lane) {
      const Strided<Scalar> rows = call_.rows.q.of(own.sequence).from(own.head, own.first_row);
      for (Index i = 0; i < own.queries; ++i)
        for (Index c = 0; c < d(); ++c) q_lanes_[c * n + lane + i] = rows(i, c) * call_.query_scale();
    });
    softmax_.begin();
  }

  /// Returns how keys are split into tiles for `attend`.
  KeyTileSizes key_tiles() const { return {.keys = max_keys, .partly_hidden = max_keys, .heads = heads()}; }

  /// Processes the next tile of keys.
  void attend(const KeyTile<Scalar>& keys) {
    const TilePart part{keys.tile, keys.seen, 0, keys.size(), 0, packets_};
    alignas(64) Scalar largest[n];
    std::fill_n(largest, n, hidden_score<Scalar>);
    const bool applies = keys.seen != Visible::all || ScoreTraits<S>::changes_values;
    multiply_packets<Scalar>({.rows = part.keys,
                              .cols = packets_ * lanes,
                              .depth = d(),
                              .a = keys.keys,
                              .b = {q_lanes_, n},
                              .start = {},
                              .c = {scores_, n}},
                             applies ? nullptr : largest);
    if (applies) {
      for_each_head(keys.tile, [&](const ScoreTile& own, Index lane) {
        ScoreBlock<Scalar> scores(scores_ + lane, own.queries, part.keys, Eigen::OuterStride<>(n));
        const Visible of_head = keys.seen == Visible::all ? Visible::all : call_.score.visible(own);
        if (of_head == Visible::none)
          scores.setConstant(hidden_score<Scalar>);
        else if (of_head == Visible::some || ScoreTraits<S>::changes_values)
          apply_score(call_.score, own, scores, hidden_);
      });
      note_largest(part.keys, packets_, scores_, largest);
    }
    const ScoresBefore<Scalar> before(hidden_, scores_, part.keys * n);
    softmax_.add(std::array{part}, scores_, largest, e(), results_);
    if (call_.dropout.active())
      for_each_head(keys.tile,
                    [&](const ScoreTile& own, Index lane) { call_.dropout.apply(own, scores_ + lane, 1, n); });
    if (before.data() != nullptr)
      add_visible_values(part, before.data(), scores_, keys.values, e(), results_);
    else
      multiply_packets<Scalar>({.rows = e(),
                                .cols = packets_ * lanes,
                                .depth = part.keys,
                                .a = transposed(keys.values),
                                .b = {scores_, n},
                                .start = {results_, n},
                                .c = {results_, n}});
  }

  /// Writes the results. Returns false, with results incomplete, if they must be finite but are not.
  bool finish(bool must_be_finite) {
    if (!softmax_.finish(e(), results_) && must_be_finite) return false;
    alignas(64) Scalar sums[n];
    if (call_.asks_log_sum_exp()) softmax_.log_sum_exp(sums);
    for_each_head(tile_, [&](const ScoreTile& own, Index lane) {
      for (Index i = 0; i < own.queries; ++i) {
        const Index row = own.first_row + i;
        Scalar* const out = call_.rows.out.of(own.sequence).row(own.head, row);
        for (Index f = 0; f < e(); ++f) out[f] = results_[f * n + lane + i];
        if (call_.asks_log_sum_exp()) call_.write_log_sum_exp(own, row, sums[lane + i]);
      }
    });
    return true;
  }

 private:
  static constexpr Index n = block_queries<Scalar>, lanes = simd::lanes<Scalar>, max_keys = partly_hidden_tile_keys;

  Index d() const { return call_.layout.key_width; }
  Index e() const { return call_.layout.value_width; }
  Index heads() const { return call_.layout.group(); }

  /// Calls body(the head's tile, the head's first lane) for each head of the group.
  template <class Body>
  void for_each_head(ScoreTile tile, Body body) const {
    const Index first = tile.head;
    for (Index h = 0; h < heads(); ++h) {
      tile.head = first + h;
      body(tile, h * tile.queries);
    }
  }

  const Call& call_;
  const ScoreTile tile_;
  const HiddenKeys hidden_;
  const Index packets_;
  const TileMemory<Scalar> memory_;
  Scalar* const q_lanes_;  // [d x n], scaled
  Scalar* const results_;  // [e x n]
  OnlineSoftmax<Scalar, Call::in_base_2> softmax_;
  alignas(64) Scalar scores_[max_keys * n];  // [keys x n], then weights
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
