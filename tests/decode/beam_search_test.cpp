#include "eigenformer/decode/beam_search.hpp"

#include "decode/toy_model.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/decode/greedy.hpp"
#include "support/allocations.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::testing::GrowingToyStep;
using ef::testing::ToyModel;
using ef::testing::ToyStep;
using Results = std::vector<std::vector<ef::Hypothesis>>;

namespace {

void check_equal(const ef::Hypothesis& a, const ef::Hypothesis& b, double tolerance) {
  CHECK(a.tokens == b.tokens);
  CHECK(a.ended == b.ended);
  CHECK(std::abs(a.log_probability - b.log_probability) <= tolerance);
  CHECK(std::abs(a.score - b.score) <= tolerance);
  REQUIRE(a.token_log_probabilities.size() == b.token_log_probabilities.size());
  for (std::size_t i = 0; i < a.token_log_probabilities.size(); ++i)
    CHECK(std::abs(a.token_log_probabilities[i] - b.token_log_probabilities[i]) <= tolerance);
}

void check_equal(const std::vector<ef::Hypothesis>& a, const std::vector<ef::Hypothesis>& b, double tolerance) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) check_equal(a[i], b[i], tolerance);
}

void check_same_bits(const Results& a, const Results& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CAPTURE(i);
    check_equal(a[i], b[i], 0);
    for (std::size_t h = 0; h < a[i].size(); ++h) CHECK(a[i][h].alignments == b[i][h].alignments);
  }
}

/// Options that a test chooses at random, and what they refer to.
struct RandomOptions {
  ef::DecodingOptions options;
  std::vector<ef::Index> limits;
  std::vector<std::vector<ef::Token>> prefixes;

  RandomOptions(const ToyModel& model, ef::Index sentences, ef::Rng& rng) {
    const auto one_of = [&](auto... values) {
      const std::array<double, sizeof...(values)> all{static_cast<double>(values)...};
      return all[static_cast<std::size_t>(rng.randint(sizeof...(values)))];
    };
    const auto token = [&] { return static_cast<ef::Token>(rng.randint(model.vocabulary)); };
    options.length_penalty = one_of(0, 0.6, 1, 1.7, -0.5);
    options.length_penalty_type = rng.randint(2) == 0 ? ef::LengthPenalty::average : ef::LengthPenalty::gnmt;
    options.coverage_penalty = one_of(0, 0, 0.2, 1);
    options.repetition_penalty = one_of(1, 1, 1.3, 0.8, 2);
    options.no_repeat_ngram_size = static_cast<ef::Index>(one_of(0, 0, 1, 2, 3));
    options.disable_unk = rng.randint(2) == 0;
    if (rng.randint(3) == 0) options.end_token = {2, token(), token()};
    if (rng.randint(3) == 0) options.suppress_tokens = {token()};
    if (rng.randint(3) == 0) options.suppress_sequences = {{token(), token()}, {}, {3, token(), token()}};
    if (rng.randint(3) == 0)
      options.processors = {[](const ef::ProcessorInput& input, std::span<double> logits) {
                              logits[3] +=
                                  static_cast<double>(input.tokens.size()) - static_cast<double>(input.sentence);
                            },
                            [](const ef::ProcessorInput& input, std::span<double> logits) {
                              if (input.tokens.size() == 1) logits[4] = -std::numeric_limits<double>::infinity();
                            }};
    options.min_decoding_length = rng.randint(4);
    for (ef::Index i = 0; i < sentences; ++i) limits.push_back(rng.randint(5));
    options.limits = limits;
    if (rng.randint(2) == 0) {
      prefixes.resize(static_cast<std::size_t>(sentences));
      for (std::vector<ef::Token>& prefix : prefixes) {
        prefix.resize(static_cast<std::size_t>(rng.randint(3)));
        for (ef::Token& t : prefix) t = token();
      }
      options.target_prefix = prefixes;
    }
    options.return_attention = rng.randint(2) == 0;
    ef::Rng end_rng(rng.split());
    if (end_rng.randint(3) == 0)
      options.end_token = {ef::Vocabulary::end, static_cast<ef::Token>(end_rng.randint(model.vocabulary))};
  }
};

}  // namespace

TEST_CASE("a beam wide enough for all prefixes finds what brute force finds, under all options", "[decode]") {
  const std::uint64_t seed = GENERATE(range(0U, 60U));
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ToyModel model{.vocabulary = 5, .seed = seed + 1000};
  constexpr ef::Index sentences = 3;
  RandomOptions chosen(model, sentences, rng);
  chosen.options.beam_size = 2000;
  chosen.options.num_hypotheses = 1 + rng.randint(9);
  chosen.options.early_stopping = ef::values_of<ef::BeamStopping>()[static_cast<std::size_t>(rng.randint(3))];
  const Results found = ef::beam_search(ToyStep(model, sentences), sentences, chosen.options);
  for (ef::Index s = 0; s < sentences; ++s) {
    CAPTURE(s);
    const auto i = static_cast<std::size_t>(s);
    const std::vector<ef::Hypothesis> expected = ef::testing::brute_force(model, s, chosen.options, chosen.limits[i]);
    check_equal(found[i], expected, 1e-12);
    for (const ef::Hypothesis& hypothesis : found[i]) {
      if (!chosen.options.return_attention || chosen.limits[i] == 0) {
        CHECK(hypothesis.alignments.size() == 0);
        continue;
      }
      REQUIRE(hypothesis.alignments.rows() == static_cast<ef::Index>(hypothesis.tokens.size()));
      for (ef::Index t = 0; t < hypothesis.alignments.rows(); ++t) {
        const std::vector<double> weights =
            model.alignment(s, std::span(hypothesis.tokens).first(static_cast<std::size_t>(t)));
        for (ef::Index j = 0; j < model.source_tokens(s); ++j)
          CHECK(hypothesis.alignments(t, j) == static_cast<float>(weights[static_cast<std::size_t>(j)]));
      }
    }
  }
}

TEST_CASE("narrow beams, patience and early stopping equal a naive beam search", "[decode]") {
  const std::uint64_t seed = GENERATE(range(0U, 150U));
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ToyModel model{.vocabulary = 4 + rng.randint(3) + 1, .seed = seed + 2000, .scale = seed % 2 == 0 ? 0.5 : 1.5};
  constexpr ef::Index sentences = 3;
  RandomOptions chosen(model, sentences, rng);
  for (ef::Index& limit : chosen.limits) limit *= 3;
  ef::DecodingOptions& options = chosen.options;
  options.beam_size = 2 + rng.randint(4);
  options.patience = std::array{0.5, 1.0, 1.3, 2.0, 5.0}[static_cast<std::size_t>(rng.randint(5))];
  options.num_hypotheses = 1 + rng.randint(options.max_candidates());
  options.early_stopping = ef::values_of<ef::BeamStopping>()[static_cast<std::size_t>(rng.randint(3))];
  CAPTURE(options.beam_size, options.patience, options.num_hypotheses, ef::to_string(options.early_stopping));
  const Results found = ef::beam_search(ToyStep(model, sentences), sentences, options);
  for (ef::Index s = 0; s < sentences; ++s) {
    CAPTURE(s);
    const auto i = static_cast<std::size_t>(s);
    check_equal(found[i], ef::testing::naive_beam_search(model, s, options, chosen.limits[i]), 1e-12);
  }
}

TEST_CASE("the heuristic of early stopping compares scores at the present length", "[decode]") {
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    const ToyModel model{.vocabulary = 5, .seed = seed, .scale = 1};
    const ef::DecodingOptions options{.beam_size = 2,
                                      .patience = seed % 2 == 0 ? 0.5 : 1.0,
                                      .early_stopping = ef::BeamStopping::heuristic,
                                      .length_penalty = seed % 4 < 2 ? 1.0 : 1.7,
                                      .max_decoding_length = 9};
    check_equal(ef::beam_search(ToyStep(model, 1), 1, options)[0], ef::testing::naive_beam_search(model, 0, options, 9),
                1e-12);
  }
}

TEST_CASE("early stopping saves steps", "[decode]") {
  ef::Index steps[3] = {};
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const ToyModel model{.vocabulary = 6, .seed = seed};
    ef::DecodingOptions options{.beam_size = 3, .max_decoding_length = 30};
    for (const ef::BeamStopping rule : ef::values_of<ef::BeamStopping>()) {
      ToyStep step(model, 1);
      options.early_stopping = rule;
      ef::beam_search(step, 1, options);
      steps[static_cast<std::size_t>(rule)] += step.steps;
    }
  }
  CHECK(steps[0] < steps[1]);
  CHECK(steps[1] < steps[2]);
}

TEST_CASE("without a length penalty a search ends as soon as it is decided", "[decode]") {
  ef::Index steps = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const ToyModel model{.vocabulary = 6, .seed = seed};
    ToyStep step(model, 1);
    ef::beam_search(step, 1, {.beam_size = 3, .early_stopping = ef::BeamStopping::never, .length_penalty = 0});
    steps += step.steps;
  }
  CHECK(steps < 20 * 128);
}

TEST_CASE("a beam of 1 is greedy search", "[decode]") {
  const std::uint64_t seed = GENERATE(range(0U, 30U));
  CAPTURE(seed);
  const ToyModel model{.vocabulary = 6, .seed = seed};
  const Results found =
      ef::beam_search(ToyStep(model, 4), 4, {.beam_size = 1, .max_decoding_length = 12, .min_decoding_length = 0});
  const std::vector<ef::Hypothesis> greedy = ef::greedy_search(ToyStep(model, 4), 4, {.max_tokens = 12});
  for (ef::Index s = 0; s < 4; ++s) {
    std::vector<ef::Token> tokens;
    double sum = 0;
    bool ended = false;
    while (!ended && tokens.size() < 12) {
      const std::vector<double> row =
          ef::testing::naive_log_probabilities(model, s, tokens, {.min_decoding_length = 0});
      const auto best = std::max_element(row.begin(), row.end());
      sum += *best;
      ended = best - row.begin() == 2;
      if (!ended) tokens.push_back(static_cast<ef::Token>(best - row.begin()));
    }
    const auto i = static_cast<std::size_t>(s);
    for (const ef::Hypothesis& hypothesis : {found[i][0], greedy[i]}) {
      CHECK(hypothesis.tokens == tokens);
      CHECK(hypothesis.ended == ended);
      CHECK(std::abs(hypothesis.log_probability - sum) < 1e-12);
    }
    CHECK(greedy[i].score == greedy[i].log_probability);
  }
}

TEST_CASE("a result depends neither on the batch, nor on refilling, nor on threads", "[decode][threads]") {
  const std::uint64_t seed = GENERATE(range(0U, 16U));
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ToyModel model{.vocabulary = 7, .seed = seed + 3000};
  constexpr ef::Index sentences = 17;
  RandomOptions chosen(model, sentences, rng);
  for (ef::Index& limit : chosen.limits) limit *= 2;
  ef::DecodingOptions& options = chosen.options;
  options.beam_size = 1 + rng.randint(4);
  options.num_hypotheses = options.beam_size;
  if (options.beam_size == 1 && rng.randint(2) == 0) {
    options.sampling_topk = 0;
    options.num_hypotheses = 3;
  }
  const ef::Tokens sources = model.sources(sentences);
  const Results together = ef::beam_search(ToyStep(model, sentences), sentences, options);

  ef::Index additions = 0, most_rows = 0, steps_made = 0;
  struct Counted : GrowingToyStep {
    ef::Index &total, &rows;
    Counted(const ToyModel& toy, const ef::Tokens& source, ef::Index& all, ef::Index& most)
        : GrowingToyStep(toy, source), total(all), rows(most) {}
    ~Counted() {
      total += additions;
      rows = std::max(rows, most_rows);
    }
  };
  const auto growing = [&](const ef::Tokens& batch) {
    ++steps_made;
    return Counted(model, batch, additions, most_rows);
  };
  const auto plain = [&](const ef::Tokens& batch) { return ToyStep(model, batch); };
  check_same_bits(ef::beam_search(plain, sources, options), together);
  for (const ef::Index size : {1, 3, 4, 8, 100})
    for (const ef::BatchType type : {ef::BatchType::examples, ef::BatchType::tokens}) {
      CAPTURE(size, ef::to_string(type));
      options.max_batch_size = size;
      options.batch_type = type;
      additions = most_rows = steps_made = 0;
      check_same_bits(ef::beam_search(growing, sources, options), together);
      CHECK(steps_made == 1);
      if (type == ef::BatchType::examples) {
        CHECK(most_rows <= size * std::max(options.beam_size, options.num_hypotheses));
        CHECK((additions > 0) == (size < sentences));
      }
      check_same_bits(ef::beam_search(plain, sources, options), together);
    }
  ef::ThreadPool pool(3);
  options.threads = &pool;
  check_same_bits(ef::beam_search(growing, sources, options), together);
}

TEST_CASE("max_length_a and max_length_b limit a sentence by its source", "[decode]") {
  const ToyModel model{.vocabulary = 6, .seed = 8};
  const auto step = [&](const ef::Tokens& batch) { return ToyStep(model, batch); };
  ef::DecodingOptions options{.suppress_tokens = {2}, .max_decoding_length = 9, .max_length_a = 1.5, .max_length_b = 1};
  Results results = ef::beam_search(step, model.sources(3), options);
  CHECK(results[0][0].tokens.size() == 4);  // 1.5 * 2 + 1
  CHECK(results[1][0].tokens.size() == 5);  // 1.5 * 3 + 1, rounded down
  CHECK(results[2][0].tokens.size() == 7);
  options.min_decoding_length = 6;  // wins over the second maximum
  results = ef::beam_search(step, model.sources(3), options);
  CHECK((results[0][0].tokens.size() == 6 && results[1][0].tokens.size() == 6 && results[2][0].tokens.size() == 7));
  options.min_decoding_length = 1;
  options.max_length_a = 10;
  results = ef::beam_search(step, model.sources(3), options);
  CHECK(results[0][0].tokens.size() == 9);
  CHECK(ef::testing::message_of([&] { ef::beam_search(ToyStep(model, 1), 1, options); }) ==
        "beam_search: max_length_a needs the sources, given only a step function");
}

TEST_CASE("equal scores go to the earlier hypothesis and the lower token", "[decode]") {
  const auto even = [](std::span<const ef::Index> parents, std::span<const ef::Token>) {
    return ef::Matrix<float>(ef::Matrix<float>::Zero(static_cast<ef::Index>(parents.size()), 40));
  };
  const Results found = ef::beam_search(
      even, 1, {.beam_size = 3, .num_hypotheses = 3, .suppress_tokens = {2, 1}, .max_decoding_length = 2});
  CHECK(found[0][0].tokens == std::vector<ef::Token>{0, 0});
  CHECK(found[0][1].tokens == std::vector<ef::Token>{0, 3});
  CHECK(found[0][2].tokens == std::vector<ef::Token>{0, 4});
}

TEST_CASE("logits may be of any scalar and storage order, and be referred to", "[decode]") {
  const ToyModel model{.vocabulary = 6, .seed = 11};
  const ef::DecodingOptions options{.beam_size = 3, .num_hypotheses = 2, .disable_unk = true, .max_decoding_length = 8};
  const auto decode = [&](auto convert) {
    ToyStep toy(model, 3);
    return ef::beam_search(
        [&](std::span<const ef::Index> parents, std::span<const ef::Token> tokens) -> decltype(auto) {
          return convert(toy(parents, tokens));
        },
        3, options);
  };
  const Results expected = decode([](const ef::Matrix<double>& logits) { return logits; });
  ef::Matrix<double> kept, wide;
  check_same_bits(decode([&](const ef::Matrix<double>& logits) -> const ef::Matrix<double>& { return kept = logits; }),
                  expected);
  check_same_bits(decode([](const ef::Matrix<double>& logits) { return Eigen::MatrixXd(logits); }), expected);
  check_same_bits(decode([&](const ef::Matrix<double>& logits) {
                    wide = ef::Matrix<double>::Constant(logits.rows(), 9, 5);
                    wide.leftCols(6) = logits;
                    return Eigen::Map<const ef::Matrix<double>, 0, Eigen::OuterStride<>>(wide.data(), logits.rows(), 6,
                                                                                         Eigen::OuterStride<>(9));
                  }),
                  expected);
  const Results narrow = decode([](const ef::Matrix<double>& logits) { return logits.cast<float>().eval(); });
  const Results half = decode([](const ef::Matrix<double>& logits) { return logits.cast<Eigen::bfloat16>().eval(); });
  for (std::size_t i = 0; i < 3; ++i) {
    check_equal(narrow[i], expected[i], 1e-5);
    CHECK(std::isfinite(half[i][0].score));
  }
}

TEST_CASE("a hypothesis that no token may follow is cut off", "[decode]") {
  const ToyModel model{.vocabulary = 5, .seed = 12};
  for (const ef::Index beam : {1, 3}) {
    const Results found = ef::beam_search(ToyStep(model, 1), 1,
                                          {.beam_size = beam,
                                           .num_hypotheses = beam,
                                           .early_stopping = ef::BeamStopping::never,
                                           .no_repeat_ngram_size = 1,
                                           .max_decoding_length = 9,
                                           .min_decoding_length = 9});
    REQUIRE(found[0].size() == static_cast<std::size_t>(beam));
    for (const ef::Hypothesis& hypothesis : found[0]) {
      CHECK(hypothesis.tokens.size() == 4);  // all but the end token
      CHECK(!hypothesis.ended);
    }
    const Results nothing =
        ef::beam_search(ToyStep(model, 2), 2, {.beam_size = beam, .suppress_tokens = {0, 1, 2, 3, 4}});
    CHECK(nothing[1].size() == 1);
    CHECK(nothing[1][0].tokens.empty());
    CHECK(!nothing[1][0].ended);
  }
}

TEST_CASE("any of several end tokens ends a sequence, and without end tokens only a limit does", "[decode]") {
  // Token 3 is the likeliest in step 0, 4 in step 1, 2 in step 2.
  ef::Index step_number = 0;
  const auto step = [&](std::span<const ef::Index> parents, std::span<const ef::Token>) {
    ef::Matrix<double> logits = ef::Matrix<double>::Zero(static_cast<ef::Index>(parents.size()), 5);
    constexpr ef::Index likeliest[] = {3, 4, 2};
    logits.col(likeliest[step_number++ % 3]).setConstant(20);
    return logits;
  };
  const auto found = [&](const ef::EndTokens& end_token, ef::Index least) {
    step_number = 0;
    return ef::beam_search(
               step, 1,
               {.beam_size = 1, .end_token = end_token, .max_decoding_length = 5, .min_decoding_length = least})
        .front()
        .front();
  };
  CHECK(found({2, 4}, 0).tokens == std::vector<ef::Token>{3});
  CHECK(found({2, 4}, 0).ended);
  CHECK(found({2, 3}, 0).tokens.empty());
  CHECK(found(2, 0).tokens == std::vector<ef::Token>{3, 4});
  CHECK(found({2, 4}, 2).tokens.size() == 2);  // not shorter: 4 is forbidden in step 1
  const ef::Hypothesis endless = found(std::vector<ef::Token>(), 0);
  CHECK(endless.tokens == std::vector<ef::Token>{3, 4, 2, 3, 4});
  CHECK_FALSE(endless.ended);
}

TEST_CASE("a beam stays full where several end tokens are the likeliest", "[decode]") {
  // Words 5 and 6 follow in step 0. In step 1, the end tokens 2, 3 and 4 are likelier than them.
  const auto results = [](const ef::EndTokens& end_token) {
    ef::Index steps = 0;
    const auto step = [&](std::span<const ef::Index> parents, std::span<const ef::Token>) {
      ef::Matrix<double> logits = ef::Matrix<double>::Constant(static_cast<ef::Index>(parents.size()), 7, -20);
      if (steps == 1) logits.middleCols(2, 3).setConstant(1);
      if (steps < 2)
        logits.rightCols(2).setConstant(0.9);
      else
        logits.col(2).setConstant(10);
      ++steps;
      return logits;
    };
    return ef::beam_search(step, 1,
                           {.beam_size = 2,
                            .patience = 2,
                            .num_hypotheses = 4,
                            .early_stopping = ef::BeamStopping::never,
                            .end_token = end_token,
                            .max_decoding_length = 10,
                            .min_decoding_length = 0})
        .front();
  };
  for (const ef::EndTokens& end_token : {ef::EndTokens{2, 3, 4}, ef::EndTokens{4, 3, 3, 2, 2}}) {
    const std::vector<ef::Hypothesis> found = results(end_token);
    REQUIRE(found.size() == 4);
    CHECK(found[0].tokens.size() == 2);
    CHECK(found[3].tokens.size() == 1);
  }
}

TEST_CASE("NaN is an error for forbidden tokens too", "[decode]") {
  const auto step = [](std::span<const ef::Index> parents, std::span<const ef::Token>) {
    ef::Matrix<double> logits = ef::Matrix<double>::Zero(static_cast<ef::Index>(parents.size()), 5);
    logits.col(4).setConstant(std::numeric_limits<double>::quiet_NaN());
    return logits;
  };
  for (const ef::Index beam_size : {1, 2})
    CHECK(ef::testing::message_of([&] {
            ef::beam_search(step, 1, {.beam_size = beam_size, .suppress_tokens = {4}, .max_decoding_length = 2});
          }) == "beam_search: the step's logits for sentence 0 are not finite");
}

TEST_CASE("logits that are not finite are errors under a forced prefix too", "[decode]") {
  const std::vector<std::vector<ef::Token>> prefix{{}, {3, 3}};
  for (const double wrong : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    for (const ef::Index beam_size : {1, 2}) {
      CAPTURE(wrong, beam_size);
      const auto step = [&](std::span<const ef::Index> parents, std::span<const ef::Token> tokens) {
        ef::Matrix<double> logits = ef::Matrix<double>::Zero(static_cast<ef::Index>(parents.size()), 5);
        logits.col(2).setConstant(9);
        for (ef::Index i = 0; i < logits.rows(); ++i)
          if (tokens[static_cast<std::size_t>(i)] == 3) logits(i, 4) = wrong;
        return logits;
      };
      CHECK(ef::testing::message_of([&] {
              ef::beam_search(step, 2, {.beam_size = beam_size, .target_prefix = prefix, .max_decoding_length = 4});
            }) == "beam_search: the step's logits for sentence 1 are not finite");
    }
}

TEST_CASE("the search allocates next to nothing after its first steps", "[decode]") {
  if (!ef::testing::can_count_allocations()) return;
  constexpr ef::Index vocabulary = 50;
  ef::Matrix<double> logits(12, vocabulary);
  ef::Rng rng(1);
  for (ef::Index i = 0; i < logits.size(); ++i) logits.data()[i] = rng.normal();
  logits.col(2).setConstant(-1000);
  ef::Index steps = 0;
  std::size_t at_70 = 0, at_120 = 0;
  ef::testing::AllocationCount count(1);
  const auto step = [&](std::span<const ef::Index> parents, std::span<const ef::Token>) {
    if (++steps == 70) at_70 = count.count();
    if (steps == 120) at_120 = count.count();
    return Eigen::Map<const ef::Matrix<double>>(logits.data(), static_cast<ef::Index>(parents.size()), vocabulary);
  };
  ef::beam_search(step, 3, {.beam_size = 4, .repetition_penalty = 1.2, .max_decoding_length = 130});
  CHECK(steps == 130);
  CHECK(at_120 - at_70 <= 3 + 12);  // a sentence's list of tokens, and the tokens of each hypothesis, grow by doubling
}

TEST_CASE("wrong options of a search are errors", "[decode]") {
  const ToyModel model{.vocabulary = 5, .seed = 1};
  const auto message = [&](ef::DecodingOptions options) {
    return ef::testing::message_of([&] { ef::beam_search(ToyStep(model, 2), 2, options); });
  };
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(message({.beam_size = 0}) == "beam_search: beam_size is 0, expected 1 or more");
  CHECK(message({.beam_size = 1 << 30}) == "beam_search: beam_size is 1073741824, expected at most 1000000");
  CHECK(message({.patience = 0}) == "beam_search: patience is 0, expected a number above 0");
  CHECK(message({.patience = nan}) == "beam_search: patience is nan, expected a number above 0");
  CHECK(message({.beam_size = 1, .num_hypotheses = 1'000'001, .sampling_topk = 0}) ==
        "beam_search: num_hypotheses is 1000001, expected at most 1000000");
  CHECK(message({.num_hypotheses = 0}) == "beam_search: num_hypotheses is 0, expected 1 or more");
  CHECK(message({.num_hypotheses = 3}) == "beam_search: num_hypotheses is 3, expected at most 2, beam_size * patience");
  CHECK(message({.beam_size = 1, .num_hypotheses = 2}) ==
        "beam_search: num_hypotheses is 2, expected at most 1 with beam_size 1");
  CHECK(message({.length_penalty = nan}) == "beam_search: length_penalty is nan, expected -10 to 10");
  CHECK(message({.length_penalty = 11}) == "beam_search: length_penalty is 11, expected -10 to 10");
  CHECK(message({.coverage_penalty = -1}) == "beam_search: coverage_penalty is -1, expected 0 or more");
  CHECK(message({.repetition_penalty = 0}) == "beam_search: repetition_penalty is 0, expected a number above 0");
  CHECK(message({.no_repeat_ngram_size = -1}) == "beam_search: no_repeat_ngram_size is -1, expected 0 or more");
  CHECK(message({.disable_unk = true, .unk_token = 5}) == "beam_search: unk_token is 5, the vocabulary has 5 tokens");
  CHECK(message({.suppress_sequences = {{1, 7}}}) ==
        "beam_search: a token of suppress_sequences is 7, the vocabulary has 5 tokens");
  CHECK(message({.suppress_tokens = {-1}}) ==
        "beam_search: a token of suppress_tokens is -1, the vocabulary has 5 tokens");
  CHECK(message({.end_token = {2, 9}}) == "beam_search: end_token is 9, the vocabulary has 5 tokens");
  CHECK(message({.end_token = 9}) == "beam_search: end_token is 9, the vocabulary has 5 tokens");
  CHECK(message({.max_decoding_length = -1}) == "beam_search: max_decoding_length is -1, expected 0 or more");
  CHECK(message({.max_decoding_length = 3, .min_decoding_length = 4}) ==
        "beam_search: min_decoding_length is 4, expected at most max_decoding_length, which is 3");
  CHECK(message({.max_length_b = -1}) == "beam_search: max_length_b is -1, expected 0 or more");
  CHECK(message({.beam_size = 1, .sampling_topk = -1}) == "beam_search: sampling_topk is -1, expected 0 or more");
  CHECK(message({.sampling_topk = 5}) == "beam_search: sampling_topk is 5 and beam_size 2; sampling needs beam_size 1");
  CHECK(message({.sampling_topp = 1.5}) == "beam_search: sampling_topp is 1.5, expected above 0, at most 1");
  CHECK(message({.sampling_temperature = -1}) == "beam_search: sampling_temperature is -1, expected 0 or more");
  CHECK(message({.callback = [](const ef::DecodingStepResult&) { return false; }}) ==
        "beam_search: a callback needs beam_size 1, given 2");
  CHECK(message({.max_batch_size = -5}) == "beam_search: max_batch_size is -5, expected 0 or more");
  const std::vector<std::vector<ef::Token>> one{{3}}, unknown{{3}, {4, 5}};
  CHECK(message({.target_prefix = one}) == "beam_search: there are 1 target prefixes, expected 2, one per sentence");
  CHECK(message({.target_prefix = unknown}) ==
        "beam_search: a token of target_prefix is 5, the vocabulary has 5 tokens");
  const std::vector<ef::Index> limits{3};
  CHECK(message({.limits = limits}) == "beam_search: there are 1 limits, expected 2, one per sentence");
  CHECK(message({.processors = {[](const ef::ProcessorInput&, std::span<double> logits) { logits[1] = 0.0 / 0.0; }}}) ==
        "beam_search: the step's logits for sentence 0 are not finite");
  const auto blind = [](std::span<const ef::Index> parents, std::span<const ef::Token>) {
    return ef::Matrix<double>(ef::Matrix<double>::Zero(static_cast<ef::Index>(parents.size()), 5));
  };
  for (const ef::DecodingOptions& options :
       {ef::DecodingOptions{.coverage_penalty = 0.2}, ef::DecodingOptions{.return_attention = true}})
    CHECK(ef::testing::message_of([&] { ef::beam_search(blind, 1, options); }) ==
          "beam_search: return_attention and coverage_penalty need a step function with alignments");
  const auto short_step = [](std::span<const ef::Index>, std::span<const ef::Token>) {
    return ef::Matrix<double>(ef::Matrix<double>::Zero(1, 5));
  };
  CHECK(ef::testing::message_of([&] { ef::beam_search(short_step, 2); }) ==
        "beam_search: the step gave logits [1 x 5], expected 2 rows");
  CHECK(ef::testing::message_of([&] { ef::beam_search(short_step, -1); }) ==
        "beam_search: there are -1 sentences, expected 0 or more");
}

TEST_CASE("a search can be cancelled before each of its steps", "[decode]") {
  const ToyModel model{.vocabulary = 7, .seed = 31};
  const ef::Index beam_size = GENERATE(1, 3);
  ef::Index allowed = 0, steps = 0;
  ef::DecodingOptions options{.beam_size = beam_size, .suppress_tokens = {2}, .max_decoding_length = 6};
  const Results expected = ef::beam_search(ToyStep(model, 4), 4, options);
  options.cancelled = [&] { return steps++ == allowed; };
  for (allowed = 0; allowed < 6; ++allowed) {
    CAPTURE(beam_size, allowed);
    steps = 0;
    ToyStep step(model, 4);
    CHECK(ef::testing::message_of([&] { ef::beam_search(step, 4, options); }) == "beam_search: cancelled");
    CHECK(step.steps == allowed);
  }
  steps = 0;
  check_same_bits(ef::beam_search(ToyStep(model, 4), 4, options), expected);
  CHECK(steps == 6);
}

TEST_CASE("a search can be cancelled while it encodes its sources", "[decode]") {
  const ToyModel model{.vocabulary = 7, .seed = 32};
  std::vector<std::vector<ef::Token>> sentences;
  for (const std::size_t length : std::vector<std::size_t>{1500, 300, 400, 500, 324, 7, 500})
    sentences.emplace_back(length, static_cast<ef::Token>(sentences.size()));
  const ef::Tokens sources = ef::Tokens::of(sentences);
  using Lengths = std::vector<ef::Index>;
  Lengths encoded;  // tokens of each part
  struct Recorded : GrowingToyStep {
    Lengths& parts;
    Recorded(const ToyModel& toy, const ef::Tokens& source, Lengths& all) : GrowingToyStep(toy, source), parts(all) {
      parts.push_back(static_cast<ef::Index>(source.ids.size()));
    }
    void add(const ef::Tokens& source) {
      GrowingToyStep::add(source);
      parts.push_back(static_cast<ef::Index>(source.ids.size()));
    }
  };
  const auto make_step = [&](const ef::Tokens& batch) { return Recorded(model, batch, encoded); };
  ef::DecodingOptions options{.beam_size = 2, .max_decoding_length = 6};
  const Results expected = ef::beam_search(make_step, sources, options);
  CHECK(encoded == Lengths{3531});

  ef::Index allowed = 0, calls = 0;
  options.cancelled = [&] { return calls++ == allowed; };
  const Lengths parts{1500, 1000, 1024, 7};
  for (; allowed < 3; ++allowed) {
    CAPTURE(allowed);
    encoded.clear();
    calls = 0;
    CHECK(ef::testing::message_of([&] { ef::beam_search(make_step, sources, options); }) == "beam_search: cancelled");
    CHECK(encoded == Lengths(parts.begin(), parts.begin() + allowed + 1));
  }
  options.cancelled = [] { return false; };
  for (const ef::Index size : {0, 2, 3, 5}) {
    CAPTURE(size);
    encoded.clear();
    options.max_batch_size = size;
    check_same_bits(ef::beam_search(make_step, sources, options), expected);
    if (size == 0) CHECK(encoded == parts);
  }
}
