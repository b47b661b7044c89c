// Attention under every score: what changes values, what hides, and several at once.
#include <functional>
#include <string>

#include "eigenformer/kernels/attention_backward.hpp"
#include "kernels/attention_cases.hpp"
#include "kernels/scores/naive_bucket.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Tensor;
using namespace ef::testing;

namespace {

double naive_bent(const QueryAndKey& at, double score) {
  return score / (1 + std::exp(score / 2)) + std::tanh(score) * static_cast<double>(at.head + 1) -
         score * std::tanh(score) / 4;
}

// Biases of a case, some of them minus infinity, with their gradients.
template <class Scalar>
struct Biases {
  Tensor<Scalar> dense, d_dense, shared, d_shared;
  Tensor<Scalar> terms, d_terms;  // for distances from -3 to 3
  Matrix<Scalar> relative, d_relative;
  ef::RelativeBuckets buckets{8, 20, true};

  Biases(const AttentionCase<Scalar>& c, ef::Rng& rng) {
    const Index rows = c.q.rows() + 1, keys = c.k.rows() + 3;  // larger than asked for
    dense = d_dense = Tensor<Scalar>({c.options.heads, rows, keys});
    shared = d_shared = Tensor<Scalar>({1, rows, keys});
    terms = d_terms = Tensor<Scalar>({rows, c.options.heads, 7});
    for (Index i = 0; i < terms.size(); ++i) terms.data()[i] = static_cast<Scalar>(rng.normal());
    for (Tensor<Scalar>* bias : {&dense, &shared})
      for (Index i = 0; i < bias->size(); ++i)
        bias->data()[i] = rng.randint(6) == 0 ? ef::hidden_score<Scalar> : static_cast<Scalar>(rng.normal());
    relative = random_matrix<Scalar>(buckets.buckets, c.options.heads, rng);
    d_relative = Matrix<Scalar>::Zero(buckets.buckets, c.options.heads);
  }
  ef::DenseBias<Scalar> dense_score() { return ef::DenseBias<Scalar>(of(dense), d_dense.view()); }
  ef::DenseBias<Scalar> shared_score() { return ef::DenseBias<Scalar>(of(shared), d_shared.view()); }
  ef::RelativeBias<Scalar> relative_score() {
    return ef::RelativeBias<Scalar>(ef::strided_view(relative), buckets,
                                    ef::TensorView<Scalar>(d_relative.data(), {buckets.buckets, relative.cols()}));
  }
  ef::RelativeKeys<Scalar> keys_score() { return ef::RelativeKeys<Scalar>(of(terms), d_terms.view()); }
  static ef::TensorView<const Scalar> of(Tensor<Scalar>& t) { return t.view(); }

  double dense_at(const QueryAndKey& at) { return static_cast<double>(dense.view()(at.head, at.row, at.key)); }
  double shared_at(const QueryAndKey& at) { return static_cast<double>(shared.view()(0, at.row, at.key)); }
  double keys_at(const QueryAndKey& at, Index past = 0) {
    const Index distance = std::clamp<Index>(at.key - at.query - past, -3, 3);
    return static_cast<double>(terms.view()(at.row, at.head, 3 + distance));
  }
  double relative_at(const QueryAndKey& at) {
    return static_cast<double>(relative(naive_bucket(at.key - at.query, buckets), at.head));
  }
};

template <class Scalar>
struct NamedScore {
  std::string name;
  TestedScore<Scalar> score;
  NaiveScore naive;
};

bool striped(const QueryAndKey& at, Index sequence) {
  return at.key % 3 != 1 && (at.query + sequence) % 5 != 2;
}

template <class Scalar>
std::vector<NamedScore<Scalar>> all_scores(const AttentionCase<Scalar>& c, Biases<Scalar>& biases) {
  const auto sequence_of = [rows = c.options.query_rows](const QueryAndKey& at) {
    Index s = 0;
    while (rows.given() && at.row >= rows.end(s)) ++s;
    return s;
  };
  const auto distance = [](const QueryAndKey& at) { return at.query - at.key; };
  const auto hide_unless = [](bool visible, double score) { return visible ? score : naive_hidden; };
  std::vector<NamedScore<Scalar>> all;
  for (const Index size : {1, 5, 40})
    all.push_back({"window", ef::SlidingWindow(size),
                   [=](const QueryAndKey& at, double s) { return hide_unless(std::abs(distance(at)) < size, s); }});
  all.push_back({"window after past", ef::SlidingWindow::after_past(9), [=](const QueryAndKey& at, double s) {
                   return hide_unless(std::abs(distance(at) + at.keys - at.queries) < 9, s);
                 }});
  all.push_back(
      {"causal window", ef::combine(ef::Causal{}, ef::SlidingWindow(7)),
       [=](const QueryAndKey& at, double s) { return hide_unless(distance(at) >= 0 && distance(at) < 7, s); }});
  all.push_back({"soft cap", ef::SoftCap(1.5), [](const QueryAndKey&, double s) { return 1.5 * std::tanh(s / 1.5); }});
  const ef::Alibi alibi(c.options.heads);
  const auto slope = [slopes = alibi.slopes()](const QueryAndKey& at) {
    return slopes[static_cast<std::size_t>(at.head)];
  };
  all.push_back({"ALiBi", alibi, [=](const QueryAndKey& at, double s) {
                   return s - slope(at) * static_cast<double>(std::abs(distance(at)));
                 }});
  all.push_back({"ALiBi after past", alibi.after_past(), [=](const QueryAndKey& at, double s) {
                   return s - slope(at) * static_cast<double>(std::abs(distance(at) + at.keys - at.queries));
                 }});
  all.push_back({"relative bias", biases.relative_score(),
                 [&](const QueryAndKey& at, double s) { return s + biases.relative_at(at); }});
  all.push_back(
      {"relative keys", biases.keys_score(), [&](const QueryAndKey& at, double s) { return s + biases.keys_at(at); }});
  all.push_back({"relative keys after past", biases.keys_score().after_past(),
                 [&](const QueryAndKey& at, double s) { return s + biases.keys_at(at, at.keys - at.queries); }});
  using Bias = ef::ScoreVariant<ef::Alibi, ef::RelativeBias<Scalar>, ef::RelativeKeys<Scalar>>;
  using Mask = ef::ScoreVariant<ef::Unmasked, ef::Causal, ef::DenseMask>;
  all.push_back({"chosen keys, causal", ef::combine(Mask(ef::Causal{}), Bias(biases.keys_score())),
                 [=, &biases](const QueryAndKey& at, double s) {
                   return hide_unless(distance(at) >= 0, s + biases.keys_at(at));
                 }});
  all.push_back({"chosen bias, unmasked", ef::combine(Bias(biases.relative_score()), Mask(ef::Unmasked{})),
                 [&](const QueryAndKey& at, double s) { return s + biases.relative_at(at); }});
  all.push_back({"chosen ALiBi, masked",
                 ef::combine(Bias(alibi),
                             Mask(ef::DenseMask(Matrix<bool>::NullaryExpr(
                                 c.q.rows(), c.k.rows(), [](Index i, Index j) { return (3 * i + 5 * j) % 7 > 2; })))),
                 [=](const QueryAndKey& at, double s) {
                   return hide_unless((3 * at.row + 5 * at.key) % 7 > 2,
                                      s - slope(at) * static_cast<double>(std::abs(distance(at))));
                 }});
  all.push_back(
      {"dense bias", biases.dense_score(), [&](const QueryAndKey& at, double s) { return s + biases.dense_at(at); }});
  all.push_back({"dense bias for all heads", biases.shared_score(),
                 [&](const QueryAndKey& at, double s) { return s + biases.shared_at(at); }});
  all.push_back({"function", ef::score(Bent{}), naive_bent});
  all.push_back({"mask function", ef::mask(Striped{}),
                 [=](const QueryAndKey& at, double s) { return hide_unless(striped(at, sequence_of(at)), s); }});
  all.push_back({"all at once",
                 ef::combine(ef::Causal{}, ef::mask(Striped{}), biases.dense_score(),
                             ef::combine(ef::score(Bent{}), ef::SoftCap(3), biases.relative_score())),
                 [=, &biases](const QueryAndKey& at, double s) {
                   if (distance(at) < 0 || !striped(at, sequence_of(at))) return naive_hidden;
                   return naive_bent(at, 3 * std::tanh(s / 3) + biases.dense_at(at)) + biases.relative_at(at);
                 }});
  return all;
}

}  // namespace

TEMPLATE_TEST_CASE("attention under every score agrees with its definition", "[kernels]", float, double) {
  ef::Rng rng(1);
  ef::ThreadPool pool(3);
  std::vector<AttentionSizes> sizes = attention_sizes(1);
  const Index most = ef::detail::max_tile_keys;  // more keys than a tile, the last of them few
  sizes.push_back({2, 1, 5, 3, {100, 60}, {most + 131, most + 1}});
  for (const AttentionSizes& s : sizes) {
    CAPTURE(s.heads, s.key_heads, s.key_width, s.value_width, s.queries, s.keys);
    const AttentionCase<TestType> c(s, rng);
    Biases<TestType> biases(c, rng);
    for (const auto& [name, score, naive] : all_scores(c, biases)) {
      CAPTURE(name);
      const NaiveAttention expected = c.naive(naive);
      const Attended<TestType> given = attend(c, score);
      CHECK(max_error(given.out, expected.out) < rounding<TestType>(64));
      CHECK(max_error(given.log_sum_exp, expected.log_sum_exp) < rounding<TestType>(64));
      CHECK(identical<TestType>(attend(c, score, &pool).out, given.out));
      const Tensor<TestType> weights = weights_of(c, score, c.options);
      for (Index h = 0; h < s.heads; ++h)
        CHECK(max_error(weights.matrix(h), expected.weights[static_cast<std::size_t>(h)]) < rounding<TestType>(64));
    }
  }
}

TEST_CASE("gradients under every score agree with differences of its definition", "[kernels]") {
  ef::Rng rng(2);
  for (const AttentionSizes& s : attention_sizes(1)) {
    CAPTURE(s.heads, s.key_heads, s.key_width, s.value_width, s.queries, s.keys);
    const AttentionCase<double> c(s, rng);
    Biases<double> biases(c, rng);
    for (const auto& [name, score, naive] : all_scores(c, biases)) {
      CAPTURE(name);
      check_gradients(c, gradients(c, score), naive, rng);
    }
  }
}

TEST_CASE("biases get their gradients, the same for any number of threads", "[kernels]") {
  ef::Rng rng(3);
  ef::ThreadPool pool(3);
  const std::vector<AttentionSizes> sizes{{1, 1, 2, 3, {5}, {8}},
                                          {4, 2, 3, 2, {5, 0, 17}, {6, 2, 20}},
                                          {2, 1, 3, 2, {70, 3}, {ef::detail::backward_keys + 9, 5}}};
  for (const AttentionSizes& s : sizes) {
    CAPTURE(s.heads, s.queries, s.keys);
    const AttentionCase<double> c(s, rng);
    Biases<double> biases(c, rng);
    const std::vector<NamedScore<double>> scores = all_scores(c, biases);
    const auto check = [&](std::size_t i, Tensor<double>& bias, Tensor<double>& d_bias) {
      const NamedScore<double>& score = scores[i];
      CAPTURE(score.name);
      Eigen::Map<Matrix<double>> all(bias.data(), 1, bias.size()), d_all(d_bias.data(), 1, d_bias.size());
      d_all.setConstant(1);  // what is there stays: the backward adds
      gradients(c, score.score);
      const Matrix<double> d = d_all.array() - 1;
      d_all.setConstant(1);
      gradients(c, score.score, &pool);
      CHECK(identical<double>(d, d_all.array() - 1));
      // Differences, of what is not infinite: of entries that have a gradient, and of any.
      std::vector<Index> seen;
      for (Index entry = 0; entry < d.size(); ++entry)
        if (d(entry) != 0) seen.push_back(entry);
      REQUIRE(!seen.empty());
      for (int repeat = 0; repeat < 30; ++repeat) {
        const Index at = repeat % 2 == 0 ? seen[static_cast<std::size_t>(rng.randint(static_cast<Index>(seen.size())))]
                                         : rng.randint(bias.size());
        if (all(at) == naive_hidden) {
          CHECK(d(at) == 0);
          continue;
        }
        const double x = all(at), h = 1e-5;
        const auto loss = [&](double value) {
          all(at) = value;
          return dot(c.naive(score.naive).out, c.d_out);
        };
        const double expected = (loss(x + h) - loss(x - h)) / (2 * h);
        all(at) = x;
        CHECK(std::abs(d(at) - expected) < gradient_tolerance);
      }
    };
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (scores[i].name == "dense bias") check(i, biases.dense, biases.d_dense);
      if (scores[i].name == "dense bias for all heads") check(i, biases.shared, biases.d_shared);
      if (scores[i].name == "all at once") check(i, biases.dense, biases.d_dense);
      for (const char* name : {"relative keys", "relative keys after past", "chosen keys, causal"})
        if (scores[i].name == name) check(i, biases.terms, biases.d_terms);
    }
    for (const NamedScore<double>& score : scores) {
      if (score.name != "relative bias" && score.name != "chosen bias, unmasked" && score.name != "all at once")
        continue;
      CAPTURE(score.name);
      biases.d_relative.setConstant(1);
      gradients(c, score.score);
      const Matrix<double> d = biases.d_relative.array() - 1;
      biases.d_relative.setConstant(1);
      gradients(c, score.score, &pool);
      CHECK(identical<double>(d, biases.d_relative.array() - 1));
      const Matrix<double> weights = biases.relative;
      const Matrix<double> expected = numeric_gradient(weights, [&](const Matrix<double>& x) {
        biases.relative = x;
        return dot(c.naive(score.naive).out, c.d_out);
      });
      biases.relative = weights;
      CHECK(max_error(d, expected) < gradient_tolerance);
    }
  }
}

TEST_CASE("scores that do not fit say so", "[kernels]") {
  ef::Rng rng(4);
  const AttentionCase<float> c({4, 4, 4, 3, {5}, {7}}, rng);
  const auto message = [&](const TestedScore<float>& score) { return message_of([&] { attend(c, score); }); };
  const Tensor<float> bias({3, 5, 7}), small({4, 5, 6});
  CHECK(message(ef::DenseBias<float>(ef::TensorView<const float>(bias.view()))) ==
        "attention: the dense bias has 3 matrices of [5 x 7], expected 1 or 4 matrices of at least [5 x 7]");
  CHECK(message(ef::DenseBias<float>(ef::TensorView<const float>(small.view()))) ==
        "attention: the dense bias has 4 matrices of [5 x 6], expected 1 or 4 matrices of at least [5 x 7]");
  CHECK(message(ef::Alibi(3)) == "attention: Alibi has 3 slopes, expected 4");
  const Matrix<float> weights = Matrix<float>::Zero(32, 3);
  CHECK(message(ef::RelativeBias<float>(ef::strided_view(weights))) ==
        "attention: RelativeBias has weights for 3 heads, expected 4");
  const Tensor<float> terms({4, 4, 7}), of_few_heads({5, 3, 7});
  CHECK(message(ef::RelativeKeys<float>(terms.view())) ==
        "attention: RelativeKeys has terms for 4 queries and 4 heads, expected 5 and 4");
  CHECK(message(ef::RelativeKeys<float>(of_few_heads.view())) ==
        "attention: RelativeKeys has terms for 5 queries and 3 heads, expected 5 and 4");
}

TEMPLATE_TEST_CASE("each sequence's queries may begin at a key of their own", "[kernels]", float, double) {
  ef::Rng rng(6);
  const std::vector<Index> offsets{3, -2, 0, 40, -50};
  const AttentionCase<TestType> c({2, 1, 4, 3, {7, 5, 33, 2, 9}, {9, 6, 33, 20, 9}}, rng);
  const auto compare = [&](const auto& score, const NaiveScore& naive) {
    const NaiveAttention expected = c.naive(naive);
    CHECK(max_error(ef::attention(c.q, c.k, c.v, score, c.options), expected.out) < tolerance<TestType>(64));
  };
  const auto place = [&](const QueryAndKey& at) {
    std::size_t sequence = 0;
    while (c.options.query_rows.end(static_cast<Index>(sequence)) <= at.row) ++sequence;
    return at.query + offsets[sequence];
  };
  compare(ef::Causal::with_offsets(offsets),
          [&](const QueryAndKey& at, double s) { return at.key <= place(at) ? s : naive_hidden; });
  compare(ef::SlidingWindow::with_offsets(4, offsets),
          [&](const QueryAndKey& at, double s) { return std::abs(at.key - place(at)) < 4 ? s : naive_hidden; });
  compare(ef::Alibi(2).with_offsets(offsets), [&](const QueryAndKey& at, double s) {
    return s -
           ef::Alibi(2).slopes()[static_cast<std::size_t>(at.head)] * static_cast<double>(std::abs(at.key - place(at)));
  });
  CHECK(message_of([&] {
          ef::attention(c.q, c.k, c.v, ef::Causal::with_offsets(std::span(offsets).first(4)), c.options);
        }) == "attention: the score has offsets for 4 sequences, expected 5");
}

// Not among those that every build runs: it takes some seconds. CTest's attention_sweep runs it.
TEST_CASE("attention of every size from 1 to 70 and every width, under every score", "[.sweep]") {
  const std::uint64_t seed = 70;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (Index n = 1; n <= 70; ++n)
    for (Index d = 1; d <= 70; ++d) {
      const AttentionCase<float> c({1, 1, d, d, {n}, {n}}, rng);
      Biases<float> biases(c, rng);
      const Index extra = rng.randint(9);
      CAPTURE(n, d, extra);
      double largest = 0;
      std::string worst;
      for (const auto& [name, score, naive] : all_scores(c, biases)) {
        const NaiveAttention expected = c.naive(naive);
        const Attended<float> given = attend(c, score, nullptr, extra);
        const double error =
            std::max(max_error(given.out, expected.out), max_error(given.log_sum_exp, expected.log_sum_exp));
        if (!(error <= largest)) worst = name;
        if (!(error <= largest)) largest = error;
      }
      CAPTURE(worst);
      CHECK(largest < rounding<float>(64));
    }
}
