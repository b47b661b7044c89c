// Low-precision weights, packed for a matrix unit, and their product with float activations.
//
// A task computes a block of the result. It converts the rows of x to the type of the weight, piece by piece,
// multiplies them on the unit, and scales the sums. The unit adds products in an order that does not depend on the
// number of rows, so a row's result does not depend on other rows.
#pragma once

#include <cstddef>
#include <span>

#include "eigenformer/core/matrix_unit_packing.hpp"
#include "eigenformer/kernels/detail/gemm/unit_rows.hpp"
#include "eigenformer/kernels/detail/gemm/widened_weight.hpp"
#include "eigenformer/kernels/detail/tile_memory.hpp"

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
    // Without threads, a task takes all columns, so its rows are converted only once. With threads, tasks share the
    // columns; if there are many rows, wide tasks convert x less often.
    const Index shared_cols = y.rows() <= task_rows ? max_cols / 2 : max_cols;
    const Index task_cols = threads == nullptr ? std::max<Index>(1, y.cols()) : shared_cols;
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
  static constexpr Index task_rows = 4 * n, max_cols = 16 * n;  // max_cols: of a task that shares its rows with others
  static constexpr Index piece_steps = 32;                      // steps that are converted and multiplied at a time
  static constexpr Index step_bytes = depth * static_cast<Index>(sizeof(T));  // of a row

  /// A block of the result: `rows` rows, and `cols` outputs from `first` on.
  struct Block {
    ContiguousRows<const float> x;
    const float* bias;  // of output `first`; or null
    ContiguousRows<float> y;
    Index rows, first, cols;

    /// Returns the part of the block with `count` columns from column j on.
    Block columns(Index j, Index count) const {
      return {x, bias == nullptr ? nullptr : bias + j, y.from(0, j), rows, first + j, count};
    }
  };

  using Sums = matrix_unit::SumOf<T>;
  /// A piece of the rows of a block, converted to T.
  struct ConvertedRows {
    ConvertedRows() : values(task_rows * piece_steps * depth) {}
    const TileMemory<T, task_rows * piece_steps * step_bytes> values;
    float scales[task_rows];
    Sums terms_memory[task_rows];
    const Sums* terms;  // see matrix_unit::row_terms
  };

  /// Returns the index of the entry of output r and input k in blocks_.
  Index place(Index r, Index k) const {
    constexpr Index group = matrix_unit::group<T>;
    return (r / n * steps_ + k / depth) * step_size + k % depth / group * depth + r % n * group + k % group;
  }

  template <class Unit>
  void multiply_block(const Block& block) const {
    const typename Unit::Session session;
    ConvertedRows rows;
    alignas(64) Sums sums[task_rows * max_cols];
    for (Index i = 0; i < block.rows; ++i) rows.scales[i] = Rows::scale(block.x.row(i), inputs_);
    // Narrow parts keep their sums in the L1 cache. But if the rows have several pieces, each part converts all pieces
    // again, so wide parts are better.
    const bool has_pieces = steps_ > piece_steps;
    const Index part_cols = has_pieces ? max_cols : 8 * n;
    if (!has_pieces) convert_piece<Unit>(block, 0, rows);
    for (Index j = 0; j < block.cols; j += part_cols) {
      const Block part = block.columns(j, std::min<Index>(part_cols, block.cols - j));
      for (Index step = 0; step == 0 || step < steps_; step += piece_steps) {
        if (has_pieces) convert_piece<Unit>(block, step, rows);
        multiply_piece<Unit>(part, step, rows, sums);
      }
      finish(sums, rows.scales, part);
    }
  }

  /// Returns the number of steps of the piece that begins at `step`.
  Index piece_size(Index step) const { return std::min<Index>(piece_steps, steps_ - step); }
  /// Returns a converted piece as the left operand of the unit.
  static matrix_unit::LeftBlocks<T> left_blocks(const ConvertedRows& rows, Index steps) {
    return {rows.values.data(), depth, step_size, steps * step_size};
  }

  /// Converts one piece, which begins at `step`, of all rows of a block. Pads blocks of rows with zeros.
  template <class Unit>
  void convert_piece(const Block& block, Index step, ConvertedRows& rows) const {
    const Index steps = piece_size(step), input = step * depth, row_blocks = matrix_unit::blocks_for(block.rows);
    const Index inputs = std::min<Index>(inputs_ - input, steps * depth);
    for (Index i = 0; i < row_blocks * n; ++i) {
      T* const to = rows.values.data() + i / n * steps * step_size + i % n * depth;
      if (i < block.rows)
        convert_row(block.x.row(i) + input, inputs, rows.scales[i], to);
      else
        for (Index s = 0; s < steps; ++s) std::fill_n(to + s * step_size, depth, T(0));
    }
    rows.terms = matrix_unit::row_terms<Unit>(row_blocks, left_blocks(rows, steps), steps, rows.terms_memory);
  }

  /// Adds the products of a converted piece of rows to the sums, or writes them if it is the first piece.
  template <class Unit>
  void multiply_piece(const Block& block, Index step, const ConvertedRows& rows, Sums* sums) const {
    const Index steps = piece_size(step);
    matrix_unit::multiply_rows<Unit>(
        block.rows, matrix_unit::blocks_for(block.cols),
        {.steps = steps,
         .a = left_blocks(rows, steps),
         .b = {blocks_.data() + (block.first / n * steps_ + step) * step_size, blocks_.cols()},
         .c = {sums, n, n * n, matrix_unit::blocks_for(block.rows) * n * n},
         .accumulates = step > 0,
         .row_terms = rows.terms});
  }

  /// Converts a piece of a row to steps of a block of A. Pads the last step with zeros.
  static void convert_row(const float* from, Index size, float scale, T* to) {
    for (; size > 0; size -= depth, from += depth, to += step_size) {
      const Index count = std::min<Index>(size, depth);
      Rows::convert(from, count, scale, to);
      if (count < depth) std::fill(to + count, to + depth, T(0));
    }
  }

  /// Scales the sums of a block, and writes its results.
  void finish(const Sums* sums, const float* row_scales, const Block& block) const {
    const Index row_blocks = matrix_unit::blocks_for(block.rows);
    // Row by row: results of many rows may map to one set of the L1 cache and evict each other.
    for (Index i = 0; i < block.rows; ++i)
      for (Index j = 0; j < block.cols; j += n) finish(sums + (j * row_blocks + i) * n, row_scales[i], block, i, j);
  }
  /// Writes up to 16 results of row i from column j of the block on.
  void finish(const Sums* sums, float row_scale, const Block& block, Index i, Index j) const {
    const float* const scales = scales_.data() + block.first + j;
    const Index count = std::min<Index>(n, block.cols - j);
    // The product of two scales may overflow or be subnormal although the result is neither. So sums are multiplied by
    // one scale after the other. A sum is an integer, so it is 0 or at least 1. A row scale below 1 is
    // multiplied first, a larger one last. Then an intermediate product overflows or vanishes only if the result does.
    const auto first = simd::broadcast(row_scale < 1 ? row_scale : 1),
               last = simd::broadcast(row_scale < 1 ? 1 : row_scale);
    alignas(64) float results[n];
    float* const to = block.y.row(i) + j;
    float* const written = count == n ? to : results;
    for (Index l = 0; l < n; l += simd::lanes<float>) {
      const auto scaled = simd::multiply(simd::multiply(float_sums(sums + l), first), simd::load(scales + l));
      simd::store(written + l, simd::multiply(scaled, last));
    }
    if (count < n) std::copy_n(results, count, to);
    if (block.bias != nullptr)
      for (Index l = 0; l < count; ++l) to[l] += block.bias[j + l];
  }
  /// Loads a packet of sums as floats.
  static simd::Packet<float> float_sums(const float* sums) { return simd::load(sums); }
  template <class P = simd::Packet<float>>  // a template, because a scalar has no integer_packet
  static P float_sums(const std::int32_t* sums) {
    if constexpr (std::is_same_v<P, float>) {
      return static_cast<float>(*sums);
    } else {
      using Integers = typename Eigen::internal::unpacket_traits<P>::integer_packet;
      return Eigen::internal::pcast<Integers, P>(Eigen::internal::ploadu<Integers>(sums));
    }
  }

  Index inputs_ = 0;
  Index steps_ = 0;       // of the unit, over all inputs
  Matrix<T> blocks_;      // a row per block of 16 outputs
  Matrix<float> scales_;  // [1 x outputs, padded to whole blocks]
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
