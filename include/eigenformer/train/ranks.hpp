// An interface for the processes that train one model together, called ranks. MpiRanks (mpi.hpp) implements it with
// MPI.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <type_traits>

#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A message on its way. Until it is done, its memory must stay valid, and a sender must not change it.
class Transfer {
 public:
  virtual ~Transfer() = default;
  /// Returns whether the message has arrived or, for a sender, whether its memory may be reused. Call it until it
  /// returns true, and not again: a message may move only during these calls. Throws if the message failed.
  virtual bool is_done() = 0;
};

/// The processes of a run, called ranks, as one of them sees them. Use an object from one thread at a time. Implement
/// this class for a transport other than MPI.
class Ranks {
 public:
  virtual ~Ranks() = default;
  /// The number of this process, from 0.
  virtual Index rank() const = 0;
  /// The number of processes.
  virtual Index size() const = 0;
  /// Begins to send bytes to another rank, without waiting for it. tag: 0 to 32766. Messages of one tag arrive in the
  /// order in which they are sent.
  virtual std::unique_ptr<Transfer> send(std::span<const std::byte> bytes, Index to, int tag) = 0;
  /// Begins to receive a message of exactly bytes.size() bytes from another rank.
  virtual std::unique_ptr<Transfer> receive(std::span<std::byte> bytes, Index from, int tag) = 0;
};

/// Waits until a message is done. After a while it sleeps between tries, so that a waiting rank leaves its core to
/// others.
inline void wait(Transfer& transfer) {
  for (int tries = 0; !transfer.is_done(); ++tries) {
    if (tries < 2000)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::microseconds(tries < 20'000 ? 50 : 1000));
  }
}

/// Returns the rank that passes rank 0's broadcasts on to `rank`. rank: at least 1.
inline Index broadcast_parent(Index rank) {
  return rank & (rank - 1);
}

/// Calls function(child) for each child of `rank` in the binomial tree of a broadcast from rank 0.
inline void for_each_broadcast_child(Index rank, Index ranks, FunctionRef<void(Index)> function) {
  Index distance = 1;
  while (distance < ranks && (rank & distance) == 0) distance *= 2;
  for (distance /= 2; distance >= 1; distance /= 2)
    if (rank + distance < ranks) function(rank + distance);
}

namespace detail {

/// Calls move(bytes) for parts of a message, in order. Transports such as MPI limit the size of a message.
inline void for_each_part_of_message(std::span<std::byte> message, FunctionRef<void(std::span<std::byte>)> move) {
  constexpr std::size_t max_bytes = std::size_t{1} << 26;
  while (!message.empty()) {
    const std::span<std::byte> bytes = message.first(std::min<std::size_t>(max_bytes, message.size()));
    move(bytes);
    message = message.subspan(bytes.size());
  }
}

}  // namespace detail

/// Copies values of rank 0 to all ranks. All ranks must call it, with spans of the same size.
template <class T>
void broadcast(Ranks& ranks, std::span<T> values) {
  static_assert(std::is_trivially_copyable_v<T>, "broadcast copies bytes");
  detail::for_each_part_of_message(std::as_writable_bytes(values), [&](std::span<std::byte> bytes) {
    if (ranks.rank() > 0) wait(*ranks.receive(bytes, broadcast_parent(ranks.rank()), 0));
    for_each_broadcast_child(ranks.rank(), ranks.size(), [&](Index child) { wait(*ranks.send(bytes, child, 0)); });
  });
}
/// Copies the value of rank 0 to all ranks. All ranks must call it.
template <class T>
requires std::is_trivially_copyable_v<T>
void broadcast_value(Ranks& ranks, T& value) {
  broadcast(ranks, std::span<T>(&value, 1));
}
/// Copies the text of rank 0 to all ranks. All ranks must call it.
inline void broadcast_text(Ranks& ranks, std::string& text) {
  auto size = static_cast<Index>(text.size());
  broadcast_value(ranks, size);
  text.resize(static_cast<std::size_t>(size));
  broadcast(ranks, std::span<char>(text));
}

/// Gathers the parts of all ranks. Rank r brings the values from begin(r) to begin(r + 1) - 1 and receives all others.
/// begin(ranks.size()) must be values.size(). All ranks must call it, with spans of the same size.
template <class T>
void all_gather(Ranks& ranks, std::span<T> values, FunctionRef<Index(Index)> begin) {
  static_assert(std::is_trivially_copyable_v<T>, "all_gather copies bytes");
  const auto part = [&](Index rank) {
    const auto first = static_cast<std::size_t>(begin(rank));
    return std::as_writable_bytes(values.subspan(first, static_cast<std::size_t>(begin(rank + 1)) - first));
  };
  const auto send = [&](std::span<std::byte> bytes) { wait(*ranks.send(bytes, 0, 0)); };
  if (ranks.rank() > 0) detail::for_each_part_of_message(part(ranks.rank()), send);
  for (Index rank = 1; rank < ranks.size() && ranks.rank() == 0; ++rank)
    detail::for_each_part_of_message(part(rank),
                                     [&](std::span<std::byte> bytes) { wait(*ranks.receive(bytes, rank, 0)); });
  broadcast(ranks, values);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
