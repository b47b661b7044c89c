// Calls a score's function with its learned parameters, for a run of scores at a time.
#pragma once

#include <array>
#include <utility>

#include "eigenformer/kernels/detail/attention/parameter_reads.hpp"
#include "eigenformer/kernels/scores/score_function.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

template <class Scalar>
Scalar derivative_of(const Dual<Scalar>& x) {
  return x.derivative;
}
template <class Scalar>
Scalar derivative_of(const Scalar&) {  // the result does not depend on the differentiated argument
  return 0;
}

/// Applies a function with parameters to the scores of a tile, and differentiates it.
template <class Function, class Scalar, std::size_t parameters>
class LearnedCalls {
 public:
  /// The function must outlive this object.
  LearnedCalls(const Function& function, const std::array<TensorView<const Scalar>, parameters>& values)
      : function_(function) {
    for (std::size_t i = 0; i < parameters; ++i) values_[i] = ParameterValues<Scalar>(values[i]);
  }

  /// Replaces every score by the function's result.
  void change(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    for_each_run(tile, scores, [&](const auto& places, Index i, Index j, auto run_length) {
      constexpr int count = run_length;
      Scalar* const run = &scores(i, j);
      Scalar before[count], changed[count];
      copy_run<count>(run, before);
      Runs<count> runs;
      if (read<count>(before, places, runs)) {
        for (int l = 0; l < count; ++l)
          changed[l] = changed_score(before[l], places(l), [&](auto p) { return ParameterReader<Scalar>{values_[p]}; });
      } else {
        for_each_lane<count>([&](int l) {
          changed[l] = changed_score(before[l], places(l), [&](auto p) { return known(runs[p].values[l]); });
        });
      }
      copy_run<count>(changed, run);
    });
  }

  /// Adds the gradients of the parameters to d_values (a null view: not wanted), and multiplies d_scores by the
  /// derivative of the function. before: the scores before `change`. Throws if the function reads two entries of a
  /// parameter for one score.
  void differentiate(const ScoreTile& tile, ScoreBlock<Scalar> before, ScoreBlock<Scalar> d_scores,
                     const std::array<TensorView<Scalar>, parameters>& d_values) const {
    auto gradients = [&]<std::size_t... i>(std::index_sequence<i...>) {
      return std::array<ParameterGradient<Scalar>, parameters>{ParameterGradient<Scalar>(d_values[i], tile.head)...};
    }
    (std::make_index_sequence<parameters>());
    for_each_run(tile, d_scores, [&](const auto& places, Index i, Index j, auto run_length) {
      constexpr int count = run_length;
      Scalar s[count], d[count];
      copy_run<count>(&before(i, j), s);
      copy_run<count>(&d_scores(i, j), d);
      Runs<count> runs;
      const bool reads_two_entries = read<count>(s, places, runs);
      check(!reads_two_entries,
            "attention: a score's function reads one parameter at two places; pass it twice instead");
      for_each_constant<parameters>([&](auto which) {
        Scalar changes[count];
        for_each_lane<count>([&](int l) {
          changes[l] = product_or_zero(d[l], call(s[l], places(l), [&](auto p) {
                                         if constexpr (p == which)
                                           return known(Dual<Scalar>(runs[p].values[l], 1));
                                         else
                                           return known(runs[p].values[l]);
                                       }));
        });
        gradients[which].template add<count>(runs[which], changes);
      });
      for_each_lane<count>([&](int l) {
        d[l] = product_or_zero(
            d[l], call(Dual<Scalar>(s[l], 1), places(l), [&](auto p) { return known(runs[p].values[l]); }));
      });
      copy_run<count>(d, &d_scores(i, j));
    });
  }

 private:
  template <int count>
  using Runs = std::array<ParameterRun<Scalar, count>, parameters>;

  template <class Number>
  static KnownReader<Number> known(const Number& value) {
    return {value};
  }

  /// Calls the function. reader(p) returns the object through which it reads parameter p; p is a compile-time constant.
  template <class Number, class Reader>
  EIGEN_ALWAYS_INLINE auto call(const Number& score, const ScorePosition& place, Reader reader) const {
    return [&]<std::size_t... i>(std::index_sequence<i...>) {
      return function_(score, place, reader(std::integral_constant<std::size_t, i>{})...);
    }
    (std::make_index_sequence<parameters>());
  }
  template <class Reader>
  EIGEN_ALWAYS_INLINE Scalar changed_score(Scalar score, const ScorePosition& place, Reader reader) const {
    // A score that a bias has hidden stays hidden.
    return choose(score == hidden_score<Scalar>, score, static_cast<Scalar>(call(score, place, reader)));
  }

  /// Finds and loads the entries that the function reads for a run of scores. If the function reads two entries of a
  /// parameter for one score, loads nothing and returns true.
  template <int count, class Places>
  EIGEN_ALWAYS_INLINE bool read(const Scalar* scores, const Places& places, Runs<count>& runs) const {
    bool reads_two_entries = false;
    for_each_lane<count>([&](int l) {
      std::array<std::int32_t, parameters> entries;
      entries.fill(-1);
      bool two = false;
      (void)call(scores[l], places(l), [&](auto p) { return EntryReader<Scalar>{values_[p], entries[p], two}; });
      for_each_constant<parameters>([&](auto p) { runs[p].entries[l] = entries[p]; });
      reads_two_entries |= two;
    });
    if (reads_two_entries) return true;
    for_each_constant<parameters>([&](auto p) { runs[p].load(values_[p]); });
    return false;
  }

  /// Returns d times the derivative. A gradient of 0 stays 0: a hidden score has gradient 0, but its derivative may be
  /// undefined.
  template <class Result>
  static Scalar product_or_zero(Scalar d, const Result& result) {
    return choose(d == Scalar(0), Scalar(0), d * derivative_of<Scalar>(result));
  }

  const Function& function_;
  std::array<ParameterValues<Scalar>, parameters> values_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
