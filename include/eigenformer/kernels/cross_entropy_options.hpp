// What a cross entropy is told besides its logits and labels.
#pragma once

#include <span>

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// What the tokens' losses are made into: their sum, or their mean over the labels that are not ignored, each counted
/// by its class's weight.
enum class Reduction { mean, sum };

/// How a cross entropy is taken.
struct CrossEntropyOptions {
  double label_smoothing = 0;  // this share of the target is spread over all classes alike, the label's included
  Token ignore_index = -100;   // rows with this label count for nothing
  Reduction reduction = Reduction::mean;
  std::span<const double> class_weights{};  // what each class counts; by default 1. Must outlive the backward
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
