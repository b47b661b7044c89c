#include "eigenformer/models/recurrent_seq2seq_state.hpp"

#include "eigenformer/decode/greedy.hpp"
#include "support/allocations.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/decoding_checks.hpp"
#include "support/message_of.hpp"
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

TEST_CASE("sentences may be added while a recurrent model decodes others, and change no bits", "[models]") {
  const std::uint64_t seed = 664;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const ef::RecurrentSeq2SeqOptions& options : ef::testing::kinds_of_recurrent_models()) {
    CAPTURE(ef::testing::name_of(options));
    const ef::RecurrentSeq2Seq<double> model(options, rng);
    ef::testing::RandomSteps steps(3, 11, seed);
    ef::RecurrentSeq2SeqState<double> state(model, steps.sources());
    for (int step = 0; step < 14; ++step) {
      CAPTURE(step);
      if (step % 3 == 2) state.add(steps.add(2));
      const auto [parents, tokens] = steps.next(5);
      const ef::Matrix<double> logits = state(parents, tokens);
      for (ef::Index i = 0; i < logits.rows(); ++i) {
        const ef::testing::PlainHypothesis& hypothesis = steps.hypotheses()[static_cast<std::size_t>(i)];
        REQUIRE(logits.row(i) == ef::testing::logits_alone<double>(model, hypothesis));
        REQUIRE(ef::testing::max_error(logits.row(i), ef::testing::whole_logits<double>(model, hypothesis)) < 1e-10);
      }
    }
    CHECK(state({}, {}).rows() == 0);
    CHECK(state.memory_cache().table().used_pages() == 0);
  }
}

TEST_CASE("the alignments of a recurrent model are the weights of its attention", "[models]") {
  const std::uint64_t seed = 665;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const std::string where = "RecurrentSeq2SeqState: ";
  for (const ef::RecurrentSeq2SeqOptions& options : ef::testing::kinds_of_recurrent_models()) {
    CAPTURE(ef::testing::name_of(options));
    const ef::RecurrentSeq2Seq<double> model(options, rng);
    ef::testing::RandomSteps steps(3, 11, seed);
    ef::RecurrentSeq2SeqState<double> state(model, steps.sources());
    if (options.context != ef::SourceContext::attention) {
      CHECK(ef::testing::message_of([&] { state.record_alignments(true); }) ==
            where + "the model has no attention, and so no alignments");
      continue;
    }
    CHECK(ef::testing::message_of([&] { state.alignment(0); }) ==
          where + "no alignments are recorded; call record_alignments(true) before the first step");
    state.record_alignments(true);
    for (int step = 0; step < 6; ++step) {
      if (step == 3) state.add(steps.add(2));
      const auto [parents, tokens] = steps.next(5);
      state(parents, tokens);
      for (std::size_t i = 0; i < parents.size(); ++i) {
        const auto& [source, target] = steps.hypotheses()[i];
        ef::AttentionRecorder<double> recorder;
        model({.attention = &recorder}, ef::Tokens{source, {}}, ef::Tokens{target, {}});
        const ef::Matrix<double> expected = recorder.weights(model.attention).matrix(0).bottomRows(1);
        const ef::Matrix<double> alignment = state.alignment(static_cast<ef::Index>(i));
        CHECK(ef::shape(alignment) == ef::shape(expected));
        CHECK(ef::testing::max_error(alignment, expected) < 1e-12);
      }
    }
    CHECK(ef::testing::message_of([&] { state.record_alignments(false); }) ==
          where + "record_alignments is called after the first step");
    CHECK(ef::testing::message_of([&] {
            state.alignment(5);
          }).find(where + "the alignment of hypothesis 5 does not exist, the last step had ") == 0);
  }
}

TEST_CASE("what a step of a recurrent model cannot do is named, and leaves the state as it was", "[models]") {
  ef::Rng rng(666);
  const ef::RecurrentSeq2Seq<double> model(ef::testing::small_recurrent(), rng);
  ef::testing::RandomSteps steps(2, 11, 666);
  ef::RecurrentSeq2SeqState<double> state(model, steps.sources());
  const auto message = [&](std::vector<ef::Index> parents, std::vector<ef::Token> tokens) {
    return ef::testing::message_of([&] { state(parents, tokens); });
  };
  for (int step = 0; step < 5; ++step) {
    const std::string count = std::to_string(steps.hypotheses().size());
    CHECK(message({0, 0}, {1}) == "RecurrentSeq2SeqState: 2 parents and 1 tokens, expected equal numbers");
    CHECK(message({0, 9}, {1, 1}) == "RecurrentSeq2SeqState: parent 9 does not exist, there are " + count);
    CHECK(message({0, 0}, {1, 11}) == "RecurrentSeq2SeqState: token 11 does not exist, the vocabulary has 11");
    CHECK_THROWS_AS(state.add(ef::Tokens{{3, 11}, {}}), ef::Error);
    const auto [parents, tokens] = steps.next(3);
    const ef::Matrix<double> logits = state(parents, tokens);
    for (ef::Index i = 0; i < logits.rows(); ++i)
      CHECK(logits.row(i) == ef::testing::logits_alone<double>(model, steps.hypotheses()[static_cast<std::size_t>(i)]));
  }
}

TEST_CASE("after a first run a recurrent step allocates nothing", "[models]") {
  const std::vector<ef::RecurrentSeq2SeqOptions> kinds = ef::testing::kinds_of_recurrent_models();
  ef::RecurrentSeq2SeqOptions options = kinds[GENERATE_COPY(range(std::size_t{0}, kinds.size()))];
  options.num_encoder_layers = options.num_decoder_layers = GENERATE(1, 2);
  CAPTURE(ef::testing::name_of(options), options.num_decoder_layers);
  ef::Rng rng(664);
  const ef::RecurrentSeq2Seq<float> model(options, rng);
  const std::vector<std::vector<ef::Token>> sentences(4, std::vector<ef::Token>(7, 5));
  const ef::PackedWeights<float> packed(model);
  ef::RecurrentSeq2SeqState<float> state(model, ef::Tokens::of(sentences), {.packed = &packed});
  std::vector<ef::Index> parents(20);
  const std::vector<ef::Token> tokens(20, 3);
  for (std::size_t i = 0; i < parents.size(); ++i) parents[i] = static_cast<ef::Index>(i) / 5;
  const auto run = [&] {
    for (std::size_t step = 1; step < 30; ++step) {
      state(parents, tokens);
      for (std::size_t i = 0; i < parents.size(); ++i)
        parents[i] = static_cast<ef::Index>(i / 5 * 5 + i * step % 5 * (i + step) % 5);
    }
  };
  run();
  const ef::testing::AllocationCount allocations(1);
  run();
  CHECK(allocations.count() == 0);
  if (!ef::testing::can_count_allocations()) WARN("allocations are not counted in this build");
}
