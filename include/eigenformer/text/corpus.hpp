// Text files in UTF-8. An error names the file, the line (from 1) and, for bytes that are not UTF-8, the byte of the
// line (from 0).
#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eigenformer/text/utf8.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Sentences and their translations: source[i] is translated by target[i].
struct ParallelCorpus {
  std::vector<std::string> source;
  std::vector<std::string> target;

  Index size() const { return static_cast<Index>(source.size()); }
};

namespace detail {

inline std::string name_of_file(const std::filesystem::path& path) {
  const std::u8string name = path.u8string();  // path.string() fails on Windows where a name does not fit its code page
  return {name.begin(), name.end()};
}

inline std::string text_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  check(file.is_open(), name_of_file(path), ": cannot be opened");
  std::string contents;
  std::array<char, 1 << 14> buffer;
  do {
    file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    contents.append(buffer.data(), static_cast<std::size_t>(file.gcount()));
  } while (file);
  check(!file.bad(), name_of_file(path), ": cannot be read");  // a directory, say
  return contents;
}

inline bool is_blank(std::string_view text) {
  return split_words(text).empty();
}

inline void check_side(std::string_view text, std::string_view side, std::string_view file, std::size_t line) {
  check(!is_blank(text), file, ":", line, ": ", side, " is empty");
}

}  // namespace detail

/// A file's lines, without their ends (LF or CR LF; the last may have none) and without a byte-order mark. Empty lines
/// are kept. Throws if it cannot be read, is not UTF-8 or has no line.
inline std::vector<std::string> read_lines(const std::filesystem::path& path) {
  const std::string contents = detail::text_of_file(path);
  std::string_view rest = contents;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  check(!rest.empty(), detail::name_of_file(path), ": has no lines");
  std::vector<std::string> lines;
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min<std::size_t>(rest.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    const std::size_t invalid = find_invalid_utf8(line);
    check(invalid == std::string_view::npos, detail::name_of_file(path), ":", lines.size() + 1,
          ": invalid UTF-8 at byte ", invalid);
    lines.emplace_back(line);
  }
  return lines;
}

/// A file with a source sentence, a tab and a target sentence in each line; after another tab there may be anything.
/// Throws as read_lines does, and for a line without a tab or with a side that is empty or white space.
inline ParallelCorpus read_tsv(const std::filesystem::path& path) {
  const std::vector<std::string> lines = read_lines(path);
  const std::string file = detail::name_of_file(path);
  ParallelCorpus corpus;
  corpus.source.reserve(lines.size());
  corpus.target.reserve(lines.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string_view line = lines[i];
    const std::size_t tab = line.find('\t');
    check(tab != std::string_view::npos, file, ":", i + 1, ": expected source and target parted by a tab");
    const std::string_view source = line.substr(0, tab);
    const std::string_view others = line.substr(tab + 1);
    const std::string_view target = others.substr(0, others.find('\t'));
    detail::check_side(source, "source", file, i + 1);
    detail::check_side(target, "target", file, i + 1);
    corpus.source.emplace_back(source);
    corpus.target.emplace_back(target);
  }
  return corpus;
}

/// Two files, line i of one translated by line i of the other. Throws as read_lines does, and if one has more lines or
/// a line is empty or white space.
inline ParallelCorpus read_parallel(const std::filesystem::path& source_path,
                                    const std::filesystem::path& target_path) {
  ParallelCorpus corpus{read_lines(source_path), read_lines(target_path)};
  const std::string source_file = detail::name_of_file(source_path);
  const std::string target_file = detail::name_of_file(target_path);
  check(corpus.source.size() == corpus.target.size(), source_file, " has ", corpus.source.size(), " lines, ",
        target_file, " has ", corpus.target.size());
  for (std::size_t i = 0; i < corpus.source.size(); ++i) {
    detail::check_side(corpus.source[i], "source", source_file, i + 1);
    detail::check_side(corpus.target[i], "target", target_file, i + 1);
  }
  return corpus;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
