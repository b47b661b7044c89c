// Products of small blocks on the processor's matrix unit: bfloat16 numbers with float sums, or 8-bit integers with
// 32-bit sums. matrix_unit_product.hpp describes the operands, matrix_unit_packing.hpp packs them.
//
// The compiler's flags decide which implementations exist. Portable always does; tests compare the others with it. Best
// first, they are:
//
// - bfloat16: Amx, Avx512Bfloat16, NeonBfloat16, Portable
// - 8-bit integers: Amx, Avx512Int8, AvxVnniInt8, Avx2Int8, NeonInt8, Portable
//
// The order in which a sum's products are added depends only on the implementation and the number of steps. So a sum
// does not depend on other rows or columns. Sums of integers are exact. Sums of bfloat16 numbers round as float sums
// do, or a little less accurately (NEON); subnormal numbers may count as zeros.
#pragma once

#include "eigenformer/core/detail/matrix_unit/amx.hpp"
#include "eigenformer/core/detail/matrix_unit/avx2.hpp"
#include "eigenformer/core/detail/matrix_unit/avx512.hpp"
#include "eigenformer/core/detail/matrix_unit/neon.hpp"
#include "eigenformer/core/detail/matrix_unit/portable.hpp"
#include "eigenformer/core/matrix_unit_product.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit {

/// Implementations, best first. A unit has:
/// - Value: the type of the values that it multiplies
/// - Session: prepares the calling thread for products while the object is alive
/// - multiply<rows, columns>(product): computes a product of rows x columns blocks, at most 2 x 2
/// - few_rows and multiply_few_rows(rows, columns, product), optional: computes at least the first `rows` rows of one
///   block. few_rows: the most rows for which it is faster than multiply()
/// - row_term(row, a, steps), optional: returns the correction that the unit adds to all sums of a row of A; see
///   row_terms()
/// - is_permitted(), optional: returns whether this process may use the unit; without it, every process may
template <class... Units>
struct UnitList {};

/// The implementations for values of a type that the compiler targets.
template <UnitValue Value>
inline constexpr auto units = UnitList<Portable<Value>>();
template <>
inline constexpr UnitList<
#if defined(EIGENFORMER_AMX_BFLOAT16)
    Amx<Eigen::bfloat16>,
#endif
#if defined(EIGENFORMER_AVX512_BFLOAT16)
    Avx512Bfloat16,
#endif
#if defined(EIGENFORMER_NEON_BFLOAT16)
    NeonBfloat16,
#endif
    Portable<Eigen::bfloat16>>
    units<Eigen::bfloat16>;
template <>
inline constexpr UnitList<
#if defined(EIGENFORMER_AMX_INT8)
    Amx<std::int8_t>,
#endif
#if defined(EIGENFORMER_AVX512_INT8)
    Avx512Int8,
#endif
#if defined(EIGENFORMER_AVX_VNNI_INT8)
    AvxVnniInt8,
#endif
#if defined(EIGENFORMER_AVX2_INT8)
    Avx2Int8,
#endif
#if defined(EIGENFORMER_NEON_INT8)
    NeonInt8,
#endif
    Portable<std::int8_t>>
    units<std::int8_t>;

/// Whether the compiler targets a unit for these values other than Portable. Their products are then at least as fast
/// as products of floats.
template <UnitValue Value>
inline constexpr bool is_fast = !std::is_same_v<decltype(units<Value>), const UnitList<Portable<Value>>>;

/// Calls body(unit) with the first unit of a list that this process may use. `body` is not instantiated for units after
/// the first that every process may use.
template <class Unit, class... Others, class Body>
auto with_first_permitted(UnitList<Unit, Others...>, Body&& body) {
  if constexpr (requires { Unit::is_permitted(); })
    if (!Unit::is_permitted()) return with_first_permitted(UnitList<Others...>(), body);
  return body(Unit());
}
/// Calls body(unit) with the best implementation that this process may use.
template <UnitValue Value, class Body>
auto with_best(Body&& body) {
  return with_first_permitted(units<Value>, body);
}

/// Computes a product of row_blocks x column_blocks blocks. A Unit::Session must be alive on the calling thread.
template <class Unit>
EIGEN_ALWAYS_INLINE void multiply(Index row_blocks, Index column_blocks, const Product<typename Unit::Value>& product) {
  for (Index j = 0; j < column_blocks; j += 2)
    for (Index i = 0; i < row_blocks; i += 2) {
      auto part = product;
      part.a.data += i * product.a.block_stride;
      part.b.data += j * product.b.block_stride;
      part.c.data += i * product.c.row_block_stride + j * product.c.column_block_stride;
      if (product.row_terms != nullptr) part.row_terms += i * block;
      const bool two_rows = i + 1 < row_blocks, two_columns = j + 1 < column_blocks;
      if (two_rows && two_columns)
        Unit::template multiply<2, 2>(part);
      else if (two_columns)
        Unit::template multiply<1, 2>(part);
      else if (two_rows)
        Unit::template multiply<2, 1>(part);
      else
        Unit::template multiply<1, 1>(part);
    }
}

/// Writes the unit's row_term() of each row of A to `terms`, [16 row_blocks]. Returns `terms`, or null if the unit has
/// no row_term(). Pass the result to all products of A as Product::row_terms, so that the terms are computed only once.
template <class Unit>
const SumOf<typename Unit::Value>* row_terms(Index row_blocks, const LeftBlocks<typename Unit::Value>& a, Index steps,
                                             SumOf<typename Unit::Value>* terms) {
  if constexpr (requires { Unit::row_term(a.data, a, steps); }) {
    for (Index i = 0; i < row_blocks * block; ++i)
      terms[i] = Unit::row_term(a.data + i / block * a.block_stride + i % block * a.row_stride, a, steps);
    return terms;
  }
  return nullptr;
}

/// Computes at least the first `rows` rows of a product of blocks_for(rows) x column_blocks blocks. Sums equal those of
/// multiply() to the last bit. A unit with multiply_few_rows() does not compute all rows of the last block if few are
/// needed.
template <class Unit>
EIGEN_ALWAYS_INLINE void multiply_rows(Index rows, Index column_blocks, const Product<typename Unit::Value>& product) {
  if constexpr (requires { Unit::multiply_few_rows(rows, column_blocks, product); }) {
    const Index whole = rows / block, rest = rows % block;
    if (rest > 0 && rest <= Unit::few_rows) {
      multiply<Unit>(whole, column_blocks, product);
      auto last = product;
      last.a.data += whole * product.a.block_stride;
      last.c.data += whole * product.c.row_block_stride;
      if (product.row_terms != nullptr) last.row_terms += whole * block;
      return Unit::multiply_few_rows(rest, column_blocks, last);
    }
  }
  multiply<Unit>((rows + block - 1) / block, column_blocks, product);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit
