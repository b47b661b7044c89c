// Reads keys and values into the caches in the order in which they lie in memory.
//
// The columns of one head are short pieces of rows that lie far apart, as in the cache of a decoder. Hardware
// prefetches only what is read in order. So heads that read a sequence one after another wait for memory, piece by
// piece. It is faster to read whole rows once before the first head. Software prefetches gain nothing: the processor
// drops them while many are under way.
//
// Measured: Zen 4, GCC 12, d = 64, eight heads, 25 keys of 32 sequences in six layers, 20 MB in total: 1.0 instead of
// 1.6 microseconds a head.
#pragma once

#include "eigenformer/kernels/detail/attention/call.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Returns whether touch_rows saves time: several heads share rows, and the keys and values of all sequences are too
/// large for an L2 cache. If they fit, touching costs about a third of the attention's time.
template <class Scalar, class Stored>
bool touching_pays(const AttentionLayout& layout, const AttentionRows<Scalar, Stored>& rows) {
  constexpr Index cache_bytes = 1 << 20;
  const Index row_size = layout.key_heads * (layout.key_width + layout.value_width);
  return layout.key_heads > 1 && rows.k.col_stride == 1 && rows.v.col_stride == 1 &&
         layout.key_rows.rows() > cache_bytes / static_cast<Index>(sizeof(Stored)) / std::max<Index>(row_size, 1);
}

/// Reads one entry of each cache line of `x` in the rows of a sequence's keys, for all heads. Skips a row if the
/// previous sequence has it at the same position, because it is in the cache then. Hypotheses of one sentence share
/// most rows.
template <class Stored>
void touch_rows(const AttentionLayout& layout, const HeadRows<const Stored>& x, Index sequence) {
  constexpr Index line = 64 / static_cast<Index>(sizeof(Stored));
  const Index before = std::max<Index>(sequence - 1, 0), known = sequence > 0 ? layout.key_rows.length(before) : 0;
  KeyRowCursor key(layout, sequence, 0), key_before(layout, before, 0);
  for (Index i = 0; i < layout.key_rows.length(sequence); ++i, key.advance(), key_before.advance()) {
    if (i < known && key.row() == key_before.row()) continue;
    for (Index head = 0; head < layout.key_heads; ++head)
      for (Index j = 0; j < x.width; j += line)
        // A byte, because compilers may leave out the read of a volatile object of a class, such as Eigen::bfloat16.
        static_cast<void>(*reinterpret_cast<const volatile unsigned char*>(x.row(head, key.row()) + j));
  }
}

/// Reads all heads' keys and values of a sequence into the caches, unless they are too many to stay there.
template <class Scalar, class Stored>
void touch_keys(const AttentionLayout& layout, const AttentionRows<Scalar, Stored>& rows, Index sequence) {
  constexpr Index most_bytes = 1 << 19;  // half an L2 cache
  const Index row_size = layout.key_heads * (layout.key_width + layout.value_width);
  if (layout.key_rows.length(sequence) * row_size * static_cast<Index>(sizeof(Stored)) > most_bytes) return;
  touch_rows(layout, rows.k.of(sequence), sequence);
  touch_rows(layout, rows.v.of(sequence), sequence);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
