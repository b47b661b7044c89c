// Counts the n-grams that two sentences share, for BLEU and chrF.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <vector>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Counts of n-grams of one order. Repeated n-grams count each time.
struct NgramCounts {
  Index hypothesis = 0;
  Index reference = 0;
  Index matches = 0;  ///< the sum, over all distinct n-grams, of the smaller of their two counts

  NgramCounts& operator+=(const NgramCounts& other) {
    hypothesis += other.hypothesis;
    reference += other.reference;
    matches += other.matches;
    return *this;
  }
};

/// Counts the n-grams of orders 1 to Orders; entry [n - 1] is order n. `Symbol` is a word or a character.
///
/// Only the longest n-grams are sorted: those of order Orders, at all positions of both sentences. Equal n-grams of
/// every order n are then adjacent: a run ends where two neighbours share fewer than n leading symbols. A hash table
/// per order would hash every symbol n times for order n.
template <std::size_t Orders, class Symbol>
std::array<NgramCounts, Orders> count_ngrams(std::span<const Symbol> hypothesis, std::span<const Symbol> reference) {
  struct Gram {
    std::span<const Symbol> symbols;  // Orders symbols, or fewer at the end of the sentence
    bool in_reference;
  };
  std::vector<Gram> grams;
  grams.reserve(hypothesis.size() + reference.size());
  const auto add = [&](std::span<const Symbol> sentence, bool in_reference) {
    for (std::size_t i = 0; i < sentence.size(); ++i)
      grams.push_back({sentence.subspan(i, std::min<std::size_t>(Orders, sentence.size() - i)), in_reference});
  };
  add(hypothesis, false);
  add(reference, true);
  std::sort(grams.begin(), grams.end(), [](const Gram& a, const Gram& b) {
    return std::lexicographical_compare(a.symbols.begin(), a.symbols.end(), b.symbols.begin(), b.symbols.end());
  });

  std::array<NgramCounts, Orders> counts{};
  std::array<NgramCounts, Orders> run{};  // the current run of equal n-grams
  const auto end_run = [&](std::size_t order) {
    run[order].matches = std::min<Index>(run[order].hypothesis, run[order].reference);
    counts[order] += run[order];
    run[order] = {};
  };
  for (std::size_t i = 0; i < grams.size(); ++i) {
    const std::span<const Symbol> symbols = grams[i].symbols;
    std::size_t shared = 0;
    if (i > 0) {
      const std::span<const Symbol> before = grams[i - 1].symbols;
      while (shared < std::min<std::size_t>(symbols.size(), before.size()) && symbols[shared] == before[shared])
        ++shared;
    }
    for (std::size_t order = shared; order < Orders; ++order) end_run(order);
    for (std::size_t order = 0; order < symbols.size(); ++order)
      ++(grams[i].in_reference ? run[order].reference : run[order].hypothesis);
  }
  for (std::size_t order = 0; order < Orders; ++order) end_run(order);
  return counts;
}

namespace detail {

/// Returns the version field of a metric's signature, where sacreBLEU writes its own version.
inline std::string signature_version() {
  return "version:eigenformer-" + std::to_string(EIGENFORMER_VERSION_MAJOR) + '.' +
         std::to_string(EIGENFORMER_VERSION_MINOR) + '.' + std::to_string(EIGENFORMER_VERSION_PATCH);
}

inline void check_sentence_pairs(const char* where, std::span<const std::string> hypotheses,
                                 std::span<const std::string> references) {
  check(hypotheses.size() == references.size(), where, ": ", hypotheses.size(), " hypotheses, ", references.size(),
        " references");
  check(!hypotheses.empty(), where, ": there are no sentences");
}

}  // namespace detail

}  // namespace eigenformer::inline EIGENFORMER_ABI
