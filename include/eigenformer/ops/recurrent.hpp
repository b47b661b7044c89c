// Differentiable recurrent layers: see kernels/recurrence.hpp.
#pragma once

#include <vector>

#include "eigenformer/kernels/recurrence.hpp"
#include "eigenformer/ops/columns.hpp"
#include "eigenformer/ops/detail/sequences.hpp"
#include "eigenformer/ops/matmul.hpp"
#include "eigenformer/ops/rows.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The cell, the sequences and the direction of a recurrent layer.
struct RecurrenceOptions {
  RecurrentCell cell = RecurrentCell::gru;
  RowOffsets rows{};
  bool reverse = false;
};

/// The inputs of a recurrent layer.
template <class Scalar>
struct RecurrentInputs {
  Variable<Scalar> gates;    // W x plus its bias: [tokens x gates]
  Variable<Scalar> weight;   // U: [gates x hidden]
  Variable<Scalar> bias;     // [1 x gates], or empty
  Variable<Scalar> initial;  // the state before each sequence: [sequences x state], or empty for zeros
};

/// Returns the state after every row: [tokens x state]. Its first `hidden` columns are the output h.
/// packed: the packed weight for inference, or null.
template <class Scalar>
Variable<Scalar> recurrent(const Context<Scalar>& context, const RecurrentInputs<Scalar>& in,
                           const RecurrenceOptions& options, const PackedWeight<Scalar>* packed = nullptr) {
  detail::check_has_sequences("recurrent", "gates", in.gates, options.rows);
  const auto layer_of = [options, threads = context.threads](const RecurrentInputs<Scalar>& of,
                                                             const PackedWeight<Scalar>* packed_weight,
                                                             Workspace* workspace) {
    return Recurrence<Scalar>{options.cell,    of.weight.value(), of.bias.value(), of.initial.value(), options.rows,
                              options.reverse, packed_weight,     threads,         workspace};
  };
  Variable<Scalar> state = context.new_matrix(in.gates.rows(), state_count(options.cell) * in.weight.cols());
  Variable<Scalar> saved =
      context.new_matrix(context.tape != nullptr ? in.gates.rows() : 0, saved_count(options.cell) * in.weight.cols());
  Workspace* const workspace = context.tape == nullptr ? context.workspace : nullptr;
  recurrent_forward<Scalar>(layer_of(in, packed, workspace), in.gates.value(), state.writable(), saved.writable());
  return context.record(state, {in.gates, in.weight, in.bias, in.initial},
                        [in, layer_of, state, saved](const Variable<Scalar>& d_state, Tape<Scalar>& tape) {
                          Variable<Scalar> d_gates = tape.new_matrix(in.gates.rows(), in.gates.cols());
                          Variable<Scalar> d_weight = tape.new_matrix(in.weight.rows(), in.weight.cols());
                          Variable<Scalar> d_bias = tape.new_matrix(in.bias.rows(), in.bias.cols());
                          Variable<Scalar> d_initial = tape.new_matrix(in.initial.rows(), in.initial.cols());
                          recurrent_backward<Scalar>(
                              layer_of(in, nullptr, nullptr), {state.value(), saved.value()}, d_state.value(),
                              {d_gates.writable(), d_weight.writable(), d_bias.writable(), d_initial.writable()});
                          tape.add_gradient(in.gates, std::move(d_gates));
                          tape.add_gradient(in.weight, std::move(d_weight));
                          tape.add_gradient(in.bias, std::move(d_bias));
                          tape.add_gradient(in.initial, std::move(d_initial));
                        });
}

/// Returns each sequence's state after its last step: [sequences x state]. An empty sequence has its initial state, or
/// zeros if there is none.
/// state: the result of `recurrent` with the same options. initial: [sequences x state], or empty for zeros.
template <class Scalar>
Variable<Scalar> final_state(const Context<Scalar>& context, const Variable<Scalar>& state,
                             const Variable<Scalar>& initial, const RecurrenceOptions& options) {
  const RowOffsets rows = options.rows.for_rows(state.rows(), "final_state", "state");
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
