// The backward of one group of sequences, from the last step to the first.
#pragma once

#include "eigenformer/kernels/detail/recurrence/groups.hpp"
#include "eigenformer/kernels/detail/rows/row_blocks.hpp"
#include "eigenformer/kernels/matmul.hpp"
#include "eigenformer/kernels/recurrence_operands.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// U transposed, for the products of the backward. If the cell resets first, U is split before its last gate.
template <class Scalar>
struct RecurrentTransposes {
  PackedWeight<Scalar> first;
  PackedWeight<Scalar> last;  // the last gate, if the cell resets first
};

/// What the groups of the backward write. The last three members are read afterwards, for sums over all rows.
template <class Scalar>
struct RecurrentGroupGradients {
  MatrixRef<Scalar>& d_gates;    // [tokens x gates]
  MatrixRef<Scalar>& d_initial;  // [sequences x state], or empty if not needed
  Matrix<Scalar> hidden_before;  // h before each row: [tokens x hidden]
  Matrix<Scalar> reset;          // r * hidden_before: [tokens x hidden], if the cell resets first
  Matrix<Scalar> d_products;     // gradients of the products with U: [tokens x gates], if they differ from d_gates
};

/// Writes the gradients of a group of sequences.
template <class Scalar, class Cell>
void recur_backward(const Recurrence<Scalar>& layer, const RecurrentTransposes<Scalar>& transposes,
                    const RecurrentGroup& group, const RecurrentSaved<Scalar>& forward,
                    const ConstMatrixRef<Scalar>& d_state, RecurrentGroupGradients<Scalar>& to) {
  const ConstMatrixRef<Scalar>&state = forward.state, &saved = forward.saved;
  const Index hidden = layer.hidden(), size = group.size(), columns = to.d_gates.cols();
  Matrix<Scalar> d_after(size, state.cols());  // gradient of the state after a step; d_before: of the state before it
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
                                               row_begin(saved, row),
                                               before(i),
                                               row_begin(state, row),
                                               d_after.data() + i * d_after.cols(),
                                               d_step.data() + i * columns,
                                               d_products.data() + (Cell::products_differ ? i * columns : 0),
                                               d_before.data() + i * d_before.cols()};
      for_each_piece<Scalar>(hidden, [&](Index j, auto count) { Cell::backward(step, j, count); });
      to.hidden_before.row(row) = ConstMatrixMap<Scalar>(before(i), 1, hidden);
    }
    auto d_h = d_before.topLeftCorner(active, hidden);
    if constexpr (Cell::reset_first) {
      linear_forward<Scalar>(d_step.topRightCorner(active, hidden), transposes.last, none, through.topRows(active));
      for (Index i = 0; i < active; ++i) {
        const auto r = saved.row(group.row(i, t)).head(hidden).array();
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

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
