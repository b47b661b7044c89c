// Attention sinks, against naive loops in double.
#include <cmath>
#include <vector>

#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/kernels/attention_weights.hpp"
#include "kernels/attention_cases.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

// The weights of one query's keys: the softmax of the scores and the sink, without the sink's own.
std::vector<double> weights_beside_sink(const std::vector<double>& scores, double sink, double& log_sum_exp) {
  double sum = std::exp(sink);
  for (const double s : scores) sum += std::exp(s);
  log_sum_exp = std::log(sum);
  std::vector<double> weights;
  for (const double s : scores) weights.push_back(sum == 0 ? 0 : std::exp(s) / sum);
  return weights;
}

// The result and the log-sum-exps of a case with sinks, under a causal mask.
struct NaiveSinks {
  Matrix<double> out, sums, weights;  // weights: of head 0

  NaiveSinks(const AttentionCase<double>& c, const std::vector<double>& sinks) {
    const Index heads = c.options.heads, group = c.options.key_heads == 0 ? 1 : heads / c.options.key_heads;
    const Index d = c.q.cols() / heads, e = c.v.cols() * group / heads;
    out = Matrix<double>::Zero(c.q.rows(), heads * e);
    sums = Matrix<double>::Zero(c.q.rows(), heads);
    weights = Matrix<double>::Zero(c.q.rows(), c.k.rows());
    for (Index s = 0; s < c.options.query_rows.sequences(); ++s)
      for (Index h = 0; h < heads; ++h)
        for (Index i = 0; i < c.options.query_rows.length(s); ++i) {
          const Index row = c.options.query_rows.begin(s) + i, first = c.options.key_rows.begin(s);
          std::vector<double> scores;
          for (Index j = 0; j < c.options.key_rows.length(s) && j <= i; ++j)
            scores.push_back(c.q.block(row, h * d, 1, d).cwiseProduct(c.k.block(first + j, h / group * d, 1, d)).sum() /
                             std::sqrt(static_cast<double>(d)));
          const auto w = weights_beside_sink(scores, sinks[static_cast<std::size_t>(h)], sums(row, h));
          for (std::size_t j = 0; j < w.size(); ++j) {
            const auto key = static_cast<Index>(j);
            out.block(row, h * e, 1, e) += w[j] * c.v.block(first + key, h / group * e, 1, e);
            if (h == 0) weights(row, key) = w[j];
          }
        }
  }
};

AttentionSizes sizes_of(Index n) {
  return {4, 2, 5, 3, {n, 1, 3}, {n + 2, 4, 2}};
}

}  // namespace

TEMPLATE_TEST_CASE("sinks take a share of the weights at every size", "[kernels]", float, double) {
  ef::Rng rng(1);
  const std::vector<double> sinks{0.5, -2, 3, -std::numeric_limits<double>::infinity()};
  for (Index n = 1; n <= 40; ++n) {
    CAPTURE(n);
    AttentionCase<double> exact(sizes_of(n), rng);
    AttentionCase<TestType> c(sizes_of(n), rng);
    c.q = exact.q.template cast<TestType>();
    c.k = exact.k.template cast<TestType>();
    c.v = exact.v.template cast<TestType>();
    const NaiveSinks naive(exact, sinks);
    ef::AttentionOptions options = c.options;
    options.sinks = sinks;
    Matrix<TestType> out(c.q.rows(), 12), sums(c.q.rows(), 4);
    ef::attention_forward<TestType>({c.q, c.k, c.v}, ef::Causal{}, options, {out, sums});
    CHECK(max_error(out, naive.out) < tolerance<TestType>(32));
    CHECK(max_error(sums, naive.sums) < tolerance<TestType>(32));
    CHECK(identical<TestType>(ef::attention(c.q, c.k, c.v, ef::Causal{}, options), out));
    const Matrix<TestType> weights = ef::attention_weights(c.q, c.k, ef::Causal{}, options).matrix(0);
    CHECK(max_error(weights, naive.weights.leftCols(weights.cols())) < tolerance<TestType>(32));
  }
}

TEST_CASE("sinks of 0 are PyTorch's add_zero_attn: one more key and value of zeros", "[kernels]") {
  ef::Rng rng(5);
  for (const Index n : {1, 8, 33}) {
    CAPTURE(n);
    const AttentionCase<double> c({2, 2, 5, 3, {n}, {n}}, rng);
    Matrix<double> k = Matrix<double>::Zero(n + 1, c.k.cols()), v = Matrix<double>::Zero(n + 1, c.v.cols());
    k.topRows(n) = c.k;
    v.topRows(n) = c.v;
    const std::vector<double> sinks{0, 0};
    ef::AttentionOptions options = c.options;
    options.sinks = sinks;
    const Matrix<double> expected = ef::attention(c.q, k, v, ef::Unmasked{}, c.options);
    CHECK(max_error(ef::attention(c.q, c.k, c.v, ef::Unmasked{}, options), expected) < rounding<double>(32));
  }
}

TEST_CASE("the gradients of attention with sinks agree with differences", "[kernels]") {
  ef::Rng rng(2);
  for (const Index n : {1, 7, 40}) {
    CAPTURE(n);
    const AttentionCase<double> c(sizes_of(n), rng);
    const Matrix<double> d_out = c.d_out, d_sums = random_matrix<double>(c.q.rows(), 4, rng);
    const Matrix<double> sinks = random_matrix<double>(1, 4, rng);
    const auto forward = [&](const AttentionCase<double>& x, const Matrix<double>& s, Matrix<double>& out,
                             Matrix<double>& sums) {
      ef::AttentionOptions options = x.options;
      options.sinks = {s.data(), 4};
      ef::attention_forward<double>({x.q, x.k, x.v}, ef::Causal{}, options, {out, sums});
    };
    const auto loss = [&](const AttentionCase<double>& x, const Matrix<double>& s) {
      Matrix<double> out(x.q.rows(), 12), sums(x.q.rows(), 4);
      forward(x, s, out, sums);
      return dot(out, d_out) + dot(sums, d_sums);
    };
    Matrix<double> out(c.q.rows(), 12), sums(c.q.rows(), 4), d_q(c.q.rows(), c.q.cols()), d_k(c.k.rows(), c.k.cols()),
        d_v(c.v.rows(), c.v.cols());
    forward(c, sinks, out, sums);
    std::vector<double> d_sinks(4, 0.25);  // what is there is added to
    ef::AttentionOptions options = c.options;
    options.sinks = {sinks.data(), 4};
    ef::attention_backward<double>({c.q, c.k, c.v}, ef::Causal{}, options, {out, sums},
                                   ef::AttentionOutputGradients<double>{d_out, d_sums}, {d_q, d_k, d_v, d_sinks});
    const auto with = [&](Matrix<double> AttentionCase<double>::*member) {
      return numeric_gradient(c.*member, [&](const Matrix<double>& moved) {
        AttentionCase<double> x = c;
        x.*member = moved;
        return loss(x, sinks);
      });
    };
    CHECK(max_error(d_q, with(&AttentionCase<double>::q)) < gradient_tolerance);
    CHECK(max_error(d_k, with(&AttentionCase<double>::k)) < gradient_tolerance);
    CHECK(max_error(d_v, with(&AttentionCase<double>::v)) < gradient_tolerance);
    const Matrix<double> expected = numeric_gradient(sinks, [&](const Matrix<double>& s) { return loss(c, s); });
    for (Index h = 0; h < 4; ++h)
      CHECK(std::abs(d_sinks[static_cast<std::size_t>(h)] - 0.25 - expected(0, h)) < gradient_tolerance * 10);
  }
}

TEST_CASE("a query that sees nothing gives zeros beside a sink, and gradients of zero", "[kernels]") {
  const Matrix<float> x = Matrix<float>::Ones(2, 4);
  const std::vector<double> sinks{1.5};
  std::vector<double> d_sinks{0};
  const auto nothing = ef::mask([](const ef::ScorePosition& at) { return at.query > 5; });
  const ef::AttentionOptions options{.sinks = sinks};
  Matrix<float> out(2, 4), sums(2, 1), d_q(2, 4), d_k(2, 4), d_v(2, 4);
  ef::attention_forward<float>({x, x, x}, nothing, options, {out, sums});
  CHECK(out.isZero(0));
  CHECK((sums.array() == 1.5F).all());
  ef::attention_backward<float>({x, x, x}, nothing, options, {out, sums}, ef::AttentionOutputGradients<float>{x, {}},
                                {d_q, d_k, d_v, d_sinks});
  CHECK(d_q.isZero(0));
  CHECK(d_k.isZero(0));
  CHECK(d_v.isZero(0));
  CHECK(d_sinks[0] == 0);
  CHECK(message_of([&] { ef::attention(x, x, x, {.heads = 2, .sinks = sinks}); }) ==
        "attention: 1 sinks, expected one for each of 2 heads");
}

TEST_CASE("sinks that are not finite, and gradients that do not fit", "[kernels]") {
  const Matrix<float> x = Matrix<float>::Ones(2, 4);
  Matrix<float> out(2, 4), sums(2, 1), d_q = Matrix<float>::Constant(2, 4, 7), d_k(2, 4), d_v(2, 4);
  const auto run = [&](double sink, std::vector<double>& d_sinks) {
    const std::vector<double> sinks{sink};
    const ef::AttentionOptions options{.sinks = sinks};
    ef::attention_forward<float>({x, x, x}, ef::Unmasked{}, options, {out, sums});
    ef::attention_backward<float>({x, x, x}, ef::Unmasked{}, options, {out, sums},
                                  ef::AttentionOutputGradients<float>{x, {}}, {d_q, d_k, d_v, d_sinks});
  };
  std::vector<double> one(1), two(2);
  CHECK(message_of([&] { run(0, two); }) == "attention: 2 gradients of sinks, expected 1");
  CHECK((d_q.array() == 7).all());                    // nothing was written
  run(std::numeric_limits<double>::infinity(), one);  // takes all weight
  CHECK(out.isZero(0));
  CHECK(one[0] == 0);
  run(std::numeric_limits<double>::quiet_NaN(), one);
  CHECK(out.array().isNaN().all());
  CHECK(sums.array().isNaN().all());
}
