// The keys or values of a tile: where they lie, or in a buffer.
#pragma once

#include "eigenformer/kernels/attention_layout.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Reads one head's columns of keys or values, a tile at a time. They are copied only where they cannot be used as they
/// lie: numbers of 16 bits, and rows that key_index picks. (Rows that lie 2 or 4 KB apart, as heads in column blocks do,
/// drive each other out of the first cache; but to copy them first was no faster: 75 to 82 % of the peak, as they lie 79
/// to 82 %. attention_bench, stride:512 and 1024.)
template <class Scalar>
class TileReader {
 public:
  /// The keys of `tile`: [keys x width].
  template <class Stored>
  Strided<Scalar> read(const HeadRows<const Stored>& rows, const AttentionLayout& layout, Index head,
                       const ScoreTile& tile) {
    const Index first = layout.key_rows.begin(tile.sequence) + tile.key_begin;
    if constexpr (std::is_same_v<Stored, Scalar>)
      if (layout.key_index.empty()) return rows.from(head, first);
    return copy(rows, layout, head, first, tile.key_end - tile.key_begin);
  }

  /// The same in rows of whole packets.
  template <class Stored>
  Strided<Scalar> read_packets(const HeadRows<const Stored>& rows, const AttentionLayout& layout, Index head,
                               const ScoreTile& tile) {
    const Index first = layout.key_rows.begin(tile.sequence) + tile.key_begin;
    if constexpr (std::is_same_v<Stored, Scalar>)
      if (layout.key_index.empty() && rows.col_stride == 1 && rows.width == padded<Scalar>(rows.width))
        return rows.from(head, first);
    return copy(rows, layout, head, first, tile.key_end - tile.key_begin);
  }

 private:
  template <class Stored>
  EIGEN_DONT_INLINE Strided<Scalar> copy(const HeadRows<const Stored>& rows, const AttentionLayout& layout, Index head,
                                         Index first, Index count) {
    const Index stride = padded<Scalar>(rows.width);
    buffer_.resize(count, stride);
    for (Index i = 0; i < count; ++i) {
      const Index row = layout.key_index.empty() ? first + i : layout.key_index[static_cast<std::size_t>(first + i)];
      const Eigen::Map<const Eigen::Matrix<Stored, 1, Eigen::Dynamic>, Eigen::Unaligned, Eigen::InnerStride<>> from(
          rows.row(head, row), rows.width, Eigen::InnerStride<>(rows.col_stride));
      if (rows.col_stride == 1)
        buffer_.row(i).head(rows.width) =
            Eigen::Map<const Eigen::Matrix<Stored, 1, Eigen::Dynamic>>(from.data(), from.size())
                .template cast<Scalar>();
      else
        buffer_.row(i).head(rows.width) = from.template cast<Scalar>();
      buffer_.row(i).tail(stride - rows.width).setZero();
    }
    return {buffer_.data(), stride, 1};
  }

  Matrix<Scalar> buffer_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
