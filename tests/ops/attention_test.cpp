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

TEST_CASE("attention of tensor Variables is that of their tensors, with gradients", "[ops]") {
  ef::Rng rng(20);
  const ef::Sizes shape{2, 2, 3, 4};
  const auto random = [&] {
    return ef::Variable<double>(random_matrix<double>(1, ef::count_of(shape), rng)).reshaped(shape);
  };
  const ef::Variable<double> q = random(), k = random(), v = random();
  for (const auto dimensions :
       {ef::AttentionDimensions::batch_heads_tokens, ef::AttentionDimensions::batch_tokens_heads}) {
    const auto rows = ef::RowOffsets::from_lengths({2, 1});  // padding after 2 tokens and after 1
    const ef::AttentionOptions options{.query_rows = rows, .key_rows = rows, .dimensions = dimensions};
    const ef::Tensor<double> expected = ef::attention(q.tensor(), k.tensor(), v.tensor(), ef::Causal{}, options);
    const ef::Variable<double> y = ef::attention<double>({}, q, k, v, ef::Causal{}, options);
    CHECK(y.sizes() == expected.shape());
    CHECK(y.value().reshaped() == ef::Variable<double>(expected).value().reshaped());
    std::vector<ef::Matrix<double>> flat;
    for (const auto& x : {q, k, v}) flat.push_back(x.reshaped(1, x.size()).value());
    ef::testing::check_op(flat, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
      std::vector<ef::Variable<double>> tensors;
      for (const auto& x : in) tensors.push_back(ef::reshape(c, x, shape));
      const auto result = ef::attention(c, tensors[0], tensors[1], tensors[2], ef::Causal{}, options);
      return ef::reshape(c, result, 1, result.size());
    });
  }
  const ef::Variable<double> batch = q.reshaped(ef::Sizes{4, 3, 4});
  CHECK_THROWS_WITH(
      ef::attention<double>({}, batch, batch, batch),
      "attention: q is [4 x 3 x 4], k is [4 x 3 x 4], v is [4 x 3 x 4], expected three matrices, or three "
      "tensors of rank 4");
}
