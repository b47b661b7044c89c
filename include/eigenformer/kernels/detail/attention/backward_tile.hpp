// A tile of queries in the derivative of attention. attention_backward.hpp has the formulas and symbols.
//
// A lane holds one query, as in the forward. S^T = K Q^T, dP^T = V dO^T and dQ^T = K^T dS^T read keys and values in
// place; their other factors hold one query per lane. dV and dK multiply P^T (after dropout) and dS^T by the rows of dO
// and Q.
// d = width of a key head, e = width of a value head, n = block_queries.
#pragma once

#include <optional>

#include "eigenformer/core/detail/exp2.hpp"
#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/kernels/detail/attention/backward_call.hpp"
#include "eigenformer/kernels/detail/attention/result_rows.hpp"
#include "eigenformer/kernels/detail/attention/score_calls.hpp"
#include "eigenformer/kernels/detail/attention/tile_parts.hpp"
#include "eigenformer/kernels/detail/rows/all_finite.hpp"
#include "eigenformer/kernels/detail/tile_memory.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Up to `capacity()` queries in blocks of n, with their gradients summed over the keys so far, and the scores of one
/// tile of keys. in_base_2: see AttentionCall. saved_blocks: blocks that the score saves for its derivative.
template <class Scalar, bool in_base_2, int saved_blocks>
class BackwardTile {
 public:
  static constexpr Index n = block_queries<Scalar>;
  static constexpr Index stride = 48;  // from a key's scores to the next key's; also the most queries per tile
  static constexpr Index key_capacity = 512 / static_cast<Index>(sizeof(Scalar));
  static constexpr Index block_size = key_capacity * stride;  // scores of a tile

  explicit BackwardTile(const AttentionLayout& layout)
      : d_(layout.key_width),
        e_(layout.value_width),
        capacity_(fitting_queries(numbers_of_query())),
        memory_(capacity_ * numbers_of_query()),
        q_lanes_(memory_.data()),
        d_out_lanes_(q_lanes_ + capacity_ * d_),
        d_q_lanes_(d_out_lanes_ + capacity_ * e_),
        q_rows_(d_q_lanes_ + capacity_ * d_),
        d_out_rows_(q_rows_ + capacity_ * padded<Scalar>(d_)) {}

  Index capacity() const { return capacity_; }

  /// Loads the queries of `tile` with their output gradients, results and log-sum-exps. scale: the factor of the
  /// scores.
  EIGEN_DONT_INLINE void load(const BackwardRows<Scalar>& rows, const ScoreTile& tile, double scale) {
    constexpr double unit = in_base_2 ? log2_e<double> : 1;
    count_ = tile.query_end - tile.query_begin;
    scale_ = static_cast<Scalar>(scale);
    const Index first = tile.first_row + tile.query_begin;
    const Strided<Scalar> q = rows.q.of(tile.sequence).from(tile.head, first);
    const Strided<Scalar> d_out = rows.d_out.of(tile.sequence).from(tile.head, first);
    const Strided<Scalar> out = rows.out.of(tile.sequence).from(tile.head, first);
    finite_.reset();
    const Index q_stride = padded<Scalar>(d_), d_out_stride = padded<Scalar>(e_);
    constexpr Index together = 8;
    for (Index i = 0; i < count_; i += together) {
      const Index queries = std::min<Index>(together, count_ - i), next = std::min<Index>(count_, i + 2 * together);
      for (Index j = i + together; j < next; ++j) {
        prefetch_row(q, j, d_);
        prefetch_row(d_out, j, e_);
        prefetch_row(out, j, e_);
      }
      pack_panel<Scalar>(queries, d_, q.from_row(i), {q_rows_ + i * q_stride, q_stride});
      pack_panel<Scalar>(queries, e_, d_out.from_row(i), {d_out_rows_ + i * d_out_stride, d_out_stride});
      for (Index j = i; j < i + queries; ++j) delta_[j] = dot(e_, out.from_row(j), d_out_rows_ + j * d_out_stride);
    }
    for (Index i = 0; i < count_; i += n) {
      const Index queries = std::min<Index>(n, count_ - i);
      const Strided<Scalar> q_block{q_rows_ + i * q_stride, q_stride, 1};
      const Strided<Scalar> d_out_block{d_out_rows_ + i * d_out_stride, d_out_stride, 1};
      pack_panel<Scalar>(d_, queries, transposed(q_block), {q_lanes_ + i * d_, n}, static_cast<Scalar>(scale * unit));
      pack_panel<Scalar>(e_, queries, transposed(d_out_block), {d_out_lanes_ + i * e_, n});
    }
    scale_in_place(q_rows_, count_ * q_stride, scale_);

    const HeadRows<const Scalar> sums = rows.log_sum_exp.of(tile.sequence);
    for (Index i = 0; i < blocks() * n; ++i) {
      // Queries that see no key, and lanes without a query, get weights of 0.
      const Scalar sum = i < count_ ? *sums.row(tile.head, first + i) : hidden_score<Scalar>;
      log_sum_exp_[i] =
          is_minus_infinity(sum) ? -hidden_score<Scalar> : static_cast<Scalar>(static_cast<double>(sum) * unit);
      if (i >= count_) delta_[i] = 0;
    }
    if (rows.d_log_sum_exp.data == nullptr) return;
    // dS = P * (dP - rowsum(P * dP) + d_log_sum_exp), since the derivative of the log-sum-exp is P.
    const HeadRows<const Scalar> d_sums = rows.d_log_sum_exp.of(tile.sequence);
    for (Index i = 0; i < count_; ++i) delta_[i] -= *d_sums.row(tile.head, first + i);
  }

  Index blocks() const { return (count_ + n - 1) / n; }

  /// Processes a part: adds its contributions to the gradients of queries, keys and values. first_query: the part's
  /// first query, relative to this tile's first; a multiple of a packet's lanes. rows: the keys, beginning with the
  /// part's first.
  template <Score S>
  void add(const BackwardCall<Scalar, S>& call, const TilePart& part, Index first_query, const KeyRows<Scalar>& rows) {
    const ScoreTile& tile = part.tile;
    bool partly_hidden = part.seen == Visible::some;
    const Queries queries{first_query, tile.query_end - tile.query_begin};
    const Index m = tile.key_end - tile.key_begin;
    multiply_by_lanes(queries, m, {q_lanes_, d_}, rows.keys, scores_);
    multiply_by_lanes(queries, m, {d_out_lanes_, e_}, rows.values, d_scores_);

    const auto view = [&](Scalar* x) {
      return ScoreBlock<Scalar>(x + first_query, queries.count, m, Eigen::OuterStride<>(stride));
    };
    const ScoreBlock<Scalar> saved = view(saved_blocks > 0 ? saved_ : scores_);
    ScoreBlock<Scalar> scores = view(scores_), d_scores = view(d_scores_);
    // A weight of 0 times infinity or NaN is NaN, which must not reach the gradients of what is hidden. Any score that
    // changes values may hide a key, by minus infinity.
    bool entry_by_entry = false;
    if (partly_hidden || ScoreTraits<S>::changes_values)
      entry_by_entry = !queries_are_finite() || !(rows.are_finite || all_finite(rows.keys, m, d_));
    if constexpr (ScoreTraits<S>::changes_values) {
      if (entry_by_entry)
        apply_carefully<Scalar>(scores,
                                [&](ScoreBlock<Scalar> block) { apply_saving(call.score, tile, block, saved); });
      else
        apply_saving(call.score, tile, scores, saved);
      partly_hidden = partly_hidden || entry_by_entry || !(rows.are_finite || all_finite(rows.values, m, e_));
    } else if (partly_hidden) {
      call.score.apply(tile, scores);
    }
    Eigen::Matrix<bool, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor> hidden;
    if (entry_by_entry) hidden = scores.array() == hidden_score<Scalar>;
    if (call.dropout.active()) call.dropout.apply(tile, d_scores.data(), 1, stride);
    differentiate_softmax(queries, m, partly_hidden);
    if constexpr (ScoreTraits<S>::template has_derivative<Scalar>()) {
      differentiate(call.score, tile, saved, d_scores);
      // The derivative at a hidden score may be anything, so it is cleared.
      if (partly_hidden) clear_where_weights_are_zero(queries, m);
    }
    if (call.dropout.active()) call.dropout.apply(tile, scores.data(), 1, stride);

    if (entry_by_entry) return add_entry_by_entry(first_query, hidden, rows);
    multiply_by_rows(queries, m, scores_, {d_out_rows_, e_}, rows.d_v);
    multiply_by_rows(queries, m, d_scores_, {q_rows_, d_}, rows.d_k);
    for_each_block(queries, [&](Index i, Index packets, Index block, Index lane) {
      const ContiguousRows<Scalar> d_q{d_q_lanes_ + block * d_ + lane, n};
      multiply_packets<Scalar>({.rows = d_,
                                .cols = packets * simd::lanes<Scalar>,
                                .depth = m,
                                .a = transposed(rows.keys),
                                .b = {d_scores_ + i, stride},
                                .start = {d_q.data, n},
                                .c = d_q});
    });
  }

  /// Sets the sums of the queries' gradients to zero.
  void clear_d_q() { std::fill_n(d_q_lanes_, blocks() * n * d_, Scalar(0)); }
  /// Adds the queries' gradients summed since clear_d_q, times the scale, to `d_q`.
  EIGEN_DONT_INLINE void add_d_q(const ContiguousRows<Scalar>& d_q) {
    // Scale first, without FMA: a sum must be rounded alike whether it is added to the result or to a chunk's matrix.
    scale_in_place(d_q_lanes_, blocks() * n * d_, scale_);
    for (Index i = 0; i < count_; i += n)
      add_rows(d_q_lanes_ + i * d_, d_, std::min<Index>(n, count_ - i), d_q.row(i), d_q.stride);
  }

 private:
  static constexpr Index saved_size = saved_blocks > 0 ? saved_blocks* block_size : 1;

  /// A range of the tile's queries.
  struct Queries {
    Index first, count;
  };
  /// `width` numbers per query: in lanes, [width x n] for each block; or in rows, [queries x padded width].
  struct QueryNumbers {
    const Scalar* data;
    Index width;
  };

  /// Returns the number of entries of memory_ per query.
  Index numbers_of_query() const { return 2 * d_ + e_ + padded<Scalar>(d_) + padded<Scalar>(e_); }
  /// Returns the most queries per tile: as many as fit on the stack, at most `stride`. If fewer than half of `stride`
  /// fit, returns `stride`; the memory is then on the heap.
  static Index fitting_queries(Index numbers) {
    const Index fitting = TileMemory<Scalar>::capacity / std::max<Index>(numbers, 1) / n * n;
    return fitting >= stride / 2 ? std::min<Index>(fitting, stride) : stride;
  }

  /// Returns whether all queries and output gradients are finite. Checks them once after `load`.
  bool queries_are_finite() {
    if (!finite_.has_value())
      finite_ = all_finite(Strided<Scalar>{q_rows_, padded<Scalar>(d_), 1}, count_, d_) &&
                all_finite(Strided<Scalar>{d_out_rows_, padded<Scalar>(e_), 1}, count_, e_);
    return *finite_;
  }

  /// Multiplies `size` entries by `factor`. size: a multiple of a packet's lanes.
  static void scale_in_place(Scalar* x, Index size, Scalar factor) {
    for (Index i = 0; i < size; i += simd::lanes<Scalar>)
      simd::store(x + i, simd::multiply(simd::load(x + i), simd::broadcast(factor)));
  }

  /// Prefetches a row, if its entries are contiguous.
  static void prefetch_row(const Strided<Scalar>& rows, Index i, Index width) {
    constexpr Index line = 64 / static_cast<Index>(sizeof(Scalar));
    if (rows.col_stride == 1)
      for (Index j = 0; j < width; j += line) simd::prefetch(&rows(i, j));
  }

  /// Returns the dot product of a row and contiguous entries. Sums in several lanes: waiting for a single chain of
  /// additions would take a tenth of the backward's time for short sequences.
  static Scalar dot(Index width, const Strided<Scalar>& row, const Scalar* entries) {
    constexpr Index lanes = simd::lanes<Scalar>;
    auto sums = simd::broadcast(Scalar(0));
    Scalar sum = 0;
    Index f = 0;
    if (row.col_stride == 1)
      for (; f + lanes <= width; f += lanes)
        sums = simd::multiply_add(simd::load(row.data + f), simd::load(entries + f), sums);
    for (; f < width; ++f) sum += row(0, f) * entries[f];
    return sum + simd::sum_of_lanes<Scalar>(sums);
  }

  /// For each block that holds some of `queries`, calls body with
  /// - the first of these queries,
  /// - the number of packets that they fill,
  /// - the first query of the block,
  /// - the lane of the first of these queries.
  template <class Body>
  static void for_each_block(const Queries& queries, Body body) {
    for (Index i = queries.first, end = queries.first + queries.count, next = 0; i < end; i = next) {
      const Index lane = i % n;
      next = std::min<Index>(end, i - lane + n);
      body(i, padded<Scalar>(next - i) / simd::lanes<Scalar>, i - lane, lane);
    }
  }

  /// Computes the matrix product x = rows * lanes. x: [m x queries]; rows: [m x width]; lanes: [width x queries].
  static void multiply_by_lanes(const Queries& queries, Index m, const QueryNumbers& lanes, const Strided<Scalar>& rows,
                                Scalar* x) {
    for_each_block(queries, [&](Index i, Index packets, Index block, Index lane) {
      multiply_packets<Scalar>({.rows = m,
                                .cols = packets * simd::lanes<Scalar>,
                                .depth = lanes.width,
                                .a = rows,
                                .b = {lanes.data + block * lanes.width + lane, n},
                                .start = {},
                                .c = {x + i, stride}});
    });
  }

  /// Adds the matrix product x * rows to `to`. x: [m x queries]; rows: [queries x width]; to: [m x width].
  static void multiply_by_rows(const Queries& queries, Index m, const Scalar* x, const QueryNumbers& rows,
                               const ContiguousRows<Scalar>& to) {
    const Index row_stride = padded<Scalar>(rows.width);
    multiply_panel<Scalar>({.rows = m,
                            .cols = rows.width,
                            .depth = queries.count,
                            .a = {x + queries.first, stride, 1},
                            .b = {rows.data + queries.first * row_stride, row_stride},
                            .start = {to.data, to.stride},
                            .c = to});
  }

  /// Turns S' into P, and dP into dS'.
  EIGEN_DONT_INLINE void differentiate_softmax(const Queries& queries, Index m, bool partly_hidden) {
    constexpr int together = simd::exponentials_together;
    for (Index i = queries.first; i < queries.first + queries.count; i += simd::lanes<Scalar>) {
      Index j = 0;
      for (; j + together <= m; j += together) differentiate_softmax<together>(i, j, partly_hidden);
      for (; j < m; ++j) differentiate_softmax<1>(i, j, partly_hidden);
    }
  }
  /// Turns S' into P, and dP into dS', for the packet of queries from i on and `keys` keys from j on.
  template <int keys>
  EIGEN_ALWAYS_INLINE void differentiate_softmax(Index i, Index j, bool partly_hidden) {
    using P = simd::Packet<Scalar>;
    const P zero = simd::broadcast(Scalar(0));
    const P log_sum_exp = simd::load(log_sum_exp_ + i), delta = simd::load(delta_ + i);
    Scalar* const s = scores_ + j * stride + i;
    Scalar* const d_s = d_scores_ + j * stride + i;
    P weights[keys];
    EIGENFORMER_UNROLL
    for (int key = 0; key < keys; ++key) {
      // Mathematically at most 0; clamped because large scores round badly.
      weights[key] = simd::minimum(simd::subtract(simd::load(s + key * stride), log_sum_exp), zero);
      if constexpr (!in_base_2) weights[key] = simd::multiply(weights[key], simd::broadcast(log2_e<Scalar>));
    }
    simd::exp2_each<Scalar>(weights);
    EIGENFORMER_UNROLL
    for (int key = 0; key < keys; ++key) {
      P weight = weights[key];
      P d_score = simd::multiply(weight, simd::subtract(simd::load(d_s + key * stride), delta));
      if (partly_hidden) {  // a NaN query makes its weights NaN; a NaN value makes dP NaN
        const P score = simd::load(s + key * stride);
        const P lowest = simd::broadcast(std::numeric_limits<Scalar>::lowest());
        weight = simd::select_less(score, lowest, zero, weight);
        d_score = simd::select_less(score, lowest, zero, d_score);
      }
      simd::store(s + key * stride, weight);
      simd::store(d_s + key * stride, d_score);
    }
  }

  /// Sets dS to 0 where P is 0 or subnormal.
  EIGEN_DONT_INLINE void clear_where_weights_are_zero(const Queries& queries, Index m) {
    const auto zero = simd::broadcast(Scalar(0)), least = simd::broadcast((std::numeric_limits<Scalar>::min)());
    for (Index j = 0; j < m; ++j)
      for (Index i = j * stride + queries.first; i < j * stride + queries.first + queries.count;
           i += simd::lanes<Scalar>)
        simd::store(d_scores_ + i, simd::select_less(simd::load(scores_ + i), least, zero, simd::load(d_scores_ + i)));
  }

  /// Adds to dV, dK and dQ entry by entry, without hidden scores.
  EIGEN_DONT_INLINE void add_entry_by_entry(
      Index first_query, const Eigen::Matrix<bool, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>& hidden,
      const KeyRows<Scalar>& rows) {
    for (Index j = 0; j < hidden.cols(); ++j)
      for (Index query = 0; query < hidden.rows(); ++query) {
        if (hidden(query, j)) continue;
        const Index i = first_query + query;
        const Index at = j * stride + i;
        for (Index f = 0; f < e_; ++f) rows.d_v.row(j)[f] += scores_[at] * d_out_rows_[i * padded<Scalar>(e_) + f];
        for (Index c = 0; c < d_; ++c) rows.d_k.row(j)[c] += d_scores_[at] * q_rows_[i * padded<Scalar>(d_) + c];
        for (Index c = 0; c < d_; ++c) d_q_lanes_[i / n * n * d_ + c * n + i % n] += d_scores_[at] * rows.keys(j, c);
      }
  }

  Index d_, e_;
  Index capacity_;
  TileMemory<Scalar> memory_;
  Scalar* q_lanes_;                          // [d x n] per block, scaled
  Scalar* d_out_lanes_;                      // [e x n] per block
  Scalar* d_q_lanes_;                        // [d x n] per block
  Scalar* q_rows_;                           // [capacity x padded d], scaled
  Scalar* d_out_rows_;                       // [capacity x padded e]
  alignas(64) Scalar scores_[block_size];    // in turn S, S', P, P * D
  alignas(64) Scalar d_scores_[block_size];  // in turn dP, dS', dS
  alignas(64) Scalar saved_[saved_size];     // saved by the score for its derivative
  alignas(64) Scalar log_sum_exp_[stride];
  alignas(64) Scalar delta_[stride];  // rowsum(O * dO)
  Scalar scale_ = 0;
  Index count_ = 0;
  std::optional<bool> finite_;  // see queries_are_finite; empty until it is called
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
