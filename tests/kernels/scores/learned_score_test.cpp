#include "eigenformer/kernels/scores/learned_score.hpp"

#include <vector>

#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/kernels/scores.hpp"
#include "kernels/attention_cases.hpp"
#include "kernels/scores/score_checks.hpp"
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

TEST_CASE("the gradients of a score's parameters agree with differences", "[kernels][threads]") {
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

TEMPLATE_TEST_CASE("parameters are read in any order, with any strides", "[kernels]", float, double) {
  // What each of four parameters of 11 numbers is read at: a constant, rising and falling with the query, and no order.
  const auto entry = [](int parameter, Index query, Index key) -> Index {
    if (parameter == 0) return key % 3;
    if (parameter == 1) return std::clamp<Index>(query - key + 5, 0, 10);
    if (parameter == 2) return std::clamp<Index>(key - query + 5, 0, 10);
    return (query * query + 3 * key) % 11;
  };
  const auto function = [](auto s, const ef::ScorePosition& at, const auto& p0, const auto& p1, const auto& p2,
                           const auto& p3) {
    const auto product = s * p0(at.key % 3) + p1(at.query - at.key + 5) * p2[at.key - at.query + 5];
    using Number = decltype(p3(0));
    return product + (at.key % 2 == 1 ? p3((at.query * at.query + 3 * at.key) % 11) : Number(0));
  };
  ef::Rng rng(3);
  const Matrix<double> exact = random_matrix<double>(4, 11, rng);
  for (const Index stride : {1, 2}) {
    // Columns of a matrix with columns between them.
    Matrix<TestType> values = Matrix<TestType>::Constant(4, 11 * stride, TestType(1e30)), gradients = values;
    gradients.setConstant(TestType(0.5));
    for (Index p = 0; p < 4; ++p)
      for (Index i = 0; i < 11; ++i) values(p, i * stride) = static_cast<TestType>(exact(p, i));
    const auto parameter = [&](Index p) {
      return ScoreParameter<TestType>(TensorView<const TestType>(&values(p, 0), {11}, {stride}),
                                      TensorView<TestType>(&gradients(p, 0), {1, 11}, {11 * stride, stride}));
    };
    const auto score = ef::score(function, parameter(0), parameter(1), parameter(2), parameter(3));
    const Matrix<TestType> before = gradients;
    Matrix<double> expected = Matrix<double>::Constant(4, 11, 0.5);
    for (const Index n : {1, 3, 8, 16, 33, 40}) {
      CAPTURE(stride, n);
      ef::ScoreTile tile = sequence(n, n + 1, 0);
      tile.head = 0;
      tile.query_end = n;
      tile.key_end = n + 1;
      const Matrix<double> s = random_matrix<double>(n, n + 1, rng), d = random_matrix<double>(n, n + 1, rng);
      ByKeys<TestType> scores = s.cast<TestType>(), saved(n, n + 1), d_scores = d.cast<TestType>();
      score.apply(tile, block_of(scores), block_of(saved));
      score.apply_backward(tile, block_of(saved), block_of(d_scores));
      Matrix<double> expected_scores = s, expected_d = d;
      for (Index query = 0; query < n; ++query)
        for (Index key = 0; key <= n; ++key) {
          const auto p = [&](int i) { return exact(i, entry(i, query, key)); };
          expected_scores(query, key) = s(query, key) * p(0) + p(1) * p(2) + (key % 2 == 1 ? p(3) : 0);
          expected_d(query, key) = d(query, key) * p(0);
          expected(0, entry(0, query, key)) += d(query, key) * s(query, key);
          expected(1, entry(1, query, key)) += d(query, key) * p(2);
          expected(2, entry(2, query, key)) += d(query, key) * p(1);
          if (key % 2 == 1) expected(3, entry(3, query, key)) += d(query, key);
        }
      CHECK(max_error(scores, expected_scores) < tolerance<TestType>(8));
      CHECK(max_error(d_scores, expected_d) < tolerance<TestType>(8));
      for (Index p = 0; p < 4; ++p)
        for (Index i = 0; i < 11; ++i)
          CHECK(std::abs(static_cast<double>(gradients(p, i * stride)) - expected(p, i)) <
                tolerance<TestType>(static_cast<double>(4 * n * n)));
    }
    if (stride == 2)
      for (Index p = 0; p < 4; ++p)
        for (Index i = 0; i < 11; ++i) CHECK(gradients(p, 2 * i + 1) == before(p, 2 * i + 1));
  }
}

TEMPLATE_TEST_CASE("a score that reads no entry follows scores that read entries in order", "[kernels][threads]", float,
                   double) {
  const auto function = [](auto s, const ef::ScorePosition& at, const auto& table) {
    using Sum = decltype(s + table(0));
    return at.key >= at.query ? Sum(s + table(at.key - at.query)) : Sum(s);
  };
  ef::Rng rng(8);
  ef::ThreadPool pool(3);
  constexpr Index n = 70, heads = 3, before = 4;
  const AttentionCase<TestType> c({heads, heads, 5, 3, {n}, {n}}, rng);
  const Matrix<TestType> table = random_matrix<TestType>(1, n, rng);
  const NaiveAttention attended = c.naive([&](const QueryAndKey& at, double s) {
    return at.key >= at.query ? s + static_cast<double>(table(0, at.key - at.query)) : s;
  });
  Matrix<double> expected = Matrix<double>::Zero(heads, n);
  for (Index h = 0; h < heads; ++h) {
    const Matrix<double>& weights = attended.weights[static_cast<std::size_t>(h)];
    const Matrix<double> d_weights = c.d_out.middleCols(3 * h, 3).template cast<double>() *
                                     c.v.middleCols(3 * h, 3).template cast<double>().transpose();
    for (Index i = 0; i < n; ++i)
      for (Index j = i; j < n; ++j)
        expected(h, j - i) += weights(i, j) * (d_weights(i, j) - weights.row(i).dot(d_weights.row(i)));
  }
  for (ef::Threads* const threads : {static_cast<ef::Threads*>(nullptr), static_cast<ef::Threads*>(&pool)}) {
    // Adding 0 to an entry of -0 would make it 0.
    Matrix<TestType> gradients = Matrix<TestType>::Constant(heads, before + n, -TestType(0));
    const auto score = ef::score(
        function, ScoreParameter<TestType>(TensorView<const TestType>(table.data(), {n}),
                                           TensorView<TestType>(&gradients(0, before), {heads, n}, {before + n, 1})));
    ef::AttentionOptions options = c.options;
    options.threads = threads;
    Matrix<TestType> out(n, heads * 3), sums(n, heads), d_q(n, heads * 5), d_k = d_q, d_v = out;
    ef::attention_forward<TestType>({c.q, c.k, c.v}, score, options, {out, sums});
    CHECK(max_error(out, attended.out) < tolerance<TestType>(64));
    ef::attention_backward<TestType>({c.q, c.k, c.v}, score, options, {out, sums}, c.d_out, {d_q, d_k, d_v});
    CHECK(max_error(gradients.rightCols(n), expected) < tolerance<TestType>(256));
    for (Index h = 0; h < heads; ++h)
      for (Index i = 0; i < before; ++i) CHECK(std::signbit(gradients(h, i)));
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
  Matrix<float> three = Matrix<float>::Zero(3, 8);
  const auto more = ef::score([](auto s, const ef::ScorePosition& at, const auto& p) { return s * p(at.head); },
                              ScoreParameter<float>(numbers, three));
  CHECK(message_of([&] {
          ef::attention_backward<float>({x, x, x}, more, {.heads = 2}, {out, two}, x, {d, d, d});
        }) == "attention: a score's parameter has gradients for 3 heads, expected 2");
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
