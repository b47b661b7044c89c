// How a score is masked and changed. A score is a type: the attention kernel is a template over it, so what it does to
// a tile of scores is compiled into the kernel, and tiles that it hides cost nothing.
#pragma once

#include <algorithm>
#include <concepts>
#include <limits>
#include <memory>
#include <type_traits>

#include "eigenformer/core/check.hpp"

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

/// How much of a tile its queries may see. `none` is never computed; `all` promises that nothing would be hidden.
enum class Visible { none, some, all };

/// What hides a key from a query: a score of minus infinity.
template <class Scalar>
inline constexpr Scalar hidden_score = -std::numeric_limits<Scalar>::infinity();

/// A score type S has
///   Visible visible(const ScoreTile&) const;
///   template <class Scores> void apply(const ScoreTile&, Scores&& scores) const;
/// where scores, [queries x keys] of the tile and already scaled, is a matrix of either storage order to read and
/// write. `apply` is called for tiles of which `some` is visible, and for those of which `all` is if it also changes
/// values, which it says by `static constexpr bool changes_values = true` and by having
///   template <class Scores> void apply_backward(const ScoreTile&, const Scores& scores, Scores& d_scores) const;
/// This turns the gradient after `apply` into the one before it, given the scores before. One that has a size of its
/// own checks it in check_covers(query rows of the batch, keys of the longest sequence), which is called first.
template <class S>
concept Score = requires(const S& score, const ScoreTile& tile, Eigen::Ref<Matrix<float>> by_query,
                         Eigen::Ref<Eigen::MatrixXf> by_key) {
  { score.visible(tile) } -> std::same_as<Visible>;
  score.apply(tile, by_query);
  score.apply(tile, by_key);
};

namespace detail {

template <class S>
constexpr bool changes_values() {
  if constexpr (requires { S::changes_values; }) {
    return S::changes_values;
  } else {
    return false;
  }
}

}  // namespace detail

/// Every query sees every key.
struct Unmasked {
  Visible visible(const ScoreTile&) const { return Visible::all; }
  template <class Scores>
  void apply(const ScoreTile&, Scores&&) const {}
};

/// A query sees keys up to its own position. `Causal{}` counts positions from the sequence's start: query i sees keys
/// 0 .. i. `Causal::after_past()` is for keys that begin earlier than the queries, as in a cache: both end together, so
/// query i of n_q sees keys 0 .. i + (n_k - n_q).
class Causal {
 public:
  Causal() = default;
  static Causal after_past() {
    Causal causal;
    causal.after_past_ = true;
    return causal;
  }

  Visible visible(const ScoreTile& tile) const {
    const Index past = past_of(tile);
    if (tile.key_begin > tile.query_end - 1 + past) return Visible::none;
    return tile.key_end - 1 <= tile.query_begin + past ? Visible::all : Visible::some;
  }

  template <class Scores>
  void apply(const ScoreTile& tile, Scores&& scores) const {
    using Scalar = typename std::remove_cvref_t<Scores>::Scalar;
    const Index past = past_of(tile);
    for (Index j = 0; j < scores.cols(); ++j) {
      const Index blind = std::clamp<Index>(tile.key_begin + j - past - tile.query_begin, 0, scores.rows());
      for (Index i = 0; i < blind; ++i) scores(i, j) = hidden_score<Scalar>;
    }
  }

  friend bool operator==(const Causal&, const Causal&) = default;

 private:
  Index past_of(const ScoreTile& tile) const { return after_past_ ? tile.keys - tile.queries : 0; }

  bool after_past_ = false;
};

/// True where a query may attend to a key: row = the query's row in the batch, column = the key's place within its
/// sequence. Keeps a copy, which copies of this share.
class DenseMask {
 public:
  /// may_attend: [query rows x keys of the longest sequence, or more], any matrix of bool.
  template <class Derived>
  explicit DenseMask(const Eigen::DenseBase<Derived>& may_attend)
      : may_attend_(std::make_shared<const Matrix<bool>>(may_attend.derived())) {
    static_assert(std::is_same_v<typename Derived::Scalar, bool>,
                  "a dense mask is a matrix of bool; true = may attend");
  }

  Index rows() const { return may_attend_->rows(); }
  Index keys() const { return may_attend_->cols(); }

  /// Throws if it does not cover this many queries, in the whole batch, and keys, of the longest sequence.
  void check_covers(Index query_rows, Index longest_keys) const {
    check(query_rows <= rows() && longest_keys <= keys(), "attention: the dense mask is ", Shape{rows(), keys()},
          ", expected at least ", Shape{query_rows, longest_keys});
  }

  Visible visible(const ScoreTile& tile) const {
    const auto part = block(tile);
    if (part.all()) return Visible::all;
    return part.any() ? Visible::some : Visible::none;
  }

  template <class Scores>
  void apply(const ScoreTile& tile, Scores&& scores) const {
    using Scalar = typename std::remove_cvref_t<Scores>::Scalar;
    const auto part = block(tile);
    for (Index j = 0; j < scores.cols(); ++j)
      for (Index i = 0; i < scores.rows(); ++i) scores(i, j) = part(i, j) ? scores(i, j) : hidden_score<Scalar>;
  }

 private:
  Eigen::Block<const Matrix<bool>> block(const ScoreTile& tile) const {
    return may_attend_->block(tile.first_row + tile.query_begin, tile.key_begin, tile.query_end - tile.query_begin,
                              tile.key_end - tile.key_begin);
  }

  std::shared_ptr<const Matrix<bool>> may_attend_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
