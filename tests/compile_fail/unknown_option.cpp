// A field that is not there: it is the compiler that says so, of one function.
#include <eigenformer/kernels/attention.hpp>

void call(const Eigen::MatrixXf& x);

void call(const Eigen::MatrixXf& x) {
  // expected: AttentionOptions
  eigenformer::attention(x, x, x, {.num_heads = 8});
}
