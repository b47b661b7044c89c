// A block of queries that attends with one query a lane.
//
// A register holds one key's scores, or one value feature's results, for as many queries as it has lanes: the kernel
// works on S^T = K Q^T and O^T = V^T P^T. Keys and values are broadcast entry by entry from where they lie, so only the
// queries are ever transposed; and the largest score, the sum, the rescaling and the exponential are lane by lane, with
// no sum across a register. Queries in different lanes never meet: what one gets does not depend on its neighbours.
#pragma once

#include "eigenformer/kernels/detail/attention/attention_dropout.hpp"
#include "eigenformer/kernels/detail/attention/online_softmax.hpp"
#include "eigenformer/kernels/detail/attention/query_blocks.hpp"
#include "eigenformer/kernels/detail/attention/tile_memory.hpp"
#include "eigenformer/kernels/detail/attention/tile_parts.hpp"
#include "eigenformer/kernels/detail/attention/tile_reader.hpp"
#include "eigenformer/kernels/detail/gemm/product.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Copies results [width x block_queries] to the rows of `count` queries, or adds them to what is there.
template <class Scalar, bool adds>
EIGEN_DONT_INLINE void write_rows(const Scalar* results, Index width, Index count, Scalar* rows, Index row_stride) {
  constexpr Index n = block_queries<Scalar>;
  constexpr Index lanes = simd::lanes<Scalar>;
  const Index whole = width / lanes * lanes;
  for (Index i = 0; i < count; i += lanes)
    for (Index f = 0; f < whole; f += lanes)
      simd::for_each_column(results + f * n + i, n, lanes, [&](Index query, const simd::Packet<Scalar>& column) {
        if (query >= count - i) return;
        Scalar* row = rows + (i + query) * row_stride + f;
        simd::store(row, adds ? simd::add(simd::load(row), column) : column);
      });
  for (Index f = whole; f < width; ++f)
    for (Index i = 0; i < count; ++i) {
      Scalar& entry = rows[i * row_stride + f];
      entry = adds ? entry + results[f * n + i] : results[f * n + i];
    }
}
template <class Scalar>
void store_rows(const Scalar* results, Index width, Index count, Scalar* rows, Index row_stride) {
  write_rows<Scalar, false>(results, width, count, rows, row_stride);
}
template <class Scalar>
void add_rows(const Scalar* results, Index width, Index count, Scalar* rows, Index row_stride) {
  write_rows<Scalar, true>(results, width, count, rows, row_stride);
}

EIGENFORMER_FLOAT(void write_rows<float, false>(const float*, Index, Index, float*, Index));
EIGENFORMER_DOUBLE(void write_rows<double, false>(const double*, Index, Index, double*, Index));

// d = width of a key head, e = width of a value head.

/// The most blocks of queries that go over the keys together.
template <class Scalar>
inline constexpr Index most_query_blocks = 1536 / block_queries<Scalar>;

/// Blocks of queries that go over the keys together, so that a tile of these is fetched for all of them: as many as
/// TileMemory has on the stack, up to four. More where a tile is copied, or comes from afar because a core's caches
/// cannot hold all keys; but not more than five eighths of a megabyte of them, and a quarter as many, or fewer, where
/// threads are to `share` them. (On Zen 3, with 64 blocks instead of 16: rows 1024 floats apart, d = 64, 1.16 times the
/// speed with n = 2048 and 1.05 with 512; contiguous rows, n = 8192, 1.05 to 1.1 times with d = 128, level with 64.
/// With 16 instead of 2, d = 128, n = 8192: 1.8 times. Far begins at one megabyte instead of two: on a Xeon with two of
/// second level cache, d = 128, n = 2048, 1.04 times.)
template <class Scalar, class Stored>
Index blocks_together(const AttentionLayout& layout, const HeadRows<const Stored>& k, const HeadRows<const Stored>& v,
                      bool share) {
  using Reader = TileReader<Scalar>;
  const Index width = layout.key_width + layout.value_width, size = sizeof(Scalar);
  const Index block = std::max<Index>(width, 1) * block_queries<Scalar>;
  const Index few = std::clamp<Index>(TileMemory<Scalar>::capacity / block, 1, 4);
  const Index queries = layout.query_rows.longest(), keys = layout.key_rows.longest();
  const bool are_far = keys * width * size > (Index(1) << 20);
  if (!are_far && !Reader::copies(k, layout, queries, keys) && !Reader::copies(v, layout, queries, keys)) return few;
  const Index all = layout.query_rows.rows() / block_queries<Scalar> * layout.heads;
  const Index most = share ? std::min<Index>(most_query_blocks<Scalar> / 4, all / 16) : most_query_blocks<Scalar>;
  return std::max<Index>(few, std::min<Index>(most, (Index(5) << 17) / (block * size)));
}

/// Keys of a tile. Many, since every tile has fixed costs, but so few that a copy of it fits into TileReader; fewer
/// where some are hidden, since the whole part of a tile in which they are is masked; more where a score reads rows of
/// keys. (attention_bench, d = 64: n = 2048, 88.2 % of the peak with 128 keys, 89.1 with 512; causal, n = 512, 78.8
/// and 76.5; on Zen 3, with smaller caches, 256 keys have up to 1.02 times the speed of 512, with d = 128 up to 1.07.)
inline constexpr Index most_tile_keys = 512, partly_hidden_tile_keys = 128;
template <class Scalar, Score S>
Index tile_keys(const AttentionLayout& layout) {
  if (reads_rows_of_keys<S>()) return most_tile_keys;
  const Index width = padded<Scalar>(std::max<Index>({layout.key_width, layout.value_width, 1}));
  return std::clamp<Index>(TileReader<Scalar>::capacity / width, 16, most_tile_keys / 2);
}

/// results [e x n] += the weights [keys x n] of a part times its values, but not where `scores` are hidden. The same as
/// the product to the last bit, if that is defined.
template <class Scalar>
EIGEN_DONT_INLINE void add_visible_values(const TilePart& part, const Scalar* scores, const Scalar* weights,
                                          const Strided<Scalar>& values, Index e, Scalar* results) {
  constexpr Index n = block_queries<Scalar>, lanes = simd::lanes<Scalar>;
  const auto lowest = simd::broadcast(std::numeric_limits<Scalar>::lowest());
  for (Index f = 0; f < e; ++f)
    for (Index i = part.packet * lanes; i < (part.packet + part.packets) * lanes; i += lanes) {
      auto sum = simd::load(results + f * n + i);
      for (Index j = part.key; j < part.key + part.keys; ++j) {
        const auto added = simd::multiply_add(simd::broadcast(values(j, f)), simd::load(weights + j * n + i), sum);
        sum = simd::select_less(simd::load(scores + j * n + i), lowest, sum, added);
      }
      simd::store(results + f * n + i, sum);
    }
}

EIGENFORMER_FLOAT(void add_visible_values(const TilePart&, const float*, const float*, const Strided<float>&, Index,
                                          float*));
EIGENFORMER_DOUBLE(void add_visible_values(const TilePart&, const double*, const double*, const Strided<double>&, Index,
                                           double*));

/// The queries of `tile`, whole blocks and at most blocks_together of them, over all keys of their sequence.
///
/// A hidden key's weight is 0, but 0 times an infinite or undefined value is not: it must not reach the result of who
/// does not see it. That is looked for at the end, where it costs next to nothing: if there is anything of the kind in
/// the results, this gives false, and all is to be done again `carefully`, without what is hidden.
template <class Scalar, class Stored, Score S>
[[nodiscard]] bool attend_query_tile(const AttentionLayout& layout, const HeadRows<const Scalar>& q,
                                     const HeadRows<const Stored>& k, const HeadRows<const Stored>& v, const S& score,
                                     const AttentionDropout& dropout, ScoreTile tile, const HeadRows<Scalar>& out,
                                     Scalar* log_sum_exp, bool carefully) {
  bool hides = changes_values<S>;  // perhaps, by minus infinity
  constexpr Index n = block_queries<Scalar>;
  constexpr Index lanes = simd::lanes<Scalar>;
  const Index d = layout.key_width;
  const Index e = layout.value_width;
  const Index key_head = layout.key_head(tile.head);
  const Index first_block = query_blocks<Scalar>(tile.query_begin);
  const Index blocks = query_blocks<Scalar>(tile.query_end) - first_block;
  eigen_assert(out.col_stride == 1);

  const TileMemory<Scalar> memory(blocks * (d + e) * n);
  const auto block_q = [&](Index block) { return memory.data() + block * (d + e) * n; };  // [d x n], scaled
  const auto block_result = [&](Index block) { return block_q(block) + d * n; };          // [e x n]
  const auto block_begin = [&](Index block) { return query_block_begin<Scalar>(tile.queries, first_block + block); };
  const auto block_size = [&](Index block) { return block_begin(block + 1) - block_begin(block); };
  const auto block_row = [&](Index block) { return tile.first_row + block_begin(block); };
  constexpr bool in_base_2 = !changes_values<S>;
  OnlineSoftmax<Scalar, in_base_2> softmax[most_query_blocks<Scalar>];
  for (Index block = 0; block < blocks; ++block) {
    pack_panel<Scalar>(d, block_size(block), transposed(q.from(tile.head, block_row(block))), {block_q(block), n},
                       static_cast<Scalar>(layout.scale * (in_base_2 ? log2_e<double> : 1)));
    std::fill_n(block_result(block), e * n, Scalar(0));
    softmax[block].begin();
  }

  alignas(64) Scalar scores[most_tile_keys * n];
  const auto applies_to = [](const TilePart& part) { return part.seen == Visible::some || changes_values<S>; };
  // One block over keys of which `own` tells the places. What it makes of them does not depend on the other blocks.
  const auto attend_keys = [&](Index block, const ScoreTile& own, Visible visible, const Strided<Scalar>& keys,
                               const Strided<Scalar>& values) {
    const TileParts<Scalar, n> parts(score, own, visible);
    alignas(64) Scalar largest[n];
    std::fill_n(largest, n, hidden_score<Scalar>);
    for (const TilePart& part : parts) {
      const Index lane = part.packet * lanes;
      const bool applies = applies_to(part);
      const ContiguousRows<Scalar> s{scores + part.key * n + lane, n};
      multiply_packets<Scalar>(part.keys, part.packets, d, keys.from_row(part.key), {block_q(block) + lane, n},
                               {nullptr, 0}, s, applies ? nullptr : largest + lane);
      if (!applies) continue;
      apply_score(
          score, part.tile,
          ScoreBlock<Scalar>(s.data, part.tile.query_end - part.tile.query_begin, part.keys, Eigen::OuterStride<>(n)),
          carefully);
      note_largest(part.keys, part.packets, s.data, largest + lane);
    }
    const TileMemory<Scalar> before(carefully ? most_tile_keys * n : 0);
    if (carefully) std::copy_n(scores, (own.key_end - own.key_begin) * n, before.data());
    softmax[block].add(parts, scores, largest, e, block_result(block));
    for (const TilePart& part : parts) {
      const Index lane = part.packet * lanes;
      const ContiguousRows<Scalar> weights{scores + part.key * n + lane, n};
      // After the softmax: its sum has the dropped weights too.
      if (dropout.active()) dropout.apply(part.tile, weights.data, 1, n);
      if (carefully && applies_to(part)) {
        add_visible_values(part, before.data(), scores, values, e, block_result(block));
        continue;
      }
      const ContiguousRows<Scalar> result{block_result(block) + lane, n};
      multiply_packets<Scalar>(e, part.packets, part.keys, transposed(values.from_row(part.key)), {weights.data, n},
                               {result.data, n}, result);
    }
  };

  TileReader<Scalar> k_reader, v_reader;
  const Index most_keys = tile_keys<Scalar, S>(layout);
  for (tile.key_begin = 0; tile.key_begin < tile.keys; tile.key_begin = tile.key_end) {
    tile.key_end = std::min<Index>(tile.keys, tile.key_begin + most_keys);
    const Visible of_tile = score.visible(tile);
    if (of_tile == Visible::none) continue;
    const Strided<Scalar> keys = k_reader.read(k, layout, key_head, tile);
    const Strided<Scalar> values = v_reader.read(v, layout, key_head, tile);
    hides = hides || of_tile != Visible::all;
    for (Index block = 0; block < blocks; ++block) {
      ScoreTile own = tile;
      own.query_begin = block_begin(block);
      own.query_end = block_begin(block + 1);
      const Visible of_block = of_tile == Visible::all ? of_tile : score.visible(own);
      if (of_block == Visible::none) continue;
      if (of_block != Visible::some || reads_rows_of_keys<S>()) {
        attend_keys(block, own, of_block, keys, values);
        continue;
      }
      for (; own.key_begin < tile.key_end; own.key_begin = own.key_end) {
        own.key_end = std::min<Index>(tile.key_end, own.key_begin + partly_hidden_tile_keys);
        const Index key = own.key_begin - tile.key_begin;
        attend_keys(block, own, score.visible(own), keys.from_row(key), values.from_row(key));
      }
    }
  }

  for (Index block = 0; block < blocks; ++block) {
    const Index row = block_row(block);
    if (!softmax[block].finish(e, block_result(block)) && hides && !carefully) return false;
    store_rows(block_result(block), e, block_size(block), out.row(tile.head, row), out.row_stride);
    if (log_sum_exp == nullptr) continue;
    alignas(64) Scalar of_block[n];
    softmax[block].log_sum_exp(of_block);
    for (Index i = 0; i < block_size(block); ++i) log_sum_exp[(row + i) * layout.heads + tile.head] = of_block[i];
  }
  return true;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
