#include "eigenformer/kernels/attention.hpp"

#include "kernels/attention_cases.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEMPLATE_TEST_CASE("attention agrees with its definition", "[kernels][threads]", float, double) {
  const auto seed = GENERATE(1U, 2U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  for (const AttentionSizes& s : attention_sizes()) {
    CAPTURE(s.heads, s.key_heads, s.key_width, s.value_width, s.queries, s.keys);
    const AttentionCase<TestType> c(s, rng);
    check_definition(c, rng, pool);
  }
}

TEST_CASE("attention agrees with numbers worked by hand", "[kernels]") {
  // Scores ln 1, ln 2, ln 5 of one query: weights 1/8, 2/8, 5/8.
  const Matrix<double> q{{2.0}};
  const Matrix<double> k{{0.0}, {std::log(2.0) / 2}, {std::log(5.0) / 2}};
  const Matrix<double> v{{8.0, 0.0}, {16.0, 4.0}, {24.0, 8.0}};
  CHECK(max_error(ef::attention(q, k, v), Matrix<double>{{20.0, 6.0}}) < 1e-14);
  CHECK(max_error(ef::attention(q, k, v, {.scale = 0.0}), Matrix<double>{{16.0, 4.0}}) < 1e-14);
  // With twice the scale the weights are 1, 4, 25 of 30.
  CHECK(max_error(ef::attention(q, k, v, {.scale = 2.0}), Matrix<double>{{672.0 / 30, 216.0 / 30}}) < 1e-14);
  // By default scores are divided by the root of a head's width: with four columns that repeat, by 2, of 4 times as
  // much.
  const Matrix<double> wide = ef::attention(q.replicate(1, 4) / 2, k.replicate(1, 4), v);
  CHECK(max_error(wide, Matrix<double>{{20.0, 6.0}}) < 1e-14);
  CHECK(ef::attention(q, k, v, ef::Causal{}) == Matrix<double>{{8.0, 0.0}});
  CHECK(max_error(ef::attention(q, k, v, ef::Causal::after_past()), Matrix<double>{{20.0, 6.0}}) < 1e-14);
}

TEST_CASE("a score and options may each be left out", "[kernels]") {
  ef::Rng rng(7);
  const Matrix<float> q = random_matrix<float>(8, 4, rng), k = random_matrix<float>(8, 4, rng);
  const ef::AttentionOptions options{.heads = 2};
  const Matrix<float> with_both = ef::attention(q, k, k, ef::Unmasked{}, options);
  CHECK(ef::attention(q, k, k, options) == with_both);
  CHECK(ef::attention(q, k, k, {.heads = 2}) == with_both);
  CHECK(ef::attention(q, k, k, ef::Causal{}) == ef::attention(q, k, k, ef::Causal{}, ef::AttentionOptions{}));
  CHECK(ef::attention(q, k, k) == ef::attention(q, k, k, ef::Unmasked{}, {}));
  const std::vector<Index> offsets{0, 3, 8};
  CHECK(ef::attention(q, k, k, {.query_rows = offsets, .key_rows = offsets}) ==
        ef::attention(q, k, k, ef::Unmasked{}, {.query_rows = {0, 3, 8}, .key_rows = {0, 3, 8}}));
  CHECK(message_of([&] {
          ef::attention(q, k, k, {.query_rows = {3, 5}});
        }) == "RowOffsets: expected offsets that begin with 0, given 3; for lengths use RowOffsets::from_lengths");
}

TEMPLATE_TEST_CASE("a sequence's result is the same to the last bit alone and in any batch", "[kernels]", float,
                   double) {
  ef::Rng rng(3);
  const AttentionCase<TestType> batch({4, 2, 5, 3, {3, 0, 70, 1, 9, 64, 97}, {4, 2, 65, 131, 64, 64, 200}}, rng);
  const ef::RowOffsets& queries = batch.options.query_rows;
  const auto check_score = [&](const TestedScore<TestType>& score) {
    const Matrix<TestType> all = attend(batch, score).out;
    for (Index s = 0; s < queries.sequences(); ++s) {
      CAPTURE(s);
      CHECK(
          identical<TestType>(attend(batch.alone(s), score).out, all.middleRows(queries.begin(s), queries.length(s))));
    }
  };
  check_score(ef::Unmasked{});
  check_score(ef::Causal{});
  check_score(ef::Causal::after_past());
}

TEMPLATE_TEST_CASE("keys are found through key_index", "[kernels]", float, double) {
  ef::Rng rng(4);
  AttentionCase<TestType> c({4, 2, 5, 3, {3, 1, 66}, {70, 3, 130}}, rng);
  const Matrix<TestType> expected = attend(c, ef::Causal::after_past()).out;
  // The same keys in other rows, among rows that are not asked for; some rows serve several sequences.
  std::vector<Index> order(static_cast<std::size_t>(c.k.rows() + 20));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<Index>(i);
  rng.shuffle(std::span<Index>(order));
  Matrix<TestType> k = not_written<TestType>(c.k.rows() + 20, c.k.cols());
  Matrix<TestType> v = not_written<TestType>(c.v.rows() + 20, c.v.cols());
  for (Index i = 0; i < c.k.rows(); ++i) {
    k.row(order[static_cast<std::size_t>(i)]) = c.k.row(i);
    v.row(order[static_cast<std::size_t>(i)]) = c.v.row(i);
  }
  c.options.key_index = std::span<const Index>(order).first(static_cast<std::size_t>(c.k.rows()));
  CHECK(identical<TestType>(ef::attention(c.q, k, v, ef::Causal::after_past(), c.options), expected));
  const Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic> by_columns = k;
  CHECK(identical<TestType>(ef::attention(c.q, by_columns, v, ef::Causal::after_past(), c.options), expected));

  const std::vector<Index> shared{0, 1, 2, 0, 1, 4};  // two sequences that begin alike
  c = AttentionCase<TestType>({2, 2, 5, 3, {1, 1}, {3, 3}}, rng);
  c.options.key_index = shared;
  CHECK(max_error(attend(c, ef::Unmasked{}).out, c.naive(naive_unmasked).out) < rounding<TestType>(64));
}

TEMPLATE_TEST_CASE("a key_index that names no keys gives zeros, not the attention of all rows", "[kernels]", float,
                   double) {
  ef::Rng rng(14);
  const std::vector<Index> none;
  for (const Index queries : {1, 3, 70}) {
    CAPTURE(queries);
    AttentionCase<TestType> c({4, 2, 5, 3, {queries}, {7}}, rng);
    c.options.key_index = none;
    const Attended<TestType> given = attend(c, ef::Causal{});
    CHECK(given.out.isZero(0));
    CHECK((given.log_sum_exp.array() == ef::hidden_score<TestType>).all());
    CHECK(weights_of(c, ef::Unmasked{}, c.options).dimension(2) == 0);
    c.options.query_rows = {0, 1, queries};  // two hypotheses that have no rows yet
    c.options.key_rows = {0, 0, 0};
    CHECK(attend(c, ef::Unmasked{}).out.isZero(0));
  }
  AttentionCase<TestType> no_hypotheses({2, 2, 5, 3, {0}, {7}}, rng);
  no_hypotheses.options.query_rows = no_hypotheses.options.key_rows = {0};
  no_hypotheses.options.key_index = none;
  CHECK(attend(no_hypotheses, ef::Unmasked{}).out.rows() == 0);
}

TEMPLATE_TEST_CASE("attention drops the weights that its draws say", "[kernels][threads]", float, double) {
  ef::Rng rng(5);
  ef::ThreadPool pool(3);
  for (const double rate : {0.1, 0.5, 0.9}) {
    AttentionCase<TestType> c({3, 1, 5, 3, {70, 1, 9}, {65, 131, 0}}, rng);
    c.options.dropout = rate;
    c.options.dropout_key = rng.split();
    CAPTURE(rate, c.options.dropout_key->key, c.options.dropout_key->stream);
    for_each_score(c, rng, [&](const TestedScore<TestType>& score, const NaiveScore& naive, const char* name) {
      CAPTURE(name);
      const NaiveAttention expected = c.naive(naive);
      const Attended<TestType> given = attend(c, score);
      CHECK(max_error(given.out, expected.out) < rounding<TestType>(256));
      CHECK(max_error(given.log_sum_exp, expected.log_sum_exp) < rounding<TestType>(64));  // of all weights
      CHECK(identical<TestType>(attend(c, score, &pool).out, given.out));
    });
    const Matrix<TestType> one = attend(c, ef::Unmasked{}).out;
    c.options.dropout_key = rng.split();
    CHECK_FALSE(identical<TestType>(attend(c, ef::Unmasked{}).out, one));
  }
}

TEST_CASE("attention that does not fit throws, and writes nothing", "[kernels][threads]") {
  ef::Rng rng(6);
  const AttentionCase<float> c({2, 2, 4, 3, {5}, {7}}, rng);
  Matrix<float> out = Matrix<float>::Constant(9, 9, 3), log_sum_exp = Matrix<float>::Constant(9, 9, 3);
  const auto message = [&](const Matrix<float>& q, ef::Shape out_shape, ef::Shape sums_shape) {
    return message_of([&] {
      ef::attention_forward<float>({ef::strided_view(q), ef::strided_view(c.k), ef::strided_view(c.v)}, ef::Unmasked{},
                                   {.heads = 2},
                                   {out.topLeftCorner(out_shape.rows, out_shape.cols),
                                    log_sum_exp.topLeftCorner(sums_shape.rows, sums_shape.cols)});
    });
  };
  CHECK(message(c.q, {4, 6}, {5, 2}) == "attention: out is [4 x 6], expected [5 x 6]");
  CHECK(message(c.q, {5, 7}, {5, 2}) == "attention: out is [5 x 7], expected [5 x 6]");
  CHECK(message(c.q, {5, 6}, {5, 3}) == "attention: log_sum_exp is [5 x 3], expected [5 x 2]");
  CHECK(message(c.q.leftCols(6), {5, 6}, {5, 2}) ==
        "attention: q is [5 x 6], k is [7 x 8], expected 6 columns in k (heads 2, key_heads 2)");
  CHECK((out.array() == 3).all());
  CHECK((log_sum_exp.array() == 3).all());
  // What fits is written, also to blocks of larger matrices, and nothing beside them.
  CHECK(message(c.q, {5, 6}, {5, 2}) == "nothing was thrown");
  CHECK(identical<float>(out.topLeftCorner(5, 6), ef::attention(c.q, c.k, c.v, {.heads = 2})));
  CHECK(((out.array() != 3).count() == 30 && (log_sum_exp.array() != 3).count() == 10));
  CHECK(message_of([&] { ef::attention(c.q, c.k, c.v, {.heads = 3}); }) ==
        "attention: q is [5 x 8], expected a width that 3 heads divide");
  const ef::DenseMask too_small(Matrix<bool>::Constant(4, 7, true));
  ef::ThreadPool pool(3);
  for (ef::Threads* threads : {static_cast<ef::Threads*>(nullptr), static_cast<ef::Threads*>(&pool)})
    CHECK(message_of([&] { ef::attention(c.q, c.k, c.v, too_small, {.heads = 2, .threads = threads}); }) ==
          "attention: the dense mask is [4 x 7], expected at least [5 x 7]");
}
