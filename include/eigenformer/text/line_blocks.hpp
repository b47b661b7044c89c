// Reads text files that may be larger than memory. One pass checks all lines; afterwards, blocks of lines can be read
// in any order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "eigenformer/core/detail/run_tasks.hpp"
#include "eigenformer/core/files.hpp"
#include "eigenformer/core/fnv1a.hpp"
#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/text/line_pieces.hpp"
#include "eigenformer/text/utf8.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Options of LineBlocks.
struct LineBlocksOptions {
  Index block_lines = 4096;           // of each file
  Index max_piped_lines = 1'000'000;  // of a file that can be read only once, such as a pipe
  Threads* threads = nullptr;         // for scan()
};

/// Consecutive lines of parallel files. The lines i of all files belong together. Lines are UTF-8, without line ends
/// (LF or CR LF) and without a byte order mark.
class LineBlock {
 public:
  LineBlock(LineBlock&&) = default;
  LineBlock& operator=(LineBlock&&) = default;
  /// The number of files.
  std::size_t files() const { return lines_.size(); }
  /// The number of the first line in its file, from 0.
  Index first() const { return first_; }
  /// The number of lines of each file.
  Index size() const { return size_; }
  /// Returns line i of the block in a file.
  std::string_view line(std::size_t file, Index i) const { return lines_[file][static_cast<std::size_t>(i)]; }
  /// Returns the position of a line for messages, such as "corpus.txt:17".
  std::string where(std::size_t file, Index i) const { return (*names_)[file] + ':' + std::to_string(first_ + i + 1); }

 private:
  friend class LineBlocks;
  LineBlock() = default;

  std::shared_ptr<const std::vector<std::string>> names_;  // of the files
  Index first_ = 0, size_ = 0;
  std::vector<std::vector<char>> bytes_;              // of each file
  std::vector<std::vector<std::string_view>> lines_;  // of each file, in bytes_
};

/// Reads parallel text files in blocks of lines. Keeps the place and the hash of each block in memory, not the text.
///
///   LineBlocks blocks({"corpus.en", "corpus.de"}, {.threads = &pool});
///   blocks.scan([&](const LineBlock& block) { count(block); });         // one pass over the files
///   const LineBlock block = blocks.read(blocks.size() / 2);             // then any block
///
/// A pipe or device can be read only once, so its text is kept in memory.
class LineBlocks {
 public:
  /// Opens the files. Throws if there are none, if one cannot be opened, or if block_lines is below 1.
  explicit LineBlocks(const std::vector<std::filesystem::path>& paths, const LineBlocksOptions& options = {})
      : options_(options) {
    check(!paths.empty() && options.block_lines >= 1, "LineBlocks: ", paths.size(), " files in blocks of ",
          options.block_lines, " lines, expected 1 or more of both");
    std::vector<std::string> names;
    for (const std::filesystem::path& path : paths) {
      names.push_back(path_text(path));
      // On some systems, /dev/stdin cannot be read from the beginning again.
      std::error_code ignored;  // opening the file gives the reason
      const bool is_kept = !std::filesystem::is_regular_file(path, ignored) || names_descriptor(path);
      files_.push_back({.path = path, .is_kept = is_kept, .pieces = std::make_unique<LinePieces>(path)});
    }
    names_ = std::make_shared<const std::vector<std::string>>(std::move(names));
  }

  /// Returns the first lines of a file, up to a megabyte. Call it before scan(). The lines are not checked and are
  /// valid until scan().
  std::vector<std::string_view> head(std::size_t file) const {
    return detail::lines_of(files_[file].pieces->head(), true);
  }

  /// Reads the files once, and calls visit(block) for each block, in any order and on several threads at once. Holds at
  /// most 32 blocks. May be called only once. Throws if a file cannot be read, is not UTF-8 or has no lines, if the
  /// numbers of lines differ, or if a pipe has more lines than the options allow. If visit throws for several blocks,
  /// rethrows the exception of the first.
  void scan(FunctionRef<void(const LineBlock&)> visit) {
    constexpr std::size_t at_once = 32;  // blocks in memory
    bool is_over = false;
    while (!is_over) {
      std::vector<LineBlock> round;
      while (round.size() < at_once && !is_over) {
        LineBlock block = next();
        is_over = block.size() < options_.block_lines;
        if (block.size() > 0) round.push_back(std::move(block));
      }
      std::vector<std::uint64_t> hashes(round.size() * files_.size());
      detail::run_tasks(options_.threads, static_cast<Index>(round.size()), [&](Index i) {
        LineBlock& block = round[static_cast<std::size_t>(i)];
        split(block);
        for (std::size_t f = 0; f < files_.size(); ++f)
          hashes[static_cast<std::size_t>(i) * files_.size() + f] = detail::hash_of(block.bytes_[f]);
        visit(block);
      });
      for (std::size_t i = 0; i < hashes.size(); ++i) files_[i % files_.size()].hashes.push_back(hashes[i]);
    }
    check_ends();
    for (File& file : files_) file.pieces.reset();
  }

  /// The number of blocks, after scan().
  Index size() const { return static_cast<Index>(files_[0].hashes.size()); }
  /// The number of lines of each file, after scan().
  Index lines() const { return lines_; }
  /// The number of lines of each block; the last may have fewer.
  Index block_lines() const { return options_.block_lines; }
  /// Whether any file is a pipe or device, whose text is in memory.
  bool has_pipe() const {
    return std::any_of(files_.begin(), files_.end(), [](const File& file) { return file.is_kept; });
  }
  /// Returns a hash of the text and of its division into blocks. Call it after scan().
  std::uint64_t hash() const {
    Fnv1a hash;
    for (const File& file : files_) hash.add_numbers(std::span<const std::uint64_t>(file.hashes));
    return hash.value();
  }

  /// Reads a block. May be called by several threads at once, after scan(). Throws if there is no block `number`, or if
  /// a file cannot be read or has changed since scan().
  LineBlock read(Index number) const {
    check(number >= 0 && number < size(), "LineBlocks: there is no block ", number, ", only 0 to ", size() - 1);
    const auto i = static_cast<std::size_t>(number);
    LineBlock block = blank(number * options_.block_lines,
                            std::min<Index>(options_.block_lines, lines_ - number * options_.block_lines));
    for (std::size_t f = 0; f < files_.size(); ++f) {
      const File& file = files_[f];
      const std::uint64_t begin = file.ends[i], end = file.ends[i + 1];
      std::vector<char>& bytes = block.bytes_[f];
      const auto length = static_cast<Index>(end - begin);
      bytes.resize(static_cast<std::size_t>(length));
      if (file.is_kept) {
        std::copy_n(file.kept.begin() + static_cast<std::ptrdiff_t>(begin), bytes.size(), bytes.begin());
        continue;
      }
      std::ifstream stream = open_for_reading(file.path);
      stream.seekg(static_cast<std::streamoff>(begin));
      stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
      check_read(stream, (*names_)[f]);
      check(stream.gcount() == static_cast<std::streamsize>(bytes.size()) && detail::hash_of(bytes) == file.hashes[i],
            block.where(f, 0), ": the file has changed since it was first read");
    }
    split(block);
    return block;
  }

 private:
  struct File {
    std::filesystem::path path;
    bool is_kept = false;                  // whether the text is in memory
    std::unique_ptr<LinePieces> pieces{};  // during the pass
    Index lines = 0;
    std::vector<char> kept{};             // the text, if it is in memory
    std::vector<std::uint64_t> ends{0};   // 0, then the offset of each block's end
    std::vector<std::uint64_t> hashes{};  // of each block
  };

  LineBlock blank(Index first, Index size) const {
    LineBlock block;
    block.names_ = names_;
    block.first_ = first;
    block.size_ = size;
    block.bytes_.resize(files_.size());
    block.lines_.resize(files_.size());
    return block;
  }

  /// Returns the next lines of all files, not split yet. A block with fewer lines than usual is the last.
  LineBlock next() {
    LineBlock block = blank(lines_, options_.block_lines);
    for (std::size_t f = 0; f < files_.size(); ++f) {
      File& file = files_[f];
      const std::vector<char>& bytes = block.bytes_[f];
      const Index found = file.pieces->next(options_.block_lines, block.bytes_[f]);
      block.size_ = std::min<Index>(block.size_, found);
      file.lines += found;
      file.ends.push_back(file.ends.back() + bytes.size());
      if (!file.is_kept) continue;
      check(file.lines <= options_.max_piped_lines, (*names_)[f], ": has more than ", options_.max_piped_lines,
            " lines and can be read only once; save it as a file");
      file.kept.insert(file.kept.end(), bytes.begin(), bytes.end());
    }
    lines_ += block.size_;
    return block;
  }

  /// Splits a block into lines and checks them.
  void split(LineBlock& block) const {
    for (std::size_t f = 0; f < files_.size(); ++f) {
      const std::vector<char>& bytes = block.bytes_[f];
      block.lines_[f] = detail::lines_of(std::string_view(bytes.data(), bytes.size()), block.first_ == 0);
      for (Index i = 0; i < block.size(); ++i)
        if (find_invalid_utf8(block.line(f, i)) != std::string_view::npos)
          check_utf8(block.line(f, i), block.where(f, i));
    }
  }

  /// Throws if a file is empty, or unless all files have the same number of lines.
  void check_ends() {
    std::vector<char> bytes;
    for (std::size_t f = 0; f < files_.size(); ++f) {
      File& file = files_[f];
      while (const Index more = file.pieces->next(options_.block_lines, bytes)) file.lines += more;
      check(file.lines > 0, (*names_)[f], ": has no lines");
      check(file.lines == files_[0].lines, (*names_)[0], " has ", files_[0].lines, " lines, ", (*names_)[f], " has ",
            file.lines);
    }
  }

  LineBlocksOptions options_;
  std::vector<File> files_;
  std::shared_ptr<const std::vector<std::string>> names_;  // of the files
  Index lines_ = 0;                                        // of each file
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
