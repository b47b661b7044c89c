// A mask from a matrix or a tensor of bool.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "eigenformer/core/simd.hpp"
#include "eigenformer/core/tensor.hpp"
#include "eigenformer/kernels/scores/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A mask that is true where a query may attend to a key. Stores one bit per entry; copies share this storage.
/// - A matrix [query rows x keys] has a row for each query of the batch, and is the same for all heads.
/// - A tensor [batch x heads x queries x keys] has a matrix for each sequence and head, in which queries are counted
///   within their sequence. A dimension of size 1 is repeated: [1 x 1 x queries x keys] is for all sequences and heads,
///   [batch x 1 x 1 x keys] hides keys of each sequence.
/// Keys are counted within their sequence. The mask may have more queries and keys than the call. Its numbers of
/// sequences and heads must be 1 or those of the call; otherwise attention throws.
class DenseMask {
 public:
  static constexpr ScoreStage stage = ScoreStage::mask;

  /// Copies a matrix of bool: [query rows x keys of the longest sequence, or more].
  template <class Derived>
  explicit DenseMask(const Eigen::DenseBase<Derived>& may_attend)
      : DenseMask(Sizes{may_attend.rows(), may_attend.cols()}, [&](auto body) {
          constexpr bool is_bool = std::is_same_v<typename Derived::Scalar, bool>;
          static_assert(is_bool, "a dense mask is a matrix of bool; true = may attend");
          Eigen::Matrix<bool, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor> by_keys;
          if constexpr (is_bool) by_keys = may_attend.derived();
          for (Index j = 0; j < by_keys.cols(); ++j)
            for (Index i = 0; i < by_keys.rows(); ++i) body(i, j, by_keys(i, j));
        }) {}
  /// Copies a matrix, or a tensor [batch x heads x queries x keys]. Throws if the rank is not 2 or 4.
  explicit DenseMask(const TensorView<const bool>& may_attend)
      : DenseMask(may_attend.shape(), [&](auto body) {
          const TensorView<const bool> x = may_attend.rank() == 2 ? may_attend.unsqueeze(0).unsqueeze(0) : may_attend;
          const Index heads = x.shape()[1], queries = x.shape()[2];
          for (Index m = 0; m < x.shape()[0] * heads; ++m)
            for (Index i = 0; i < queries; ++i)
              for (Index j = 0; j < x.shape()[3]; ++j) body(m * queries + i, j, x(m / heads, m % heads, i, j));
        }) {}

  explicit DenseMask(const Tensor<bool>& may_attend) : DenseMask(may_attend.view()) {}

  /// The mask's shape, of rank 2 or 4.
  const Sizes& shape() const { return shape_; }

  void check_covers(const ScoreTile& batch) const {
    if (shape_.rank() == 2) {
      check(batch.query_end <= shape_[0] && batch.key_end <= shape_[1], "attention: the dense mask is ", shape_,
            ", expected at least ", Shape{batch.query_end, batch.key_end});
      return;
    }
    detail::check_sizes_cover("dense mask", shape_, batch);
  }

  Visible visible(const ScoreTile& tile) const {
    bool any_seen = tile.query_begin == tile.query_end || tile.key_begin == tile.key_end, any_hidden = false;
    for (Index i = tile.query_begin; i < tile.query_end && !(any_seen && any_hidden); i += word_rows) {
      const QueryBits bits = bits_from(tile, i);
      const std::uint64_t all = ~std::uint64_t{0} >> (word_rows - std::min<Index>(word_rows, tile.query_end - i));
      for (Index key = tile.key_begin; key < tile.key_end && !(any_seen && any_hidden); ++key) {
        const std::uint64_t seen = bits.of(key) & all;
        any_seen = any_seen || seen != 0;
        any_hidden = any_hidden || seen != all;
      }
    }
    if (!any_hidden) return Visible::all;
    return any_seen ? Visible::some : Visible::none;
  }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    constexpr Index lanes = simd::lanes<Scalar>;
    static_assert(word_rows % lanes == 0);
    const auto hidden = simd::broadcast(hidden_score<Scalar>);
    for (Index i = 0; i < scores.rows(); i += word_rows) {
      const QueryBits bits = bits_from(tile, tile.query_begin + i);
      const Index count = std::min<Index>(word_rows, scores.rows() - i), whole = count / lanes * lanes;
      for (Index j = 0; j < scores.cols(); ++j) {
        Scalar* score = scores.data() + j * scores.outerStride() + i;
        std::uint64_t of_key = bits.of(tile.key_begin + j);
        Scalar* const end = score + whole;
        for (; score < end; score += lanes, of_key >>= lanes)
          simd::store(score, simd::select_bits<Scalar>(static_cast<std::uint32_t>(of_key), simd::load(score), hidden));
        for (Index l = whole; l < count; ++l, ++score, of_key >>= 1)
          if ((of_key & 1U) == 0) *score = hidden_score<Scalar>;
      }
    }
  }

 private:
  static constexpr Index word_rows = 64;

  /// for_each_entry(body) calls body(row, key, whether it may attend), with the matrices of a tensor one under another.
  template <class ForEachEntry>
  DenseMask(const Sizes& shape, ForEachEntry for_each_entry) : shape_(shape) {
    check(shape.rank() == 2 || shape.rank() == 4, "DenseMask: a tensor ", shape,
          ", expected [query rows x keys] or [batch x heads x queries x keys]");
    const int rank = shape.rank();
    keys_ = shape[rank - 1];
    Index rows = 1;
    for (int d = 0; d < rank - 1; ++d) rows *= shape[d];
    repeats_queries_ = rank == 4 && shape[2] == 1;
    repeats_keys_ = rank == 4 && shape[3] == 1;
    std::vector<std::uint64_t> words(static_cast<std::size_t>(((rows + word_rows - 1) / word_rows + 1) * keys_), 0);
    for_each_entry([&](Index i, Index j, bool may_attend) {
      words[static_cast<std::size_t>(i / word_rows * keys_ + j)] |= std::uint64_t{may_attend} << (i % word_rows);
    });
    words_ = std::make_shared<const std::vector<std::uint64_t>>(std::move(words));
  }

  /// Reads the bits of up to 64 queries. A local copy, so that its members stay in registers: the compiler would reload
  /// the mask's own members after each store of scores.
  /// Measured: scores_bench, dense_mask_random, Zen 3, GCC 12: 88 % of the plain kernel's speed, 79 % without the copy.
  struct QueryBits {
    const std::uint64_t* words;  // the word of the first query and key 0
    Index keys;                  // distance to the next row of words
    Index step;                  // distance to the next key's word; 0 if all keys share one
    int shift;                   // the first query's bit in its word
    bool repeats;                // whether all queries have the first query's bits

    /// Returns 64 bits: bit i tells whether query i, counted from the first, may attend to the key.
    std::uint64_t of(Index key) const {
      const std::uint64_t* const word = words + key * step;
      const std::uint64_t bits = word[0] >> shift | word[keys] << 1 << (word_rows - 1 - shift);
      return repeats ? std::uint64_t{0} - (bits & 1U) : bits;
    }
  };

  /// Returns a reader of the bits of 64 queries, beginning with `query` of the tile's sequence.
  QueryBits bits_from(const ScoreTile& tile, Index query) const {
    Index row = repeats_queries_ ? 0 : query;
    if (shape_.rank() == 2) {
      row += tile.first_row;
    } else {
      const Index sequence = shape_[0] == 1 ? 0 : tile.sequence, head = shape_[1] == 1 ? 0 : tile.head;
      row += (sequence * shape_[1] + head) * shape_[2];
    }
    return {words_->data() + row / word_rows * keys_, keys_, repeats_keys_ ? 0 : 1, static_cast<int>(row % word_rows),
            repeats_queries_};
  }

  Sizes shape_;
  Index keys_ = 0;
  bool repeats_queries_ = false, repeats_keys_ = false;
  // Bit i of word (r, key) tells whether row 64 r + i may attend to the key. The words of consecutive keys are
  // contiguous, because a tile reads them in this order. One more row of words lets QueryBits read past the last row.
  std::shared_ptr<const std::vector<std::uint64_t>> words_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
