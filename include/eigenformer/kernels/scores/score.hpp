// How a score is masked and changed. A score is a type, so that what it does to a tile of scores is one loop, compiled
// for it. The attention kernel calls it while the tile is near, and never makes the tiles that it hides.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <limits>
#include <type_traits>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/core/simd.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Which part of the score matrix a tile is. Queries and keys are counted within their sequence.
struct ScoreTile {
  Index head = 0;         // the query's head
  Index sequence = 0;     // in the ragged batch
  Index first_row = 0;    // of the sequence's queries in the batch
  Index queries = 0;      // in the sequence
  Index keys = 0;         // in the sequence
  Index query_begin = 0;  // the tile's range
  Index query_end = 0;
  Index key_begin = 0;
  Index key_end = 0;
};

/// A tile's scores, already scaled: [queries x keys], a key's queries contiguous.
template <class Scalar>
using ScoreBlock = Eigen::Map<Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>, Eigen::Unaligned,
                              Eigen::OuterStride<>>;

/// How much of a tile its queries may see. `none` is never computed; `all` promises that nothing would be hidden, but
/// by a score of minus infinity that a change of values gives.
enum class Visible { none, some, all };

/// What hides a key from a query: a score of minus infinity.
template <class Scalar>
inline constexpr Scalar hidden_score = -std::numeric_limits<Scalar>::infinity();

/// A score's place in the order in which several are applied, whatever order they were combined in.
enum class ScoreStage { cap, bias, mask };

/// A score type S has
///   static constexpr ScoreStage stage;
///   Visible visible(const ScoreTile&) const;
///   template <class Scalar> void apply(const ScoreTile&, ScoreBlock<Scalar> scores) const;
/// A mask's `apply` hides, and is called for tiles of which `some` is visible; any other changes values, and is called
/// for those of which `all` is, too. What is hidden already, a score of minus infinity, stays so.
///
/// One that does more than add a constant has a derivative, which turns the gradient after `apply` into the one before
/// it, and may add to gradients of its own. If that asks for numbers of each score, it says how many, and has a second
/// `apply`, which the backward calls in place of the first: it changes scores as that does, and leaves the numbers in
/// `kept`, a block as large as the scores. (Of several blocks each lies behind the one before: see
/// detail::block_after.)
///   static constexpr int kept_blocks = 1;
///   template <class Scalar> void apply(const ScoreTile&, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> kept) const;
///   template <class Scalar>
///   void apply_backward(const ScoreTile&, ScoreBlock<Scalar> kept, ScoreBlock<Scalar> d_scores) const;
/// If it asks for none:
///   template <class Scalar> void apply_backward(const ScoreTile&, ScoreBlock<Scalar> d_scores) const;
/// One with gradients of its own says which tiles must not be worked on at the same time, because they add to one
/// number, by
///   static constexpr bool heads_share_gradient = true;      // those of different heads
///   static constexpr bool sequences_share_gradient = true;  // those of different sequences, queries or keys
/// One that keeps numbers of its own for a query's keys in a row asks for tiles of as many keys as there may be, by
///   static constexpr bool reads_rows_of_keys = true;
/// One that has a size of its own checks it in check_covers(const ScoreTile&), which is called first: its tile has the
/// last head, all rows of the batch as its queries, and the keys of the longest sequence.
template <class S>
concept Score = requires(const S& score, const ScoreTile& tile) {
  { &S::stage } -> std::convertible_to<const ScoreStage*>;
  typename std::integral_constant<ScoreStage, S::stage>;
  { score.visible(tile) } -> std::same_as<Visible>;
}
&&(
    requires(const S& score, const ScoreTile& tile, ScoreBlock<float> scores) { score.apply(tile, scores); } ||
    requires(const S& score, const ScoreTile& tile, ScoreBlock<double> scores) { score.apply(tile, scores); });

namespace detail {

template <class S, class Scalar>
inline constexpr bool applies_to = requires(const S& score, const ScoreTile& tile, ScoreBlock<Scalar> scores) {
  score.apply(tile, scores);
};

/// Whether S is to be applied also where all is visible.
template <Score S>
inline constexpr bool changes_values = S::stage != ScoreStage::mask;

/// Blocks of numbers that S keeps of a tile's scores for its derivative.
template <Score S>
constexpr int kept_blocks() {
  if constexpr (requires { S::kept_blocks; }) return S::kept_blocks;
  return 0;
}
/// The block that lies so many blocks of its size further in memory.
template <class Scalar>
ScoreBlock<Scalar> block_after(ScoreBlock<Scalar> block, int blocks) {
  return {block.data() + blocks * block.outerStride() * block.cols(), block.rows(), block.cols(),
          Eigen::OuterStride<>(block.outerStride())};
}

template <Score S, class Scalar>
constexpr bool find_derivative() {
  constexpr bool asks_for_kept = requires(const S& score, const ScoreTile& tile, ScoreBlock<Scalar> block) {
    score.apply_backward(tile, block, block);
  };
  static_assert(kept_blocks<S>() > 0 || !asks_for_kept,
                "a score whose apply_backward is given what was kept says how much that is: kept_blocks");
  return kept_blocks<S>() > 0 || requires(const S& score, const ScoreTile& tile, ScoreBlock<Scalar> block) {
    score.apply_backward(tile, block);
  };
}
template <Score S, class Scalar>
inline constexpr bool has_derivative = find_derivative<S, Scalar>();

/// Applies a score, and keeps what its derivative asks for.
template <Score S, class Scalar>
void apply_keeping(const S& score, const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> kept) {
  if constexpr (kept_blocks<S>() > 0)
    score.apply(tile, scores, kept);
  else
    score.apply(tile, scores);
}
/// Turns the gradient after a score into the one before it.
template <Score S, class Scalar>
void differentiate(const S& score, const ScoreTile& tile, ScoreBlock<Scalar> kept, ScoreBlock<Scalar> d_scores) {
  if constexpr (kept_blocks<S>() > 0)
    score.apply_backward(tile, kept, d_scores);
  else if constexpr (has_derivative<S, Scalar>)
    score.apply_backward(tile, d_scores);
}

/// A score plus a bias. A bias of minus infinity hides the score whatever it is, an infinite or undefined one too.
template <class Scalar>
EIGEN_ALWAYS_INLINE simd::Packet<Scalar> biased(const simd::Packet<Scalar>& score, const simd::Packet<Scalar>& bias) {
  return simd::select_less(bias, simd::broadcast(std::numeric_limits<Scalar>::lowest()),
                           simd::broadcast(hidden_score<Scalar>), simd::add(score, bias));
}
template <class Scalar>
void add_bias(const Scalar& bias, Scalar& score) {
  score = bias == hidden_score<Scalar> ? bias : score + bias;
}

/// Calls apply(scores). What it hides when a score is 0, it hides also where the score is infinite or undefined:
/// a user's function may have added minus infinity to NaN.
template <class Scalar, class Apply>
EIGEN_DONT_INLINE void apply_carefully(ScoreBlock<Scalar> scores, Apply apply) {
  using Entries = Eigen::Array<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
  Entries defined = scores.array();
  defined = (defined - defined == Scalar(0)).select(defined, Scalar(0));
  const bool all_are_defined = (defined == scores.array()).all();
  apply(scores);
  if (all_are_defined) return;
  apply(ScoreBlock<Scalar>(defined.data(), defined.rows(), defined.cols(), Eigen::OuterStride<>(defined.rows())));
  scores.array() = (defined == hidden_score<Scalar>).select(defined, scores.array());
}
/// Applies a score, `carefully` or as it is.
template <Score S, class Scalar>
void apply_score(const S& score, const ScoreTile& tile, ScoreBlock<Scalar> scores, bool carefully) {
  if (changes_values<S> && carefully)
    apply_carefully(scores, [&](ScoreBlock<Scalar> block) { score.apply(tile, block); });
  else
    score.apply(tile, scores);
}

template <Score S>
constexpr bool heads_share_gradient() {
  if constexpr (requires { S::heads_share_gradient; }) return S::heads_share_gradient;
  return false;
}
template <Score S>
constexpr bool sequences_share_gradient() {
  if constexpr (requires { S::sequences_share_gradient; }) return S::sequences_share_gradient;
  return false;
}

template <Score S>
constexpr bool reads_rows_of_keys() {
  if constexpr (requires { S::reads_rows_of_keys; }) return S::reads_rows_of_keys;
  return false;
}

template <Score S>
void check_covers(const S& score, const ScoreTile& batch) {
  if constexpr (requires { score.check_covers(batch); }) score.check_covers(batch);
}

/// Each score of `to` becomes change(itself, the numbers of `from` in its place), a packet at a time: one formula for
/// all of them, so that what becomes of a score does not depend on its neighbours.
template <class Scalar, class Change, class... Blocks>
void change_packets(Change change, ScoreBlock<Scalar> to, const Blocks&... from) {
  constexpr Index lanes = simd::lanes<Scalar>;
  const bool has_gaps = to.outerStride() != to.rows() || (... || (from.outerStride() != from.rows()));
  const Index columns = has_gaps ? to.cols() : 1, entries = has_gaps ? to.rows() : to.size();
  const Index whole = entries / lanes * lanes, rest = entries - whole;
  const auto column = [](ScoreBlock<Scalar> block, Index j) { return block.data() + j * block.outerStride(); };
  for (Index j = 0; j < columns; ++j)
    for (Index i = 0; i < whole; i += lanes)
      simd::store(column(to, j) + i, change(simd::load(column(to, j) + i), simd::load(column(from, j) + i)...));
  if (rest == 0) return;
  // What is left of several columns fills a packet: of few queries it is all there is.
  const Index together = lanes / rest;
  for (Index first = 0; first < columns; first += together) {
    const Index count = std::min<Index>(together, columns - first);
    std::array<Scalar, lanes> all{};
    const auto gather = [&](ScoreBlock<Scalar> block) {
      for (Index j = 0; j < count; ++j) std::copy_n(column(block, first + j) + whole, rest, all.data() + j * rest);
      return simd::load(all.data());
    };
    simd::store(all.data(), change(gather(to), gather(from)...));
    for (Index j = 0; j < count; ++j) std::copy_n(all.data() + j * rest, rest, column(to, first + j) + whole);
  }
}

/// Where queries stand among the keys: they begin together, or, for keys that begin earlier as in a cache, end
/// together.
class Alignment {
 public:
  constexpr Alignment() = default;
  static constexpr Alignment after_past() {
    Alignment alignment;
    alignment.after_past_ = true;
    return alignment;
  }

  /// The key that has the position of the sequence's first query.
  Index first_query(const ScoreTile& tile) const { return after_past_ ? tile.keys - tile.queries : 0; }

  friend bool operator==(const Alignment&, const Alignment&) = default;

 private:
  bool after_past_ = false;
};

/// Hides from the tile's first query the keys before `first` and after `last`, from each next query those before and
/// after one more. Goes only over the packets of queries from which a key is hidden.
template <class Scalar>
void hide_outside_band(const ScoreTile& tile, Index first, Index last, ScoreBlock<Scalar> scores) {
  constexpr Index lanes = simd::lanes<Scalar>;
  const Index queries = scores.rows(), keys = scores.cols(), stride = scores.outerStride();
  const Index whole = queries / lanes * lanes;
  first -= tile.key_begin;
  last -= tile.key_begin;
  const auto hidden = simd::broadcast(hidden_score<Scalar>);
  const auto zero = simd::broadcast(Scalar(0)), one = simd::broadcast(Scalar(1));
  for (Index i = 0; i < whole; i += lanes) {
    Scalar* const packet = scores.data() + i;
    Index key = std::clamp<Index>(last + i + 1, 0, keys);
    auto left = simd::count_from(static_cast<Scalar>(last + i - key));  // keys until the last, of each query
    for (; key < keys; ++key) {
      simd::store(packet + key * stride, simd::select_less(left, zero, hidden, simd::load(packet + key * stride)));
      left = simd::subtract(left, one);
    }
    const Index end = std::clamp<Index>(first + i + lanes - 1, 0, keys),
                all_until = std::clamp<Index>(first + i, 0, end);
    for (key = 0; key < all_until; ++key) simd::store(packet + key * stride, hidden);
    auto missing = simd::count_from(static_cast<Scalar>(first + i - key));  // keys until the first, of each query
    for (; key < end; ++key) {
      simd::store(packet + key * stride, simd::select_less(zero, missing, hidden, simd::load(packet + key * stride)));
      missing = simd::subtract(missing, one);
    }
  }
  for (Index i = whole; i < queries; ++i) {
    const Index begin = std::clamp<Index>(first + i, 0, keys);
    const Index end = std::clamp<Index>(last + i + 1, begin, keys);
    scores.row(i).head(begin).setConstant(hidden_score<Scalar>);
    scores.row(i).tail(keys - end).setConstant(hidden_score<Scalar>);
  }
}

}  // namespace detail

/// Every query sees every key.
struct Unmasked {
  static constexpr ScoreStage stage = ScoreStage::mask;
  Visible visible(const ScoreTile&) const { return Visible::all; }
  template <class Scalar>
  void apply(const ScoreTile&, ScoreBlock<Scalar>) const {}
};

/// A query sees keys up to its own position. `Causal{}` counts positions from the sequence's start: query i sees keys
/// 0 .. i. `Causal::after_past()` is for keys that begin earlier than the queries, as in a cache: both end together, so
/// query i of n_q sees keys 0 .. i + (n_k - n_q).
class Causal {
 public:
  static constexpr ScoreStage stage = ScoreStage::mask;

  Causal() = default;
  static Causal after_past() {
    Causal causal;
    causal.alignment_ = detail::Alignment::after_past();
    return causal;
  }

  Visible visible(const ScoreTile& tile) const {
    const Index past = alignment_.first_query(tile);
    if (tile.key_begin > tile.query_end - 1 + past) return Visible::none;
    return tile.key_end - 1 <= tile.query_begin + past ? Visible::all : Visible::some;
  }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    const Index position = alignment_.first_query(tile) + tile.query_begin;
    detail::hide_outside_band(tile, (std::numeric_limits<Index>::min)() / 2, position, scores);
  }

  friend bool operator==(const Causal&, const Causal&) = default;

 private:
  detail::Alignment alignment_;
};

namespace detail {

/// `score` itself, or, after a sentence that says what it lacks, Unmasked{}: the caller goes on without more errors.
/// Scalar: of the attention; void if that is not known yet.
template <class Scalar, class S>
decltype(auto) checked_score(const S& score) {
  constexpr bool has_stage = requires {
    typename std::integral_constant<ScoreStage, S::stage>;
  };
  constexpr bool has_visible = requires(const ScoreTile& tile) {
    { score.visible(tile) } -> std::same_as<Visible>;
  };
  constexpr bool has_apply = applies_to<S, float> || applies_to<S, double>;
  constexpr bool is_one = has_stage || has_visible;
  constexpr bool fits =
      std::is_void_v<Scalar> || applies_to<S, std::conditional_t<std::is_void_v<Scalar>, float, Scalar>>;
  static_assert(is_one,
                "this is no score: wrap the function in ef::score or ef::mask, a matrix of bool in ef::DenseMask, a "
                "std::variant of scores in ef::ChosenScore");
  static_assert(!is_one || has_stage, "a score says when it is applied: static constexpr ef::ScoreStage stage");
  static_assert(!is_one || has_visible,
                "a score says what queries may see: ef::Visible visible(const ef::ScoreTile&) const");
  static_assert(!is_one || has_apply,
                "a score has: template <class Scalar> void apply(const ef::ScoreTile&, ef::ScoreBlock<Scalar>) const");
  static_assert(!has_apply || fits, "this score is of another scalar type than the attention");
  if constexpr (Score<S> && fits)
    return (score);
  else
    return Unmasked{};
}

/// Whether S can be differentiated; if a function of it cannot, a sentence says so.
template <Score S, class Scalar>
constexpr bool is_differentiable() {
  if constexpr (requires { S::template is_differentiable<Scalar>(); }) return S::template is_differentiable<Scalar>();
  return true;
}

/// As checked_score, for a score whose derivative is asked for.
template <class Scalar, class S>
decltype(auto) differentiable_score(const S& score) {
  using Checked = std::remove_cvref_t<decltype(checked_score<Scalar>(score))>;
  if constexpr (std::is_same_v<Checked, S> && is_differentiable<Checked, Scalar>())
    return (score);
  else
    return Unmasked{};
}

}  // namespace detail

}  // namespace eigenformer::inline EIGENFORMER_ABI
