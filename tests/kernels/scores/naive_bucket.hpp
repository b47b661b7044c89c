// T5's buckets as its authors wrote them, in terms of key - query: what RelativeBuckets is held against.
#pragma once

#include <cmath>

#include "eigenformer/kernels/scores/relative_bias.hpp"

namespace eigenformer::testing {

inline Index naive_bucket(Index relative_position, const RelativeBuckets& b) {
  Index result = 0, buckets = b.buckets;
  if (b.bidirectional) {
    buckets /= 2;
    if (relative_position > 0) result += buckets;
    relative_position = std::abs(relative_position);
  } else {
    relative_position = -std::min<Index>(relative_position, 0);
  }
  const Index exact = buckets / 2;
  if (relative_position < exact) return result + relative_position;
  const auto as_double = [](Index i) { return static_cast<double>(i); };
  const double large = as_double(exact) + std::log(as_double(relative_position) / as_double(exact)) /
                                              std::log(as_double(b.max_distance) / as_double(exact)) *
                                              as_double(buckets - exact);
  return result + std::min(static_cast<Index>(large), buckets - 1);
}

}  // namespace eigenformer::testing
