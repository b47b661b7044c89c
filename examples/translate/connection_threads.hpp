// The threads of the connections to `serve`. Only serve_http.cpp includes it, because only that file is compiled with
// the definitions that cpp-httplib needs.
#pragma once

#include <httplib.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace translate {

/// Serves each connection in a thread. Threads start when they are needed.
class ConnectionThreads final : public httplib::TaskQueue {
 public:
  /// most: the maximum number of connections that are served at once.
  explicit ConnectionThreads(std::size_t most) : most_(most) {}

  /// Whether this thread refuses a connection, because there are too many.
  static bool refuses() { return refuses_; }

  void enqueue(std::function<void()> serve) override {
    {
      std::unique_lock lock(mutex_);
      if (open_ < most_) {
        ++open_;
        if (open_ <= threads_.size() || starts_thread()) {
          waiting_.push_back(std::move(serve));
          lock.unlock();
          changed_.notify_one();
          return;
        }
        --open_;
      }
    }
    refuses_ = true;
    serve();
    refuses_ = false;
  }

  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  /// Starts a thread. Returns false if the system allows no more.
  bool starts_thread() {
    try {
      threads_.emplace_back([this] { work(); });
      return true;
    } catch (const std::system_error&) {
      return false;
    }
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const std::function<void()> serve = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      serve();
      lock.lock();
      --open_;
    }
  }

  static inline thread_local bool refuses_ = false;
  std::size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  std::size_t open_ = 0;  // connections
  std::vector<std::thread> threads_;
  bool closed_ = false;
};

}  // namespace translate
