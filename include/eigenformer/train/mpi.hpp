// Training by several processes over MPI. This optional header needs an MPI library (Debian: libopenmpi-dev, or
// libmpich-dev) and the CMake target eigenformer::mpi. Start the program by mpirun:
//
//   ef::MpiEnvironment environment;
//   ef::MpiRanks ranks;
//   ef::train(model, adam, next_batch, loss, report, {.accumulate = ranks.size(), .seed = 1, .ranks = &ranks});
#pragma once

// Leave out the C++ interface, which MPI 3 removed.
#ifndef OMPI_SKIP_MPICXX
#define OMPI_SKIP_MPICXX 1
#endif
#ifndef MPICH_SKIP_MPICXX
#define MPICH_SKIP_MPICXX 1
#endif
#include <mpi.h>

#include <cstddef>
#include <exception>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "eigenformer/core/check.hpp"
#include "eigenformer/train/ranks.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Throws if an MPI function failed. what: its purpose, such as "MPI: rank 1 receives from rank 0".
inline void check_mpi(int code, const std::string& what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  fail(what, ": ", std::string_view(text, static_cast<std::size_t>(length)));
}

/// A message under way. Only the thread that owns the ranks may call it.
class MpiTransfer final : public Transfer {
 public:
  /// bytes: the size of a message to receive; negative for a message to send.
  MpiTransfer(MPI_Request request, int bytes, std::string what)
      : request_(request), bytes_(bytes), what_(std::move(what)) {}
  MpiTransfer(const MpiTransfer&) = delete;
  MpiTransfer& operator=(const MpiTransfer&) = delete;
  ~MpiTransfer() override {
    if (request_ == MPI_REQUEST_NULL) return;
    MPI_Cancel(&request_);  // after an error: the memory of the message is about to be freed
    MPI_Request_free(&request_);
  }

  bool is_done() override {
    int done = 0;
    MPI_Status status;
    check_mpi(MPI_Test(&request_, &done, &status), what_);
    if (done == 0) return false;
    if (bytes_ < 0) return true;
    int received = 0;
    check_mpi(MPI_Get_count(&status, MPI_BYTE, &received), what_);
    check(received == bytes_, what_, ": the message has ", received, " bytes, expected ", bytes_);
    return true;
  }

 private:
  MPI_Request request_;
  int bytes_;
  std::string what_;
};

}  // namespace detail

/// Starts MPI, and ends it when it is destroyed. A program makes one, at the beginning of main().
class MpiEnvironment {
 public:
  /// Throws if MPI does not start, or was started before.
  MpiEnvironment() {
    int begun = 0;
    MPI_Initialized(&begun);
    check(begun == 0, "MpiEnvironment: MPI was started before");
    int provided = 0;
    detail::check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MpiEnvironment");
    check(provided >= MPI_THREAD_FUNNELED, "MpiEnvironment: this MPI library forbids threads besides the main one");
  }
  MpiEnvironment(const MpiEnvironment&) = delete;
  MpiEnvironment& operator=(const MpiEnvironment&) = delete;
  /// Ends MPI, after waiting for all ranks. During an exception it does nothing, so that mpirun sees this rank end and
  /// ends the others.
  ~MpiEnvironment() {
    if (std::uncaught_exceptions() == 0) MPI_Finalize();
  }

  /// Ends the processes of all ranks with an exit code. Call it when an error ends this rank: the others would wait for
  /// its messages forever.
  [[noreturn]] static void abort(int exit_code) {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::terminate();  // not reached
  }
};

/// The ranks of a communicator, by default all processes that mpirun started. Destroy it before the MpiEnvironment.
/// Only the thread that constructed the MpiEnvironment may use it. Throws if MPI fails.
class MpiRanks final : public Ranks {
 public:
  /// All ranks of the communicator must construct it together.
  explicit MpiRanks(MPI_Comm communicator = MPI_COMM_WORLD) {
    detail::check_mpi(MPI_Comm_dup(communicator, &communicator_), "MpiRanks");
    MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN);
    int rank = 0, size = 1;
    detail::check_mpi(MPI_Comm_rank(communicator_, &rank), "MpiRanks");
    detail::check_mpi(MPI_Comm_size(communicator_, &size), "MpiRanks");
    rank_ = rank;
    size_ = size;
  }
  MpiRanks(const MpiRanks&) = delete;
  MpiRanks& operator=(const MpiRanks&) = delete;
  ~MpiRanks() override {
    if (std::uncaught_exceptions() == 0) MPI_Comm_free(&communicator_);  // waits for the other ranks
  }

  Index rank() const override { return rank_; }
  Index size() const override { return size_; }

  std::unique_ptr<Transfer> send(std::span<const std::byte> bytes, Index to, int tag) override {
    const std::string what = describe("sends to", to);
    MPI_Request request = MPI_REQUEST_NULL;
    detail::check_mpi(MPI_Isend(bytes.data(), count(bytes.size(), what), MPI_BYTE, static_cast<int>(to), tag,
                                communicator_, &request),
                      what);
    return std::make_unique<detail::MpiTransfer>(request, -1, what);
  }
  std::unique_ptr<Transfer> receive(std::span<std::byte> bytes, Index from, int tag) override {
    const std::string what = describe("receives from", from);
    const int size = count(bytes.size(), what);
    MPI_Request request = MPI_REQUEST_NULL;
    detail::check_mpi(MPI_Irecv(bytes.data(), size, MPI_BYTE, static_cast<int>(from), tag, communicator_, &request),
                      what);
    return std::make_unique<detail::MpiTransfer>(request, size, what);
  }

 private:
  std::string describe(const char* action, Index other) const {
    return "MPI: rank " + std::to_string(rank_) + ' ' + action + " rank " + std::to_string(other);
  }
  static int count(std::size_t bytes, const std::string& what) {
    constexpr auto most = static_cast<std::size_t>((std::numeric_limits<int>::max)());
    check(bytes <= most, what, ": the message has ", bytes, " bytes, expected at most ", most);
    return static_cast<int>(bytes);
  }

  MPI_Comm communicator_ = MPI_COMM_NULL;
  Index rank_ = 0, size_ = 1;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
