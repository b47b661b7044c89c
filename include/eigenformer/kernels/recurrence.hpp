// A recurrent layer over a ragged batch: h_t = f(x_t, h_(t-1)), from the first row of each sequence to the last or in
// reverse.
#pragma once

#include <memory>

#include "eigenformer/kernels/detail/recurrence/backward.hpp"
#include "eigenformer/kernels/detail/recurrence/forward.hpp"
#include "eigenformer/kernels/matmul.hpp"
#include "eigenformer/kernels/recurrence_operands.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns the row offsets of the layer's sequences; one sequence if none are given. Throws if shapes do not fit.
template <class Scalar>
RowOffsets check_recurrence(const Recurrence<Scalar>& layer, Shape gates, Shape state) {
  const Index hidden = layer.hidden();
  const Index gate_columns = gate_count(layer.cell) * hidden, state_columns = state_count(layer.cell) * hidden;
  check(layer.weight.rows() == gate_columns, "recurrent: weight is ", shape(layer.weight), ", expected ",
        Shape{gate_columns, hidden});
  if (layer.packed != nullptr)
    check_shape("recurrent", "packed", {layer.packed->outputs(), layer.packed->inputs()}, shape(layer.weight));
  if (layer.bias.size() > 0) check_shape("recurrent", "bias", shape(layer.bias), {1, gate_columns});
  check(gates.cols == gate_columns, "recurrent: gates are ", gates, ", expected ", Shape{gates.rows, gate_columns});
  check_shape("recurrent", "state", state, {gates.rows, state_columns});
  RowOffsets rows = layer.rows.for_rows(gates.rows, "recurrent", "gates");
  if (layer.initial.size() > 0)
    check_shape("recurrent", "initial", shape(layer.initial), {rows.sequences(), state_columns});
  return rows;
}

}  // namespace detail

/// Writes the state after every row.
///
///   gates: W x plus its bias, [tokens x gates]
///   state: [tokens x state]; its first `hidden` columns are the layer's output h
///   saved: [tokens x saved], for the backward; empty if there will be none
///
/// Results are identical to the last bit for any number of threads and whatever else is in the batch. Throws if shapes
/// do not fit, before it writes.
template <class Scalar>
void recurrent_forward(const Recurrence<Scalar>& layer, const ConstMatrixRef<Scalar>& gates, MatrixRef<Scalar> state,
                       MatrixRef<Scalar> saved) {
  const RowOffsets rows = detail::check_recurrence(layer, shape(gates), shape(state));
  if (saved.size() > 0)
    check_shape("recurrent", "saved", shape(saved), {gates.rows(), saved_count(layer.cell) * layer.hidden()});
  detail::with_cell(layer.cell, [&](auto cell) {
    using Cell = decltype(cell);
    const detail::RecurrentProducts<Scalar, Cell> products(layer);
    const Index scratch = detail::recurrent_scratch<Cell>(layer.hidden(), state.cols(), gates.cols());
    const std::shared_ptr<Scalar> memory =
        Workspace::allocate_from<Scalar>(layer.workspace, rows.sequences() * scratch);
    detail::for_each_recurrent_group(
        rows, {layer.reverse, layer.threads, layer.workspace}, [&](const detail::RecurrentGroup& group, Index first) {
          detail::recur<Scalar, Cell>(layer, products, group, {gates, state, saved, memory.get() + first * scratch});
        });
  });
}

/// Writes the gradients of recurrent_forward. saved: what the forward wrote; d_state: [tokens x state]. Throws if
/// shapes do not fit.
template <class Scalar>
void recurrent_backward(const Recurrence<Scalar>& layer, const RecurrentSaved<Scalar>& saved,
                        const ConstMatrixRef<Scalar>& d_state, RecurrentGradients<Scalar> to) {
  const RowOffsets rows = detail::check_recurrence(layer, shape(to.d_gates), shape(saved.state));
  const Index hidden = layer.hidden(), tokens = saved.state.rows();
  check_shape("recurrent", "saved", shape(saved.saved), {tokens, saved_count(layer.cell) * hidden});
  check_shape("recurrent", "d_state", shape(d_state), shape(saved.state));
  check_shape("recurrent", "d_weight", shape(to.d_weight), shape(layer.weight));
  if (to.d_bias.size() > 0) check_shape("recurrent", "d_bias", shape(to.d_bias), {1, to.d_gates.cols()});
  if (to.d_initial.size() > 0)
    check_shape("recurrent", "d_initial", shape(to.d_initial), {rows.sequences(), saved.state.cols()});
  detail::with_cell(layer.cell, [&](auto cell) {
    using Cell = decltype(cell);
    detail::RecurrentGroupGradients<Scalar> of_groups{
        to.d_gates, to.d_initial, Matrix<Scalar>(tokens, hidden),
        Matrix<Scalar>(Cell::reset_first ? tokens : 0, hidden),
        Matrix<Scalar>(Cell::products_differ ? tokens : 0, to.d_gates.cols())};
    const Index first_rows = Cell::reset_first ? 2 * hidden : layer.weight.rows();
    detail::RecurrentTransposes<Scalar> transposes{
        PackedWeight<Scalar>(Matrix<Scalar>(layer.weight.topRows(first_rows).transpose())), {}};
    if (Cell::reset_first)
      transposes.last = PackedWeight<Scalar>(Matrix<Scalar>(layer.weight.bottomRows(hidden).transpose()));
    detail::for_each_recurrent_group(
        rows, {layer.reverse, layer.threads}, [&](const detail::RecurrentGroup& group, Index) {
          detail::recur_backward<Scalar, Cell>(layer, transposes, group, saved, d_state, of_groups);
        });
    const ConstMatrixRef<Scalar> d_products =
        Cell::products_differ ? ConstMatrixRef<Scalar>(of_groups.d_products) : ConstMatrixRef<Scalar>(to.d_gates);
    linear_backward_weight<Scalar>(of_groups.hidden_before, d_products.leftCols(first_rows),
                                   to.d_weight.topRows(first_rows), layer.threads);
    if (Cell::reset_first)
      linear_backward_weight<Scalar>(of_groups.reset, d_products.rightCols(hidden), to.d_weight.bottomRows(hidden),
                                     layer.threads);
    if (to.d_bias.size() > 0) linear_backward_bias<Scalar>(d_products, to.d_bias, layer.threads);
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
