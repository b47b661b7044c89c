// Attention on matrices: each query returns a mean of the values, weighted by how well their keys match the query.
#include <eigenformer/kernels/attention.hpp>
#include <eigenformer/kernels/attention_weights.hpp>
#include <iostream>

namespace ef = eigenformer;

int main() {
  // Four words. Their keys are orthogonal; their values identify them.
  const Eigen::MatrixXf keys = Eigen::MatrixXf::Identity(4, 4);
  const Eigen::MatrixXf values = Eigen::Vector4f(10, 20, 30, 40);

  // The first query matches the third word; the second matches the first and the second word equally.
  Eigen::MatrixXf queries(2, 4);
  queries << 0, 0, 20, 0,  //
      20, 20, 0, 0;

  const ef::Matrix<float> found = ef::attention(queries, keys, values);
  const ef::Tensor<float> weights = ef::attention_weights(queries, keys, ef::Unmasked{});
  std::cout << "weights:\n" << weights.matrix(0) << "\nfound:\n" << found << '\n';

  // With a causal mask, the first query sees only the first word and the second query sees the first two.
  const ef::Matrix<float> causal = ef::attention(queries, keys, values, ef::Causal{});
  std::cout << "found with a causal mask:\n" << causal << '\n';

  const bool right = std::abs(found(0) - 30) < 0.1f && std::abs(found(1) - 15) < 0.1f && causal(0) == 10 &&
                     std::abs(causal(1) - 15) < 0.1f;
  return right && std::cout.flush() ? 0 : 1;
}
