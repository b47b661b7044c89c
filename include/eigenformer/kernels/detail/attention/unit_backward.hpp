// The derivative of bfloat16 attention on a matrix unit. attention_backward.hpp has the formulas and symbols.
//
// A lane holds one query, as in backward_tile.hpp. S^T = K Q^T and dP^T = V dO^T multiply packed keys and values by
// packed queries and output gradients. The weights after dropout, (P * D)^T, and dS^T are then rounded to bfloat16.
// They are the left operands of dV = (P * D)^T dO and dK = dS^T Q; dS^T is also the right operand of dQ^T = K^T dS^T.
// All sums are floats.
// d = width of a key head, e = width of a value head.
#pragma once

#include <algorithm>

#include "eigenformer/kernels/detail/attention/backward_tasks.hpp"
#include "eigenformer/kernels/detail/attention/unit_keys.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Up to 128 queries with their gradients summed over the keys so far, and the scores of one tile of keys. in_base_2:
/// see AttentionCall. saved_blocks: blocks that the score saves for its derivative.
template <class Unit, bool in_base_2, int saved_blocks>
class UnitBackwardTile {
 public:
  using Value = Eigen::bfloat16;

  explicit UnitBackwardTile(const AttentionLayout& layout)
      : sizes_(layout),
        scale_(static_cast<float>(layout.scale)),
        columns_(blocks * (sizes_.d_steps + sizes_.e_steps) * step_size),
        rows_((sizes_.d_blocks + sizes_.e_blocks) * UnitSizes::query_steps * step_size),
        scores_left_(2 * UnitSizes::keys * UnitSizes::queries),
        scores_right_(2 * block_size),
        d_q_sums_(blocks * sizes_.d_blocks * n * n),
        q_(columns_.data()),
        d_out_(q_ + blocks * sizes_.d_steps * step_size),
        q_rows_(rows_.data()),
        d_out_rows_(q_rows_ + sizes_.d_blocks * UnitSizes::query_steps * step_size),
        weights_(scores_left_.data()),
        d_scores_left_(weights_ + UnitSizes::keys * UnitSizes::queries),
        d_scores_right_(scores_right_.data()),
        d_q_(d_q_sums_.data()) {}

  /// Loads the queries of `tile` with their output gradients, results and log-sum-exps.
  void load(const BackwardRows<Value>& rows, const ScoreTile& tile) {
    count_ = tile.query_end - tile.query_begin;
    has_all_keys_ = tile.keys <= UnitSizes::keys;
    const Index first = tile.first_row + tile.query_begin;
    const HeadRows<const Value> q = rows.q.of(tile.sequence), d_out = rows.d_out.of(tile.sequence),
                                out = rows.out.of(tile.sequence);
    const Value *q_rows[UnitSizes::queries], *d_out_rows[UnitSizes::queries];
    for (Index i = 0; i < count_; ++i) {
      q_rows[i] = q.row(tile.head, first + i);
      d_out_rows[i] = d_out.row(tile.head, first + i);
    }
    for (Index b = 0; b < 2 * groups(); ++b) {
      const Index count = std::clamp<Index>(count_ - b * n, 0, n);
      matrix_unit::pack_right_transposed<Value>({q_rows + b * n, q.col_stride}, count, sizes_.d,
                                                q_ + b * sizes_.d_steps * step_size);
      matrix_unit::pack_right_transposed<Value>({d_out_rows + b * n, d_out.col_stride}, count, sizes_.e,
                                                d_out_ + b * sizes_.e_steps * step_size);
    }
    for (Index step = 0; step < groups(); ++step) {
      const Index begin = step * UnitSizes::depth, count = std::min<Index>(UnitSizes::depth, count_ - begin);
      matrix_unit::pack_right<Value>({q_rows + begin, q.col_stride}, count, sizes_.d, q_rows_ + step * step_size,
                                     UnitSizes::query_steps * step_size);
      matrix_unit::pack_right<Value>({d_out_rows + begin, d_out.col_stride}, count, sizes_.e,
                                     d_out_rows_ + step * step_size, UnitSizes::query_steps * step_size);
    }
    const HeadRows<const float> sums = rows.log_sum_exp.of(tile.sequence),
                                d_sums = rows.d_log_sum_exp.of(tile.sequence);
    for (Index i = 0; i < UnitSizes::queries; ++i) {
      // Queries that see no key, and lanes without a query, get weights of 0.
      const float sum = i < count_ ? *sums.row(tile.head, first + i) : hidden_score<float>;
      log_sum_exp_[i] = is_minus_infinity(sum) ? std::numeric_limits<float>::infinity()
                                               : static_cast<float>(static_cast<double>(sum) * log2_e<double>);
      delta_[i] = 0;
      if (i >= count_) continue;
      const Strided<Value> result = out.from(tile.head, first + i), d_result = d_out.from(tile.head, first + i);
      const float delta = has_all_keys_ ? 0 : dot(result, d_result, sizes_.e);
      delta_[i] = rows.d_log_sum_exp.data == nullptr ? delta : delta - *d_sums.row(tile.head, first + i);
    }
  }

  /// Sets the sums of the queries' gradients to zero.
  void clear_d_q() { std::fill_n(d_q_, 2 * groups() * sizes_.d_blocks * n * n, 0.0F); }
  /// Adds the queries' gradients summed since clear_d_q(), times the scale, to rows of floats. It scales the sums in
  /// place: call it once after each clear_d_q().
  void add_d_q(float* to, Index row_stride) {
    // Scale first, without FMA: a sum must be rounded alike whether it is added to the result or to a chunk's matrix.
    const Index size = sizes_.d_blocks * n * n;
    for (Index i = 0; i < 2 * groups() * size; i += simd::lanes<float>)
      simd::store(d_q_ + i, simd::multiply(simd::load(d_q_ + i), simd::broadcast(scale_)));
    for (Index i = 0; i < count_; i += n) {
      const float* const block = d_q_ + i / n * size;
      Index added = 0;
      if constexpr (simd::lanes<float> == n)
        for (; added + n <= sizes_.d; added += n)
          simd::for_each_column(block + added * n, n, n, [&](Index query, const simd::Packet<float>& column) {
            if (i + query >= count_) return;
            float* const row = to + (i + query) * row_stride + added;
            simd::store(row, simd::add(simd::load(row), column));
          });
      for (; added < sizes_.d; ++added)
        for (Index query = i; query < std::min<Index>(count_, i + n); ++query)
          to[query * row_stride + added] += block[added * n + query - i];
    }
  }

  /// Adds what a tile of keys contributes to all gradients. step: where the tile begins in `keys`.
  template <Score S>
  void add(const BackwardCall<Value, S>& call, const ScoreTile& tile, UnitKeys& keys, Index step) {
    const Index m = tile.key_end - tile.key_begin;
    const Index steps = matrix_unit::steps_for<Value>(m), padded = steps * UnitSizes::depth;
    Index seen_steps[UnitSizes::query_steps];  // number of steps of keys that each group sees
    for (Index group = 0; group < groups(); ++group) {
      ScoreTile part = tile;
      part.query_begin = tile.query_begin + group * UnitSizes::depth;
      part.query_end = std::min<Index>(tile.query_end, part.query_begin + UnitSizes::depth);
      const Visible seen = call.score.visible(part);
      const Index seen_keys = seen == Visible::some ? seen_end(call.score, part) : seen == Visible::all ? padded : 0;
      clear(group, seen_keys, padded);
      seen_steps[group] = seen_keys / UnitSizes::depth;
      if (seen_keys == 0) continue;
      scores(group, keys, step, seen_keys);
      part.key_end = std::min<Index>(tile.key_end, tile.key_begin + seen_keys);
      for (Index b = 2 * group; b < 2 * group + 2; ++b)
        if (b * n < count_) differentiate(call, of_block(part, b % 2), b, seen, seen_keys);
      round(group, seen_keys);
      matrix_unit::multiply<Unit>(sizes_.d_blocks, 2,
                                  {.steps = seen_keys / UnitSizes::depth,
                                   .a = keys.k_columns(step),
                                   .b = {d_scores_right_, UnitSizes::key_steps * step_size},
                                   .c = {d_q_ + 2 * group * sizes_.d_blocks * n * n, n, n * n, sizes_.d_blocks * n * n},
                                   .accumulates = true});
    }
    add_to_keys(keys, step, steps, seen_steps);
  }

 private:
  static constexpr Index n = UnitSizes::n, step_size = UnitSizes::step_size, blocks = UnitSizes::queries / n;
  static constexpr Index block_size = UnitSizes::keys * n;
  static constexpr Index saved_size = saved_blocks > 0 ? saved_blocks* block_size : 1;

  /// Returns the dot product of the first rows of two matrices.
  static float dot(const Strided<Value>& a, const Strided<Value>& b, Index width) {
    if (a.col_stride == 1 && b.col_stride == 1) return matrix_unit::dot(a.data, b.data, width);
    float sum = 0;
    for (Index f = 0; f < width; ++f) sum += static_cast<float>(a(0, f)) * static_cast<float>(b(0, f));
    return sum;
  }

  /// Returns the number of groups of 32 queries.
  Index groups() const { return (count_ + UnitSizes::depth - 1) / UnitSizes::depth; }

  /// Returns the part of a group's tile with its first (block 0) or second (block 1) 16 queries.
  static ScoreTile of_block(ScoreTile tile, Index block) {
    const Index end = tile.query_end;
    tile.query_begin = std::min<Index>(end, tile.query_begin + block * n);
    tile.query_end = std::min<Index>(end, tile.query_begin + n);
    return tile;
  }

  /// Returns the number of keys, in whole steps, up to the last step that the queries of `tile` see.
  template <Score S>
  static Index seen_end(const S& score, const ScoreTile& tile) {
    Index end = matrix_unit::steps_for<Value>(tile.key_end - tile.key_begin) * UnitSizes::depth;
    for (; end > 0; end -= UnitSizes::depth) {
      ScoreTile step = tile;
      step.key_begin = tile.key_begin + end - UnitSizes::depth;
      step.key_end = std::min<Index>(tile.key_end, tile.key_begin + end);
      if (score.visible(step) != Visible::none) break;
    }
    return end;
  }

  /// Computes S^T and dP^T of a group of queries.
  void scores(Index group, const UnitKeys& keys, Index step, Index padded) {
    const auto multiply = [&](const matrix_unit::LeftBlocks<Value>& a, const Value* b, Index steps, float* c) {
      matrix_unit::multiply<Unit>(padded / n, 2,
                                  {.steps = steps,
                                   .a = a,
                                   .b = {b + 2 * group * steps * step_size, steps * step_size},
                                   .c = {c, n, n * n, block_size},
                                   .accumulates = false});
    };
    multiply(keys.k(step), q_, sizes_.d_steps, scores_);
    multiply(keys.v(step), d_out_, sizes_.e_steps, d_scores_);
  }

  /// Adds the contributions of all groups to the gradients of a tile's keys and values. seen_steps: for each group, the
  /// number of steps of keys that it sees, at most key_steps.
  void add_to_keys(UnitKeys& keys, Index step, Index key_steps, const Index* seen_steps) {
    for (Index begin = 0, end = 0; begin < key_steps; begin = end) {
      const Groups seeing = groups_that_see(begin, seen_steps);
      for (end = begin + 1; end < key_steps && groups_that_see(end, seen_steps) == seeing;) ++end;
      if (seeing.begin >= seeing.end) continue;
      constexpr Index width = UnitSizes::query_steps * step_size, blocks_per_step = UnitSizes::depth / n;
      const Index at = begin * blocks_per_step * width + seeing.begin * step_size;
      const auto add = [&](const Value* a, const Value* b, Index width_blocks, const matrix_unit::SumBlocks<Value>& c) {
        matrix_unit::multiply<Unit>((end - begin) * blocks_per_step, width_blocks,
                                    {.steps = seeing.end - seeing.begin,
                                     .a = {a + at, UnitSizes::depth, step_size, width},
                                     .b = {b + seeing.begin * step_size, width},
                                     .c = c,
                                     .accumulates = true});
      };
      add(weights_, d_out_rows_, sizes_.e_blocks, keys.d_v(step + begin));
      add(d_scores_left_, q_rows_, sizes_.d_blocks, keys.d_k(step + begin));
    }
  }
  /// Groups of queries [begin, end).
  struct Groups {
    Index begin, end;
    bool operator==(const Groups&) const = default;
  };
  /// Returns the groups from the first to the last that see a step of keys.
  Groups groups_that_see(Index key_step, const Index* seen_steps) const {
    Groups seeing{0, groups()};
    while (seeing.begin < seeing.end && seen_steps[seeing.begin] <= key_step) ++seeing.begin;
    while (seeing.begin < seeing.end && seen_steps[seeing.end - 1] <= key_step) --seeing.end;
    return seeing;
  }

  /// Turns the scores of block b into weights after dropout, and dP into dS. tile: with the queries of the block.
  template <Score S>
  void differentiate(const BackwardCall<Value, S>& call, const ScoreTile& tile, Index b, Visible seen, Index padded) {
    float *const s = scores_ + b % 2 * block_size, *const d_s = d_scores_ + b % 2 * block_size;
    const Index m = tile.key_end - tile.key_begin, queries = tile.query_end - tile.query_begin;
    const auto view = [&](float* x) { return ScoreBlock<float>(x, queries, m, Eigen::OuterStride<>(n)); };
    const ScoreBlock<float> saved = view(saved_blocks > 0 ? saved_ : s);
    const bool scales = !in_base_2 || !(scale_ > 0);  // a factor of 0 or less would not leave scores of -inf hidden
    for (Index i = 0; scales && i < m * n; ++i) s[i] *= scale_;
    if constexpr (!in_base_2)
      apply_saving(call.score, tile, view(s), saved);
    else if (seen == Visible::some)
      call.score.apply(tile, view(s));
    std::fill(s + m * n, s + padded * n, hidden_score<float>);
    if (call.dropout.active()) call.dropout.apply(tile, d_s, 1, n);
    differentiate_softmax(b, padded, log2_e<float> * (scales ? 1 : scale_));
    if constexpr (ScoreTraits<S>::template has_derivative<float>()) {
      detail::differentiate(call.score, tile, saved, view(d_s));
      // The derivative at a hidden score may be anything, so it is cleared.
      for (Index i = 0; i < m * n; ++i) d_s[i] = s[i] < (std::numeric_limits<float>::min)() ? 0 : d_s[i];
    }
    if (call.dropout.active()) call.dropout.apply(tile, s, 1, n);
  }

  /// Turns S' into P, and dP into dS', for block b.
  void differentiate_softmax(Index b, Index padded, float factor) {
    using P = simd::Packet<float>;
    float *const s = scores_ + b % 2 * block_size, *const d_s = d_scores_ + b % 2 * block_size;
    constexpr int together = 4;
    for (Index i = 0; i < n; i += simd::lanes<float>) {
      const P log_sum_exp = simd::load(log_sum_exp_ + b * n + i), factors = simd::broadcast(factor);
      const P zero = simd::broadcast(0.0F);
      P sum = zero;  // rowsum(P * dP)
      for (Index j = i; j < padded * n; j += together * n) {
        P weights[together];
        EIGENFORMER_UNROLL
        for (int c = 0; c < together; ++c)  // mathematically at most 0; clamped because large scores round badly
          weights[c] = simd::minimum(simd::multiply_subtract(simd::load(s + j + c * n), factors, log_sum_exp), zero);
        simd::exp2_for_16_bits(weights);
        EIGENFORMER_UNROLL
        for (int c = 0; c < together; ++c) {
          simd::store(s + j + c * n, weights[c]);
          sum = simd::multiply_add(weights[c], simd::load(d_s + j + c * n), sum);
        }
      }
      P delta = simd::load(delta_ + b * n + i);
      if (has_all_keys_) delta = simd::add(delta, sum);
      for (Index j = i; j < padded * n; j += n)
        simd::store(d_s + j, simd::multiply(simd::load(s + j), simd::subtract(simd::load(d_s + j), delta)));
    }
  }

  /// Rounds the weights and dS of a group, and packs them for the products.
  void round(Index group, Index padded) {
    for (Index j = 0; j < padded; ++j) {
      const Index at = j / n * UnitSizes::query_steps * step_size + group * step_size + j % n * UnitSizes::depth;
      matrix_unit::store_row(scores_ + j * n, scores_ + block_size + j * n, weights_ + at);
      matrix_unit::store_row(d_scores_ + j * n, d_scores_ + block_size + j * n, d_scores_left_ + at);
    }
    for (Index half = 0; half < 2; ++half)
      for (Index j = 0; j < padded; j += 2) {
        const float* const pair = d_scores_ + half * block_size + j * n;
        matrix_unit::store_pairs(pair, pair + n, d_scores_right_ + half * UnitSizes::key_steps * step_size + j * n);
      }
  }
  /// Sets the weights and dS of a group to 0, for the keys begin to end - 1 of the tile. begin, end: multiples of a
  /// step's depth.
  void clear(Index group, Index begin, Index end) {
    for (Index block = begin / n; block < end / n; ++block) {
      const Index at = (block * UnitSizes::query_steps + group) * step_size;
      std::fill_n(weights_ + at, step_size, Value(0));
      std::fill_n(d_scores_left_ + at, step_size, Value(0));
    }
  }

  UnitSizes sizes_;
  float scale_;
  Index count_ = 0;
  // Whether one tile has all keys of the sequence; rowsum(P * dP) is then summed from floats, not taken from the
  // rounded O.
  bool has_all_keys_ = false;
  const TileMemory<Value> columns_, rows_, scores_left_;
  const TileMemory<Value, 4 * block_size> scores_right_;
  const TileMemory<float> d_q_sums_;
  Value *const q_, *const d_out_;            // [blocks] packed columns
  Value *const q_rows_, *const d_out_rows_;  // packed rows
  // weights_ (after dropout) and d_scores_left_, of all queries: [blocks of keys x groups] of [n x 32].
  // d_scores_right_, of one group: [2] of [pairs of keys x n x 2].
  Value *const weights_, *const d_scores_left_, *const d_scores_right_;
  float* const d_q_;                            // [blocks] of [d x n]
  alignas(64) float scores_[2 * block_size];    // in turn S, S', P, P * D of two blocks: [keys x n]
  alignas(64) float d_scores_[2 * block_size];  // in turn dP, dS', dS
  alignas(64) float saved_[saved_size];         // saved by the score for its derivative
  alignas(64) float log_sum_exp_[UnitSizes::queries];
  alignas(64) float delta_[UnitSizes::queries];  // rowsum(O * dO) unless has_all_keys_, minus d_log_sum_exp
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
