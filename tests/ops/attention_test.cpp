#include "eigenformer/ops/attention.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::testing::random_matrix;

TEST_CASE("gradients of attention, with every score, grouped heads and ragged batches", "[ops]") {
  const std::uint64_t seed = 19;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto q = random_matrix<double>(8, 12, rng), k = random_matrix<double>(11, 6, rng),
             v = random_matrix<double>(11, 4, rng);
  // Query 2 sees nothing at all.
  const ef::DenseMask mask(Eigen::Matrix<bool, Eigen::Dynamic, Eigen::Dynamic>::NullaryExpr(
      8, 6, [](Eigen::Index i, Eigen::Index j) { return i != 2 && (i * 7 + j * 3) % 4 != 0; }));
  const std::vector<ef::AnyScore<double>> scores{ef::Unmasked{}, ef::Causal{}, ef::Causal::after_past(), mask};
  for (std::size_t i = 0; i < scores.size(); ++i) {
    CAPTURE(i);
    ef::testing::check_op({q, k, v}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
      return ef::attention(c, in[0], in[1], in[2], scores[i],
                           {.heads = 4, .key_heads = 2, .query_rows = {0, 3, 8}, .key_rows = {0, 5, 11}});
    });
  }
}

TEST_CASE("dropped attention weights are drawn from the context, and need it", "[ops]") {
  const ef::Variable<double> x = Eigen::MatrixXd::Random(6, 4);
  const ef::AttentionOptions dropping{.dropout = 0.5};
  const ef::Context<double> none{};
  CHECK(ef::attention(none, x, x, x, dropping).value() == ef::attention(none, x, x, x).value());
  ef::Rng rng(1);
  const ef::Context<double> random{.rng = &rng};
  CHECK(ef::attention(random, x, x, x, dropping).value() != ef::attention(random, x, x, x, dropping).value());
}
