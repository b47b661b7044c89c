// Any score as one type, for members, containers and functions that are not templates.
#pragma once

#include <span>
#include <tuple>
#include <utility>
#include <variant>

#include "eigenformer/kernels/detail/attention/score_parts.hpp"
#include "eigenformer/kernels/scores/combine.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Holds a score of any type, chosen at run time: a built-in one, a function in score() or mask(), or several combined.
/// Layers take their scores in this form. Copies share the score.
///
///   AnyScore<float> score = SlidingWindow(256);
///   score = score.combined_with(SoftCap(30));
///   Matrix<float> y = score.visit([&](const auto& s) { return attention(q, k, v, s, {.heads = 8}); });
///
/// Kernels call it per tile, not per entry. Plain Unmasked and Causal have kernels of their own. All other scores share
/// three: for masks, for scores that change values, and for scores that read a matrix.
template <class Scalar>
class AnyScore {
 public:
  /// Holds Unmasked.
  AnyScore() = default;
  /// Holds a score. A function of scores must be generic (take auto), because the backward needs its derivative.
  template <class S>
  AnyScore(const S& score) {  // NOLINT: implicit
    std::apply([&](const auto&... part) { (add(part), ...); },
               detail::parts_of(detail::differentiable_score<Scalar>(score)));
  }

  /// Returns a score that applies this one and `other`, by stage as combine() does, and this one first within a stage.
  AnyScore combined_with(const AnyScore& other) const {
    AnyScore both = *this;
    std::visit([&](const auto& score) { both.add(score); }, other.chosen_);
    return both;
  }

  /// Returns a copy that numbers queries as tokens of the whole sequence, for keys that include earlier tokens (a
  /// cache): a sequence's last query has the number of its last key. So a score that was written for whole sequences
  /// also serves their last tokens alone. Attention throws if a sequence has more queries than keys. Do not call it if
  /// the score already has an after_past() or with_offsets() of its own.
  AnyScore after_past() const { return placed(Alignment::after_past()); }
  /// Returns a copy that numbers the queries of sequence s from offsets[s] on. The offsets must outlive the copy.
  /// Before it computes anything, attention throws for a negative offset, and if a score of limited size does not reach
  /// the last query of a sequence.
  AnyScore with_offsets(std::span<const Index> offsets) const { return placed(Alignment::with_offsets(offsets)); }

  /// Whether this is Unmasked.
  bool empty() const { return std::holds_alternative<Unmasked>(chosen_); }

  /// Calls body with the score in a type that kernels take, and returns its result. body is compiled for a few types
  /// and must return the same type for each. The score refers to this object.
  template <class Body>
  auto visit(Body body) const {
    if (const auto* causal = std::get_if<Causal>(&chosen_)) return body(*causal);
    const auto* parts = std::get_if<Parts>(&chosen_);
    if (parts == nullptr) return body(Unmasked{});
    using detail::ScoreKind;
    using detail::ScorePartsOfKind;
    if (!parts->kind().changes_values) return body(ScorePartsOfKind<Scalar, ScoreKind{}>(*parts));
    if (parts->kind().reads_rows_of_keys) return body(ScorePartsOfKind<Scalar, ScoreKind{true, true, 2}>(*parts));
    return body(ScorePartsOfKind<Scalar, ScoreKind{true, false, 2}>(*parts));
  }

 private:
  using Parts = OwnedScores<Scalar>;

  void add(const Unmasked&) {}
  void add(const Causal& causal) {
    if (empty())
      chosen_ = causal;
    else if (const auto* other = std::get_if<Causal>(&chosen_); other == nullptr || !(*other == causal))
      parts().add(detail::ScorePart<Scalar>(causal));
  }
  void add(const Parts& others) { parts().add(others); }
  template <Score S>
  void add(const S& score) {
    if constexpr (requires { score.parts(); })
      parts().add(score.parts());  // what visit() gives refers to an AnyScore: copy what it refers to
    else
      parts().add(detail::ScorePart<Scalar>(score));
  }

  /// Returns the parts, after turning Unmasked or Causal into parts.
  Parts& parts() {
    if (auto* parts = std::get_if<Parts>(&chosen_)) return *parts;
    Parts made;
    if (const auto* causal = std::get_if<Causal>(&chosen_)) made.add(detail::ScorePart<Scalar>(*causal));
    chosen_ = std::move(made);
    return std::get<Parts>(chosen_);
  }

  AnyScore placed(const Alignment& alignment) const {
    AnyScore copy = *this;
    if (!copy.empty()) copy.parts().place(alignment);
    return copy;
  }

  std::variant<Unmasked, Causal, Parts> chosen_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
