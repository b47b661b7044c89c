#include "eigenformer/ops/pooling.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;
using Context = ef::Context<double>;
using Inputs = std::vector<ef::Variable<double>>;

TEST_CASE("gradients of pooling", "[ops]") {
  const std::uint64_t seed = 335;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto pooling = GENERATE(ef::Pooling::maximum, ef::Pooling::mean);
  CAPTURE(pooling == ef::Pooling::mean);
  const ef::RowOffsets rows{0, 3, 3, 10};
  const auto x = ef::testing::random_matrix<double>(10, 4, rng);
  for (const ef::PoolingWindow& window : {ef::PoolingWindow{.size = 2}, {.size = 3, .stride = 2}})
    ef::testing::check_op(
        {x}, [&](const Context& c, const Inputs& in) { return ef::pool_windows(c, pooling, in[0], window, rows).x; });
  ef::testing::check_op(
      {x}, [&](const Context& c, const Inputs& in) { return ef::pool_sequences(c, pooling, in[0], rows); });
}

TEST_CASE("pooled sequences can be pooled again", "[ops]") {
  const ef::Matrix<double> x{{1}, {2}, {3}, {4}, {5}, {60}};
  const ef::RowOffsets rows{0, 5, 5, 6};
  const Context none{};
  const auto once = ef::pool_windows(none, ef::Pooling::maximum, ef::Variable<double>(x), {.size = 2}, rows);
  CHECK(once.rows == ef::RowOffsets{0, 3, 3, 4});
  CHECK(once.x.value() == ef::Matrix<double>{{2}, {4}, {5}, {60}});
  const auto twice = ef::pool_windows(none, ef::Pooling::mean, once.x, {.size = 2}, once.rows);
  CHECK(twice.rows == ef::RowOffsets{0, 2, 2, 3});
  CHECK(twice.x.value() == ef::Matrix<double>{{3}, {5}, {60}});
  CHECK(ef::pool_sequences(none, ef::Pooling::mean, ef::Variable<double>(x), rows).value() ==
        ef::Matrix<double>{{3}, {0}, {60}});
  // Without offsets all rows are one sequence.
  CHECK(ef::pool_windows(none, ef::Pooling::maximum, ef::Variable<double>(x), {.size = 4}).rows ==
        ef::RowOffsets{0, 2});
  CHECK(ef::pool_sequences(none, ef::Pooling::maximum, ef::Variable<double>(x)).scalar() == 60);
  CHECK_THROWS_WITH(ef::pool_sequences(none, ef::Pooling::mean, ef::Variable<double>(x), ef::RowOffsets{0, 7}),
                    "pooling: x has 6 rows, its offsets end at 7");
}
