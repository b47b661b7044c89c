// Checked standard input and output, for programs that must not lose a line silently.
#pragma once

#include <cerrno>
#include <cstdio>
#include <iostream>

#include "eigenformer/core/files.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Reopens closed standard streams (`>&-` in a shell) so that using them is an error. Otherwise the next opened file
/// would get the number of a closed stream, and printed text would end up in that file. Call it first in main.
/// Throws if a stream cannot be reopened.
inline void occupy_closed_streams() {
#if !defined(_WIN32)
  for (int number = 0; number <= 2; ++number) {
    if (::fcntl(number, F_GETFD) >= 0) continue;
    // Standard input is opened for writing and the others for reading, so that using them fails.
    const int opened = ::open("/dev/null", number == 0 ? O_WRONLY : O_RDONLY);
    if (opened != number) fail("standard stream ", number, ": is closed");
  }
#endif
}

/// Flushes std::cout and stdout. Throws if anything printed so far could not be written.
inline void flush_standard_output() {
  errno = 0;
  std::cout.flush();
  std::fflush(stdout);
  if (std::cout.good() && std::ferror(stdout) == 0) return;
  std::error_code error = detail::last_error();
#if !defined(_WIN32)
  if (!error && ::write(1, "", 0) < 0) error = detail::last_error();  // asks for the error of an earlier write
#endif
  fail("standard output: cannot be written", error ? ": " : "", error ? detail::error_reason(error) : std::string());
}

/// Throws if standard input ended because of a read error. Call it after reading to the end.
inline void check_standard_input() {
  if (!std::cin.bad() && std::ferror(stdin) == 0) return;
  std::string reason;
#if !defined(_WIN32)
  char nothing = 0;
  if (::read(0, &nothing, 0) < 0) reason = ": " + detail::error_reason(detail::last_error());
#endif
  fail("standard input: cannot be read", reason);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
