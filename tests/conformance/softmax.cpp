// ONNX's Softmax and LogSoftmax.
#include "eigenformer/kernels/softmax.hpp"

#include "conformance/operator_case.hpp"

namespace eigenformer::conformance {

/// Before opset 13, softmax goes over all dimensions from the axis on, which is 1 unless given. From opset 13 on, it
/// goes over one dimension, which is the last unless given.
template <class Scalar>
Results<Scalar> softmax_operator(const OperatorCase& c) {
  Array<Scalar> x = c.input<Scalar>("input");
  const bool flattens = c.opset() < 13;
  const std::size_t axis = x.axis_at(c.attribute<Index>("axis", flattens ? 1 : -1));
  const Index entries = flattens ? x.size(axis, x.shape.size()) : x.shape.at(axis);
  const Index inner = flattens ? 1 : x.size(axis + 1, x.shape.size());
  for (Index outer = 0; outer < x.size(0, axis); ++outer) {
    MatrixMap<Scalar> part(x.values.data() + outer * entries * inner, entries, inner);
    const Matrix<Scalar> rows = part.transpose();
    part = (c.op() == "Softmax" ? softmax(rows) : log_softmax(rows)).transpose();
  }
  return {{"output", x}};
}

template Results<float> softmax_operator(const OperatorCase&);
template Results<double> softmax_operator(const OperatorCase&);

}  // namespace eigenformer::conformance
