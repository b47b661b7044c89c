// expected: a tensor has at least one dimension
#include <eigenformer/core/tensor.hpp>

int main() {
  const eigenformer::Tensor<float, 0> x;
  return x.size() == 0 ? 0 : 1;
}
