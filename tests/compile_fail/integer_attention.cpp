// expected: attention takes float, double, Eigen::half or Eigen::bfloat16
#include <eigenformer/kernels/attention.hpp>

int main() {
  const Eigen::MatrixXi x = Eigen::MatrixXi::Identity(2, 2);
  return eigenformer::attention(x, x, x)(0);
}
