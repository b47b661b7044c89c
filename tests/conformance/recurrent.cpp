// ONNX's RNN, GRU and LSTM.
#include "conformance/recurrent.hpp"

#include <optional>

#include "eigenformer/kernels/recurrence.hpp"
#include "eigenformer/layers/recurrent.hpp"

namespace eigenformer::conformance {

namespace {

/// Returns the library's cell with this function, if it has one.
std::optional<RecurrentCell> library_cell(const CellFunction& f, bool has_peepholes) {
  if (has_peepholes || f.input_forget || f.clip < std::numeric_limits<double>::infinity()) return std::nullopt;
  const CellActivation sigmoid{"sigmoid"}, tanh{"tanh"}, relu{"relu"};
  if (f.op == "RNN" && f.activations[0] == tanh) return RecurrentCell::rnn;
  if (f.op == "RNN" && f.activations[0] == relu) return RecurrentCell::rnn_relu;
  if (f.op == "GRU" && f.activations == std::vector{sigmoid, tanh})
    return f.linear_before_reset ? RecurrentCell::gru : RecurrentCell::gru_reset_first;
  if (f.op == "LSTM" && f.activations == std::vector{sigmoid, tanh, tanh}) return RecurrentCell::lstm;
  return std::nullopt;
}

/// Returns the state after every token by the library's kernel.
template <class Scalar>
Matrix<Scalar> by_kernel(RecurrentCell cell, const CellOperands<Scalar>& in) {
  const auto ordered = [&](const Matrix<Scalar>& bias) -> Matrix<Scalar> {
    return gates_from_onnx(cell, bias.transpose()).transpose();
  };
  const Matrix<Scalar> u = gates_from_onnx(cell, in.r), u_bias = ordered(in.r_b);
  Matrix<Scalar> gates(in.x.rows(), in.w.rows()), state(in.x.rows(), in.initial.cols()), unsaved;
  linear_forward<Scalar>(in.x, gates_from_onnx(cell, in.w), ordered(in.w_b), gates);
  recurrent_forward<Scalar>({cell, u, u_bias, in.initial, in.rows, in.reverse}, gates, state, unsaved);
  return state;
}

/// The sizes of a case, and where its arrays have the entries of a sequence.
struct SequenceLayout {
  bool batch_first;
  Index steps, batch, directions;

  Index token(Index b, Index t) const { return batch_first ? b * steps + t : t * batch + b; }
  Index state(Index b, Index d) const { return batch_first ? b * directions + d : d * batch + b; }
  Index output(Index b, Index t, Index d) const {
    return batch_first ? token(b, t) * directions + d : (t * directions + d) * batch + b;
  }
  std::vector<Index> state_shape(Index hidden) const {
    return batch_first ? std::vector<Index>{batch, directions, hidden} : std::vector<Index>{directions, batch, hidden};
  }
  std::vector<Index> output_shape(Index hidden) const {
    return batch_first ? std::vector<Index>{batch, steps, directions, hidden}
                       : std::vector<Index>{steps, directions, batch, hidden};
  }
};

/// Returns the operands of direction d. h and c before the first step are columns of `initial`.
template <class Scalar>
CellOperands<Scalar> operands_of(const OperatorCase& c, const SequenceLayout& layout, Index d) {
  const Array<Scalar> x = c.input<Scalar>("X"), w = c.input<Scalar>("W"), r = c.input<Scalar>("R");
  const Index hidden = r.shape[2], gates = r.shape[1];
  check(c.attribute<Index>("hidden_size", hidden) == hidden, c.op(), ": R has ", hidden, " columns, hidden_size is ",
        c.attribute<Index>("hidden_size", hidden));
  CellOperands<Scalar> in;
  std::vector<Index> lengths(static_cast<std::size_t>(layout.batch), layout.steps);
  if (c.has("sequence_lens")) lengths = c.whole_numbers("sequence_lens");
  in.rows = RowOffsets::from_lengths(lengths);
  in.x.resize(in.rows.rows(), x.shape[2]);
  for (Index b = 0; b < layout.batch; ++b)
    for (Index t = 0; t < in.rows.length(b); ++t) in.x.row(in.rows.begin(b) + t) = x.matrix(2).row(layout.token(b, t));
  in.w = w.matrix(2).middleRows(d * gates, gates);
  in.r = r.matrix(2).middleRows(d * gates, gates);
  const Array<Scalar> biases =
      c.has("B") ? c.input<Scalar>("B") : Array<Scalar>::of_shape({layout.directions, 2 * gates});
  in.w_b = biases.matrix(1).row(d).leftCols(gates);
  in.r_b = biases.matrix(1).row(d).rightCols(gates);
  if (c.has("P")) in.peepholes = c.input<Scalar>("P").matrix(1).row(d);
  const Index states = c.op() == "LSTM" ? 2 : 1;
  in.initial.setZero(layout.batch, states * hidden);
  for (Index s = 0; s < states; ++s) {
    const char* name = s == 0 ? "initial_h" : "initial_c";
    if (!c.has(name)) continue;
    const Array<Scalar> given = c.input<Scalar>(name);
    for (Index b = 0; b < layout.batch; ++b)
      in.initial.row(b).segment(s * hidden, hidden) = given.matrix(2).row(layout.state(b, d));
  }
  return in;
}

}  // namespace

/// Beyond the end of a sequence, Y is zero. A sequence without tokens keeps its initial state.
template <class Scalar>
Results<Scalar> recurrent_operator(const OperatorCase& c) {
  const auto direction = c.attribute<std::string>("direction", "forward");
  const bool batch_first = c.flag("layout");
  const Array<Scalar> x = c.input<Scalar>("X");
  const SequenceLayout layout{batch_first, x.shape[batch_first ? 1 : 0], x.shape[batch_first ? 0 : 1],
                              direction == "bidirectional" ? 2 : 1};
  const Index hidden = c.input<Scalar>("R").shape[2];
  Array<Scalar> y = Array<Scalar>::of_shape(layout.output_shape(hidden));
  Array<Scalar> y_h = Array<Scalar>::of_shape(layout.state_shape(hidden)), y_c = y_h;
  for (Index d = 0; d < layout.directions; ++d) {
    CellOperands<Scalar> in = operands_of<Scalar>(c, layout, d);
    in.reverse = d == 1 || direction == "reverse";
    const CellFunction function(c, d);
    const std::optional<RecurrentCell> cell = library_cell(function, in.peepholes.size() > 0);
    const Matrix<Scalar> states = cell ? by_kernel(*cell, in) : step_by_step(function, in);
    for (Index b = 0; b < layout.batch; ++b) {
      for (Index t = 0; t < in.rows.length(b); ++t)
        y.matrix(3).row(layout.output(b, t, d)) = states.row(in.rows.begin(b) + t).leftCols(hidden);
      const Matrix<Scalar> last = in.rows.length(b) == 0
                                      ? Matrix<Scalar>(in.initial.row(b))
                                      : Matrix<Scalar>(states.row(in.reverse ? in.rows.begin(b) : in.rows.end(b) - 1));
      y_h.matrix(2).row(layout.state(b, d)) = last.leftCols(hidden);
      y_c.matrix(2).row(layout.state(b, d)) = last.rightCols(hidden);
    }
  }
  Results<Scalar> results{{"Y", y}, {"Y_h", y_h}};
  if (c.op() == "LSTM") results["Y_c"] = y_c;
  return results;
}

template Results<float> recurrent_operator(const OperatorCase&);
template Results<double> recurrent_operator(const OperatorCase&);

}  // namespace eigenformer::conformance
