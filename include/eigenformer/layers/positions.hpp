// Position encodings of a Transformer: the list of all, and the layer for those that are added to embeddings.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/layers/initialize.hpp"
#include "eigenformer/ops/arithmetic.hpp"
#include "eigenformer/ops/positions.hpp"
#include "eigenformer/ops/rows.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Position encodings. Only `learned` limits the length of a sequence. Where each is applied:
///
///   sinusoidal, sinusoidal_concatenated, learned   added to the embeddings: see Positions
///   relative                                       in self-attention: see MultiHeadAttention
///   bucketed, alibi, rotary                        in self-attention: see AttentionPositions
enum class PositionEncoding {
  none,
  sinusoidal,               // Vaswani et al. 2017, section 3.5: sines and cosines interleaved
  sinusoidal_concatenated,  // the same authors' code (tensor2tensor): all sines, then all cosines
  learned,                  // Gehring et al. 2017, arXiv 1705.03122
  relative,                 // Shaw et al. 2018, arXiv 1803.02155: a vector per clipped distance
  bucketed,                 // Raffel et al. 2020, arXiv 1910.10683 (T5): a bias per range of distances and head
  alibi,                    // Press et al. 2021, arXiv 2108.12409: a slope per head
  rotary                    // Su et al. 2021, arXiv 2104.09864: rotates queries and keys
};

constexpr auto enum_names(PositionEncoding) {
  return std::to_array<EnumName<PositionEncoding>>(
      {{PositionEncoding::none, "none"},
       {PositionEncoding::sinusoidal, "sinusoidal"},
       {PositionEncoding::sinusoidal_concatenated, "sinusoidal_concatenated"},
       {PositionEncoding::learned, "learned"},
       {PositionEncoding::relative, "relative"},
       {PositionEncoding::bucketed, "bucketed"},
       {PositionEncoding::alibi, "alibi"},
       {PositionEncoding::rotary, "rotary"}});
}

/// All values of PositionEncoding.
inline constexpr auto position_encodings = values_of<PositionEncoding>();

/// Returns the encodings of positions first .. first + positions - 1: [positions x width]. Throws unless `encoding` is
/// one of the two sinusoidal ones, or if positions or width is negative.
///
///   sinusoidal               PE(p, 2i) = sin(a),  PE(p, 2i + 1) = cos(a),         a = p / 10000^(2i / width)
///   sinusoidal_concatenated  PE(p, i) = sin(a),   PE(p, width / 2 + i) = cos(a),  a = p / 10000^(i / (width / 2 - 1))
///
/// The longest wavelength of the concatenated form is exactly 2 pi 10000. If width is odd, the last column is a sine
/// without its cosine in the interleaved form, and zero in the concatenated form.
template <class Scalar>
Matrix<Scalar> sinusoidal_positions(Index first, Index positions, Index width, PositionEncoding encoding) {
  const bool interleaved = encoding == PositionEncoding::sinusoidal;
  check(interleaved || encoding == PositionEncoding::sinusoidal_concatenated, "sinusoidal_positions: the encoding is ",
        to_string(encoding), ", expected a sinusoidal one");
  check(positions >= 0 && width >= 0, "sinusoidal_positions: ", positions, " positions of width ", width,
        ", expected 0 or more of both");
  Matrix<Scalar> table = Matrix<Scalar>::Zero(positions, width);
  const Index half = width / 2;
  const Index waves = interleaved ? (width + 1) / 2 : half;
  for (Index i = 0; i < waves; ++i) {
    const double exponent = interleaved ? 2 * static_cast<double>(i) / static_cast<double>(width)
                                        : static_cast<double>(i) / static_cast<double>(std::max<Index>(1, half - 1));
    const double frequency = std::pow(10000.0, -exponent);
    const Index sine = interleaved ? 2 * i : i;
    const Index cosine = interleaved ? 2 * i + 1 : half + i;
    for (Index p = 0; p < positions; ++p) {
      const double angle = static_cast<double>(first + p) * frequency;
      table(p, sine) = static_cast<Scalar>(std::sin(angle));
      if (cosine < width) table(p, cosine) = static_cast<Scalar>(std::cos(angle));
    }
  }
  return table;
}

/// Maximum number of positions whose encodings a model precomputes. Later ones are computed on demand.
inline constexpr Index max_stored_positions = 4096;

/// Returns how many positions of `width` numbers a model precomputes: at most max_length and max_stored_positions, and
/// no more than fit into 2^24 numbers, but at least one. So a wrong width in a model's file takes less memory.
inline Index stored_positions(Index max_length, Index width) {
  constexpr Index max_stored_numbers = Index{1} << 24;
  return std::min<Index>(
      {max_length, max_stored_positions, std::max<Index>(1, max_stored_numbers / std::max<Index>(width, 1))});
}

/// Adds position encodings to the rows of a ragged batch. Encodings that act in self-attention add nothing here.
template <class Scalar>
struct Positions {
  PositionEncoding encoding = PositionEncoding::none;
  Parameter<Scalar> weight;  // learned: [max_length x width]
  Matrix<Scalar> table;      // sinusoidal: precomputed for the first positions; later ones are computed on demand

  Positions() = default;
  /// Throws if max_length or width is negative.
  Positions(PositionEncoding chosen, Index max_length, Index width, Rng& rng);

  /// Adds the encodings to x: [tokens x width] -> [tokens x width]. Throws if the encoding is learned and a position
  /// exceeds the learned ones.
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x,
                              const RowOffsets& rows = {}) const;

  /// Adds the encodings of the given positions to x, for decoding step by step: [tokens x width] -> [tokens x width].
  /// positions: one per row of x, 0 or more. Throws unless there is one for each row. A learned encoding also throws
  /// for positions beyond its table.
  Variable<Scalar> at(const Context<Scalar>& context, const Variable<Scalar>& x,
                      std::span<const Index> positions) const;

  static void visit(auto& self, auto&& visitor) { visitor("weight", self.weight); }
};

template <class Scalar>
Positions<Scalar>::Positions(PositionEncoding chosen, Index max_length, Index width, Rng& rng) : encoding(chosen) {
  check(max_length >= 0 && width >= 0, "Positions: max_length is ", max_length, ", width is ", width,
        ", expected 0 or more");
  if (encoding == PositionEncoding::learned)
    weight = normal<Scalar>(max_length, width, 0.02, rng);  // as in Devlin et al. 2019
  else if (encoding == PositionEncoding::sinusoidal || encoding == PositionEncoding::sinusoidal_concatenated)
    table = sinusoidal_positions<Scalar>(0, stored_positions(max_length, width), width, encoding);
}

template <class Scalar>
Variable<Scalar> Positions<Scalar>::operator()(const Context<Scalar>& context, const Variable<Scalar>& x,
                                               const RowOffsets& rows) const {
  if (encoding == PositionEncoding::learned) {
    const Index longest = rows.for_rows(x.rows(), "positions", "x").max_length();
    check(longest <= weight.value.rows(), "positions: a sequence has ", longest,
          " tokens, expected at most max_length, ", weight.value.rows());
    return add_positions(context, x, context.use(weight), rows);
  }
  if (encoding != PositionEncoding::sinusoidal && encoding != PositionEncoding::sinusoidal_concatenated) return x;
  const Index positions = rows.for_rows(x.rows(), "positions", "x").max_length();
  if (positions <= table.rows()) return add_positions(context, x, Variable<Scalar>::view(table), rows);
  const Matrix<Scalar> longer = sinusoidal_positions<Scalar>(0, positions, x.cols(), encoding);
  return add_positions(context, x, Variable<Scalar>(longer), rows);
}

template <class Scalar>
Variable<Scalar> Positions<Scalar>::at(const Context<Scalar>& context, const Variable<Scalar>& x,
                                       std::span<const Index> positions) const {
  check(static_cast<Index>(positions.size()) == x.rows(), "positions: x is ", shape(x), ", given ", positions.size(),
        " positions");
  if (encoding == PositionEncoding::learned) {
    for (const Index position : positions)
      check(position >= 0 && position < weight.value.rows(), "positions: there is no position ", position,
            ", expected 0 or more and less than max_length, ", weight.value.rows());
    return add(context, x, gather_rows(context, context.use(weight), positions));
  }
  if (encoding != PositionEncoding::sinusoidal && encoding != PositionEncoding::sinusoidal_concatenated) return x;
  if (std::all_of(positions.begin(), positions.end(), [&](Index position) { return position < table.rows(); }))
    return add(context, x, gather_rows(context, Variable<Scalar>::view(table), positions));
  Variable<Scalar> later = context.new_matrix(x.rows(), x.cols());
  for (Index i = 0; i < x.rows(); ++i)
    later.writable().row(i) =
        sinusoidal_positions<Scalar>(positions[static_cast<std::size_t>(i)], 1, x.cols(), encoding);
  return add(context, x, later);
}

EIGENFORMER_TEMPLATE(struct Positions);

}  // namespace eigenformer::inline EIGENFORMER_ABI
