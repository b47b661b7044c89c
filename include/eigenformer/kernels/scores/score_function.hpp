// User-defined scores and masks: functions of one score and its position (as in FlexAttention: Dong et al. 2024, arXiv
// 2412.05496).
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

#include "eigenformer/core/detail/std_of_dual.hpp"
#include "eigenformer/core/simd.hpp"
#include "eigenformer/kernels/scores/causal.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The position of a score, in small integers, so that computations with it vectorise.
struct ScorePosition {
  std::int32_t query = 0;     // counted within its sequence
  std::int32_t key = 0;       // counted within its sequence
  std::int32_t head = 0;      // of the query
  std::int32_t sequence = 0;  // in the ragged batch
  std::int32_t queries = 0;   // in the sequence
  std::int32_t keys = 0;      // in the sequence
};

namespace detail {

/// Calls body(places, i, j, count) for runs of queries i .. i + count - 1 of key j. places(l) is the position of query
/// i + l.
///
/// A run is one SIMD packet or one query. The packet size is a constant, so that compilers vectorise a loop over the
/// run, even at -O2. For whole packets, the outer loop goes over the queries and the inner loop over the keys, so that
/// constants and values that depend only on the queries stay in registers.
/// Measured: scores_bench on Zen 5, share of the plain kernel's speed (in brackets: with the loops interchanged). Clang
/// 14: lambda_linear 95 % (74 %), lambda_mask_and 95 % (57 %). GCC 12: lambda_mask_and 94 % (91 %).
template <class Scalar, class Body>
void for_each_run(const ScoreTile& tile, const ScoreBlock<Scalar>& scores, Body body) {
  const auto narrow = [](Index i) { return static_cast<std::int32_t>(i); };
  const ScorePosition corner{narrow(tile.query_begin), narrow(tile.key_begin), narrow(tile.head),
                             narrow(tile.sequence),    narrow(tile.queries),   narrow(tile.keys)};
  const auto call = [&](Index i, Index j, auto count) {
    const auto places = [&](int l) {
      ScorePosition place = corner;
      place.query += narrow(i) + l;
      place.key += narrow(j);
      return place;
    };
    body(places, i, j, count);
  };
  constexpr int lanes = simd::lanes<Scalar>;
  const Index queries = scores.rows(), keys = scores.cols(), whole = queries / lanes * lanes;
  for (Index i = 0; i < whole; i += lanes)
    for (Index j = 0; j < keys; ++j) call(i, j, std::integral_constant<int, lanes>{});
  for (Index j = 0; j < keys; ++j)
    for (Index i = whole; i < queries; ++i) call(i, j, std::integral_constant<int, 1>{});
}

/// Calls body(0) .. body(count - 1) in a loop to be vectorised.
template <int count, class Body>
EIGEN_ALWAYS_INLINE void for_each_lane(Body body) {
  if constexpr (count == 1) {
    body(0);
  } else {
    EIGENFORMER_VECTORISE
    for (int l = 0; l < count; ++l) body(l);
  }
}

/// Copies a run. Copies several entries as one packet, which compilers keep in a register.
template <int count, class Scalar>
EIGEN_ALWAYS_INLINE void copy_run(const Scalar* from, Scalar* to) {
  if constexpr (count == 1)
    *to = *from;
  else
    simd::store(to, simd::load(from));
}

/// Replaces every score by change(score, position).
template <class Scalar, class Change>
void change_scores(const ScoreTile& tile, ScoreBlock<Scalar> scores, Change change) {
  for_each_run(tile, scores, [&](const auto& places, Index i, Index j, auto run_length) {
    constexpr int count = run_length;
    Scalar* const run = &scores(i, j);
    for_each_lane<count>([&](int l) { run[l] = change(run[l], places(l)); });
  });
}

/// Replaces every score by the value of the Dual change(score, position), and writes its derivative to `derivatives`.
template <class Scalar, class Change>
void change_scores(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> derivatives, Change change) {
  for_each_run(tile, scores, [&](const auto& places, Index i, Index j, auto run_length) {
    constexpr int count = run_length;
    // Local arrays: the compiler cannot prove that the blocks do not alias.
    // Measured: lambda_tanh with GCC 12 at -O2: 91 %, 36 % without (scores_bench, share of the plain kernel's speed).
    Scalar changed[count], slopes[count];
    copy_run<count>(&scores(i, j), changed);
    for_each_lane<count>([&](int l) {
      const Dual<Scalar> dual = change(changed[l], places(l));
      changed[l] = dual.value;
      slopes[l] = dual.derivative;
    });
    copy_run<count>(changed, &scores(i, j));
    copy_run<count>(slopes, &derivatives(i, j));
  });
}

template <class Function, class... Arguments>
concept CallableWith = requires(Function function, const Arguments&... arguments) {
  function(arguments...);
};

template <class Result>
constexpr bool is_score_result() {
  constexpr bool is_mask = std::is_same_v<Result, bool>;
  constexpr bool is_number = std::is_convertible_v<Result, double> && !std::is_integral_v<Result>;
  static_assert(!is_mask,
                "a function that gives a bool is a mask: ef::mask([](const ef::ScorePosition& at) { return .. })");
  static_assert(is_mask || is_number, "the function of a score gives the new score, of s's type or a float");
  return is_number;
}

/// Whether a score can be made from the function. If not, a static_assert explains why.
template <class Function>
constexpr bool is_score_function() {
  if constexpr (CallableWith<const Function&, float, ScorePosition>) {
    return is_score_result<std::invoke_result_t<const Function&, float, const ScorePosition&>>();
  } else if constexpr (CallableWith<const Function&, double, ScorePosition>) {
    return is_score_result<std::invoke_result_t<const Function&, double, const ScorePosition&>>();
  } else {
    constexpr bool is_mutable = CallableWith<Function&, float, ScorePosition>;
    static_assert(is_mutable,
                  "the function of a score takes the score and its position: "
                  "ef::score([](auto s, const ef::ScorePosition& at) { return .. })");
    static_assert(!is_mutable, "threads share the function of a score: write its lambda without mutable");
    return false;
  }
}

/// Whether a mask can be made from the function. If not, a static_assert explains why.
template <class Function>
constexpr bool is_mask_function() {
  if constexpr (CallableWith<const Function&, ScorePosition>) {
    using Result = std::remove_cvref_t<std::invoke_result_t<const Function&, const ScorePosition&>>;
    constexpr bool decides = std::is_convertible_v<Result, bool> && !std::is_floating_point_v<Result>;
    static_assert(decides, "the function of a mask gives a bool: true = may attend");
    return decides;
  } else {
    constexpr bool is_mutable = CallableWith<Function&, ScorePosition>;
    static_assert(
        is_mutable,
        "a mask is a function of a position that gives a bool: ef::mask([](const ef::ScorePosition& at) { return "
        ".. }); a matrix of bool is an ef::DenseMask");
    static_assert(!is_mutable, "threads share the function of a mask: write its lambda without mutable");
    return false;
  }
}

}  // namespace detail

/// The result of score().
template <class Function>
class ScoreFunction {
 public:
  static constexpr ScoreStage stage = ScoreStage::bias;
  static constexpr int saved_blocks = 1;  // derivatives

  explicit ScoreFunction(const Function& function) : function_(function) {}

  /// Whether the function takes Duals. If not, a static_assert explains how to write it.
  template <class Scalar>
  static constexpr bool is_differentiable() {
    constexpr bool takes_duals =
        requires(const Function& function, const Dual<Scalar>& score, const ScorePosition& place) {
      function(score, place);
    };
    static_assert(takes_duals,
                  "this score has no derivative: write its function for any type of score, "
                  "ef::score([](auto s, const ef::ScorePosition& at) { return .. })");
    return takes_duals;
  }

  Visible visible(const ScoreTile&) const { return Visible::all; }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    detail::change_scores(tile, scores, [&](Scalar score, const ScorePosition& place) {
      // A score that a bias has hidden stays hidden.
      return detail::choose(score == hidden_score<Scalar>, score, static_cast<Scalar>(function_(score, place)));
    });
  }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) const {
    detail::change_scores(tile, scores, saved, [&](Scalar score, const ScorePosition& place) {
      Dual<Scalar> changed = function_(Dual<Scalar>(score, 1), place);
      changed.value = detail::choose(score == hidden_score<Scalar>, score, changed.value);
      // Where a bias has hidden the score (-inf), the function's derivative may be anything.
      changed.derivative = detail::choose(detail::is_minus_infinity(score), Scalar(0), changed.derivative);
      return changed;
    });
  }

  template <class Scalar>
  void apply_backward(const ScoreTile&, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) const {
    // Leave gradients of 0 unchanged. A hidden score has gradient 0, but its derivative may be undefined; their
    // product, NaN, would reach the gradient of a bias.
    const auto zero = simd::broadcast(Scalar(0));
    detail::change_packets(
        [&](const auto& d, const auto& derivative) {
          const auto size = simd::maximum(d, simd::subtract(zero, d));
          return simd::select_less(zero, size, simd::multiply(d, derivative), d);
        },
        d_scores, saved);
  }

 private:
  Function function_;
};

/// The result of mask().
template <class Function>
class MaskFunction {
 public:
  static constexpr ScoreStage stage = ScoreStage::mask;

  explicit MaskFunction(const Function& function) : function_(function) {}

  Visible visible(const ScoreTile&) const { return Visible::some; }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    detail::change_scores(tile, scores, [&](Scalar score, const ScorePosition& place) {
      return function_(place) ? score : hidden_score<Scalar>;
    });
  }

 private:
  Function function_;
};

/// Returns a score that applies a function of the score and its position, after any soft cap and before any mask. A
/// result of -inf hides the key.
///
///   score([](auto s, const ScorePosition& at) { return s - 0.1F * static_cast<float>(at.query - at.key); })
///
/// A function that takes `auto` has a derivative: the backward calls it with dual numbers. Use eigenformer::exp, tanh,
/// abs, log, sqrt and pow in it; the C library's functions have no derivative. exp, tanh and abs are vectorised.
/// The function must return one type: write `return hide ? -INFINITY : s`. A `return -INFINITY` and a `return s` in one
/// lambda do not compile.
template <class Function>
auto score(const Function& function) {
  if constexpr (detail::is_score_function<Function>())
    return ScoreFunction<std::decay_t<const Function&>>(function);
  else
    return Unmasked{};
}

/// Returns a mask given by a function of the position, true where the query may attend to the key.
///
///   mask([](const ScorePosition& at) { return at.key % 4 == 0; })
///
/// The function is called for every pair. To hide long stretches, combine it with Causal or SlidingWindow, where hidden
/// tiles cost nothing.
template <class Function>
auto mask(const Function& function) {
  if constexpr (detail::is_mask_function<Function>())
    return MaskFunction<std::decay_t<const Function&>>(function);
  else
    return Unmasked{};
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
