// expected: an expression has no memory to view: evaluate it
#include <eigenformer/core/tensor.hpp>

int main() {
  const Eigen::MatrixXf x = Eigen::MatrixXf::Identity(2, 2);
  return eigenformer::strided_view(x + x).size() == 4 ? 0 : 1;
}
