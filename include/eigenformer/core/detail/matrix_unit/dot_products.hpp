// Products of blocks by instructions that multiply groups of values (dot products). Included by core/matrix_unit.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "eigenformer/core/matrix_unit_product.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit::detail {

/// Returns -128 * sum modulo 2^32. The product may overflow: a row of 131,072 values of -128 sums to -2^24, and -128
/// times that is 2^31.
inline std::int32_t minus_128_times(std::int32_t sum) {
  return static_cast<std::int32_t>(0U - 128U * static_cast<std::uint32_t>(sum));
}

/// Multiplies by an instruction that adds the dot product of two groups to each lane of a register of sums. The lanes
/// belong to neighbouring columns of C. `Dot` describes the instruction:
/// - Value: the type of the values
/// - Sums: a register of sums; Left: a group of A for every lane; Right: groups of B, one per lane
/// - lanes: the lanes of Sums; registers: how many registers of sums to use
/// - zero(), load(from), store(to, sums)
/// - left(group), right(groups): load from memory
/// - add(sums, left, right): returns sums + dot products
/// - row_term(row, a, steps), broadcast(term) and sum(sums, sums), optional: the correction for all sums of a row of A,
///   if `add` adds more than the dot products
template <class Dot>
struct DotProducts {
  using Value = typename Dot::Value;
  struct Session {
    Session() {}
  };
  template <int rows, int columns>
  static void multiply(const Product<Value>& product) {
    // If a register holds a whole row of a block, two blocks of columns share the groups of A.
    constexpr int together = Dot::lanes == block ? columns : 1;
    constexpr int width = together * static_cast<int>(block) / Dot::lanes, count = Dot::registers / width;
    for (int j = 0; j < columns; j += together)
      for (int i = 0; i < rows * static_cast<int>(block); i += count) multiply_rows<count, width>(product, i, j);
  }
  /// The maximum number of rows of multiply_few_rows.
  static constexpr Index few_rows = block - 1;
  /// Computes at least the first `rows` rows of a block, for `columns` blocks of columns. Other rows of the block may
  /// be written too.
  static void multiply_few_rows(Index rows, Index columns, const Product<Value>& product) {
    constexpr Index column_step = 4;  // blocks of columns; all rows read them, so that they stay in a cache
    for (Index j = 0; j < columns; j += column_step)
      for (Index i = 0; i < rows; i += most_rows)
        multiply_some_rows(std::min<Index>(most_rows, rows - i), i, j, std::min<Index>(columns, j + column_step),
                           product);
  }
  /// Returns the correction for all sums of a row of A.
  static SumOf<Value> row_term(const Value* row, const LeftBlocks<Value>& a, Index steps) requires requires {
    Dot::row_term(row, a, steps);
  }
  { return Dot::row_term(row, a, steps); }

 private:
  /// The most rows that are computed together: 8 if their sums fit into the registers, else 4.
  static constexpr Index most_rows = 8 * static_cast<int>(block) / Dot::lanes <= Dot::registers ? 8 : 4;

  /// Computes at least `rows` rows, at most most_rows, from row `row` on, for the blocks of columns [begin, end).
  static void multiply_some_rows(Index rows, Index row, Index begin, Index end, const Product<Value>& product) {
    if (rows <= 1)
      multiply_row_group<1>(row, begin, end, product);
    else if (rows == 2)
      multiply_row_group<2>(row, begin, end, product);
    else if (rows <= 4)
      multiply_row_group<4>(row, begin, end, product);
    else
      multiply_row_group<most_rows>(row, begin, end, product);
  }
  /// Computes `count` rows. Takes several blocks of columns together to hide the latency.
  template <int count>
  static void multiply_row_group(Index row, Index begin, Index end, const Product<Value>& product) {
    constexpr int per_block = static_cast<int>(block) / Dot::lanes;
    constexpr int together = std::max<int>(1, std::min<int>(4, Dot::registers / count) / per_block);  // blocks
    Index j = begin;
    for (; j + together <= end; j += together) multiply_rows<count, together * per_block>(product, row, j);
    for (; j < end; ++j) multiply_rows<count, per_block>(product, row, j);
  }

  /// Computes `count` rows of sums, `width` registers each, from row `row` and block `column_block` on.
  template <int count, int width>
  EIGEN_ALWAYS_INLINE static void multiply_rows(const Product<Value>& product, Index row, Index column_block) {
    constexpr Index per_block = block / Dot::lanes;  // registers
    static_assert(block % count == 0);
    const Value* const a = product.a.data + row / block * product.a.block_stride + row % block * product.a.row_stride;
    const auto c = [&](int i, int j) {
      return product.c.data + row / block * product.c.row_block_stride + (row % block + i) * product.c.row_stride +
             (column_block + j / per_block) * product.c.column_block_stride + j % per_block * Dot::lanes;
    };
    typename Dot::Sums sums[count][width];
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) {
      EIGENFORMER_UNROLL
      for (int j = 0; j < width; ++j) sums[i][j] = product.accumulates ? Dot::load(c(i, j)) : Dot::zero();
    }
    const Value* b_step = product.b.data + column_block * product.b.block_stride;
    for (Index step = 0; step < product.steps; ++step, b_step += step_size<Value>) {
      const Value* rows[count];
      EIGENFORMER_UNROLL
      for (int i = 0; i < count; ++i) rows[i] = a + i * product.a.row_stride + step * product.a.step_stride;
      const Value* b = b_step;
      for (Index k = 0; k < depth<Value>; k += group<Value>, b += group<Value> * block) {
        typename Dot::Right right[width];
        EIGENFORMER_UNROLL
        for (int j = 0; j < width; ++j)
          right[j] = Dot::right(b + j / per_block * product.b.block_stride + j % per_block * Dot::lanes * group<Value>);
        EIGENFORMER_UNROLL
        for (int i = 0; i < count; ++i) {
          const typename Dot::Left left = Dot::left(rows[i] + k);
          EIGENFORMER_UNROLL
          for (int j = 0; j < width; ++j) sums[i][j] = Dot::add(sums[i][j], left, right[j]);
        }
      }
    }
    if constexpr (requires { Dot::row_term(a, product.a, product.steps); }) EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) {
      const typename Dot::Sums term = Dot::broadcast(
          product.row_terms != nullptr ? product.row_terms[row + i]
                                       : Dot::row_term(a + i * product.a.row_stride, product.a, product.steps));
      EIGENFORMER_UNROLL
      for (int j = 0; j < width; ++j) sums[i][j] = Dot::sum(sums[i][j], term);
    }
    EIGENFORMER_UNROLL
    for (int i = 0; i < count; ++i) {
      EIGENFORMER_UNROLL
      for (int j = 0; j < width; ++j) Dot::store(c(i, j), sums[i][j]);
    }
  }
};

/// Returns the 32 bits of a group.
template <UnitValue Value>
EIGEN_ALWAYS_INLINE int bits_of_group(const Value* from) {
  int bits;
  std::memcpy(&bits, from, sizeof(bits));
  return bits;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit::detail
