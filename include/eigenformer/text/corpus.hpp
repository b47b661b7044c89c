// Reads UTF-8 text files. Errors name the file and the line, counted from 1. For invalid UTF-8 they also name the byte
// of the line, counted from 0.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "eigenformer/core/files.hpp"
#include "eigenformer/core/lines.hpp"
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
  return split_words(text).empty();
}

inline void check_side(std::string_view text, std::string_view side, std::string_view where) {
  check(!is_blank(text), where, ": ", side, " is empty");
}

}  // namespace detail

/// Returns a file's lines, without line ends (LF or CR LF; the last line may have none) and without a byte order mark.
/// Empty lines are included. Throws if the file cannot be read, is not UTF-8 or has no lines.
inline std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  detail::for_each_line(path, [&](const std::string& line, const std::string&) { lines.push_back(line); });
  return lines;
}

/// Reads a file with a source sentence, a tab and a target sentence per line. Columns after a second tab are ignored.
/// Throws like read_lines. Throws if a line has no tab, or a sentence is empty or white space.
inline ParallelCorpus read_tsv(const std::filesystem::path& path) {
  ParallelCorpus corpus;
  detail::for_each_line(path, [&](std::string_view line, const std::string& where) {
    const std::size_t tab = line.find('\t');
    check(tab != std::string_view::npos, where, ": expected source and target parted by a tab");
    const std::string_view source = line.substr(0, tab);
    const std::string_view others = line.substr(tab + 1);
    const std::string_view target = others.substr(0, others.find('\t'));
    detail::check_side(source, "source", where);
    detail::check_side(target, "target", where);
    corpus.source.emplace_back(source);
    corpus.target.emplace_back(target);
  });
  return corpus;
}

/// Reads two files; line i of the target translates line i of the source. Throws like read_lines. Throws if the numbers
/// of lines differ, or a line is empty or white space.
inline ParallelCorpus read_parallel(const std::filesystem::path& source_path,
                                    const std::filesystem::path& target_path) {
  ParallelCorpus corpus{read_lines(source_path), read_lines(target_path)};
  const std::string source_file = path_text(source_path);
  const std::string target_file = path_text(target_path);
  check(corpus.source.size() == corpus.target.size(), source_file, " has ", corpus.source.size(), " lines, ",
        target_file, " has ", corpus.target.size());
  for (std::size_t i = 0; i < corpus.source.size(); ++i) {
    detail::check_side(corpus.source[i], "source", source_file + ':' + std::to_string(i + 1));
    detail::check_side(corpus.target[i], "target", target_file + ':' + std::to_string(i + 1));
  }
  return corpus;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
