// Reads and replaces whole files. A file is always complete under its name, even after a power cut.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/detail/descriptor.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns a path as UTF-8 on every platform, for messages.
inline std::string path_text(const std::filesystem::path& path) {
  const std::u8string utf8 = path.u8string();
  return std::string(utf8.begin(), utf8.end());
}

namespace detail {

/// Describes an error in English. The system's own messages depend on its language; they are used for rare errors only.
inline std::string error_reason(const std::error_code& error) {
  if (error == std::errc::no_such_file_or_directory) return "there is no such file or folder";
  if (error == std::errc::not_a_directory) return "a part of the path is not a folder";
  if (error == std::errc::is_a_directory) return "it is a folder";
  if (error == std::errc::permission_denied || error == std::errc::operation_not_permitted) return "not permitted";
  if (error == std::errc::read_only_file_system) return "the disk is read-only";
  if (error == std::errc::no_space_on_device) return "the disk is full";
  if (error == std::errc::file_too_large) return "the file became too large for the disk or the user's limit";
  if (error == std::errc::too_many_files_open) return "too many files are open";
  if (error == std::errc::too_many_symbolic_link_levels) return "too many symbolic links";
  if (error == std::errc::bad_file_descriptor) return "it is closed";
  if (error == std::errc::broken_pipe) return "nobody reads it any more";
  return error ? error.message() : "the system gave no reason";
}

inline void check_error(const std::error_code& error, const char* where, const std::filesystem::path& path) {
  if (error) fail(where, ": ", path_text(path), ": ", error_reason(error));
}

/// Returns a path's status. Throws if the system does not reveal whether anything exists there.
inline std::filesystem::file_status known_status(const char* where, const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::status_known(status)) check_error(error, where, path);
  return status;
}

/// Resolves symbolic links, also when their target does not exist. Stops at a descriptor's name, such as /dev/stdout.
inline std::filesystem::path follow_links(const char* where, std::filesystem::path path) {
  std::error_code error;
  for (int links = 0; named_descriptor(path) < 0; ++links) {
    if (!std::filesystem::is_symlink(std::filesystem::symlink_status(path, error))) break;
    if (links == 40) check_error(std::make_error_code(std::errc::too_many_symbolic_link_levels), where, path);
    const std::filesystem::path target = std::filesystem::read_symlink(path, error);
    check_error(error, where, path);
    path = path.parent_path() / target;
  }
  return path;
}

/// Returns the folder that contains a path.
inline std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

/// A unique path in a folder. Removes whatever exists there when it goes out of scope.
class TemporaryPath {
 public:
  explicit TemporaryPath(const std::filesystem::path& folder, const std::string& begin = ".eigenformer-") {
    std::random_device random;
    path_ = folder / (begin + std::to_string(random()) + '-' + std::to_string(random()) + ".tmp");
  }
  TemporaryPath(const TemporaryPath&) = delete;
  TemporaryPath& operator=(const TemporaryPath&) = delete;
  ~TemporaryPath() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Where an output file's bytes go.
struct Destination {
  enum class Kind { new_file, replaced_file, in_place, descriptor };
  Kind kind = Kind::new_file;
  std::filesystem::path path;  // with symbolic links resolved
  int descriptor = -1;
};

inline Destination destination_of(const char* where, const std::filesystem::path& path) {
  using Kind = Destination::Kind;
  check(!path.empty(), where, ": the file's path is empty");
  const std::filesystem::path real = follow_links(where, path);
  if (const int descriptor = named_descriptor(real); descriptor >= 0) {
    if (!duplicate_descriptor(descriptor).is_open()) check_error(last_error(), where, path);
    return {Kind::descriptor, real, descriptor};
  }
  const std::filesystem::file_status status = known_status(where, path);
  if (!std::filesystem::exists(status)) return {Kind::new_file, real};
  if (std::filesystem::is_directory(status)) check_error(std::make_error_code(std::errc::is_a_directory), where, path);
  errno = 0;
  if (!may_write(path)) check_error(last_error(), where, path);
  if (!std::filesystem::is_regular_file(status)) return {Kind::in_place, path};
  return {Kind::replaced_file, real};
}

/// Syncs a file's bytes or a folder's entries to the disk. Skips a folder without read permission.
inline std::error_code sync_path(Disk& disk, const std::filesystem::path& path) {
  const Descriptor descriptor = open_descriptor(path, Opening::read_only);
  if (descriptor.is_open()) return disk.sync(descriptor.number(), path);
  const std::error_code error = last_error();
  return error == std::errc::permission_denied ? std::error_code() : error;
}

using Pieces = std::span<const std::span<const std::byte>>;

/// Writes all pieces, syncs them to the disk and closes the file.
inline std::error_code write_pieces(Disk& disk, Descriptor file, const std::filesystem::path& path, Pieces pieces) {
  if (!file.is_open()) return last_error();
  for (const std::span<const std::byte>& piece : pieces)
    if (const std::error_code error = write_all(file.number(), piece)) return error;
  if (const std::error_code error = disk.sync(file.number(), path)) return error;
  return file.close();
}

inline void write_file(const std::filesystem::path& path, Pieces pieces, Disk& disk) {
  constexpr const char* where = "write_file";
  using Kind = Destination::Kind;
  const Destination to = destination_of(where, path);
  if (to.kind == Kind::descriptor)
    return check_error(write_pieces(disk, duplicate_descriptor(to.descriptor), path, pieces), where, path);
  if (to.kind == Kind::in_place)
    return check_error(write_pieces(disk, open_descriptor(to.path, Opening::write_only), path, pieces), where, path);

  const bool replaces = to.kind == Kind::replaced_file;
  const TemporaryPath temporary(folder_of(to.path));
  Descriptor file = open_descriptor(temporary.path(), replaces ? Opening::new_private : Opening::new_file);
  check_error(write_pieces(disk, std::move(file), temporary.path(), pieces), where, path);
  if (replaces) copy_owner_and_mode(to.path, temporary.path());
  check_error(disk.rename(temporary.path(), to.path), where, path);
  check_error(sync_path(disk, folder_of(to.path)), where, path);
}

}  // namespace detail

/// Opens a file for reading, in binary. Throws if it does not exist, is a folder or may not be read. When the stream
/// ends, call `check_read` to tell the end of the file from a read error.
inline std::ifstream open_for_reading(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    error = std::make_error_code(std::errc::is_a_directory);
  else
    error.clear();
  std::ifstream stream;
  if (!error) {
    errno = 0;
    stream.open(path, std::ios::binary);
    if (!stream.is_open()) error = detail::last_error();
  }
  if (!stream.is_open()) fail(path_text(path), ": cannot be opened: ", detail::error_reason(error));
  return stream;
}

/// Throws if a stream has ended because of a read error. name: the stream's name in the message.
inline void check_read(const std::istream& stream, std::string_view name) {
  check(!stream.bad(), name, ": cannot be read to its end");
}

/// Returns a file's bytes. Throws if the file does not exist, is a folder or a device, or cannot be read to its end.
inline std::string read_file(const std::filesystem::path& path) {
  const std::filesystem::file_status status = detail::known_status("read_file", path);
  check(std::filesystem::exists(status), "read_file: ", path_text(path), ": there is no such file");
  check(!std::filesystem::is_directory(status), "read_file: ", path_text(path), ": it is a folder, expected a file");
  check(std::filesystem::is_regular_file(status), "read_file: ", path_text(path), ": it is not a regular file");

  std::ifstream stream = open_for_reading(path);
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  detail::check_error(error, "read_file", path);

  std::string bytes;
  check(size <= bytes.max_size(), "read_file: ", path_text(path), ": has ", size, " bytes, too many for this program");
  // Volatile: otherwise compilers may remove an allocation that is never used.
  void* const volatile memory = std::malloc(static_cast<std::size_t>(size));
  const bool fits = memory != nullptr || size == 0;
  std::free(memory);
  check(fits, "read_file: ", path_text(path), ": has ", size, " bytes, more than there is memory");
  bytes.resize(static_cast<std::size_t>(size));
  stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  // Files in /proc report a size of 0, and those in /sys one page. Any file may change while it is read.
  bytes.resize(static_cast<std::size_t>(stream.gcount()));
  if (stream.eof()) stream.clear();
  for (char more[4096]; stream.read(more, sizeof more), stream.gcount() > 0;)
    bytes.append(more, static_cast<std::size_t>(stream.gcount()));
  check(!stream.bad(), "read_file: ", path_text(path), ": cannot be read to its end");
  return bytes;
}

/// Returns whether a path, after its symbolic links, names a descriptor, such as /dev/stdout; it may be closed. Opening
/// such a path again may start at the first byte of the file, or fail. Throws if links go in circles.
inline bool names_descriptor(const std::filesystem::path& path) {
  return detail::named_descriptor(detail::follow_links("names_descriptor", path)) >= 0;
}

/// Creates or replaces a file. Its contents are the pieces, concatenated.
///
/// - A regular file is written under a temporary name in its folder, synced and renamed. After a full disk, a killed
///   program or a power cut it has either the old bytes or the new ones. It keeps its mode, and its owner if we may
///   change owners.
/// - A symbolic link stays; the file it points to is replaced.
/// - A device, a pipe or an open descriptor (/dev/stdout, /dev/fd/3) is written to directly.
///
/// Throws if any byte cannot be written.
inline void write_file(const std::filesystem::path& path, std::span<const std::span<const std::byte>> pieces) {
  detail::Disk disk;
  detail::write_file(path, pieces, disk);
}

/// Creates or replaces a file with the given bytes, like the overload for pieces. Throws if any byte cannot be written.
inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
  const std::span<const std::byte> piece = std::as_bytes(std::span<const char>(bytes.data(), bytes.size()));
  write_file(path, std::span<const std::span<const std::byte>>(&piece, 1));
}

/// Throws if write_file would refuse the path. Call it before long work whose result goes there. Changes nothing.
inline void check_writable(const std::filesystem::path& path) {
  const detail::Destination to = detail::destination_of("write_file", path);
  if (to.kind == detail::Destination::Kind::descriptor || to.kind == detail::Destination::Kind::in_place) return;
  const detail::TemporaryPath temporary(detail::folder_of(to.path));
  if (!detail::open_descriptor(temporary.path(), detail::Opening::new_file).is_open())
    detail::check_error(detail::last_error(), "write_file", path);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
