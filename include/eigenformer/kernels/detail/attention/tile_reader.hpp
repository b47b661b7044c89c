// Reads the keys or values of a tile: in place, or through a buffer.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/core/detail/convert.hpp"
#include "eigenformer/kernels/detail/attention/head_rows.hpp"
#include "eigenformer/kernels/detail/attention/layout.hpp"
#include "eigenformer/kernels/detail/gemm/product.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Returns whether it pays to copy the rows of `keys` keys, row_stride entries apart, for `queries` queries. It may pay
/// if the rows would evict each other from the caches.
///
/// Most L1 caches have 4 KB per way. Rows a multiple of 4 KB apart map to one cache set; rows an odd multiple of 2 KB
/// apart map to two. Heads in column blocks of matrices 1024 or 512 floats wide have such rows.
/// Measured: Zen 3, d = 64, rows 1024 floats apart: 1.2 to 1.4 times the speed when copied.
/// Measured: Zen 3, d = 64, rows 512 floats apart, 512 and 2048 keys: copying gives 0.83 times the speed with 24
/// queries, 0.95 to 0.98 with 96, 1.00 to 1.02 with 144, 1.06 to 1.09 with 512 and more.
template <class Scalar>
bool copies_pay(Index row_stride, Index queries, Index keys) {
  const auto meet = [](Index stride) { return stride * static_cast<Index>(sizeof(Scalar)) % 4096 == 0; };
  if (row_stride == 0) return false;
  return meet(row_stride) || (keys > 256 && queries > 128 && meet(2 * row_stride));
}

/// Copies one head's rows of the keys or values of `tile` to `to`. Pads rows to whole packets with zeros. Returns the
/// copy.
template <class Scalar, class Stored>
EIGEN_DONT_INLINE Strided<Scalar> copy_rows(const HeadRows<const Stored>& rows, const AttentionLayout& layout,
                                            Index head, const ScoreTile& tile, Scalar* to) {
  const Index stride = padded<Scalar>(rows.width), count = tile.key_end - tile.key_begin;
  // Hardware does not prefetch rows that are far apart. Also prefetching the rows of the next tile while this one is
  // processed gains nothing more.
  // Measured: Zen 3: 1.03 to 1.08 times the kernel's speed with this prefetch.
  constexpr Index ahead = 8, line = 64 / static_cast<Index>(sizeof(Stored));
  const Strided<Scalar> copy{to, stride, 1};
  KeyRowCursor now(layout, tile.sequence, tile.key_begin), later(layout, tile.sequence, tile.key_begin + ahead);
  for (Index i = 0; i < count; ++i, to += stride, now.advance(), later.advance()) {
    const Stored* const from = rows.row(head, now.row());
    if (rows.col_stride == 1) {
      for (Index j = 0; i + ahead < count && j < rows.width; j += line) simd::prefetch(rows.row(head, later.row()) + j);
      convert(from, rows.width, to);
    } else {
      for (Index j = 0; j < rows.width; ++j) to[j] = static_cast<Scalar>(from[j * rows.col_stride]);
    }
    std::fill(to + rows.width, to + stride, Scalar(0));
  }
  return copy;
}

EIGENFORMER_FLOAT(Strided<float> copy_rows(const HeadRows<const float>&, const AttentionLayout&, Index,
                                           const ScoreTile&, float*));
EIGENFORMER_DOUBLE(Strided<double> copy_rows(const HeadRows<const double>&, const AttentionLayout&, Index,
                                             const ScoreTile&, double*));

/// Reads one head's columns of keys or values, tile by tile. `read` copies them only if kernels cannot use them in
/// place, or only slowly:
/// - numbers of 16 bits;
/// - rows picked by key_index, or of several pages;
/// - entries contiguous neither along rows nor along columns;
/// - rows that evict each other from the caches.
template <class Scalar>
class TileReader {
 public:
  /// Entries of a copied tile that fit on the stack. Larger copies go to the heap.
  static constexpr Index capacity = 65536 / static_cast<Index>(sizeof(Scalar));

  /// Returns whether `read` copies the rows of a sequence with `queries` queries and `keys` keys.
  template <class Stored>
  static bool copies(const HeadRows<const Stored>& rows, const AttentionLayout& layout, Index queries, Index keys) {
    if (!std::is_same_v<Stored, Scalar> || !layout.key_index.empty()) return true;
    if (rows.col_stride != 1) return rows.row_stride != 1;
    return copies_pay<Scalar>(rows.row_stride, queries, keys);
  }

  /// Returns the keys or values of `tile`: [keys x width]. A copy is valid until the next read.
  template <class Stored>
  Strided<Scalar> read(const HeadRows<const Stored>& rows, const AttentionLayout& layout, Index head,
                       const ScoreTile& tile) {
    if constexpr (std::is_same_v<Stored, Scalar>)
      if (!copies(rows, layout, tile.queries, tile.keys) && are_adjacent(layout, tile))
        return rows.of(tile.sequence).from(head, layout.key_row(tile.sequence, tile.key_begin));
    return copy(rows.of(tile.sequence), layout, head, tile);
  }

  /// Returns the keys or values of `tile` in rows padded to whole packets. A copy is valid until the next read.
  template <class Stored>
  Strided<Scalar> read_packets(const HeadRows<const Stored>& rows, const AttentionLayout& layout, Index head,
                               const ScoreTile& tile) {
    if constexpr (std::is_same_v<Stored, Scalar>)
      if (has_packets(rows) && are_adjacent(layout, tile))
        return rows.of(tile.sequence).from(head, layout.key_row(tile.sequence, tile.key_begin));
    return copy(rows.of(tile.sequence), layout, head, tile);
  }

  /// Returns whether kernels that take padded rows by their numbers need no copy.
  template <class Stored>
  static bool has_packets(const HeadRows<const Stored>& rows) {
    return std::is_same_v<Stored, Scalar> && rows.col_stride == 1 && rows.width == padded<Scalar>(rows.width);
  }

 private:
  static bool are_adjacent(const AttentionLayout& layout, const ScoreTile& tile) {
    return layout.has_adjacent_rows(tile.sequence, tile.key_begin, tile.key_end);
  }

  /// Copies the rows of a tile to the stack or the heap.
  template <class Stored>
  Strided<Scalar> copy(const HeadRows<const Stored>& rows, const AttentionLayout& layout, Index head,
                       const ScoreTile& tile) {
    const Index size = (tile.key_end - tile.key_begin) * padded<Scalar>(rows.width);
    if (size > std::max<Index>(capacity, heap_.size())) heap_.resize(size);
    return copy_rows(rows, layout, head, tile, size > capacity ? heap_.data() : stack_);
  }

  alignas(64) Scalar stack_[capacity];
  Eigen::Matrix<Scalar, Eigen::Dynamic, 1> heap_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
