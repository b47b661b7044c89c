#include "eigenformer/kernels/scores/learned_score.hpp"

#include <vector>

#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/kernels/scores.hpp"
#include "kernels/attention_cases.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::ScoreParameter;
using ef::TensorView;
using namespace ef::testing;

namespace {

// A temperature, a slope for each head, a table by distance, and a scale for each key modulo 3.
struct FourParameters {
  template <class Number, class A, class B, class C, class D>
  auto operator()(const Number& s, const ef::ScorePosition& at, const A& temperature, const B& slope, const C& table,
                  const D& scale) const {
    const auto distance = at.query - at.key;
    return ef::tanh(s * temperature(0)) * scale(at.key % 3) - slope(at.head) * static_cast<float>(distance) * 0.1F +
           table(distance < -7 ? 0 : (distance > 7 ? 14 : distance + 7));
  }
};

double naive_score(const QueryAndKey& at, double s, const std::vector<Matrix<double>>& p) {
  const Index distance = at.query - at.key, place = std::clamp<Index>(distance, -7, 7) + 7;
  return std::tanh(s * p[0](0, 0)) * p[3](0, at.key % 3) - p[1](0, at.head) * static_cast<double>(distance) * 0.1F +
         p[2](0, place);
}

std::vector<Matrix<double>> random_parameters(Index heads, ef::Rng& rng) {
  return {random_matrix<double>(1, 1, rng), random_matrix<double>(1, heads, rng), random_matrix<double>(1, 15, rng),
          random_matrix<double>(1, 3, rng)};
}

}  // namespace

TEMPLATE_TEST_CASE("a score with parameters gives what its definition gives at every size", "[kernels]", float,
                   double) {
  ef::Rng rng(1);
  const std::vector<Matrix<double>> exact = random_parameters(4, rng);
  std::vector<Matrix<TestType>> p;
  for (const Matrix<double>& m : exact) p.push_back(m.cast<TestType>());
  const auto score = ef::score(FourParameters(), ScoreParameter<TestType>(p[0]), ScoreParameter<TestType>(p[1]),
                               ScoreParameter<TestType>(p[2]), ScoreParameter<TestType>(p[3]));
  for (Index n = 1; n <= 40; ++n) {
    CAPTURE(n);
    const AttentionCase<TestType> c({4, 2, 5, 3, {n, 2}, {n + 1, 3}}, rng);
    const NaiveAttention expected = c.naive([&](const QueryAndKey& at, double s) { return naive_score(at, s, exact); });
    CHECK(max_error(ef::attention(c.q, c.k, c.v, score, c.options), expected.out) < tolerance<TestType>(64));
    const NaiveAttention causal = c.naive(
        [&](const QueryAndKey& at, double s) { return at.key <= at.query ? naive_score(at, s, exact) : naive_hidden; });
    CHECK(max_error(ef::attention(c.q, c.k, c.v, ef::combine(ef::Causal{}, score), c.options), causal.out) <
          tolerance<TestType>(64));
  }
}

TEST_CASE("the gradients of a score's parameters agree with differences", "[kernels]") {
  ef::Rng rng(2);
  for (const Index n : {1, 6, 19, 40}) {
    CAPTURE(n);
    const AttentionCase<double> c({4, 2, 5, 3, {n, 2}, {n + 1, 3}}, rng);
    const std::vector<Matrix<double>> p = random_parameters(4, rng);
    std::vector<Matrix<double>> d;
    for (const Matrix<double>& m : p) d.push_back(Matrix<double>::Zero(4, m.cols()));
    const auto score_of = [](const std::vector<Matrix<double>>& values, std::vector<Matrix<double>>* gradients) {
      const auto parameter = [&](std::size_t i) {
        return ScoreParameter<double>(
            values[i], gradients == nullptr ? TensorView<double>() : TensorView<double>((*gradients)[i]));
      };
      return ef::combine(ef::Causal::after_past(),
                         ef::score(FourParameters(), parameter(0), parameter(1), parameter(2), parameter(3)));
    };
    Matrix<double> out(c.q.rows(), 12), sums(c.q.rows(), 4), d_q(c.q.rows(), c.q.cols()), d_k(c.k.rows(), c.k.cols()),
        d_v(c.v.rows(), c.v.cols());
    const auto forward = [&](const std::vector<Matrix<double>>& values, const Matrix<double>& q) {
      Matrix<double> y(c.q.rows(), 12), l(c.q.rows(), 4);
      ef::attention_forward<double>({q, c.k, c.v}, score_of(values, nullptr), c.options, {y, l});
      out = y;
      sums = l;
      return dot(y, c.d_out);
    };
    forward(p, c.q);
    ef::ThreadPool pool(3);
    ef::AttentionOptions options = c.options;
    options.threads = &pool;
    const Matrix<double> saved_out = out, saved_sums = sums;
    ef::attention_backward<double>({c.q, c.k, c.v}, score_of(p, &d), options, {saved_out, saved_sums}, c.d_out,
                                   {d_q, d_k, d_v});
    for (std::size_t i = 0; i < p.size(); ++i) {
      CAPTURE(i);
      const Matrix<double> expected = numeric_gradient(p[i], [&](const Matrix<double>& moved) {
        std::vector<Matrix<double>> values = p;
        values[i] = moved;
        return forward(values, c.q);
      });
      CHECK(max_error(Matrix<double>(d[i].colwise().sum()), expected) < gradient_tolerance);
    }
    const Matrix<double> expected_q = numeric_gradient(c.q, [&](const Matrix<double>& q) { return forward(p, q); });
    CHECK(max_error(d_q, expected_q) < gradient_tolerance);
  }
}

TEST_CASE("scores with parameters that cannot be differentiated say so", "[kernels]") {
  const Matrix<float> x = Matrix<float>::Ones(3, 4), numbers = Matrix<float>::Ones(1, 8);
  const Matrix<float> two = Matrix<float>::Zero(3, 2);
  Matrix<float> gradient = Matrix<float>::Zero(1, 8), out(3, 4), sums(3, 1), d(3, 4);
  const auto twice =
      ef::score([](auto s, const ef::ScorePosition& at, const auto& p) { return s * p(at.query) + p(at.key + 1); },
                ScoreParameter<float>(numbers, gradient));
  ef::attention_forward<float>({x, x, x}, twice, {}, {out, sums});
  CHECK(message_of([&] {
          ef::attention_backward<float>({x, x, x}, twice, {}, {out, sums}, x, {d, d, d});
        }) == "attention: a score's function reads one parameter at two places; pass it twice instead");
  CHECK(message_of([&] { ScoreParameter<float>(numbers, d); }) ==
        "ScoreParameter: the gradient is [3 x 4], expected [heads x 8]");
  const auto slope = ef::score([](auto s, const ef::ScorePosition& at, const auto& p) { return s * p(at.head); },
                               ScoreParameter<float>(numbers, gradient));
  CHECK(message_of([&] {
          ef::attention_backward<float>({x, x, x}, slope, {.heads = 2}, {out, two}, x, {d, d, d});
        }) == "attention: a score's parameter has gradients for 1 heads, expected 2");
}

TEST_CASE("an index outside of a parameter reads its first or last entry", "[kernels]") {
  ef::Rng rng(7);
  const Matrix<float> x = random_matrix<float>(9, 4, rng);
  const Matrix<float> numbers = random_matrix<float>(1, 3, rng);
  Matrix<float> gradient = Matrix<float>::Zero(1, 3), out(9, 4), sums(9, 1), d(9, 4);
  // Also called for keys after the query, which the causal mask hides.
  const auto by_distance = ef::combine(
      ef::score([](auto s, const ef::ScorePosition& at, const auto& table) { return s + table(at.query - at.key); },
                ScoreParameter<float>(numbers, gradient)),
      ef::Causal{});
  const auto expected = ef::combine(ef::score([&](auto s, const ef::ScorePosition& at) {
                                      return s + numbers(0, std::clamp(at.query - at.key, 0, 2));
                                    }),
                                    ef::Causal{});
  CHECK(max_error(ef::attention(x, x, x, by_distance), ef::attention(x, x, x, expected)) < rounding<float>(16));
  ef::attention_forward<float>({x, x, x}, by_distance, {}, {out, sums});
  ef::attention_backward<float>({x, x, x}, by_distance, {}, {out, sums}, x, {d, d, d});
  CHECK(gradient.array().isFinite().all());
}
