#include "eigenformer/ops/rows.hpp"

#include <limits>

#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("the gradient of looked-up rows is added up where a row was looked up twice", "[ops]") {
  const std::uint64_t seed = 16;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const std::vector<ef::Token> ids{2, 0, 2, 4};
  const auto table = ef::testing::random_matrix<double>(5, 3, rng);
  ef::testing::check_op({table}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return ef::gather_rows(c, in[0], ids);
  });
  const ef::Context<double> none{};
  const ef::Variable<double> rows = ef::gather_rows(none, ef::Variable<double>(table), ids);
  for (std::size_t i = 0; i < ids.size(); ++i) CHECK(rows.value().row(static_cast<ef::Index>(i)) == table.row(ids[i]));
}

TEST_CASE("ranges of rows are the same memory, and have gradients when taken one after another", "[ops]") {
  const std::uint64_t seed = 17;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto x = ef::testing::random_matrix<double>(6, 3, rng), y = ef::testing::random_matrix<double>(2, 3, rng);
  ef::testing::check_op({x, y}, [](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    // In another order, one row twice, one never, and all of it once more beside.
    const ef::Variable<double> parts = ef::concat_rows(
        c, std::vector<ef::Variable<double>>{ef::slice_rows(c, in[0], 3, 2), in[1], ef::slice_rows(c, in[0], 1, 3)});
    const ef::Variable<double> squares = ef::multiply(c, parts, parts);
    return ef::concat_rows(c, std::vector<ef::Variable<double>>{squares, in[0], ef::slice_rows(c, squares, 0, 4)});
  });
  const ef::Variable<double> all = x;
  const ef::Variable<double> part = ef::slice_rows<double>({}, all, 2, 3);
  CHECK(part.value() == x.middleRows(2, 3));
  CHECK(part.value().data() == all.value().data() + 6);
  const std::vector<ef::Index> ids{5, 0, 5};
  ef::testing::check_op({x}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return ef::gather_rows(c, in[0], ids);
  });
  const ef::Variable<double> tensor = all.reshaped(ef::Sizes{3, 2, 3});
  for (const ef::Index count : {5, 6})
    CHECK(ef::slice_rows<double>({}, tensor, 0, count).sizes() == ef::Sizes{count, 3});
  constexpr ef::Index largest = (std::numeric_limits<ef::Index>::max)();
  for (const ef::Index count : {ef::Index{3}, largest}) {
    CHECK_THROWS_AS(ef::slice_rows<double>({}, all, 4, count), ef::Error);
    CHECK_THROWS_AS(ef::slice_rows<double>({}, all, count, 4), ef::Error);
    CHECK_THROWS_AS(all.middle_rows(4, count), ef::Error);
  }
  CHECK_THROWS_AS(ef::concat_rows<double>({}, {}), ef::Error);
  CHECK_THROWS_AS(ef::concat_rows<double>({}, {all, ef::Variable<double>(Eigen::MatrixXd(2, 2))}), ef::Error);
}
