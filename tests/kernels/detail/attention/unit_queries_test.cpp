#include "eigenformer/kernels/detail/attention/unit_queries.hpp"

#include <limits>

#include "kernels/attention_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using Stored = Eigen::bfloat16;
using namespace ef::testing;

namespace {

/// Attention for head 1 of 2 and sequence 1 of 3, counted from 0. The task has queries 32 to 95, which are two groups.
struct UnitTask {
  static constexpr Index first_row = 5, begin = 32, end = 96;

  AttentionCase<Stored> of;
  Matrix<Stored> out;
  Matrix<float> sums;
  bool undefined[end - begin];
  Index found = 0;

  explicit UnitTask(ef::Rng& rng) : of({2, 1, 20, 35, {5, 100, 7}, {9, 300, 3}}, rng) {}

  template <ef::Score S>
  void run(const S& score) {
    out = not_written<Stored>(of.q.rows(), 2 * of.v.cols());
    sums = not_written<float>(of.q.rows(), 2);
    ef::MatrixRef<Stored> to(out);
    ef::MatrixRef<float> to_sums(sums);
    const auto layout = ef::detail::attention_layout(ef::shape(of.q), ef::shape(of.k), ef::shape(of.v), of.options);
    const ef::detail::AttentionCall<Stored, Stored, S> call{
        layout,
        score,
        ef::detail::AttentionDropout(0, {}),
        {ef::detail::head_columns(ef::strided_view(of.q), 2), ef::detail::head_columns(ef::strided_view(of.k), 1),
         ef::detail::head_columns(ef::strided_view(of.v), 1), ef::detail::head_columns(to, 2),
         ef::detail::head_columns(to_sums, 2)}};
    const ef::ScoreTile tile{.head = 1,
                             .sequence = 1,
                             .first_row = first_row,
                             .queries = 100,
                             .keys = 300,
                             .query_begin = begin,
                             .query_end = end,
                             .key_begin = 0,
                             .key_end = 0};
    ef::detail::UnitQueries<ef::matrix_unit::Portable<Stored>, S> queries(call, tile);
    queries.attend();
    found = queries.finish(undefined);
  }
  /// Returns the task's part of a matrix with a row for each query and a column block for each head.
  template <class Scalar>
  static Matrix<Scalar> part(const Matrix<Scalar>& all) {
    return all.block(first_row + begin, all.cols() / 2, end - begin, all.cols() / 2);
  }
};

}  // namespace

TEST_CASE("a task on a matrix unit writes the results of its own queries", "[kernels]") {
  const std::uint64_t seed = 21;
  CAPTURE(seed);
  ef::Rng rng(seed);
  UnitTask task(rng);
  const auto check = [&](const auto& score, const NaiveScore& naive) {
    task.run(score);
    CHECK(task.found == 0);
    const NaiveAttention expected = task.of.naive(naive);
    CHECK(agrees<Stored>(UnitTask::part(task.out), UnitTask::part(expected.out), 0));
    CHECK(sums_agree<Stored>(UnitTask::part(task.sums), UnitTask::part(expected.log_sum_exp), 0));
    const auto written = [](const auto& m) { return (m.array() == m.array()).count(); };  // not_written is NaN
    CHECK(written(task.out) == written(UnitTask::part(task.out)));
    CHECK(written(task.sums) == written(UnitTask::part(task.sums)));
  };
  check(ef::Unmasked{}, naive_unmasked);
  check(ef::Causal{}, naive_causal);
}

TEST_CASE("a task on a matrix unit marks the queries whose result is not finite", "[kernels]") {
  const std::uint64_t seed = 22;
  CAPTURE(seed);
  ef::Rng rng(seed);
  UnitTask task(rng);
  constexpr Index first_key = 9, group = ef::detail::unit_group;
  // Only queries 70 to 95 see key 70. But one product adds a step of keys for a whole group, so all of queries 64 to 95
  // are marked.
  task.of.v(first_key + 70, 3) = std::numeric_limits<Stored>::quiet_NaN();
  task.run(ef::Causal{});
  CHECK(task.found == group);
  for (Index i = 0; i < UnitTask::end - UnitTask::begin; ++i) CHECK(task.undefined[i] == (i >= group));
  // Steps that no query of a group sees take no part.
  task.of.v(first_key + 70, 3) = Stored(1);
  task.of.v(first_key + 200, 3) = std::numeric_limits<Stored>::infinity();
  task.run(ef::Causal{});
  CHECK(task.found == 0);
  task.run(ef::Unmasked{});
  CHECK(task.found == UnitTask::end - UnitTask::begin);
}

TEST_CASE("a task on a matrix unit marks results that overflow, also if nothing is hidden", "[kernels]") {
  const std::uint64_t seed = 23;
  CAPTURE(seed);
  ef::Rng rng(seed);
  UnitTask task(rng);
  task.of.q.setConstant(Stored(1));
  task.of.k.setConstant(Stored(0));
  task.of.k.middleRows(9 + 250, 50).setConstant(Stored(6));  // weights are 2^10 there at most
  task.of.v.setConstant(Stored(3e36F));
  task.run(ef::Unmasked{});
  CHECK(task.found == UnitTask::end - UnitTask::begin);
}
