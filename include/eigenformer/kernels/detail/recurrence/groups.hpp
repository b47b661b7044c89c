// Divides the sequences of a recurrent layer into tasks.
//
// Sequences are independent. A task processes a group of them together, so that their product with U has several rows.
// A group lists its longest sequences first, so that at every step the sequences still running come first.
#pragma once

#include <memory>
#include <span>

#include "eigenformer/core/sequence_steps.hpp"
#include "eigenformer/core/threads.hpp"
#include "eigenformer/core/workspace.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The sequences of one task.
using RecurrentGroup = SequenceSteps;

/// How groups of sequences are processed.
struct RecurrentTasks {
  bool reverse = false;
  Threads* threads = nullptr;
  Workspace* workspace = nullptr;  // memory for the order of the sequences; null: the heap
};

/// Calls body(group, first) for groups of sequences, as parallel tasks. first: the number of sequences in earlier
/// groups.
template <class Body>
void for_each_recurrent_group(const RowOffsets& rows, const RecurrentTasks& tasks, Body body) {
  constexpr Index group = 16;  // rows of a product; 8 rows reach 90 % of the peak
  const std::shared_ptr<Index> memory = Workspace::allocate_from<Index>(tasks.workspace, rows.sequences());
  const std::span<Index> order(memory.get(), static_cast<std::size_t>(rows.sequences()));
  sequences_by_length(rows, order);
  parallel_for(tasks.threads, rows.sequences(), group, [&](Index begin, Index end) {
    const auto first = static_cast<std::size_t>(begin), count = static_cast<std::size_t>(end - begin);
    body(RecurrentGroup(rows, order.subspan(first, count), tasks.reverse), begin);
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
