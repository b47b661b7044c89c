// Probes what the activations of a model encode.
#pragma once

#include <Eigen/Cholesky>
#include <algorithm>
#include <span>

#include "eigenformer/core/check.hpp"

namespace questions {

/// Returns the accuracy of a linear probe: a linear classifier fitted to `learnt` and applied to `unseen`. It is fitted
/// by ridge regression on one-hot classes. The ridge is 1 % of the mean variance of the features, so that features far
/// below the others in scale do not count.
///
/// learnt, unseen: [rows x features]; their classes: 0 to classes - 1, one per row. Throws if the numbers of rows and
/// classes differ, or if `learnt` has no rows.
inline double linear_probe(const eigenformer::ConstMatrixRef<float>& learnt,
                           std::span<const eigenformer::Token> learnt_classes,
                           const eigenformer::ConstMatrixRef<float>& unseen,
                           std::span<const eigenformer::Token> unseen_classes, eigenformer::Index classes) {
  using eigenformer::Index;
  eigenformer::check(learnt.rows() == static_cast<Index>(learnt_classes.size()) &&
                         unseen.rows() == static_cast<Index>(unseen_classes.size()) && learnt.rows() > 0,
                     "linear_probe: ", learnt.rows(), " and ", unseen.rows(), " rows, ", learnt_classes.size(), " and ",
                     unseen_classes.size(), " classes, expected equal numbers above 0");
  const Index features = learnt.cols();
  const Eigen::RowVectorXd center = learnt.cast<double>().colwise().mean();
  Eigen::MatrixXd x(learnt.rows(), features + 1);
  x << (learnt.cast<double>().rowwise() - center), Eigen::VectorXd::Ones(learnt.rows());
  Eigen::MatrixXd y = Eigen::MatrixXd::Zero(learnt.rows(), classes);
  for (Index r = 0; r < y.rows(); ++r) y(r, learnt_classes[static_cast<std::size_t>(r)]) = 1;

  Eigen::MatrixXd gram = x.transpose() * x;
  const double spread = gram.diagonal().head(features).mean();
  gram.diagonal().array() += 0.01 * spread + 1e-30;  // not singular even if all rows are equal
  const Eigen::MatrixXd weight = gram.ldlt().solve(x.transpose() * y);

  Index right = 0;
  for (Index r = 0; r < unseen.rows(); ++r) {
    const Eigen::RowVectorXd feature = unseen.row(r).cast<double>() - center;
    Index best = 0;
    (feature * weight.topRows(features) + weight.bottomRows(1)).maxCoeff(&best);
    right += best == unseen_classes[static_cast<std::size_t>(r)] ? 1 : 0;
  }
  return static_cast<double>(right) / static_cast<double>(std::max<Index>(unseen.rows(), 1));
}

}  // namespace questions
