#include "eigenformer/kernels/attention_weights.hpp"

#include "eigenformer/kernels/matmul.hpp"
#include "kernels/attention_cases.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Tensor;
using namespace ef::testing;

namespace {

template <class Scalar>
bool same(const Tensor<Scalar>& a, const Tensor<Scalar>& b) {
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

}  // namespace

TEMPLATE_TEST_CASE("weights agree with their definition", "[kernels][threads]", float, double) {
  ef::Rng rng(1);
  ef::ThreadPool pool(3);
  for (const AttentionSizes& s : attention_sizes()) {
    CAPTURE(s.heads, s.key_heads, s.key_width, s.queries, s.keys);
    const AttentionCase<TestType> c(s, rng);
    for_each_score(c, rng, [&](const TestedScore<TestType>& score, const NaiveScore& naive, const char* name) {
      CAPTURE(name);
      const NaiveAttention expected = c.naive(naive);
      const Tensor<TestType> weights = weights_of(c, score, c.options);
      REQUIRE(weights.dimension(0) == s.heads);
      for (Index h = 0; h < s.heads; ++h) {
        const auto& expected_weights = expected.weights[static_cast<std::size_t>(h)];
        CHECK(max_error(weights.matrix(h), expected_weights) < rounding<TestType>(32));
        for (Index i = 0; i < c.q.rows(); ++i) {
          const bool sees_nothing = expected.log_sum_exp(i, h) == naive_hidden;
          if (sees_nothing) CHECK((weights.matrix(h).row(i).array() == 0).all());
          if (!sees_nothing) CHECK(std::abs(weights.matrix(h).row(i).sum() - 1) < rounding<TestType>(64));
        }
        // What is hidden has no weight, not even a very small one.
        CHECK((expected_weights.array() != 0 || weights.matrix(h).array() == 0).all());
      }
      ef::AttentionOptions options = c.options;
      options.threads = &pool;
      options.dropout = 0.5;  // has no part in them
      CHECK(same(weights_of(c, score, options), weights));
    });
  }
}

TEMPLATE_TEST_CASE("weights and values make attention", "[kernels]", float, double) {
  ef::Rng rng(2);
  const AttentionCase<TestType> c({4, 2, 5, 3, {70}, {67}}, rng);
  const Tensor<TestType> weights = ef::attention_weights(c.q, c.k, ef::Causal{}, c.options);
  const Matrix<TestType> y = ef::attention(c.q, c.k, c.v, ef::Causal{}, c.options);
  for (Index h = 0; h < 4; ++h) {
    const Matrix<TestType> product = ef::matmul(weights.matrix(h), c.v.middleCols(h / 2 * 3, 3));
    CHECK(max_error(y.middleCols(h * 3, 3), product) < rounding<TestType>(32));
  }
}

TEMPLATE_TEST_CASE("scores are what the softmax makes weights of", "[kernels]", float, double) {
  ef::Rng rng(5);
  const AttentionCase<TestType> c({4, 2, 5, 3, {7, 0, 3, 2}, {9, 2, 4, 0}}, rng);
  const auto check = [&](const auto& score, const NaiveScore& naive) {
    const Tensor<TestType> scores = ef::attention_scores(c.q, c.k, score, c.options);
    const NaiveAttention expected = c.naive(naive);
    REQUIRE(scores.shape() == ef::Sizes{4, 12, 9});
    for (Index h = 0; h < 4; ++h) {
      // exp(score - log_sum_exp) is the weight.
      const auto& weights = expected.weights[static_cast<std::size_t>(h)];
      for (Index i = 0; i < 12; ++i)
        for (Index j = 0; j < 9; ++j) {
          const auto x = static_cast<double>(scores(h, i, j));
          if (weights(i, j) == 0) CHECK(x == naive_hidden);
          if (weights(i, j) != 0)
            CHECK(std::abs(x - std::log(weights(i, j)) - expected.log_sum_exp(i, h)) < rounding<TestType>(64));
        }
    }
  };
  check(ef::Unmasked{}, naive_unmasked);
  check(ef::Causal{}, naive_causal);
  const CappedScore capped{.cap = 2, .causal = true};
  check(capped, capped.naive());
}

TEMPLATE_TEST_CASE("weights are the same to the last bit wherever their matrices lie", "[kernels]", float, double) {
  using ByColumns = Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic>;
  ef::Rng rng(3);
  const AttentionCase<TestType> c({2, 1, 5, 3, {7}, {9}}, rng);
  const Tensor<TestType> expected = ef::attention_weights(c.q, c.k, ef::Unmasked{}, c.options);
  const ByColumns q = c.q, k = c.k;
  const Matrix<TestType> upright = c.k.transpose();
  CHECK(same(ef::attention_weights(q, k, ef::Unmasked{}, c.options), expected));
  CHECK(same(ef::attention_weights(1 * c.q, upright.transpose(), ef::Unmasked{}, c.options), expected));

  ef::AttentionOptions options = c.options;  // through key_index, from other rows
  const std::vector<Index> index{9, 8, 7, 6, 5, 4, 3, 2, 1};
  Matrix<TestType> reversed = not_written<TestType>(10, 5);
  reversed.bottomRows(9) = c.k.colwise().reverse();
  options.key_index = index;
  CHECK(same(ef::attention_weights(c.q, reversed, ef::Unmasked{}, options), expected));
}

TEMPLATE_TEST_CASE("hidden keys of NaN and infinity have no weight", "[kernels]", float, double) {
  ef::Rng rng(4);
  AttentionCase<TestType> c({1, 1, 5, 3, {4}, {9}}, rng);
  Matrix<bool> mask = Matrix<bool>::Constant(4, 9, true);
  mask.col(3).setConstant(false);
  mask.row(2).setConstant(false);
  const Tensor<TestType> expected = ef::attention_weights(c.q, c.k, ef::DenseMask(mask));
  const TestType infinity = std::numeric_limits<TestType>::infinity();
  for (const TestType bad : {std::numeric_limits<TestType>::quiet_NaN(), infinity, -infinity}) {
    c.k.row(3).setConstant(bad);
    c.q.row(2).setConstant(bad);
    CHECK(same(ef::attention_weights(c.q, c.k, ef::DenseMask(mask)), expected));
  }
  c.q.row(1).setConstant(std::numeric_limits<TestType>::quiet_NaN());  // one that sees something shows
  CHECK(std::isnan(ef::attention_weights(c.q, c.k, ef::DenseMask(mask))(0, 1, 0)));
}

TEST_CASE("weights and scores of all keys need no score", "[kernels]") {
  ef::Rng rng(7);
  const ef::Matrix<float> q = random_matrix<float>(3, 4, rng), k = random_matrix<float>(5, 4, rng);
  const auto same = [](const ef::Tensor<float>& a, const ef::Tensor<float>& b) {
    return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
  };
  const ef::AttentionOptions options{.heads = 2};
  CHECK(same(ef::attention_weights(q, k), ef::attention_weights(q, k, ef::Unmasked{})));
  CHECK(same(ef::attention_weights(q, k, {.heads = 2}), ef::attention_weights(q, k, ef::Unmasked{}, options)));
  CHECK(same(ef::attention_scores(q, k, options), ef::attention_scores(q, k, ef::Unmasked{}, {.heads = 2})));
}

TEST_CASE("weights that do not fit are named", "[kernels]") {
  const Matrix<float> q = Matrix<float>::Ones(5, 8), k = Matrix<float>::Ones(7, 6);
  CHECK(message_of([&] { ef::attention_weights(q, k, ef::Unmasked{}); }) ==
        "attention: q is [5 x 8], k is [7 x 6], expected 8 columns in k (heads 1, key_heads 1)");
  CHECK(message_of([&] { ef::attention_weights(q, q, ef::DenseMask(Matrix<bool>::Constant(5, 4, true))); }) ==
        "attention: the dense mask is [5 x 4], expected at least [5 x 5]");
}
