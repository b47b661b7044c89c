#include "eigenformer/kernels/detail/attention/tasks.hpp"

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEMPLATE_TEST_CASE("the tasks of a call have every query of every head once, and none is empty", "[kernels]", float,
                   double) {
  constexpr Index n = detail::block_queries<TestType>;
  const std::vector<Index> lengths{0, 1, 3, n / 2, n, n + 1, 7 * n + 5, 0, 2};
  const auto rows = ef::RowOffsets::from_lengths(lengths);
  for (const auto& [heads, key_heads] : {std::pair<Index, Index>{1, 1}, {4, 4}, {4, 2}, {6, 1}})
    for (const Index together : {1, 2, 5, 100}) {
      CAPTURE(heads, key_heads, together);
      const auto layout =
          detail::attention_layout({rows.rows(), 4 * heads}, {rows.rows(), 4 * key_heads}, {rows.rows(), 4 * key_heads},
                                   {.heads = heads, .key_heads = key_heads, .query_rows = rows, .key_rows = rows});
      Matrix<int> times = Matrix<int>::Zero(heads, rows.rows());
      for (const detail::AttentionTask& task : detail::attention_tasks<TestType>(layout, together, nullptr).tasks) {
        CAPTURE(task.sequence, task.head);
        CHECK(task.path == detail::query_path<TestType>(layout, task.sequence));
        CHECK(task.query_begin < task.query_end);
        const ef::ScoreTile tile = detail::tile_of_queries(layout, task);
        CHECK(tile.queries == lengths[static_cast<std::size_t>(task.sequence)]);
        CHECK(tile.keys == tile.queries);
        const bool whole_group = task.path != detail::QueryPath::query_blocks;
        if (whole_group) CHECK(task.query_end - task.query_begin == tile.queries);
        if (!whole_group) CHECK(task.query_end - task.query_begin <= together * n);
        times
            .block(task.head, tile.first_row + tile.query_begin, whole_group ? layout.group() : 1,
                   tile.query_end - tile.query_begin)
            .array() += 1;
      }
      CHECK((times.array() == 1).all());
    }
}

TEMPLATE_TEST_CASE("the path of a sequence's queries follows from their number", "[kernels]", float, double) {
  constexpr Index n = detail::block_queries<TestType>, few = ef::simd::lanes<TestType> / 2;
  const auto path = [](Index heads, Index key_heads, Index queries) {
    const auto layout = detail::attention_layout({queries, heads * 4}, {5, key_heads * 4}, {5, key_heads * 4},
                                                 {.heads = heads, .key_heads = key_heads});
    return detail::query_path<TestType>(layout, 0);
  };
  CHECK(path(1, 1, few + 1) == detail::QueryPath::query_blocks);
  CHECK(path(2, 1, n) == detail::QueryPath::query_blocks);
  CHECK(path(n, 1, 1) == detail::QueryPath::grouped_heads);
  if (few > 0) CHECK(path(few, 1, 1) == detail::QueryPath::few_queries);
}
