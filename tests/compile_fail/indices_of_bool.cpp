// expected: index_select: indices are integers, not a mask of bool
#include <eigenformer/tensors/indexing.hpp>

int main() {
  const eigenformer::Tensor<float> x({3});
  const eigenformer::Tensor<bool> mask({3});
  return eigenformer::index_select(x, 0, mask).rank();
}
