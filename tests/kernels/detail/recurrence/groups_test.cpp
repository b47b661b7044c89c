#include "eigenformer/kernels/detail/recurrence/groups.hpp"

#include <utility>

#include "support/catch.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using Steps = std::vector<std::pair<Index, Index>>;

TEST_CASE("sequences are taken by length, and those of one length in their order", "[kernels]") {
  CHECK(ef::sequences_by_length({0, 2, 2, 5, 7, 10}) == std::vector<Index>{2, 4, 0, 3, 1});
}

TEST_CASE("a step's active sequences are the group's first", "[kernels]") {
  const ef::RowOffsets rows{0, 2, 2, 5, 6};
  const std::vector<Index> order = ef::sequences_by_length(rows);
  const detail::RecurrentGroup group(rows, order, false), reversed(rows, order, true);
  Steps forward, backward;
  group.for_each_step([&](Index t, Index active) { forward.emplace_back(t, active); });
  group.for_each_step_backward([&](Index t, Index active) { backward.emplace_back(t, active); });
  CHECK(forward == Steps{{0, 3}, {1, 2}, {2, 1}});
  CHECK(backward == Steps{{2, 1}, {1, 2}, {0, 3}});
  CHECK(group.sequence(0) == 2);
  CHECK(group.row(0, 1) == 3);
  CHECK(reversed.row(0, 0) == 4);
  CHECK(reversed.row(1, 1) == 0);
}

TEST_CASE("every sequence is in one group", "[kernels]") {
  const ef::RowOffsets rows = ef::RowOffsets::from_lengths(std::vector<Index>(37, 2));
  std::vector<int> times(37);
  detail::for_each_recurrent_group(rows, {}, [&](const detail::RecurrentGroup& group, Index) {
    for (Index i = 0; i < group.size(); ++i) ++times[static_cast<std::size_t>(group.sequence(i))];
  });
  CHECK(times == std::vector<int>(37, 1));
}
