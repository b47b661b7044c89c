// Replaces several files of a folder together: readers see either all the old files or all the new ones.
#pragma once

#include <cerrno>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "eigenformer/core/files.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// The subfolder that holds complete new files until they replace the old ones. It gets this name in one atomic rename,
/// when all its files are complete and synced. From then on readers find the new files.
inline constexpr const char* newer_files = ".newer-files";

/// The prefix of that subfolder's name while its files are being written.
inline constexpr const char* unfinished_files = ".unfinished-files-";

inline std::vector<std::filesystem::path> entries_of(const char* where, const std::filesystem::path& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> entries;
  std::filesystem::directory_iterator entry(folder, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error))
    entries.push_back(entry->path());
  check_error(error, where, folder);
  return entries;
}

/// Renames a file to `to`, or copies and removes it if `to` is on another disk.
inline std::error_code move_file(Disk& disk, const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code error = disk.rename(from, to);
  if (error != std::errc::cross_device_link) return error;
  const std::string bytes = read_file(from);
  const std::span<const std::byte> piece = std::as_bytes(std::span(bytes));
  write_file(to, Pieces(&piece, 1), disk);
  std::filesystem::remove(from, error);
  return error;
}

inline bool is_link(const std::filesystem::path& path) {
  std::error_code missing;
  return std::filesystem::is_symlink(std::filesystem::symlink_status(path, missing));
}

/// Throws if new files that an interrupted program left behind would be moved through a link: the folder may come from
/// someone else, and so may the files and the link.
inline void check_left_behind(const char* where, const std::filesystem::path& folder) {
  const std::filesystem::path newer = folder / newer_files;
  check(!is_link(newer), where, ": ", path_text(newer), ": it is a link, expected a folder or nothing");
  if (!std::filesystem::exists(known_status(where, newer))) return;
  for (const std::filesystem::path& file : entries_of(where, newer)) {
    check(!is_link(file), where, ": ", path_text(file), ": it is a link, expected a file");
    check(!is_link(folder / file.filename()), where, ": ", path_text(folder / file.filename()),
          ": it is a link, and an interrupted program left a new file for it in ", newer_files, "; remove one of them");
  }
}

/// Moves new files over the old ones. Safe to repeat after a killed program or a power cut interrupted it.
inline void place_newer_files(const std::filesystem::path& folder, Disk& disk) {
  constexpr const char* where = "write_folder";
  const std::filesystem::path newer = folder / newer_files;
  if (!std::filesystem::exists(known_status(where, newer))) return;
  std::set<std::filesystem::path> changed{folder, newer};
  for (const std::filesystem::path& file : entries_of(where, newer)) {
    const std::filesystem::path to = follow_links(where, folder / file.filename());
    check_error(move_file(disk, file, to), where, to);
    changed.insert(folder_of(to));
  }
  for (const std::filesystem::path& each : changed) check_error(sync_path(disk, each), where, each);
  std::error_code error;
  std::filesystem::remove(newer, error);
  check_error(error, where, newer);
}

/// A folder to write into. Creates it if it is missing, and removes it again at the end of the scope unless `keep` was
/// called or the folder is not empty.
class FolderToWrite {
 public:
  FolderToWrite(const char* where, const std::filesystem::path& folder) {
    check(!folder.empty(), where, ": the folder's path is empty");
    path_ = follow_links(where, folder.has_filename() ? folder : folder.parent_path());  // "model/" is "model"
    create(where);
  }
  FolderToWrite(const FolderToWrite&) = delete;
  FolderToWrite& operator=(const FolderToWrite&) = delete;
  ~FolderToWrite() { remove_if_new(); }

  const std::filesystem::path& path() const { return path_; }

  /// Creates the folder if it is missing.
  void create(const char* where) {
    std::error_code error = std::make_error_code(std::errc::file_exists);
    // Another program may remove the folder between two system calls of one attempt.
    for (int attempts = 100; error == std::errc::file_exists && attempts > 0; --attempts) {
      const std::filesystem::file_status status = known_status(where, path_);
      check(!std::filesystem::exists(status) || std::filesystem::is_directory(status), where, ": ", path_text(path_),
            ": it is a file, expected a folder");
      is_new_ = std::filesystem::create_directory(path_, error);
    }
    check_error(error, where, error == std::errc::no_such_file_or_directory ? folder_of(path_) : path_);
  }
  /// Removes the folder if it was created here and is empty.
  void remove_if_new() {
    std::error_code ignored;
    if (std::exchange(is_new_, false)) std::filesystem::remove(path_, ignored);
  }
  /// Leaves a new folder to another program, which uses it already.
  void leave() { is_new_ = false; }

  /// Makes a new folder permanent and syncs its parent folder to the disk.
  std::error_code keep(Disk& disk) {
    const bool was_new = is_new_;
    is_new_ = false;
    return was_new ? sync_path(disk, folder_of(path_)) : std::error_code();
  }

 private:
  std::filesystem::path path_;
  bool is_new_ = false;
};

/// Locks a folder to write into until the end of the scope. Creates it if it is missing.
///
/// Several programs may do so at once. The first to lock the folder owns it, even if another program created it. A
/// program that ends may remove the empty folder between our open and our lock. So a lock is valid only if the path
/// still leads to the locked folder.
class LockedFolder {
 public:
  LockedFolder(const char* where, const std::filesystem::path& folder) : folder_(where, folder) {
    for (int attempts_left = 100; !lock(attempts_left == 0); --attempts_left) {
      const std::error_code error = last_error();
      if (error == std::errc::operation_would_block) folder_.leave();
      check(error != std::errc::operation_would_block, where, ": ", path_text(folder),
            ": a program is already writing into this folder; wait until it ends, or choose another folder");
      if (attempts_left == 0 || error != std::errc::no_such_file_or_directory) check_error(error, where, folder);
      folder_.create(where);
    }
    Disk disk;  // write_folder syncs the parent only of folders that it creates itself
    const std::error_code error = sync_path(disk, folder_of(folder_.path()));
    if (error) folder_.remove_if_new();  // while it is locked, as in the destructor
    check_error(error, where, folder);
  }
  ~LockedFolder() {
#if defined(_WIN32)
    lock_.reset();  // a locked folder is not empty: it has the file of the lock
#endif
    folder_.remove_if_new();
  }
  LockedFolder(const LockedFolder&) = delete;
  LockedFolder& operator=(const LockedFolder&) = delete;

 private:
  /// Returns whether the folder is locked now. If not, errno has the reason. is_last: accepts the lock whatever the
  /// path leads to, because on some network drives fstat and stat report different numbers for one folder.
  bool lock(bool is_last) {
    lock_.emplace(lock_descriptor(folder_.path()));
    if (!lock_->is_open()) return false;
    if (is_last || leads_to(folder_.path(), *lock_)) return true;
    lock_.reset();
    errno = ENOENT;
    return false;
  }

  FolderToWrite folder_;
  std::optional<Descriptor> lock_;
};

/// A temporary subfolder for incomplete files, removed at the end of the scope. The constructor also removes the
/// subfolders that killed programs left behind.
class UnfinishedFiles {
 public:
  UnfinishedFiles(const char* where, const std::filesystem::path& folder) : temporary_(folder, unfinished_files) {
    std::error_code error;
    for (const std::filesystem::path& entry : entries_of(where, folder))  // left by a killed program
      if (path_text(entry.filename()).starts_with(unfinished_files)) std::filesystem::remove_all(entry, error);
    std::filesystem::create_directory(path(), error);
    check_error(error, where, folder);
    // Only the owner may enter, because a file in this folder may be the new version of a private file.
    std::filesystem::permissions(path(), std::filesystem::perms::owner_all, error);
    check_error(error, where, folder);
  }
  const std::filesystem::path& path() const { return temporary_.path(); }

 private:
  TemporaryPath temporary_;
};

/// Returns where a path leads. Throws unless a file can be renamed to it.
inline Destination check_replaceable(const char* where, const std::filesystem::path& path) {
  Destination to = destination_of(where, path);
  check(to.kind == Destination::Kind::new_file || to.kind == Destination::Kind::replaced_file, where, ": ",
        path_text(path), ": it is not a regular file");
  return to;
}

inline void write_folder(const std::filesystem::path& folder,
                         const std::function<void(const std::filesystem::path&)>& write_files, Disk& disk) {
  constexpr const char* where = "write_folder";
  FolderToWrite real(where, folder);
  check_left_behind(where, real.path());
  place_newer_files(real.path(), disk);

  const UnfinishedFiles unfinished(where, real.path());
  write_files(unfinished.path());
  for (const std::filesystem::path& file : entries_of(where, unfinished.path())) {
    check_error(sync_path(disk, file), where, file);
    const Destination to = check_replaceable(where, real.path() / file.filename());
    if (to.kind == Destination::Kind::replaced_file) copy_owner_and_mode(to.path, file);
  }
  copy_owner_and_mode(real.path(), unfinished.path());
  check_error(sync_path(disk, unfinished.path()), where, unfinished.path());

  check_error(disk.rename(unfinished.path(), real.path() / newer_files), where, real.path());
  check_error(sync_path(disk, real.path()), where, real.path());
  check_error(real.keep(disk), where, real.path());
  place_newer_files(real.path(), disk);
}

}  // namespace detail

/// Writes several files into a folder, all or none. `write_files(temporary)` must write them into the temporary folder
/// it is given; they then move to `folder`.
///
/// - Other files of the folder stay unchanged.
/// - A missing folder is created; an existing one keeps its mode. A link to a folder is followed.
/// - A replaced file keeps its mode, as with `write_file`.
///
/// Several files cannot be replaced atomically, but one folder can be renamed atomically:
///
///   1. The new files are written into `folder/.unfinished-files-*.tmp` and synced.
///   2. That folder is renamed to `folder/.newer-files`, and `folder` is synced. Readers now find the new files.
///   3. The new files are renamed, one by one, over the old ones, and `.newer-files` is removed.
///
/// Readers that look files up with `newest_file(folder, name)` find all the old files before step 2 and all the new
/// ones after it, even if the program is killed or the power fails. The next `write_folder` first finishes step 3. It
/// throws if finishing would write through a link.
///
/// Not safe for several writers at once: see lock_folder. Throws what `write_files` throws. Throws if a file cannot be
/// written; on Windows also if another program has one of the old files open.
inline void write_folder(const std::filesystem::path& folder,
                         const std::function<void(const std::filesystem::path&)>& write_files) {
  detail::Disk disk;
  detail::write_folder(folder, write_files, disk);
}

/// Locks a folder until the result is destroyed or the process ends. Meanwhile lock_folder throws for it, in this and
/// in other programs. Creates a missing folder, and removes it again with the result if it is still empty. Also throws
/// if the folder cannot be created or opened. On file systems without locks, such as some network drives, nothing is
/// locked.
[[nodiscard]] inline std::shared_ptr<const void> lock_folder(const std::filesystem::path& folder) {
  return std::make_shared<const detail::LockedFolder>("lock_folder", folder);
}

/// Returns the current path of a file that write_folder wrote into `folder`: usually `folder / name`.
inline std::filesystem::path newest_file(const std::filesystem::path& folder, const std::filesystem::path& name) {
  const std::filesystem::path newer = folder / detail::newer_files / name;
  if (detail::is_link(folder / detail::newer_files)) return folder / name;  // write_folder makes no links
  return std::filesystem::exists(detail::known_status("newest_file", newer)) ? newer : folder / name;
}

/// Returns when each of the named files was last written. It finds them as newest_file does. Call it before and after
/// reading the files: if both results are equal, the contents belong together.
inline std::vector<std::filesystem::file_time_type> last_writes(const std::filesystem::path& folder,
                                                                std::span<const char* const> names) {
  std::vector<std::filesystem::file_time_type> times;
  std::error_code missing;
  for (const char* const name : names)
    times.push_back(std::filesystem::last_write_time(newest_file(folder, name), missing));
  return times;
}

/// Throws if write_folder would refuse the folder, or files with these names in it. Call it before long work whose
/// result goes there. Changes nothing, except that it removes the unfinished files that killed programs left behind.
inline void check_folder_writable(const std::filesystem::path& folder, std::span<const char* const> names = {}) {
  constexpr const char* where = "write_folder";
  const detail::FolderToWrite real(where, folder);
  detail::check_left_behind(where, real.path());
  for (const char* const name : names) detail::check_replaceable(where, real.path() / name);
  const detail::UnfinishedFiles unfinished(where, real.path());
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
