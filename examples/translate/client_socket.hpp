// The socket of a client of `serve`, with limits for slow and greedy clients.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>

#include "translate/program.hpp"

namespace translate {

/// A connected socket. The client's request must arrive within ServeLimits::client_seconds, however slowly it trickles
/// in. It must not pause longer than that while it reads the answer, and from then on must have read 16 KiB for each
/// further second. All waiting ends when the server stops.
class ClientSocket {
 public:
  /// Time after which waiting threads look whether the server stops.
  static constexpr std::chrono::milliseconds poll_time{100};

  ClientSocket(int descriptor, const ServeLimits& limits, const std::atomic<bool>& stops);

  /// Reads at least one byte, and at most `size`. Returns their number, or -1 at the end, after an error, if the time
  /// is over, or if the request has more bytes than the limits allow.
  ssize_t read(char* to, std::size_t size);
  /// Writes all bytes. Returns their number, or -1 after an error or if the client is too slow.
  ssize_t write(const char* from, std::size_t size);

  bool has_input() const;
  bool is_writable() const;
  /// Returns whether the client has closed its side. A client that has left and one that will only read look the same.
  /// Call it when the request has been read: it may discard what follows.
  bool is_gone();
  bool has_timed_out() const { return has_timed_out_; }
  bool is_too_long() const { return left_ == 0; }
  bool has_written() const { return has_written_; }

  int descriptor() const { return descriptor_; }
  void remote_address(std::string& ip, int& port) const;
  void local_address(std::string& ip, int& port) const;

  /// Closes the socket. Before, reads what the client still sends, for a moment: otherwise the system may reset the
  /// connection before the client has read its answer.
  void close();
  /// Writes a short answer and closes the socket, without waiting for anything.
  void refuse(const std::string& answer);

 private:
  using Clock = std::chrono::steady_clock;

  bool fill();
  /// Waits until the socket is ready. Returns false if it is not by then, or if the server stops.
  bool waits_for(short event, Clock::time_point end) const;

  int descriptor_;
  Clock::duration time_;
  Clock::time_point end_;  // of the time to send the request
  const std::atomic<bool>& stops_;
  std::array<char, 4096> buffer_{};
  std::size_t begin_ = 0, filled_ = 0;  // of the buffer
  std::size_t left_;                    // bytes that the client may still send
  bool has_timed_out_ = false, has_written_ = false;
};

/// Returns the address of a socket on this machine, such as "127.0.0.1".
std::string local_address(int descriptor);

}  // namespace translate
