// What attention is called with by mistake.
#include <eigenformer/kernels/attention_weights.hpp>
#include <eigenformer/kernels/scores/combine.hpp>
#include <eigenformer/kernels/scores/dense_bias.hpp>
#include <optional>

namespace ef = eigenformer;

void call(const Eigen::MatrixXf& x, const Eigen::ArrayXXf& array, const std::vector<float>& numbers);

void call(const Eigen::MatrixXf& x, const Eigen::ArrayXXf& array, const std::vector<float>& numbers) {
  const auto twice = [](auto s, auto) { return 2 * s; };
  const ef::AttentionOptions options{.heads = 2};
  const ef::DenseBias<double> bias(ef::TensorView<const double>{});

  // expected: wrap the function in ef::score or ef::mask
  const ef::Matrix<float> y = ef::attention(x, x, x, twice);
  // expected: a matrix of bool in ef::DenseMask
  const ef::Matrix<float> masked = ef::attention(x, x, x, x.array() > 0, options);
  // expected: this is no score
  ef::attention(x, x, x, std::nullopt);
  // expected: options have names, and stand in braces
  ef::attention(x, x, x, 8);
  // expected: options come last, after the score
  ef::attention(x, x, x, options, ef::Causal{});
  // expected: options come last, after the score
  ef::attention(x, x, x, {.heads = 2}, twice);
  // expected: what follows the score is AttentionOptions
  ef::attention(x, x, x, ef::Causal{}, 8);
  // expected: this score has another scalar type than the attention
  ef::attention(x, x, x, bias);
  // expected: this score has another scalar type than the attention
  ef::attention(x, x, x, ef::combine(bias, ef::Causal{}));
  // expected: attention takes Eigen matrices or tensors
  ef::attention(numbers, numbers, numbers);
  // expected: x.matrix() for an Array
  ef::attention(x, array, x);
  // expected: wrap the function in ef::score or ef::mask
  const ef::Tensor<float> w = ef::attention_weights(x, x, [](auto s, auto) { return s; });
  // expected: attention weights and scores take Eigen matrices
  ef::attention_scores(numbers, x, options);
  // expected: attention weights: q and k are both of float, or both of double
  ef::attention_weights(x, x.cast<Eigen::half>());
}
