// Standard input and output of a program that must not lose a line without saying so.
#pragma once

#include <cerrno>
#include <cstdio>
#include <iostream>

#include "eigenformer/core/files.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Occupies the standard streams that are closed, as by `>&-`, so that using them is an error. Otherwise the next file
/// that is opened gets the number of a closed one, and what is printed ends in that file. Call it first in main.
inline void occupy_closed_streams() {
#if !defined(_WIN32)
  for (int number = 0; number <= 2; ++number) {
    if (::fcntl(number, F_GETFD) >= 0) continue;
    const int opened = ::open("/dev/null", number == 0 ? O_WRONLY : O_RDONLY);  // for what the stream does not do
    if (opened != number) fail("standard stream ", number, ": is closed");
  }
#endif
}

/// Writes what std::cout and stdout still hold. Throws unless all that was ever printed has been written.
inline void flush_standard_output() {
  errno = 0;
  std::cout.flush();
  std::fflush(stdout);
  if (std::cout.good() && std::ferror(stdout) == 0) return;
  const std::error_code error = detail::last_error();
  fail("standard output: cannot be written", error ? ": " : "", error ? detail::error_reason(error) : std::string());
}

/// Throws if standard input, read to where it seems to end, did not end there but could not be read.
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
