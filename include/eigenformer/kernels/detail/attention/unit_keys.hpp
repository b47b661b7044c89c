// The keys of one task of attention's derivative on a matrix unit: packed, with the sums of their gradients.
#pragma once

#include <algorithm>

#include "eigenformer/core/matrix_unit_packing.hpp"
#include "eigenformer/kernels/detail/attention/backward_call.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Sizes of the packed operands of one call. d, e: widths of a key head and of a value head; *_steps and *_blocks:
/// their number of steps and blocks.
struct UnitSizes {
  using Value = Eigen::bfloat16;
  static constexpr Index n = matrix_unit::block, depth = matrix_unit::depth<Value>,
                         step_size = matrix_unit::step_size<Value>;
  static constexpr Index queries = 128, keys = 128;  // per tile
  static constexpr Index query_steps = queries / depth, key_steps = keys / depth;

  explicit UnitSizes(const AttentionLayout& layout)
      : d(layout.key_width),
        e(layout.value_width),
        d_steps(matrix_unit::steps_for<Value>(d)),
        e_steps(matrix_unit::steps_for<Value>(e)),
        d_blocks(matrix_unit::blocks_for(d)),
        e_blocks(matrix_unit::blocks_for(e)) {}

  Index d, e, d_steps, e_steps, d_blocks, e_blocks;
};

/// The keys and values of one task, packed, and the sums of their gradients.
class UnitKeys {
 public:
  using Value = Eigen::bfloat16;

  /// Packs the keys of `tile`, and their values.
  UnitKeys(const AttentionLayout& layout, const BackwardRows<Value>& rows, Index key_head, const ScoreTile& tile)
      : sizes_(layout), count_(tile.key_end - tile.key_begin), steps_(matrix_unit::steps_for<Value>(count_)) {
    constexpr Index n = UnitSizes::n, depth = UnitSizes::depth, step_size = UnitSizes::step_size;
    const Index blocks = steps_ * depth / n, first = layout.key_rows.begin(tile.sequence) + tile.key_begin;
    allocate(blocks);
    const HeadRows<const Value> k = rows.k.of(tile.sequence), v = rows.v.of(tile.sequence);
    const Value *k_rows[depth], *v_rows[depth];
    for (Index step = 0; step < steps_; ++step) {
      const Index begin = step * depth, keys = std::min<Index>(depth, count_ - begin);
      for (Index j = 0; j < keys; ++j) {
        k_rows[j] = k.row(key_head, first + begin + j);
        v_rows[j] = v.row(key_head, first + begin + j);
      }
      for (Index half = 0; half < depth / n; ++half) {
        const Index count = std::clamp<Index>(keys - half * n, 0, n), block = step * (depth / n) + half;
        matrix_unit::pack_left<Value>({k_rows + half * n, k.col_stride}, count, sizes_.d,
                                      k_ + block * sizes_.d_steps * step_size);
        matrix_unit::pack_left<Value>({v_rows + half * n, v.col_stride}, count, sizes_.e,
                                      v_ + block * sizes_.e_steps * step_size);
      }
      matrix_unit::pack_left_transposed<Value>({k_rows, k.col_stride}, keys, sizes_.d, k_columns_ + step * step_size,
                                               steps_ * step_size);
    }
  }

  /// The keys from the step `step` on, as the left operand of S^T = K Q^T.
  matrix_unit::LeftBlocks<Value> k(Index step) const { return left(k_, sizes_.d_steps, step); }
  /// The values from the step `step` on, as the left operand of dP^T = V dO^T.
  matrix_unit::LeftBlocks<Value> v(Index step) const { return left(v_, sizes_.e_steps, step); }
  /// The transposed keys from the step `step` on, as the left operand of dQ^T = K^T dS^T.
  matrix_unit::LeftBlocks<Value> k_columns(Index step) const {
    constexpr Index size = UnitSizes::step_size;
    return {k_columns_ + step * size, UnitSizes::depth, size, steps_ * size};
  }
  /// The sums of the keys' gradients from the step `step` on.
  matrix_unit::SumBlocks<Value> d_k(Index step) { return sums(d_k_, sizes_.d_blocks, step); }
  /// The sums of the values' gradients from the step `step` on.
  matrix_unit::SumBlocks<Value> d_v(Index step) { return sums(d_v_, sizes_.e_blocks, step); }

  /// Rounds the gradients and writes them to rows from `first` on. Gradients of keys are first multiplied by k_factor.
  void finish(const HeadRows<Value>& to_k, const HeadRows<Value>& to_v, Index key_head, Index first, float k_factor) {
    for (Index j = 0; j < count_; ++j) {
      matrix_unit::store_rounded(d_k_ + j * sizes_.d_blocks * UnitSizes::n, sizes_.d, k_factor,
                                 to_k.row(key_head, first + j));
      matrix_unit::store_rounded(d_v_ + j * sizes_.e_blocks * UnitSizes::n, sizes_.e, 1, to_v.row(key_head, first + j));
    }
  }

 private:
  static matrix_unit::LeftBlocks<Value> left(const Value* data, Index steps, Index key_step) {
    constexpr Index size = UnitSizes::step_size, blocks_per_step = UnitSizes::depth / UnitSizes::n;
    return {data + key_step * blocks_per_step * steps * size, UnitSizes::depth, size, steps * size};
  }
  static matrix_unit::SumBlocks<Value> sums(float* data, Index width_blocks, Index step) {
    const Index width = width_blocks * UnitSizes::n;
    return {data + step * UnitSizes::depth * width, width, UnitSizes::n * width, UnitSizes::n};
  }

  /// Allocates memory for `blocks` blocks of keys, and sets the sums to zero.
  void allocate(Index blocks) {
    // One allocation: with several, glibc returns the memory to the system after every call, and the next call pays for
    // page faults.
    constexpr Index n = UnitSizes::n, step_size = UnitSizes::step_size;
    const Index d_k_size = blocks * n * sizes_.d_blocks * n, d_v_size = blocks * n * sizes_.e_blocks * n;
    const Index k_size = blocks * sizes_.d_steps * step_size, v_size = blocks * sizes_.e_steps * step_size,
                columns_size = sizes_.d_blocks * steps_ * step_size;
    memory_.resize(d_k_size + d_v_size + (k_size + v_size + columns_size) / 2);
    d_k_ = memory_.data();
    d_v_ = d_k_ + d_k_size;
    k_ = reinterpret_cast<Value*>(d_v_ + d_v_size);
    v_ = k_ + k_size;
    k_columns_ = v_ + v_size;
    std::fill_n(d_k_, d_k_size + d_v_size, 0.0F);
  }

  UnitSizes sizes_;
  Index count_, steps_;
  Eigen::Matrix<float, Eigen::Dynamic, 1> memory_;
  float *d_k_, *d_v_;  // [padded keys x padded width]
  Value *k_, *v_, *k_columns_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
