// Reads text line by line, for files, vocabularies and standard input.
#pragma once

#include <cstdio>
#include <istream>
#include <string>
#include <string_view>
#include <utility>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Reads a stream line by line and counts its lines.
///
///   LineReader reader(stream, "corpus.txt");
///   for (std::string line; reader.next(line);) check_utf8(line, reader.where());
///
/// Line ends (LF or CR LF) are removed; the last line may lack one. A UTF-8 byte order mark at the start of the stream
/// is removed too.
class LineReader {
 public:
  /// Reads from `stream`, which must outlive the reader.
  /// name: the source's name in messages.
  /// file: the C stream behind `stream`, if any (stdin for std::cin). Its error flag is checked too, because some
  /// standard libraries do not pass errors of the C stream on to `stream`.
  LineReader(std::istream& stream, std::string name, std::FILE* file = nullptr)
      : stream_(stream), name_(std::move(name)), file_(file) {}

  /// Reads the next line. Returns false at the end of the stream. Throws if reading fails, for example because the
  /// stream is a folder.
  bool next(std::string& line) {
    const bool found = static_cast<bool>(std::getline(stream_, line));
    const bool failed = stream_.bad() || (!found && !stream_.eof()) || (file_ != nullptr && std::ferror(file_) != 0);
    check(!failed, name_, ':', number_ + 1, ": cannot be read; expected a text file");
    if (!found) return false;
    has_end_ = !stream_.eof();
    if (number_ == 0 && std::string_view(line).starts_with(byte_order_mark)) line.erase(0, byte_order_mark.size());
    if (line.empty() && !has_end_) return false;  // only a byte order mark
    ++number_;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return true;
  }

  /// The number of the last line read, from 1; 0 before the first.
  Index number() const { return number_; }

  /// The position of the last line read, for messages: "corpus.txt:17".
  std::string where() const { return name_ + ':' + std::to_string(number_); }

  /// Whether the last line read had a line end. If not, the file may be truncated.
  bool has_end() const { return has_end_; }

 private:
  static constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

  std::istream& stream_;
  std::string name_;
  std::FILE* file_;
  Index number_ = 0;
  bool has_end_ = true;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
