// What layers and Variables are given by mistake.
#include <eigenformer/layers/encoder_layer.hpp>

namespace ef = eigenformer;

void call(const Eigen::MatrixXf& x, const ef::EncoderLayer<float>& layer, const ef::Variable<float>& variable);

void call(const Eigen::MatrixXf& x, const ef::EncoderLayer<float>& layer, const ef::Variable<float>& variable) {
  // expected: this is no score: wrap the function in ef::score or ef::mask
  layer({}, x, {}, [](auto s, auto) { return s; });
  // expected: a Variable and its matrix have one scalar type: for Variable<float> write x.cast<float>()
  layer({}, Eigen::MatrixXd(x.cast<double>()));
  // expected: a tape and its variables have one scalar type
  ef::Tape<float>().variable(Eigen::MatrixXi(3, 3));
  // expected: attention(context, q, k, v) takes Variables
  ef::attention(ef::Context<float>{}, x, x, x);
  // expected: x.value() for a Variable
  ef::attention(variable, variable, variable);
  // expected: wrap the function in ef::score or ef::mask
  ef::attention({}, variable, variable, variable, [](auto s, auto) { return s; });
  // expected: Context
  layer(x);
}
