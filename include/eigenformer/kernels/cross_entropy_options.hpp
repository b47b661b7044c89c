// The options of the cross entropy kernels.
#pragma once

#include <span>

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// How the losses of tokens are reduced: to their sum, or to their mean. The mean is the sum divided by the total class
/// weight of the labels that are not ignored.
enum class Reduction { mean, sum };

/// Options of cross entropy.
struct CrossEntropyOptions {
  double label_smoothing = 0;  // share of the target spread evenly over all classes, including the label
  Token ignore_index = -100;   // rows with this label are ignored
  Reduction reduction = Reduction::mean;
  std::span<const double> class_weights{};  // weight of each class; by default 1. Must outlive the backward
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
