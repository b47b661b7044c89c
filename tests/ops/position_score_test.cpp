#include "eigenformer/ops/position_score.hpp"

#include <functional>

#include "eigenformer/core/thread_pool.hpp"
#include "support/approx.hpp"
#include "support/naive_attention.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::PositionScore;
using ef::Variable;
using ef::testing::random_matrix;

namespace {

constexpr Index heads = 4, key_heads = 2, d = 3, e = 2, far = 2;
const ef::RowOffsets mixed_rows{0, 5, 5, 9},
    mixed_key_rows{0, 6, 7, 11};  // queries stand at the end of more keys than they are
const ef::AttentionOptions mixed_options{
    .heads = heads, .key_heads = key_heads, .query_rows = mixed_rows, .key_rows = mixed_key_rows};

using Inputs = std::vector<Variable<double>>;

Matrix<bool> mask_matrix() {
  return Matrix<bool>::NullaryExpr(9, 6, [](Index i, Index j) { return i != 2 && (i * 7 + j * 3) % 4 != 0; });
}

// Query i's place among its sequence's keys.
Index place(const ef::testing::QueryAndKey& at) {
  return at.query + at.keys - at.queries;
}

}  // namespace

TEST_CASE("attention with positions is that of the papers' formulas, under every mask", "[ops]") {
  const std::uint64_t seed = 41;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto q = random_matrix<double>(9, heads * d, rng), k = random_matrix<double>(11, key_heads * d, rng),
             v = random_matrix<double>(11, key_heads * e, rng), weights = random_matrix<double>(8, heads, rng),
             a_k = random_matrix<double>(2 * far + 1, d, rng), a_v = random_matrix<double>(2 * far + 1, e, rng);
  const ef::RelativeBuckets buckets{8, 20, true};
  const auto clip = [](Index x) { return std::max(-far, std::min(far, x)); };
  const ef::testing::NaiveScore alibi = [](const auto& at, double s) {
    return s - std::exp2(-2.0 * static_cast<double>(at.head + 1)) * static_cast<double>(std::abs(place(at) - at.key));
  };
  const ef::testing::NaiveScore bucketed = [&](const auto& at, double s) {
    return s + weights(buckets.bucket(place(at) - at.key), at.head);
  };
  const ef::testing::NaiveScore relative = [&](const auto& at, double s) {
    return s + q.row(at.row).segment(at.head * d, d).dot(a_k.row(far + clip(at.key - place(at)))) / std::sqrt(3.0);
  };
  const std::vector<std::pair<ef::AnyScore<double>, ef::testing::NaiveScore>> masks{
      {ef::Unmasked{}, ef::testing::naive_unmasked},
      {ef::Causal::after_past(), ef::testing::naive_causal_after_past},
      {ef::DenseMask(mask_matrix()), ef::testing::naive_dense_mask(mask_matrix())}};
  const ef::Context<double> context{};
  for (std::size_t m = 0; m < masks.size(); ++m) {
    CAPTURE(m);
    const auto& [mask, hide] = masks[m];
    const auto expected = [&, &hide_if = hide](const ef::testing::NaiveScore& bias) {
      return ef::testing::naive_attention(
          q, k, v, [&](const auto& at, double s) { return hide_if(at, bias(at, s)); }, mixed_options);
    };
    const auto error = [&](const PositionScore<double>& score, const ef::testing::NaiveScore& bias) {
      return ef::testing::max_error(ef::attention<double>(context, q, k, v, score, mixed_options).value(),
                                    expected(bias).out);
    };
    CHECK(error(PositionScore<double>::alibi(ef::Alibi(heads), mask), alibi) < 1e-12);
    CHECK(error(PositionScore<double>::bucketed(buckets, weights, mask), bucketed) < 1e-12);
    const auto by_keys = PositionScore<double>::relative(context, q, a_k, heads, mask);
    CHECK(error(by_keys, relative) < 1e-12);

    const ef::testing::NaiveAttention attended = expected(relative);
    Matrix<double> z = attended.out;
    for (Index s = 0; s < 3; ++s)
      for (Index i = 0; i < mixed_rows.length(s); ++i)
        for (Index h = 0; h < heads; ++h)
          for (Index j = 0; j < mixed_key_rows.length(s); ++j)
            z.row(mixed_rows.begin(s) + i).segment(h * e, e) +=
                attended.weights[static_cast<std::size_t>(h)](mixed_rows.begin(s) + i, j) *
                a_v.row(far + clip(j - (i + mixed_key_rows.length(s) - mixed_rows.length(s))));
    CHECK(ef::testing::max_error(
              ef::attention_with_relative_values<double>(context, {q, k, v}, a_v, by_keys, mixed_options).value(), z) <
          1e-12);
  }
}

TEST_CASE("gradients of attention with positions, and of their numbers", "[ops]") {
  const std::uint64_t seed = 42;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto q = random_matrix<double>(9, heads * d, rng), k = random_matrix<double>(11, key_heads * d, rng),
             v = random_matrix<double>(11, key_heads * e, rng), weights = random_matrix<double>(8, heads, rng),
             a_k = random_matrix<double>(2 * far + 1, d, rng), a_v = random_matrix<double>(2 * far + 1, e, rng);
  const std::vector<ef::AnyScore<double>> masks{ef::Unmasked{}, ef::Causal::after_past(), ef::DenseMask(mask_matrix())};
  for (std::size_t m = 0; m < masks.size(); ++m) {
    CAPTURE(m);
    ef::testing::check_op({q, k, v}, [&](const ef::Context<double>& c, const Inputs& in) {
      return ef::attention(c, in[0], in[1], in[2], PositionScore<double>::alibi(ef::Alibi(heads), masks[m]),
                           mixed_options);
    });
    ef::testing::check_op({q, k, v, weights}, [&](const ef::Context<double>& c, const Inputs& in) {
      const auto score = PositionScore<double>::bucketed({8, 20, true}, in[3], masks[m]);
      return ef::attention(c, in[0], in[1], in[2], score, mixed_options);
    });
    ef::testing::check_op({q, k, v, a_k}, [&](const ef::Context<double>& c, const Inputs& in) {
      const auto score = PositionScore<double>::relative(c, in[0], in[3], heads, masks[m]);
      return ef::attention(c, in[0], in[1], in[2], score, mixed_options);
    });
    ef::testing::check_op({q, k, v, a_k, a_v}, [&](const ef::Context<double>& c, const Inputs& in) {
      const auto score = PositionScore<double>::relative(c, in[0], in[3], heads, masks[m]);
      return ef::attention_with_relative_values(c, {in[0], in[1], in[2]}, in[4], score, mixed_options);
    });
  }
  // Numbers that no gradient is asked for, and dropout that is the same in both terms of the values.
  ef::testing::check_op({q, k, v}, [&](const ef::Context<double>& c, const Inputs& in) {
    ef::Rng dropout(5);
    ef::Context<double> dropping = c;
    dropping.rng = &dropout;
    ef::AttentionOptions with_dropout = mixed_options;
    with_dropout.dropout = 0.4;
    const auto score = PositionScore<double>::relative(c, Variable<double>(q), Variable<double>(a_k), heads, masks[1]);
    return ef::attention_with_relative_values(dropping, {in[0], in[1], in[2]}, Variable<double>(a_v), score,
                                              with_dropout);
  });
}

TEST_CASE("the vectors of values get the weights that values get, dropped or not", "[ops]") {
  ef::Rng rng(43), dropout(6);
  const auto x = random_matrix<double>(12, 4, rng);
  const Matrix<double> zero = Matrix<double>::Zero(5, 4), one = Matrix<double>::Ones(5, 4);
  const auto score = PositionScore<double>::relative({}, x, random_matrix<double>(5, 4, rng), 1, ef::Causal{});
  // If all vectors are alike they add their sum of the weights, as if they stood in each value.
  const ef::Context<double> context{.rng = &dropout};
  const ef::Context<double> again{.rng = &rng};
  rng = dropout;
  const Matrix<double> moved =
      ef::attention_with_relative_values<double>(context, {x, x, x}, one, score, {.dropout = 0.5}).value();
  const Matrix<double> values = x.array() + 1;
  const Matrix<double> expected =
      ef::attention_with_relative_values<double>(again, {x, x, values}, zero, score, {.dropout = 0.5}).value();
  CHECK(ef::testing::max_error(moved, expected) < 1e-12);
}

TEST_CASE("sinks given in the options need not outlive the forward", "[ops]") {
  ef::Rng rng(12);
  const Matrix<double> x = ef::testing::random_matrix<double>(4, 6, rng);
  const Variable<double> vectors = ef::testing::random_matrix<double>(3, 3, rng);
  const auto gradient_with = [&](bool overwritten) {
    ef::Tape<double> tape;
    const ef::Context<double> context{.tape = &tape};
    const Variable<double> q = tape.variable(x);
    std::vector<double> sinks{0.5, 0.1};
    const auto y =
        ef::attention_with_relative_values<double>(context, {q, q, q}, vectors, {}, {.heads = 2, .sinks = sinks});
    if (overwritten) std::fill(sinks.begin(), sinks.end(), 100.0);
    tape.backward(ef::sum(context, y));
    return Matrix<double>(tape.gradient(q));
  };
  CHECK(gradient_with(true) == gradient_with(false));
}

TEST_CASE("relative positions that do not fit are refused", "[ops]") {
  const Variable<float> q = Matrix<float>::Zero(3, 8), vectors = Matrix<float>::Zero(5, 3),
                        good = Matrix<float>::Zero(5, 4);
  CHECK_THROWS_WITH(
      PositionScore<float>::relative({}, q, vectors, 2, ef::Unmasked{}),
      "relative positions: q is [3 x 8], the vectors are [5 x 3], expected q to have 2 heads as wide as the vectors");
  const auto score = PositionScore<float>::relative({}, q, good, 2, ef::Unmasked{});
  CHECK_THROWS_WITH(
      ef::attention_with_relative_values<float>({}, {q, q, q}, vectors, score, {.heads = 2}),
      "relative positions: v is [3 x 8], the vectors are [5 x 3], expected vectors as wide as a head of v");
  const Variable<float> tensor{ef::Tensor<float>({2, 1, 3, 4})};
  CHECK_THROWS_WITH(ef::attention_with_relative_values<float>({}, {tensor, tensor, tensor}, good, {}),
                    "relative positions: q is [2 x 1 x 3 x 4], k is [2 x 1 x 3 x 4], v is [2 x 1 x 3 x 4], expected "
                    "matrices");
}
