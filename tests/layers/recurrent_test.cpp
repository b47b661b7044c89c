#include "eigenformer/layers/recurrent.hpp"

#include "support/approx.hpp"
#include "support/message_of.hpp"
#include "support/naive_recurrence.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::testing::random_matrix;

TEST_CASE("recurrent layers have gradients: two layers, both ways, residual, initial states", "[layers][long]") {
  const std::uint64_t seed = 631;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::RowOffsets rows{0, 3, 3, 7};
  for (const ef::RecurrentCell cell : ef::values_of<ef::RecurrentCell>())
    for (const bool bidirectional : {false, true}) {
      CAPTURE(ef::to_string(cell), bidirectional);
      ef::Recurrent<double> layer({.inputs = 3,
                                   .hidden = 4,
                                   .num_layers = 2,
                                   .cell = cell,
                                   .bidirectional = bidirectional,
                                   .bias = bidirectional,
                                   .residual = true},
                                  rng);
      const std::vector<ef::Matrix<double>> inputs{random_matrix<double>(7, 3, rng),
                                                   random_matrix<double>(3, layer.state_width(), rng),
                                                   random_matrix<double>(3, layer.state_width(), rng)};
      const auto all = [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
        const ef::RecurrentResult<double> y = layer(c, in[0], rows, {in[1], in[2]});
        return ef::concat_columns(
            c,
            ef::concat_columns(c, ef::matmul<double>(c, ef::Matrix<double>(Eigen::MatrixXd::Ones(3, 7)), y.output),
                               y.states[0]),
            y.states[1]);
      };
      ef::testing::check_op(inputs, all);
      const std::vector<ef::Variable<double>> constants(inputs.begin(), inputs.end());
      ef::testing::check_parameters(layer, [&](const ef::Context<double>& c) { return all(c, constants); });
    }
}

TEST_CASE("a bidirectional LSTM is two LSTMs, and its states lie h beside h, c beside c", "[layers]") {
  const std::uint64_t seed = 632;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::Recurrent<double> layer({.inputs = 3, .hidden = 5, .cell = ef::RecurrentCell::lstm, .bidirectional = true},
                                    rng);
  const auto x = random_matrix<double>(6, 3, rng);
  const ef::RowOffsets rows{0, 2, 6};
  const ef::RecurrentResult<double> y = layer({}, x, rows);
  for (ef::Index s = 0; s < 2; ++s) {
    ef::Matrix<double> states[2];
    for (std::size_t d = 0; d < 2; ++d) {
      const auto& w = layer.weights[d];
      ef::Matrix<double> gates = x.middleRows(rows.begin(s), rows.length(s)) * w.weight_ih.value.transpose();
      gates.rowwise() += w.bias_ih.value.row(0);
      states[d] =
          ef::testing::naive_recurrence(ef::RecurrentCell::lstm, gates, w.weight_hh.value, w.bias_hh.value, {}, d == 1);
    }
    ef::Matrix<double> output(rows.length(s), 10), state(1, 20);
    output << states[0].leftCols(5), states[1].leftCols(5);
    state << states[0].bottomLeftCorner(1, 5), states[1].topLeftCorner(1, 5), states[0].bottomRightCorner(1, 5),
        states[1].topRightCorner(1, 5);
    const double largest = ef::testing::rounding<double>(100);
    CHECK(ef::testing::max_error(y.output.value().middleRows(rows.begin(s), rows.length(s)), output) <= largest);
    CHECK(ef::testing::max_error(y.states[0].value().row(s), state) <= largest);
  }
}

TEST_CASE("step by step gives what the whole sequence gives", "[layers]") {
  const std::uint64_t seed = 633;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const ef::RecurrentCell cell : ef::values_of<ef::RecurrentCell>()) {
    CAPTURE(ef::to_string(cell));
    const ef::Recurrent<float> layer({.inputs = 8, .hidden = 12, .num_layers = 3, .cell = cell}, rng);
    const auto x = random_matrix<float>(5, 8, rng);
    const ef::RecurrentResult<float> whole = layer({}, x);
    std::vector<ef::Variable<float>> states;
    for (ef::Index t = 0; t < 5; ++t) {
      const ef::RecurrentResult<float> step = layer({}, ef::Matrix<float>(x.row(t)), {0, 1}, states);
      states = step.states;
      CHECK(step.output.value() == whole.output.value().row(t));
    }
    for (std::size_t l = 0; l < 3; ++l) CHECK(states[l].value() == whole.states[l].value());
  }
}

TEST_CASE("recurrent layers drop between layers, have PyTorch's names, and say what does not fit", "[layers]") {
  ef::Rng rng(634);
  ef::Recurrent<float> layer({.inputs = 8, .hidden = 12, .num_layers = 2, .bidirectional = true, .dropout = 0.5}, rng);
  const ef::Variable<float> x = random_matrix<float>(5, 8, rng);
  const ef::Context<float> dropping{.rng = &rng};
  CHECK(layer(dropping, x).states[0].value() == layer({}, x).states[0].value());
  CHECK(layer(dropping, x).states[1].value() != layer({}, x).states[1].value());
  std::vector<std::string> names;
  ef::for_each_parameter(layer, [&](const std::string& name, const auto&) { names.push_back(name); });
  CHECK(names.size() == 16);
  CHECK(names.front() == "weight_ih_l0");
  CHECK(names.back() == "bias_hh_l1_reverse");
  CHECK(ef::testing::message_of([&] { layer({}, x, {}, {x}); }) == "Recurrent: 1 initial states, expected 2 or none");
  CHECK(ef::testing::message_of([&] {
          layer({}, x, {}, {x, x});
        }) == "Recurrent: the initial state of layer 0 is [5 x 8], expected 24 columns");
  CHECK(ef::testing::message_of([&] { ef::Recurrent<float>()({}, x); }) ==
        "Recurrent: has 0 sets of weights, expected 1, one for each layer and direction");
  CHECK(
      ef::testing::message_of([&] {
        layer({}, ef::Variable<float>(ef::Tensor<float>({2, 3, 8})));
      }) ==
      "Recurrent: x is [2 x 3 x 8], expected the offsets of its sequences; unpad() gives the rows of a padded tensor");
  // A batch of one is one sequence.
  CHECK(layer({}, x.reshaped({1, 5, 8})).output.value() == layer({}, x).output.value());
  CHECK(ef::testing::message_of([&] { ef::Recurrent<float>({.hidden = 0}, rng); }) ==
        "Recurrent: 1 layers from 256 to 0 features, expected at least 1 of each");
}

TEST_CASE("a layer continues from the states of the result that it writes to", "[layers]") {
  ef::Rng rng(11);
  const auto x = ef::Variable<float>(ef::testing::random_matrix<float>(7, 6, rng));
  for (const ef::Index layers : {1, 2, 3}) {
    CAPTURE(layers);
    const ef::Recurrent<float> layer({.inputs = 6, .hidden = 6, .num_layers = layers}, rng);
    const ef::RecurrentResult<float> first = layer({}, x);
    ef::RecurrentResult<float> result = layer({}, x);
    layer.run({}, result.output, {}, result.states, result);
    const ef::RecurrentResult<float> expected = layer({}, first.output, {}, first.states);
    CHECK(result.output.value() == expected.output.value());
    REQUIRE(result.states.size() == expected.states.size());
    for (std::size_t i = 0; i < result.states.size(); ++i)
      CHECK(result.states[i].value() == expected.states[i].value());
    // States that are empty mean zeros, also where they are those of the result.
    ef::RecurrentResult<float> fresh;
    layer.run({}, x, {}, fresh.states, fresh);
    CHECK(fresh.output.value() == first.output.value());
  }
}

TEST_CASE("ONNX's gates are put in order", "[layers]") {
  const Eigen::VectorXd three = Eigen::VectorXd::LinSpaced(3, 0, 2), four = Eigen::VectorXd::LinSpaced(4, 0, 3);
  CHECK(ef::gates_from_onnx(ef::RecurrentCell::gru, three) == Eigen::Vector3d(1, 0, 2));
  CHECK(ef::gates_from_onnx(ef::RecurrentCell::lstm, four) == Eigen::Vector4d(0, 2, 3, 1));
  CHECK(ef::gates_from_onnx(ef::RecurrentCell::rnn, three) == three);
  CHECK(ef::testing::message_of([&] { ef::gates_from_onnx(ef::RecurrentCell::gru, four); }) ==
        "gates_from_onnx: the matrix is [4 x 1], expected 3 gates of as many rows each");
}

TEST_CASE("a recurrent layer of an impossible dropout rate is refused", "[layers]") {
  ef::Rng rng(1);
  CHECK_THROWS_WITH(ef::Recurrent<float>({.inputs = 2, .hidden = 3, .dropout = 1.5}, rng),
                    "Recurrent: dropout is 1.5, expected 0 or more and less than 1");
}
