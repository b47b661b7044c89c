// expected: k and v may be 16-bit, both of one type
#include <eigenformer/kernels/attention.hpp>

Eigen::MatrixXf f(const Eigen::MatrixXf& q, const Eigen::MatrixXf& v) {
  return eigenformer::attention(q, q.cast<Eigen::half>(), v);
}
