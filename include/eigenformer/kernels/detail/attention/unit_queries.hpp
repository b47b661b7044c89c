// Attention of bfloat16 queries, keys and values on a matrix unit.
//
// As in query_blocks.hpp, each lane belongs to one of 16 queries. The kernel computes S^T = K Q^T and O^T = V^T P^T
// with float sums; the softmax between them works lane by lane. The operands are packed:
//
// - B of the first product: the queries, once per task
// - A of the first product: rows of keys, once per loaded tile of keys
// - A of the second product: columns of values, once per loaded tile of keys
// - B of the second product: the weights, rounded to bfloat16, in pairs of keys
#pragma once

#include <algorithm>

#include "eigenformer/kernels/detail/attention/key_tiles.hpp"
#include "eigenformer/kernels/detail/attention/sinks.hpp"
#include "eigenformer/kernels/detail/attention/tasks.hpp"
#include "eigenformer/kernels/detail/attention/unit_softmax.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The number of queries in a group, which go over a tile of keys together: two blocks of columns. Tasks have at most
/// max_unit_groups groups.
inline constexpr Index unit_group = 2 * matrix_unit::block;
inline constexpr Index max_unit_groups = 16;

// Tasks of bfloat16 queries consist of whole groups. Few queries use the float kernels.
template <>
inline constexpr Index block_queries<Eigen::bfloat16> = unit_group;
template <>
constexpr Index query_block_begin<Eigen::bfloat16>(Index queries, Index group) {
  return std::min<Index>(queries, group * unit_group);
}
template <>
inline QueryPath query_path<Eigen::bfloat16>(const AttentionLayout& layout, Index sequence) {
  return query_path<float>(layout, sequence);
}

/// Computes consecutive groups of one head's queries. d: width of a key head; e: width of a value head; n: queries in a
/// block.
template <class Unit, Score S>
class UnitQueries {
 public:
  using Call = AttentionCall<Eigen::bfloat16, Eigen::bfloat16, S>;

  /// Loads the queries of `tile`, whose first query begins a group.
  UnitQueries(const Call& call, const ScoreTile& tile)
      : call_(call),
        tile_(tile),
        scales_(ScoreTraits<S>::changes_values || !(call.score_factor() > 0)),
        groups_((tile.query_end - tile.query_begin + unit_group - 1) / unit_group),
        q_(groups_ * q_size()),
        results_(groups_ * result_size()),
        loaded_keys_(loaded_keys(call.layout)),
        k_(loaded_keys_ / n * steps() * step_size),
        v_(result_blocks() * loaded_steps() * step_size),
        weights_(2 * run_weights) {
    const HeadRows<const Eigen::bfloat16> q = call.rows.q.of(tile.sequence);
    const Eigen::bfloat16* rows[n];
    for (Index b = 0; b < 2 * groups_; ++b) {
      const Index count = queries(b);
      for (Index i = 0; i < count; ++i) rows[i] = q.row(tile.head, row(b) + i);
      matrix_unit::pack_right_transposed({rows, q.col_stride}, count, d(), q_.data() + b * (q_size() / 2));
      softmax_[b].begin(scales_ ? log2_e<float> : call.score_factor());
    }
    std::fill_n(results_.data(), groups_ * result_size(), 0.0F);
  }

  /// Goes over all keys.
  void attend() {
    const typename Unit::Session session;
    for (Index begin = 0; begin < tile_.keys; begin += loaded_keys_) {
      ScoreTile tile = tile_;
      tile.key_begin = begin;
      tile.key_end = std::min<Index>(tile.keys, begin + loaded_keys_);
      const Visible seen = call_.score.visible(tile);
      if (seen == Visible::none) continue;
      if (seen == Visible::some) tile.key_end = seen_end(tile);
      load(tile);
      for (Index group = 0; group < groups_; ++group)
        for (Index key = tile.key_begin; key < tile.key_end; key += run_keys) attend(group, tile, key, seen);
    }
  }

  /// Writes the results. Marks queries whose result is not finite in `undefined`, one entry per query, and returns
  /// their number.
  Index finish(bool* undefined) {
    Index found = 0;
    const HeadRows<Eigen::bfloat16> out = call_.rows.out.of(tile_.sequence);
    for (Index b = 0; b < 2 * groups_; ++b) {
      if (queries(b) == 0) continue;
      alignas(64) float factors[n], check[n] = {};
      softmax_[b].inverse_sums(factors);
      for (Index i = 0; i < queries(b); ++i) add_sink(b, i, factors[i]);
      float* const block = results(b);
      for (Index f = 0; f < e(); ++f)
        for (Index i = 0; i < n; ++i) {
          block[f * n + i] *= factors[i];
          check[i] += block[f * n + i] - block[f * n + i];  // NaN if the entry is infinite or NaN
        }
      matrix_unit::store_transposed(block, e(), queries(b), out.row(tile_.head, row(b)), out.row_stride);
      for (Index i = 0; i < queries(b); ++i) {
        undefined[b * n + i] = check[i] != 0;
        found += check[i] != 0 ? 1 : 0;
      }
    }
    return found;
  }

 private:
  static constexpr Index n = matrix_unit::block, depth = matrix_unit::depth<Eigen::bfloat16>,
                         step_size = matrix_unit::step_size<Eigen::bfloat16>;
  // Keys are processed in units of four sizes:
  // - step: 32 keys
  // - part: the steps that one pass of the softmax processes, so that their scores stay in the L1 cache. It is larger
  // if
  //   the score changes values, because each call of the score costs time.
  // - run: consecutive visible steps, at most 256 keys. One product adds their values, unless results are rescaled.
  // - loaded tile: the keys that are packed at once, at most 512
  static constexpr Index run_keys = 256, steps_per_run = run_keys / depth;
  static constexpr Index part_steps = ScoreTraits<S>::changes_values ? 4 : 1;
  static constexpr Index part_scores = part_steps * depth * n;  // of a block
  static constexpr Index run_weights = run_keys * n;            // of a block
  static constexpr Index max_loaded_keys = 512;
  /// Returns how many keys are packed at once: as many as fit on the stack, in multiples of run_keys, but at least
  /// run_keys (then perhaps on the heap) and at most max_loaded_keys.
  static Index loaded_keys(const AttentionLayout& layout) {
    const Index width = (std::max)(matrix_unit::steps_for<Eigen::bfloat16>(layout.key_width),
                                   matrix_unit::steps_for<Eigen::bfloat16>(layout.value_width)) *
                        depth;
    return std::clamp<Index>(TileMemory<Eigen::bfloat16>::capacity / width / run_keys * run_keys, run_keys,
                             max_loaded_keys);
  }

  Index d() const { return call_.layout.key_width; }
  Index e() const { return call_.layout.value_width; }
  Index loaded_steps() const { return loaded_keys_ / depth; }
  Index steps() const { return matrix_unit::steps_for<Eigen::bfloat16>(d()); }
  Index result_blocks() const { return matrix_unit::blocks_for(e()); }
  Index q_size() const { return 2 * steps() * step_size; }
  Index result_size() const { return 2 * result_blocks() * n * n; }
  /// Returns the results of a block of queries: [e x n].
  float* results(Index b) const { return results_.data() + b * (result_size() / 2); }
  Index begin(Index b) const { return std::min<Index>(tile_.query_end, tile_.query_begin + b * n); }
  Index queries(Index b) const { return begin(b + 1) - begin(b); }
  Index row(Index b) const { return tile_.first_row + begin(b); }

  /// Packs the keys and values of `tile`.
  void load(const ScoreTile& tile) {
    const Index head = call_.layout.key_head(tile.head), keys = tile.key_end - tile.key_begin;
    const HeadRows<const Eigen::bfloat16> k = call_.rows.k.of(tile.sequence), v = call_.rows.v.of(tile.sequence);
    const Eigen::bfloat16 *k_rows[max_loaded_keys], *v_rows[max_loaded_keys];
    KeyRowCursor cursor(call_.layout, tile.sequence, tile.key_begin);
    for (Index j = 0; j < keys; ++j, cursor.advance()) {
      k_rows[j] = k.row(head, cursor.row());
      v_rows[j] = v.row(head, cursor.row());
    }
    // Whole steps of keys, padded with zeros.
    for (Index j = 0; j < matrix_unit::steps_for<Eigen::bfloat16>(keys) * depth; j += n)
      matrix_unit::pack_left({k_rows + j, k.col_stride}, std::clamp<Index>(keys - j, 0, n), d(),
                             k_.data() + j / n * steps() * step_size);
    for (Index j = 0; j < keys; j += depth)
      matrix_unit::pack_left_transposed({v_rows + j, v.col_stride}, std::min<Index>(depth, keys - j), e(),
                                        v_.data() + j / depth * step_size, loaded_steps() * step_size);
  }

  /// Returns where the last visible step of `tile` ends: no query sees a later key.
  Index seen_end(const ScoreTile& tile) const {
    ScoreTile step = tile;
    for (; step.key_end > tile.key_begin; step.key_end = step.key_begin) {
      step.key_begin = tile.key_begin + (step.key_end - 1 - tile.key_begin) / depth * depth;
      if (call_.score.visible(step) != Visible::none) break;
    }
    return step.key_end;
  }

  /// Returns the part of `tile` with the queries of a group.
  ScoreTile of_group(Index group, ScoreTile tile) const {
    tile.query_begin = begin(2 * group);
    tile.query_end = begin(2 * group + 2);
    return tile;
  }

  /// Which steps of a run have hidden keys.
  struct PartlyHidden {
    bool steps[steps_per_run] = {};
  };
  /// Consecutive steps of keys, at most steps_per_run, and the group of queries that sees them.
  struct Run {
    Index group;
    ScoreTile tile;  // with these keys, and the queries of the group
    Index first;     // its first step, counted from the beginning of the loaded tile
    PartlyHidden partly;

    Index steps() const { return matrix_unit::steps_for<Eigen::bfloat16>(tile.key_end - tile.key_begin); }
  };

  /// Processes up to run_keys keys of the loaded tile, from key `key` of the sequence on, for one group of queries.
  /// Skips steps that no query of the group sees. The result does not depend on other groups.
  void attend(Index group, const ScoreTile& loaded, Index key, Visible seen) {
    ScoreTile tile = of_group(group, loaded);
    tile.key_begin = key;
    tile.key_end = std::min<Index>(loaded.key_end, key + run_keys);
    if (seen != Visible::all) seen = call_.score.visible(tile);
    if (seen == Visible::none) return;
    const auto step_of = [&](Index first_key) { return (first_key - loaded.key_begin) / depth; };
    if (seen == Visible::all) return attend_run({group, tile, step_of(key), {}});
    PartlyHidden partly;
    Index run = -1;  // first key of the run of visible steps; -1: there is none
    ScoreTile step = tile;
    const auto finish = [&](Index end) {
      if (run < 0) return;
      ScoreTile part = tile;
      part.key_begin = run;
      part.key_end = end;
      attend_run({group, part, step_of(run), partly});
      run = -1;
      partly = {};
    };
    for (step.key_begin = tile.key_begin; step.key_begin < tile.key_end; step.key_begin = step.key_end) {
      step.key_end = std::min<Index>(tile.key_end, step.key_begin + depth);
      const Visible of_step = call_.score.visible(step);
      if (of_step == Visible::none) {
        finish(step.key_begin);
        continue;
      }
      if (run < 0) run = step.key_begin;
      partly.steps[(step.key_begin - run) / depth] = of_step == Visible::some;
    }
    finish(tile.key_end);
  }

  /// Processes a run, part_steps steps at a time. So the scores are still in the L1 cache when the softmax reads them.
  void attend_run(const Run& run) {
    const Index steps = run.steps();
    Index added = 0;  // steps whose weighted values have been added to the results
    for (Index begin = 0; begin < steps; begin += part_steps) {
      const Index end = std::min<Index>(steps, begin + part_steps);
      compute_scores(run, begin, end);
      for (Index b = 2 * run.group; b < 2 * run.group + 2; ++b)
        if (queries(b) > 0)
          prepare(b, run, begin, end, [&] {
            add_results(run, added, begin);
            added = begin;
          });
      for (Index b = 2 * run.group; b < 2 * run.group + 2; ++b)
        if (queries(b) > 0) weigh(b, run, begin, end);
    }
    add_results(run, added, steps);
  }

  // The following functions process steps `begin` to `end` - 1 of a run.

  /// Computes S^T = K Q^T.
  void compute_scores(const Run& run, Index begin, Index end) {
    const Index size = steps() * step_size;
    matrix_unit::multiply<Unit>((end - begin) * (depth / n), 2,
                                {.steps = steps(),
                                 .a = {k_.data() + (run.first + begin) * (depth / n) * size, depth, step_size, size},
                                 .b = {q_.data() + run.group * q_size(), size},
                                 .c = {scores_, n, n * n, part_scores},
                                 .accumulates = false});
  }
  /// Computes O^T += V^T P^T.
  void add_results(const Run& run, Index begin, Index end) {
    if (begin == end) return;
    matrix_unit::multiply<Unit>(
        result_blocks(), 2,
        {.steps = end - begin,
         .a = {v_.data() + (run.first + begin) * step_size, depth, step_size, loaded_steps() * step_size},
         .b = {weights_.data() + begin * step_size, run_weights},
         .c = {results(2 * run.group), n, n * n, result_blocks() * n * n},
         .accumulates = true});
  }

  float* scores(Index b) { return scores_ + b % 2 * part_scores; }
  /// Returns the tile of block b's queries and the keys of these steps.
  ScoreTile part(Index b, const Run& run, Index begin, Index end) const {
    ScoreTile tile = run.tile;
    tile.query_begin = this->begin(b);
    tile.query_end = this->begin(b + 1);
    tile.key_begin += begin * depth;
    tile.key_end = std::min<Index>(tile.key_end, run.tile.key_begin + end * depth);
    return tile;
  }

  /// Scales the scores of block b if scales_, applies the mask or bias, and hides padding keys. Then updates the
  /// references of the softmax. Calls before_rescaling() before results are rescaled.
  template <class Callback>
  void prepare(Index b, const Run& run, Index begin, Index end, Callback&& before_rescaling) {
    float* const scores = this->scores(b);
    const ScoreTile tile = part(b, run, begin, end);
    const Index keys = tile.key_end - tile.key_begin, padded_keys = (end - begin) * depth;
    if (scales_) {
      const auto scale = static_cast<float>(call_.layout.scale);
      for (Index i = 0; i < keys * n; ++i) scores[i] *= scale;
    }
    static_assert(ScoreTraits<S>::changes_values || part_steps == 1);
    if (ScoreTraits<S>::changes_values || run.partly.steps[begin])
      call_.score.apply(tile, ScoreBlock<float>(scores, queries(b), keys, Eigen::OuterStride<>(n)));
    std::fill(scores + keys * n, scores + padded_keys * n, hidden_score<float>);
    softmax_[b].note(padded_keys, scores, e(), results(b), before_rescaling);
  }

  /// Turns the scores of block b into weights, and adds them to its sums.
  void weigh(Index b, const Run& run, Index begin, Index end) {
    float* const scores = this->scores(b);
    Eigen::bfloat16* const weights = weights_.data() + b % 2 * run_weights + begin * step_size;
    const Index keys = (end - begin) * depth;
    if (!call_.dropout.active()) return softmax_[b].weigh_pairs(keys, scores, weights);
    softmax_[b].weigh(keys, scores);
    // Dropout comes after the softmax, because the sums include the dropped weights.
    call_.dropout.apply(part(b, run, begin, end), scores, 1, n);
    for (Index j = 0; j < keys; j += 2) matrix_unit::store_pairs(scores + j * n, scores + (j + 1) * n, weights + j * n);
  }

  /// Writes the log-sum-exp of query i of block b. Multiplies the factor of its results by the share that the head's
  /// sink leaves, if there is a sink.
  void add_sink(Index b, Index i, float& factor) const {
    if (call_.layout.sinks.empty() && !call_.asks_log_sum_exp()) return;
    double sum = softmax_[b].log_sum_exp(i);
    if (!call_.layout.sinks.empty()) {
      const double before = sum;
      sum = log_add_exp(before, call_.layout.sinks[static_cast<std::size_t>(tile_.head)]);
      factor *= static_cast<float>(weight_in(before, sum));
    }
    if (call_.asks_log_sum_exp()) call_.write_log_sum_exp(tile_, row(b) + i, static_cast<float>(sum));
  }

  const Call& call_;
  const ScoreTile tile_;
  const bool
      scales_;  // whether scores are scaled before the softmax: if S changes values, or if the factor is not positive
  const Index groups_;
  const TileMemory<Eigen::bfloat16> q_;                         // [blocks] packed columns
  const TileMemory<float> results_;                             // [blocks] of [e x n]
  const Index loaded_keys_;                                     // keys of a loaded tile; the last may have fewer
  const TileMemory<Eigen::bfloat16> k_, v_;                     // the loaded tile of keys, packed
  const TileMemory<Eigen::bfloat16, 4 * run_weights> weights_;  // [2 blocks] of [pairs of keys x n x 2]
  UnitSoftmax softmax_[2 * max_unit_groups];
  alignas(64) float scores_[2 * part_scores];  // [2 blocks] of [keys x n]
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
