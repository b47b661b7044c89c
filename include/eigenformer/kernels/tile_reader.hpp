// The keys or values of a tile: where they lie, or in a buffer.
#pragma once

#include "eigenformer/kernels/attention_layout.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Reads one head's columns of keys or values, a tile at a time. They are copied only where they cannot be used as they
/// lie: numbers of 16 bits, rows that key_index picks, and entries that lie apart along rows and columns. (Rows that
/// lie 2 or 4 KB apart, as heads in column blocks do, drive each other out of the caches, and each lies in another
/// page; but to copy them first costs as much: 79 to 85 % of the peak with eight blocks of queries a tile, as they lie
/// 81 to 87 %; the values alone, 78 to 82 %. attention_bench, stride:512 and 1024.)
template <class Scalar>
class TileReader {
 public:
  /// The keys of `tile`: [keys x width].
  template <class Stored>
  Strided<Scalar> read(const HeadRows<const Stored>& rows, const AttentionLayout& layout, Index head,
                       const ScoreTile& tile) {
    const Index first = layout.key_rows.begin(tile.sequence) + tile.key_begin;
    if constexpr (std::is_same_v<Stored, Scalar>)
      if (layout.key_index.empty() && (rows.col_stride == 1 || rows.row_stride == 1)) return rows.from(head, first);
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
    Scalar* to = buffer_.data();
    for (Index i = 0; i < count; ++i, to += stride) {
      const Index row = layout.key_index.empty() ? first + i : layout.key_index[static_cast<std::size_t>(first + i)];
      const Stored* from = rows.row(head, row);
      if constexpr (std::is_same_v<Stored, Scalar>) {
        for (Index j = 0; j < rows.width; ++j) to[j] = from[j * rows.col_stride];
      } else if (rows.col_stride == 1) {  // by Eigen, which converts a packet at a time
        Eigen::Map<Eigen::Matrix<Scalar, Eigen::Dynamic, 1>>(to, rows.width) =
            Eigen::Map<const Eigen::Matrix<Stored, Eigen::Dynamic, 1>>(from, rows.width).template cast<Scalar>();
      } else {
        for (Index j = 0; j < rows.width; ++j) to[j] = static_cast<Scalar>(from[j * rows.col_stride]);
      }
      std::fill(to + rows.width, to + stride, Scalar(0));
    }
    return {buffer_.data(), stride, 1};
  }

  Matrix<Scalar> buffer_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
