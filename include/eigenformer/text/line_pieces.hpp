// Reads a file of text once, in pieces of whole lines.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <ios>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eigenformer/core/files.hpp"
#include "eigenformer/core/fnv1a.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

inline constexpr std::string_view utf8_byte_order_mark = "\xEF\xBB\xBF";

/// Returns the lines of a text, without line ends. is_first: whether the text begins its file.
inline std::vector<std::string_view> lines_of(std::string_view text, bool is_first) {
  if (is_first && text.starts_with(utf8_byte_order_mark)) text.remove_prefix(utf8_byte_order_mark.size());
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min<std::size_t>(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min<std::size_t>(end + 1, text.size()));
  }
  return lines;
}

inline std::uint64_t hash_of(const std::vector<char>& bytes) {
  Fnv1a hash;
  hash.add_numbers(std::span<const char>(bytes));
  return hash.value();
}

}  // namespace detail

/// Reads a file of text from its beginning to its end, in pieces of whole lines. The text is not checked.
class LinePieces {
 public:
  /// Opens a file. Throws if it cannot be opened or read.
  explicit LinePieces(const std::filesystem::path& path)
      : name_(path_text(path)), stream_(open_for_reading(path)), piece_(std::size_t{1} << 20) {
    read();
  }

  /// Returns the beginning of the file: at most a megabyte, without its last line if that may be incomplete. Call it
  /// before next().
  std::string_view head() const {
    const std::string_view text(piece_.data(), end_);
    return end_ < piece_.size() ? text : text.substr(0, text.rfind('\n') + 1);
  }

  /// Moves the next `lines` lines into `bytes`, or fewer at the end of the file. Returns their number. Throws if the
  /// file cannot be read.
  Index next(Index lines, std::vector<char>& bytes) {
    Index found = 0;
    bytes.clear();
    while (found < lines && (begin_ < end_ || read())) {
      const char* const begin = piece_.data() + begin_;
      const char* const end = piece_.data() + end_;
      const char* line = begin;
      while (found < lines && line < end) {
        const void* const line_end = std::memchr(line, '\n', static_cast<std::size_t>(end - line));
        if (line_end == nullptr) {
          line = end;
        } else {
          line = static_cast<const char*>(line_end) + 1;
          ++found;
        }
      }
      bytes.insert(bytes.end(), begin, line);
      begin_ += static_cast<std::size_t>(line - begin);
    }
    const bool has_rest = found < lines && !bytes.empty() && bytes.back() != '\n';  // a last line without an end
    const bool is_mark = is_first_ && std::string_view(bytes.data(), bytes.size()) == detail::utf8_byte_order_mark;
    is_first_ = false;
    return found + (has_rest && !is_mark ? 1 : 0);
  }

 private:
  /// Reads the next piece. Returns whether there is any.
  bool read() {
    begin_ = 0;
    stream_.read(piece_.data(), static_cast<std::streamsize>(piece_.size()));
    end_ = static_cast<std::size_t>(stream_.gcount());
    check_read(stream_, name_);
    return end_ > 0;
  }

  std::string name_;
  std::ifstream stream_;
  std::vector<char> piece_;
  std::size_t begin_ = 0, end_ = 0;  // of what is left of the piece
  bool is_first_ = true;             // whether next() has not been called
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
