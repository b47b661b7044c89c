#include "translate/client_socket.hpp"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace translate {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t max_headers = 65'536;  // bytes
constexpr double least_rate = 16'384;        // at which a client must accept an answer, in bytes per second

bool would_block() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/// Writes the address that `get` returns. get: getpeername or getsockname.
template <class Get>
void read_address(int descriptor, Get get, std::string& ip, int& port) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  char text[INET6_ADDRSTRLEN] = "";
  port = 0;
  if (get(descriptor, reinterpret_cast<sockaddr*>(&storage), &size) == 0) {
    if (storage.ss_family == AF_INET) {
      const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
      ::inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
      port = ntohs(v4->sin_port);
    } else if (storage.ss_family == AF_INET6) {
      const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
      ::inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
      port = ntohs(v6->sin6_port);
    }
  }
  ip = text;
}

}  // namespace

ClientSocket::ClientSocket(int descriptor, const ServeLimits& limits, const std::atomic<bool>& stops)
    : descriptor_(descriptor),
      time_(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limits.client_seconds))),
      end_(Clock::now() + time_),
      stops_(stops),
      left_(max_headers + static_cast<std::size_t>(limits.max_body)) {}

ssize_t ClientSocket::read(char* to, std::size_t size) {
  if (begin_ == filled_ && !fill()) return -1;
  const std::size_t count = std::min(size, filled_ - begin_);
  std::memcpy(to, buffer_.data() + begin_, count);
  begin_ += count;
  return static_cast<ssize_t>(count);
}

bool ClientSocket::fill() {
  if (left_ == 0) return false;
  if (!waits_for(POLLIN, end_)) {
    has_timed_out_ = Clock::now() >= end_;
    return false;
  }
  const ssize_t count = ::recv(descriptor_, buffer_.data(), std::min(buffer_.size(), left_), 0);
  if (count <= 0) return false;
  begin_ = 0;
  filled_ = static_cast<std::size_t>(count);
  left_ -= filled_;
  return true;
}

ssize_t ClientSocket::write(const char* from, std::size_t size) {
  has_written_ = true;
  const Clock::time_point begin = Clock::now();
  Clock::time_point end = begin + time_;
  for (std::size_t sent = 0; sent < size;) {
    const ssize_t count = ::send(descriptor_, from + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) {
      sent += static_cast<std::size_t>(count);
      const auto earned = std::chrono::duration<double>(static_cast<double>(sent) / least_rate);
      end = std::min(Clock::now(), begin + std::chrono::duration_cast<Clock::duration>(earned)) + time_;
    } else if (!would_block()) {
      return -1;
    } else if (stops_ || (!waits_for(POLLOUT, std::min(end, Clock::now() + poll_time)) && Clock::now() >= end)) {
      // Otherwise send again: Linux calls a socket writable only when a third of its buffer is free.
      return -1;
    }
  }
  return static_cast<ssize_t>(size);
}

bool ClientSocket::waits_for(short event, Clock::time_point end) const {
  for (;;) {
    pollfd entry{descriptor_, event, 0};
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
    const int ready = ::poll(&entry, 1, static_cast<int>(std::clamp(left, milliseconds(0), poll_time).count()));
    if (ready > 0) return true;
    if ((ready < 0 && errno != EINTR) || Clock::now() >= end || stops_) return false;
  }
}

bool ClientSocket::has_input() const {
  return begin_ < filled_ || waits_for(POLLIN, Clock::now());
}

bool ClientSocket::is_writable() const {
  return waits_for(POLLOUT, Clock::now());
}

bool ClientSocket::is_gone() {
#ifdef POLLRDHUP
  pollfd entry{descriptor_, POLLRDHUP, 0};
  return ::poll(&entry, 1, 0) > 0;
#else
  // Bytes after the request would hide that the client has closed its side.
  for (std::size_t read = 0; read <= max_headers;) {
    const ssize_t count = ::recv(descriptor_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (count <= 0) return count == 0 || !would_block();
    read += static_cast<std::size_t>(count);
  }
  return false;
#endif
}

void ClientSocket::remote_address(std::string& ip, int& port) const {
  read_address(descriptor_, ::getpeername, ip, port);
}

void ClientSocket::local_address(std::string& ip, int& port) const {
  read_address(descriptor_, ::getsockname, ip, port);
}

std::string local_address(int descriptor) {
  std::string ip;
  int port = 0;
  read_address(descriptor, ::getsockname, ip, port);
  return ip;
}

void ClientSocket::close() {
  ::shutdown(descriptor_, SHUT_WR);
  const Clock::time_point end = Clock::now() + milliseconds(500);
  while (waits_for(POLLIN, end) && ::recv(descriptor_, buffer_.data(), buffer_.size(), MSG_DONTWAIT) > 0) {
  }
  ::close(descriptor_);
}

void ClientSocket::refuse(const std::string& answer) {
  ::send(descriptor_, answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::shutdown(descriptor_, SHUT_WR);
  while (::recv(descriptor_, buffer_.data(), buffer_.size(), MSG_DONTWAIT) > 0) {
  }
  ::close(descriptor_);
}

}  // namespace translate
