// Learning rate schedules. They depend only on the number of the update, so that a run can continue exactly.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

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

namespace detail {

/// Returns the factor of linear warm-up, which rises to 1 over `warmup` updates.
inline double warmup_factor(Index update, Index warmup) {
  return warmup <= 0 ? 1 : std::min<double>(1, static_cast<double>(update) / static_cast<double>(warmup));
}

/// Returns how much of the way from `begin` to `end` is done, from 0 to 1.
inline double share_done(Index update, Index begin, Index end) {
  if (update >= end) return 1;
  return update <= begin ? 0 : static_cast<double>(update - begin) / static_cast<double>(end - begin);
}

}  // namespace detail

/// Learning rate that rises linearly to `peak` over `warmup` updates, then falls along half a cosine. It reaches
/// floor * peak at update `updates` (Loshchilov and Hutter 2017, arXiv 1608.03983, equation 5, without restarts).
struct CosineSchedule {
  double peak = 1e-3;
  Index warmup = 1000;
  Index updates = 100'000;
  double floor = 0;

  /// Returns the learning rate of update number `update`, counted from 1.
  double operator()(Index update) const {
    const double cosine = (1 + std::cos(std::numbers::pi * detail::share_done(update, warmup, updates))) / 2;
    return peak * detail::warmup_factor(update, warmup) * (floor + (1 - floor) * cosine);
  }
};

/// Learning rate that rises linearly to `peak` over `warmup` updates, then falls linearly. It reaches floor * peak at
/// update `updates`.
struct LinearSchedule {
  double peak = 1e-3;
  Index warmup = 1000;
  Index updates = 100'000;
  double floor = 0;

  /// Returns the learning rate of update number `update`, counted from 1.
  double operator()(Index update) const {
    const double left = 1 - detail::share_done(update, warmup, updates);
    return peak * detail::warmup_factor(update, warmup) * (floor + (1 - floor) * left);
  }
};

/// Learning rate that rises linearly to `peak` over `warmup` updates, stays there, and falls linearly to
/// floor * peak over the last `decay` updates, or over all updates if `decay` is larger ("WSD": Hu et al. 2024, arXiv
/// 2404.06395, section 4). A run can be prolonged from any checkpoint before the decay.
struct WarmupStableDecay {
  double peak = 1e-3;
  Index warmup = 1000;
  Index updates = 100'000;
  Index decay = 10'000;
  double floor = 0;

  /// Returns the learning rate of update number `update`, counted from 1.
  double operator()(Index update) const {
    const double left = 1 - detail::share_done(update, std::max<Index>(updates - decay, 0), updates);
    return peak * detail::warmup_factor(update, warmup) * (floor + (1 - floor) * left);
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
