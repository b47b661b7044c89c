// Divides the sequences of a recurrent layer into tasks.
//
// Sequences are independent. A task processes a group of them together, so that their product with U has several rows.
// A group lists its longest sequences first, so that at every step the sequences still running come first.
#pragma once

#include <span>
#include <vector>

#include "eigenformer/core/sequence_steps.hpp"
#include "eigenformer/core/threads.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The sequences of one task.
using RecurrentGroup = SequenceSteps;

/// Calls body(group) for groups of sequences, as parallel tasks.
template <class Body>
void for_each_recurrent_group(const RowOffsets& rows, bool reverse, Threads* threads, Body body) {
  constexpr Index group = 16;  // rows of a product; 8 rows reach 90 % of the peak
  const std::vector<Index> order = sequences_by_length(rows);
  parallel_for(threads, rows.sequences(), group, [&](Index begin, Index end) {
    const auto first = static_cast<std::size_t>(begin), count = static_cast<std::size_t>(end - begin);
    body(RecurrentGroup(rows, std::span(order).subspan(first, count), reverse));
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
