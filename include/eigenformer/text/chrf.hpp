// Corpus chrF (Popovic 2015, "chrF: character n-gram F-score for automatic MT evaluation") and chrF++ (Popovic 2017),
// as sacreBLEU 2 computes them by default with one reference: character n-grams up to 6, without white space, beta = 2
// (recall weighs twice as much as precision).
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eigenformer/text/lower_case.hpp"
#include "eigenformer/text/ngrams.hpp"
#include "eigenformer/text/utf8.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct ChrfOptions {
  Index word_order = 0;  ///< also counts word n-grams up to this order: 0 is chrF, 2 is chrF++
  bool lowercase = false;
};

struct Chrf {
  double score = 0;       ///< 0 to 100
  std::string signature;  ///< the settings to report with the score, in sacreBLEU's format
};

namespace detail {

inline constexpr std::size_t chrf_characters = 6;
inline constexpr std::size_t chrf_words = 2;

/// A line as chrF compares it: its characters without white space, and its words.
struct ChrfSentence {
  std::u32string characters;
  std::vector<std::string_view> words;
};

/// Adds a word, splitting one ASCII punctuation mark off it: at the end if there is one, else at the beginning. "(hi)"
/// becomes "(hi" and ")".
inline void add_chrf_words(std::string_view word, std::vector<std::string_view>& words) {
  const auto is_mark = [](char byte) {
    const auto value = static_cast<unsigned char>(byte);
    return value < 0x80 && is_punctuation(value);
  };
  if (word.size() > 1 && is_mark(word.back())) {
    words.push_back(word.substr(0, word.size() - 1));
    words.push_back(word.substr(word.size() - 1));
  } else if (word.size() > 1 && is_mark(word.front())) {
    words.push_back(word.substr(0, 1));
    words.push_back(word.substr(1));
  } else {
    words.push_back(word);
  }
}

/// Splits a line into characters and words. The words are views of the line or of `buffer`.
inline ChrfSentence chrf_sentence(std::string_view line, const ChrfOptions& options, std::string& buffer) {
  if (options.lowercase) {
    buffer = lower_case(line, "chrf");
    line = buffer;
  }
  ChrfSentence sentence;
  for (const std::string_view word : split_words(line, "chrf")) {
    for (const CodePoint& c : CodePoints(word)) sentence.characters.push_back(c.value);
    if (options.word_order > 0) add_chrf_words(word, sentence.words);
  }
  return sentence;
}

/// Adds a sentence's n-gram counts to the totals. Skips orders for which the reference is too short, so that they do
/// not count against the hypothesis.
template <std::size_t Orders, class Symbol>
void add_ngrams(std::span<const Symbol> hypothesis, std::span<const Symbol> reference, std::span<NgramCounts> totals) {
  std::array<NgramCounts, Orders> counts = count_ngrams<Orders>(hypothesis, reference);
  for (std::size_t n = 0; n < totals.size(); ++n)
    if (counts[n].reference > 0) totals[n] += counts[n];
}

/// Returns the F-score with beta = 2, from the mean precision and the mean recall over the orders that both sides have.
inline double chrf_score(std::span<const NgramCounts> counts) {
  double precision = 0;
  double recall = 0;
  double orders = 0;
  for (const NgramCounts& count : counts) {
    if (count.hypothesis == 0 || count.reference == 0) continue;
    precision += static_cast<double>(count.matches) / static_cast<double>(count.hypothesis);
    recall += static_cast<double>(count.matches) / static_cast<double>(count.reference);
    orders += 1;
  }
  if (precision + recall == 0) return 0;
  precision /= orders;
  recall /= orders;
  constexpr double factor = 4;  // beta squared
  return 100 * (1 + factor) * precision * recall / (factor * precision + recall);
}

}  // namespace detail

/// Returns the corpus chrF of hypotheses[i] against references[i]: n-gram counts are summed over all sentences before
/// the division. Throws if the numbers of sentences differ, if there are none, if word_order is not 0 to 2, or if a
/// text is not UTF-8.
///
/// Agrees with sacreBLEU, except for the final sigma with `lowercase`: see lower_case.
inline Chrf chrf(std::span<const std::string> hypotheses, std::span<const std::string> references,
                 const ChrfOptions& options = {}) {
  detail::check_sentence_pairs("chrf", hypotheses, references);
  check(options.word_order >= 0 && options.word_order <= static_cast<Index>(detail::chrf_words), "chrf: word_order is ",
        options.word_order, ", expected 0 to ", detail::chrf_words);
  const auto word_order = static_cast<std::size_t>(options.word_order);
  std::array<NgramCounts, detail::chrf_characters + detail::chrf_words> counts{};
  const std::span<NgramCounts> totals = std::span(counts).first(detail::chrf_characters + word_order);
  const auto character_totals = totals.first(detail::chrf_characters);
  const auto word_totals = totals.subspan(detail::chrf_characters);
  std::string hypothesis_buffer;
  std::string reference_buffer;
  for (std::size_t i = 0; i < hypotheses.size(); ++i) {
    const detail::ChrfSentence hypothesis = detail::chrf_sentence(hypotheses[i], options, hypothesis_buffer);
    const detail::ChrfSentence reference = detail::chrf_sentence(references[i], options, reference_buffer);
    detail::add_ngrams<detail::chrf_characters, char32_t>(hypothesis.characters, reference.characters,
                                                          character_totals);
    if (options.word_order > 0)
      detail::add_ngrams<detail::chrf_words, std::string_view>(hypothesis.words, reference.words, word_totals);
  }
  Chrf chrf;
  chrf.score = detail::chrf_score(totals);
  chrf.signature.append("nrefs:1|case:").append(options.lowercase ? "lc" : "mixed").append("|eff:yes|nc:6|nw:");
  chrf.signature.append(std::to_string(word_order)).append("|space:no|").append(detail::signature_version());
  return chrf;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
