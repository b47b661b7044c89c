// ONNX's RNN, GRU and LSTM (opset 22).
#include "eigenformer/layers/recurrent.hpp"

#include "conformance/operator_case.hpp"

namespace eigenformer::conformance {

namespace {

RecurrentCell cell_of(const OperatorCase& c) {
  if (c.has("P")) throw Unsupported("peepholes");
  for (const char* name : {"activations", "clip"})
    if (c.has_attribute(name)) throw Unsupported(name);
  if (c.attribute<Index>("input_forget", 0) != 0) throw Unsupported("input_forget");
  if (c.op() == "LSTM") return RecurrentCell::lstm;
  if (c.op() == "RNN") return RecurrentCell::rnn;
  return c.attribute<Index>("linear_before_reset", 0) != 0 ? RecurrentCell::gru : RecurrentCell::gru_reset_first;
}

}  // namespace

Results recurrent_operator(const OperatorCase& c) {
  const RecurrentCell cell = cell_of(c);
  const auto direction = c.attribute<std::string>("direction", "forward");
  if (direction == "reverse") throw Unsupported("a single direction that is reverse");
  const bool batch_first = c.attribute<Index>("layout", 0) != 0, bidirectional = direction == "bidirectional";
  const Index directions = bidirectional ? 2 : 1, hidden = c.attribute<Index>("hidden_size", 0);
  Array x = c.input("X");
  const Index steps = x.shape[batch_first ? 1 : 0], batch = x.shape[batch_first ? 0 : 1], inputs = x.shape[2];

  std::vector<Index> lengths(static_cast<std::size_t>(batch), steps);
  if (c.has("sequence_lens")) lengths = c.whole_numbers("sequence_lens");
  const RowOffsets rows = RowOffsets::from_lengths(lengths);
  const auto row_in_x = [&](Index b, Index t) { return batch_first ? b * steps + t : t * batch + b; };
  Matrix<float> tokens(rows.rows(), inputs);
  for (Index b = 0; b < batch; ++b)
    for (Index t = 0; t < rows.length(b); ++t) tokens.row(rows.begin(b) + t) = x.matrix(2).row(row_in_x(b, t));

  Rng rng(1);
  Recurrent<float> layer({.inputs = inputs, .hidden = hidden, .cell = cell, .bidirectional = bidirectional}, rng);
  Array w = c.input("W"), r = c.input("R");
  const Index gates = gate_count(cell) * hidden;
  Array b = c.has("B") ? c.input("B") : Array::of_shape({directions, 2 * gates});
  for (Index d = 0; d < directions; ++d) {
    RecurrentWeights<float>& weights = layer.weights[static_cast<std::size_t>(d)];
    weights.weight_ih.value = gates_from_onnx(cell, w.matrix(2).middleRows(d * gates, gates));
    weights.weight_hh.value = gates_from_onnx(cell, r.matrix(2).middleRows(d * gates, gates));
    const auto bias = [&](Index first) -> Matrix<float> {
      return gates_from_onnx(cell, b.matrix(1).row(d).segment(first, gates).transpose()).transpose();
    };
    weights.bias_ih.value = bias(0);
    weights.bias_hh.value = bias(gates);
  }

  // A state is h of each direction and then, of LSTM, c of each, side by side; the operator has [directions x batch x
  // hidden] of each, or [batch x directions x hidden].
  const auto copy_state = [&](Array& array, Matrix<float>& state, Index first, bool from_array) {
    for (Index d = 0; d < directions; ++d)
      for (Index s = 0; s < batch; ++s) {
        auto theirs = array.matrix(2).row(batch_first ? s * directions + d : d * batch + s);
        auto ours = state.row(s).segment(first + d * hidden, hidden);
        if (from_array)
          ours = theirs;
        else
          theirs = ours;
      }
  };
  std::vector<Variable<float>> initial;
  if (c.has("initial_h")) {
    Matrix<float> state = Matrix<float>::Zero(batch, layer.state_width());
    Array h = c.input("initial_h");
    copy_state(h, state, 0, true);
    if (c.has("initial_c")) {
      Array cell_state = c.input("initial_c");
      copy_state(cell_state, state, layer.width(), true);
    }
    initial.emplace_back(state);
  }

  const RecurrentResult<float> y = layer({}, tokens, rows, initial);
  Matrix<float> state = y.states[0].value();
  Results results;
  Array h = Array::of_shape(batch_first ? std::vector<Index>{batch, directions, hidden}
                                        : std::vector<Index>{directions, batch, hidden});
  Array cell_state = h;
  copy_state(h, state, 0, false);
  results["Y_h"] = h;
  if (cell == RecurrentCell::lstm) {
    copy_state(cell_state, state, layer.width(), false);
    results["Y_c"] = cell_state;
  }
  Array all = Array::of_shape(batch_first ? std::vector<Index>{batch, steps, directions, hidden}
                                          : std::vector<Index>{steps, directions, batch, hidden});
  for (Index s = 0; s < batch; ++s)
    for (Index t = 0; t < rows.length(s); ++t)
      for (Index d = 0; d < directions; ++d)
        all.matrix(3).row(batch_first ? (s * steps + t) * directions + d : (t * directions + d) * batch + s) =
            y.output.value().row(rows.begin(s) + t).segment(d * hidden, hidden);
  results["Y"] = all;
  return results;
}

}  // namespace eigenformer::conformance
