// Conversions between ragged batches, whose sequences' rows lie one under another, and padded ones, [batch x longest x
// width].
#pragma once

#include <span>

#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/core/tensor.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns a tensor [batch x longest x width]: each matrix holds a sequence's rows, and `value` below them. rows:
/// [tokens x width], any Eigen matrix or expression. Throws if the offsets are for another number of rows.
template <class Derived>
Tensor<typename Derived::Scalar> pad(const Eigen::MatrixBase<Derived>& rows, const RowOffsets& offsets,
                                     const std::type_identity_t<typename Derived::Scalar>& value) {
  const RowOffsets sequences = offsets.for_rows(rows.rows(), "pad", "rows");
  Tensor<typename Derived::Scalar> padded({sequences.sequences(), sequences.max_length(), rows.cols()}, value);
  for (Index s = 0; s < sequences.sequences(); ++s)
    padded.matrix(s).topRows(sequences.length(s)) = rows.middleRows(sequences.begin(s), sequences.length(s));
  return padded;
}

namespace detail {

/// Throws unless `padded` is the shape of a padded batch of sequences of these lengths.
inline void check_padded(const char* where, const Sizes& padded, std::span<const Index> lengths) {
  check(padded.rank() == 3, where, ": the tensor is ", padded, ", expected [batch x longest x width]");
  check(static_cast<Index>(lengths.size()) == padded[0], where, ": the number of lengths is ", lengths.size(),
        ", the tensor is ", padded, ", expected ", padded[0]);
  const Index longest = RowOffsets::from_lengths(lengths).max_length();
  check(longest <= padded[1], where, ": a sequence has ", longest, " rows, the tensor is ", padded,
        ", expected at most ", padded[1], " rows");
}

}  // namespace detail

/// Returns the first rows of each sequence one under another: [tokens x width]. padded: [batch x longest x width].
/// lengths: of each sequence. Throws unless there are `batch` lengths, each at most `longest`.
template <class Scalar>
Matrix<std::remove_const_t<Scalar>> unpad(const TensorView<Scalar>& padded, std::span<const Index> lengths) {
  detail::check_padded("unpad", padded.shape(), lengths);
  const RowOffsets offsets = RowOffsets::from_lengths(lengths);
  Matrix<std::remove_const_t<Scalar>> rows(offsets.rows(), padded.shape()[2]);
  for (Index s = 0; s < offsets.sequences(); ++s)
    rows.middleRows(offsets.begin(s), offsets.length(s)) = padded.matrix(s).topRows(offsets.length(s));
  return rows;
}
template <class Scalar>
Matrix<Scalar> unpad(const Tensor<Scalar>& padded, std::span<const Index> lengths) {
  return unpad(padded.view(), lengths);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
