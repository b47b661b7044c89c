// Finds the likeliest tokens of a row of logits.
#pragma once

#include <algorithm>
#include <limits>
#include <span>

#include "eigenformer/kernels/detail/rows/row_pieces.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Like top_tokens, but faster for many tokens: keeps them in a heap with the least likely one at the front. `top` must
/// not be empty.
template <class Scalar>
Index many_top_tokens(const Scalar* logits, Index size, std::span<Token> top) {
  const auto is_before = [&](Token a, Token b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  const auto begin = top.begin();
  auto end = begin;
  for (Index j = 0; j < size; ++j) {
    const Scalar logit = logits[j];
    if (is_minus_infinity(logit) || !(logit == logit)) continue;
    if (end == top.end()) {
      if (!(logit > logits[top.front()])) continue;
      std::pop_heap(begin, end--, is_before);
    }
    *end++ = static_cast<Token>(j);
    std::push_heap(begin, end, is_before);
  }
  std::sort_heap(begin, end, is_before);
  return end - begin;
}

/// Writes the tokens with the largest logits to `top`, the largest first; equal logits in the order of their tokens.
/// Omits tokens whose logit is minus infinity or NaN. Returns the number of tokens written: at most top.size().
template <class Scalar>
Index top_tokens(const Scalar* logits, Index size, std::span<Token> top) {
  const Index wanted = std::min<Index>(size, static_cast<Index>(top.size()));
  if (wanted == 0) return 0;
  constexpr Index few = 64;  // for more tokens, a heap is faster than inserting into a sorted list
  if (wanted > few) return many_top_tokens(logits, size, top.first(static_cast<std::size_t>(wanted)));
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
