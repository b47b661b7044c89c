#include "eigenformer/layers/embedding.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("an embedding looks tokens up, and as a tied output layer scores them all", "[layers]") {
  const std::uint64_t seed = 22;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::Embedding<double> embedding(7, 4, rng);
  const std::vector<ef::Token> tokens{6, 0, 6};
  const ef::Matrix<double> x = embedding({}, tokens).value();
  CHECK(x.row(0) == embedding.weight.value.row(6));
  CHECK(x.row(1) == embedding.weight.value.row(0));
  CHECK(embedding.logits({}, x).value().isApprox(x * embedding.weight.value.transpose(), 1e-14));
  ef::testing::check_parameters(
      embedding, [&](const ef::Context<double>& c) { return embedding.logits(c, embedding(c, tokens)); });
  CHECK_THROWS_WITH(embedding({}, std::vector<ef::Token>{7}), "Embedding: id 7 at 0, the table has 7 rows");
  CHECK_THROWS_AS(embedding({}, std::vector<ef::Token>{-1}), ef::Error);
}

TEST_CASE("the vector of padding_idx begins as zeros, and lookups give it no gradient", "[layers]") {
  const std::uint64_t seed = 25;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::Embedding<double> embedding(7, 4, rng, 2);
  CHECK(embedding.weight.value.row(2).isZero(0));
  CHECK(!embedding.weight.value.row(3).isZero(0));
  embedding.weight.value.row(2).setOnes();
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape};
  const std::vector<ef::Token> tokens{2, 5, 2};
  const ef::Variable<double> x = embedding(context, tokens);
  CHECK(x.value().row(0).isOnes(0));
  tape.backward(ef::sum(context, x));
  ef::Matrix<double> expected = ef::Matrix<double>::Zero(7, 4);
  expected.row(5).setOnes();
  CHECK(tape.gradient(embedding.weight) == expected);
  CHECK_THROWS_AS(ef::Embedding<double>(7, 4, rng, 7), ef::Error);
  CHECK_THROWS_AS(ef::Embedding<double>(7, 4, rng, -2), ef::Error);
  embedding.padding_idx = 7;
  CHECK_THROWS_AS(embedding({}, tokens), ef::Error);
}

TEST_CASE("an embedding with packed weights looks up the rounded vectors", "[layers][threads]") {
  const std::uint64_t seed = 26;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  const ef::Embedding<float> embedding(70, 37, rng);
  const std::vector<ef::Token> tokens{69, 0, 16, 15, 69};
  const ef::PackedWeights<float> plain(embedding);
  CHECK(embedding({.packed = &plain}, tokens).value() == embedding({}, tokens).value());
  const ef::PackedWeights<float> packed(embedding, ef::WeightType::bfloat16);
  const ef::Matrix<float> x = embedding({.threads = &pool, .packed = &packed}, tokens).value();
  for (ef::Index i = 0; i < 5; ++i)
    CHECK(x.row(i) ==
          embedding.weight.value.row(tokens[static_cast<std::size_t>(i)]).cast<Eigen::bfloat16>().cast<float>());
  CHECK_THROWS_AS(embedding({.packed = &packed}, std::vector<ef::Token>{70}), ef::Error);
  CHECK_THROWS_AS(embedding({.packed = &packed}, std::vector<ef::Token>{-1}), ef::Error);
  // With a tape, the weight is the model's own.
  ef::Tape<float> tape;
  CHECK(embedding({.tape = &tape, .packed = &packed}, tokens).value() == embedding({}, tokens).value());
}

TEST_CASE("an embedding of negative size is refused", "[layers]") {
  ef::Rng rng(1);
  CHECK_THROWS_WITH(ef::Embedding<float>(5, -64, rng),
                    "Embedding: vocabulary_size is 5, width is -64, expected 0 or more");
}
