#include "eigenformer/models/recurrent_seq2seq_state.hpp"

#include "eigenformer/decode/greedy.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/recurrent_models.hpp"
#include "support/uncached_decoding.hpp"

namespace ef = eigenformer;

TEST_CASE("decoding a recurrent model step by step equals decoding without a state", "[models]") {
  const std::uint64_t seed = 661;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::Tokens source = ef::testing::copy_batch({5, 1, 12, 7}, rng).source;
  for (const ef::RecurrentSeq2SeqOptions& options : ef::testing::kinds_of_recurrent_models()) {
    CAPTURE(ef::testing::name_of(options));
    const ef::RecurrentSeq2Seq<double> model(options, rng);
    ef::testing::Uncached uncached{model, source};
    const auto a = ef::greedy_search(ef::decoding_state(model, source), 4, {.max_tokens = 10});
    const auto b = ef::greedy_search(uncached, 4, {.max_tokens = 10});
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(a[i].tokens == b[i].tokens);
      CHECK(std::abs(a[i].log_probability - b[i].log_probability) < 1e-9);
    }
  }
}

TEST_CASE("sentences without words are decoded by a recurrent model too", "[models]") {
  ef::Rng rng(663);
  const ef::Tokens nothing{{}, {0, 0}}, no_sentences{{}, {0}};
  for (const ef::RecurrentSeq2SeqOptions& options : ef::testing::kinds_of_recurrent_models()) {
    CAPTURE(ef::testing::name_of(options));
    const ef::RecurrentSeq2Seq<double> model(options, rng);
    ef::testing::Uncached uncached{model, nothing};
    const auto a = ef::greedy_search(ef::decoding_state(model, nothing), 1, {.max_tokens = 6});
    const auto b = ef::greedy_search(uncached, 1, {.max_tokens = 6});
    CHECK(a[0].tokens == b[0].tokens);
    CHECK(std::isfinite(a[0].log_probability));
    CHECK(ef::decoding_state(model, no_sentences)({}, {}).rows() == 0);
  }
}

TEST_CASE("hypotheses of a recurrent model may be dropped, reordered and split", "[models]") {
  const std::uint64_t seed = 662;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::Tokens source = ef::testing::copy_batch({3, 8, 5}, rng).source;
  for (const ef::RecurrentSeq2SeqOptions& options : ef::testing::kinds_of_recurrent_models()) {
    CAPTURE(ef::testing::name_of(options));
    const ef::RecurrentSeq2Seq<double> model(options, rng);
    ef::RecurrentSeq2SeqState<double> state(model, source);
    ef::testing::Uncached uncached{model, source};
    ef::Index count = 3;
    for (int step = 0; step < 6; ++step) {
      std::vector<ef::Index> parents(static_cast<std::size_t>(1 + rng.randint(6)));
      for (ef::Index& parent : parents) parent = rng.randint(count);
      std::vector<ef::Token> tokens(parents.size());
      for (ef::Token& token : tokens) token = static_cast<ef::Token>(rng.randint(11));
      CHECK(ef::testing::max_error(state(parents, tokens), uncached(parents, tokens)) < 1e-10);
      count = static_cast<ef::Index>(parents.size());
    }
    CHECK_THROWS_AS(state(std::vector<ef::Index>{count}, std::vector<ef::Token>{1}), ef::Error);
    CHECK_THROWS_AS(state(std::vector<ef::Index>{0, 0}, std::vector<ef::Token>{1}), ef::Error);
    CHECK_THROWS_AS(state(std::vector<ef::Index>{0}, std::vector<ef::Token>{11}), ef::Error);
  }
  ef::Tape<double> tape;
  const ef::RecurrentSeq2Seq<double> model(ef::testing::small_recurrent(), rng);
  CHECK_THROWS_AS(ef::decoding_state(model, source, {.tape = &tape}), ef::Error);
}
