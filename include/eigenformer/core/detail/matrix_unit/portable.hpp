// Products of blocks on every machine. Included by core/matrix_unit.hpp.
#pragma once

#include "eigenformer/core/matrix_unit_product.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit {

/// Multiplies entry by entry. Tests compare the other units with it.
template <UnitValue V>
struct Portable {
  using Value = V;
  struct Session {
    Session() {}
  };
  template <int rows, int columns>
  static void multiply(const Product<Value>& product) {
    for (Index i = 0; i < rows * block; ++i)
      for (Index j = 0; j < columns; ++j) {
        const Value* const a = product.a.data + i / block * product.a.block_stride + i % block * product.a.row_stride;
        SumOf<Value>* const c = product.c.data + i / block * product.c.row_block_stride +
                                i % block * product.c.row_stride + j * product.c.column_block_stride;
        multiply_row(product, a, product.b.data + j * product.b.block_stride, c);
      }
  }

 private:
  /// Computes a row of a block of sums.
  static void multiply_row(const Product<Value>& product, const Value* a, const Value* b, SumOf<Value>* c) {
    SumOf<Value> sums[block] = {};
    if (product.accumulates)
      for (Index j = 0; j < block; ++j) sums[j] = c[j];
    for (Index step = 0; step < product.steps; ++step, a += product.a.step_stride)
      for (Index k = 0; k < depth<Value>; k += group<Value>, b += block * group<Value>)
        for (Index j = 0; j < block; ++j)
          for (Index g = 0; g < group<Value>; ++g)
            sums[j] += static_cast<SumOf<Value>>(a[k + g]) * static_cast<SumOf<Value>>(b[j * group<Value> + g]);
    for (Index j = 0; j < block; ++j) c[j] = sums[j];
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::matrix_unit
