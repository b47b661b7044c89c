#include "eigenformer/kernels/additive_attention.hpp"

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::RowOffsets;
using namespace ef::testing;

namespace {

struct NaiveAdditive {
  Matrix<double> y;
  Matrix<double> weights;
};

/// As the definition reads, in double.
NaiveAdditive naive_additive_attention(const Matrix<double>& q, const Matrix<double>& k, const Matrix<double>& v,
                                       const Matrix<double>& values, const ef::AdditiveAttentionOptions& options) {
  const RowOffsets key_rows = options.key_rows.given() ? options.key_rows : RowOffsets{0, k.rows()};
  const RowOffsets query_rows = options.query_rows.given() ? options.query_rows : RowOffsets{0, q.rows()};
  NaiveAdditive result{Matrix<double>::Zero(q.rows(), values.cols()),
                       Matrix<double>::Zero(q.rows(), key_rows.max_length())};
  for (Index s = 0; s < query_rows.sequences(); ++s)
    for (Index i = query_rows.begin(s); i < query_rows.end(s); ++i) {
      const Index keys = key_rows.length(s);
      const auto key_row = [&](Index j) {
        const Index at = key_rows.begin(s) + j;
        return options.key_index.has_value() ? (*options.key_index)[static_cast<std::size_t>(at)] : at;
      };
      Eigen::VectorXd scores(keys);
      for (Index j = 0; j < keys; ++j) {
        scores(j) = 0;
        for (Index c = 0; c < q.cols(); ++c) scores(j) += v(0, c) * std::tanh(q(i, c) + k(key_row(j), c));
      }
      double sum = 0;
      for (Index j = 0; j < keys; ++j) sum += std::exp(scores(j) - scores.maxCoeff());
      for (Index j = 0; j < keys; ++j) {
        result.weights(i, j) = std::exp(scores(j) - scores.maxCoeff()) / sum;
        result.y.row(i) += result.weights(i, j) * values.row(key_row(j));
      }
    }
  return result;
}

template <class Scalar>
std::vector<Matrix<Scalar>> forward_every_way(const std::vector<Matrix<Scalar>>& in,
                                              ef::AdditiveAttentionOptions options) {
  const Index longest = options.key_rows.given() ? options.key_rows.max_length() : in[1].rows();
  return run_every_way<Scalar>(
      in, {{in[0].rows(), in[3].cols()}, {in[0].rows(), longest}}, [&](auto& i, auto& out, ef::Threads* threads) {
        options.threads = threads;
        ef::additive_attention_forward<Scalar>({i[0], i[1], i[2], i[3]}, options, {out[0], out[1]});
      });
}

/// in: q, k, v, values, weights, d_y; gives d_q, d_k, d_v, d_values.
template <class Scalar>
std::vector<Matrix<Scalar>> backward_every_way(const std::vector<Matrix<Scalar>>& in,
                                               ef::AdditiveAttentionOptions options) {
  return run_every_way<Scalar>(in, {ef::shape(in[0]), ef::shape(in[1]), ef::shape(in[2]), ef::shape(in[3])},
                               [&](auto& i, auto& out, ef::Threads* threads) {
                                 options.threads = threads;
                                 ef::additive_attention_backward<Scalar>({i[0], i[1], i[2], i[3]}, options, i[4], i[5],
                                                                         {out[0], out[1], out[2], out[3]});
                               });
}

template <class Scalar>
std::vector<Matrix<double>> all_in_double(const std::vector<Matrix<Scalar>>& matrices) {
  std::vector<Matrix<double>> result;
  for (const Matrix<Scalar>& m : matrices) result.push_back(m.template cast<double>());
  return result;
}

template <class Scalar>
std::vector<Matrix<Scalar>> random_inputs(Index queries, Index keys, Index hidden, Index width, ef::Rng& rng,
                                          double scale = 1) {
  return {random_matrix<Scalar>(queries, hidden, rng, scale), random_matrix<Scalar>(keys, hidden, rng, scale),
          random_matrix<Scalar>(1, hidden, rng), random_matrix<Scalar>(keys, width, rng)};
}

}  // namespace

TEMPLATE_TEST_CASE("additive attention agrees with its definition", "[kernels][threads]", float, double) {
  const auto seed = GENERATE(311U, 312U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  // Sequences without queries, without keys, without both, of one query, and of more queries than one task has.
  const ef::AdditiveAttentionOptions ragged{.query_rows = {0, 3, 3, 4, 40, 40, 42},
                                            .key_rows = {0, 5, 9, 9, 28, 28, 29}};
  for (const Index hidden : {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 33, 64})
    for (const Index width : {1, 5, 16, 49}) {
      CAPTURE(hidden, width);
      const auto in = random_inputs<TestType>(42, 29, hidden, width, rng);
      const auto out = forward_every_way<TestType>(in, ragged);
      const auto exact = all_in_double(in);
      const NaiveAdditive expected = naive_additive_attention(exact[0], exact[1], exact[2], exact[3], ragged);
      CHECK(max_error(out[0], expected.y) < tolerance<TestType>(64));
      CHECK(max_error(out[1], expected.weights) < tolerance<TestType>(64));
      CHECK((out[0].row(3).array() == 0).all());  // no keys
      CHECK((out[1].row(0).tail(14).array() == 0).all());
      CHECK(identical<TestType>(ef::additive_attention(in[0], in[1], in[2], in[3], ragged), out[0]));
    }
  // Long enough to be several tasks even at one query a sequence.
  const auto in = random_inputs<TestType>(2, 900, 40, 24, rng);
  const auto exact = all_in_double(in);
  const ef::AdditiveAttentionOptions two{.query_rows = {0, 1, 2}, .key_rows = {0, 400, 900}};
  CHECK(max_error(forward_every_way<TestType>(in, two)[0],
                  naive_additive_attention(exact[0], exact[1], exact[2], exact[3], two).y) < tolerance<TestType>(64));
}

TEMPLATE_TEST_CASE("a sequence's additive attention does not depend on its batch", "[kernels][threads]", float,
                   double) {
  ef::Rng rng(321);
  for (const Index hidden : {5, 32}) {
    CAPTURE(hidden);
    const auto in = random_inputs<TestType>(25, 18, hidden, hidden + 1, rng);
    const ef::AdditiveAttentionOptions batch{.query_rows = {0, 2, 22, 25}, .key_rows = {0, 4, 13, 18}};
    const auto together = forward_every_way<TestType>(in, batch);
    const auto d_y = random_matrix<TestType>(25, hidden + 1, rng);
    const auto gradients = backward_every_way<TestType>({in[0], in[1], in[2], in[3], together[1], d_y}, batch);
    const std::vector<Matrix<TestType>> one{in[0].middleRows(2, 20), in[1].middleRows(4, 9), in[2],
                                            in[3].middleRows(4, 9)};
    const auto alone = forward_every_way<TestType>(one, {});
    CHECK(identical<TestType>(alone[0], together[0].middleRows(2, 20)));
    CHECK(identical<TestType>(alone[1], together[1].middleRows(2, 20)));
    const auto own =
        backward_every_way<TestType>({one[0], one[1], one[2], one[3], alone[1], d_y.middleRows(2, 20)}, {});
    CHECK(identical<TestType>(own[0], gradients[0].middleRows(2, 20)));
    CHECK(identical<TestType>(own[1], gradients[1].middleRows(4, 9)));
    CHECK(identical<TestType>(own[3], gradients[3].middleRows(4, 9)));
    // Nor a query's on the other queries of its sequence: decoding step by step gives what training saw.
    for (const Index i : {0, 7, 19})
      CHECK(identical<TestType>(ef::additive_attention(one[0].row(i), one[1], one[2], one[3]), alone[0].row(i)));
  }
}

TEMPLATE_TEST_CASE("keys of additive attention may be picked by an index", "[kernels][threads]", float, double) {
  ef::Rng rng(331);
  for (const Index hidden : {6, 16}) {
    CAPTURE(hidden);
    const auto in = random_inputs<TestType>(4, 7, hidden, 16, rng);
    // Two hypotheses of a sentence of three words, one of a sentence of four, and one that has none.
    const std::vector<Index> index{0, 1, 2, 0, 1, 2, 3, 4, 5, 6};
    const ef::AdditiveAttentionOptions options{
        .query_rows = {0, 1, 2, 3, 4}, .key_rows = {0, 3, 6, 10, 10}, .key_index = index};
    const auto out = forward_every_way<TestType>(in, options);
    const auto exact = all_in_double(in);
    CHECK(max_error(out[0], naive_additive_attention(exact[0], exact[1], exact[2], exact[3], options).y) <
          tolerance<TestType>(64));
    CHECK(identical<TestType>(out[0].row(1),
                              ef::additive_attention(in[0].row(1), in[1].topRows(3), in[2], in[3].topRows(3))));
    CHECK(out[0].row(3).isZero(0));
    const std::vector<Index> none;  // names no keys: not the same as no index
    CHECK(ef::additive_attention(in[0], in[1], in[2], in[3], {.key_index = none}).isZero(0));
  }
}

TEMPLATE_TEST_CASE("keys of additive attention in pages give the bits of keys picked by an index", "[kernels][threads]",
                   float, double) {
  ef::Rng rng(332);
  for (const Index hidden : {6, 16}) {
    CAPTURE(hidden);
    const auto in = random_inputs<TestType>(4, 12, hidden, 16, rng);
    const std::vector<Index> index{4, 5, 6, 7, 0, 4, 5, 6, 7, 0, 8, 9, 10}, pages{1, 0, 1, 0, 2};
    const ef::RowOffsets query_rows{0, 1, 2, 3, 4}, key_rows{0, 5, 10, 13, 13};
    CHECK(identical<TestType>(
        ef::additive_attention(in[0], in[1], in[2], in[3],
                               {.query_rows = query_rows, .key_rows = key_rows, .key_pages = ef::KeyPages{4, pages}}),
        ef::additive_attention(in[0], in[1], in[2], in[3],
                               {.query_rows = query_rows, .key_rows = key_rows, .key_index = index})));
  }
}

TEMPLATE_TEST_CASE("additive attention of extreme numbers has no NaN", "[kernels][threads]", float, double) {
  ef::Rng rng(341);
  const auto inf = std::numeric_limits<TestType>::infinity();
  auto in = random_inputs<TestType>(3, 5, 9, 4, rng, 1000);
  in[2] *= 1000;
  in[0](0, 0) = inf;
  in[0](1, 1) = -inf;
  in[1](4, 8) = inf;
  const auto out = forward_every_way<TestType>(in, {});
  const auto exact = all_in_double(in);
  const NaiveAdditive expected = naive_additive_attention(exact[0], exact[1], exact[2], exact[3], {});
  CHECK(max_error(out[1], expected.weights) < tolerance<TestType>(1e6));  // scores of 1e4 with their roundings
  const auto gradients =
      backward_every_way<TestType>({in[0], in[1], in[2], in[3], out[1], random_matrix<TestType>(3, 4, rng)}, {});
  for (const Matrix<TestType>& d : gradients) CHECK(d.allFinite());

  // A NaN is not hidden.
  in[0](2, 3) = std::numeric_limits<TestType>::quiet_NaN();
  const auto with_nan = ef::additive_attention(in[0], in[1], in[2], in[3]);
  CHECK(with_nan.row(2).array().isNaN().all());
  CHECK(with_nan.topRows(2).allFinite());

  // Nothing to do.
  const Matrix<TestType> none(0, 9), v = in[2];
  CHECK(ef::additive_attention(none, none, v, Matrix<TestType>(0, 4)).rows() == 0);
  CHECK(ef::additive_attention(in[0], none, v, Matrix<TestType>(0, 4)).isZero(0));
}

TEST_CASE("the derivatives of additive attention agree with differences", "[kernels][threads]") {
  const std::uint64_t seed = 351;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::AdditiveAttentionOptions ragged{.query_rows = {0, 3, 3, 4, 9}, .key_rows = {0, 4, 6, 6, 11}};
  for (const Index hidden : {1, 3, 8, 19}) {
    CAPTURE(hidden);
    const auto in = random_inputs<double>(9, 11, hidden, 6, rng);
    const auto d_y = random_matrix<double>(9, 6, rng);
    const auto out = forward_every_way<double>(in, ragged);
    const auto gradients = backward_every_way<double>({in[0], in[1], in[2], in[3], out[1], d_y}, ragged);
    for (std::size_t x = 0; x < in.size(); ++x) {
      CAPTURE(x);
      const auto loss = [&](const Matrix<double>& moved) {
        auto changed = in;
        changed[x] = moved;
        return dot(naive_additive_attention(changed[0], changed[1], changed[2], changed[3], ragged).y, d_y);
      };
      CHECK(max_error(gradients[x], numeric_gradient(in[x], loss)) < gradient_tolerance);
    }
  }
}

TEST_CASE("the derivatives of additive attention in float agree with those in double", "[kernels][threads]") {
  ef::Rng rng(361);
  const ef::AdditiveAttentionOptions ragged{.query_rows = {0, 30, 31, 90}, .key_rows = {0, 25, 25, 60}};
  const auto in = random_inputs<float>(90, 60, 70, 40, rng);
  const auto d_y = random_matrix<float>(90, 40, rng);
  const auto weights = forward_every_way<float>(in, ragged)[1];
  const auto exact = all_in_double<float>({in[0], in[1], in[2], in[3], weights, d_y});
  const auto gradients = backward_every_way<float>({in[0], in[1], in[2], in[3], weights, d_y}, ragged);
  const auto expected = backward_every_way<double>(exact, ragged);
  for (std::size_t x = 0; x < gradients.size(); ++x) {
    CAPTURE(x);
    CHECK(max_error(gradients[x], expected[x]) < rounding<float>(256));  // v: a sum of 2985 terms
  }
}

TEST_CASE("additive attention takes any Eigen matrix", "[kernels][threads]") {
  ef::Rng rng(371);
  const auto in = random_inputs<float>(3, 4, 5, 6, rng);
  const Eigen::MatrixXf q = in[0], k = in[1], values = in[3];
  const Eigen::RowVectorXf v = in[2];
  const Matrix<float> y = ef::additive_attention(in[0], in[1], in[2], in[3]);
  CHECK(identical<float>(ef::additive_attention(q, k, v, values), y));
  CHECK(identical<float>(ef::additive_attention(q, k.transpose().transpose(), 1 * v, values), y));
}

TEST_CASE("additive attention names what does not fit", "[kernels]") {
  const Matrix<float> q = Matrix<float>::Zero(3, 5), k = Matrix<float>::Zero(4, 5), v = Matrix<float>::Zero(1, 5),
                      values = Matrix<float>::Zero(4, 6);
  Matrix<float> y = Matrix<float>::Constant(3, 6, 9), weights = Matrix<float>::Constant(3, 4, 9);
  Matrix<float> d_q(3, 5), d_k(4, 5), d_v(1, 5), d_values(4, 6), other(2, 2);
  const auto attend = [&](const Matrix<float>& a, const Matrix<float>& b, const Matrix<float>& c,
                          const Matrix<float>& d, const ef::AdditiveAttentionOptions& options = {}) {
    return message_of([&] { ef::additive_attention_forward<float>({a, b, c, d}, options, {y, weights}); });
  };
  CHECK(attend(q, other, v, values) ==
        "additive_attention: q is [3 x 5], k is [2 x 2], expected equal numbers of columns");
  CHECK(attend(q, k, other, values) == "additive_attention: v is [2 x 2], expected [1 x 5]");
  CHECK(attend(q, k, v, other) ==
        "additive_attention: k is [4 x 5], values is [2 x 2], expected equal numbers of rows");
  CHECK(attend(q, k, v, values, {.query_rows = {0, 2}}) == "additive_attention: q has 3 rows, its offsets end at 2");
  CHECK(attend(q, k, v, values, {.key_rows = {0, 1, 4}}) ==
        "additive_attention: sequences in query_rows: 1, in key_rows: 2, expected equally many");
  const std::vector<Index> beyond{0, 4}, within{0, 1, 2, 3};
  CHECK(attend(q, k, v, values, {.key_index = beyond}) == "additive_attention: key_index has 4, k is [4 x 5]");
  CHECK(attend(q, k, v, values, {.key_rows = {0, 3}, .key_index = within}) ==
        "additive_attention: key_index has 4 rows, its offsets end at 3");
  const ef::KeyPages pages{2, within};
  CHECK(attend(q, k, v, values, {.key_rows = {0, 4}, .key_pages = pages}) ==
        "additive_attention: key_pages has 4 pages, expected 2 of 2 rows for 4 keys");
  CHECK(attend(q, k, v, values, {.key_rows = {0, 8}, .key_pages = pages}) ==
        "additive_attention: key_pages has page 2, k has 2 pages of 2 rows");
  CHECK(attend(q, k, v, values, {.key_pages = pages}) ==
        "additive_attention: key_pages needs a page_size, key_rows and no key_index");
  CHECK(message_of([&] {
          ef::additive_attention_forward<float>({q, k, v, values}, {}, {other, weights});
        }) == "additive_attention: y is [2 x 2], expected [3 x 6]");
  CHECK(message_of([&] {
          ef::additive_attention_forward<float>({q, k, v, values}, {}, {y, other});
        }) == "additive_attention: weights is [2 x 2], expected [3 x 4]");
  CHECK((y.array() == 9).all());
  CHECK((weights.array() == 9).all());
  const auto backward = [&](Matrix<float>& a, Matrix<float>& b, Matrix<float>& c, Matrix<float>& d,
                            const Matrix<float>& d_y, const ef::AdditiveAttentionOptions& options = {}) {
    return message_of([&] {
      ef::additive_attention_backward<float>({q, k, v, values}, options, weights, d_y, {a, b, c, d});
    });
  };
  CHECK(backward(d_q, d_k, d_v, d_values, other) == "additive_attention: d_y is [2 x 2], expected [3 x 6]");
  CHECK(backward(other, d_k, d_v, d_values, y) == "additive_attention: d_q is [2 x 2], expected [3 x 5]");
  CHECK(backward(d_q, other, d_v, d_values, y) == "additive_attention: d_k is [2 x 2], expected [4 x 5]");
  CHECK(backward(d_q, d_k, other, d_values, y) == "additive_attention: d_v is [2 x 2], expected [1 x 5]");
  CHECK(backward(d_q, d_k, d_v, other, y) == "additive_attention: d_values is [2 x 2], expected [4 x 6]");
  CHECK(backward(d_q, d_k, d_v, d_values, y, {.key_index = within}) ==
        "additive_attention: key_index and key_pages have no backward");
}
