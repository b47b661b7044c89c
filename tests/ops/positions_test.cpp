#include "eigenformer/ops/positions.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::testing::random_matrix;

TEST_CASE("positions are counted within each sequence", "[ops]") {
  const std::uint64_t seed = 17;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto x = random_matrix<double>(6, 3, rng), table = random_matrix<double>(5, 3, rng);
  const ef::RowOffsets rows{0, 2, 2, 6};
  const ef::Context<double> none{};
  const ef::Matrix<double> y =
      ef::add_positions(none, ef::Variable<double>(x), ef::Variable<double>(table), rows, 1).value();
  const ef::Index position[] = {1, 2, 1, 2, 3, 4};
  for (ef::Index i = 0; i < 6; ++i) CHECK(y.row(i) == x.row(i) + table.row(position[i]));
  ef::testing::check_op({x, table}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return ef::add_positions(c, in[0], in[1], rows, 1);
  });
  CHECK_THROWS_WITH(ef::add_positions(none, ef::Variable<double>(x), ef::Variable<double>(table), rows, 2),
                    "add_positions: position 5 does not exist, the table has 5");
}
