// expected: deleted
#include <eigenformer/core/tensor.hpp>

int main() {
  const eigenformer::TensorView<const float> x = eigenformer::Tensor<float>({2, 3}).transpose();
  return x.size() == 6 ? 0 : 1;
}
