// Learning rates over the course of training.
#pragma once

#include <algorithm>
#include <cmath>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Rises linearly for `warmup` updates up to `peak`, then falls with the square root of the number of updates.
struct InverseSquareRoot {
  double peak = 1e-3;
  Index warmup = 4000;

  /// The rate of update number `update`, from 1.
  double operator()(Index update) const {
    const double t = static_cast<double>(std::max<Index>(update, 1));
    const double w = static_cast<double>(std::max<Index>(warmup, 1));
    return peak * std::min<double>(t / w, std::sqrt(w / t));
  }
};

/// factor * width^-0.5 * min(t^-0.5, t * warmup^-1.5): equation 3 of Vaswani et al. 2017 ("Noam"), which is the above
/// with its peak given by the width.
struct NoamSchedule {
  Index width = 512;
  Index warmup = 4000;
  double factor = 1;

  double operator()(Index update) const {
    const double peak =
        factor / std::sqrt(static_cast<double>(width) * static_cast<double>(std::max<Index>(warmup, 1)));
    return InverseSquareRoot{peak, warmup}(update);
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
