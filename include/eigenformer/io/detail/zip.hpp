// Zip archives whose entries are stored, not compressed (APPNOTE.TXT of PKWARE, version 6.3), with the 64-bit fields of
// large archives. Everything in an archive is validated before use.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eigenformer/core/check.hpp"
#include "eigenformer/io/detail/crc32.hpp"
#include "eigenformer/io/detail/npy_header.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

// Signatures of the parts of an archive, and the sizes of their fixed fields.
inline constexpr std::uint32_t zip_local_signature = 0x04034B50, zip_central_signature = 0x02014B50;
inline constexpr std::uint32_t zip_end_signature = 0x06054B50, zip_end64_signature = 0x06064B50;
inline constexpr std::uint32_t zip_locator_signature = 0x07064B50;
inline constexpr std::size_t zip_local_size = 30, zip_central_size = 46, zip_end_size = 22, zip_end64_size = 56;
inline constexpr std::size_t zip_locator_size = 20;

/// The numbers that mean "see the 64-bit field". Tests make the first smaller.
struct ZipLimits {
  std::uint64_t size = 0xFFFFFFFF;
  std::uint64_t entries = 0xFFFF;
};

/// An entry of an archive in memory.
struct ZipEntry {
  std::string_view name;
  std::string_view bytes;
};

/// Reads an archive in memory.
class ZipReader {
 public:
  ZipReader(std::string_view file, std::string_view where) : file_(file), where_(where) {}

  /// Returns the entries in the order of the directory. Throws unless all are stored, intact and disjoint.
  std::vector<ZipEntry> entries() {
    const Directory directory = find_directory();
    check(directory.entries <= (directory.end - directory.begin) / zip_central_size, where_, ": announces ",
          directory.entries, " entries in a directory of ", directory.end - directory.begin, " bytes");
    std::vector<ZipEntry> entries;
    std::vector<std::pair<std::size_t, std::size_t>> places;
    std::vector<std::uint64_t> checksums;
    std::size_t at = directory.begin;
    for (std::uint64_t i = 0; i < directory.entries; ++i) {
      const auto [entry, next] = read_entry(directory, at);
      entries.push_back(entry.entry);
      checksums.push_back(entry.crc);
      places.emplace_back(entry.begin, entry.end);
      at = next;
    }
    check(at == directory.end, where_, ": its directory has ", directory.end - at, " bytes behind the last entry");
    // Entries that share bytes could announce far more than the file has.
    std::sort(places.begin(), places.end());
    for (std::size_t i = 1; i < places.size(); ++i)
      check(places[i].first >= places[i - 1].second, where_, ": two entries overlap at byte ", places[i].first);
    for (std::size_t i = 0; i < entries.size(); ++i)  // last, since entries that overlap could be summed many times
      check(crc32(std::as_bytes(std::span(entries[i].bytes))) == checksums[i], where_, ": entry \"",
            printable(entries[i].name), "\" is damaged: its CRC-32 differs");
    return entries;
  }

 private:
  struct Directory {
    std::size_t begin, end;
    std::uint64_t entries;
  };
  struct PlacedEntry {
    ZipEntry entry;
    std::size_t begin, end;  // with its own header
    std::uint64_t crc;
  };

  std::uint64_t number(std::size_t begin, std::size_t count) const { return little_endian(file_, begin, count); }
  bool has(std::uint32_t signature, std::size_t begin, std::size_t size) const {
    return begin <= file_.size() && file_.size() - begin >= size && number(begin, 4) == signature;
  }

  /// Finds the directory by the record at the end of the file, which a comment may follow.
  Directory find_directory() const {
    constexpr std::size_t longest_comment = 65535;
    std::size_t end = file_.size() < zip_end_size ? 0 : file_.size() - zip_end_size;
    const std::size_t first = end > longest_comment ? end - longest_comment : 0;
    const auto is_end = [&] {
      return has(zip_end_signature, end, zip_end_size) && number(end + 20, 2) == file_.size() - end - zip_end_size;
    };
    while (!is_end()) {
      check(end > first, where_, ": is not a zip archive, or its end is missing");
      --end;
    }
    check(number(end + 4, 2) == 0 && number(end + 6, 2) == 0, where_, ": is a part of an archive of several files");
    std::uint64_t count = number(end + 10, 2), size = number(end + 12, 4), begin = number(end + 16, 4);
    const ZipLimits limits;
    const bool is_large = count == limits.entries || size == limits.size || begin == limits.size;
    if (is_large && end >= zip_locator_size && has(zip_locator_signature, end - zip_locator_size, zip_locator_size)) {
      const std::uint64_t end64 = number(end - zip_locator_size + 8, 8);
      check(end64 <= end - zip_locator_size && end - zip_locator_size - end64 >= zip_end64_size &&
                has(zip_end64_signature, as_size(end64), zip_end64_size),
            where_, ": the 64-bit end of its directory is not at byte ", end64);
      end = as_size(end64);
      count = number(end + 32, 8);
      size = number(end + 40, 8);
      begin = number(end + 48, 8);
    }
    check(begin <= end && end - begin == size, where_, ": its directory of ", size, " bytes begins at byte ", begin,
          ", expected it to end at byte ", end);
    return {as_size(begin), end, count};
  }

  /// Reads the entry whose record is at a place of the directory. Returns it and the place of the next.
  std::pair<PlacedEntry, std::size_t> read_entry(const Directory& directory, std::size_t at) const {
    check(directory.end - at >= zip_central_size && has(zip_central_signature, at, zip_central_size), where_,
          ": there is no directory entry at byte ", at);
    const std::uint64_t flags = number(at + 8, 2), method = number(at + 10, 2), crc = number(at + 16, 4);
    std::uint64_t stored = number(at + 20, 4), size = number(at + 24, 4), begin = number(at + 42, 4);
    const std::size_t name_size = as_size(number(at + 28, 2));
    const std::size_t extra_size = as_size(number(at + 30, 2));
    const std::size_t comment_size = as_size(number(at + 32, 2));
    const std::size_t name_begin = at + zip_central_size, extra_begin = name_begin + name_size;
    const std::size_t next = extra_begin + extra_size + comment_size;
    check(next <= directory.end, where_, ": the directory ends inside its entry at byte ", at);
    const std::string_view name = file_.substr(name_begin, name_size);
    const std::string where = std::string(where_) + ": entry \"" + printable(name) + '"';

    check((flags & 1) == 0, where, " is encrypted");
    check(method == 0, where, " is compressed: write the file with np.savez instead of np.savez_compressed");
    read_extra(extra_begin, extra_size, {&size, &stored, &begin});
    check(stored == size, where, ": has ", stored, " bytes, expected ", size);
    check(begin < directory.begin && has(zip_local_signature, as_size(begin), zip_local_size), where,
          ": does not begin at byte ", begin, " of the file");
    const auto local = as_size(begin);
    const std::size_t data = local + zip_local_size + as_size(number(local + 26, 2) + number(local + 28, 2));
    check(data <= directory.begin && size <= directory.begin - data, where, ": has ", size,
          " bytes, which go beyond the directory's start at byte ", directory.begin);
    check(file_.substr(local + zip_local_size).starts_with(name), where, ": has another name at byte ", local);
    const std::string_view bytes = file_.substr(data, as_size(size));
    return {{{name, bytes}, local, data + bytes.size(), crc}, next};
  }

  /// Replaces those numbers that do not fit 32 bits by the ones in the 64-bit extra field.
  void read_extra(std::size_t begin, std::size_t size, std::initializer_list<std::uint64_t*> numbers) const {
    const std::size_t end = begin + size;
    for (std::size_t at = begin; end - at >= 4;) {
      const std::uint64_t id = number(at, 2);
      const auto field_size = as_size(number(at + 2, 2));
      at += 4;
      if (field_size > end - at) return;
      if (id == 1) {
        std::size_t place = at;
        for (std::uint64_t* each : numbers) {
          if (*each != ZipLimits().size || at + field_size - place < 8) continue;
          *each = number(place, 8);
          place += 8;
        }
        return;
      }
      at += field_size;
    }
  }

  std::string_view file_;
  std::string_view where_;
};

/// An entry to be written: a name, and bytes that lie elsewhere.
struct ZipSource {
  std::string name;
  std::vector<std::span<const std::byte>> pieces;
};

/// Holds all bytes of an archive except those of its entries.
class ZipWriter {
 public:
  explicit ZipWriter(std::span<const ZipSource> sources, ZipLimits limits = {}) : limits_(limits) {
    for (const ZipSource& source : sources) add(source);
    const std::uint64_t begin = at_, size = directory_.size();
    const bool large = count_ >= limits_.entries || begin >= limits_.size || size >= limits_.size;
    if (large) {
      put(directory_, {{zip_end64_signature, 4}, {zip_end64_size - 12, 8}, {45, 2}, {45, 2}, {0, 4}, {0, 4}});
      put(directory_, {{count_, 8}, {count_, 8}, {size, 8}, {begin, 8}});
      put(directory_, {{zip_locator_signature, 4}, {0, 4}, {begin + size, 8}, {1, 4}});
    }
    const std::uint64_t count16 = large ? 0xFFFF : count_, unknown = 0xFFFFFFFF;
    put(directory_, {{zip_end_signature, 4}, {0, 2}, {0, 2}, {count16, 2}, {count16, 2}});
    put(directory_, {{large ? unknown : size, 4}, {large ? unknown : begin, 4}, {0, 2}});
  }

  /// Returns the archive's bytes, which are valid while this object and the sources live.
  std::vector<std::span<const std::byte>> pieces(std::span<const ZipSource> sources) const {
    std::vector<std::span<const std::byte>> pieces;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      pieces.push_back(std::as_bytes(std::span(locals_[i])));
      pieces.insert(pieces.end(), sources[i].pieces.begin(), sources[i].pieces.end());
    }
    pieces.push_back(std::as_bytes(std::span(directory_)));
    return pieces;
  }

 private:
  static void put(std::string& to, std::initializer_list<std::pair<std::uint64_t, int>> numbers) {
    for (const auto& [number, bytes] : numbers) append_little_endian(to, number, bytes);
  }

  void add(const ZipSource& source) {
    std::uint64_t size = 0;
    std::uint32_t crc = 0;
    for (const std::span<const std::byte>& piece : source.pieces) {
      size += piece.size();
      crc = crc32(piece, crc);
    }
    const bool large = size >= limits_.size, beyond = at_ >= limits_.size;
    const std::uint64_t unknown = 0xFFFFFFFF, size32 = large ? unknown : size;
    // Version 2.0 of the format, or 4.5 for 64 bits; names in UTF-8; stored; the first day that zip knows, 1 Jan 1980.
    const std::uint64_t version = large || beyond ? 45 : 20, utf8 = 0x800, method = 0, time = 0, date = 0x21;
    std::string local;
    put(local, {{zip_local_signature, 4}, {version, 2}, {utf8, 2}, {method, 2}, {time, 2}, {date, 2}, {crc, 4}});
    put(local, {{size32, 4}, {size32, 4}, {source.name.size(), 2}, {large ? 20U : 0U, 2}});
    local += source.name;
    if (large) put(local, {{1, 2}, {16, 2}, {size, 8}, {size, 8}});

    const std::uint64_t extra = (large ? 16U : 0U) + (beyond ? 8U : 0U);
    put(directory_, {{zip_central_signature, 4}, {version, 2}, {version, 2}, {utf8, 2}, {method, 2}, {time, 2}});
    put(directory_, {{date, 2}, {crc, 4}, {size32, 4}, {size32, 4}, {source.name.size(), 2}});
    put(directory_, {{extra > 0 ? extra + 4 : 0, 2}, {0, 2}, {0, 2}, {0, 2}, {0, 4}, {beyond ? unknown : at_, 4}});
    directory_ += source.name;
    if (extra > 0) put(directory_, {{1, 2}, {extra, 2}});
    if (large) put(directory_, {{size, 8}, {size, 8}});
    if (beyond) put(directory_, {{at_, 8}});

    at_ += local.size() + size;
    locals_.push_back(std::move(local));
    ++count_;
  }

  ZipLimits limits_;
  std::vector<std::string> locals_;  // what stands before each entry
  std::string directory_;
  std::uint64_t at_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
