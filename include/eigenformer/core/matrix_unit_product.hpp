// The operands of a matrix unit's products (see matrix_unit.hpp).
//
// A product C = A B multiplies values (bfloat16 numbers, or 8-bit integers) and adds up the products as float or as
// 32-bit integers. Integers of A are -127 to 127, those of B -128 to 127. A group is 32 bits of values: g = 2 bfloat16
// numbers, or g = 4 integers. A step is the part of the product over 16 groups of each row of A.
//
// - A, the left operand, has blocks of 16 rows. The 16 groups of a row that belong to a step are contiguous.
// - B, the right operand, is packed: a step of a block of 16 columns has 16 rows of 16 groups. Group j of row i holds
//   the entries (g i, j), (g i + 1, j), .. (g i + g - 1, j) of B.
// - C, the sums, has blocks of 16 x 16 entries.
#pragma once

#include <cstdint>
#include <type_traits>

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit {

/// The types of values that matrix units multiply.
template <class T>
concept UnitValue = std::is_same_v<T, Eigen::bfloat16> || std::is_same_v<T, std::int8_t>;

/// The type of sums of products. A sum of up to most_int8_products products of 8-bit integers never overflows.
template <UnitValue Value>
using SumOf = std::conditional_t<std::is_same_v<Value, std::int8_t>, std::int32_t, float>;
inline constexpr Index most_int8_products = 131071;

/// Rows and columns of a block of sums.
inline constexpr Index block = 16;
/// Values of a group.
template <UnitValue Value>
inline constexpr Index group = 4 / static_cast<Index>(sizeof(Value));
/// Entries of a row of A that one step multiplies.
template <UnitValue Value>
inline constexpr Index depth = 16 * group<Value>;
/// Entries of a step of a block of A or B.
template <UnitValue Value>
inline constexpr Index step_size = block* depth<Value>;

/// The left operand. Strides are in entries.
template <UnitValue Value>
struct LeftBlocks {
  const Value* data;
  Index row_stride;
  Index step_stride;   // depth<Value> if the entries of a row are contiguous over all steps
  Index block_stride;  // 16 * row_stride if all rows are equally far apart
};
/// The packed right operand. The steps of a block of columns follow one another.
template <UnitValue Value>
struct RightBlocks {
  const Value* data;
  Index block_stride;  // in entries
};
/// The sums. Entries of a row of a block are contiguous. Strides are in entries.
template <UnitValue Value>
struct SumBlocks {
  SumOf<Value>* data;
  Index row_stride;
  Index row_block_stride;
  Index column_block_stride;
};
/// C = A B, or C += A B. `steps` may be 0.
template <UnitValue Value>
struct Product {
  Index steps;
  LeftBlocks<Value> a;
  RightBlocks<Value> b;
  SumBlocks<Value> c;
  bool accumulates;
  const SumOf<Value>* row_terms = nullptr;  // of each row of A, from row_terms(); null: the unit computes them
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit
