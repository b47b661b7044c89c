// Attention under every score: what changes values, what hides, and several at once.
#include <functional>
#include <string>

#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/kernels/scores/any_score.hpp"
#include "kernels/all_scores.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Tensor;
using namespace ef::testing;

TEMPLATE_TEST_CASE("attention under every score agrees with its definition", "[kernels][threads]", float, double) {
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

TEST_CASE("biases get their gradients, the same for any number of threads", "[kernels][threads]") {
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
  // More heads or sequences than the call has are as wrong as fewer. More queries and keys are not.
  const Tensor<float> more_heads({5, 5, 7}), more_batch({2, 4, 5, 7}), more_keys({1, 4, 6, 8}), more_rows({4, 6, 8});
  CHECK(message(ef::DenseBias<float>(more_heads.view())) ==
        "attention: the dense bias has 5 matrices of [5 x 7], expected 1 or 4 matrices of at least [5 x 7]");
  CHECK(
      message(ef::DenseBias<float>(more_batch.view())) ==
      "attention: the dense bias is [2 x 4 x 5 x 7], expected 1 sequences, 4 heads, at least 5 queries and at least 7 "
      "keys, or sizes of 1");
  CHECK(message(ef::DenseBias<float>(more_keys.view())) == "nothing was thrown");
  CHECK(message(ef::DenseBias<float>(more_rows.view())) == "nothing was thrown");
  const auto refused = [&](const auto& score) {
    return message_of([&] { ef::attention(c.q, c.k, c.v, score, c.options); }).starts_with("attention: the dense bias");
  };
  CHECK(refused(ef::combine(ef::Causal{}, ef::DenseBias<float>(more_heads.view()))));
  const auto after_past = ef::AnyScore<float>(ef::DenseBias<float>(more_batch.view())).after_past();
  CHECK(after_past.visit(refused));
  CHECK(message(ef::Alibi(3)) == "attention: Alibi has 3 slopes, expected 4");
  CHECK(message(ef::Alibi(8)) == "attention: Alibi has 8 slopes, expected 4");
  const Matrix<float> weights = Matrix<float>::Zero(32, 3);
  CHECK(message(ef::RelativeBias<float>(ef::strided_view(weights))) ==
        "attention: RelativeBias has weights for 3 heads, expected 4");
  const Tensor<float> terms({4, 4, 7}), of_few_heads({5, 3, 7});
  CHECK(message(ef::RelativeKeys<float>(terms.view())) ==
        "attention: RelativeKeys has terms for 4 queries and 4 heads, expected 5 and 4");
  CHECK(message(ef::RelativeKeys<float>(of_few_heads.view())) ==
        "attention: RelativeKeys has terms for 5 queries and 3 heads, expected 5 and 4");
  const Matrix<float> more_weights = Matrix<float>::Zero(32, 5);
  CHECK(message(ef::RelativeBias<float>(ef::strided_view(more_weights))) ==
        "attention: RelativeBias has weights for 5 heads, expected 4");
  const Tensor<float> more_terms({5, 5, 7}), later_terms({6, 4, 7});
  CHECK(message(ef::RelativeKeys<float>(more_terms.view())) ==
        "attention: RelativeKeys has terms for 5 queries and 5 heads, expected 5 and 4");
  CHECK(message(ef::RelativeKeys<float>(later_terms.view())) == "nothing was thrown");
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
