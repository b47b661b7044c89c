// Ranks that are threads of the test program.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <thread>
#include <tuple>
#include <vector>

#include "eigenformer/core/check.hpp"
#include "eigenformer/train/ranks.hpp"

namespace eigenformer::testing {

/// The messages between the threads of a run.
class Mailboxes {
 public:
  using Address = std::tuple<Index, Index, int>;  // from, to, tag

  void put(const Address& address, std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    messages_[address].emplace_back(bytes.begin(), bytes.end());
  }
  /// Copies the oldest message to `bytes` and removes it. Returns false if there is none. Throws if its size is
  /// another.
  bool take(const Address& address, std::span<std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    auto& waiting = messages_[address];
    if (waiting.empty()) return false;
    check(waiting.front().size() == bytes.size(), "a message has ", waiting.front().size(), " bytes, expected ",
          bytes.size());
    std::copy(waiting.front().begin(), waiting.front().end(), bytes.begin());
    waiting.pop_front();
    return true;
  }
  /// Tells the other ranks that one has failed. Returns whether it is the first.
  bool fail() { return !failed_.exchange(true); }
  /// Throws if a rank has failed, so that the others do not wait for its messages.
  void check_running() const { check(!failed_, "another rank failed"); }
  /// Tells the other ranks that this one sends nothing more.
  void leave(Index rank) {
    const std::lock_guard lock(mutex_);
    left_.insert(rank);
  }
  bool has_left(Index rank) const {
    const std::lock_guard lock(mutex_);
    return left_.contains(rank);
  }
  bool all_empty() const {
    const std::lock_guard lock(mutex_);
    for (const auto& [address, waiting] : messages_)
      if (!waiting.empty()) return false;
    return true;
  }

 private:
  std::atomic<bool> failed_{false};
  mutable std::mutex mutex_;
  std::map<Address, std::deque<std::vector<std::byte>>> messages_;
  std::set<Index> left_;
};

/// Ranks that are threads of this process.
class ThreadRanks final : public Ranks {
 public:
  ThreadRanks(Mailboxes& mailboxes, Index rank, Index size) : mailboxes_(mailboxes), rank_(rank), size_(size) {}
  Index rank() const override { return rank_; }
  Index size() const override { return size_; }
  std::unique_ptr<Transfer> send(std::span<const std::byte> bytes, Index to, int tag) override {
    return std::make_unique<Sent>(mailboxes_, Mailboxes::Address{rank_, to, tag}, bytes);
  }
  std::unique_ptr<Transfer> receive(std::span<std::byte> bytes, Index from, int tag) override {
    return std::make_unique<Received>(mailboxes_, Mailboxes::Address{from, rank_, tag}, bytes);
  }

 private:
  /// Sends at the second call of is_done(), so that tests notice memory that changed too early.
  struct Sent final : Transfer {
    Sent(Mailboxes& mailboxes, const Mailboxes::Address& address, std::span<const std::byte> bytes)
        : mailboxes_(mailboxes), address_(address), bytes_(bytes) {}
    bool is_done() override {
      if (calls_++ == 1) mailboxes_.put(address_, bytes_);
      return calls_ > 1;
    }
    Mailboxes& mailboxes_;
    Mailboxes::Address address_;
    std::span<const std::byte> bytes_;
    int calls_ = 0;
  };
  /// A message to be received. Throws if its sender has ended, or after two minutes.
  struct Received final : Transfer {
    Received(Mailboxes& mailboxes, const Mailboxes::Address& address, std::span<std::byte> bytes)
        : mailboxes_(mailboxes), address_(address), bytes_(bytes) {}
    bool is_done() override {
      mailboxes_.check_running();
      const Index from = std::get<0>(address_);
      const bool is_last_try = mailboxes_.has_left(from);
      if (mailboxes_.take(address_, bytes_)) return true;
      check(!is_last_try, "rank ", from, " has ended, but another waits for its message");
      check(std::chrono::steady_clock::now() - begin_ < std::chrono::minutes(2), "no message from rank ", from,
            " within 2 minutes");
      return false;
    }
    Mailboxes& mailboxes_;
    Mailboxes::Address address_;
    std::span<std::byte> bytes_;
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  };

  Mailboxes& mailboxes_;
  Index rank_, size_;
};

/// Calls function(ranks) once for each rank, all at the same time. Throws if a message is left over.
inline void run_ranks(Index size, const std::function<void(Ranks&)>& function) {
  Mailboxes mailboxes;
  std::vector<std::thread> threads;
  std::exception_ptr first_error;
  for (Index rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      ThreadRanks ranks(mailboxes, rank, size);
      try {
        function(ranks);
      } catch (...) {
        if (mailboxes.fail()) first_error = std::current_exception();
      }
      mailboxes.leave(rank);
    });
  for (std::thread& thread : threads) thread.join();
  if (first_error != nullptr) std::rethrow_exception(first_error);
  check(mailboxes.all_empty(), "a message was not received");
}

}  // namespace eigenformer::testing
