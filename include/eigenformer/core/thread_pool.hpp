// A thread pool of std::thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/threads.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A fixed-size thread pool. The calling thread works too: this pool has the caller and three workers:
///
///   ThreadPool pool(4);
///   Context<float> context{.threads = &pool};
///
/// Only one `run` at a time uses the workers. A concurrent or nested `run` does all its tasks on the calling thread, so
/// it cannot deadlock.
class ThreadPool final : public Threads {
 public:
  /// threads: the number of threads, including the caller of `run`; 0 means one for each hardware thread.
  /// Throws if the system cannot start that many.
  explicit ThreadPool(int threads = 0) {
    check(threads >= 0, "ThreadPool: threads is ", threads, ", expected 0 or more");
    if (threads == 0) threads = static_cast<int>(std::max<unsigned>(1, std::thread::hardware_concurrency()));
    workers_.reserve(static_cast<std::size_t>(threads) - 1);
#if defined(__cpp_exceptions)
    try {
      start(threads - 1);
    } catch (...) {  // no memory for another stack, or the user's thread limit
      stop();
      fail("ThreadPool: the system started ", size() - 1, " threads beside the caller's, expected ", threads - 1);
    }
#else
    start(threads - 1);
#endif
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() override {
    stop();
  }

  int size() const {
    return static_cast<int>(workers_.size()) + 1;
  }

  void run(Index count, TaskRef task) override {
    if (workers_.empty() || count <= 1 || busy_.test_and_set(std::memory_order_acquire)) {
      for (Index i = 0; i < count; ++i) task(i);
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      task_ = &task;
      count_ = count;
      next_ = 0;
      error_ = nullptr;
      active_ = static_cast<int>(workers_.size());
      ++generation_;
    }
    wake_.notify_all();
    take_tasks();
    // The remaining tasks are short and already running, so spin for a while before sleeping.
    for (int i = 0; i < spins && active_.load(std::memory_order_acquire) > 0; ++i) std::this_thread::yield();
    std::exception_ptr error;
    {
      std::unique_lock lock(mutex_);
      done_.wait(lock, [this] { return active_.load(std::memory_order_acquire) == 0; });
      error = std::exchange(error_, nullptr);
    }
    busy_.clear(std::memory_order_release);
    if (error != nullptr) rethrow(std::move(error));
  }

 private:
  // About 20 microseconds. A layer's next kernel usually follows within that time, and waking a thread takes as long.
  static constexpr int spins = 100;

  static void rethrow(std::exception_ptr error) {
#if defined(__cpp_exceptions)
    std::rethrow_exception(std::move(error));
#else
    (void)error;
#endif
  }

  void start(int workers) {
    for (int i = 0; i < workers; ++i) workers_.emplace_back([this] { work(); });
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      ++generation_;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void take_tasks() {
    for (Index i = next_.fetch_add(1); i < count_; i = next_.fetch_add(1)) {
#if defined(__cpp_exceptions)
      try {
        (*task_)(i);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        error_ = std::current_exception();
      }
#else
      (*task_)(i);
#endif
    }
  }

  void work() {
    std::uint64_t seen = 0;
    for (;;) {
      for (int i = 0; i < spins && generation_.load(std::memory_order_acquire) == seen; ++i) std::this_thread::yield();
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
        if (stopping_) return;
        seen = generation_.load(std::memory_order_acquire);
      }
      take_tasks();
      if (active_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        const std::lock_guard lock(mutex_);  // avoids a lost wake-up between the caller's test and its wait
        done_.notify_one();
      }
    }
  }

  std::atomic_flag busy_;  // set while a run uses the workers; no mutex, since nested runs test it too
  std::mutex mutex_;       // guards the current run's parameters
  std::condition_variable wake_;
  std::condition_variable done_;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<int> active_{0};  // workers that have not finished this generation
  std::atomic<Index> next_{0};
  Index count_ = 0;
  TaskRef* task_ = nullptr;
  std::exception_ptr error_;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
