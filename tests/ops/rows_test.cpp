#include "eigenformer/ops/rows.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("the gradient of looked-up rows is added up where a row was looked up twice", "[ops]") {
  const std::uint64_t seed = 16;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const std::vector<ef::Token> ids{2, 0, 2, 4};
  const auto table = ef::testing::random_matrix<double>(5, 3, rng);
  ef::testing::check_op({table}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return ef::gather_rows(c, in[0], std::span<const ef::Token>(ids));
  });
  const ef::Context<double> none{};
  const ef::Variable<double> rows = ef::gather_rows(none, ef::Variable<double>(table), std::span<const ef::Token>(ids));
  for (std::size_t i = 0; i < ids.size(); ++i) CHECK(rows.value().row(static_cast<ef::Index>(i)) == table.row(ids[i]));
}
