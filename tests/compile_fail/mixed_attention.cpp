// expected: attention: q, k and v must have one scalar type
#include <eigenformer/kernels/attention.hpp>

int main() {
  const Eigen::MatrixXf q = Eigen::MatrixXf::Identity(2, 2);
  const Eigen::MatrixXd k = Eigen::MatrixXd::Identity(2, 2);
  return eigenformer::attention(q, k, q).size() == 4 ? 0 : 1;
}
