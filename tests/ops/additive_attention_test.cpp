#include "eigenformer/ops/additive_attention.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::testing::random_matrix;

TEST_CASE("gradients of additive attention over a ragged batch", "[ops]") {
  const std::uint64_t seed = 29;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto q = random_matrix<double>(7, 5, rng), k = random_matrix<double>(9, 5, rng),
             v = random_matrix<double>(1, 5, rng), values = random_matrix<double>(9, 4, rng);
  // One sequence has queries alone, one keys alone.
  const ef::AdditiveAttentionOptions options{.query_rows = {0, 3, 5, 5, 7}, .key_rows = {0, 4, 4, 6, 9}};
  ef::testing::check_op({q, k, v, values},
                        [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
                          return ef::additive_attention(c, in[0], in[1], in[2], in[3], options);
                        });
}

TEST_CASE("additive attention hands out its weights", "[ops]") {
  ef::Rng rng(39);
  const ef::Variable<float> q(random_matrix<float>(3, 6, rng)), k(random_matrix<float>(5, 6, rng)),
      v(random_matrix<float>(1, 6, rng)), values(random_matrix<float>(5, 4, rng));
  const ef::Context<float> context{};
  const auto [y, weights] = ef::additive_attention_and_weights(context, q, k, v, values);
  CHECK(y.value() == ef::additive_attention(q.value(), k.value(), v.value(), values.value()));
  CHECK(y.value().isApprox(weights.value() * values.value(), 1e-5F));
}

TEST_CASE("additive attention by an index cannot be recorded", "[ops]") {
  ef::Tape<float> tape;
  const ef::Variable<float> x = tape.variable(Eigen::MatrixXf::Random(2, 3)), v(Eigen::MatrixXf::Random(1, 3));
  const std::vector<ef::Index> index{1, 0};
  CHECK_THROWS_WITH(ef::additive_attention({.tape = &tape}, x, x, v, x, {.key_index = index}),
                    "additive_attention: key_index and key_pages have no backward, and a tape is recording");
}
