// What BLEU and chrF share: counting the n-grams that two sentences have in common.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <vector>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The n-grams of one order, an n-gram as often as it occurs.
struct NgramCounts {
  Index hypothesis = 0;
  Index reference = 0;
  Index matches = 0;  ///< an n-gram of both as often as it occurs in the one that has it less often

  NgramCounts& operator+=(const NgramCounts& other) {
    hypothesis += other.hypothesis;
    reference += other.reference;
    matches += other.matches;
    return *this;
  }
};

/// The n-grams of orders 1 to Orders, order n at [n - 1]. `Symbol` is what a sentence is made of: a word, a character.
///
/// The beginnings of Orders symbols at every place of both sentences are sorted once. Equal n-grams of each order then
/// stand together, parted wherever two neighbours share fewer than n symbols. (A hash table for each order would hash
/// every symbol once an order.)
template <std::size_t Orders, class Symbol>
std::array<NgramCounts, Orders> count_ngrams(std::span<const Symbol> hypothesis, std::span<const Symbol> reference) {
  struct Gram {
    std::span<const Symbol> symbols;  // Orders of them, fewer at the end of the sentence
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
  std::array<NgramCounts, Orders> run{};  // of equal n-grams, up to this place
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

/// What stands in a metric's signature in sacreBLEU's place for its own version.
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
