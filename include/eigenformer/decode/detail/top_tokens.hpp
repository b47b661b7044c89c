// Finds the likeliest tokens of a row of logits.
#pragma once

#include <algorithm>
#include <limits>
#include <span>

#include "eigenformer/kernels/detail/rows/row_pieces.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Writes the tokens with the largest logits to `top`, the largest first; equal logits in the order of their tokens.
/// Omits tokens whose logit is minus infinity or NaN. Returns the number of tokens written: at most top.size().
template <class Scalar>
Index top_tokens(const Scalar* logits, Index size, std::span<Token> top) {
  const Index wanted = std::min<Index>(size, static_cast<Index>(top.size()));
  if (wanted == 0) return 0;
  Index found = 0;
  const auto logit_at = [&](Index place) { return logits[top[static_cast<std::size_t>(place)]]; };
  constexpr Index together = 8 * piece_size<Scalar>;  // most stretches of a row are skipped by one comparison
  for (Index begin = 0; begin < size; begin += together) {
    const Index end = std::min<Index>(size, begin + together);
    if (found == wanted && !(row_max(logits + begin, end - begin) > logit_at(wanted - 1))) continue;
    for (Index j = begin; j < end; ++j) {
      const Scalar logit = logits[j];
      if (is_minus_infinity(logit) || !(logit == logit)) continue;
      if (found == wanted && !(logit > logit_at(wanted - 1))) continue;
      Index place = found < wanted ? found++ : wanted - 1;
      for (; place > 0 && logit_at(place - 1) < logit; --place)
        top[static_cast<std::size_t>(place)] = top[static_cast<std::size_t>(place - 1)];
      top[static_cast<std::size_t>(place)] = static_cast<Token>(j);
    }
  }
  return found;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
