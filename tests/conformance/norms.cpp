// ONNX's LayerNormalization, RMSNormalization and Gelu.
#include "conformance/operator_case.hpp"
#include "eigenformer/kernels/activations.hpp"
#include "eigenformer/kernels/layer_norm.hpp"
#include "eigenformer/kernels/rms_norm.hpp"

namespace eigenformer::conformance {

namespace {

/// Calls body(first, rows, gain, bias) for stretches of rows of x that have the same gain and bias. The operators let
/// both have any shape that broadcasts to the shape of x. Without a leading dimension there is one stretch.
template <class Scalar, class Body>
void for_each_stretch(const Array<Scalar>& x, Index axis, const std::pair<Array<Scalar>, Array<Scalar>>& gain_and_bias,
                      Body body) {
  const auto& [gain, bias] = gain_and_bias;
  const std::size_t features = x.shape.size() - x.axis_at(axis);
  const auto leads = [&](const Array<Scalar>& array) {
    return array.shape.size() > features && array.size(0, array.shape.size() - features) > 1;
  };
  const Index rows = x.matrix(axis).rows(), stretch = leads(gain) || leads(bias) ? 1 : rows;
  const auto by_rows = [&](const Array<Scalar>& array) -> Matrix<Scalar> {
    const Tensor<Scalar> all = array.view().expand(x.view().shape()).contiguous();
    return ConstMatrixMap<Scalar>(all.data(), rows, all.size() / std::max<Index>(1, rows));
  };
  const Matrix<Scalar> all_gain = by_rows(gain), all_bias = by_rows(bias);
  for (Index row = 0; row < rows; row += stretch) body(row, stretch, all_gain.row(row), all_bias.row(row));
}

}  // namespace

template <class Scalar>
Results<Scalar> layer_normalization(const OperatorCase& c) {
  const Index axis = c.attribute<Index>("axis", -1);
  const double epsilon = c.number("epsilon", 1e-5F);
  const Array<Scalar> x = c.input<Scalar>("X");
  const Array<Scalar> bias = c.has("B") ? c.input<Scalar>("B") : Array<Scalar>::of_shape({});
  std::vector<Index> of_rows = x.shape;
  std::fill(of_rows.begin() + static_cast<std::ptrdiff_t>(x.axis_at(axis)), of_rows.end(), 1);
  Array<Scalar> y = x, mean = Array<Scalar>::of_shape(of_rows), rstd = mean;
  for_each_stretch<Scalar>(
      x, axis, {c.input<Scalar>("Scale"), bias},
      [&](Index first, Index rows, const ConstMatrixRef<Scalar>& gain_row, const ConstMatrixRef<Scalar>& bias_row) {
        layer_norm_forward<Scalar>({x.matrix(axis).middleRows(first, rows), gain_row, bias_row}, epsilon,
                                   {y.matrix(axis).middleRows(first, rows), mean.matrix(axis).middleRows(first, rows),
                                    rstd.matrix(axis).middleRows(first, rows)});
      });
  return {{"Y", y}, {"Mean", mean}, {"InvStdDev", rstd}};
}

template <class Scalar>
Results<Scalar> rms_normalization(const OperatorCase& c) {
  const Index axis = c.attribute<Index>("axis", -1);
  const double epsilon = c.number("epsilon", 1e-5F);
  Array<Scalar> x = c.input<Scalar>("X");
  for_each_stretch<Scalar>(
      x, axis, {c.input<Scalar>("scale"), Array<Scalar>::of_shape({})},
      [&](Index first, Index rows, const ConstMatrixRef<Scalar>& gain_row, const ConstMatrixRef<Scalar>&) {
        auto part = x.matrix(axis).middleRows(first, rows);
        part = rms_norm(part, gain_row, epsilon);
      });
  return {{"Y", x}};
}

template <class Scalar>
Results<Scalar> gelu_operator(const OperatorCase& c) {
  Array<Scalar> x = c.input<Scalar>("X");
  MatrixMap<Scalar> all = x.matrix(0);
  all = c.attribute<std::string>("approximate", "none") == "tanh" ? gelu_tanh(all) : gelu(all);
  return {{"Y", x}};
}

template Results<float> layer_normalization(const OperatorCase&);
template Results<double> layer_normalization(const OperatorCase&);
template Results<float> rms_normalization(const OperatorCase&);
template Results<double> rms_normalization(const OperatorCase&);
template Results<float> gelu_operator(const OperatorCase&);
template Results<double> gelu_operator(const OperatorCase&);

}  // namespace eigenformer::conformance
