// What the others here get wrong, done right: if this compiles, they fail for their own reasons.
#include <eigenformer/kernels/attention.hpp>
#include <eigenformer/kernels/scores/dense_mask.hpp>

namespace ef = eigenformer;

Eigen::MatrixXd attend(const Eigen::MatrixXd& q, const Eigen::MatrixXd& k, const Eigen::MatrixXd& v);

Eigen::MatrixXd attend(const Eigen::MatrixXd& q, const Eigen::MatrixXd& k, const Eigen::MatrixXd& v) {
  const ef::DenseMask mask(Eigen::Matrix<bool, 2, 2>::Identity());
  const ef::Tensor<double> ones({q.size()});
  const ef::TensorView<const double> view = ef::strided_view(q);
  return ef::attention(q + q, k, v, mask) * ones(0) * view(0, 0);
}
