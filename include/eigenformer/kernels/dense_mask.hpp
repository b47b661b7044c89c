// Attention where a matrix of bool allows it.
#pragma once

#include <cstring>
#include <memory>

#include "eigenformer/kernels/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// True where a query may attend to a key: row = the query's row in the batch, column = the key's place within its
/// sequence. Keeps a copy, which copies of this share.
class DenseMask {
 public:
  static constexpr ScoreStage stage = ScoreStage::mask;

  /// may_attend: [query rows x keys of the longest sequence, or more], any matrix of bool.
  template <class Derived>
  explicit DenseMask(const Eigen::DenseBase<Derived>& may_attend)
      : may_attend_(std::make_shared<const ByKeys>(may_attend.derived())) {
    static_assert(std::is_same_v<typename Derived::Scalar, bool>,
                  "a dense mask is a matrix of bool; true = may attend");
  }

  Index rows() const { return may_attend_->rows(); }
  Index keys() const { return may_attend_->cols(); }

  void check_covers(const ScoreTile& batch) const {
    check(batch.query_end <= rows() && batch.key_end <= keys(), "attention: the dense mask is ", Shape{rows(), keys()},
          ", expected at least ", Shape{batch.query_end, batch.key_end});
  }

  Visible visible(const ScoreTile& tile) const {
    static_assert(sizeof(bool) == 1);
    const auto part = block(tile);
    const auto queries = static_cast<std::size_t>(part.rows());
    bool any_seen = part.size() == 0, any_hidden = false;
    for (Index j = 0; j < part.cols() && !(any_seen && any_hidden); ++j) {
      const bool* may_attend = &part.coeffRef(0, j);
      any_seen = any_seen || std::memchr(may_attend, true, queries) != nullptr;
      any_hidden = any_hidden || std::memchr(may_attend, false, queries) != nullptr;
    }
    if (!any_hidden) return Visible::all;
    return any_seen ? Visible::some : Visible::none;
  }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    const auto part = block(tile);
    for (Index j = 0; j < scores.cols(); ++j) {
      const bool* may_attend = &part.coeffRef(0, j);
      Scalar* score = &scores.coeffRef(0, j);
      for (Index i = 0; i < scores.rows(); ++i) score[i] = may_attend[i] ? score[i] : hidden_score<Scalar>;
    }
  }

 private:
  using ByKeys = Eigen::Matrix<bool, Eigen::Dynamic, Eigen::Dynamic>;  // as scores: a key's queries together

  Eigen::Block<const ByKeys> block(const ScoreTile& tile) const {
    return may_attend_->block(tile.first_row + tile.query_begin, tile.key_begin, tile.query_end - tile.query_begin,
                              tile.key_end - tile.key_begin);
  }

  std::shared_ptr<const ByKeys> may_attend_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
