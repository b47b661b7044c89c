// User-defined scores with learned parameters: a slope per head, a table by distance, a temperature. The backward
// returns the parameters' gradients.
//
//   auto decay = ef::score([](auto s, const ef::ScorePosition& at, const auto& slope) {
//     return s - slope(at.head) * static_cast<float>(at.query - at.key);
//   }, ef::ScoreParameter<float>(slopes, d_slopes));
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "eigenformer/core/tensor.hpp"
#include "eigenformer/kernels/detail/attention/learned_calls.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A learned parameter of a score: a list of numbers, and where to add their gradients. Holds views. Attention throws
/// unless the gradients have as many rows as it has heads.
template <class Scalar>
struct ScoreParameter {
  TensorView<const Scalar> values;  // [n]
  TensorView<Scalar> d_values{};    // [heads x n], a row for each query head; null if no gradient is wanted

  /// Throws if there are no numbers or more than 2^31 - 1, or if the gradient's shape does not fit.
  ScoreParameter(const TensorView<const Scalar>& numbers, const TensorView<Scalar>& gradient = {})  // NOLINT: implicit
      : values(numbers.rank() == 1 ? numbers : numbers.reshape({-1})), d_values(gradient) {
    check(gradient.data() == nullptr || (gradient.rank() == 2 && gradient.shape()[1] == values.shape()[0]),
          "ScoreParameter: the gradient is ", gradient.shape(), ", expected [heads x ", values.shape()[0], "]");
    check(values.shape()[0] > 0 && values.shape()[0] <= (std::numeric_limits<std::int32_t>::max)(),
          "ScoreParameter: a parameter of ", values.shape()[0], " numbers, expected 1 to 2^31 - 1");
    if (gradient.data() != nullptr) detail::check_writable(gradient);
  }
};

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
      check(p.d_values.data() == nullptr || p.d_values.shape()[0] == batch.head + 1,
            "attention: a score's parameter has gradients for ", p.d_values.shape()[0], " heads, expected ",
            batch.head + 1);
  }

  Visible visible(const ScoreTile&) const { return Visible::all; }

  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    detail::LearnedCalls<Function, Scalar, parameters>(function_, values()).change(tile, scores);
  }
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) const {
    saved = scores;
    apply(tile, scores);
  }
  /// Throws if the function reads two entries of a parameter for one score.
  void apply_backward(const ScoreTile& tile, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) const {
    std::array<TensorView<Scalar>, parameters> d_values;
    for (std::size_t i = 0; i < parameters; ++i) d_values[i] = parameters_[i].d_values;
    detail::LearnedCalls<Function, Scalar, parameters>(function_, values())
        .differentiate(tile, saved, d_scores, d_values);
  }

 private:
  std::array<TensorView<const Scalar>, parameters> values() const {
    std::array<TensorView<const Scalar>, parameters> all;
    for (std::size_t i = 0; i < parameters; ++i) all[i] = parameters_[i].values;
    return all;
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
