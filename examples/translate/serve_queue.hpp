// The queue between the clients' threads and the translating thread. Requests are answered in order of arrival.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "translate/serve_request.hpp"

namespace translate {

/// The answer to a request. The translating thread writes it, and the client's thread reads it, at its own speed.
class Answer {
 public:
  struct Part {
    std::string text;
    int status = 200;      // of HTTP, in the last part
    bool is_last = false;  // the whole answer, or the end of a stream
  };

  /// Adds a part of a streamed answer.
  void add(std::string text) { push({.text = std::move(text)}); }
  /// Ends the answer.
  void finish(std::string text, int status = 200) {
    push({.text = std::move(text), .status = status, .is_last = true});
  }

  /// Waits for the next part, at most that long.
  std::optional<Part> next(std::chrono::milliseconds longest);

  /// Tells the translating thread that the client is gone.
  void cancel() { cancelled_ = true; }
  bool is_cancelled() const { return cancelled_; }

 private:
  void push(Part part);

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Part> parts_;
  std::atomic<bool> cancelled_{false};
};

/// A request that waits for its answer.
struct PendingRequest {
  explicit PendingRequest(AnyRequest of_client) : request(std::move(of_client)) {}

  const AnyRequest request;
  std::uint64_t number = 0;  // in order of arrival, from 1
  Answer answer;
};

/// Any thread adds requests, and one thread takes them.
class RequestQueue {
 public:
  using Batch = std::vector<std::shared_ptr<PendingRequest>>;

  struct Counts {
    std::uint64_t received = 0, taken = 0, waiting = 0;
  };

  explicit RequestQueue(std::size_t max_waiting) : max_waiting_(max_waiting) {}

  /// Adds a request to the end and numbers it. Throws a RequestError of status 503 if too many wait already, or if the
  /// queue is closed.
  void add(const std::shared_ptr<PendingRequest>& pending);

  /// Waits for a request. Takes it, and those right behind it that can share its batch, while they have at most
  /// max_sentences in all. Cancelled requests are dropped. Returns an empty batch if the queue is closed.
  Batch take(std::size_t max_sentences);

  /// Answers all waiting requests with status 503. The queue takes no more.
  void close();

  Counts counts() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<PendingRequest>> waiting_;
  std::size_t max_waiting_;
  std::uint64_t received_ = 0, taken_ = 0;
  bool closed_ = false;
};

/// Returns the body of an answer with an error: {"error": {"status": 400, "message": "..."}}.
std::string error_body(int status, const std::string& message);

}  // namespace translate
