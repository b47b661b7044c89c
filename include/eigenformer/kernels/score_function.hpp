// Scores and masks of a user's own, as functions of one score (as in FlexAttention: Dong et al. 2024, arXiv
// 2412.05496).
#pragma once

#include <cstdint>

#include "eigenformer/core/dual.hpp"
#include "eigenformer/core/simd.hpp"
#include "eigenformer/kernels/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Where a score stands. Small integers, so that what is computed from them can be vectorised.
struct ScorePlace {
  std::int32_t query = 0;     // counted within its sequence
  std::int32_t key = 0;       // counted within its sequence
  std::int32_t head = 0;      // the query's
  std::int32_t sequence = 0;  // in the ragged batch
  std::int32_t queries = 0;   // in the sequence
  std::int32_t keys = 0;      // in the sequence
};

namespace detail {

/// Calls body(place, i, j) for all entries, a key's queries in the inner loop and lanes at a time: a number of turns
/// that is known lets a compiler vectorise it at -O2 too.
template <class Scalar, class Body>
void for_each_place(const ScoreTile& tile, const ScoreBlock<Scalar>& scores, Body body) {
  const auto small = [](Index i) { return static_cast<std::int32_t>(i); };
  constexpr int lanes = simd::lanes<Scalar>;
  const ScorePlace corner{small(tile.query_begin), small(tile.key_begin), small(tile.head),
                          small(tile.sequence),    small(tile.queries),   small(tile.keys)};
  for (Index j = 0; j < scores.cols(); ++j) {
    const auto call = [&](Index i) {
      ScorePlace place = corner;
      place.query += small(i);
      place.key += small(j);
      body(place, i, j);
    };
    Index i = 0;
    for (; i + lanes <= scores.rows(); i += lanes) {
      EIGENFORMER_VECTORISE
      for (int l = 0; l < lanes; ++l) call(i + l);
    }
    for (; i < scores.rows(); ++i) call(i);
  }
}

/// Replaces every score by change(score, place).
template <class Scalar, class Change>
void change_scores(const ScoreTile& tile, ScoreBlock<Scalar> scores, Change change) {
  // Not through the map, whose size a compiler would have to know to be apart from what is written.
  Scalar* entries = scores.data();
  const Index stride = scores.outerStride();
  for_each_place(tile, scores, [&](const ScorePlace& place, Index i, Index j) {
    Scalar& score = entries[j * stride + i];
    score = change(score, place);
  });
}

}  // namespace detail

/// What score() gives.
template <class Function>
class ScoreFunction {
 public:
  static constexpr ScoreStage stage = ScoreStage::bias;
  static constexpr int kept_blocks = 1;  // derivatives

  explicit ScoreFunction(const Function& function) : function_(function) {}

  Visible visible(const ScoreTile&) const { return Visible::all; }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    detail::change_scores(tile, scores, [&](Scalar score, const ScorePlace& place) {
      return static_cast<Scalar>(function_(score, place));
    });
  }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> kept) const {
    static_assert(std::is_invocable_v<const Function&, Dual<Scalar>, ScorePlace>,
                  "this score has no derivative: write its function for any type of score, [](auto score, auto at)");
    Scalar* const values = scores.data();  // not through the maps: see change_scores
    Scalar* const derivatives = kept.data();
    const Index stride = scores.outerStride(), kept_stride = kept.outerStride();
    detail::for_each_place(tile, scores, [&](const ScorePlace& place, Index i, Index j) {
      Scalar& value = values[j * stride + i];
      const Dual<Scalar> changed = function_(Dual<Scalar>(value, 1), place);
      // A score that a bias has hidden is infinite, and its derivative may be anything.
      derivatives[j * kept_stride + i] = detail::choose(value == hidden_score<Scalar>, Scalar(0), changed.derivative);
      value = changed.value;
    });
  }

  template <class Scalar>
  void apply_backward(const ScoreTile&, ScoreBlock<Scalar> kept, ScoreBlock<Scalar> d_scores) const {
    detail::change_packets([](const auto& d, const auto& derivative) { return simd::multiply(d, derivative); },
                           d_scores, kept);
  }

 private:
  Function function_;
};

/// What mask() gives.
template <class Function>
class MaskFunction {
 public:
  static constexpr ScoreStage stage = ScoreStage::mask;

  explicit MaskFunction(const Function& function) : function_(function) {}

  Visible visible(const ScoreTile&) const { return Visible::some; }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    detail::change_scores(tile, scores, [&](Scalar score, const ScorePlace& place) {
      return function_(place) ? score : hidden_score<Scalar>;
    });
  }

 private:
  Function function_;
};

/// A score that is changed by a function of the score and its place, after any soft cap and before any mask.
///
///   score([](auto s, const ScorePlace& at) { return s - 0.1F * static_cast<float>(at.query - at.key); })
///
/// Written for `auto`, it has a derivative: the backward calls it with dual numbers. eigenformer::exp, tanh and abs are
/// for use in it: they are vectorised, where a call of the C library's is not.
template <class Function>
ScoreFunction<Function> score(const Function& function) {
  return ScoreFunction<Function>(function);
}

/// A mask by a function of the place, true where the query may attend to the key.
///
///   mask([](const ScorePlace& at) { return at.key % 4 == 0; })
///
/// It is asked about every pair. What leaves out long stretches, combine with Causal or SlidingWindow: those cost
/// nothing where they hide.
template <class Function>
MaskFunction<Function> mask(const Function& function) {
  static_assert(std::is_invocable_r_v<bool, const Function&, ScorePlace>,
                "a mask is a function of a ScorePlace that gives a bool: true = may attend");
  return MaskFunction<Function>(function);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
