// User-defined scores with learned parameters: a slope per head, a table by distance, a temperature. The backward
// returns the parameters' gradients.
//
//   auto decay = ef::score([](auto s, const ef::ScorePosition& at, const auto& slope) {
//     return s - slope(at.head) * static_cast<float>(at.query - at.key);
//   }, ef::ScoreParameter<float>(slopes, d_slopes));
#pragma once

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "eigenformer/core/tensor.hpp"
#include "eigenformer/kernels/scores/score_function.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A learned parameter of a score: a list of numbers, and where to add their gradients. Holds views.
template <class Scalar>
struct ScoreParameter {
  TensorView<const Scalar> values;  // [n]
  TensorView<Scalar> d_values{};    // [heads x n], a row for each query head; null if no gradient is wanted

  /// Throws if the gradient's shape does not fit.
  ScoreParameter(const TensorView<const Scalar>& numbers, const TensorView<Scalar>& gradient = {})  // NOLINT: implicit
      : values(numbers.rank() == 1 ? numbers : numbers.reshape({-1})), d_values(gradient) {
    check(gradient.data() == nullptr || (gradient.rank() == 2 && gradient.shape()[1] == values.shape()[0]),
          "ScoreParameter: the gradient is ", gradient.shape(), ", expected [heads x ", values.shape()[0], "]");
    check(values.shape()[0] > 0, "ScoreParameter: a parameter of no numbers");
    if (gradient.data() != nullptr) detail::check_writable(gradient);
  }
};

namespace detail {

/// A parameter as a score's function sees it: parameter(i) is its entry i, as a Number. An index outside of it reads
/// the first or the last entry: the function is also called for pairs that a mask hides afterwards.
template <class Number, class Scalar>
struct ParameterReader {
  const Scalar* values;
  Index stride;
  Index last;  // index
  Number operator()(Index given) const {
    const Index i = std::clamp<Index>(given, 0, last);
    if constexpr (std::is_same_v<Number, Scalar>)
      return values[i * stride];
    else
      return Number(values[i * stride], 1);
  }
  Number operator[](Index i) const { return (*this)(i); }
};

/// Notes which entry of a parameter a function reads.
template <class Scalar>
struct PlaceReader {
  const Scalar* values;
  Index stride;
  Index last;  // index
  std::int32_t* place;
  bool* reads_two_entries;
  Scalar operator()(Index index) const {
    const Index i = std::clamp<Index>(index, 0, last);
    const auto given = static_cast<std::int32_t>(i);
    *reads_two_entries |= *place >= 0 && *place != given;
    *place = given;
    return values[i * stride];
  }
  Scalar operator[](Index i) const { return (*this)(i); }
};

template <class Scalar>
Scalar derivative_of(const Dual<Scalar>& x) {
  return x.derivative;
}
template <class Scalar>
Scalar derivative_of(const Scalar&) {  // of a result that does not depend on what is differentiated
  return 0;
}

}  // namespace detail

/// The result of score() with parameters.
template <class Function, class Scalar, std::size_t parameters>
class LearnedScore {
 public:
  static constexpr ScoreStage stage = ScoreStage::bias;
  static constexpr int saved_blocks = 1;                  // the scores before the function
  static constexpr bool sequences_share_gradient = true;  // each head has gradients of its own

  LearnedScore(const Function& function, const std::array<ScoreParameter<Scalar>, parameters>& given)
      : function_(function), parameters_(given) {}

  template <class Other>
  static constexpr bool is_differentiable() {
    return std::is_same_v<Other, Scalar>;
  }

  void check_covers(const ScoreTile& batch) const {
    for (const ScoreParameter<Scalar>& p : parameters_)
      check(p.d_values.data() == nullptr || p.d_values.shape()[0] > batch.head,
            "attention: a score's parameter has gradients for ", p.d_values.shape()[0], " heads, expected ",
            batch.head + 1);
  }

  Visible visible(const ScoreTile&) const { return Visible::all; }

  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    const auto readers = readers_of(std::make_index_sequence<parameters>());
    detail::change_scores(tile, scores, [&](Scalar score, const ScorePosition& place) {
      const auto changed = std::apply([&](const auto&... p) { return function_(score, place, p...); }, readers);
      // A score that a bias has hidden stays hidden.
      return detail::choose(score == hidden_score<Scalar>, score, static_cast<Scalar>(changed));
    });
  }
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) const {
    saved = scores;
    apply(tile, scores);
  }

  /// Throws if the function reads two entries of a parameter for one score.
  void apply_backward(const ScoreTile& tile, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) const {
    detail::for_each_run(tile, d_scores, [&](const auto& places, Index i, Index j, auto run_length) {
      constexpr int count = run_length;
      Scalar before[count], d[count];
      detail::copy_run<count>(&saved(i, j), before);
      detail::copy_run<count>(&d_scores(i, j), d);
      add_parameter_gradients<count>(tile.head, before, d, places, std::make_index_sequence<parameters>());
      const auto readers = readers_of(std::make_index_sequence<parameters>());
      detail::for_each_lane<count>([&](int l) {
        const auto changed = std::apply(
            [&](const auto&... p) { return function_(Dual<Scalar>(before[l], 1), places(l), p...); }, readers);
        d[l] = product_or_zero(d[l], detail::derivative_of<Scalar>(changed));
      });
      detail::copy_run<count>(d, &d_scores(i, j));
    });
  }

 private:
  template <std::size_t... I>
  auto readers_of(std::index_sequence<I...>) const {
    return std::tuple{detail::ParameterReader<Scalar, Scalar>{
        parameters_[I].values.data(), parameters_[I].values.strides()[0], parameters_[I].values.shape()[0] - 1}...};
  }
  /// A gradient of 0 stays 0: a hidden score has gradient 0, but its derivative may be undefined.
  static Scalar product_or_zero(Scalar d, Scalar derivative) {
    return detail::choose(d == Scalar(0), Scalar(0), d * derivative);
  }

  template <int count, class Places, std::size_t... I>
  void add_parameter_gradients(Index head, const Scalar* before, const Scalar* d, const Places& places,
                               std::index_sequence<I...>) const {
    std::int32_t entries[parameters][count];
    bool reads_two_entries = false;
    detail::for_each_lane<count>([&](int l) {
      ((entries[I][l] = -1), ...);
      (void)function_(
          before[l], places(l),
          detail::PlaceReader<Scalar>{parameters_[I].values.data(), parameters_[I].values.strides()[0],
                                      parameters_[I].values.shape()[0] - 1, &entries[I][l], &reads_two_entries}...);
    });
    check(!reads_two_entries, "attention: a score's function reads one parameter at two places; pass it twice instead");
    (add_gradient_of<I, count>(head, before, d, places, entries[I]), ...);
  }

  /// Adds the gradients of parameter number `which` for a run of scores.
  template <std::size_t which, int count, class Places>
  void add_gradient_of(Index head, const Scalar* before, const Scalar* d, const Places& places,
                       const std::int32_t* entries) const {
    const TensorView<Scalar>& to = parameters_[which].d_values;
    if (to.data() == nullptr) return;
    Scalar change[count];
    detail::for_each_lane<count>([&](int l) {
      change[l] = product_or_zero(d[l], detail::derivative_of<Scalar>(call_with_dual<which>(
                                            before[l], places(l), std::make_index_sequence<parameters>())));
    });
    Scalar* const row = to.data() + head * to.strides()[0];
    const Index stride = to.strides()[1];
    bool one_entry = true;
    for (int l = 1; l < count; ++l) one_entry = one_entry && entries[l] == entries[0];
    if (one_entry) {
      if (entries[0] < 0) return;
      Scalar sum = 0;
      if constexpr (count == 1)
        sum = change[0];
      else
        sum = simd::sum_of_lanes<Scalar>(simd::load(change));
      row[entries[0] * stride] += sum;
      return;
    }
    for (int l = 0; l < count; ++l)
      if (entries[l] >= 0) row[entries[l] * stride] += change[l];
  }

  /// Calls the function with a dual number for parameter `which` and plain numbers for all else.
  template <std::size_t which, std::size_t... I>
  auto call_with_dual(Scalar score, const ScorePosition& place, std::index_sequence<I...>) const {
    return function_(
        score, place,
        detail::ParameterReader<std::conditional_t<I == which, Dual<Scalar>, Scalar>, Scalar>{
            parameters_[I].values.data(), parameters_[I].values.strides()[0], parameters_[I].values.shape()[0] - 1}...);
  }

  Function function_;
  std::array<ScoreParameter<Scalar>, parameters> parameters_;
};

/// Returns a score that applies a function of the score, its position and learned parameters, after any soft cap and
/// before any mask. A result of -inf hides the key.
///
///   score([](auto s, const ScorePosition& at, const auto& slope, const auto& table) {
///     return s * slope(at.head) + table(at.query - at.key + 100);
///   }, slope, table)
///
/// The function takes `auto`, since the backward calls it with dual numbers (see score() in score_function.hpp). For
/// one score it reads at most one entry of each parameter; otherwise the backward throws, and gradients may be written
/// in part. An index outside of a parameter reads its first or last entry. The gradients of a head's scores go to its
/// own row of d_values. If heads share a parameter, sum the rows.
template <class Function, class Scalar, class... Others>
auto score(const Function& function, const ScoreParameter<Scalar>& first, const Others&... others) {
  constexpr std::size_t count = 1 + sizeof...(Others);
  return LearnedScore<std::decay_t<const Function&>, Scalar, count>(
      function, std::array<ScoreParameter<Scalar>, count>{first, ScoreParameter<Scalar>(others)...});
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
