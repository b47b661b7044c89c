// ONNX's SoftmaxCrossEntropyLoss and NegativeLogLikelihoodLoss.
#include <limits>
#include <optional>

#include "conformance/operator_case.hpp"
#include "eigenformer/kernels/cross_entropy.hpp"
#include "eigenformer/kernels/softmax.hpp"

namespace eigenformer::conformance {

namespace {

/// The inputs of a loss: [batch x classes x ..] scores, [batch x ..] labels, and a weight for each class.
template <class Scalar>
struct LossInputs {
  Matrix<Scalar> rows;          // the scores as [tokens x classes]
  std::vector<Token> labels;    // ignored labels are replaced by `ignored`
  std::vector<double> weights;  // of the classes, or empty
  std::vector<Index> shape;     // of the labels

  static constexpr Token ignored = CrossEntropyOptions{}.ignore_index;

  LossInputs(const OperatorCase& c, const Array<Scalar>& scores, const char* labels_name, const char* weights_name)
      : rows(rows_of(scores)), shape(scores.shape) {
    shape.erase(shape.begin() + 1);
    std::optional<Index> ignore_index;
    if (c.has_attribute("ignore_index")) ignore_index = c.attribute<Index>("ignore_index", 0);
    for (const Index label : c.whole_numbers(labels_name))
      labels.push_back(label == ignore_index ? ignored : static_cast<Token>(label));
    if (!c.has(weights_name)) return;
    const Array<double> given = c.input<double>(weights_name);
    weights = given.values;
  }

  double weight(Token label) const {
    if (label == ignored) return 0;
    return weights.empty() ? 1 : weights.at(static_cast<std::size_t>(label));
  }
  /// Returns the sum of the weights of all labels: the mean's divisor.
  double total_weight() const {
    double total = 0;
    for (const Token label : labels) total += weight(label);
    return total;
  }

  static Matrix<Scalar> rows_of(const Array<Scalar>& scores) {
    const Index classes = scores.shape[1], inner = scores.size(2, scores.shape.size());
    Matrix<Scalar> rows(scores.shape[0] * inner, classes);
    for (Index b = 0; b < scores.shape[0]; ++b)
      rows.middleRows(b * inner, inner) =
          ConstMatrixMap<Scalar>(scores.values.data() + b * classes * inner, classes, inner).transpose();
    return rows;
  }
};

/// Returns rows [tokens x classes] as an array [batch x classes x ..].
template <class Scalar>
Array<Scalar> classes_second(const Matrix<Scalar>& rows, std::vector<Index> shape) {
  Array<Scalar> array = Array<Scalar>::of_shape(std::move(shape));
  const Index classes = array.shape[1], inner = array.size(2, array.shape.size());
  for (Index b = 0; b < array.shape[0]; ++b)
    MatrixMap<Scalar>(array.values.data() + b * classes * inner, classes, inner) =
        rows.middleRows(b * inner, inner).transpose();
  return array;
}

/// Returns the number as an array of rank 0.
template <class Scalar>
Array<Scalar> scalar(double value) {
  return {{}, {static_cast<Scalar>(value)}};
}

}  // namespace

/// The operator's mean is NaN if all labels are ignored. The library's is 0.
template <class Scalar>
Results<Scalar> softmax_cross_entropy(const OperatorCase& c) {
  const Array<Scalar> scores = c.input<Scalar>("scores");
  const LossInputs<Scalar> in(c, scores, "labels", "weights");
  const auto reduction = c.attribute<std::string>("reduction", "mean");
  CrossEntropyOptions options;
  options.reduction = reduction == "sum" ? Reduction::sum : Reduction::mean;
  options.class_weights = in.weights;
  Results<Scalar> results;
  if (reduction == "none") {
    const Matrix<Scalar> losses = cross_entropy_rows(in.rows, in.labels, options);
    results["output"] = {in.shape, {losses.data(), losses.data() + losses.size()}};
  } else if (reduction == "mean" && in.total_weight() == 0) {
    results["output"] = scalar<Scalar>(std::numeric_limits<double>::quiet_NaN());
  } else {
    results["output"] = scalar<Scalar>(cross_entropy(in.rows, in.labels, options));
  }
  results["log_prob"] = classes_second<Scalar>(log_softmax(in.rows), scores.shape);
  return results;
}

/// The operator takes any numbers, not only logarithms of probabilities. The library has no such loss, because its
/// cross entropy takes logits.
template <class Scalar>
Results<Scalar> negative_log_likelihood(const OperatorCase& c) {
  const Array<Scalar> scores = c.input<Scalar>("input");
  const LossInputs<Scalar> in(c, scores, "target", "weight");
  Array<Scalar> losses = Array<Scalar>::of_shape(in.shape);
  double sum = 0;
  for (std::size_t i = 0; i < in.labels.size(); ++i) {
    const Token label = in.labels[i];
    if (label == in.ignored) continue;
    const double loss = -in.weight(label) * static_cast<double>(in.rows(static_cast<Index>(i), label));
    losses.values[i] = static_cast<Scalar>(loss);
    sum += loss;
  }
  const auto reduction = c.attribute<std::string>("reduction", "mean");
  if (reduction == "none") return {{"loss", losses}};
  return {{"loss", scalar<Scalar>(reduction == "sum" ? sum : sum / in.total_weight())}};
}

template Results<float> softmax_cross_entropy(const OperatorCase&);
template Results<double> softmax_cross_entropy(const OperatorCase&);
template Results<float> negative_log_likelihood(const OperatorCase&);
template Results<double> negative_log_likelihood(const OperatorCase&);

}  // namespace eigenformer::conformance
