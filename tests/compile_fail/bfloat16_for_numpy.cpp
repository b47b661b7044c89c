// expected: NumPy has no bfloat16: save x.cast<float>(), which holds the same numbers
#include <eigenformer/io/npy.hpp>

int main() {
  const eigenformer::Tensor<Eigen::bfloat16> x({2, 3});
  eigenformer::save_npy("x.npy", x);
}
