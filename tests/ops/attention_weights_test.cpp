#include "eigenformer/ops/attention_weights.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/kernels/attention_weights.hpp"
#include "eigenformer/kernels/scores.hpp"
#include "support/approx.hpp"
#include "support/message_of.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::testing::random_matrix;

namespace {

/// A ragged batch. One sequence has only queries, one only keys.
struct RaggedHeads {
  ef::AttentionOptions options{.heads = 4, .key_heads = 2, .query_rows = {0, 3, 5, 5, 7}, .key_rows = {0, 4, 4, 6, 9}};
  Matrix<double> q, k, sinks;
  explicit RaggedHeads(ef::Rng& rng)
      : q(random_matrix<double>(7, 4 * 3, rng)),
        k(random_matrix<double>(9, 2 * 3, rng)),
        sinks(random_matrix<double>(1, 4, rng)) {}
};

/// Returns the weights of one head by the definition: exp(q . k / sqrt(3)), divided by their sum and the sink's.
Matrix<double> naive_weights(const RaggedHeads& in, Index head, bool has_sinks, Index width) {
  Matrix<double> weights = Matrix<double>::Zero(7, width);
  const auto &query_rows = in.options.query_rows, &key_rows = in.options.key_rows;
  for (Index s = 0; s < query_rows.sequences(); ++s)
    for (Index i = query_rows.begin(s); i < query_rows.end(s); ++i) {
      double sum = has_sinks ? std::exp(in.sinks(0, head)) : 0;
      for (Index j = 0; j < key_rows.length(s); ++j) {
        const double dot =
            in.q.row(i).segment(3 * head, 3).dot(in.k.row(key_rows.begin(s) + j).segment(head / 2 * 3, 3));
        sum += weights(i, j) = std::exp(dot / std::sqrt(3.0));
      }
      if (sum > 0) weights.row(i) /= sum;
    }
  return weights;
}

}  // namespace

TEST_CASE("differentiable attention weights are those of the definition", "[ops][threads]") {
  const std::uint64_t seed = 775;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const RaggedHeads in(rng);
  ef::ThreadPool pool(2);
  for (const Index width : {Index{0}, Index{4}, Index{7}})
    for (const bool has_sinks : {false, true}) {
      CAPTURE(width, has_sinks);
      ef::AttentionOptions options = in.options;
      options.dropout = 0.5;  // is not applied
      const ef::Context<double> context{.rng = &rng, .threads = &pool};
      const ef::QueryKeyValue<double> inputs{
          in.q, in.k, {}, has_sinks ? ef::Variable<double>(in.sinks) : ef::Variable<double>()};
      const Matrix<double> y =
          ef::differentiable_attention_weights<double>(context, inputs, {}, options, width).value();
      const Index columns = width == 0 ? 4 : width;
      REQUIRE(ef::shape(y) == ef::Shape{7, 4 * columns});
      for (Index head = 0; head < 4; ++head)
        CHECK(ef::testing::max_error(y.middleCols(head * columns, columns),
                                     naive_weights(in, head, has_sinks, columns)) <= ef::testing::rounding<double>(64));
    }
}

TEST_CASE("differentiable attention weights of any score are those of attention_weights", "[ops]") {
  const std::uint64_t seed = 776;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const RaggedHeads in(rng);
  const auto check = [&](const auto& score) {
    const Matrix<double> y =
        ef::differentiable_attention_weights<double>({}, {in.q, in.k, {}}, score, in.options).value();
    const ef::Tensor<double> expected = ef::attention_weights(in.q, in.k, score, in.options);
    for (Index head = 0; head < 4; ++head)
      CHECK(ef::testing::max_error(y.middleCols(head * 4, 4), expected.matrix(head)) <=
            ef::testing::rounding<double>(64));
  };
  check(ef::SoftCap{2});
  check(ef::SlidingWindow{1});
  check(ef::Causal{});
}

TEST_CASE("gradients of attention weights over a ragged batch", "[ops]") {
  const std::uint64_t seed = 777;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const RaggedHeads in(rng);
  const bool has_cap = GENERATE(false, true);
  const ef::VariableScore<double> score =
      has_cap ? ef::VariableScore<double>(ef::SoftCap{2}) : ef::VariableScore<double>();
  ef::testing::check_op(
      {in.q, in.k, in.sinks}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& x) {
        return ef::differentiable_attention_weights<double>(c, {x[0], x[1], {}, x[2]}, score, in.options);
      });
  const auto v = random_matrix<double>(1, 5, rng), q = random_matrix<double>(7, 5, rng),
             k = random_matrix<double>(9, 5, rng);
  const ef::AdditiveAttentionOptions options{.query_rows = in.options.query_rows, .key_rows = in.options.key_rows};
  ef::testing::check_op({q, k, v}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& x) {
    return ef::differentiable_attention_weights(c, x[0], x[1], x[2], options, 6);
  });
}

TEST_CASE("differentiable weights of additive attention are those that it returns", "[ops]") {
  ef::Rng rng(778);
  const ef::Variable<double> q(random_matrix<double>(3, 6, rng)), k(random_matrix<double>(5, 6, rng)),
      v(random_matrix<double>(1, 6, rng)), values(random_matrix<double>(5, 4, rng));
  const ef::Context<double> context{};
  const auto expected = ef::additive_attention_and_weights(context, q, k, v, values).weights;
  CHECK(ef::testing::max_error(ef::differentiable_attention_weights(context, q, k, v).value(), expected.value()) <=
        ef::testing::rounding<double>(16));
}

TEST_CASE("attention weights cannot have fewer columns than keys", "[ops]") {
  const ef::Variable<float> x(Matrix<float>::Zero(3, 2));
  CHECK(ef::testing::message_of([&] {
          ef::differentiable_attention_weights<float>({}, {x, x, {}}, {}, {}, 2);
        }) == "attention weights: width is 2, expected 0, or at least 3, the keys of the longest sequence");
  const Index many = Index{1} << 62;
  CHECK(ef::testing::message_of([&] {
          ef::differentiable_attention_weights<float>({}, {x, x, {}}, {}, {.heads = 2}, many);
        }) == "attention weights: 2 heads of width 4611686018427387904 have too many columns to count");
  CHECK(ef::testing::message_of([&] {
          ef::differentiable_attention_weights<float>({}, {x, x, {}}, {}, {}, many);
        }) == "Tensor: the shape is [3 x 4611686018427387904], which has too many entries to count");
}
