// Baseline: attention written as in the formula, in plain Eigen, with the n x n weights in memory.
#pragma once

#include "eigenformer/core/types.hpp"

namespace eigenformer::bench {

/// Materialised attention. Weights [queries x keys] and results are reused by later calls, so that allocation is not
/// timed.
struct MaterialisedAttention {
  Matrix<float> weights, out, d_weights, d_q, d_k, d_v;

  void forward(const Matrix<float>& q, const Matrix<float>& k, const Matrix<float>& v, bool causal) {
    weights.noalias() = q * k.transpose();
    weights *= 1 / std::sqrt(static_cast<float>(q.cols()));
    if (causal)
      for (Index i = 0; i < weights.rows(); ++i)
        weights.row(i).tail(weights.cols() - i - 1).setConstant(-std::numeric_limits<float>::infinity());
    for (Index i = 0; i < weights.rows(); ++i) {
      weights.row(i) = (weights.row(i).array() - weights.row(i).maxCoeff()).exp();
      weights.row(i) /= weights.row(i).sum();
    }
    out.noalias() = weights * v;
  }

  void backward(const Matrix<float>& q, const Matrix<float>& k, const Matrix<float>& v, const Matrix<float>& d_out) {
    d_v.noalias() = weights.transpose() * d_out;
    d_weights.noalias() = d_out * v.transpose();
    for (Index i = 0; i < weights.rows(); ++i) {
      const float mean = weights.row(i).dot(d_weights.row(i));
      d_weights.row(i) = weights.row(i).array() * (d_weights.row(i).array() - mean);
    }
    d_weights *= 1 / std::sqrt(static_cast<float>(q.cols()));
    d_q.noalias() = d_weights * k;
    d_k.noalias() = d_weights.transpose() * q;
  }
};

}  // namespace eigenformer::bench
