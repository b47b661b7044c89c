// The keys of one task of attention's derivative, with the sums of their gradients.
#pragma once

#include <algorithm>
#include <optional>
#include <utility>

#include "eigenformer/kernels/detail/attention/backward_call.hpp"
#include "eigenformer/kernels/detail/attention/tile_reader.hpp"
#include "eigenformer/kernels/detail/rows/all_finite.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A chunk of keys with their values, and the sums of their gradients, which begin as zeros. Keys and values are copied
/// if kernels cannot use them in place. Rows that would evict each other from the caches are buffered, including rows
/// of gradients.
template <class Scalar>
class KeyChunk {
 public:
  /// Prepares the keys of `tile`, and their values and gradients.
  KeyChunk(const AttentionLayout& layout, const BackwardRows<Scalar>& rows, Index key_head, const ScoreTile& tile)
      : count_(tile.key_end - tile.key_begin), k_width_(rows.k.width), v_width_(rows.v.width) {
    const Index first = layout.key_rows.begin(tile.sequence) + tile.key_begin;
    const HeadRows<const Scalar> k = rows.k.of(tile.sequence), v = rows.v.of(tile.sequence);
    d_k_to_ = {rows.d_k.of(tile.sequence).row(key_head, first), rows.d_k.row_stride};
    d_v_to_ = {rows.d_v.of(tile.sequence).row(key_head, first), rows.d_v.row_stride};
    const bool copies_k = TileReader<Scalar>::copies(k, layout, tile.queries, tile.keys);
    const bool copies_v = TileReader<Scalar>::copies(v, layout, tile.queries, tile.keys);
    const bool buffers_d_k = count_ > 16 && copies_pay<Scalar>(d_k_to_.stride, tile.queries, tile.keys);
    const bool buffers_d_v = count_ > 16 && copies_pay<Scalar>(d_v_to_.stride, tile.queries, tile.keys);

    // One allocation: with several, glibc returns the memory to the system after every call, and the next call pays for
    // page faults.
    // Measured: 512 keys, d = 64: page faults take a tenth of the call's time.
    const Index k_size = count_ * padded<Scalar>(k_width_), v_size = count_ * padded<Scalar>(v_width_);
    memory_.resize((copies_k + buffers_d_k) * k_size + (copies_v + buffers_d_v) * v_size);
    Scalar* next = memory_.data();
    const auto take = [&](Index size) { return std::exchange(next, next + size); };
    rows_.keys = copies_k ? copy_rows(k, layout, key_head, tile, take(k_size)) : k.from(key_head, first);
    rows_.values = copies_v ? copy_rows(v, layout, key_head, tile, take(v_size)) : v.from(key_head, first);
    rows_.d_k = buffers_d_k ? ContiguousRows<Scalar>{take(k_size), padded<Scalar>(k_width_)} : d_k_to_;
    rows_.d_v = buffers_d_v ? ContiguousRows<Scalar>{take(v_size), padded<Scalar>(v_width_)} : d_v_to_;
    for (Index i = 0; i < count_; ++i) std::fill_n(rows_.d_k.row(i), k_width_, Scalar(0));
    for (Index i = 0; i < count_; ++i) std::fill_n(rows_.d_v.row(i), v_width_, Scalar(0));
  }

  /// Returns the rows. If `looks`, the member `are_finite` tells whether all keys and values are finite; they are
  /// checked once. Otherwise `are_finite` is false.
  KeyRows<Scalar> rows(bool looks) {
    if (looks && !are_finite_.has_value())
      are_finite_ = all_finite(rows_.keys, count_, k_width_) && all_finite(rows_.values, count_, v_width_);
    rows_.are_finite = looks && *are_finite_;
    return rows_;
  }

  /// Copies buffered gradients to the rows of the result.
  void finish() const {
    const ContiguousRows<Scalar>&d_k = rows_.d_k, &d_v = rows_.d_v;
    for (Index i = 0; d_k.data != d_k_to_.data && i < count_; ++i) std::copy_n(d_k.row(i), k_width_, d_k_to_.row(i));
    for (Index i = 0; d_v.data != d_v_to_.data && i < count_; ++i) std::copy_n(d_v.row(i), v_width_, d_v_to_.row(i));
  }

 private:
  Index count_, k_width_, v_width_;
  KeyRows<Scalar> rows_{};
  ContiguousRows<Scalar> d_k_to_, d_v_to_;
  std::optional<bool> are_finite_;
  Eigen::Matrix<Scalar, Eigen::Dynamic, 1> memory_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
