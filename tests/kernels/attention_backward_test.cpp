#include "eigenformer/kernels/attention_backward.hpp"

#include "kernels/attention_cases.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

template <class Scalar>
AttentionCase<double> in_double(const AttentionCase<Scalar>& c, const AttentionSizes& sizes) {
  ef::Rng unused(0);
  AttentionCase<double> result(sizes, unused);
  result.q = c.q.template cast<double>();
  result.k = c.k.template cast<double>();
  result.v = c.v.template cast<double>();
  result.d_out = c.d_out.template cast<double>();
  return result;
}

/// A bias of one number, whose gradient all heads, sequences, queries and keys share.
struct OneNumber {
  static constexpr ef::ScoreStage stage = ef::ScoreStage::bias;
  static constexpr bool heads_share_gradient = true;
  static constexpr bool sequences_share_gradient = true;
  float number = 0.5F;
  float* d_number = nullptr;

  ef::Visible visible(const ef::ScoreTile&) const { return ef::Visible::all; }
  void apply(const ef::ScoreTile&, ef::ScoreBlock<float> scores) const { scores.array() += number; }
  void apply_backward(const ef::ScoreTile&, ef::ScoreBlock<float> d_scores) const { *d_number += d_scores.sum(); }
};

}  // namespace

TEST_CASE("gradients of attention agree with differences of its definition", "[kernels]") {
  ef::Rng rng(1);
  for (const AttentionSizes& s : attention_sizes(1)) {
    CAPTURE(s.heads, s.key_heads, s.key_width, s.value_width, s.queries, s.keys);
    const AttentionCase<double> c(s, rng);
    for_each_score(c, rng, [&](const TestedScore<double>& score, const NaiveScore& naive, const char* name) {
      CAPTURE(name);
      check_gradients(c, gradients(c, score), naive, rng);
    });
  }
}

TEST_CASE("gradients of attention with dropout agree with differences under the same draws", "[kernels]") {
  ef::Rng rng(2);
  const std::vector<AttentionSizes> sizes{{2, 1, 3, 2, {4}, {5}}, {4, 2, 5, 3, {70, 0, 1}, {65, 2, 131}}};
  for (const AttentionSizes& s : sizes)
    for (const double rate : {0.2, 0.8}) {
      AttentionCase<double> c(s, rng);
      c.options.dropout = rate;
      c.options.dropout_key = rng.split();
      CAPTURE(s.queries, s.keys, rate, c.options.dropout_key->key, c.options.dropout_key->stream);
      for_each_score(c, rng, [&](const TestedScore<double>& score, const NaiveScore& naive, const char* name) {
        CAPTURE(name);
        check_gradients(c, gradients(c, score), naive, rng);
      });
    }
}

TEST_CASE("gradients in float are those in double, rounded", "[kernels]") {
  ef::Rng rng(3);
  for (const AttentionSizes& s : attention_sizes()) {
    CAPTURE(s.heads, s.key_heads, s.key_width, s.value_width, s.queries, s.keys);
    const AttentionCase<float> c(s, rng);
    const AttentionCase<double> c_double = in_double(c, s);
    std::vector<AttentionGradients<double>> all_expected;
    ef::Rng same = rng;
    for_each_score(c_double, same, [&](const TestedScore<double>& score, const NaiveScore&, const char*) {
      all_expected.push_back(gradients(c_double, score));
    });
    std::size_t i = 0;
    for_each_score(c, rng, [&](const TestedScore<float>& score, const NaiveScore&, const char* name) {
      CAPTURE(name);
      const AttentionGradients<float> given = gradients(c, score);
      const AttentionGradients<double>& expected = all_expected[i++];
      CHECK(max_error(given.q, expected.q) < rounding<float>(256));
      CHECK(max_error(given.k, expected.k) < rounding<float>(256));
      CHECK(max_error(given.v, expected.v) < rounding<float>(256));
    });
  }
}

TEMPLATE_TEST_CASE("gradients are the same to the last bit for any number of threads and in any batch",
                   "[kernels][threads]", float, double) {
  ef::Rng rng(4);
  ef::ThreadPool pool(3);
  AttentionCase<TestType> batch({4, 2, 5, 3, {3, 0, 70, 1, 9, 4, 64, 97}, {4, 2, 65, 131, 64, 0, 64, 200}}, rng);
  const auto check_score = [&](const TestedScore<TestType>& score) {
    const AttentionGradients<TestType> all = gradients(batch, score);
    CHECK(identical(gradients(batch, score, &pool), all));
    for (Index s = 0; s < batch.options.query_rows.sequences(); ++s) {
      CAPTURE(s);
      const ef::RowOffsets &queries = batch.options.query_rows, &keys = batch.options.key_rows;
      const AttentionGradients<TestType> d = gradients(batch.alone(s), score);
      CHECK(identical<TestType>(d.q, all.q.middleRows(queries.begin(s), queries.length(s))));
      CHECK(identical<TestType>(d.k, all.k.middleRows(keys.begin(s), keys.length(s))));
      CHECK(identical<TestType>(d.v, all.v.middleRows(keys.begin(s), keys.length(s))));
    }
  };
  check_score(ef::Unmasked{});
  check_score(ef::Causal::after_past());
  const Matrix<bool> mask = random_mask(batch.q.rows(), 200, rng);
  const ef::DenseMask score(mask);
  batch.options.dropout = 0.3;
  batch.options.dropout_key = rng.split();
  CHECK(identical(gradients(batch, score, &pool), gradients(batch, score)));
}

TEST_CASE("a task of the backward takes keys for about a megabyte", "[kernels]") {
  const auto keys_of = [](auto scalar, Index key_width, Index value_width) {
    ef::detail::AttentionLayout layout{};
    layout.key_width = key_width;
    layout.value_width = value_width;
    return ef::detail::many_backward_keys<decltype(scalar)>(layout);
  };
  CHECK(keys_of(1.0F, 32, 32) == 2048);
  CHECK(keys_of(1.0F, 64, 64) == 1024);
  CHECK(keys_of(1.0F, 128, 128) == 512);
  CHECK(keys_of(1.0F, 96, 32) == 1024);
  CHECK(keys_of(1.0, 64, 64) == 512);
  CHECK(keys_of(1.0, 32, 32) == 1024);
  // Not without end, and not less than is summed at once.
  CHECK(keys_of(1.0F, 0, 0) == 2048);
  CHECK(keys_of(1.0F, 1000, 1000) == ef::detail::backward_keys);
}

TEMPLATE_TEST_CASE("long sequences' gradients are the same to the last bit for any number of threads",
                   "[kernels][threads]", float, double) {
  // More keys than one task goes over, and more than those of one round of tasks: their sums meet in the queries.
  ef::Rng rng(6);
  ef::ThreadPool pool(3);
  const Index chunk = ef::detail::backward_keys;
  for (const AttentionSizes& s : {AttentionSizes{2, 1, 3, 2, {7, 70}, {chunk + 1, 3 * chunk - 5}},
                                  {1, 1, 2, 3, {5}, {9 * chunk + 3}},
                                  {1, 1, 64, 64, {5}, {3 * chunk + 3}}}) {
    CAPTURE(s.queries, s.keys);
    const AttentionCase<TestType> c(s, rng);
    const auto check_score = [&](const auto& score) {
      const AttentionGradients<TestType> one = gradients(c, score);
      CHECK(identical(gradients(c, score, &pool), one));
      const AttentionGradients<double> expected = gradients(in_double(c, s), score);
      CHECK(max_error(one.q, expected.q) < rounding<TestType>(256));
      CHECK(max_error(one.k, expected.k) < rounding<TestType>(256));
      CHECK(max_error(one.v, expected.v) < rounding<TestType>(256));
    };
    check_score(ef::Unmasked{});
    check_score(ef::Causal::after_past());
  }
}

TEST_CASE("gradients of a long sequence agree with differences of its definition", "[kernels]") {
  ef::Rng rng(7);
  const AttentionCase<double> c({1, 1, 3, 2, {70}, {ef::detail::backward_keys + 70}}, rng);
  check_gradients(c, gradients(c, ef::Unmasked{}), naive_unmasked, rng);
  check_gradients(c, gradients(c, ef::Causal::after_past()), naive_causal_after_past, rng);
}

TEMPLATE_TEST_CASE("gradients are written where they are asked for, from operands wherever they lie", "[kernels]",
                   float, double) {
  ef::Rng rng(5);
  const AttentionCase<TestType> c({2, 1, 5, 3, {70}, {67}}, rng);
  const Attended<TestType> forward = attend(c, ef::Causal{});
  const AttentionGradients<TestType> expected = gradients(c, ef::Causal{});
  using ByColumns = Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic>;
  const ByColumns q = c.q, k = c.k;
  const Matrix<TestType> v = c.v.transpose();
  Surrounded<TestType> out(forward.out), log_sum_exp(forward.log_sum_exp), d_out(c.d_out);
  Surrounded<TestType> d_q(c.q), d_k(c.k), d_v(c.v);
  ef::attention_backward<TestType>({ef::strided_view(q), ef::strided_view(k), ef::strided_view(v.transpose())},
                                   ef::Causal{}, c.options, {out.inside(), log_sum_exp.inside()}, d_out.inside(),
                                   {d_q.inside(), d_k.inside(), d_v.inside()});
  CHECK(identical<TestType>(d_q.inside(), expected.q));
  CHECK(identical<TestType>(d_k.inside(), expected.k));
  CHECK(identical<TestType>(d_v.inside(), expected.v));
  for (Surrounded<TestType>* s : {&d_q, &d_k, &d_v}) CHECK(s->rest_is_untouched());

  // Every second entry of every second row.
  const auto spread = [](const Matrix<TestType>& m) {
    Matrix<TestType> all = Matrix<TestType>::Constant(2 * m.rows(), 2 * m.cols(), 77);
    for (Index i = 0; i < m.rows(); ++i)
      for (Index j = 0; j < m.cols(); ++j) all(2 * i, 2 * j) = m(i, j);
    return all;
  };
  using Spread = Eigen::Map<const Matrix<TestType>, Eigen::Unaligned, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;
  const auto entries = [](const Matrix<TestType>& all) {
    return Spread(all.data(), all.rows() / 2, all.cols() / 2, {2 * all.cols(), 2});
  };
  const Matrix<TestType> q_all = spread(c.q), k_all = spread(c.k), v_all = spread(c.v);
  const Spread q_entries = entries(q_all), k_entries = entries(k_all), v_entries = entries(v_all);
  ef::attention_backward<TestType>(
      {ef::strided_view(q_entries), ef::strided_view(k_entries), ef::strided_view(v_entries)}, ef::Causal{}, c.options,
      {out.inside(), log_sum_exp.inside()}, d_out.inside(), {d_q.inside(), d_k.inside(), d_v.inside()});
  CHECK(identical<TestType>(d_q.inside(), expected.q));
  CHECK(identical<TestType>(d_k.inside(), expected.k));
  CHECK(identical<TestType>(d_v.inside(), expected.v));
}

TEMPLATE_TEST_CASE("gradients are the same where rows collide", "[kernels]", float, double) {
  ef::Rng rng(8);
  const AttentionCase<TestType> c({2, 2, 10, 7, {3, 70, 20}, {17, ef::detail::backward_keys + 70, 3}}, rng);
  const Index wide = 1024;
  REQUIRE(ef::detail::copies_pay<TestType>(wide, 1, 1));
  const auto check_score = [&](const auto& score) {
    const Attended<TestType> forward = attend(c, score);
    const AttentionGradients<TestType> expected = gradients(c, score);
    const auto widened = [&](const Matrix<TestType>& m) {
      Matrix<TestType> all = not_written<TestType>(m.rows(), wide);
      all.leftCols(m.cols()) = m;
      return all;
    };
    const Matrix<TestType> k = widened(c.k), v = widened(c.v);
    Matrix<TestType> d_q(c.q.rows(), c.q.cols()), d_k = not_written<TestType>(c.k.rows(), wide), d_v = d_k;
    const Index d = c.k.cols(), e = c.v.cols();
    ef::attention_backward<TestType>(
        {ef::strided_view(c.q), ef::strided_view(k.leftCols(d)), ef::strided_view(v.leftCols(e))}, score, c.options,
        {forward.out, forward.log_sum_exp}, c.d_out, {d_q, d_k.leftCols(d), d_v.leftCols(e)});
    CHECK(identical<TestType>(d_q, expected.q));
    CHECK(identical<TestType>(d_k.leftCols(d), expected.k));
    CHECK(identical<TestType>(d_v.leftCols(e), expected.v));
    CHECK(d_k.rightCols(wide - d).array().isNaN().all());
    CHECK(d_v.rightCols(wide - e).array().isNaN().all());
  };
  check_score(ef::Unmasked{});
  check_score(ef::Causal::after_past());
}

TEST_CASE("values without columns have gradients without columns", "[kernels]") {
  ef::Rng rng(6);
  const AttentionGradients<double> d = gradients(AttentionCase<double>({2, 2, 4, 0, {5}, {7}}, rng), ef::Unmasked{});
  CHECK((d.q.array() == 0).all());
  CHECK((d.k.array() == 0).all());
  CHECK(ef::shape(d.v) == ef::Shape{7, 0});
}

TEST_CASE("a backward that does not fit throws, and writes nothing", "[kernels]") {
  ef::Rng rng(7);
  const AttentionCase<float> c({2, 1, 4, 3, {5}, {7}}, rng);
  const Attended<float> forward = attend(c, ef::Unmasked{});
  Matrix<float> d_q = Matrix<float>::Constant(9, 9, 3), d_k = d_q, d_v = d_q;
  std::vector<ef::Shape> right{{5, 6}, {5, 2}, {5, 6}, {5, 8}, {7, 4}, {7, 3}};
  const auto message = [&](std::size_t which, ef::Shape wrong, const ef::AttentionOptions& options) {
    std::vector<ef::Shape> s = right;
    s[which] = wrong;
    const Matrix<float> any = Matrix<float>::Ones(9, 9);
    return message_of([&] {
      ef::attention_backward<float>({ef::strided_view(c.q), ef::strided_view(c.k), ef::strided_view(c.v)},
                                    ef::Unmasked{}, options,
                                    {any.topLeftCorner(s[0].rows, s[0].cols), any.topLeftCorner(s[1].rows, s[1].cols)},
                                    any.topLeftCorner(s[2].rows, s[2].cols),
                                    {d_q.topLeftCorner(s[3].rows, s[3].cols), d_k.topLeftCorner(s[4].rows, s[4].cols),
                                     d_v.topLeftCorner(s[5].rows, s[5].cols)});
    });
  };
  CHECK(message(0, {5, 7}, c.options) == "attention: out is [5 x 7], expected [5 x 6]");
  CHECK(message(1, {4, 2}, c.options) == "attention: log_sum_exp is [4 x 2], expected [5 x 2]");
  CHECK(message(2, {6, 6}, c.options) == "attention: d_out is [6 x 6], expected [5 x 6]");
  CHECK(message(3, {5, 4}, c.options) == "attention: d_q is [5 x 4], expected [5 x 8]");
  CHECK(message(4, {7, 8}, c.options) == "attention: d_k is [7 x 8], expected [7 x 4]");
  CHECK(message(5, {5, 3}, c.options) == "attention: d_v is [5 x 3], expected [7 x 3]");
  CHECK(message(0, {5, 6}, {.heads = 3}) == "attention: q is [5 x 8], expected a width that 3 heads divide");
  const std::vector<Index> index{0, 1, 2};
  CHECK(message(0, {5, 6}, {.heads = 2, .key_heads = 1, .key_index = index}) ==
        "attention: key_index and key_pages have no backward");
  for (const Matrix<float>* d : {&d_q, &d_k, &d_v}) CHECK((d->array() == 3).all());
  CHECK(message(0, {5, 6}, c.options) == "nothing was thrown");
}

TEST_CASE("a gradient that all heads and sequences share is the same for any number of threads", "[kernels][threads]") {
  const std::uint64_t seed = 9;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const AttentionCase<float> c({2, 2, 4, 4, {40, 3}, {1500, 700}}, rng);
  const auto gradient = [&](ef::Threads* threads) {
    float d_number = 0;
    const OneNumber score{.d_number = &d_number};
    ef::AttentionOptions options = c.options;
    options.threads = threads;
    const ef::AttentionInputs<float> in{ef::strided_view(c.q), ef::strided_view(c.k), ef::strided_view(c.v)};
    Matrix<float> out = c.d_out, log_sum_exp(c.q.rows(), 2), d_q = c.q, d_k = c.k, d_v = c.v;
    ef::attention_forward<float>(in, score, options, {out, log_sum_exp});
    ef::attention_backward<float>(in, score, options, {out, log_sum_exp}, c.d_out, {d_q, d_k, d_v});
    return d_number;
  };
  ef::ThreadPool threads(3);
  const float alone = gradient(nullptr);
  CHECK(alone != 0);
  CHECK(gradient(&threads) == alone);
}
