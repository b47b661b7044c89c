// Attention of few queries, as in decoding: bound by reading keys and values once.
//
// With one query a lane, most lanes would be empty. Here a register holds as many features as it has lanes: of a query
// and a key, whose product is then summed across it, and of a result. The rows are all queries that share a key head:
// of all its query heads (grouped heads) and all positions.
#pragma once

#include <cmath>

#include "eigenformer/kernels/detail/attention/attention_dropout.hpp"
#include "eigenformer/kernels/detail/attention/online_softmax.hpp"
#include "eigenformer/kernels/detail/attention/tile_memory.hpp"
#include "eigenformer/kernels/detail/attention/tile_reader.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Whether a sequence's queries are so few that sums across registers cost less than empty lanes. (decoding_bench on
/// Zen 3, n = 256, d = 64: four heads 5.0 microseconds; side by side in eight lanes, five to eight take 8.2.)
template <class Scalar>
bool has_few_queries(const AttentionLayout& layout, Index sequence) {
  return layout.group() * layout.query_rows.length(sequence) <= simd::lanes<Scalar> / 2;
}

/// The softmax of one query over the keys so far: see OnlineSoftmax.
template <class Scalar, bool in_base_2>
class RowSoftmax {
 public:
  /// Turns scores, of whole packets, into weights relative to the largest score, and brings `result` to the same.
  EIGEN_DONT_INLINE void add(Index keys, Scalar* scores, Index width, Scalar* result) {
    P top = simd::load(scores);
    for (Index j = lanes; j < keys; j += lanes) top = simd::maximum(simd::load(scores + j), top);
    const Scalar now = simd::max_of_lanes<Scalar>(top);
    if (now > largest_) {
      const auto factor = static_cast<Scalar>(std::exp2((largest_ - now) * unit));  // 0 at first
      sum_ *= factor;
      for (Index f = 0; f < width; ++f) result[f] *= factor;
      largest_ = now;
    }
    const P shift = simd::broadcast(is_minus_infinity(largest_) ? Scalar(0) : largest_);
    P total = simd::broadcast(Scalar(0));
    for (Index j = 0; j < keys; j += lanes) {
      P difference = simd::subtract(simd::load(scores + j), shift);
      if constexpr (!in_base_2) difference = simd::multiply(difference, simd::broadcast(unit));
      const P weight = simd::exp2<Scalar>(difference);
      total = simd::add(total, weight);
      simd::store(scores + j, weight);
    }
    sum_ += simd::sum_of_lanes<Scalar>(total);
  }

  Scalar sum() const { return sum_; }
  Scalar log_sum_exp() const {
    if (sum_ == 0) return hidden_score<Scalar>;
    const double largest = static_cast<double>(largest_) * static_cast<double>(unit) / log2_e<double>;
    return static_cast<Scalar>(largest + std::log(static_cast<double>(sum_)));
  }

 private:
  using P = simd::Packet<Scalar>;
  static constexpr Index lanes = simd::lanes<Scalar>;
  static constexpr Scalar unit = in_base_2 ? Scalar(1) : log2_e<Scalar>;  // of scores, in base 2

  Scalar largest_ = hidden_score<Scalar>;
  Scalar sum_ = 0;
};

/// scores [rows x keys], `stride` apart = Q [rows x packets * lanes] K^T. As many keys are taken together as there are
/// lanes, and each has a register of sums; in place of keys beyond the last stands that one.
template <class Scalar>
EIGEN_DONT_INLINE void multiply_by_keys(Index rows, Index keys, Index packets, const Scalar* q_rows,
                                        const Strided<Scalar>& key_rows, Scalar* scores, Index stride) {
  using P = simd::Packet<Scalar>;
  constexpr Index lanes = simd::lanes<Scalar>;
  constexpr Index together = std::min<Index>(lanes, 8);  // keys, whose addresses stay in registers
  for (Index j = 0; j < keys; j += lanes) {
    const Scalar* key[lanes];
    for (Index i = 0; i < lanes; ++i) key[i] = key_rows.data + std::min<Index>(j + i, keys - 1) * key_rows.row_stride;
    for (Index r = 0; r < rows; ++r) {
      const Scalar* q = q_rows + r * packets * lanes;
      P sums[lanes];
      EIGENFORMER_UNROLL
      for (Index first = 0; first < lanes; first += together) {
        EIGENFORMER_UNROLL
        for (Index i = first; i < first + together; ++i) sums[i] = simd::broadcast(Scalar(0));
        for (Index c = 0; c < packets * lanes; c += lanes) {
          const P query = simd::load(q + c);
          EIGENFORMER_UNROLL
          for (Index i = first; i < first + together; ++i)
            sums[i] = simd::multiply_add(query, simd::load(key[i] + c), sums[i]);
        }
      }
      simd::store(scores + r * stride + j, simd::sums_of_lanes<Scalar>(sums));
    }
  }
}

/// result [packets * lanes] += weights [keys] V, for one query. Keys go in turn to `chains` sums of every packet: eight
/// sums in all hide the latency of the additions. With `scores`, the values of hidden keys are not looked at.
template <class Scalar, int packets, int chains>
EIGEN_DONT_INLINE void add_values(Index keys, const Scalar* weights, const Scalar* scores, const Scalar* values,
                                  Index value_stride, Scalar* result) {
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
      EIGENFORMER_UNROLL
      for (int p = 0; p < packets; ++p)
        sums[chain][p] =
            simd::multiply_add(weight, simd::load(values + key * value_stride + p * lanes), sums[chain][p]);
    }
  }
  EIGENFORMER_UNROLL
  for (int p = 0; p < packets; ++p) {
    EIGENFORMER_UNROLL
    for (int chain = 1; chain < chains; ++chain) sums[0][p] = simd::add(sums[0][p], sums[chain][p]);
    simd::store(result + p * lanes, sums[0][p]);
  }
}
template <class Scalar>
void add_values(Index keys, Index packets, const Scalar* weights, const Scalar* scores, const Strided<Scalar>& values,
                Scalar* result) {
  constexpr Index lanes = simd::lanes<Scalar>;
  Index p = 0;
  const auto rest = [&](auto count) {
    constexpr int together = count;
    for (; p + together <= packets; p += together)
      add_values<Scalar, together, 8 / together>(keys, weights, scores, values.data + p * lanes, values.row_stride,
                                                 result + p * lanes);
  };
  rest(std::integral_constant<int, 8>{});
  rest(std::integral_constant<int, 4>{});
  rest(std::integral_constant<int, 1>{});
}

EIGENFORMER_FLOAT(void multiply_by_keys(Index, Index, Index, const float*, const Strided<float>&, float*, Index));
EIGENFORMER_DOUBLE(void multiply_by_keys(Index, Index, Index, const double*, const Strided<double>&, double*, Index));
EIGENFORMER_FLOAT(void add_values(Index, Index, const float*, const float*, const Strided<float>&, float*));
EIGENFORMER_DOUBLE(void add_values(Index, Index, const double*, const double*, const Strided<double>&, double*));

/// Applies a score to rows of scores, [queries x keys] and `stride` apart.
template <class Scalar, Score S>
void apply_to_rows(const S& score, const ScoreTile& tile, Scalar* rows, Index stride, bool carefully) {
  const Index queries = tile.query_end - tile.query_begin, keys = tile.key_end - tile.key_begin;
  if (queries == 1)
    return apply_score(score, tile, ScoreBlock<Scalar>(rows, 1, keys, Eigen::OuterStride<>(1)), carefully);
  const TileMemory<Scalar> by_keys(keys * queries);
  Scalar* const entries = by_keys.data();
  for (Index i = 0; i < queries; ++i)
    for (Index j = 0; j < keys; ++j) entries[j * queries + i] = rows[i * stride + j];
  apply_score(score, tile, ScoreBlock<Scalar>(entries, queries, keys, Eigen::OuterStride<>(queries)), carefully);
  for (Index i = 0; i < queries; ++i)
    for (Index j = 0; j < keys; ++j) rows[i * stride + j] = entries[j * queries + i];
}

/// Keys of a tile, whole packets of them. One row of queries reads them once: it takes as many as TileReader can copy
/// to its stack, to go less often from keys to values and back. Several rows take so many that the keys stay in 32 KB
/// of a first-level cache while they go over them. It is told from sizes alone, not from where keys and values lie,
/// since the order of sums depends on it. (decoding_bench on Zen 5, d = 64: 1.02 times the speed of tiles of 64 keys
/// with one row, 1.06 to 1.08 times with eight.)
template <class Scalar>
Index few_queries_keys(Index rows, Index width) {
  if (rows == 1) return std::clamp<Index>(TileReader<Scalar>::capacity / padded<Scalar>(width) / 64, 1, 8) * 64;
  return 128 * width * static_cast<Index>(sizeof(Scalar)) <= 32768 ? 128 : 64;
}

/// All queries of `tile`, of all heads that share the key head of tile.head. `carefully`: see attend_query_tile.
template <class Scalar, class Stored, Score S>
[[nodiscard]] bool attend_few_queries(const AttentionLayout& layout, const HeadRows<const Scalar>& q,
                                      const HeadRows<const Stored>& k, const HeadRows<const Stored>& v, const S& score,
                                      const AttentionDropout& dropout, ScoreTile tile, const HeadRows<Scalar>& out,
                                      Scalar* log_sum_exp, bool carefully) {
  bool hides = changes_values<S>;  // perhaps, by minus infinity
  constexpr Index lanes = simd::lanes<Scalar>;
  const Index d = layout.key_width, e = layout.value_width;
  const Index d_stride = padded<Scalar>(d), e_stride = padded<Scalar>(e);
  const Index queries = tile.queries, key_head = layout.key_head(tile.head);
  const Index first_head = tile.head, heads = layout.group(), rows = heads * queries;
  const Index tile_keys = few_queries_keys<Scalar>(rows, std::max<Index>({d, e, 1}));
  constexpr bool in_base_2 = !changes_values<S>;

  const TileMemory<Scalar> memory(rows * (d_stride + e_stride + tile_keys));
  Scalar* const q_rows = memory.data();  // [rows x padded d], scaled
  Scalar* const results = q_rows + rows * d_stride;
  Scalar* const scores = results + rows * e_stride;
  std::vector<RowSoftmax<Scalar, in_base_2>> softmax(static_cast<std::size_t>(rows));
  const auto scale = static_cast<Scalar>(layout.scale * (in_base_2 ? log2_e<double> : 1));
  for (Index h = 0; h < heads; ++h) {
    const Strided<Scalar> from = q.from(first_head + h, tile.first_row);
    for (Index i = 0; i < queries; ++i)
      for (Index c = 0; c < d_stride; ++c)
        q_rows[(h * queries + i) * d_stride + c] = c < d ? from(i, c) * scale : Scalar(0);
  }
  std::fill_n(results, rows * e_stride, Scalar(0));

  TileReader<Scalar> k_reader, v_reader;
  for (tile.key_begin = 0; tile.key_begin < tile.keys; tile.key_begin = tile.key_end) {
    tile.key_end = std::min<Index>(tile.keys, tile.key_begin + tile_keys);
    tile.head = first_head;
    SeenByHeads seen = seen_by_heads(score, tile, heads);
    if (seen.most == Visible::some) {  // what is hidden should not be read
      tile.key_end = std::min<Index>(tile.key_end, tile.key_begin + 64);
      seen = seen_by_heads(score, tile, heads);
    }
    if (seen.most == Visible::none) continue;
    const Index keys = tile.key_end - tile.key_begin;
    const Strided<Scalar> key_rows = k_reader.read_packets(k, layout, key_head, tile);
    const Strided<Scalar> value_rows = v_reader.read_packets(v, layout, key_head, tile);
    hides = hides || seen.least != Visible::all;

    multiply_by_keys(rows, keys, d_stride / lanes, q_rows, key_rows, scores, tile_keys);
    for (Index h = 0; h < heads; ++h) {
      tile.head = first_head + h;
      Scalar* const own = scores + h * queries * tile_keys;
      const Visible visible = score.visible(tile);
      if (visible == Visible::none) std::fill_n(own, queries * tile_keys, hidden_score<Scalar>);
      if (visible == Visible::some || (visible == Visible::all && changes_values<S>))
        apply_to_rows(score, tile, own, tile_keys, carefully);
    }
    for (Index r = 0; r < rows; ++r) {
      Scalar* const own = scores + r * tile_keys;
      std::fill(own + keys, own + padded<Scalar>(keys), hidden_score<Scalar>);
    }
    const TileMemory<Scalar> before(carefully ? rows * tile_keys : 0);
    if (carefully) std::copy_n(scores, rows * tile_keys, before.data());
    for (Index r = 0; r < rows; ++r)
      softmax[static_cast<std::size_t>(r)].add(keys, scores + r * tile_keys, e, results + r * e_stride);
    if (dropout.active())
      for (Index h = 0; h < heads; ++h) {
        tile.head = first_head + h;
        dropout.apply(tile, scores + h * queries * tile_keys, tile_keys, 1);
      }
    for (Index r = 0; r < rows; ++r)
      add_values(keys, e_stride / lanes, scores + r * tile_keys, carefully ? before.data() + r * tile_keys : nullptr,
                 value_rows, results + r * e_stride);
  }

  Scalar not_finite = 0;  // a sum of zeros times results
  for (Index i = 0; i < rows * e_stride; ++i) not_finite += 0 * results[i];
  if (not_finite != 0 && hides && !carefully) return false;
  for (Index r = 0; r < rows; ++r) {
    const RowSoftmax<Scalar, in_base_2>& own = softmax[static_cast<std::size_t>(r)];
    const Index head = first_head + r / queries, row = tile.first_row + r % queries;
    const Scalar inverse = own.sum() == 0 ? Scalar(0) : 1 / own.sum();
    for (Index f = 0; f < e; ++f) out.row(head, row)[f] = results[r * e_stride + f] * inverse;
    if (log_sum_exp != nullptr) log_sum_exp[row * layout.heads + head] = own.log_sum_exp();
  }
  return true;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
