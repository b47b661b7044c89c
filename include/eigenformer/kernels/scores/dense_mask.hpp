// A mask from a matrix of bool.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "eigenformer/core/simd.hpp"
#include "eigenformer/kernels/scores/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A mask that is true where a query may attend to a key. Its rows are the rows of the queries in the batch; its
/// columns are the keys, counted within their sequence. Stores one bit per entry; copies share this storage.
class DenseMask {
 public:
  static constexpr ScoreStage stage = ScoreStage::mask;

  /// Copies may_attend, any matrix of bool: [query rows x keys of the longest sequence, or more].
  template <class Derived>
  explicit DenseMask(const Eigen::DenseBase<Derived>& may_attend) : rows_(may_attend.rows()), keys_(may_attend.cols()) {
    constexpr bool is_bool = std::is_same_v<typename Derived::Scalar, bool>;
    static_assert(is_bool, "a dense mask is a matrix of bool; true = may attend");
    Eigen::Matrix<bool, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor> by_keys;
    if constexpr (is_bool) by_keys = may_attend.derived();
    std::vector<std::uint64_t> words(static_cast<std::size_t>(((rows_ + word_rows - 1) / word_rows + 1) * keys_), 0);
    for (Index j = 0; j < keys_; ++j)
      for (Index i = 0; i < rows_; ++i)
        words[static_cast<std::size_t>(i / word_rows * keys_ + j)] |= std::uint64_t{by_keys(i, j)} << (i % word_rows);
    words_ = std::make_shared<const std::vector<std::uint64_t>>(std::move(words));
  }

  Index rows() const { return rows_; }
  Index keys() const { return keys_; }

  void check_covers(const ScoreTile& batch) const {
    check(batch.query_end <= rows() && batch.key_end <= keys(), "attention: the dense mask is ", Shape{rows(), keys()},
          ", expected at least ", Shape{batch.query_end, batch.key_end});
  }

  Visible visible(const ScoreTile& tile) const {
    bool any_seen = tile.query_begin == tile.query_end || tile.key_begin == tile.key_end, any_hidden = false;
    for (Index key = tile.key_begin; key < tile.key_end && !(any_seen && any_hidden); ++key)
      for (Index i = tile.query_begin; i < tile.query_end; i += word_rows) {
        const Index count = std::min<Index>(word_rows, tile.query_end - i);
        const std::uint64_t all = ~std::uint64_t{0} >> (word_rows - count);
        const std::uint64_t seen = bits_from(tile.first_row + i, key) & all;
        any_seen = any_seen || seen != 0;
        any_hidden = any_hidden || seen != all;
      }
    if (!any_hidden) return Visible::all;
    return any_seen ? Visible::some : Visible::none;
  }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    constexpr Index lanes = simd::lanes<Scalar>;
    const auto hidden = simd::broadcast(hidden_score<Scalar>);
    const Index row = tile.first_row + tile.query_begin;
    for (Index j = 0; j < scores.cols(); ++j) {
      Scalar* score = scores.data() + j * scores.outerStride();
      Index i = 0;
      for (; i + lanes <= scores.rows(); i += lanes) {
        const auto bits = static_cast<std::uint32_t>(bits_from(row + i, tile.key_begin + j));
        simd::store(score + i, simd::select_bits<Scalar>(bits, simd::load(score + i), hidden));
      }
      for (; i < scores.rows(); ++i)
        if ((bits_from(row + i, tile.key_begin + j) & 1U) == 0) score[i] = hidden_score<Scalar>;
    }
  }

 private:
  static constexpr Index word_rows = 64;

  /// Returns 64 bits: bit i tells whether row + i may attend to the key.
  std::uint64_t bits_from(Index row, Index key) const {
    const std::uint64_t* word = words_->data() + row / word_rows * keys_ + key;
    const auto shift = static_cast<int>(row % word_rows);
    return word[0] >> shift | word[keys_] << 1 << (63 - shift);
  }

  Index rows_, keys_;
  // Bit i of word (r, key) tells whether row 64 r + i may attend to the key. The words of consecutive
  // keys are contiguous, because a tile reads them in this order. One row of padding lets bits_from read past the last
  // row.
  std::shared_ptr<const std::vector<std::uint64_t>> words_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
