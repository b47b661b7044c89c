#include "eigenformer/ops/columns.hpp"

#include <limits>

#include "support/message_of.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using Inputs = std::vector<ef::Variable<double>>;

TEST_CASE("matrices are put beside one another and taken apart", "[ops]") {
  const std::uint64_t seed = 611;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto a = ef::testing::random_matrix<double>(3, 2, rng), b = ef::testing::random_matrix<double>(3, 4, rng);
  const ef::Variable<double> both = ef::concat_columns<double>({}, a, b);
  CHECK(both.value().leftCols(2) == a);
  CHECK(ef::columns<double>({}, both, 2, 4).value() == b);
  const ef::Variable<double> tensor = both.reshaped(ef::Sizes{3, 1, 6});
  for (const ef::Index count : {2, 6})
    CHECK(ef::columns<double>({}, tensor, 0, count).sizes() == ef::Sizes{3, 1, count});
  ef::testing::check_op({a, b}, [](const ef::Context<double>& c, const Inputs& in) {
    return ef::concat_columns(c, in[1], ef::columns(c, ef::concat_columns(c, in[0], in[1]), 1, 3));
  });
  CHECK(ef::testing::message_of([&] { ef::columns<double>({}, a, 1, 2); }) ==
        "columns: 2 columns from column 1 on, expected a range inside [3 x 2]");
  constexpr ef::Index largest = (std::numeric_limits<ef::Index>::max)();
  CHECK_THROWS_AS(ef::columns<double>({}, a, 1, largest), ef::Error);
  CHECK_THROWS_AS(ef::columns<double>({}, a, largest, 1), ef::Error);
  CHECK(ef::testing::message_of([&] { ef::concat_columns<double>({}, a, ef::Matrix<double>(2, 2)); }) ==
        "concat_columns: a is [3 x 2], b is [2 x 2]");
}
