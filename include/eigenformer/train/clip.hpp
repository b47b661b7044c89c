// Keeping gradients from exploding.
#pragma once

#include <cmath>
#include <string>

#include "eigenformer/autograd/gradients.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The Euclidean norm of all of a model's gradients taken as one vector, summed in double in the parameters' order.
template <class Scalar, class Model>
double global_norm(const Model& model, const Gradients<Scalar>& gradients) {
  double sum = 0;
  for_each_parameter(model, [&](const std::string&, const Parameter<Scalar>& parameter) {
    const Matrix<Scalar>* gradient = gradients.find(parameter);
    if (gradient == nullptr) return;
    for (Index r = 0; r < gradient->rows(); ++r) sum += static_cast<double>(gradient->row(r).squaredNorm());
  });
  return std::sqrt(sum);
}

/// The factor that brings a gradient of norm `norm` to at most `largest` (Pascanu et al. 2013, algorithm 1); 1 if
/// `largest` is 0, which stands for no limit.
inline double clip_factor(double norm, double largest) {
  return largest > 0 && norm > largest ? largest / norm : 1;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
