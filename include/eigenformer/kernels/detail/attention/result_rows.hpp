// Transposes results from one query per lane to one query per row.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/kernels/detail/attention/block_partition.hpp"
#include "eigenformer/kernels/detail/gemm/product.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Copies results [width x block_queries] to the rows of `count` queries, row_stride entries apart. With `adds`, adds
/// them to these rows instead.
template <class Scalar, bool adds>
EIGEN_DONT_INLINE void write_rows(const Scalar* results, Index width, Index count, Scalar* rows, Index row_stride) {
  constexpr Index n = block_queries<Scalar>;
  constexpr Index lanes = simd::lanes<Scalar>;
  const Index whole = width / lanes * lanes;
  for (Index i = 0; i < count; i += lanes)
    for (Index f = 0; f < whole; f += lanes)
      simd::for_each_column(results + f * n + i, n, lanes, [&](Index query, const simd::Packet<Scalar>& column) {
        if (query >= count - i) return;
        Scalar* row = rows + (i + query) * row_stride + f;
        simd::store(row, adds ? simd::add(simd::load(row), column) : column);
      });
  for (Index f = whole; f < width; ++f)
    for (Index i = 0; i < count; ++i) {
      Scalar& entry = rows[i * row_stride + f];
      entry = adds ? entry + results[f * n + i] : results[f * n + i];
    }
}
/// Copies results [width x block_queries] to the rows of `count` queries, row_stride entries apart.
template <class Scalar>
void store_rows(const Scalar* results, Index width, Index count, Scalar* rows, Index row_stride) {
  write_rows<Scalar, false>(results, width, count, rows, row_stride);
}
/// Adds results [width x block_queries] to the rows of `count` queries, row_stride entries apart.
template <class Scalar>
void add_rows(const Scalar* results, Index width, Index count, Scalar* rows, Index row_stride) {
  write_rows<Scalar, true>(results, width, count, rows, row_stride);
}

EIGENFORMER_FLOAT(void write_rows<float, false>(const float*, Index, Index, float*, Index));
EIGENFORMER_DOUBLE(void write_rows<double, false>(const double*, Index, Index, double*, Index));

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
