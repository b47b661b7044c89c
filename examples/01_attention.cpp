// Attention on two matrices: each query asks, and gets a mean of the values, weighted by how well their keys fit.
#include <eigenformer/kernels/attention.hpp>
#include <eigenformer/kernels/attention_weights.hpp>
#include <iostream>

namespace ef = eigenformer;

int main() {
  // Four words with keys that point in four directions, and values that say which word it is.
  const Eigen::MatrixXf keys = Eigen::MatrixXf::Identity(4, 4);
  const Eigen::MatrixXf values = Eigen::Vector4f(10, 20, 30, 40);

  // The first query looks for the third word; the second one for the first and the second alike.
  Eigen::MatrixXf queries(2, 4);
  queries << 0, 0, 20, 0,  //
      20, 20, 0, 0;

  const ef::Matrix<float> found = ef::attention(queries, keys, values);
  const ef::Tensor<float, 3> weights = ef::attention_weights(queries, keys, ef::Unmasked{});
  std::cout << "weights:\n" << weights.matrix(0) << "\nfound:\n" << found << '\n';

  // With a causal mask the first query sees the first word alone, the second one the first two.
  const ef::Matrix<float> causal = ef::attention(queries, keys, values, ef::Causal{});
  std::cout << "found, looking back only:\n" << causal << '\n';

  const bool right = std::abs(found(0) - 30) < 0.1f && std::abs(found(1) - 15) < 0.1f && causal(0) == 10 &&
                     std::abs(causal(1) - 15) < 0.1f;
  return right ? 0 : 1;
}
