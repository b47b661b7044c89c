#include "eigenformer/ops/rotary.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("rotary positions have the gradient of what they turn", "[ops]") {
  const std::uint64_t seed = 44;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto table = std::make_shared<const ef::RotaryTable<double>>(ef::rotary_table<double>(9, 4, 10));
  const std::vector<ef::Index> positions{0, 1, 8, 3, 3};
  for (const auto pairs : {ef::RotaryPairs::halves, ef::RotaryPairs::interleaved}) {
    const ef::RotaryOptions options{.heads = 2, .pairs = pairs};
    const auto x = ef::testing::random_matrix<double>(5, 12, rng);  // of each head's six features four turn
    CHECK(ef::rotary<double>({}, x, table, positions, options).value() == ef::rotary(x, *table, positions, options));
    ef::testing::check_op({x}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
      return ef::rotary(c, in[0], table, positions, options);
    });
  }
}
