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
  /// The maximum number of rows of multiply_few_rows: 8 if their sums fit into the registers, else 4.
  static constexpr Index few_rows = 8 * static_cast<int>(block) / Dot::lanes <= Dot::registers ? 8 : 4;
  /// Computes at least the first `rows` rows, at most few_rows, of a block of rows and `columns` blocks of columns.
  static void multiply_few_rows(Index rows, Index columns, const Product<Value>& product) {
    if (rows <= 1)
      multiply_first_rows<1>(columns, product);
    else if (rows == 2)
      multiply_first_rows<2>(columns, product);
    else if (rows <= 4)
      multiply_first_rows<4>(columns, product);
    else
      multiply_first_rows<few_rows>(columns, product);
  }
  /// Returns the correction for all sums of a row of A.
  static SumOf<Value> row_term(const Value* row, const LeftBlocks<Value>& a, Index steps) requires requires {
    Dot::row_term(row, a, steps);
  }
  { return Dot::row_term(row, a, steps); }

 private:
  /// Computes `count` rows of all columns. Takes several blocks of columns together to hide the latency.
  template <int count>
  static void multiply_first_rows(Index columns, const Product<Value>& product) {
    constexpr int per_block = static_cast<int>(block) / Dot::lanes;
    constexpr int together = std::max<int>(1, std::min<int>(4, Dot::registers / count) / per_block);  // blocks
    Index j = 0;
    for (; j + together <= columns; j += together) multiply_rows<count, together * per_block>(product, 0, j);
    for (; j < columns; ++j) multiply_rows<count, per_block>(product, 0, j);
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
    for (Index step = 0; step < product.steps; ++step)
      for (Index k = 0; k < depth<Value>; k += group<Value>) {
        const Value* const b =
            product.b.data + column_block * product.b.block_stride + step * step_size<Value> + k * block;
        typename Dot::Right right[width];
        EIGENFORMER_UNROLL
        for (int j = 0; j < width; ++j)
          right[j] = Dot::right(b + j / per_block * product.b.block_stride + j % per_block * Dot::lanes * group<Value>);
        EIGENFORMER_UNROLL
        for (int i = 0; i < count; ++i) {
          const typename Dot::Left left = Dot::left(a + i * product.a.row_stride + step * product.a.step_stride + k);
          EIGENFORMER_UNROLL
          for (int j = 0; j < width; ++j) sums[i][j] = Dot::add(sums[i][j], left, right[j]);
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
