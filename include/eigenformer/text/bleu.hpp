// Corpus BLEU (Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation"), as sacreBLEU 2
// computes it by default with one reference: n-grams up to 4, "exp" smoothing (Chen and Cherry 2014, method 3).
#pragma once

#include <array>
#include <cmath>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/text/lower_case.hpp"
#include "eigenformer/text/ngrams.hpp"
#include "eigenformer/text/utf8.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// How to split sentences into words before comparing them. The names are sacreBLEU's:
/// - `none`: at white space only, for tokenised text
/// - `13a`: like WMT's mteval-v13a.pl
/// - `char`: into code points, for Chinese and Japanese
enum class BleuTokenizer { none, v13a, character };

constexpr auto enum_names(BleuTokenizer) {
  return std::to_array<EnumName<BleuTokenizer>>(
      {{BleuTokenizer::none, "none"}, {BleuTokenizer::v13a, "13a"}, {BleuTokenizer::character, "char"}});
}

struct Bleu {
  double score = 0;                    ///< 0 to 100
  std::array<double, 4> precisions{};  ///< 0 to 100: percent of the hypotheses' n-grams that match, smoothed
  double brevity_penalty = 0;          ///< 1 unless the hypotheses are shorter than the references
  Index hypothesis_length = 0;         ///< words
  Index reference_length = 0;
  std::string signature;  ///< the settings to report with the score, in sacreBLEU's format
};

namespace detail {

inline void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::string result;
  std::size_t begin = 0;
  for (std::size_t i = text.find(from); i != std::string::npos; i = text.find(from, begin)) {
    result.append(text, begin, i - begin).append(to);
    begin = i + from.size();
  }
  if (begin > 0) text = result.append(text, begin, std::string::npos);
}

inline bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
inline bool is_period_or_comma(char c) {
  return c == '.' || c == ',';
}

/// Whether a character is a space or an ASCII symbol other than apostrophe, comma, hyphen and period.
inline bool is_13a_symbol(char c) {
  return (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || c == '/' || (c >= ':' && c <= '@') ||
         (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/// Replaces every pair of adjacent characters that satisfies `matches`, like a regular expression of two characters.
/// rewrite(result, a, b) appends the replacement; the search continues after the pair. Bytes are enough, because 13a
/// adds spaces only next to ASCII characters.
template <class Matches, class Rewrite>
std::string rewrite_pairs(std::string_view text, Matches&& matches, Rewrite&& rewrite) {
  std::string result;
  result.reserve(text.size() + text.size() / 2);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i + 1 < text.size() && matches(text[i], text[i + 1])) {
      rewrite(result, text[i], text[i + 1]);
      ++i;
    } else {
      result += text[i];
    }
  }
  return result;
}

/// Inserts spaces where 13a splits words. The order of the rules matters. Matches do not overlap, so "1...5" becomes
/// "1 . . .5".
inline std::string tokenize_13a(std::string_view line) {
  std::string text(line);
  // Remove trailing white space first, so that a hyphen before the final line break stays.
  const std::vector<std::string_view> words = split_words(text);
  text.resize(words.empty() ? 0 : static_cast<std::size_t>(words.back().data() + words.back().size() - text.data()));
  replace_all(text, "<skipped>", "");
  replace_all(text, "-\n", "");
  replace_all(text, "\n", " ");
  replace_all(text, "&quot;", "\"");
  replace_all(text, "&amp;", "&");
  replace_all(text, "&lt;", "<");
  replace_all(text, "&gt;", ">");

  std::string parted = " ";
  for (const char c : text) {
    if (is_13a_symbol(c)) {
      parted.append({' ', c, ' '});
    } else {
      parted += c;
    }
  }
  parted += ' ';
  parted = rewrite_pairs(
      parted, [](char a, char b) { return !is_digit(a) && is_period_or_comma(b); },
      [](std::string& out, char a, char b) {
        out.append({a, ' ', b, ' '});
      });
  parted = rewrite_pairs(
      parted, [](char a, char b) { return is_period_or_comma(a) && !is_digit(b); },
      [](std::string& out, char a, char b) {
        out.append({' ', a, ' ', b});
      });
  return rewrite_pairs(
      parted, [](char a, char b) { return is_digit(a) && b == '-'; },
      [](std::string& out, char a, char b) {
        out.append({a, ' ', b, ' '});
      });
}

/// Returns the words of a line, as views of the line or of `buffer`.
inline std::vector<std::string_view> bleu_words(std::string_view line, BleuTokenizer tokenizer, bool lowercase,
                                                std::string& buffer) {
  if (lowercase) {
    buffer = lower_case(line, "bleu");
    line = buffer;
  } else {
    check_utf8(line, "bleu");
  }
  if (tokenizer == BleuTokenizer::none) return split_words(line);
  if (tokenizer == BleuTokenizer::v13a) {
    buffer = tokenize_13a(line);
    return split_words(buffer);
  }
  std::vector<std::string_view> characters;
  for (const CodePoint& c : CodePoints(line))
    if (!is_white_space(c.value)) characters.push_back(c.bytes);
  return characters;
}

inline Bleu bleu_from_counts(const std::array<NgramCounts, 4>& counts) {
  Bleu bleu;
  bleu.hypothesis_length = counts[0].hypothesis;
  bleu.reference_length = counts[0].reference;
  const auto hypothesis_length = static_cast<double>(bleu.hypothesis_length);
  const auto reference_length = static_cast<double>(bleu.reference_length);
  if (bleu.hypothesis_length >= bleu.reference_length) {
    bleu.brevity_penalty = 1;
  } else if (bleu.hypothesis_length > 0) {
    bleu.brevity_penalty = std::exp(1 - reference_length / hypothesis_length);
  }
  if (counts[0].matches == 0) return bleu;  // no word matches, so longer n-grams cannot match either

  double log_precisions = 0;
  double smoothing = 1;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i].hypothesis == 0) return bleu;  // no hypothesis is that long: the score stays 0
    auto matches = static_cast<double>(counts[i].matches);
    if (counts[i].matches == 0) matches = 1 / (smoothing *= 2);
    bleu.precisions[i] = 100 * matches / static_cast<double>(counts[i].hypothesis);
    log_precisions += std::log(bleu.precisions[i]);
  }
  bleu.score = bleu.brevity_penalty * std::exp(log_precisions / static_cast<double>(counts.size()));
  return bleu;
}

}  // namespace detail

/// Returns the corpus BLEU of hypotheses[i] against references[i]: n-gram counts are summed over all sentences before
/// the division. Throws if the numbers of sentences differ, if there are none, or if a text is not UTF-8.
///
/// Agrees with sacreBLEU, except for the final sigma with `lowercase`: see lower_case.
inline Bleu bleu(std::span<const std::string> hypotheses, std::span<const std::string> references,
                 BleuTokenizer tokenizer, bool lowercase = false) {
  detail::check_sentence_pairs("bleu", hypotheses, references);
  std::array<NgramCounts, 4> counts{};
  std::string hypothesis_buffer;
  std::string reference_buffer;
  for (std::size_t i = 0; i < hypotheses.size(); ++i) {
    const std::vector<std::string_view> hypothesis =
        detail::bleu_words(hypotheses[i], tokenizer, lowercase, hypothesis_buffer);
    const std::vector<std::string_view> reference =
        detail::bleu_words(references[i], tokenizer, lowercase, reference_buffer);
    const auto sentence = count_ngrams<4, std::string_view>(hypothesis, reference);
    for (std::size_t n = 0; n < counts.size(); ++n) counts[n] += sentence[n];
  }
  Bleu bleu = detail::bleu_from_counts(counts);
  bleu.signature.append("nrefs:1|case:").append(lowercase ? "lc" : "mixed").append("|eff:no|tok:");
  bleu.signature.append(to_string(tokenizer)).append("|smooth:exp|").append(detail::signature_version());
  return bleu;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
