#include "eigenformer/kernels/weights_by_distance.hpp"

#include "eigenformer/kernels/attention_weights.hpp"
#include "eigenformer/kernels/scores/combine.hpp"
#include "kernels/attention_cases.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

// The definition, from naive attention's weights.
Matrix<double> naive_by_distance(const Matrix<double>& q, const Matrix<double>& k, const NaiveScore& score,
                                 const ef::AttentionOptions& options, Index far) {
  const NaiveAttention attended = naive_attention(q, k, k, score, options);
  Matrix<double> w = Matrix<double>::Zero(q.rows(), options.heads * (2 * far + 1));
  const ef::RowOffsets queries = options.query_rows.for_rows(q.rows(), "", ""),
                       keys = options.key_rows.for_rows(k.rows(), "", "");
  for (Index h = 0; h < options.heads; ++h)
    for (Index s = 0; s < queries.sequences(); ++s)
      for (Index i = 0; i < queries.length(s); ++i)
        for (Index j = 0; j < keys.length(s); ++j) {
          const Index row = queries.begin(s) + i, distance = j - (i + keys.length(s) - queries.length(s));
          const double dropped =
              options.dropout == 0 ? 1 : naive_dropout(options, {h, row, i, j, queries.length(s), keys.length(s)});
          w(row, h * (2 * far + 1) + far + std::clamp(distance, -far, far)) +=
              attended.weights[static_cast<std::size_t>(h)](row, j) * dropped;
        }
  return w;
}

// A cap, a bias with a gradient of its own, and a mask that leaves one query nothing to see.
template <class Scalar>
struct Scores {
  ef::Tensor<Scalar> terms, d_terms;
  Matrix<bool> mask;

  Scores(const AttentionCase<Scalar>& c, ef::Rng& rng)
      : terms({c.q.rows(), c.options.heads, 5}),
        d_terms(terms.shape()),
        mask(Matrix<bool>::NullaryExpr(c.q.rows(), c.k.rows(),
                                       [](Index i, Index j) { return i != 1 && (3 * i + 5 * j) % 7 > 2; })) {
    for (Index i = 0; i < terms.size(); ++i) terms.data()[i] = static_cast<Scalar>(rng.normal());
  }
  auto score() {
    return ef::combine(ef::SoftCap(2),
                       ef::RelativeKeys<Scalar>(ef::TensorView<const Scalar>(terms.view()), d_terms.view()),
                       ef::DenseMask(mask));
  }
  NaiveScore naive() const {
    return [this](const QueryAndKey& at, double s) {
      const Index distance = std::clamp<Index>(at.key - at.query, -2, 2);
      return mask(at.row, at.key) ? 2 * std::tanh(s / 2) + static_cast<double>(terms(at.row, at.head, 2 + distance))
                                  : naive_hidden;
    };
  }
};

std::vector<AttentionSizes> some_sizes() {
  return {{1, 1, 3, 3, {5}, {5}},
          {4, 2, 5, 5, {5, 0, 17, 1}, {5, 0, 17, 1}},
          {2, 1, 8, 8, {3, 1, 0}, {9, 70, 2}},
          {3, 3, 1, 1, {70, 2}, {70, 0}}};
}

}  // namespace

TEMPLATE_TEST_CASE("weights are summed by clipped distance, for any number of threads", "[kernels][threads]", float,
                   double) {
  const std::uint64_t seed = 8;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  for (const AttentionSizes& s : some_sizes())
    for (const Index far : {1, 3, 90})
      for (const double dropout : {0.0, 0.3}) {
        CAPTURE(s.heads, s.queries, far, dropout);
        AttentionCase<TestType> c(s, rng);
        Scores<TestType> scores(c, rng);
        c.options.dropout = dropout;
        c.options.dropout_key = ef::Rng(3).split();
        Matrix<TestType> w = not_written<TestType>(c.q.rows(), s.heads * (2 * far + 1)), threaded = w;
        ef::weights_by_distance_forward<TestType>(c.q, c.k, scores.score(), c.options, w);
        CHECK(max_error(w, naive_by_distance(c.q.template cast<double>(), c.k.template cast<double>(), scores.naive(),
                                             c.options, far)) < rounding<TestType>(64));
        c.options.threads = &pool;
        ef::weights_by_distance_forward<TestType>(c.q, c.k, scores.score(), c.options, threaded);
        CHECK(identical<TestType>(w, threaded));
      }
}

TEST_CASE("keys by index are those in order", "[kernels]") {
  ef::Rng rng(9);
  const auto q = random_matrix<double>(2, 6, rng), k = random_matrix<double>(7, 6, rng);
  const std::vector<Index> index{4, 1, 1, 6, 0};
  Matrix<double> picked(5, 6), w(2, 2 * 5), expected(2, 2 * 5);
  for (Index j = 0; j < 5; ++j) picked.row(j) = k.row(index[static_cast<std::size_t>(j)]);
  const ef::RowOffsets queries{0, 1, 2}, keys{0, 2, 5};
  ef::weights_by_distance_forward<double>(q, k, ef::Unmasked{},
                                          {.heads = 2, .query_rows = queries, .key_rows = keys, .key_index = index}, w);
  ef::weights_by_distance_forward<double>(q, picked, ef::Unmasked{},
                                          {.heads = 2, .query_rows = queries, .key_rows = keys}, expected);
  CHECK(w == expected);
}

TEST_CASE("gradients of weights by distance agree with differences of their definition", "[kernels][threads]") {
  const std::uint64_t seed = 10;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  for (const AttentionSizes& s : some_sizes())
    for (const double dropout : {0.0, 0.3}) {
      CAPTURE(s.heads, s.queries, dropout);
      AttentionCase<double> c(s, rng);
      Scores<double> scores(c, rng);
      c.options.dropout = dropout;
      c.options.dropout_key = ef::Rng(4).split();
      const auto d_w = random_matrix<double>(c.q.rows(), s.heads * 7, rng);
      Matrix<double> d_q = not_written<double>(c.q.rows(), c.q.cols()),
                     d_k = not_written<double>(c.k.rows(), c.k.cols());
      const auto backward = [&](ef::Threads* threads) {
        c.options.threads = threads;
        std::fill_n(scores.d_terms.data(), scores.d_terms.size(), 0.0);
        ef::weights_by_distance_backward<double>(c.q, c.k, scores.score(), c.options, d_w, {d_q, d_k});
        return std::vector<Matrix<double>>{d_q, d_k,
                                           Eigen::Map<Matrix<double>>(scores.d_terms.data(), 1, scores.d_terms.size())};
      };
      const std::vector<Matrix<double>> d = backward(nullptr);
      CHECK(backward(&pool) == d);
      const auto loss = [&](const Matrix<double>& q, const Matrix<double>& k) {
        return dot(naive_by_distance(q, k, scores.naive(), c.options, 3), d_w);
      };
      CHECK(gradient_error(
                c.q, d[0], [&](const auto& x) { return loss(x, c.k); }, rng) < gradient_tolerance);
      CHECK(gradient_error(
                c.k, d[1], [&](const auto& x) { return loss(c.q, x); }, rng) < gradient_tolerance);
      const Matrix<double> terms = Eigen::Map<Matrix<double>>(scores.terms.data(), 1, scores.terms.size());
      CHECK(gradient_error(
                terms, d[2],
                [&](const Matrix<double>& x) {
                  std::copy_n(x.data(), x.size(), scores.terms.data());
                  return loss(c.q, c.k);
                },
                rng) < gradient_tolerance);
    }
}

TEST_CASE("what is hidden reaches no weight and no gradient, whatever it is", "[kernels]") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  ef::Rng rng(11);
  const auto q = random_matrix<double>(4, 3, rng);
  for (const double bad : {inf, -inf, nan}) {
    Matrix<double> k = random_matrix<double>(4, 3, rng), w(4, 5), d_q(4, 3), d_k(4, 3);
    k.row(3).setConstant(bad);  // seen by the last query alone
    ef::weights_by_distance_forward<double>(q, k, ef::Causal{}, {}, w);
    CHECK(w.topRows(3).allFinite());
    Matrix<double> d_w = random_matrix<double>(4, 5, rng);
    ef::weights_by_distance_backward<double>(q, k, ef::Causal{}, {}, d_w, {d_q, d_k});
    CHECK(d_q.topRows(3).allFinite());
  }
}

TEST_CASE("a hidden score without a derivative reaches no gradient of weights by distance", "[kernels]") {
  const double large = 1e200;
  ef::Rng rng(13);
  const Matrix<double> d_w = random_matrix<double>(4, 5, rng);
  Matrix<double> d_q(4, 2), d_k(4, 2);
  // Query 0 does not see key 3. Their score is infinity - infinity, where the cap has no derivative.
  Matrix<double> q = random_matrix<double>(4, 2, rng), k = random_matrix<double>(4, 2, rng);
  q.row(0) << large, large;
  k.row(3) << large, -large;
  ef::weights_by_distance_backward<double>(q, k, ef::combine(ef::SoftCap(2), ef::Causal{}), {}, d_w, {d_q, d_k});
  CHECK(d_q.allFinite());
  CHECK(d_k.allFinite());
}

TEST_CASE("sinks take their share of weights by distance", "[kernels]") {
  ef::Rng rng(8);
  const ef::Matrix<double> q = ef::testing::random_matrix<double>(5, 6, rng),
                           k = ef::testing::random_matrix<double>(5, 6, rng);
  const std::vector<double> sinks{3, -1};
  const ef::AttentionOptions options{.heads = 2, .sinks = sinks};
  ef::Matrix<double> w(5, 6);
  ef::weights_by_distance_forward<double>(q, k, ef::Causal{}, options, w);
  const ef::Tensor<double> weights = ef::attention_weights(q, k, ef::Causal{}, options);
  for (Index h = 0; h < 2; ++h)
    for (Index i = 0; i < 5; ++i) CHECK(std::abs(w.row(i).segment(3 * h, 3).sum() - weights.row(h, i).sum()) < 1e-14);
}

TEST_CASE("gradients of sinks through weights by distance agree with differences", "[kernels][threads]") {
  const std::uint64_t seed = 12;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  for (const AttentionSizes& s : some_sizes()) {
    CAPTURE(s.heads, s.queries);
    AttentionCase<double> c(s, rng);
    c.options.dropout = 0.3;
    c.options.dropout_key = ef::Rng(4).split();
    const auto d_w = random_matrix<double>(c.q.rows(), s.heads * 7, rng);
    const Matrix<double> sinks = random_matrix<double>(1, s.heads, rng);
    const auto loss = [&](const Matrix<double>& given) {
      ef::AttentionOptions options = c.options;
      options.sinks = std::span<const double>(given.data(), static_cast<std::size_t>(given.size()));
      Matrix<double> w(c.q.rows(), s.heads * 7);
      ef::weights_by_distance_forward<double>(c.q, c.k, ef::Causal{}, options, w);
      return dot(w, d_w);
    };
    const auto backward = [&](ef::Threads* threads) {
      Matrix<double> d_q(c.q.rows(), c.q.cols()), d_k(c.k.rows(), c.k.cols());
      Matrix<double> d_sinks = Matrix<double>::Constant(1, s.heads, 5);  // gradients are added
      c.options.threads = threads;
      c.options.sinks = std::span<const double>(sinks.data(), static_cast<std::size_t>(sinks.size()));
      ef::weights_by_distance_backward<double>(
          c.q, c.k, ef::Causal{}, c.options, d_w,
          {d_q, d_k, std::span<double>(d_sinks.data(), static_cast<std::size_t>(d_sinks.size()))});
      return d_sinks;
    };
    const Matrix<double> d_sinks = backward(nullptr);
    CHECK(backward(&pool) == d_sinks);
    CHECK(max_error(Matrix<double>(d_sinks.array() - 5), numeric_gradient(sinks, loss)) < gradient_tolerance);
  }
}

TEST_CASE("weights by distance that do not fit are refused", "[kernels]") {
  const Matrix<float> q = Matrix<float>::Zero(3, 4);
  Matrix<float> w(3, 6), few(2, 10), d(3, 4), good(3, 10);
  CHECK(message_of([&] { ef::weights_by_distance_forward<float>(q, q, ef::Unmasked{}, {.heads = 2}, w); }) ==
        "nothing was thrown");
  Matrix<float> even(3, 8);
  CHECK(message_of([&] { ef::weights_by_distance_forward<float>(q, q, ef::Unmasked{}, {.heads = 2}, even); }) ==
        "weights_by_distance: w is [3 x 8], expected 3 rows and 2 * (2n + 1) columns, for an n of 1 or more");
  CHECK_THROWS_AS(ef::weights_by_distance_forward<float>(q, q, ef::Unmasked{}, {.heads = 2}, few), ef::Error);
  Matrix<float> wide(3, 12);
  CHECK(message_of([&] {
          ef::weights_by_distance_forward<float>(q, q, ef::Unmasked{}, {.heads = 2}, wide.leftCols(10));
        }) == "weights_by_distance: w is a block, expected a matrix without gaps between its rows");
  const std::vector<Index> index{0, 1, 2};
  CHECK(message_of([&] {
          ef::weights_by_distance_backward<float>(q, q, ef::Unmasked{}, {.heads = 2, .key_index = index}, good, {d, d});
        }) == "weights_by_distance: key_index and key_pages have no backward");
  std::vector<double> d_sinks(3);
  CHECK(message_of([&] {
          ef::weights_by_distance_backward<float>(q, q, ef::Unmasked{}, {.heads = 2}, good, {d, d, d_sinks});
        }) == "weights_by_distance: 3 gradients of sinks, expected 0");
}
