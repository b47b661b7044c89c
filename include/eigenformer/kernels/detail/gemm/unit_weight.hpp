// Low-precision weights, packed for a matrix unit, and their product with float activations.
//
// A task computes a block of the result. It converts the rows of x to the type of the weight, piece by piece,
// multiplies them on the unit, and scales the sums. The unit adds products in an order that does not depend on the
// number of rows, so a row's result does not depend on other rows.
#pragma once

#include <cstdint>
#include <span>

#include "eigenformer/core/matrix_unit_packing.hpp"
#include "eigenformer/kernels/detail/gemm/unit_rows.hpp"
#include "eigenformer/kernels/detail/gemm/widened_weight.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A weight [outputs x inputs] of T, as the right operand of a matrix unit. T is bfloat16 or int8.
template <class T>
class UnitWeight {
 public:
  using Rows = UnitRows<T>;

  UnitWeight() = default;
  explicit UnitWeight(const ConstMatrixRef<float>& weight)
      : inputs_(weight.cols()),
        steps_(matrix_unit::steps_for<T>(inputs_)),
        blocks_(Matrix<T>::Zero(matrix_unit::blocks_for(weight.rows()), steps_ * step_size)),
        scales_(Matrix<float>::Zero(1, blocks_.rows() * matrix_unit::block)) {
    Matrix<T> converted(1, inputs_);
    for (Index r = 0; r < weight.rows(); ++r) {
      const float* const row = weight.data() + r * weight.outerStride();
      scales_(0, r) = Rows::scale(row, inputs_);
      Rows::convert(row, inputs_, scales_(0, r), converted.data());
      for (Index k = 0; k < inputs_; ++k) blocks_.data()[place(r, k)] = converted(0, k);
    }
  }

  std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span(blocks_.data(), static_cast<std::size_t>(blocks_.size())));
  }
  /// Writes a row of the weight as floats.
  void copy_row(Index r, float* to) const {
    for (Index k = 0; k < inputs_; ++k) to[k] = static_cast<float>(blocks_.data()[place(r, k)]) * scales_(0, r);
  }

  /// Writes y. Calls epilogue(block) for each finished block of y.
  template <class Epilogue>
  void multiply(const LinearOperands& operands, Threads* threads, Epilogue& epilogue) const {
    matrix_unit::with_best<T>([&](auto unit) { multiply_on(unit, operands, threads, epilogue); });
  }

  /// Writes y, computed on a given unit.
  template <class Unit, class Epilogue>
  void multiply_on(Unit, LinearOperands operands, Threads* threads, Epilogue& epilogue) const {
    const ConstMatrixRef<float>&x = operands.x, &bias = operands.bias;
    MatrixRef<float>& y = operands.y;
    // If there are few rows, threads share the columns. Otherwise wide tasks convert x less often.
    const Index task_cols = y.rows() <= task_rows ? max_cols / 2 : max_cols;
    const Index row_tasks = (y.rows() + task_rows - 1) / task_rows, col_tasks = (y.cols() + task_cols - 1) / task_cols;
    parallel_for(threads, row_tasks * col_tasks, 1, [&](Index task, Index) {
      const Index i = task / col_tasks * task_rows, j = task % col_tasks * task_cols;
      const Index rows = std::min<Index>(task_rows, y.rows() - i), cols = std::min<Index>(task_cols, y.cols() - j);
      MatrixRef<float> block(y.block(i, j, rows, cols));
      multiply_block<Unit>({.x = {x.data() + i * x.outerStride(), x.outerStride()},
                            .bias = bias.size() == 0 ? nullptr : bias.data() + j,
                            .y = {block.data(), block.outerStride()},
                            .rows = rows,
                            .first = j,
                            .cols = cols});
      epilogue(block);
    });
  }

 private:
  static constexpr Index n = matrix_unit::block, depth = matrix_unit::depth<T>, step_size = matrix_unit::step_size<T>;
  static constexpr Index task_rows = 4 * n, max_cols = 16 * n;  // of a task
  static constexpr Index piece_steps = 16;                      // steps that are converted and multiplied at a time

  /// A block of the result: `rows` rows, and `cols` outputs from `first` on.
  struct Block {
    ContiguousRows<const float> x;
    const float* bias;  // of output `first`; or null
    ContiguousRows<float> y;
    Index rows, first, cols;
  };

  /// Returns the index of the entry of output r and input k in blocks_.
  Index place(Index r, Index k) const {
    constexpr Index group = matrix_unit::group<T>;
    return (r / n * steps_ + k / depth) * step_size + k % depth / group * depth + r % n * group + k % group;
  }

  template <class Unit>
  void multiply_block(const Block& block) const {
    const typename Unit::Session session;
    alignas(64) T rows[task_rows * piece_steps * depth];
    alignas(64) matrix_unit::SumOf<T> sums[task_rows * max_cols];
    float row_scales[task_rows];
    for (Index i = 0; i < block.rows; ++i) row_scales[i] = Rows::scale(block.x.row(i), inputs_);
    const Index row_blocks = matrix_unit::blocks_for(block.rows);
    for (Index step = 0; step == 0 || step < steps_; step += piece_steps) {
      const Index steps = std::min<Index>(piece_steps, steps_ - step), input = step * depth;
      const Index inputs = std::min<Index>(inputs_ - input, steps * depth);
      for (Index i = 0; i < row_blocks * n; ++i) {
        T* const to = rows + i / n * steps * step_size + i % n * depth;
        if (i < block.rows)
          convert_row(block.x.row(i) + input, inputs, row_scales[i], to);
        else
          for (Index s = 0; s < steps; ++s) std::fill_n(to + s * step_size, depth, T(0));
      }
      matrix_unit::multiply_rows<Unit>(
          block.rows, matrix_unit::blocks_for(block.cols),
          {.steps = steps,
           .a = {rows, depth, step_size, steps * step_size},
           .b = {blocks_.data() + (block.first / n * steps_ + step) * step_size, blocks_.cols()},
           .c = {sums, n, n * n, row_blocks * n * n},
           .accumulates = step > 0});
    }
    for (Index j = 0; j < block.cols; j += n)
      for (Index i = 0; i < block.rows; ++i) finish(sums + j * row_blocks * n + i * n, row_scales[i], block, i, j);
  }

  /// Converts a piece of a row to steps of a block of A. Pads the last step with zeros.
  static void convert_row(const float* from, Index size, float scale, T* to) {
    for (; size > 0; size -= depth, from += depth, to += step_size) {
      const Index count = std::min<Index>(size, depth);
      Rows::convert(from, count, scale, to);
      if (count < depth) std::fill(to + count, to + depth, T(0));
    }
  }

  /// Writes up to 16 results of row i from column j of the block on.
  void finish(const matrix_unit::SumOf<T>* sums, float row_scale, const Block& block, Index i, Index j) const {
    const float* const scales = scales_.data() + block.first + j;
    const Index count = std::min<Index>(n, block.cols - j);
    float results[n];
    for (Index l = 0; l < n; ++l) results[l] = static_cast<float>(sums[l]) * (row_scale * scales[l]);
    float* const to = block.y.row(i) + j;
    for (Index l = 0; l < count; ++l) to[l] = block.bias == nullptr ? results[l] : results[l] + block.bias[j + l];
  }

  Index inputs_ = 0;
  Index steps_ = 0;       // of the unit, over all inputs
  Matrix<T> blocks_;      // a row per block of 16 outputs
  Matrix<float> scales_;  // [1 x outputs, padded to whole blocks]
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
