// BLEU of a corpus (Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation"), as
// sacreBLEU 2 computes it with one reference and its defaults: up to 4-grams, smoothed "exp" (Chen and Cherry 2014,
// method 3).
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

/// How sentences are parted into words before they are compared, with sacreBLEU's names: `none` at white space only,
/// for text that is tokenised; `13a` as WMT's mteval-v13a.pl does; `char` into code points, for Chinese and Japanese.
enum class BleuTokenizer { none, v13a, character };

constexpr auto enum_names(BleuTokenizer) {
  return std::to_array<EnumName<BleuTokenizer>>(
      {{BleuTokenizer::none, "none"}, {BleuTokenizer::v13a, "13a"}, {BleuTokenizer::character, "char"}});
}

struct Bleu {
  double score = 0;                    ///< 0 to 100
  std::array<double, 4> precisions{};  ///< 0 to 100: of the hypotheses' n-grams, how many are in the reference
  double brevity_penalty = 0;          ///< 1 unless the hypotheses are shorter than the references
  Index hypothesis_length = 0;         ///< words
  Index reference_length = 0;
  std::string signature;  ///< what has to be stated with the score, in sacreBLEU's form
};

namespace detail {

inline void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t i = text.find(from); i != std::string::npos; i = text.find(from, i + to.size()))
    text.replace(i, from.size(), to);
}

inline bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
inline bool is_period_or_comma(char c) {
  return c == '.' || c == ',';
}

/// ASCII's symbols but for the apostrophe, comma, hyphen and period.
inline bool is_13a_symbol(char c) {
  return (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || c == '/' || (c >= ':' && c <= '@') ||
         (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/// Goes over `text` and, wherever two characters satisfy `matches`, writes what `rewrite` makes of the two and goes on
/// after them: a regular expression of two characters. The characters that count are ASCII, so bytes serve.
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

/// Puts spaces where 13a parts words. The order of its rules matters, and that a character which one match has used is
/// not looked at by the next: "1...5" is "1 . . .5".
inline std::string tokenize_13a(std::string_view line) {
  std::string text(line);
  // White space at the end goes first, so that a hyphen before the last line break stays.
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

/// The words of a line, which are views of it or of `buffer`.
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
  if (counts[0].matches == 0) return bleu;  // no word is right, so no longer n-gram is

  double log_precisions = 0;
  double smoothing = 1;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i].hypothesis == 0) return bleu;  // no hypothesis has that many words: the score stays 0
    auto matches = static_cast<double>(counts[i].matches);
    if (counts[i].matches == 0) matches = 1 / (smoothing *= 2);
    bleu.precisions[i] = 100 * matches / static_cast<double>(counts[i].hypothesis);
    log_precisions += std::log(bleu.precisions[i]);
  }
  bleu.score = bleu.brevity_penalty * std::exp(log_precisions / static_cast<double>(counts.size()));
  return bleu;
}

}  // namespace detail

/// BLEU of hypotheses[i] against references[i], summed over the corpus before anything is divided. Throws if their
/// numbers differ, if there are none, and for text that is not UTF-8.
///
/// Agrees with sacreBLEU but for lower_case's exception.
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
