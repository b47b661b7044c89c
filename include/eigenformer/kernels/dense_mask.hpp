// Attention where a matrix of bool allows it.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "eigenformer/kernels/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// True where a query may attend to a key: row = the query's row in the batch, column = the key's place within its
/// sequence. Keeps a copy, of a bit an entry, which copies of this share.
class DenseMask {
 public:
  static constexpr ScoreStage stage = ScoreStage::mask;

  /// may_attend: [query rows x keys of the longest sequence, or more], any matrix of bool.
  template <class Derived>
  explicit DenseMask(const Eigen::DenseBase<Derived>& may_attend)
      : rows_(may_attend.rows()), keys_(may_attend.cols()), stride_(rows_ / 8 + 1 + bytes_read) {
    static_assert(std::is_same_v<typename Derived::Scalar, bool>,
                  "a dense mask is a matrix of bool; true = may attend");
    const Eigen::Matrix<bool, Eigen::Dynamic, Eigen::Dynamic> by_keys = may_attend.derived();
    std::vector<std::uint8_t> bits(static_cast<std::size_t>(stride_ * keys_), 0);
    for (Index j = 0; j < keys_; ++j)
      for (Index i = 0; i < rows_; ++i)
        bits[static_cast<std::size_t>(j * stride_ + i / 8)] |= static_cast<std::uint8_t>(by_keys(i, j) << (i % 8));
    bits_ = std::make_shared<const std::vector<std::uint8_t>>(std::move(bits));
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
      for (Index i = tile.query_begin; i < tile.query_end; i += bits_read) {
        const Index count = std::min(bits_read, tile.query_end - i);
        const std::uint64_t all = (std::uint64_t{1} << count) - 1;
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
  static constexpr Index bytes_read = 8;
  static constexpr Index bits_read = 56;  // at least so many of 8 bytes come after a bit of the first

  /// Whether a row and those after it may attend to a key, a bit each: at least bits_read of them.
  std::uint64_t bits_from(Index row, Index key) const {
    const std::uint8_t* byte = bits_->data() + key * stride_ + row / 8;
    std::uint64_t bits = 0;
    if constexpr (std::endian::native == std::endian::little)
      std::memcpy(&bits, byte, bytes_read);
    else
      for (int i = 0; i < bytes_read; ++i) bits |= std::uint64_t{byte[i]} << (8 * i);
    return bits >> (row % 8);
  }

  Index rows_, keys_;
  Index stride_;  // bytes of a key, with some to spare for the last read
  std::shared_ptr<const std::vector<std::uint8_t>> bits_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
