// Reads UTF-8 text files. Errors name the file and the line, counted from 1. For invalid UTF-8 they also name the byte
// of the line, counted from 0.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "eigenformer/core/files.hpp"
#include "eigenformer/core/lines.hpp"
#include "eigenformer/text/line_blocks.hpp"
#include "eigenformer/text/utf8.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Sentences and their translations: target[i] translates source[i].
struct ParallelCorpus {
  std::vector<std::string> source;
  std::vector<std::string> target;

  Index size() const { return static_cast<Index>(source.size()); }
};

namespace detail {

/// Calls visit(line, where) for every line of a file. `where` is the line's position for messages, "corpus.txt:17".
/// Throws like read_lines.
template <class Visit>
void for_each_line(const std::filesystem::path& path, Visit&& visit) {
  std::ifstream file = open_for_reading(path);
  LineReader reader(file, path_text(path));
  for (std::string line; reader.next(line);) {
    const std::string where = reader.where();
    check_utf8(line, where);
    visit(line, where);
  }
  check(reader.number() > 0, path_text(path), ": has no lines");
}

inline bool is_blank(std::string_view text) {
  for (const CodePoint& c : CodePoints(text))
    if (!is_white_space(c.value)) return false;
  return true;
}

/// Throws if a side is blank. where: a function that returns the position for the message.
template <class Where>
void check_side(std::string_view text, std::string_view side, Where&& where) {
  if (is_blank(text)) fail(where(), ": ", side, " is empty");
}

}  // namespace detail

/// A sentence and its translation.
struct SentencePair {
  std::string_view source, target;
};

namespace detail {

/// Splits a line into source, tab and target. Ignores columns after a second tab.
template <class Where>
SentencePair split_pair(std::string_view line, Where&& where) {
  const std::size_t tab = line.find('\t');
  if (tab == std::string_view::npos) fail(where(), ": expected source and target separated by a tab");
  const std::string_view others = line.substr(tab + 1);
  const SentencePair pair{line.substr(0, tab), others.substr(0, others.find('\t'))};
  check_side(pair.source, "source", where);
  check_side(pair.target, "target", where);
  return pair;
}

}  // namespace detail

/// Returns pair i of a block. pair_files: 1 if the pairs are in one TSV file (see for_each_pair), 2 if the sources are
/// in the first file and the targets in the second. Further files of the block are ignored. Throws if a line has no
/// tab, or a sentence is empty or white space.
inline SentencePair sentence_pair(const LineBlock& block, Index i, std::size_t pair_files) {
  check((pair_files == 1 || pair_files == 2) && pair_files <= block.files(), "sentence_pair: expected pairs in 1 or 2 ",
        "files, given ", pair_files, " of ", block.files());
  if (pair_files == 1) return detail::split_pair(block.line(0, i), [&] { return block.where(0, i); });
  const SentencePair pair{block.line(0, i), block.line(1, i)};
  detail::check_side(pair.source, "source", [&] { return block.where(0, i); });
  detail::check_side(pair.target, "target", [&] { return block.where(1, i); });
  return pair;
}

/// Returns pair i of a block of one TSV file, or of a file of sources and a file of targets. Files after the second are
/// ignored. Throws like sentence_pair with pair_files.
inline SentencePair sentence_pair(const LineBlock& block, Index i) {
  return sentence_pair(block, i, std::min<std::size_t>(block.files(), 2));
}

/// Returns a file's lines, without line ends (LF or CR LF; the last line may have none) and without a byte order mark.
/// Empty lines are included. Throws if the file cannot be read, is not UTF-8 or has no lines.
inline std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  detail::for_each_line(path, [&](const std::string& line, const std::string&) { lines.push_back(line); });
  return lines;
}

/// Calls visit(source, target) for each pair of a file with a source sentence, a tab and a target sentence per line.
/// Columns after a second tab are ignored. The text is never in memory as a whole. Throws like read_lines. Throws if a
/// line has no tab, or a sentence is empty or white space.
template <class Visit>
void for_each_pair(const std::filesystem::path& path, Visit&& visit) {
  detail::for_each_line(path, [&](std::string_view line, const std::string& where) {
    const SentencePair pair = detail::split_pair(line, [&] { return where; });
    visit(std::string(pair.source), std::string(pair.target));
  });
}

/// Calls visit(source, target) for each pair of two files; line i of the target translates line i of the source. The
/// text is never in memory as a whole. Throws like read_lines. Throws if the numbers of lines differ, or a line is
/// empty or white space.
template <class Visit>
void for_each_pair(const std::filesystem::path& source_path, const std::filesystem::path& target_path, Visit&& visit) {
  std::ifstream source_file = open_for_reading(source_path), target_file = open_for_reading(target_path);
  LineReader sources(source_file, path_text(source_path)), targets(target_file, path_text(target_path));
  std::string source, target;
  bool has_source = sources.next(source), has_target = targets.next(target);
  check(has_source, path_text(source_path), ": has no lines");
  check(has_target, path_text(target_path), ": has no lines");
  for (; has_source && has_target; has_source = sources.next(source), has_target = targets.next(target)) {
    check_utf8(source, sources.where());
    check_utf8(target, targets.where());
    detail::check_side(source, "source", [&] { return sources.where(); });
    detail::check_side(target, "target", [&] { return targets.where(); });
    visit(source, target);
  }
  while (has_source) has_source = sources.next(source);
  while (has_target) has_target = targets.next(target);
  check(sources.number() == targets.number(), path_text(source_path), " has ", sources.number(), " lines, ",
        path_text(target_path), " has ", targets.number());
}

/// Reads all pairs of a file: see for_each_pair.
inline ParallelCorpus read_tsv(const std::filesystem::path& path) {
  ParallelCorpus corpus;
  for_each_pair(path, [&](std::string source, std::string target) {
    corpus.source.push_back(std::move(source));
    corpus.target.push_back(std::move(target));
  });
  return corpus;
}

/// Reads all pairs of two files: see for_each_pair.
inline ParallelCorpus read_parallel(const std::filesystem::path& source_path,
                                    const std::filesystem::path& target_path) {
  ParallelCorpus corpus;
  for_each_pair(source_path, target_path, [&](const std::string& source, const std::string& target) {
    corpus.source.push_back(source);
    corpus.target.push_back(target);
  });
  return corpus;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
