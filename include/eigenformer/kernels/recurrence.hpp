// A recurrent layer over a ragged batch: h_t = f(x_t, h_(t-1)) from each sequence's first row to its last, or back.
#pragma once

#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/kernels/detail/recurrence/groups.hpp"
#include "eigenformer/kernels/detail/rows/row_blocks.hpp"
#include "eigenformer/kernels/matmul.hpp"
#include "eigenformer/kernels/recurrent_cells.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// What the forward and the backward of a recurrent layer share. `hidden` is the width of h; a cell's gates and states
/// are so many times as wide (see RecurrentCell).
template <class Scalar>
struct Recurrence {
  RecurrentCell cell = RecurrentCell::gru;
  ConstMatrixRef<Scalar> weight;                 // U: [gates x hidden]
  ConstMatrixRef<Scalar> bias;                   // [1 x gates], or empty
  ConstMatrixRef<Scalar> initial;                // the state before each sequence: [sequences x state], or empty: zeros
  RowOffsets rows{};                             // the sequences; without any, all rows are one
  bool reverse = false;                          // from the last row to the first
  const PackedWeight<Scalar>* packed = nullptr;  // the same weight, for inference
  Threads* threads = nullptr;

  Index hidden() const { return weight.cols(); }
};

/// What recurrent_forward wrote, for its backward to read.
template <class Scalar>
struct RecurrentSaved {
  ConstMatrixRef<Scalar> state;  // [tokens x state]
  ConstMatrixRef<Scalar> kept;   // [tokens x kept]
};

/// What the backward of a recurrent layer writes.
template <class Scalar>
struct RecurrentGradients {
  MatrixRef<Scalar> d_gates;    // [tokens x gates]
  MatrixRef<Scalar> d_weight;   // [gates x hidden]
  MatrixRef<Scalar> d_bias;     // [1 x gates], or empty
  MatrixRef<Scalar> d_initial;  // [sequences x state], or empty if it is not wanted
};

namespace detail {

/// Checks all shapes. Gives the offsets, which are given then.
template <class Scalar>
RowOffsets check_recurrence(const Recurrence<Scalar>& layer, Shape gates, Shape state) {
  const Index hidden = layer.hidden();
  const Index gate_columns = gate_count(layer.cell) * hidden, state_columns = state_count(layer.cell) * hidden;
  check(layer.weight.rows() == gate_columns, "recurrent: weight is ", shape(layer.weight), ", expected ",
        Shape{gate_columns, hidden});
  if (layer.bias.size() > 0) check_shape("recurrent", "bias", shape(layer.bias), {1, gate_columns});
  check(gates.cols == gate_columns, "recurrent: gates are ", gates, ", expected ", Shape{gates.rows, gate_columns});
  check_shape("recurrent", "state", state, {gates.rows, state_columns});
  RowOffsets rows = layer.rows.over(gates.rows, "recurrent", "gates");
  if (layer.initial.size() > 0)
    check_shape("recurrent", "initial", shape(layer.initial), {rows.sequences(), state_columns});
  return rows;
}

/// The products with U, which a cell that resets first makes in two parts.
template <class Scalar, class Cell>
class RecurrentProducts {
 public:
  explicit RecurrentProducts(const Recurrence<Scalar>& layer) : layer_(layer), all_(layer.packed) {
    const Index hidden = layer.hidden(), first = Cell::reset_first ? 2 * hidden : layer.weight.rows();
    if (all_ == nullptr || Cell::reset_first) {
      first_ = PackedWeight<Scalar>(layer.weight.topRows(first));
      all_ = &first_;
    }
    if (Cell::reset_first) last_ = PackedWeight<Scalar>(layer.weight.bottomRows(hidden));
  }
  RecurrentProducts(const RecurrentProducts&) = delete;

  /// Of the state before; all of them, unless the cell resets first.
  void of_state(const ConstMatrixRef<Scalar>& h, MatrixRef<Scalar> products) const {
    const Index columns = all_->outputs();
    linear_forward<Scalar>(h, *all_, bias(0, columns), products.leftCols(columns));
  }
  /// The last gate's, of what the reset gate left of the state.
  void of_reset(const ConstMatrixRef<Scalar>& reset, MatrixRef<Scalar> products) const {
    const Index columns = last_.outputs();
    linear_forward<Scalar>(reset, last_, bias(all_->outputs(), columns), products.rightCols(columns));
  }

 private:
  ConstMatrixRef<Scalar> bias(Index begin, Index columns) const {
    if (layer_.bias.size() == 0) return ConstMatrixMap<Scalar>(nullptr, 0, 0);
    return layer_.bias.middleCols(begin, columns);
  }

  const Recurrence<Scalar>& layer_;
  const PackedWeight<Scalar>* all_;
  PackedWeight<Scalar> first_;
  PackedWeight<Scalar> last_;
};

/// `product` entry by entry: what is left of h after the reset gate.
template <class Scalar, class Cell>
void reset_state(const RecurrentStep<Scalar>& step, Scalar* reset) {
  if constexpr (Cell::reset_first)
    for_lanes<Scalar>(step.hidden, [&](Index j, auto count) {
      store<Scalar>(reset + j, count, Cell::reset_gate(step, j, count) * load(step.previous + j, count));
    });
}

/// Writes the states of a group's sequences, and what the backward needs of them.
template <class Scalar, class Cell>
void recur(const Recurrence<Scalar>& layer, const RecurrentProducts<Scalar, Cell>& products_of,
           const RecurrentGroup& group, const ConstMatrixRef<Scalar>& gates, MatrixRef<Scalar>& state,
           MatrixRef<Scalar>& kept) {
  const Index hidden = layer.hidden(), size = group.size();
  Matrix<Scalar> previous = Matrix<Scalar>::Zero(size, state.cols());
  Matrix<Scalar> products(size, gates.cols());
  Matrix<Scalar> reset(Cell::reset_first ? size : 0, hidden);
  Matrix<Scalar> unused(1, Cell::kept * hidden);  // where the backward's needs go that nobody keeps
  if (layer.initial.size() > 0)
    for (Index i = 0; i < size; ++i) previous.row(i) = layer.initial.row(group.sequence(i));
  group.for_each_step([&](Index t, Index active) {
    const auto step = [&](Index i) {
      const Index row = group.row(i, t);
      return RecurrentStep<Scalar>{hidden,
                                   row_begin(gates, row),
                                   products.data() + i * products.cols(),
                                   previous.data() + i * previous.cols(),
                                   row_begin(state, row),
                                   kept.size() > 0 ? row_begin(kept, row) : unused.data()};
    };
    products_of.of_state(previous.topLeftCorner(active, hidden), products.topRows(active));
    if constexpr (Cell::reset_first) {
      for (Index i = 0; i < active; ++i) reset_state<Scalar, Cell>(step(i), reset.data() + i * hidden);
      products_of.of_reset(reset.topRows(active), products.topRows(active));
    }
    for (Index i = 0; i < active; ++i) {
      const RecurrentStep<Scalar> row = step(i);
      for_lanes<Scalar>(hidden, [&](Index j, auto count) { Cell::forward(row, j, count); });
      previous.row(i) = state.row(group.row(i, t));
    }
  });
}

/// U transposed, for the products of the backward: all of it, unless the cell resets first.
template <class Scalar>
struct RecurrentTransposes {
  PackedWeight<Scalar> first;
  PackedWeight<Scalar> last;  // of the last gate, if the cell resets first
};

/// What the backward's groups write. The last three are for the sums over all rows that follow.
template <class Scalar>
struct RecurrentGroupGradients {
  MatrixRef<Scalar>& d_gates;    // [tokens x gates]
  MatrixRef<Scalar>& d_initial;  // [sequences x state], or empty if it is not wanted
  Matrix<Scalar> hidden_before;  // h before each row: [tokens x hidden]
  Matrix<Scalar> reset;          // what the reset gate left of it, if the cell resets first
  Matrix<Scalar> d_products;     // the gradients of the products with U: [tokens x gates], if they are not d_gates
};

/// Writes what a group's sequences give to the gradients.
template <class Scalar, class Cell>
void recur_backward(const Recurrence<Scalar>& layer, const RecurrentTransposes<Scalar>& transposes,
                    const RecurrentGroup& group, const RecurrentSaved<Scalar>& saved,
                    const ConstMatrixRef<Scalar>& d_state, RecurrentGroupGradients<Scalar>& to) {
  const ConstMatrixRef<Scalar>&state = saved.state, &kept = saved.kept;
  const Index hidden = layer.hidden(), size = group.size(), columns = to.d_gates.cols();
  Matrix<Scalar> d_after(size, state.cols());  // of the state after the step, and of that before
  Matrix<Scalar> d_before = Matrix<Scalar>::Zero(size, state.cols());
  Matrix<Scalar> d_step(size, columns), through(size, hidden);
  Matrix<Scalar> d_products(Cell::products_differ ? size : 0, columns);
  const Matrix<Scalar> zeros = Matrix<Scalar>::Zero(1, state.cols()), none;
  group.for_each_step_backward([&](Index t, Index active) {
    const auto before = [&](Index i) {
      if (t > 0) return row_begin(state, group.row(i, t - 1));
      return layer.initial.size() > 0 ? row_begin(layer.initial, group.sequence(i)) : zeros.data();
    };
    for (Index i = 0; i < active; ++i) {
      const Index row = group.row(i, t);
      d_after.row(i) = d_state.row(row) + d_before.row(i);
      const RecurrentStepBackward<Scalar> step{hidden,
                                               row_begin(kept, row),
                                               before(i),
                                               row_begin(state, row),
                                               d_after.data() + i * d_after.cols(),
                                               d_step.data() + i * columns,
                                               d_products.data() + (Cell::products_differ ? i * columns : 0),
                                               d_before.data() + i * d_before.cols()};
      for_lanes<Scalar>(hidden, [&](Index j, auto count) { Cell::backward(step, j, count); });
      to.hidden_before.row(row) = ConstMatrixMap<Scalar>(before(i), 1, hidden);
    }
    auto d_h = d_before.topLeftCorner(active, hidden);
    if constexpr (Cell::reset_first) {
      linear_forward<Scalar>(d_step.topRightCorner(active, hidden), transposes.last, none, through.topRows(active));
      for (Index i = 0; i < active; ++i) {
        const auto r = kept.row(group.row(i, t)).head(hidden).array();
        const ConstMatrixMap<Scalar> h(before(i), 1, hidden);
        to.reset.row(group.row(i, t)) = r * h.array();
        d_step.row(i).head(hidden) = through.row(i).array() * h.array() * r * (1 - r);
        d_h.row(i).array() += through.row(i).array() * r;
      }
    }
    const Matrix<Scalar>& d_u = Cell::products_differ ? d_products : d_step;
    linear_forward<Scalar>(d_u.topLeftCorner(active, transposes.first.inputs()), transposes.first, none,
                           through.topRows(active));
    d_h += through.topRows(active);
    for (Index i = 0; i < active; ++i) {
      to.d_gates.row(group.row(i, t)) = d_step.row(i);
      if (Cell::products_differ) to.d_products.row(group.row(i, t)) = d_products.row(i);
    }
  });
  if (to.d_initial.size() > 0)
    for (Index i = 0; i < size; ++i) to.d_initial.row(group.sequence(i)) = d_before.row(i);
}

}  // namespace detail

/// Writes the state after every row.
///
///   gates: W x and its bias, [tokens x gates]
///   state: [tokens x state]; its first `hidden` columns are the layer's output h
///   kept:  [tokens x kept], for the backward, or empty if there will be none
///
/// Results are the same, to the last bit, for any number of threads and whatever else is in the batch. Throws if shapes
/// do not fit, before it writes.
template <class Scalar>
void recurrent_forward(const Recurrence<Scalar>& layer, const ConstMatrixRef<Scalar>& gates, MatrixRef<Scalar> state,
                       MatrixRef<Scalar> kept) {
  const RowOffsets rows = detail::check_recurrence(layer, shape(gates), shape(state));
  if (kept.size() > 0)
    check_shape("recurrent", "kept", shape(kept), {gates.rows(), kept_count(layer.cell) * layer.hidden()});
  detail::with_cell(layer.cell, [&](auto cell) {
    using Cell = decltype(cell);
    const detail::RecurrentProducts<Scalar, Cell> products(layer);
    detail::for_each_recurrent_group(rows, layer.reverse, layer.threads, [&](const detail::RecurrentGroup& group) {
      detail::recur<Scalar, Cell>(layer, products, group, gates, state, kept);
    });
  });
}

/// Writes the gradients, given what the forward wrote and d_state [tokens x state].
template <class Scalar>
void recurrent_backward(const Recurrence<Scalar>& layer, const RecurrentSaved<Scalar>& saved,
                        const ConstMatrixRef<Scalar>& d_state, RecurrentGradients<Scalar> to) {
  const RowOffsets rows = detail::check_recurrence(layer, shape(to.d_gates), shape(saved.state));
  const Index hidden = layer.hidden(), tokens = saved.state.rows();
  check_shape("recurrent", "kept", shape(saved.kept), {tokens, kept_count(layer.cell) * hidden});
  check_shape("recurrent", "d_state", shape(d_state), shape(saved.state));
  check_shape("recurrent", "d_weight", shape(to.d_weight), shape(layer.weight));
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
    detail::for_each_recurrent_group(rows, layer.reverse, layer.threads, [&](const detail::RecurrentGroup& group) {
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
