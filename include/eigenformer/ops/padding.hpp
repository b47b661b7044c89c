// Differentiable conversions between ragged rows and padded tensors, and layers on padded tensors.
#pragma once

#include <span>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/ops/detail/sequences.hpp"
#include "eigenformer/tensors/padding.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns the first rows of each sequence one under another: [tokens x width]. padded: [batch x longest x width].
/// lengths: of each sequence. Padding has no gradient. Throws if they do not fit.
template <class Scalar>
Variable<Scalar> unpad(const Context<Scalar>& context, const Variable<Scalar>& padded, std::span<const Index> lengths) {
  const RowOffsets rows = RowOffsets::from_lengths(lengths);
  const Matrix<Scalar> values = unpad(padded.tensor(), lengths);
  Variable<Scalar> y = context.new_matrix(values.rows(), values.cols());
  y.writable() = values;
  return context.record(std::move(y), {padded}, [padded, rows](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(padded, [&](MatrixMap<Scalar> d_padded) {
      d_padded.setZero();
      const Index longest = padded.sizes()[1];
      for (Index s = 0; s < rows.sequences(); ++s)
        d_padded.middleRows(s * longest, rows.length(s)) = d_y.value().middleRows(rows.begin(s), rows.length(s));
    });
  });
}

/// Returns a tensor [batch x longest x width]: each matrix holds a sequence's rows, and `value` below them. longest: at
/// least the length of the longest sequence; by default just that. Throws if they do not fit.
template <class Scalar>
Variable<Scalar> pad(const Context<Scalar>& context, const Variable<Scalar>& rows, const RowOffsets& given,
                     std::type_identity_t<Scalar> value = 0, Index longest = 0) {
  detail::check_has_sequences("pad", "rows", rows, given);
  const RowOffsets offsets = given.for_rows(rows.rows(), "pad", "rows");
  if (longest == 0) longest = offsets.max_length();
  check(longest >= offsets.max_length(), "pad: longest is ", longest, ", a sequence has ", offsets.max_length(),
        " rows");
  Variable<Scalar> y = context.new_tensor({offsets.sequences(), longest, rows.cols()});
  for (Index s = 0; s < offsets.sequences(); ++s) {
    const Index n = offsets.length(s);
    y.writable().middleRows(s * longest, n) = rows.value().middleRows(offsets.begin(s), n);
    y.writable().middleRows(s * longest + n, longest - n).setConstant(value);
  }
  return context.record(std::move(y), {rows},
                        [rows, offsets, longest](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          tape.add_gradient(rows, [&](MatrixMap<Scalar> d_rows) {
                            for (Index s = 0; s < offsets.sequences(); ++s)
                              d_rows.middleRows(offsets.begin(s), offsets.length(s)) =
                                  d_y.value().middleRows(s * longest, offsets.length(s));
                          });
                        });
}

/// Runs a layer on a padded batch. Returns what layer(context, rows, offsets, more ..) gives for the sequences' rows,
/// as a tensor [batch x longest x the result's width] with zeros for padding. Padding takes no part in the computation,
/// and results are bit-identical to those of ragged rows.
///
///   Variable<float> y = call_padded(context, encoder, x, lengths, ef::Causal{});
///
/// x: [batch x longest x width]. lengths: of each sequence. layer: takes a context, rows and RowOffsets.
template <class Scalar, class Layer, class... More>
Variable<Scalar> call_padded(const Context<Scalar>& context, const Layer& layer, const Variable<Scalar>& x,
                             std::span<const Index> lengths, const More&... more) {
  detail::check_padded("call_padded", x.sizes(), lengths);
  const RowOffsets offsets = RowOffsets::from_lengths(lengths);
  const Variable<Scalar> y = layer(context, unpad(context, x, lengths), offsets, more...);
  return pad(context, y, offsets, 0, x.sizes()[1]);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
