// Files and folders, read whole and replaced whole: what stands under the real name is always complete.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A path as it stands in messages: UTF-8 on every platform.
inline std::string path_text(const std::filesystem::path& path) {
  const std::u8string utf8 = path.u8string();
  return std::string(utf8.begin(), utf8.end());
}

namespace detail {

/// Our own words for the usual reasons, since the system's depend on its language.
inline std::string error_reason(const std::error_code& error) {
  if (error == std::errc::no_such_file_or_directory) return "there is no such file or folder";
  if (error == std::errc::not_a_directory) return "a part of the path is not a folder";
  if (error == std::errc::is_a_directory) return "it is a folder";
  if (error == std::errc::permission_denied || error == std::errc::operation_not_permitted) return "not permitted";
  if (error == std::errc::read_only_file_system) return "the disk is read-only";
  if (error == std::errc::no_space_on_device) return "the disk is full";
  if (error == std::errc::file_too_large) return "the file became too large for the disk or the user's limit";
  if (error == std::errc::too_many_files_open) return "too many files are open";
  return error ? error.message() : "the system gave no reason";
}

/// Streams tell no reason, but leave the system's in errno.
inline std::string stream_error_reason() {
  return error_reason(std::error_code(errno, std::generic_category()));
}

inline void rename_path(const char* where, const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code error;
  std::filesystem::rename(from, to, error);
  if (error) fail(where, ": ", path_text(from), " cannot be renamed to ", path_text(to), ": ", error_reason(error));
}

/// A name beside the real one that nobody else uses. Whatever still stands there in the end is removed.
class TemporaryPath {
 public:
  explicit TemporaryPath(const std::filesystem::path& real) : path_(real) {
    std::random_device random;
    path_ += '.' + std::to_string(random()) + '-' + std::to_string(random()) + ".tmp";
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

}  // namespace detail

/// The file's bytes. Throws if there is no such file, it is a folder or a device, or it cannot be read to its end.
inline std::string read_file(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::status_known(status)) fail("read_file: ", path_text(path), ": ", detail::error_reason(error));
  check(std::filesystem::exists(status), "read_file: ", path_text(path), ": there is no such file");
  check(!std::filesystem::is_directory(status), "read_file: ", path_text(path), ": it is a folder, expected a file");
  check(std::filesystem::is_regular_file(status), "read_file: ", path_text(path), ": it is not a regular file");

  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream.is_open()) fail("read_file: ", path_text(path), ": ", detail::stream_error_reason());
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) fail("read_file: ", path_text(path), ": ", detail::error_reason(error));

  std::string bytes;
  check(size <= bytes.max_size(), "read_file: ", path_text(path), ": has ", size, " bytes, too many for this program");
  bytes.resize(static_cast<std::size_t>(size));
  stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  check(stream.gcount() == static_cast<std::streamsize>(bytes.size()), "read_file: ", path_text(path), ": gave ",
        stream.gcount(), " bytes, expected ", size);
  return bytes;
}

/// Makes or replaces a file by the pieces one after another.
///
/// It is written under another name in the same folder and then renamed, so the real name never shows half a file: if
/// the disk is full or the program is killed, what stood there before still does. (Not against a power cut: the
/// standard library has no way to wait for the disk.) A symbolic link is replaced, not followed.
inline void write_file(const std::filesystem::path& path, std::span<const std::span<const std::byte>> pieces) {
  std::error_code ignored;  // whatever is wrong shows when the temporary is opened
  check(!std::filesystem::is_directory(path, ignored), "write_file: ", path_text(path), ": it is a folder");
  const detail::TemporaryPath temporary(path);

  errno = 0;
  std::ofstream stream(temporary.path(), std::ios::binary);
  if (!stream.is_open()) fail("write_file: ", path_text(path), ": ", detail::stream_error_reason());
  for (const std::span<const std::byte>& piece : pieces)
    stream.write(reinterpret_cast<const char*>(piece.data()), static_cast<std::streamsize>(piece.size()));
  stream.close();  // writes what is still buffered: a full disk may show only here
  if (!stream) fail("write_file: ", path_text(path), ": ", detail::stream_error_reason());
  detail::rename_path("write_file", temporary.path(), path);
}

/// The same of one text.
inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
  const std::span<const std::byte> piece = std::as_bytes(std::span<const char>(bytes.data(), bytes.size()));
  write_file(path, std::span<const std::span<const std::byte>>(&piece, 1));
}

/// Where the old folder stands while `write_folder` puts the new one in its place.
inline std::filesystem::path folder_backup(const std::filesystem::path& folder) {
  std::filesystem::path backup = folder.has_filename() ? folder : folder.parent_path();
  backup += ".eigenformer-backup";
  return backup;
}

/// Writes several files into a folder, all of them or none: `write_files(temporary)` writes them into a new folder
/// beside the real one, which then takes the real one's name. Other files of the old folder are copied along.
///
/// Folders cannot be swapped in one step: the old one is first renamed to `folder_backup(folder)`. Should the program
/// be killed between the two renames, the old folder is found there, complete, and the next `write_folder` begins by
/// renaming it back. For one writer at a time. Throws what `write_files` throws, after removing the temporary folder;
/// on Windows also while somebody has a file of the folder open.
inline void write_folder(const std::filesystem::path& folder,
                         const std::function<void(const std::filesystem::path&)>& write_files) {
  namespace fs = std::filesystem;
  const fs::path real = folder.has_filename() ? folder : folder.parent_path();  // "model/" is "model"
  check(real.has_filename() && real.filename() != "." && real.filename() != "..", "write_folder: \"", path_text(folder),
        "\" does not end in a folder's name");
  const fs::path backup = folder_backup(real);
  std::error_code error;
  if (!fs::exists(real, error) && fs::exists(backup, error)) detail::rename_path("write_folder", backup, real);
  const bool replaces = fs::exists(real, error);
  check(!replaces || fs::is_directory(real, error), "write_folder: ", path_text(real), ": it is a file");

  const detail::TemporaryPath fresh(real);
  fs::create_directory(fresh.path(), error);
  if (error) fail("write_folder: ", path_text(real), ": ", detail::error_reason(error));
  write_files(fresh.path());
  if (!replaces) return detail::rename_path("write_folder", fresh.path(), real);

  fs::directory_iterator old_file(real, error);
  for (; !error && old_file != fs::directory_iterator(); old_file.increment(error)) {
    const fs::path copy = fresh.path() / old_file->path().filename();
    if (fs::exists(copy, error)) continue;
    fs::copy(old_file->path(), copy, fs::copy_options::recursive | fs::copy_options::copy_symlinks, error);
    if (error) break;
  }
  if (error) fail("write_folder: the files of ", path_text(real), " cannot be copied: ", detail::error_reason(error));

  fs::remove_all(backup, error);  // of a program that was killed while removing it
  if (error) fail("write_folder: ", path_text(backup), " cannot be removed: ", detail::error_reason(error));
  detail::rename_path("write_folder", real, backup);
  fs::rename(fresh.path(), real, error);
  if (error) {
    std::error_code ignored;
    fs::rename(backup, real, ignored);
    fail("write_folder: ", path_text(fresh.path()), " cannot be renamed to ", path_text(real), ": ",
         detail::error_reason(error));
  }
  fs::remove_all(backup, error);  // if this fails, the next call tries again
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
