// What a score hides by minus infinity: as hidden as behind a mask, whatever stands there, forward and backward.
#include <functional>

#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/kernels/attention_weights.hpp"
#include "eigenformer/kernels/weights_by_distance.hpp"
#include "kernels/attention_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

template <class Scalar>
constexpr Scalar inf = std::numeric_limits<Scalar>::infinity();

/// Every third key is hidden from all queries, every fourth query from all keys, and some pairs by chance.
template <class Scalar>
struct Hidden {
  AttentionCase<Scalar> clean;
  Matrix<Scalar> bias, d_bias;  // [queries x keys]

  Hidden(const AttentionSizes& sizes, ef::Rng& rng) : clean(sizes, rng) {
    bias = random_matrix<Scalar>(clean.q.rows(), clean.k.rows(), rng);
    bias = bias.unaryExpr([&](Scalar b) { return rng.randint(5) == 0 ? -inf<Scalar> : b; }).eval();
    for (Index j = 1; j < bias.cols(); j += 3) bias.col(j).setConstant(-inf<Scalar>);
    for (Index i = 3; i < bias.rows(); i += 4) bias.row(i).setConstant(-inf<Scalar>);
    d_bias = Matrix<Scalar>::Zero(bias.rows(), bias.cols());
  }
  ef::DenseBias<Scalar> score() {
    return ef::DenseBias<Scalar>(ef::strided_view(bias),
                                 ef::TensorView<Scalar>(d_bias.data(), {d_bias.rows(), d_bias.cols()}));
  }
  AttentionCase<Scalar> dirty(Scalar bad) const {
    AttentionCase<Scalar> c = clean;
    for (Index j = 1; j < bias.cols(); j += 3) {
      c.k.row(j).setConstant(bad);
      c.v.row(j).setConstant(bad);
    }
    for (Index i = 3; i < bias.rows(); i += 4) {
      c.q.row(i).setConstant(bad);
      c.d_out.row(i).setConstant(bad);
    }
    return c;
  }
};

template <class Scalar>
struct All {
  Matrix<Scalar> out, log_sum_exp, d_q, d_k, d_v;
  ef::Tensor<Scalar> weights;
};
template <class Scalar, class S>
All<Scalar> attend_with(const AttentionCase<Scalar>& c, const S& score) {
  All<Scalar> all{c.d_out, Matrix<Scalar>(c.q.rows(), c.options.heads), c.q, c.k, c.v, {}};
  const auto q = ef::strided_view(c.q), k = ef::strided_view(c.k), v = ef::strided_view(c.v);
  ef::attention_forward<Scalar>({q, k, v}, score, c.options, {all.out, all.log_sum_exp});
  ef::attention_backward<Scalar>({q, k, v}, score, c.options, {all.out, all.log_sum_exp}, c.d_out,
                                 {all.d_q, all.d_k, all.d_v});
  all.weights = ef::attention_weights(c.q, c.k, score, c.options);
  return all;
}

/// Attention with a score of any type, so that the checks below are compiled once for all scores.
template <class Scalar>
using Attend = std::function<All<Scalar>(const AttentionCase<Scalar>&)>;
template <class Scalar, class S>
Attend<Scalar> attend_with(const S& score) {
  return [score](const AttentionCase<Scalar>& c) { return attend_with(c, score); };
}

/// What is dirty must be hidden by the score of `attend`.
template <class Scalar>
void check_hidden(Hidden<Scalar>& hidden, const Attend<Scalar>& attend, const char* name) {
  hidden.d_bias.setZero();
  const All<Scalar> expected = attend(hidden.clean);
  const Matrix<Scalar> expected_d_bias = hidden.d_bias;
  CHECK(expected.d_q.allFinite());
  for (const Scalar bad : bad_numbers<Scalar>()) {
    CAPTURE(name, bad);
    hidden.d_bias.setZero();
    const All<Scalar> given = attend(hidden.dirty(bad));
    CHECK(max_error(given.out, expected.out) < rounding<Scalar>(64));
    CHECK(max_error(given.log_sum_exp, expected.log_sum_exp) < rounding<Scalar>(64));
    CHECK(max_error(given.d_q, expected.d_q) < rounding<Scalar>(256));
    CHECK(max_error(given.d_k, expected.d_k) < rounding<Scalar>(256));
    CHECK(max_error(given.d_v, expected.d_v) < rounding<Scalar>(256));
    CHECK(max_error(hidden.d_bias, expected_d_bias) < rounding<Scalar>(256));
    for (Index h = 0; h < hidden.clean.options.heads; ++h)
      CHECK(max_error(given.weights.matrix(h), expected.weights.matrix(h)) < rounding<Scalar>(64));
    for (Index j = 1; j < hidden.bias.cols(); j += 3) {
      CHECK(given.d_k.row(j).isZero(0));
      CHECK(given.d_v.row(j).isZero(0));
    }
    for (Index i = 3; i < hidden.bias.rows(); i += 4) {
      CHECK(given.out.row(i).isZero(0));
      CHECK(given.d_q.row(i).isZero(0));
    }
  }
}

/// One row of queries, a few, heads side by side, and several blocks over several tiles.
std::vector<AttentionSizes> sizes_of_every_path() {
  return {{1, 1, 5, 3, {1}, {5}},  {4, 2, 8, 8, {1}, {70}},   {2, 1, 5, 3, {4}, {9}},
          {4, 1, 5, 3, {5}, {40}}, {1, 1, 5, 3, {70}, {140}}, {2, 1, 16, 16, {60}, {300}}};
}

}  // namespace

TEMPLATE_TEST_CASE("minus infinity of a dense bias hides what is undefined", "[kernels]", float, double) {
  const Matrix<TestType> q = Matrix<TestType>::Ones(1, 1);
  Matrix<TestType> k = Matrix<TestType>::Ones(2, 1), v = Matrix<TestType>::Constant(2, 1, 5), bias(1, 2);
  k(1, 0) = std::numeric_limits<TestType>::quiet_NaN();
  bias << 0, -inf<TestType>;
  CHECK(ef::attention(q, k, v, ef::DenseBias<TestType>(ef::strided_view(bias)))(0, 0) == 5);
  CHECK(ef::attention_scores(q, k, ef::DenseBias<TestType>(ef::strided_view(bias))).matrix(0) ==
        (Matrix<TestType>(1, 2) << 1, -inf<TestType>).finished());
}

TEMPLATE_TEST_CASE("a bias of minus infinity hides in every path and combination", "[kernels]", float, double) {
  ef::Rng rng(21);
  for (const AttentionSizes& sizes : sizes_of_every_path()) {
    CAPTURE(sizes.heads, sizes.key_heads, sizes.queries[0], sizes.keys[0]);
    Hidden<TestType> hidden(sizes, rng);
    const auto check = [&](const char* name, const auto& score) {
      check_hidden(hidden, attend_with<TestType>(score), name);
    };
    check("dense bias", hidden.score());
    check("capped before", ef::combine(ef::SoftCap(3), hidden.score()));
    check("others after", ef::combine(hidden.score(), ef::Alibi(sizes.heads), ef::Causal::after_past()));
    check("others before", ef::combine(ef::Alibi(sizes.heads), hidden.score()));
    check("a function after", ef::combine(hidden.score(), ef::score([](auto s, const ef::ScorePosition&) {
                                            return 3 * ef::tanh(s / 3);  // which would be -3 of minus infinity
                                          })));
    check("a function before",
          ef::combine(ef::score([](auto s, const ef::ScorePosition&) { return s * s / 4; }), hidden.score()));
  }
}

TEMPLATE_TEST_CASE("a function hides by minus infinity, given or added", "[kernels]", float, double) {
  ef::Rng rng(22);
  for (const AttentionSizes& sizes : sizes_of_every_path()) {
    CAPTURE(sizes.heads, sizes.key_heads, sizes.queries[0], sizes.keys[0]);
    Hidden<TestType> hidden(sizes, rng);
    const TestType* const bias = hidden.bias.data();
    const auto keys = static_cast<int>(hidden.bias.cols());
    const auto check = [&](const char* name, const auto& score) {
      check_hidden(hidden, attend_with<TestType>(score), name);
    };
    const auto added =
        ef::score([=](auto s, const ef::ScorePosition& at) { return s + bias[at.query * keys + at.key]; });
    check("added", added);
    check("given", ef::score([=](auto s, const ef::ScorePosition& at) {
            using Number = decltype(s);
            const TestType b = bias[at.query * keys + at.key];
            return b == -inf<TestType> ? Number(b) : s;
          }));
    check("added to a capped score", ef::combine(added, ef::SoftCap(3), ef::Causal::after_past()));
  }
}

TEMPLATE_TEST_CASE("biases by distance hide by minus infinity", "[kernels]", float, double) {
  // Both hide the keys before the query's own position, and so all keys from the last query.
  ef::Rng rng(23);
  for (const Index size : {1, 3, 7, 70}) {
    CAPTURE(size);
    AttentionCase<TestType> clean({2, 1, 5, 3, {size}, {size + 1}}, rng);
    Matrix<TestType> weights = random_matrix<TestType>(8, 2, rng), d_weights = Matrix<TestType>::Zero(8, 2);
    weights.topRows(4).setConstant(-inf<TestType>);  // buckets of keys that are not after the query
    const ef::RelativeBias<TestType> bias(ef::strided_view(weights), {.buckets = 8, .max_distance = 9},
                                          ef::TensorView<TestType>(d_weights.data(), {8, 2}));
    const ef::Sizes shape{size, 2, 5};
    Matrix<TestType> terms = random_matrix<TestType>(size, 10, rng), d_terms = Matrix<TestType>::Zero(size, 10);
    for (const Index h : {0, 1}) terms.middleCols(5 * h, 3).setConstant(-inf<TestType>);
    const ef::RelativeKeys<TestType> keys(ef::TensorView<const TestType>(terms.data(), shape),
                                          ef::TensorView<TestType>(d_terms.data(), shape));
    const std::vector<double> steep{std::numeric_limits<double>::infinity(), 0.5};
    const auto check = [&](const Attend<TestType>& attend, Matrix<TestType>& d_numbers) {
      const All<TestType> expected = attend(clean);
      const Matrix<TestType> expected_d = d_numbers;
      for (const TestType bad : bad_numbers<TestType>()) {
        CAPTURE(bad);
        AttentionCase<TestType> dirty = clean;
        dirty.k.row(0).setConstant(bad);
        dirty.v.row(0).setConstant(bad);
        d_numbers.setZero();
        const All<TestType> given = attend(dirty);
        CHECK(max_error(given.out, expected.out) < rounding<TestType>(64));
        CHECK(max_error(given.d_q, expected.d_q) < rounding<TestType>(256));
        CHECK(max_error(given.d_k, expected.d_k) < rounding<TestType>(256));
        CHECK(max_error(given.d_v, expected.d_v) < rounding<TestType>(256));
        CHECK(max_error(d_numbers, expected_d) < rounding<TestType>(256));
        CHECK(given.d_k.row(0).isZero(0));
        CHECK(given.d_v.row(0).isZero(0));
        CHECK(given.out.allFinite());
      }
      d_numbers.setZero();
    };
    check(attend_with<TestType>(bias), d_weights);
    check(attend_with<TestType>(keys), d_terms);
    Matrix<TestType> none(0, 0);
    clean.options.key_heads = 1;
    const Matrix<TestType> only_self = ef::attention(clean.q, clean.k, clean.v, ef::Alibi(steep), clean.options);
    CHECK(max_error(only_self.leftCols(3), clean.v.topRows(size)) < rounding<TestType>(16));
  }
}

TEMPLATE_TEST_CASE("weights by distance leave out what a bias hides", "[kernels]", float, double) {
  ef::Rng rng(24);
  Hidden<TestType> hidden({2, 1, 5, 3, {9}, {12}}, rng);
  const TestType* const bias = hidden.bias.data();
  const Matrix<TestType> d_w = random_matrix<TestType>(9, 10, rng);
  const auto results_with = [&](const auto& score) {
    return [&hidden, &d_w, score](const AttentionCase<TestType>& c) {
      hidden.d_bias.setZero();
      std::vector<Matrix<TestType>> all{Matrix<TestType>(9, 10), c.q, c.k};
      ef::weights_by_distance_forward<TestType>(c.q, c.k, score, c.options, all[0]);
      ef::weights_by_distance_backward<TestType>(c.q, c.k, score, c.options, d_w, {all[1], all[2]});
      all.push_back(hidden.d_bias);
      return all;
    };
  };
  const auto check = [&](const std::function<std::vector<Matrix<TestType>>(const AttentionCase<TestType>&)>& results) {
    const auto expected = results(hidden.clean);
    for (const TestType bad : bad_numbers<TestType>()) {
      const auto given = results(hidden.dirty(bad));
      for (std::size_t i = 0; i < given.size(); ++i) {
        CAPTURE(bad, i);
        CHECK(max_error(given[i], expected[i]) < rounding<TestType>(256));
      }
    }
  };
  check(results_with(hidden.score()));
  check(results_with(ef::combine(ef::SoftCap(3), hidden.score())));
  check(results_with(ef::score([=](auto s, const ef::ScorePosition& at) { return s + bias[at.query * 12 + at.key]; })));
}

TEMPLATE_TEST_CASE("a visible score that is undefined shows, through any bias", "[kernels]", float, double) {
  ef::Rng rng(25);
  for (const Index queries : {1, 5, 70}) {
    Hidden<TestType> hidden({1, 1, 5, 3, {queries}, {9}}, rng);
    hidden.bias.row(0).setConstant(0);
    AttentionCase<TestType> c = hidden.clean;
    c.k(2, 0) = std::numeric_limits<TestType>::quiet_NaN();
    const auto check = [&](const Attend<TestType>& attend) {
      const All<TestType> all = attend(c);
      CHECK(all.out.row(0).array().isNaN().all());
      CHECK(all.d_q.row(0).array().isNaN().all());
    };
    check(attend_with<TestType>(hidden.score()));
    check(attend_with<TestType>(ef::Alibi(1)));
    check(attend_with<TestType>(
        ef::score([](auto s, const ef::ScorePosition& at) { return at.key == 4 ? s - inf<TestType> : s; })));
  }
}
