#include "eigenformer/decode/sampling.hpp"

#include <map>

#include "decode/toy_model.hpp"
#include "eigenformer/decode/greedy.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::testing::ToyModel;
using ef::testing::ToyStep;

namespace {

/// Returns the probability that a chi-square variable exceeds x: the regularised upper incomplete gamma function
/// Q(k/2, x/2), by the series of its complement (Abramowitz and Stegun 6.5.29).
double chi_square_tail(double x, int degrees_of_freedom) {
  const double a = 0.5 * degrees_of_freedom, z = 0.5 * x;
  double term = 1 / a, sum = term;
  for (int n = 1; n < 10'000; ++n) sum += term *= z / (a + n);
  return 1 - sum * std::exp(a * std::log(z) - z - std::lgamma(a));
}

/// Returns the p-value of counts under probabilities that sum to 1. Outcomes of probability 0 must not occur.
double p_value(const std::vector<double>& counts, const std::vector<double>& probabilities) {
  double total = 0, x = 0;
  int outcomes = 0;
  for (const double count : counts) total += count;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (probabilities[i] == 0) {
      CHECK(counts[i] == 0);
      continue;
    }
    const double expected = total * probabilities[i];
    x += (counts[i] - expected) * (counts[i] - expected) / expected;
    ++outcomes;
  }
  return outcomes == 1 ? 1 : chi_square_tail(x, outcomes - 1);
}

/// Returns the distribution that sample_token must draw from: sorts all tokens.
std::vector<double> distribution(const std::vector<double>& logits, const ef::SamplingOptions& options) {
  std::vector<std::size_t> order(logits.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  if (options.topk > 0) order.resize(std::min(order.size(), static_cast<std::size_t>(options.topk)));
  std::vector<double> all(logits.size(), 0), kept(logits.size(), 0);
  double sum = 0, until = 0, kept_sum = 0;
  for (const std::size_t i : order) sum += all[i] = std::exp(logits[i] / options.temperature);
  for (const std::size_t i : order) {
    if (until >= options.topp * sum) break;
    until += all[i];
    kept_sum += kept[i] = all[i];
  }
  for (double& p : kept) p /= kept_sum;
  return kept;
}

}  // namespace

TEST_CASE("the chi-square distribution has its published quantiles", "[decode]") {
  CHECK(std::abs(chi_square_tail(3.841459, 1) - 0.05) < 1e-6);
  CHECK(std::abs(chi_square_tail(18.30704, 10) - 0.05) < 1e-6);
  CHECK(std::abs(chi_square_tail(2.558212, 10) - 0.99) < 1e-6);
}

TEST_CASE("draws have the distribution of their options", "[decode]") {
  const std::uint64_t seed = GENERATE(1U, 2U, 3U);
  ef::Rng rng(seed);
  std::vector<double> logits(13);
  for (double& logit : logits) logit = 1.5 * rng.normal();
  logits[4] = -std::numeric_limits<double>::infinity();
  logits[5] = logits[6] = 1;  // equal
  ef::SamplingBuffers buffers;
  for (const ef::Index topk : {0, 1, 2, 5, 13, 40})
    for (const double topp : {1.0, 0.9, 0.5, 1e-9})
      for (const double temperature : {1.0, 0.6, 2.0}) {
        const ef::SamplingOptions options{topk, topp, temperature};
        const std::vector<double> probabilities = distribution(logits, options);
        std::vector<double> counts(logits.size(), 0);
        for (int i = 0; i < 4000; ++i)
          ++counts[static_cast<std::size_t>(
              ef::sample_token(std::span<const double>(logits), options, rng.uniform(), buffers))];
        const double p = p_value(counts, probabilities);
        CAPTURE(seed, topk, topp, temperature, p);
        CHECK(p > 1e-5);  // 216 draws of p
      }
}

TEST_CASE("a draw is made from one number alone", "[decode]") {
  const std::vector<float> logits{0, std::log(2.0F), std::log(1.0F)};  // a quarter, a half, a quarter
  ef::SamplingBuffers buffers;
  const auto draw = [&](double uniform, const ef::SamplingOptions& options) {
    return ef::sample_token(std::span<const float>(logits), options, uniform, buffers);
  };
  CHECK(draw(0, {}) == 0);
  CHECK(draw(0.24, {}) == 0);
  CHECK(draw(0.26, {}) == 1);
  CHECK(draw(0.74, {}) == 1);
  CHECK(draw(0.76, {}) == 2);
  CHECK(draw(1 - 0x1p-53, {}) == 2);
  CHECK(draw(0.6, {.topk = 2}) == 1);  // the likeliest first, then the lower of two equal ones
  CHECK(draw(0.7, {.topk = 2}) == 0);
  CHECK(draw(0.7, {.topp = 0.75}) == 0);
  CHECK(draw(0.99, {.topp = 0.5}) == 1);
  CHECK(draw(0.99, {.temperature = 1e-300}) == 1);
  const std::vector<float> nothing(3, -std::numeric_limits<float>::infinity());
  CHECK(ef::testing::message_of([&] { ef::sample_token(std::span<const float>(nothing), {}, 0.5, buffers); }) ==
        "sample_token: all 3 logits are minus infinity");
  for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::vector<float> unusable{0, wrong, 1};
    for (const double topp : {1.0, 0.9})
      CHECK(ef::testing::message_of([&] {
              ef::sample_token(std::span<const float>(unusable), {.topp = topp}, 0.5, buffers);
            }) == "sample_token: the logits are not finite");
  }
  CHECK(ef::testing::message_of([&] { draw(0, {.temperature = 0}); }) ==
        "sample_token: temperature is 0, expected above 0");
  CHECK(ef::testing::message_of([&] { draw(0, {.topk = -1}); }) == "sample_token: topk is -1, expected 0 or more");
  CHECK(ef::testing::message_of([&] { draw(0, {.topp = 2}); }) ==
        "sample_token: topp is 2, expected above 0, at most 1");
}

TEST_CASE("sampled sentences have the model's distribution", "[decode]") {
  const std::uint64_t seed = GENERATE(11U, 12U);
  const ToyModel model{.vocabulary = 4, .seed = seed, .scale = 0.8};
  constexpr ef::Index draws = 6000;
  const ef::DecodingOptions options{.beam_size = 1,
                                    .num_hypotheses = draws,
                                    .max_decoding_length = 3,
                                    .min_decoding_length = 0,
                                    .sampling_topk = 0,
                                    .seed = seed};
  const auto found = ef::beam_search(ToyStep(model, 2), 2, options);
  for (ef::Index sentence = 0; sentence < 2; ++sentence) {
    std::map<std::pair<std::vector<ef::Token>, bool>, std::size_t> places;
    std::vector<double> probabilities;
    for (const ef::Hypothesis& hypothesis : ef::testing::brute_force(model, sentence, options, 3)) {
      places[{hypothesis.tokens, hypothesis.ended}] = probabilities.size();
      probabilities.push_back(std::exp(hypothesis.log_probability));
    }
    std::vector<double> counts(probabilities.size(), 0);
    for (const ef::Hypothesis& hypothesis : found[static_cast<std::size_t>(sentence)]) {
      const std::size_t place = places.at({hypothesis.tokens, hypothesis.ended});
      ++counts[place];
      CHECK(std::abs(std::exp(hypothesis.log_probability) - probabilities[place]) < 1e-12);
    }
    const double p = p_value(counts, probabilities);
    CAPTURE(seed, sentence, p);
    CHECK(p > 1e-4);
  }
}

TEST_CASE("a sample depends on the seed, the sentence and its own number only", "[decode]") {
  const ToyModel model{.vocabulary = 9, .seed = 21, .scale = 0.5};
  ef::DecodingOptions options{
      .beam_size = 1, .num_hypotheses = 6, .max_decoding_length = 20, .sampling_topk = 5, .sampling_topp = 0.9};
  const auto all = ef::beam_search(ToyStep(model, 3), 3, options);
  options.num_hypotheses = 2;
  const auto two = ef::beam_search(ToyStep(model, 3), 3, options);
  for (std::size_t s = 0; s < 3; ++s) {
    CHECK(all[s].size() == 6);
    CHECK(std::is_sorted(all[s].begin(), all[s].end(),
                         [](const ef::Hypothesis& a, const ef::Hypothesis& b) { return a.score > b.score; }));
    for (const ef::Hypothesis& sample : two[s])
      CHECK(std::count_if(all[s].begin(), all[s].end(),
                          [&](const ef::Hypothesis& other) { return other.tokens == sample.tokens; }) == 1);
  }
  CHECK(two[0][0].tokens != two[0][1].tokens);
  // A text that is decoded in two calls.
  options.first_sentence = 2;
  ToyStep last(model, 1);
  last.sentence_of = {2};
  CHECK(ef::beam_search(last, 1, options)[0][0].tokens == two[2][0].tokens);
  options.first_sentence = 0;
  options.seed = 1;
  CHECK(ef::beam_search(ToyStep(model, 3), 3, options)[0][0].tokens != two[0][0].tokens);
}

TEST_CASE("temperature 0 and topk 1 do not sample", "[decode]") {
  const ToyModel model{.vocabulary = 9, .seed = 22, .scale = 0.5};
  const auto greedy = ef::beam_search(ToyStep(model, 3), 3, {.beam_size = 1});
  const auto cold =
      ef::beam_search(ToyStep(model, 3), 3, {.beam_size = 1, .sampling_topk = 0, .sampling_temperature = 0});
  const auto tiny_nucleus = ef::beam_search(
      ToyStep(model, 3), 3, {.beam_size = 1, .num_hypotheses = 2, .sampling_topk = 0, .sampling_topp = 1e-9});
  for (std::size_t s = 0; s < 3; ++s) {
    CHECK(cold[s][0].tokens == greedy[s][0].tokens);
    for (const ef::Hypothesis& sample : tiny_nucleus[s]) CHECK(sample.tokens == greedy[s][0].tokens);
  }
}

TEST_CASE("a callback receives each token, and may stop", "[decode]") {
  const ToyModel model{.vocabulary = 7, .seed = 23, .scale = 0.7};
  const std::vector<std::vector<ef::Token>> prefixes{{}, {3, 4}, {}};
  std::map<std::pair<ef::Index, ef::Index>, std::vector<ef::DecodingStepResult>> streams;
  ef::DecodingOptions options{.beam_size = 1,
                              .num_hypotheses = 3,
                              .length_penalty = 0,
                              .target_prefix = prefixes,
                              .max_decoding_length = 10,
                              .sampling_topk = 0,
                              .callback = [&](const ef::DecodingStepResult& result) {
                                streams[{result.sentence, result.hypothesis}].push_back(result);
                                return false;
                              }};
  const auto check_streams = [&](ef::Index count) {
    const auto found = ef::beam_search(ToyStep(model, 3), 3, options);
    for (std::size_t s = 0; s < 3; ++s) {
      REQUIRE(found[s].size() == static_cast<std::size_t>(count));
      for (ef::Index h = 0; h < count; ++h) {
        std::vector<ef::Token> tokens;
        // A prefix is reported once, for hypothesis 0.
        if (h > 0) tokens = prefixes[s];
        double sum = 0;
        const std::vector<ef::DecodingStepResult>& stream = streams[{static_cast<ef::Index>(s), h}];
        for (std::size_t i = 0; i < stream.size(); ++i) {
          CHECK(stream[i].step == static_cast<ef::Index>(tokens.size()));
          CHECK(stream[i].is_last == (i + 1 == stream.size()));
          if (stream[i].token != 2) tokens.push_back(stream[i].token);
          sum += stream[i].log_probability;
        }
        CHECK(std::any_of(found[s].begin(), found[s].end(), [&](const ef::Hypothesis& hypothesis) {
          return hypothesis.tokens == tokens && std::abs(hypothesis.log_probability - sum) < 1e-12;
        }));
      }
    }
    streams.clear();
  };
  check_streams(3);
  options.num_hypotheses = options.sampling_topk = 1;
  check_streams(1);

  options.callback = [](const ef::DecodingStepResult& result) { return result.sentence == 1 && result.step == 4; };
  options.suppress_tokens = {2};
  const auto stopped = ef::beam_search(ToyStep(model, 3), 3, options);
  CHECK(stopped[0][0].tokens.size() == 10);
  CHECK(stopped[1][0].tokens.size() == 5);
  CHECK(!stopped[1][0].ended);
}
