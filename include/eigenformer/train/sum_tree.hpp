// The order in which the gradients of an update's batches are added: a binary tree over the batches, its leaves. The
// tree depends on their number alone. So the sum is the same, bit for bit, however the leaves are divided among ranks.
#pragma once

#include <vector>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Divides leaves among ranks. Each rank has consecutive leaves. The ranks' shares differ by at most one leaf. Rank 0
/// has leaf 0. If there are fewer leaves than ranks, some ranks have none.
struct LeafDivision {
  Index leaves = 1;
  Index ranks = 1;

  /// A rank has the leaves begin(rank) to end(rank) - 1.
  Index begin(Index rank) const { return (rank * leaves + ranks - 1) / ranks; }
  Index end(Index rank) const { return begin(rank + 1); }
  /// Returns the rank that has a leaf.
  Index rank_of(Index leaf) const { return leaf * ranks / leaves; }
};

/// One step of a rank in the sum. The rank keeps a stack of sums.
struct SumStep {
  enum class Kind {
    leaf,     // push the gradient of the rank's next leaf
    add,      // replace the two topmost sums by their sum
    send,     // pop the topmost sum and send it to another rank
    receive,  // receive a sum from another rank and add it to the topmost one
  };
  Kind kind = Kind::leaf;
  Index rank = 0;  // the other rank of send and receive
  friend bool operator==(const SumStep&, const SumStep&) = default;
};

namespace detail {

/// Appends the steps of one rank for the tree over `count` leaves from `first` on. Returns the rank that then has the
/// sum: the rank of the first leaf.
inline Index append_sum_steps(const LeafDivision& division, Index rank, Index first, Index count,
                              std::vector<SumStep>& steps) {
  const Index owner = division.rank_of(first);
  if (count == 1) {
    if (owner == rank) steps.push_back({SumStep::Kind::leaf, 0});
    return owner;
  }
  Index half = 1;
  while (2 * half < count) half *= 2;
  append_sum_steps(division, rank, first, half, steps);
  const Index other = append_sum_steps(division, rank, first + half, count - half, steps);
  if (owner == other) {
    if (owner == rank) steps.push_back({SumStep::Kind::add, 0});
  } else if (owner == rank) {
    steps.push_back({SumStep::Kind::receive, other});
  } else if (other == rank) {
    steps.push_back({SumStep::Kind::send, owner});
  }
  return owner;
}

}  // namespace detail

/// Returns the steps of a rank. Afterwards rank 0 has the sum over all leaves, and the other ranks have nothing.
///
/// The tree over n leaves adds the tree over the first k leaves and the tree over the others, where k is the largest
/// power of two below n. If every rank has the same power of two of leaves, each rank but 0 therefore sends a single
/// sum. Throws if there is no leaf or no rank, or unless 0 <= rank < division.ranks.
inline std::vector<SumStep> sum_steps(const LeafDivision& division, Index rank) {
  check(division.leaves >= 1 && division.ranks >= 1, "sum_steps: ", division.leaves, " leaves and ", division.ranks,
        " ranks, expected 1 or more of both");
  check(rank >= 0 && rank < division.ranks, "sum_steps: the rank is ", rank, ", expected 0 to ", division.ranks - 1);
  std::vector<SumStep> steps;
  detail::append_sum_steps(division, rank, 0, division.leaves, steps);
  return steps;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
