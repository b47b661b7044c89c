// The forward of one group of sequences, step by step.
#pragma once

#include "eigenformer/kernels/detail/recurrence/groups.hpp"
#include "eigenformer/kernels/detail/rows/row_blocks.hpp"
#include "eigenformer/kernels/matmul.hpp"
#include "eigenformer/kernels/recurrence_operands.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The products with U. A cell that resets first computes them in two parts.
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

  /// Writes U h plus the bias for all gates, or for all but the last if the cell resets first. h: the state before the
  /// step.
  void of_state(const ConstMatrixRef<Scalar>& h, MatrixRef<Scalar> products) const {
    const Index columns = all_->outputs();
    linear_forward<Scalar>(h, *all_, bias(0, columns), products.leftCols(columns));
  }
  /// Writes the product for the last gate, plus its bias. reset: r * h.
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

/// Writes r * h to `reset`, if the cell resets first.
template <class Scalar, class Cell>
void reset_state(const RecurrentStep<Scalar>& step, Scalar* reset) {
  if constexpr (Cell::reset_first)
    for_each_piece<Scalar>(step.hidden, [&](Index j, auto count) {
      store<Scalar>(reset + j, count, Cell::reset_gate(step, j, count) * load(step.previous + j, count));
    });
}

/// What recur() reads and writes besides the layer's operands.
template <class Scalar>
struct RecurrentRows {
  const ConstMatrixRef<Scalar>& gates;
  MatrixRef<Scalar>& state;
  MatrixRef<Scalar>& saved;
  Scalar* scratch;  // recurrent_scratch() entries for each sequence of the group
};

/// Returns the entries of scratch memory that recur() needs for each sequence: for its state, its products, r * h, and
/// saved values that nobody reads.
template <class Cell>
Index recurrent_scratch(Index hidden, Index state_columns, Index gate_columns) {
  return state_columns + gate_columns + (Cell::reset_first ? hidden : 0) + Cell::saved * hidden;
}

/// Writes the states of a group of sequences, and what the forward saves for the backward.
template <class Scalar, class Cell>
void recur(const Recurrence<Scalar>& layer, const RecurrentProducts<Scalar, Cell>& products_of,
           const RecurrentGroup& group, const RecurrentRows<Scalar>& of_rows) {
  const ConstMatrixRef<Scalar>& gates = of_rows.gates;
  MatrixRef<Scalar>&state = of_rows.state, &saved = of_rows.saved;
  const Index hidden = layer.hidden(), size = group.size();
  MatrixMap<Scalar> previous(of_rows.scratch, size, state.cols());
  MatrixMap<Scalar> products(previous.data() + previous.size(), size, gates.cols());
  MatrixMap<Scalar> reset(products.data() + products.size(), Cell::reset_first ? size : 0, hidden);
  Scalar* const unused = reset.data() + reset.size();  // cells write here if nothing is saved
  previous.setZero();
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
                                   saved.size() > 0 ? row_begin(saved, row) : unused};
    };
    products_of.of_state(previous.topLeftCorner(active, hidden), products.topRows(active));
    if constexpr (Cell::reset_first) {
      for (Index i = 0; i < active; ++i) reset_state<Scalar, Cell>(step(i), reset.data() + i * hidden);
      products_of.of_reset(reset.topRows(active), products.topRows(active));
    }
    for (Index i = 0; i < active; ++i) {
      const RecurrentStep<Scalar> row = step(i);
      for_each_piece<Scalar>(hidden, [&](Index j, auto count) { Cell::forward(row, j, count); });
      previous.row(i) = state.row(group.row(i, t));
    }
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
