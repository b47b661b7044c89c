// What the kernels that go along rows are written in: a row is taken in pieces of one fixed size.
//
// Eigen's own row expressions begin a vector loop where memory happens to be aligned and leave the ends to scalar code,
// whose exp differs in the last digit: an entry's result would depend on where its row lies in a batch. Here every
// piece begins at a multiple of its size from the row's begin, and what is left at the end is padded to a whole piece,
// so that equal rows give equal results wherever they lie.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <type_traits>

#include "eigenformer/core/detail/fast_math.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A cache line: a whole number of vector registers of any instruction set.
template <class Scalar>
inline constexpr Index piece_size = 64 / static_cast<Index>(sizeof(Scalar));

/// A piece of a row, worked on at once.
template <class Scalar>
using RowPiece = Eigen::Array<Scalar, static_cast<int>(piece_size<Scalar>), 1>;

/// The size of a whole piece, as a type: loads and stores of it need no loop.
template <class Scalar>
using WholePiece = std::integral_constant<Index, piece_size<Scalar>>;

template <class Scalar>
RowPiece<Scalar> load(const Scalar* from, WholePiece<Scalar>, Scalar = 0) {
  return Eigen::Map<const RowPiece<Scalar>>(from);
}
/// The last `count` entries of a row, and `padding` after them.
template <class Scalar>
RowPiece<Scalar> load(const Scalar* from, Index count, Scalar padding = 0) {
  RowPiece<Scalar> lanes = RowPiece<Scalar>::Constant(padding);
  for (Index k = 0; k < count; ++k) lanes[k] = from[k];
  return lanes;
}

template <class Scalar>
void store(Scalar* to, WholePiece<Scalar>, const RowPiece<Scalar>& lanes) {
  Eigen::Map<RowPiece<Scalar>>{to} = lanes;
}
template <class Scalar>
void store(Scalar* to, Index count, const RowPiece<Scalar>& lanes) {
  for (Index k = 0; k < count; ++k) to[k] = lanes[k];
}

/// Calls body(begin, count) for the pieces of 0 .. size - 1; count is an WholePiece, or the number of entries left.
/// Inlined always: GCC otherwise keeps a body's sums in memory (softmax of 512 columns: 1.1 instead of 0.9 ns an
/// entry).
template <class Scalar, class Body>
EIGEN_ALWAYS_INLINE void for_each_piece(Index size, Body body) {
  Index j = 0;
  for (; j + piece_size<Scalar> <= size; j += piece_size<Scalar>) body(j, WholePiece<Scalar>{});
  if (j < size) body(j, size - j);
}

/// The larger of x and y, entry by entry. x: an array or an expression; y: another, or a number.
template <class X, class Y>
EIGEN_ALWAYS_INLINE auto maximum(const X& x, const Y& y) {
  return (x.max)(y);
}
/// The smaller of x and y, entry by entry.
template <class X, class Y>
EIGEN_ALWAYS_INLINE auto minimum(const X& x, const Y& y) {
  return (x.min)(y);
}

/// What sums of many terms are kept in: double at least.
template <class Scalar>
using Sum = decltype(Scalar{} + double{});

/// Sums over a row: add(lanes, begin, count) adds a piece's terms to each of as many RowPiece.
/// RowPiece are added up every 64 pieces, in double, so that a long row's error is not much more than a short one's.
template <class Scalar, std::size_t sums, class Add>
EIGEN_ALWAYS_INLINE std::array<Sum<Scalar>, sums> row_sums(Index size, Add add) {
  constexpr Index stretch = 64 * piece_size<Scalar>;
  std::array<Sum<Scalar>, sums> total{};
  for (Index begin = 0; begin < size; begin += stretch) {
    std::array<RowPiece<Scalar>, sums> lanes;
    for (RowPiece<Scalar>& l : lanes) l.setZero();
    for_each_piece<Scalar>(std::min<Index>(stretch, size - begin),
                           [&](Index j, auto count) { add(lanes, begin + j, count); });
    for (std::size_t k = 0; k < sums; ++k) total[k] += static_cast<Sum<Scalar>>(lanes[k].sum());
  }
  return total;
}

/// The sum of term(begin, count) over a row's pieces.
template <class Scalar, class Term>
Sum<Scalar> row_sum(Index size, Term term) {
  static_assert(std::is_same_v<decltype(term(Index{}, Index{})), RowPiece<Scalar>>,
                "an expression would outlive its parts");
  return row_sums<Scalar, 1>(size, [&](auto& lanes, Index j, auto count) { lanes[0] += term(j, count); })[0];
}

/// The largest entry, -inf of none. A NaN may or may not be passed over.
template <class Scalar>
Scalar row_max(const Scalar* x, Index size) {
  constexpr Scalar nothing = -std::numeric_limits<Scalar>::infinity();
  RowPiece<Scalar> largest = RowPiece<Scalar>::Constant(nothing);
  for_each_piece<Scalar>(size, [&](Index j, auto count) { largest = maximum(largest, load(x + j, count, nothing)); });
  return largest.maxCoeff();
}

/// exp(x), and exactly 0 where it would be less than the smallest normal number: Eigen's exp gives exp(-88) for
/// -inf. To be called with x <= 0, or only a little larger; NaN stays NaN.
template <class Scalar>
RowPiece<Scalar> exp_or_zero(const RowPiece<Scalar>& x) {
  using Limits = std::numeric_limits<Scalar>;
  constexpr Scalar lowest = static_cast<Scalar>((Limits::min_exponent - 1) * 0.69314718055994530942);
  return maximum(maximum(x, lowest).exp() - 2 * (Limits::min)(), Scalar(0));
}

/// 1 where x > 0, else 0 (for denormal x something between); NaN stays NaN. Eigen 3.4 does not vectorise comparisons.
template <class Scalar>
RowPiece<Scalar> step(const RowPiece<Scalar>& x) {
  return minimum(maximum(x * (std::numeric_limits<Scalar>::max)(), Scalar(0)), Scalar(1));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
