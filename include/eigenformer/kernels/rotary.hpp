// Rotary position embeddings (Su et al. 2021, arXiv 2104.09864, equation 34). Each pair of a head's features is rotated
// by an angle proportional to the position of the token. The product of a query and a key then depends on their
// distance, not on their positions.
#pragma once

#include <cmath>
#include <span>
#include <vector>

#include "eigenformer/kernels/detail/rows/row_blocks.hpp"
#include "eigenformer/kernels/rotary_scaling.hpp"
#include "eigenformer/kernels/rows.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// How the `width` rotated features of a head form pairs. Models differ, and weights trained with one pairing do not
/// work with the other.
enum class RotaryPairs {
  interleaved,  // 2i and 2i + 1: the paper
  halves        // i and i + width / 2: GPT-NeoX, and Llama in the format of Hugging Face
};

/// The cosines and sines of all angles, [positions x width / 2] each. One table serves any number of layers.
template <class Scalar>
struct RotaryTable {
  Matrix<Scalar> cos, sin;

  Index positions() const { return cos.rows(); }
  Index width() const { return 2 * cos.cols(); }
};

/// Returns the table of the angles p / base^(2i / width) of position p and pair i. The paper's base is 10000.
/// - width: number of rotated features per head
/// - first: position of the first row of the table; may be negative
/// - scaling: changes the frequencies; YaRN and longrope also multiply all cosines and sines by an attention factor.
///   The angle of a position does not depend on the number of positions: see RotaryScaling::sequence_length
///
/// Throws if positions is negative, and as rotary_frequencies does.
template <class Scalar>
RotaryTable<Scalar> rotary_table(Index positions, Index width, double base = 10000, Index first = 0,
                                 const RotaryScaling& scaling = {}) {
  check(positions >= 0, "rotary_table: positions is ", positions, ", expected 0 or more");
  const std::vector<double> frequencies = rotary_frequencies(width, base, scaling);
  const double factor = rotary_attention_factor(scaling);
  RotaryTable<Scalar> table{Matrix<Scalar>(positions, width / 2), Matrix<Scalar>(positions, width / 2)};
  for (Index i = 0; i < width / 2; ++i)
    for (Index p = 0; p < positions; ++p) {
      const double angle = static_cast<double>(first + p) * frequencies[static_cast<std::size_t>(i)];
      table.cos(p, i) = static_cast<Scalar>(factor * std::cos(angle));
      table.sin(p, i) = static_cast<Scalar>(factor * std::sin(angle));
    }
  return table;
}

/// Options of rotary position embeddings.
struct RotaryOptions {
  Index heads = 1;  // column blocks of x, all rotated alike
  RotaryPairs pairs = RotaryPairs::halves;
};

namespace detail {

/// The angles of the rows, and the direction of the rotation.
template <class Scalar>
struct Rotation {
  const RotaryTable<Scalar>& table;
  std::span<const Index> positions;  // one per row
  const RotaryOptions& options;
  Scalar direction;  // 1: by the angles of the positions; -1: back
};

/// Writes x, rotated, to y. x, y: [tokens x heads * width]; y may be x. Throws, before it writes, if shapes do not fit
/// or a position is not in the table.
template <class Scalar>
void apply_rotary(const ConstMatrixRef<Scalar>& x, const Rotation<Scalar>& rotation, MatrixRef<Scalar>& y,
                  Threads* threads) {
  const RotaryTable<Scalar>& table = rotation.table;
  const std::span<const Index> positions = rotation.positions;
  const RotaryOptions& options = rotation.options;
  const Scalar direction = rotation.direction;
  check_shape("rotary", "y", shape(y), shape(x));
  check_shape("rotary", "sin", shape(table.sin), shape(table.cos));
  check(static_cast<Index>(positions.size()) == x.rows(), "rotary: x is ", shape(x), ", positions has ",
        positions.size());
  check(options.heads >= 1 && x.cols() % options.heads == 0 && table.width() <= x.cols() / options.heads,
        "rotary: x is ", shape(x), ", expected ", options.heads, " heads of at least ", table.width(), " columns");
  check_ids("rotary", positions, table.positions());
  const Index width = x.cols() / options.heads;
  const Index half = table.width() / 2;
  const bool interleaved = options.pairs == RotaryPairs::interleaved;
  const Index step = interleaved ? 2 : 1;
  const Index partner = interleaved ? 1 : half;
  for_each_row(threads, x.rows(), x.cols(), [&](Index row) {
    const Index position = positions[static_cast<std::size_t>(row)];
    const Scalar* cos = row_begin(table.cos, position);
    const Scalar* sin = row_begin(table.sin, position);
    for (Index head = 0; head < options.heads; ++head) {
      const Scalar* from = row_begin(x, row) + head * width;
      Scalar* to = row_begin(y, row) + head * width;
      for (Index i = 0; i < half; ++i) {
        const Scalar a = from[i * step], b = from[i * step + partner];
        const Scalar s = direction * sin[i];
        to[i * step] = a * cos[i] - b * s;
        to[i * step + partner] = b * cos[i] + a * s;
      }
      for (Index i = 2 * half; i < width; ++i) to[i] = from[i];
    }
  });
}

}  // namespace detail

/// Applies rotary position embeddings: rotates the first table.width() features of each head by the angles of the
/// token's position, and copies the others to y. positions: for each token, its row of the table. If the table begins
/// at position 0, these are the positions themselves. x, y: [tokens x heads * width]; y may be x. Throws, before it
/// writes, if shapes do not fit or the table has no such row.
template <class Scalar>
void rotary_forward(const ConstMatrixRef<Scalar>& x, const RotaryTable<Scalar>& table, std::span<const Index> positions,
                    const RotaryOptions& options, MatrixRef<Scalar> y, Threads* threads = nullptr) {
  detail::apply_rotary<Scalar>(x, {table, positions, options, 1}, y, threads);
}

/// Writes the gradient of rotary_forward: d_x is d_y rotated back, times the attention factor of the scaling. d_y, d_x:
/// [tokens x heads * width]; d_x may be d_y. positions: see rotary_forward. Throws, before it writes, if shapes do not
/// fit or the table has no such row.
template <class Scalar>
void rotary_backward(const ConstMatrixRef<Scalar>& d_y, const RotaryTable<Scalar>& table,
                     std::span<const Index> positions, const RotaryOptions& options, MatrixRef<Scalar> d_x,
                     Threads* threads = nullptr) {
  detail::apply_rotary<Scalar>(d_y, {table, positions, options, -1}, d_x, threads);
}

/// Returns x with rotary position embeddings applied: [tokens x heads * width]. x: any Eigen matrix or expression of
/// this shape. positions: see rotary_forward. Throws if shapes do not fit or the table has no such row.
template <class Derived>
Matrix<typename Derived::Scalar> rotary(const Eigen::MatrixBase<Derived>& x,
                                        const RotaryTable<typename Derived::Scalar>& table,
                                        std::span<const Index> positions, const RotaryOptions& options = {},
                                        Threads* threads = nullptr) {
  Matrix<typename Derived::Scalar> y(x.rows(), x.cols());
  rotary_forward<typename Derived::Scalar>(x.derived(), table, positions, options, y, threads);
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
