// Products of float matrices in bfloat16: both operands are rounded, sums are floats.
//
// First, both operands are rounded and packed for the matrix unit, once, in parallel. Then each task computes a block
// of the result. Without a unit, the kernel for floats multiplies rounded copies.
//
// An entry of the result sums its products in an order that depends only on the unit and the depth. So it does not
// depend on other rows and columns, nor on the number of threads.
#pragma once

#include <memory>

#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/core/matrix_unit_rounded_packing.hpp"
#include "eigenformer/core/workspace.hpp"
#include "eigenformer/kernels/detail/gemm/product.hpp"
#include "eigenformer/kernels/product_options.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Receives a finished block of a product: (first row, rows, first column, columns).
using BlockCallback = FunctionRef<void(Index, Index, Index, Index)>;

/// The packed operands of a product of bfloat16 numbers.
class PackedOperands {
 public:
  /// Rounds and packs the operands, in parallel.
  PackedOperands(const Product<float>& product, Threads* threads)
      : steps_(matrix_unit::steps_for<Value>(product.depth)),
        left_blocks_(matrix_unit::blocks_for(product.rows)),
        memory_(Workspace::allocate_from_heap<Value>((left_blocks_ + matrix_unit::blocks_for(product.cols)) *
                                                     block_size())) {
    if (steps_ == 0) return;
    // Blocks of a task share pages (see pack_rounded_blocks).
    // Measured: [2048 x 4096] times [4096 x 512], the left operand transposed, AVX512-BF16: packing takes 15.0 ms with
    // tasks of one block, 11.2 ms with four, 9.6 ms with eight.
    constexpr Index task_entries = 1 << 16, least_blocks = 8;
    const matrix_unit::FloatLines rows{product.a.data, product.a.row_stride, product.a.col_stride};
    const matrix_unit::FloatLines columns{product.b.data, product.b.col_stride, product.b.row_stride};
    const Index blocks = left_blocks_ + matrix_unit::blocks_for(product.cols);
    const Index grain = std::max<Index>(least_blocks, task_entries / block_size());
    parallel_for(threads, blocks, grain, [&](Index begin, Index end) {
      const Index middle = std::clamp<Index>(left_blocks_, begin, end);
      pack<matrix_unit::Side::left>(rows, product.rows, product.depth, begin, middle, memory_.get());
      pack<matrix_unit::Side::right>(columns, product.cols, product.depth, middle - left_blocks_, end - left_blocks_,
                                     memory_.get() + left_blocks_ * block_size());
    });
  }

  Index steps() const { return steps_; }
  /// Returns the blocks of rows of A from number `block` on, and their steps from `step` on.
  matrix_unit::LeftBlocks<Eigen::bfloat16> left(Index block, Index step) const {
    return {at(block, step), matrix_unit::depth<Value>, matrix_unit::step_size<Value>, block_size()};
  }
  /// Returns the blocks of columns of B from number `block` on, and their steps from `step` on.
  matrix_unit::RightBlocks<Eigen::bfloat16> right(Index block, Index step) const {
    return {at(left_blocks_ + block, step), block_size()};
  }

 private:
  using Value = Eigen::bfloat16;

  /// Rounds and packs the blocks [begin, end) of an operand. to: the place of block 0.
  template <matrix_unit::Side side>
  void pack(const matrix_unit::FloatLines& from, Index lines, Index depth, Index begin, Index end, Value* to) const {
    if (begin >= end) return;
    constexpr Index n = matrix_unit::block;
    matrix_unit::pack_rounded_blocks<side>(from.from(begin * n, 0), std::min<Index>(end * n, lines) - begin * n, depth,
                                           to + begin * block_size());
  }

  Index block_size() const { return steps_ * matrix_unit::step_size<Value>; }
  const Value* at(Index block, Index step) const {
    return memory_.get() + block * block_size() + step * matrix_unit::step_size<Value>;
  }

  Index steps_;
  Index left_blocks_;
  std::shared_ptr<Value> memory_;  // the blocks of A, then those of B
};

/// Computes `rows` rows from row i on and `cols` columns from column j on of C = start + A B. rows: at most task_rows;
/// cols: at most task_cols; i and j: multiples of 16.
template <class Unit, Index task_rows, Index task_cols>
void multiply_packed_block(const PackedOperands& packed, const Product<float>& product, Index i, Index rows, Index j,
                           Index cols) {
  constexpr Index n = matrix_unit::block;
  constexpr Index piece = 16;  // steps that stay in the L1 cache
  const typename Unit::Session session;
  alignas(64) float sums[task_rows * task_cols];
  const Index row_blocks = matrix_unit::blocks_for(rows);
  for (Index step = 0; step == 0 || step < packed.steps(); step += piece)
    matrix_unit::multiply_rows<Unit>(rows, matrix_unit::blocks_for(cols),
                                     {.steps = std::min<Index>(piece, packed.steps() - step),
                                      .a = packed.left(i / n, step),
                                      .b = packed.right(j / n, step),
                                      .c = {sums, n, n * n, row_blocks * n * n},
                                      .accumulates = step > 0});
  for (Index r = 0; r < rows; ++r)
    for (Index c = 0; c < cols; c += n) {
      const float* const from = sums + c * row_blocks * n + r * n;
      const float* const start = product.start.data == nullptr ? nullptr : product.start.row(i + r) + j + c;
      float* const to = product.c.row(i + r) + j + c;
      const Index count = std::min<Index>(n, cols - c);
      Index l = 0;
      if (count == n)
        for (; l < n; l += simd::lanes<float>) {
          const auto sum = simd::load(from + l);
          simd::store(to + l, start == nullptr ? sum : simd::add(simd::load(start + l), sum));
        }
      for (; l < count; ++l) to[l] = start == nullptr ? from[l] : start[l] + from[l];
    }
}

/// Computes C = start + A B on a matrix unit, in parallel. Calls epilogue for each finished block.
template <class Unit>
void multiply_on_unit(Unit, const Product<float>& product, Threads* threads, BlockCallback epilogue) {
  constexpr Index task_rows = 64, task_cols = 256;
  const PackedOperands packed(product, threads);
  const Index row_tasks = (product.rows + task_rows - 1) / task_rows;
  const Index col_tasks = (product.cols + task_cols - 1) / task_cols;
  parallel_for(threads, row_tasks * col_tasks, 1, [&](Index task, Index) {
    const Index i = task / col_tasks * task_rows, j = task % col_tasks * task_cols;
    const Index rows = std::min<Index>(task_rows, product.rows - i),
                cols = std::min<Index>(task_cols, product.cols - j);
    multiply_packed_block<Unit, task_rows, task_cols>(packed, product, i, rows, j, cols);
    epilogue(i, rows, j, cols);
  });
}

/// Returns a copy [rows x cols] of a matrix, with entries rounded to bfloat16. Rows or columns are contiguous, as in
/// the matrix. memory: owns the copy.
inline Strided<float> rounded_copy(const Strided<float>& from, Index rows, Index cols, Threads* threads,
                                   std::shared_ptr<float>& memory) {
  if (from.row_stride == 1 && from.col_stride != 1)
    return transposed(rounded_copy(transposed(from), cols, rows, threads, memory));
  memory = Workspace::allocate_from_heap<float>(rows * cols);
  const Index grain = std::max<Index>(1, 8192 / std::max<Index>(1, cols));
  parallel_for(threads, rows, grain, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      for (Index j = 0; j < cols; ++j) memory.get()[i * cols + j] = static_cast<float>(Eigen::bfloat16(from(i, j)));
  });
  return {memory.get(), cols, 1};
}

/// Computes C = start + A B by the kernel for floats, in parallel. Calls epilogue for each finished block.
inline void multiply_rounded_copies(Product<float> product, Threads* threads, BlockCallback epilogue) {
  std::shared_ptr<float> a, b;
  product.a = rounded_copy(product.a, product.rows, product.depth, threads, a);
  product.b = rounded_copy(product.b, product.depth, product.cols, threads, b);
  multiply<float>(product, threads, epilogue);
}

/// Computes C = start + A B with A and B rounded to bfloat16, in parallel. Calls epilogue for each finished block.
template <class Scalar>
void multiply_bfloat16(const Product<Scalar>& product, Threads* threads, BlockCallback epilogue) {
  static_assert(std::is_same_v<Scalar, float>);
  if constexpr (matrix_unit::is_fast<Eigen::bfloat16>)
    matrix_unit::with_best<Eigen::bfloat16>([&](auto unit) { multiply_on_unit(unit, product, threads, epilogue); });
  else
    multiply_rounded_copies(product, threads, epilogue);
}

EIGENFORMER_FLOAT(void multiply_bfloat16(const Product<float>&, Threads*, BlockCallback));

/// Throws because matrices of doubles or integers cannot be multiplied in this precision.
[[noreturn]] EIGENFORMER_COLD inline void fail_of_precision(Precision precision) {
  fail("matmul: the precision is ", to_string(precision),
       ", but the matrices are not of floats; expected precision float32");
}

/// Computes C = start + A B in parallel, in the precision of the options. Calls epilogue(first row, rows, first column,
/// columns) for each block of C as soon as it is computed, while it is still in the cache. Throws if the precision is
/// bfloat16 and Scalar is not float.
template <class Scalar, class Epilogue>
void multiply(const Product<Scalar>& product, const ProductOptions& options, Epilogue epilogue) {
  if (options.precision == Precision::float32) return multiply<Scalar>(product, options.threads, epilogue);
  if constexpr (std::is_same_v<Scalar, float>)
    multiply_bfloat16<float>(product, options.threads, epilogue);
  else
    fail_of_precision(options.precision);
}
/// Computes C = start + A B in parallel, in the precision of the options. Throws if the precision is bfloat16 and
/// Scalar is not float.
template <class Scalar>
void multiply(const Product<Scalar>& product, const ProductOptions& options) {
  multiply<Scalar>(product, options, [](Index, Index, Index, Index) {});
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
