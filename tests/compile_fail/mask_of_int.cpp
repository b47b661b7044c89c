// expected: a dense mask is a matrix of bool; true = may attend
#include <eigenformer/kernels/scores/dense_mask.hpp>

int main() {
  const eigenformer::DenseMask mask(Eigen::MatrixXi::Identity(2, 2));
  return mask.shape().rank() == 2 ? 0 : 1;
}
