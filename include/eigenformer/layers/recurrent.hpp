// Stacked recurrent layers: RNN, GRU and LSTM.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/dropout.hpp"
#include "eigenformer/layers/initialize.hpp"
#include "eigenformer/ops/arithmetic.hpp"
#include "eigenformer/ops/recurrent.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Options of Recurrent. Options that torch.nn.GRU also has keep its names and defaults. Two names differ: `inputs` and
/// `hidden` are called input_size and hidden_size there.
struct RecurrentOptions {
  Index inputs = 256;
  Index hidden = 256;  // of each direction
  Index num_layers = 1;
  RecurrentCell cell = RecurrentCell::gru;
  bool bidirectional = false;
  bool bias = true;
  double dropout = 0;     // of the output of every layer except the last
  bool residual = false;  // adds each layer's input to its output, from the second layer on (Wu et al. 2016, GNMT)
};

/// Weights of one layer in one direction. Gates are stacked as row blocks, in the order that RecurrentCell gives.
template <class Scalar>
struct RecurrentWeights {
  Parameter<Scalar> weight_ih;  // W: [gates x inputs]
  Parameter<Scalar> weight_hh;  // U: [gates x hidden]
  Parameter<Scalar> bias_ih;    // [1 x gates], or empty
  Parameter<Scalar> bias_hh;    // [1 x gates], or empty
};

/// Result of recurrent layers.
template <class Scalar>
struct RecurrentResult {
  Variable<Scalar> output;               // of the last layer: [tokens x hidden * directions]
  std::vector<Variable<Scalar>> states;  // per layer, after each sequence's last step: [sequences x state_width()]
};

/// Runs each sequence of a ragged batch through one or more recurrent layers. A bidirectional layer concatenates the
/// outputs of its directions. Parameters are named and shaped as in torch.nn.GRU: weight_ih_l0, bias_hh_l1_reverse etc.
///
/// A layer's state is [sequences x state_width()]: h of both directions and then, for LSTM, c of both directions. A
/// decoder as wide as both directions of its encoder can therefore start from the encoder's state.
template <class Scalar>
struct Recurrent {
  RecurrentOptions options;
  std::vector<RecurrentWeights<Scalar>> weights;  // layer 0 forward, layer 0 reverse, layer 1 forward, ..
  Dropout<Scalar> dropout;

  Recurrent() = default;
  /// Draws weights and biases uniformly in +-1 / sqrt(hidden), as PyTorch does. Throws unless inputs, hidden and
  /// num_layers are at least 1, and dropout is at least 0 and less than 1.
  Recurrent(const RecurrentOptions& options, Rng& rng);

  Index directions() const { return options.bidirectional ? 2 : 1; }
  Index width() const { return options.hidden * directions(); }
  Index state_width() const { return state_count(options.cell) * width(); }

  /// Runs all layers. x: [tokens x inputs]. initial: each layer's state before the first step, or empty for zeros.
  /// Throws if `initial` has the wrong number of layers or columns, or if x is a tensor of several sequences and `rows`
  /// is not given.
  RecurrentResult<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x,
                                     const RowOffsets& rows = {},
                                     const std::vector<Variable<Scalar>>& initial = {}) const {
    RecurrentResult<Scalar> result;
    run(context, x, rows, initial, result);
    return result;
  }

  /// Runs all layers as operator() does, and writes the outcome to `result`. Reuses the memory of `result`.
  void run(const Context<Scalar>& context, const Variable<Scalar>& x, const RowOffsets& rows,
           const std::vector<Variable<Scalar>>& initial, RecurrentResult<Scalar>& result) const;

  static void visit(auto& self, auto&& visitor) {
    for (std::size_t i = 0; i < self.weights.size(); ++i) {
      const auto directions = static_cast<std::size_t>(self.directions());
      const std::string suffix = "_l" + std::to_string(i / directions) + (i % directions == 0 ? "" : "_reverse");
      visitor(("weight_ih" + suffix).c_str(), self.weights[i].weight_ih);
      visitor(("weight_hh" + suffix).c_str(), self.weights[i].weight_hh);
      visitor(("bias_ih" + suffix).c_str(), self.weights[i].bias_ih);
      visitor(("bias_hh" + suffix).c_str(), self.weights[i].bias_hh);
    }
  }

 private:
  // Split and join states. Columns of a layer's state: h of both directions, then c of both. Columns of one
  // direction's state: h, then c.
  Variable<Scalar> of_direction(const Context<Scalar>& context, const Variable<Scalar>& layer_state, Index d) const;
  using OfDirections = std::array<Variable<Scalar>, 2>;  // forward and, if bidirectional, reverse
  Variable<Scalar> of_layer(const Context<Scalar>& context, const OfDirections& states) const;
};

template <class Scalar>
Recurrent<Scalar>::Recurrent(const RecurrentOptions& chosen, Rng& rng) : options(chosen), dropout{chosen.dropout} {
  check(options.inputs >= 1 && options.hidden >= 1 && options.num_layers >= 1, "Recurrent: ", options.num_layers,
        " layers from ", options.inputs, " to ", options.hidden, " features, expected at least 1 of each");
  check(options.dropout >= 0 && options.dropout < 1, "Recurrent: dropout is ", options.dropout,
        ", expected 0 or more and less than 1");
  const Index gates = gate_count(options.cell) * options.hidden;
  const double limit = 1 / std::sqrt(static_cast<double>(options.hidden));
  const auto uniform = [&](Index rows, Index cols) {
    Parameter<Scalar> parameter(rows, cols);
    for (Index i = 0; i < parameter.size(); ++i)
      parameter.value.data()[i] = static_cast<Scalar>(rng.uniform(-limit, limit));
    return parameter;
  };
  for (Index i = 0; i < options.num_layers * directions(); ++i) {
    RecurrentWeights<Scalar>& layer = weights.emplace_back();
    layer.weight_ih = uniform(gates, i < directions() ? options.inputs : width());
    layer.weight_hh = uniform(gates, options.hidden);
    if (!options.bias) continue;
    layer.bias_ih = uniform(1, gates);
    layer.bias_hh = uniform(1, gates);
  }
}

template <class Scalar>
Variable<Scalar> Recurrent<Scalar>::of_direction(const Context<Scalar>& context, const Variable<Scalar>& layer_state,
                                                 Index d) const {
  if (directions() == 1 || layer_state.size() == 0) return layer_state;
  const Variable<Scalar> h = columns(context, layer_state, d * options.hidden, options.hidden);
  if (state_count(options.cell) == 1) return h;
  return concat_columns(context, h, columns(context, layer_state, width() + d * options.hidden, options.hidden));
}

template <class Scalar>
Variable<Scalar> Recurrent<Scalar>::of_layer(const Context<Scalar>& context, const OfDirections& states) const {
  if (directions() == 1) return states[0];
  const auto part = [&](Index first) {
    return concat_columns(context, columns(context, states[0], first, options.hidden),
                          columns(context, states[1], first, options.hidden));
  };
  if (state_count(options.cell) == 1) return part(0);
  return concat_columns(context, part(0), part(options.hidden));
}

template <class Scalar>
void Recurrent<Scalar>::run(const Context<Scalar>& context, const Variable<Scalar>& x, const RowOffsets& rows,
                            const std::vector<Variable<Scalar>>& initial, RecurrentResult<Scalar>& result) const {
  check(initial.empty() || static_cast<Index>(initial.size()) == options.num_layers, "Recurrent: ", initial.size(),
        " initial states, expected ", options.num_layers, " or none");
  check(static_cast<Index>(weights.size()) == options.num_layers * directions(), "Recurrent: has ", weights.size(),
        " sets of weights, expected ", options.num_layers * directions(), ", one for each layer and direction");
  detail::check_has_sequences("Recurrent", "x", x, rows);
  const bool starts_from_zeros = initial.empty();
  result.output = x;
  // `initial` may be this vector, so it is not cleared: each layer reads its state before it writes one.
  result.states.resize(static_cast<std::size_t>(options.num_layers));
  for (Index layer = 0; layer < options.num_layers; ++layer) {
    const Variable<Scalar> input = layer == 0 ? x : dropout(context, result.output);
    const Variable<Scalar> before = starts_from_zeros ? Variable<Scalar>() : initial[static_cast<std::size_t>(layer)];
    if (before.size() > 0)
      check(before.cols() == state_width(), "Recurrent: the initial state of layer ", layer, " is ", shape(before),
            ", expected ", state_width(), " columns");
    OfDirections outputs, final_states;
    for (Index d = 0; d < directions(); ++d) {
      const RecurrentWeights<Scalar>& w = weights[static_cast<std::size_t>(layer * directions() + d)];
      const RecurrenceOptions run_options{options.cell, rows, d == 1};
      const Variable<Scalar> state_before = of_direction(context, before, d);
      const Variable<Scalar> state =
          recurrent(context,
                    {linear(context, input, w.weight_ih, w.bias_ih), context.use(w.weight_hh),
                     w.bias_hh.empty() ? Variable<Scalar>() : context.use(w.bias_hh), state_before},
                    run_options, context.packed_weight(w.weight_hh));
      outputs[static_cast<std::size_t>(d)] = columns(context, state, 0, options.hidden);
      final_states[static_cast<std::size_t>(d)] = final_state(context, state, state_before, run_options);
    }
    const Variable<Scalar> output = directions() == 1 ? outputs[0] : concat_columns(context, outputs[0], outputs[1]);
    result.output = options.residual && layer > 0 ? add(context, output, input) : output;
    result.states[static_cast<std::size_t>(layer)] = of_layer(context, final_states);
  }
}

/// Reorders gates from ONNX's order to the order of PyTorch and this library:
///
///   GRU    z r h to r z n
///   LSTM   i o f c to i f g o
///
/// Gates are row blocks of matrix: [gates x any]; a bias is [gates x 1]. Throws if the rows do not divide into gates.
template <class Derived>
Matrix<typename Derived::Scalar> gates_from_onnx(RecurrentCell cell, const Eigen::MatrixBase<Derived>& matrix) {
  const Index gates = gate_count(cell), hidden = matrix.rows() / gates;
  check(hidden * gates == matrix.rows(), "gates_from_onnx: the matrix is ", shape(matrix), ", expected ", gates,
        " gates of as many rows each");
  constexpr Index gru_order[] = {1, 0, 2}, lstm_order[] = {0, 2, 3, 1};
  Matrix<typename Derived::Scalar> ordered(matrix.rows(), matrix.cols());
  for (Index g = 0; g < gates; ++g) {
    const Index from = gates == 3 ? gru_order[g] : gates == 4 ? lstm_order[g] : g;
    ordered.middleRows(g * hidden, hidden) = matrix.middleRows(from * hidden, hidden);
  }
  return ordered;
}

EIGENFORMER_TEMPLATE(struct Recurrent);

}  // namespace eigenformer::inline EIGENFORMER_ABI
