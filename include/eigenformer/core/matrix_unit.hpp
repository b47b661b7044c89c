// Products of small blocks of bfloat16 numbers with float sums, on the processor's matrix unit where it has one.
//
// Implementations, best first: Amx, Avx512Bfloat16, and Portable, which is the reference of the tests. Which of them
// exist is decided by the compiler's flags. All take the same operands:
//
// - A, the left operand, has blocks of 16 rows. A step multiplies 32 entries of each row; they are contiguous.
// - B, the right operand, is packed: a step of a block of 16 columns has 16 rows of 16 pairs. Pair j of row i holds the
//   entries (2 i, j) and (2 i + 1, j) of B.
// - C, the sums, has blocks of 16 x 16 floats.
//
// Every implementation adds each sum's products in the order of k, so a sum does not depend on other rows or columns.
#pragma once

#include <algorithm>

#include "eigenformer/core/detail/bit_cast.hpp"
#include "eigenformer/core/types.hpp"

#if defined(__AVX512BF16__) && defined(EIGEN_VECTORIZE_AVX512) && defined(__AVX512BW__)
#define EIGENFORMER_AVX512_BFLOAT16
#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__linux__) && defined(__x86_64__)
#define EIGENFORMER_AMX_BFLOAT16
#endif
#endif

namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit {

/// Rows and columns of a block of sums.
inline constexpr Index block = 16;
/// Entries of a row that one step multiplies.
inline constexpr Index depth = 32;
/// Entries of a step of a block of A or B.
inline constexpr Index step_size = block * depth;

/// The left operand. Strides are in entries.
struct LeftBlocks {
  const Eigen::bfloat16* data;
  Index row_stride;
  Index step_stride;   // 32 if the entries of a row are contiguous over all steps
  Index block_stride;  // 16 * row_stride if all rows are equally far apart
};
/// The packed right operand. The steps of a block of columns follow one another.
struct RightBlocks {
  const Eigen::bfloat16* data;
  Index block_stride;  // in entries
};
/// The sums. Entries of a row of a block are contiguous. Strides are in entries.
struct SumBlocks {
  float* data;
  Index row_stride;
  Index row_block_stride;
  Index column_block_stride;
};
/// C = A B, or C += A B. `steps` may be 0.
struct Product {
  Index steps;
  LeftBlocks a;
  RightBlocks b;
  SumBlocks c;
  bool accumulates;
};

/// Loops over single entries, in double where that is exact: the reference of the tests.
struct Portable {
  /// Prepares the calling thread while it is alive.
  struct Session {
    Session() {}
  };
  /// Computes a product of `rows` x `columns` blocks, at most 2 x 2.
  template <int rows, int columns>
  static void multiply(const Product& product) {
    for (int i = 0; i < rows * block; ++i)
      for (int j = 0; j < columns * block; ++j) {
        float& sum = product.c.data[i / block * product.c.row_block_stride + i % block * product.c.row_stride +
                                    j / block * product.c.column_block_stride + j % block];
        float total = product.accumulates ? sum : 0.0F;
        for (Index k = 0; k < product.steps * depth; ++k) {
          const Eigen::bfloat16 a =
              product.a.data[i / block * product.a.block_stride + i % block * product.a.row_stride +
                             k / depth * product.a.step_stride + k % depth];
          const Eigen::bfloat16 b =
              product.b.data[j / block * product.b.block_stride + k / 2 * depth + j % block * 2 + k % 2];
          total += static_cast<float>(a) * static_cast<float>(b);
        }
        sum = total;
      }
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit

#if defined(EIGENFORMER_AVX512_BFLOAT16)
#include "eigenformer/core/detail/matrix_unit/avx512_bfloat16.hpp"
#endif
#if defined(EIGENFORMER_AMX_BFLOAT16)
#include "eigenformer/core/detail/matrix_unit/amx.hpp"
#endif

namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit {

/// Whether the processor that the compiler targets multiplies bfloat16 numbers faster than floats.
#if defined(EIGENFORMER_AVX512_BFLOAT16)
inline constexpr bool is_fast = true;
#else
inline constexpr bool is_fast = false;
#endif

/// Calls body(unit) with the best implementation that this process may use.
template <class Body>
auto with_best(Body&& body) {
#if defined(EIGENFORMER_AMX_BFLOAT16)
  if (Amx::is_permitted()) return body(Amx{});
#endif
#if defined(EIGENFORMER_AVX512_BFLOAT16)
  return body(Avx512Bfloat16{});
#else
  return body(Portable{});
#endif
}

/// Computes a product of row_blocks x column_blocks blocks. A Unit::Session must be alive on the calling thread.
template <class Unit>
EIGEN_ALWAYS_INLINE void multiply(Index row_blocks, Index column_blocks, const Product& product) {
  for (Index j = 0; j < column_blocks; j += 2)
    for (Index i = 0; i < row_blocks; i += 2) {
      Product part = product;
      part.a.data += i * product.a.block_stride;
      part.b.data += j * product.b.block_stride;
      part.c.data += i * product.c.row_block_stride + j * product.c.column_block_stride;
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

}  // namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit
