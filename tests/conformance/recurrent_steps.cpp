// Recurrent cells that the library does not have, step by step.
#include <algorithm>
#include <cctype>
#include <map>

#include "conformance/recurrent.hpp"
#include "eigenformer/core/sequence_steps.hpp"
#include "eigenformer/kernels/activations.hpp"
#include "eigenformer/kernels/matmul.hpp"

namespace eigenformer::conformance {

namespace {

/// Which numbers an activation takes, and their defaults.
struct ActivationNumbers {
  bool takes_alpha = false, takes_beta = false;
  float alpha = 0, beta = 0;
};

const std::map<std::string, ActivationNumbers>& numbers_of_activations() {
  static const std::map<std::string, ActivationNumbers> numbers = {
      {"relu", {}},
      {"tanh", {}},
      {"sigmoid", {}},
      {"softsign", {}},
      {"softplus", {}},
      {"affine", {true, true, 1, 0}},
      {"scaledtanh", {true, true, 1, 1}},
      {"hardsigmoid", {true, true, 0.2F, 0.5F}},
      {"leakyrelu", {true, false, 0.01F, 0}},
      {"thresholdedrelu", {true, false, 1, 0}},
      {"elu", {true, false, 1, 0}},
  };
  return numbers;
}

/// Deals out the numbers of activation_alpha or activation_beta. If there are as many as activations, each activation
/// has its own. If there are fewer, only the activations that take such a number get one, in order.
class NumberList {
 public:
  NumberList(const OperatorCase& c, const char* name, std::size_t activations)
      : numbers_(c.attribute<std::vector<float>>(name, {})), one_each_(numbers_.size() == activations) {}

  double next(bool takes, float otherwise) {
    if (!takes && !one_each_) return 0;
    const float number = next_ < numbers_.size() ? numbers_[next_] : otherwise;
    ++next_;
    return takes ? number : 0;
  }

 private:
  std::vector<float> numbers_;
  bool one_each_;
  std::size_t next_ = 0;
};

/// Returns the activation of each entry of x. The functions are those of ONNX's documentation of RNN.
template <class Scalar>
Matrix<Scalar> activated(const CellActivation& activation, const Matrix<Scalar>& x) {
  const auto alpha = static_cast<Scalar>(activation.alpha), beta = static_cast<Scalar>(activation.beta);
  const std::string& name = activation.name;
  const auto is_negative = x.array() < 0;
  if (name == "relu") return relu(x);
  if (name == "tanh") return tanh(x);
  if (name == "sigmoid") return sigmoid(x);
  if (name == "scaledtanh") return alpha * tanh(beta * x);
  if (name == "affine") return alpha * x.array() + beta;
  if (name == "leakyrelu") return is_negative.select(alpha * x.array(), x.array());
  if (name == "thresholdedrelu") return (x.array() >= alpha).select(x.array(), Scalar(0));
  if (name == "hardsigmoid") return (alpha * x.array() + beta).max(Scalar(0)).min(Scalar(1));
  if (name == "elu") return is_negative.select(alpha * x.array().expm1(), x.array());
  if (name == "softsign") return x.array() / (1 + x.array().abs());
  return x.array().max(Scalar(0)) + (-x.array().abs()).exp().log1p();  // softplus
}

/// One step of a cell: new h and c of the sequences that have a token at this step.
template <class Scalar>
class Stepper {
 public:
  Stepper(const CellFunction& function, const CellOperands<Scalar>& in) : function_(function), in_(in) {}

  /// gates: W x plus its bias, [active x gates]. h, c: [active x hidden]; c only if the cell has one.
  void operator()(const Matrix<Scalar>& gates, Matrix<Scalar>& h, Matrix<Scalar>& c) const {
    if (function_.op == "RNN") {
      h = activation(0, gates + product(h, 0, 1));
    } else if (function_.op == "GRU") {
      gru(gates, h);
    } else {
      lstm(gates, h, c);
    }
  }

 private:
  Matrix<Scalar> activation(std::size_t number, const Matrix<Scalar>& x) const {
    const auto clip = static_cast<Scalar>(function_.clip);
    return activated<Scalar>(function_.activations.at(number), x.array().max(-clip).min(clip));
  }
  /// Returns R h plus its bias, of some gates.
  Matrix<Scalar> product(const Matrix<Scalar>& h, Index first, Index gates) const {
    Matrix<Scalar> y(h.rows(), gates * in_.hidden());
    linear_forward<Scalar>(h, in_.r.middleRows(first * in_.hidden(), y.cols()),
                           in_.r_b.middleCols(first * in_.hidden(), y.cols()), y);
    return y;
  }
  /// Returns a gate's columns.
  auto gate(const Matrix<Scalar>& gates, Index number) const {
    return gates.middleCols(number * in_.hidden(), in_.hidden()).array();
  }
  /// Returns what a gate sees of c.
  Matrix<Scalar> peep(const Matrix<Scalar>& c, Index number) const {
    if (in_.peepholes.size() == 0) return Matrix<Scalar>::Zero(c.rows(), c.cols());
    return c * in_.peepholes.middleCols(number * in_.hidden(), in_.hidden()).row(0).asDiagonal();
  }

  void gru(const Matrix<Scalar>& gates, Matrix<Scalar>& h) const {
    const Matrix<Scalar> zr = activation(0, gates.leftCols(2 * in_.hidden()) + product(h, 0, 2));
    const auto z = gate(zr, 0), r = gate(zr, 1);
    const Matrix<Scalar> of_state = function_.linear_before_reset ? Matrix<Scalar>(r * product(h, 2, 1).array())
                                                                  : product(Matrix<Scalar>(r * h.array()), 2, 1);
    const Matrix<Scalar> n = activation(1, gates.rightCols(in_.hidden()) + of_state);
    h = ((1 - z) * n.array() + z * h.array()).matrix().eval();
  }

  void lstm(const Matrix<Scalar>& gates, Matrix<Scalar>& h, Matrix<Scalar>& c) const {
    const Matrix<Scalar> sums = gates + product(h, 0, 4);
    const Matrix<Scalar> i = activation(0, gate(sums, 0) + peep(c, 0).array());
    const Matrix<Scalar> f =
        function_.input_forget ? Matrix<Scalar>(1 - i.array()) : activation(0, gate(sums, 2) + peep(c, 2).array());
    c = (f.array() * c.array() + i.array() * activation(1, gate(sums, 3)).array()).matrix().eval();
    const Matrix<Scalar> o = activation(0, gate(sums, 1) + peep(c, 1).array());
    h = o.array() * activation(2, c).array();
  }

  const CellFunction& function_;
  const CellOperands<Scalar>& in_;
};

}  // namespace

CellFunction::CellFunction(const OperatorCase& c, Index direction)
    : op(c.op()), linear_before_reset(c.flag("linear_before_reset")), input_forget(c.flag("input_forget")) {
  if (c.has_attribute("clip")) clip = c.number("clip", 0);
  const std::vector<std::string> usual = op == "RNN"   ? std::vector<std::string>{"Tanh"}
                                         : op == "GRU" ? std::vector<std::string>{"Sigmoid", "Tanh"}
                                                       : std::vector<std::string>{"Sigmoid", "Tanh", "Tanh"};
  const auto names = c.attribute<std::vector<std::string>>("activations", usual);
  NumberList alphas(c, "activation_alpha", names.size()), betas(c, "activation_beta", names.size());
  std::vector<CellActivation> all;
  for (std::string name : names) {
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char letter) { return std::tolower(letter); });
    const auto found = numbers_of_activations().find(name);
    if (found == numbers_of_activations().end()) throw Unsupported("the activation " + name);
    const ActivationNumbers& numbers = found->second;
    all.push_back(
        {name, alphas.next(numbers.takes_alpha, numbers.alpha), betas.next(numbers.takes_beta, numbers.beta)});
  }
  // One list may serve both directions.
  const auto first = static_cast<std::ptrdiff_t>(all.size() > usual.size() ? direction * std::ssize(usual) : 0);
  check(all.size() >= usual.size() * (first > 0 ? 2 : 1), op, ": the case has ", all.size(), " activations, expected ",
        usual.size(), " for each direction");
  activations.assign(all.begin() + first, all.begin() + first + std::ssize(usual));
}

template <class Scalar>
Matrix<Scalar> step_by_step(const CellFunction& function, const CellOperands<Scalar>& in) {
  const Index hidden = in.hidden(), states = function.states();
  Matrix<Scalar> gates(in.x.rows(), function.gates() * hidden);
  linear_forward<Scalar>(in.x, in.w, in.w_b, gates);
  const std::vector<Index> order = sequences_by_length(in.rows);
  const SequenceSteps steps(in.rows, order, in.reverse);
  Matrix<Scalar> state(in.rows.sequences(), states * hidden);
  for (Index i = 0; i < steps.size(); ++i) state.row(i) = in.initial.row(steps.sequence(i));
  Matrix<Scalar> all(in.x.rows(), states * hidden);
  const Stepper<Scalar> step(function, in);
  steps.for_each_step([&](Index t, Index active) {
    Matrix<Scalar> gates_now(active, gates.cols());
    for (Index i = 0; i < active; ++i) gates_now.row(i) = gates.row(steps.row(i, t));
    Matrix<Scalar> h = state.topLeftCorner(active, hidden), c = state.topRightCorner(active, (states - 1) * hidden);
    step(gates_now, h, c);
    state.topLeftCorner(active, hidden) = h;
    state.topRightCorner(active, c.cols()) = c;
    for (Index i = 0; i < active; ++i) all.row(steps.row(i, t)) = state.row(i);
  });
  return all;
}

template Matrix<float> step_by_step(const CellFunction&, const CellOperands<float>&);
template Matrix<double> step_by_step(const CellFunction&, const CellOperands<double>&);

}  // namespace eigenformer::conformance
