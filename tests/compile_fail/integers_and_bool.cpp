// expected: this function of integers has results with fractions: write cast<float>() of the tensor
// expected: a tensor of bool has no minus: write !mask, a != b, or cast<int>() of the tensor
// expected: a tensor of bool has no minus: write a != b
#include <eigenformer/tensors/arithmetic.hpp>

int main() {
  const eigenformer::Tensor<int> x({2, 3});
  const eigenformer::Tensor<bool> mask({2, 3});
  static_cast<void>(eigenformer::sqrt(x));
  static_cast<void>(-mask);
  eigenformer::Tensor<bool> other({2, 3});
  other.array() -= mask;
}
