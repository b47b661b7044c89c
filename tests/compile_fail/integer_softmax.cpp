// expected: this function takes tensors of float, double or 16-bit floats: write cast<float>() of the tensor
#include <eigenformer/tensors/normalization.hpp>

int main() {
  const eigenformer::Tensor<int> x({2, 3});
  return eigenformer::softmax(x).rank();
}
