// Sampling of the next token, with temperature, top-k (Fan et al. 2018) and nucleus sampling, which is top-p (Holtzman
// et al. 2020, arXiv 1904.09751).
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/decode/detail/top_tokens.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct SamplingOptions {
  Index topk = 0;          // draws from this number of likeliest tokens; 0: from all
  double topp = 1;         // draws from the fewest likeliest tokens that together have this probability
  double temperature = 1;  // divides the logits
};

/// Buffers that calls of sample_token reuse.
struct SamplingBuffers {
  std::vector<Token> tokens;
  std::vector<double> weights;
};

/// Draws a token. The logits are divided by the temperature. The draw is then restricted to the topk likeliest tokens,
/// and to the fewest likeliest of these that have the share topp of their probability. Equally likely tokens are
/// ordered by number. uniform: a uniform random number in [0, 1), which decides the draw; no other random number is
/// used. Throws if an option is out of range, if all logits are minus infinity, or if a token that may be drawn has the
/// logit NaN or infinity.
template <class Scalar>
Token sample_token(std::span<const Scalar> logits, const SamplingOptions& options, double uniform,
                   SamplingBuffers& buffers) {
  check(options.topk >= 0, "sample_token: topk is ", options.topk, ", expected 0 or more");
  check(options.topp > 0 && options.topp <= 1, "sample_token: topp is ", options.topp, ", expected above 0, at most 1");
  check(options.temperature > 0, "sample_token: temperature is ", options.temperature, ", expected above 0");
  const auto size = static_cast<Index>(logits.size());
  const Index kept = options.topk == 0 ? size : std::min<Index>(options.topk, size);
  buffers.tokens.resize(static_cast<std::size_t>(kept));
  if (kept < size) {
    buffers.tokens.resize(static_cast<std::size_t>(detail::top_tokens(logits.data(), size, std::span(buffers.tokens))));
  } else {
    buffers.tokens.clear();
    for (Index j = 0; j < size; ++j)
      if (!detail::is_minus_infinity(logits[static_cast<std::size_t>(j)]))
        buffers.tokens.push_back(static_cast<Token>(j));
  }
  std::vector<Token>& tokens = buffers.tokens;
  check(!tokens.empty(), "sample_token: all ", size, " logits are minus infinity");
  const auto logit = [&](Token token) { return static_cast<double>(logits[static_cast<std::size_t>(token)]); };

  double largest = logit(tokens.front()), total = 0;
  for (const Token token : tokens) largest = std::max<double>(largest, logit(token));
  const auto weight = [&](Token token) { return std::exp((logit(token) - largest) / options.temperature); };
  buffers.weights.clear();
  if (options.topp < 1) {
    double all = 0;
    for (const Token token : tokens) all += weight(token);
    check(detail::is_finite(all), "sample_token: the logits are not finite");
    // A heap yields the likeliest tokens one by one; usually few are needed.
    const auto less_likely = [&](Token a, Token b) { return logit(a) != logit(b) ? logit(a) < logit(b) : a > b; };
    std::make_heap(tokens.begin(), tokens.end(), less_likely);
    auto end = tokens.end();
    while (end != tokens.begin() && total < options.topp * all) {
      std::pop_heap(tokens.begin(), end--, less_likely);
      buffers.weights.push_back(weight(*end));
      total += buffers.weights.back();
    }
    std::reverse(tokens.begin(), tokens.end());  // the likeliest first
    tokens.resize(buffers.weights.size());
  } else {
    for (const Token token : tokens) {
      buffers.weights.push_back(weight(token));
      total += buffers.weights.back();
    }
  }

  check(detail::is_finite(total), "sample_token: the logits are not finite");
  double until = 0;
  std::size_t last = 0;  // the last token that can be drawn, in case rounding leads past the end
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (buffers.weights[i] == 0) continue;
    last = i;
    until += buffers.weights[i];
    if (uniform * total < until) break;
  }
  return tokens[last];
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
