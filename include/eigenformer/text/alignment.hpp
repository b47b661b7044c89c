// Word alignments: reading, writing and comparing links between source and target words.
#pragma once

#include <algorithm>
#include <charconv>
#include <compare>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eigenformer/text/corpus.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A link between a source word and its translation. Words are counted from 0.
struct AlignmentLink {
  Index source = 0;
  Index target = 0;
  friend auto operator<=>(const AlignmentLink&, const AlignmentLink&) = default;  // NOLINT(modernize-use-nullptr)
};

/// The links of a sentence pair, ordered by source and then target word. A word may have any number of links.
using WordAlignment = std::set<AlignmentLink>;

namespace detail {

/// Returns the non-negative integer that `text` spells, or -1 if it contains anything else.
inline Index parse_word_number(std::string_view text) {
  Index number = -1;
  if (text.empty() || text.front() < '0' || text.front() > '9') return -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : -1;
}

inline WordAlignment parse_links(std::string_view line, std::string_view where) {
  WordAlignment links;
  for (const std::string_view word : split_words(line)) {
    const std::size_t hyphen = word.find('-');
    AlignmentLink link{parse_word_number(word.substr(0, hyphen)), -1};
    if (hyphen != std::string_view::npos) link.target = parse_word_number(word.substr(hyphen + 1));
    check(link.source >= 0 && link.target >= 0, where, ": expected links as in 0-0 1-2, given \"", word, "\" at byte ",
          static_cast<std::size_t>(word.data() - line.data()));
    links.insert(link);
  }
  return links;
}

}  // namespace detail

/// Parses a line in Pharaoh's format, such as "0-0 1-2": source-target pairs, counted from 0, in any order. An empty
/// line has no links. Throws for any other text. where: begins the message, such as a file and a line.
inline WordAlignment parse_alignment(std::string_view line, std::string_view where = "parse_alignment") {
  check_utf8(line, where);
  return detail::parse_links(line, where);
}

/// Reads a file in Pharaoh's format, one alignment per line. Throws like read_lines and parse_alignment; the message
/// names the file and the line.
inline std::vector<WordAlignment> read_alignments(const std::filesystem::path& path) {
  std::vector<WordAlignment> alignments;
  detail::for_each_line(path, [&](const std::string& line, const std::string& where) {
    alignments.push_back(detail::parse_links(line, where));
  });
  return alignments;
}

/// Returns the links in Pharaoh's format, in order: "0-0 1-2".
inline std::string to_string(const WordAlignment& alignment) {
  std::string text;
  for (const AlignmentLink& link : alignment) {
    if (!text.empty()) text += ' ';
    text.append(std::to_string(link.source)).append("-").append(std::to_string(link.target));
  }
  return text;
}

/// Returns the number of links that two alignments share.
inline Index links_in_common(const WordAlignment& a, const WordAlignment& b) {
  return std::count_if(a.begin(), a.end(), [&](const auto& link) { return b.contains(link); });
}

/// Returns the alignment error rate of a corpus, from 0 to 1 (Och and Ney 2003, "A Systematic Comparison of Various
/// Statistical Alignment Models", section 5):
///
///   AER = 1 - (|A & S| + |A & P|) / (|A| + |S|)
///
/// - A: the alignments to evaluate
/// - S: the links that annotators were sure of
/// - P: the links that they found possible, which include S
///
/// Each count is summed over all sentences before the division. Throws if the numbers of sentences differ, if a sure
/// link is not possible, or if A and S have no links at all.
inline double alignment_error_rate(std::span<const WordAlignment> alignments, std::span<const WordAlignment> sure,
                                   std::span<const WordAlignment> possible) {
  check(alignments.size() == sure.size() && sure.size() == possible.size(), "alignment_error_rate: alignments of ",
        alignments.size(), " sentences, sure links of ", sure.size(), ", possible links of ", possible.size());
  Index found = 0, total = 0;
  for (std::size_t i = 0; i < alignments.size(); ++i) {
    for (const AlignmentLink& link : sure[i])
      check(possible[i].contains(link), "alignment_error_rate: sentence ", i, ": the sure link ", link.source, "-",
            link.target, " is not among the possible");
    found += links_in_common(alignments[i], sure[i]) + links_in_common(alignments[i], possible[i]);
    total += static_cast<Index>(alignments[i].size() + sure[i].size());
  }
  check(total > 0, "alignment_error_rate: there are no links");
  return 1 - static_cast<double>(found) / static_cast<double>(total);
}

/// Returns the alignment error rate against reference links that are all sure: 1 - F1. Throws if the numbers of
/// sentences differ, or if there are no links at all.
inline double alignment_error_rate(std::span<const WordAlignment> alignments, std::span<const WordAlignment> sure) {
  return alignment_error_rate(alignments, sure, sure);
}

/// Links each target word to the source word with the largest weight, or the first of equal ones.
/// weights: [target words x source words], such as one head's attention weights; any Eigen matrix or expression.
template <class Derived>
WordAlignment best_links(const Eigen::MatrixBase<Derived>& weights) {
  WordAlignment links;
  const auto& w = weights.derived().eval();  // copies expressions, but not matrices
  if (w.cols() == 0) return links;
  for (Index target = 0; target < w.rows(); ++target) {
    Index best = 0;
    for (Index source = 1; source < w.cols(); ++source)
      if (w(target, source) > w(target, best)) best = source;
    links.insert({best, target});
  }
  return links;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
