// File descriptors of POSIX and of the C library on Windows. Unlike standard streams, they can be synced to the disk.
#pragma once

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "eigenformer/core/config.hpp"

#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#include <share.h>
#include <sys/stat.h>
extern "C" __declspec(dllimport) int __stdcall MoveFileExW(const wchar_t*, const wchar_t*, unsigned long);
extern "C" __declspec(dllimport) unsigned long __stdcall GetLastError();
#else
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Returns errno, which the last failed system call set, as an error code.
inline std::error_code last_error() {
  return std::error_code(errno, std::generic_category());
}

/// Owns an open descriptor and closes it.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() { close(); }

  bool is_open() const { return number_ >= 0; }
  int number() const { return number_; }

  /// Closes the descriptor and returns the error, if any. Some file systems report a full disk only here.
  std::error_code close() {
    if (!is_open()) return {};
#if defined(_WIN32)
    const int result = ::_close(std::exchange(number_, -1));
#else
    const int result = ::close(std::exchange(number_, -1));
#endif
    return result == 0 || errno == EINTR ? std::error_code() : last_error();
  }

 private:
  int number_;
};

enum class Opening {
  read_only,    // a file or, except on Windows, a folder
  write_only,   // an existing file, without truncating it
  new_file,     // fails if the file exists
  new_private,  // like new_file, but only the owner may read and write it
};

/// Opens a file. If the system refuses, the result is not open and errno has the reason.
inline Descriptor open_descriptor(const std::filesystem::path& path, Opening opening) {
#if defined(_WIN32)
  const int flags = _O_BINARY | _O_NOINHERIT |
                    (opening == Opening::read_only    ? _O_RDWR  // _commit needs write access
                     : opening == Opening::write_only ? _O_WRONLY
                                                      : _O_WRONLY | _O_CREAT | _O_EXCL);
  int number = -1;
  ::_wsopen_s(&number, path.c_str(), flags, _SH_DENYNO, _S_IREAD | _S_IWRITE);
  return Descriptor(number);
#else
  const int flags = O_CLOEXEC | O_NOCTTY |
                    (opening == Opening::read_only ? O_RDONLY
                     : opening == Opening::write_only ? O_WRONLY
                                                      : O_WRONLY | O_CREAT | O_EXCL);
  int number = -1;
  do {
    number = ::open(path.c_str(), flags, opening == Opening::new_private ? 0600 : 0666);
  } while (number < 0 && errno == EINTR);
  return Descriptor(number);
#endif
}

/// Locks a folder until the result is closed or the process ends. If the folder is already locked, the result is not
/// open and errno is EWOULDBLOCK; if it cannot be opened, errno has the reason. On a file system without locks, the
/// result is open and nothing is locked.
inline Descriptor lock_descriptor(const std::filesystem::path& folder) {
#if defined(_WIN32)
  int number = -1;  // A file that nobody else may open. Windows removes it when it is closed.
  ::_wsopen_s(&number, (folder / ".lock").c_str(), _O_RDWR | _O_CREAT | _O_TEMPORARY | _O_NOINHERIT, _SH_DENYRW,
              _S_IREAD | _S_IWRITE);
  constexpr unsigned long sharing_violation = 32;  // ERROR_SHARING_VIOLATION
  if (number < 0 && ::GetLastError() == sharing_violation) errno = EWOULDBLOCK;
  return Descriptor(number);
#else
  Descriptor descriptor = open_descriptor(folder, Opening::read_only);
  if (descriptor.is_open() && ::flock(descriptor.number(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    descriptor.close();
    errno = EWOULDBLOCK;
  }
  return descriptor;
#endif
}

/// Returns whether a path leads to the open folder. If it does not, another program has removed or replaced
/// the folder. Windows does not let a locked folder be removed.
inline bool leads_to([[maybe_unused]] const std::filesystem::path& path, [[maybe_unused]] const Descriptor& folder) {
#if defined(_WIN32)
  return true;
#else
  struct stat open;
  struct stat named;
  return ::fstat(folder.number(), &open) == 0 && ::stat(path.c_str(), &named) == 0 && open.st_dev == named.st_dev &&
         open.st_ino == named.st_ino;
#endif
}

/// Returns the number of the descriptor that a path like /dev/stdout or /dev/fd/3 names, or -1 if it names none.
/// Such a path must not be opened again: writing would start at the file's first byte and overwrite what is there.
inline int named_descriptor([[maybe_unused]] const std::filesystem::path& path) {
#if !defined(_WIN32)
  const std::string_view name = path.native();
  if (name == "/dev/stdin") return 0;
  if (name == "/dev/stdout") return 1;
  if (name == "/dev/stderr") return 2;
  for (const std::string_view folder : {"/dev/fd/", "/proc/self/fd/"}) {
    if (name.substr(0, folder.size()) != folder) continue;
    const std::string_view digits = name.substr(folder.size());
    if (digits.empty() || digits.size() > 6 || digits.find_first_not_of("0123456789") != digits.npos) return -1;
    int number = 0;
    for (const char digit : digits) number = 10 * number + (digit - '0');
    return number;
  }
#endif
  return -1;
}

/// Returns a second descriptor of the same open file. The two share the file position.
inline Descriptor duplicate_descriptor(int number) {
#if defined(_WIN32)
  return Descriptor(::_dup(number));
#else
  return Descriptor(::dup(number));
#endif
}

/// Writes all bytes, in as many system calls as it takes.
inline std::error_code write_all(int descriptor, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t size = bytes.size() < (std::size_t{1} << 30) ? bytes.size() : std::size_t{1} << 30;
#if defined(_WIN32)
    const auto written = ::_write(descriptor, bytes.data(), static_cast<unsigned>(size));
#else
    const auto written = ::write(descriptor, bytes.data(), size);
#endif
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return last_error();
    if (written == 0) return std::make_error_code(std::errc::io_error);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

/// Syncs an open file's bytes, or an open folder's entries, to the disk. Not an error where syncing is unsupported:
/// pipes, terminals and some file systems.
inline std::error_code wait_for_disk(int descriptor) {
#if defined(_WIN32)
  return ::_commit(descriptor) == 0 || errno == EBADF ? std::error_code() : last_error();
#else
#if defined(__APPLE__)
  if (::fcntl(descriptor, F_FULLFSYNC) == 0) return {};  // on macOS fsync leaves data in the disk's cache
#endif
  int result = 0;
  do {
    result = ::fsync(descriptor);
  } while (result != 0 && errno == EINTR);
  const bool unsupported = errno == EINVAL || errno == ENOTSUP || errno == ENOSYS || errno == EROFS;
  return result == 0 || unsupported ? std::error_code() : last_error();
#endif
}

/// Gives `to` the owner, group and mode of `from`, as far as this process may. If it may not give the owner or the
/// group, the new ones get no rights that were meant for the old: not the set-user-ID and set-group-ID bits, and for
/// the group at most the rights of all others.
inline void copy_owner_and_mode([[maybe_unused]] const std::filesystem::path& from,
                                [[maybe_unused]] const std::filesystem::path& to) {
#if !defined(_WIN32)
  struct stat status {};
  if (::stat(from.c_str(), &status) != 0) return;
  using std::filesystem::perms;
  auto mode = static_cast<perms>(status.st_mode & 07777U);
  if (::chown(to.c_str(), status.st_uid, status.st_gid) != 0) {
    mode &= ~(perms::set_uid | perms::set_gid);
    if (::chown(to.c_str(), static_cast<uid_t>(-1), status.st_gid) != 0) {
      if ((mode & perms::others_read) == perms::none) mode &= ~perms::group_read;
      if ((mode & perms::others_write) == perms::none) mode &= ~perms::group_write;
      if ((mode & perms::others_exec) == perms::none) mode &= ~perms::group_exec;
    }
    errno = 0;
  }
  std::error_code ignored;
  std::filesystem::permissions(to, mode, ignored);
#endif
}

/// Returns whether this process may write to an existing file. If not, errno has the reason.
inline bool may_write(const std::filesystem::path& path) {
#if defined(_WIN32)
  return ::_waccess(path.c_str(), 2) == 0;
#else
  return ::access(path.c_str(), W_OK) == 0;
#endif
}

/// The system calls whose order decides what survives a power cut. Tests override them to check that order.
class Disk {
 public:
  virtual ~Disk() = default;

  /// Syncs an open file's bytes or an open folder's entries to the disk.
  virtual std::error_code sync(int descriptor, const std::filesystem::path&) { return wait_for_disk(descriptor); }

  /// Renames atomically: a file over an existing one, or a folder to a new name.
  virtual std::error_code rename(const std::filesystem::path& from, const std::filesystem::path& to) {
    std::error_code error;
#if defined(_WIN32)
    constexpr unsigned long replace_existing = 1, write_through = 8;
    if (::MoveFileExW(from.c_str(), to.c_str(), replace_existing | write_through) == 0)
      error = std::error_code(static_cast<int>(::GetLastError()), std::system_category());
#else
    std::filesystem::rename(from, to, error);
#endif
    return error;
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
