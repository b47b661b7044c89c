// A recurrent layer made differentiable: see kernels/recurrence.hpp.
#pragma once

#include <vector>

#include "eigenformer/kernels/recurrence.hpp"
#include "eigenformer/ops/columns.hpp"
#include "eigenformer/ops/matmul.hpp"
#include "eigenformer/ops/rows.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Which cell runs over which sequences, and which way.
struct RecurrenceOptions {
  RecurrentCell cell = RecurrentCell::gru;
  RowOffsets rows{};
  bool reverse = false;
};

/// The state after every row: [tokens x state], whose first `hidden` columns are the output h.
/// gates: W x and its bias, [tokens x gates]; weight: [gates x hidden]; bias: [1 x gates] or empty; initial: [sequences
/// x state], or empty for zeros.
template <class Scalar>
Variable<Scalar> recurrent(const Context<Scalar>& context, const Variable<Scalar>& gates,
                           const Variable<Scalar>& weight, const Variable<Scalar>& bias,
                           const Variable<Scalar>& initial, const RecurrenceOptions& options,
                           const PackedWeight<Scalar>* packed = nullptr) {
  const auto layer_of = [options, threads = context.threads](const Variable<Scalar>& u, const Variable<Scalar>& b,
                                                             const Variable<Scalar>& before,
                                                             const PackedWeight<Scalar>* packed_u) {
    return Recurrence<Scalar>{options.cell, u.value(),       b.value(), before.value(),
                              options.rows, options.reverse, packed_u,  threads};
  };
  Variable<Scalar> state = context.new_matrix(gates.rows(), state_count(options.cell) * weight.cols());
  Variable<Scalar> kept =
      context.new_matrix(context.tape != nullptr ? gates.rows() : 0, kept_count(options.cell) * weight.cols());
  recurrent_forward<Scalar>(layer_of(weight, bias, initial, packed), gates.value(), state.writable(), kept.writable());
  return context.record(
      state, {gates, weight, bias, initial},
      [gates, weight, bias, initial, layer_of, state, kept](const Variable<Scalar>& d_state, Tape<Scalar>& tape) {
        Variable<Scalar> d_gates = tape.new_matrix(gates.rows(), gates.cols());
        Variable<Scalar> d_weight = tape.new_matrix(weight.rows(), weight.cols());
        Variable<Scalar> d_bias = tape.new_matrix(bias.rows(), bias.cols());
        Variable<Scalar> d_initial = tape.new_matrix(initial.rows(), initial.cols());
        recurrent_backward<Scalar>(layer_of(weight, bias, initial, nullptr), state.value(), kept.value(),
                                   d_state.value(), d_gates.writable(), d_weight.writable(), d_bias.writable(),
                                   d_initial.writable());
        tape.add_gradient(gates, std::move(d_gates));
        tape.add_gradient(weight, std::move(d_weight));
        tape.add_gradient(bias, std::move(d_bias));
        tape.add_gradient(initial, std::move(d_initial));
      });
}

/// Each sequence's state after its last step: [sequences x state]. A sequence without rows keeps its initial state, or
/// zeros. state: what `recurrent` gave with these options.
template <class Scalar>
Variable<Scalar> final_state(const Context<Scalar>& context, const Variable<Scalar>& state,
                             const Variable<Scalar>& initial, const RecurrenceOptions& options) {
  const RowOffsets rows = options.rows.over(state.rows(), "final_state", "state");
  if (initial.size() > 0) check_shape("final_state", "initial", shape(initial), {rows.sequences(), state.cols()});
  Variable<Scalar> y = context.new_matrix(rows.sequences(), state.cols());
  const auto last = [rows, reverse = options.reverse](Index s) { return reverse ? rows.begin(s) : rows.end(s) - 1; };
  for (Index s = 0; s < rows.sequences(); ++s) {
    if (rows.length(s) > 0)
      y.writable().row(s) = state.value().row(last(s));
    else if (initial.size() > 0)
      y.writable().row(s) = initial.value().row(s);
    else
      y.writable().row(s).setZero();
  }
  return context.record(std::move(y), {state, initial},
                        [state, initial, rows, last](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
                          tape.add_gradient(state, [&](MatrixMap<Scalar> d_state) {
                            d_state.setZero();
                            for (Index s = 0; s < rows.sequences(); ++s)
                              if (rows.length(s) > 0) d_state.row(last(s)) = d_y.value().row(s);
                          });
                          tape.add_gradient(initial, [&](MatrixMap<Scalar> d_initial) {
                            d_initial.setZero();
                            for (Index s = 0; s < rows.sequences(); ++s)
                              if (rows.length(s) == 0) d_initial.row(s) = d_y.value().row(s);
                          });
                        });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
