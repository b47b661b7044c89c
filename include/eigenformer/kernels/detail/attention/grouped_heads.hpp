// Query heads that share a key head, of few queries: side by side in the lanes of one block.
//
// A block of one head's queries would leave most lanes empty, and every head would read the keys again.
#pragma once

#include "eigenformer/kernels/detail/attention/query_lanes.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Whether all queries of all heads that share a key head fit into a block.
template <class Scalar>
bool heads_fit_a_block(const AttentionLayout& layout, Index sequence) {
  return layout.group() > 1 && layout.group() * layout.query_rows.length(sequence) <= block_queries<Scalar>;
}

/// All queries of `tile`, of all heads that share the key head of tile.head. A query i of the group's head h has lane
/// h * queries + i. `carefully`: see attend_query_tile.
template <class Scalar, class Stored, Score S>
[[nodiscard]] bool attend_grouped_heads(const AttentionLayout& layout, const HeadRows<const Scalar>& q,
                                        const HeadRows<const Stored>& k, const HeadRows<const Stored>& v,
                                        const S& score, const AttentionDropout& dropout, ScoreTile tile,
                                        const HeadRows<Scalar>& out, Scalar* log_sum_exp, bool carefully) {
  constexpr Index n = block_queries<Scalar>, lanes = simd::lanes<Scalar>, most_keys = partly_hidden_tile_keys;
  constexpr bool in_base_2 = !changes_values<S>;
  const Index d = layout.key_width, e = layout.value_width, queries = tile.queries;
  const Index key_head = layout.key_head(tile.head), first_head = tile.head, heads = layout.group();
  const Index packets = padded<Scalar>(heads * queries) / lanes;
  // Calls body(its head's first lane) for the heads, of which each is in turn tile.head.
  const auto for_each_head = [&](auto body) {
    for (Index h = 0; h < heads; ++h) {
      tile.head = first_head + h;
      body(h * queries);
    }
  };

  const TileMemory<Scalar> memory((d + e) * n);
  Scalar* const q_lanes = memory.data();    // [d x n], scaled
  Scalar* const results = q_lanes + d * n;  // [e x n]
  std::fill_n(q_lanes, (d + e) * n, Scalar(0));
  const auto scale = static_cast<Scalar>(layout.scale * (in_base_2 ? log2_e<double> : 1));
  for_each_head([&](Index lane) {
    const Strided<Scalar> rows = q.from(tile.head, tile.first_row);
    for (Index i = 0; i < queries; ++i)
      for (Index c = 0; c < d; ++c) q_lanes[c * n + lane + i] = rows(i, c) * scale;
  });
  OnlineSoftmax<Scalar, in_base_2> softmax;
  softmax.begin();

  bool hides = changes_values<S>;  // perhaps, by minus infinity
  alignas(64) Scalar scores[most_keys * n];
  TileReader<Scalar> k_reader, v_reader;
  for (tile.key_begin = 0; tile.key_begin < tile.keys; tile.key_begin = tile.key_end) {
    tile.key_end = std::min<Index>(tile.keys, tile.key_begin + most_keys);
    tile.head = first_head;
    const SeenByHeads seen = seen_by_heads(score, tile, heads);
    if (seen.most == Visible::none) continue;
    hides = hides || seen.least != Visible::all;
    const Strided<Scalar> keys = k_reader.read(k, layout, key_head, tile);
    const Strided<Scalar> values = v_reader.read(v, layout, key_head, tile);
    const TilePart part{tile, seen.least, 0, tile.key_end - tile.key_begin, 0, packets};

    alignas(64) Scalar largest[n];
    std::fill_n(largest, n, hidden_score<Scalar>);
    const bool applies = seen.least != Visible::all || changes_values<S>;
    multiply_packets<Scalar>(part.keys, packets, d, keys, {q_lanes, n}, {nullptr, 0}, {scores, n},
                             applies ? nullptr : largest);
    if (applies) {
      for_each_head([&](Index lane) {
        ScoreBlock<Scalar> own(scores + lane, queries, part.keys, Eigen::OuterStride<>(n));
        const Visible of_head = score.visible(tile);
        if (of_head == Visible::none)
          own.setConstant(hidden_score<Scalar>);
        else if (of_head == Visible::some || changes_values<S>)
          apply_score(score, tile, own, carefully);
      });
      note_largest(part.keys, packets, scores, largest);
    }
    const TileMemory<Scalar> before(carefully ? part.keys * n : 0);
    if (carefully) std::copy_n(scores, part.keys * n, before.data());
    softmax.add(std::array{part}, scores, largest, e, results);
    if (dropout.active()) for_each_head([&](Index lane) { dropout.apply(tile, scores + lane, 1, n); });
    if (carefully)
      add_visible_values(part, before.data(), scores, values, e, results);
    else
      multiply_packets<Scalar>(e, packets, part.keys, transposed(values), {scores, n}, {results, n}, {results, n});
  }

  if (!softmax.finish(e, results) && hides && !carefully) return false;
  alignas(64) Scalar sums[n];
  if (log_sum_exp != nullptr) softmax.log_sum_exp(sums);
  for_each_head([&](Index lane) {
    for (Index i = 0; i < queries; ++i) {
      const Index row = tile.first_row + i;
      for (Index f = 0; f < e; ++f) out.row(tile.head, row)[f] = results[f * n + lane + i];
      if (log_sum_exp != nullptr) log_sum_exp[row * layout.heads + tile.head] = sums[lane + i];
    }
  });
  return true;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
