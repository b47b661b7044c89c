// Learning rate schedules.
#pragma once

#include <algorithm>
#include <cmath>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Learning rate that rises linearly to `peak` over `warmup` updates, then falls with the inverse square root of the
/// update number.
struct InverseSquareRoot {
  double peak = 1e-3;
  Index warmup = 4000;

  /// Returns the learning rate of update number `update`, counted from 1.
  double operator()(Index update) const {
    const double t = static_cast<double>(std::max<Index>(update, 1));
    const double w = static_cast<double>(std::max<Index>(warmup, 1));
    return peak * std::min<double>(t / w, std::sqrt(w / t));
  }
};

/// Learning rate factor * width^-0.5 * min(t^-0.5, t * warmup^-1.5) of update t: equation 3 of Vaswani et al. 2017
/// ("Noam"). It equals InverseSquareRoot with peak = factor / sqrt(width * warmup).
struct NoamSchedule {
  Index width = 512;
  Index warmup = 4000;
  double factor = 1;

  /// Returns the learning rate of update number `update`, counted from 1.
  double operator()(Index update) const {
    const double peak =
        factor / std::sqrt(static_cast<double>(width) * static_cast<double>(std::max<Index>(warmup, 1)));
    return InverseSquareRoot{peak, warmup}(update);
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
