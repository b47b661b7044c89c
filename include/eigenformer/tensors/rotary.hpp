// Rotary position embeddings of tensors [batch x heads x tokens x width]. They run the kernel of kernels/rotary.hpp.
//
//   const RotaryTable<float> table = rotary_table<float>(max_tokens, width);
//   Tensor<float> y = rotary(q, table, arange<Index>(tokens));    // the same positions in every sequence
#pragma once

#include <span>

#include "eigenformer/kernels/attention_options.hpp"
#include "eigenformer/kernels/rotary.hpp"
#include "eigenformer/tensors/detail/row_views.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Options of rotary position embeddings of tensors.
struct RotaryTensorOptions {
  RotaryPairs pairs = RotaryPairs::halves;
  AttentionDimensions dimensions = AttentionDimensions::batch_heads_tokens;
};

namespace detail {

/// Returns x, rotated by `kernel`, which is rotary_forward or rotary_backward.
template <class X, class Positions, class Kernel>
Tensor<ScalarOf<X>> rotated(X&& x, const Positions& positions, const RotaryTensorOptions& options, Kernel kernel) {
  static_assert(is_index<ScalarOf<Positions>>, "positions are whole numbers: Tensor<Index>");
  const Sizes sizes = shape_of(x);
  const bool heads_first = options.dimensions == AttentionDimensions::batch_heads_tokens;
  check(sizes.rank() >= 3, "rotary: x is ", sizes, ", expected ",
        heads_first ? "[batch x heads x tokens x width]" : "[batch x tokens x heads x width]");
  Sizes position_sizes = sizes;  // [batch x tokens]
  position_sizes.pop_back();
  position_sizes.erase(heads_first ? position_sizes.rank() - 2 : position_sizes.rank() - 1);
  const Evaluated evaluated(positions);
  const auto& given = evaluated.view();
  const bool fits =
      broadcasts(given.shape(), position_sizes) && broadcast_shapes(given.shape(), position_sizes) == position_sizes;
  check(fits, "rotary: x is ", sizes, ", positions is ", given.shape(), ", expected ", position_sizes,
        " or what broadcasts to it");

  // One position per row: rows are the tokens of one head, or those of all heads.
  Tensor<Index> of_rows = given.expand(position_sizes).template cast<Index>();
  if (heads_first) {
    Sizes row_sizes = sizes;
    row_sizes.pop_back();
    of_rows = Tensor<Index>(of_rows.unsqueeze(-2).expand(row_sizes));
  }
  const RowShape shape("rotary", sizes, heads_first ? Dimensions(-1) : Dimensions({-2, -1}));
  const RotaryOptions row_options{.heads = heads_first ? 1 : sizes[sizes.rank() - 2], .pairs = options.pairs};
  const std::span<const Index> row_positions(of_rows.data(), static_cast<std::size_t>(of_rows.size()));
  return map_rows(std::forward<X>(x), shape,
                  [&](const auto& from, const auto& to) { kernel(from, row_positions, row_options, to); });
}

}  // namespace detail

/// Returns x with rotary position embeddings applied: rotates the first table.width() features of each head by the
/// angles of the token's position. x: [batch x heads x tokens x width], or [batch x tokens x heads x width] (see
/// options.dimensions); a tensor, a view or an expression. positions: the rows of the table, [tokens] or
/// [batch x tokens], of any type of whole numbers. Throws if shapes do not fit or the table has no such row.
template <TensorLike X, TensorLike Positions>
Tensor<ScalarOf<X>> rotary(X&& x, const RotaryTable<ComputeType<ScalarOf<X>>>& table, const Positions& positions,
                           const RotaryTensorOptions& options = {}, Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<X>>;
  return detail::rotated(std::forward<X>(x), positions, options,
                         [&](const auto& from, auto row_positions, const RotaryOptions& row_options, const auto& to) {
                           rotary_forward<Compute>(from, table, row_positions, row_options, to, threads);
                         });
}
/// Returns x with rotary position embeddings applied. positions: one for each token, the same for every sequence.
template <TensorLike X>
Tensor<ScalarOf<X>> rotary(X&& x, const RotaryTable<ComputeType<ScalarOf<X>>>& table, std::span<const Index> positions,
                           const RotaryTensorOptions& options = {}, Threads* threads = nullptr) {
  const TensorView<const Index> view(positions, {static_cast<Index>(positions.size())});
  return rotary(std::forward<X>(x), table, view, options, threads);
}

/// Returns the gradient of rotary: d_y rotated back. positions: see rotary. Throws if shapes do not fit or the table
/// has no such row.
template <TensorLike D, TensorLike Positions>
Tensor<ScalarOf<D>> rotary_backward(D&& d_y, const RotaryTable<ComputeType<ScalarOf<D>>>& table,
                                    const Positions& positions, const RotaryTensorOptions& options = {},
                                    Threads* threads = nullptr) {
  using Compute = ComputeType<ScalarOf<D>>;
  return detail::rotated(std::forward<D>(d_y), positions, options,
                         [&](const auto& from, auto row_positions, const RotaryOptions& row_options, const auto& to) {
                           rotary_backward<Compute>(from, table, row_positions, row_options, to, threads);
                         });
}
/// Returns the gradient of rotary. positions: one for each token, the same for every sequence.
template <TensorLike D>
Tensor<ScalarOf<D>> rotary_backward(D&& d_y, const RotaryTable<ComputeType<ScalarOf<D>>>& table,
                                    std::span<const Index> positions, const RotaryTensorOptions& options = {},
                                    Threads* threads = nullptr) {
  const TensorView<const Index> view(positions, {static_cast<Index>(positions.size())});
  return rotary_backward(std::forward<D>(d_y), table, view, options, threads);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
