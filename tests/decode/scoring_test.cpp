#include "eigenformer/decode/scoring.hpp"

#include "eigenformer/decode/beam_search.hpp"
#include "eigenformer/models/translation_model.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/message_of.hpp"
#include "support/recurrent_models.hpp"

namespace ef = eigenformer;

namespace {

/// Returns the log-probability of each next token, by one call of the model for each prefix.
template <class Model>
std::vector<double> naive_scores(const Model& model, std::span<const ef::Token> source,
                                 std::span<const ef::Token> target) {
  std::vector<double> scores;
  const ef::Tokens alone{{source.begin(), source.end()}, ef::RowOffsets{0, static_cast<ef::Index>(source.size())}};
  std::vector<ef::Token> prefix{1};
  for (std::size_t i = 0; i <= target.size(); ++i) {
    const ef::Token next = i < target.size() ? target[i] : 2;
    const ef::Matrix<double> logits = model({}, alone, ef::Tokens{prefix, {}}).value();
    double sum = 0;
    for (ef::Index j = 0; j < logits.cols(); ++j) sum += std::exp(logits(logits.rows() - 1, j));
    scores.push_back(logits(logits.rows() - 1, next) - std::log(sum));
    prefix.push_back(next);
  }
  return scores;
}

template <class Model>
void check_scores(const Model& model, std::uint64_t seed) {
  ef::Rng rng(seed);
  const ef::Tokens sources = ef::testing::copy_batch({4, 1, 9, 6, 2, 3}, rng).source;
  const ef::Tokens targets{{3, 4, 5, 6, 7, 8, 9, 10, 3, 0, 5}, {0, 3, 3, 4, 9, 10, 11}};  // the second is empty
  const std::vector<ef::ScoringResult> results = ef::score_tokens(model, sources, targets);
  REQUIRE(results.size() == 6);
  double total = 0;
  for (ef::Index s = 0; s < 6; ++s) {
    CAPTURE(seed, s);
    const std::vector<double> expected = naive_scores(model, sources[s], targets[s]);
    const ef::ScoringResult& result = results[static_cast<std::size_t>(s)];
    REQUIRE(result.token_log_probabilities.size() == expected.size());
    double sum = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CHECK(std::abs(result.token_log_probabilities[i] - expected[i]) < 1e-10);
      sum += expected[i];
    }
    CHECK(std::abs(result.log_probability - sum) < 1e-9);
    total += sum;
  }
  CHECK(std::abs(ef::perplexity(results) - std::exp(-total / 17)) < 1e-8);
  for (const ef::Index size : {1, 5, 10}) {
    const std::vector<ef::ScoringResult> batched =
        ef::score_tokens(ef::Seq2Seq<double>(model), sources, targets, {.max_batch_size = size});
    for (std::size_t s = 0; s < 6; ++s) CHECK(batched[s].token_log_probabilities == results[s].token_log_probabilities);
  }
  // What beam search says of its hypotheses.
  const auto found = ef::beam_search(model, sources, {.beam_size = 3, .max_decoding_length = 6});
  for (ef::Index s = 0; s < 6; ++s) {
    const ef::Hypothesis& best = found[static_cast<std::size_t>(s)][0];
    const ef::Tokens alone{best.tokens, {}}, source{{sources[s].begin(), sources[s].end()}, {}};
    const ef::ScoringResult score = ef::score_tokens(model, source, alone)[0];
    const double end = best.ended ? 0 : score.token_log_probabilities.back();
    // The first token cannot be the end token, because min_decoding_length is 1.
    const ef::Matrix<double> logits = model({}, source, ef::Tokens{{1}, {}}).value();
    const double without_end = std::log(1 - std::exp(logits(0, 2)) / logits.array().exp().sum());
    CHECK(std::abs(score.log_probability - end - without_end - best.log_probability) < 1e-9);
  }
}

}  // namespace

TEST_CASE("scores of a Transformer equal those of one call for each prefix", "[decode]") {
  ef::Rng rng(91);
  check_scores(ef::Transformer<double>(ef::testing::small_transformer(), rng), 91);
}

TEST_CASE("scores of recurrent models equal those of one call for each prefix", "[decode]") {
  ef::Rng rng(92);
  for (const ef::SourceContext context : {ef::SourceContext::initial, ef::SourceContext::attention}) {
    ef::RecurrentSeq2SeqOptions options = ef::testing::small_recurrent();
    options.context = context;
    options.input_feeding = context == ef::SourceContext::attention;
    check_scores(ef::RecurrentSeq2Seq<double>(options, rng), 92);
  }
}

TEST_CASE("scoring nothing, and wrong calls", "[decode]") {
  ef::Rng rng(93);
  ef::Transformer<double> model(ef::testing::small_transformer(), rng);
  const ef::Tokens none{{}, {0}}, one{{3, 2}, {0, 2}};
  CHECK(ef::score_tokens(model, none, none).empty());
  CHECK(ef::perplexity({}) == 1);
  CHECK(ef::testing::message_of([&] { ef::score_tokens(model, none, one); }) == "score_tokens: 0 sources, 1 targets");
  CHECK(ef::testing::message_of([&] { ef::score_tokens(model, one, one, {.max_batch_size = 0}); }) ==
        "score_tokens: max_batch_size is 0, expected 1 or more");
  ef::Tape<double> tape;
  CHECK(ef::testing::message_of([&] { ef::score_tokens(model, one, one, {}, {.tape = &tape}); }) ==
        "score_tokens: the context has a tape; scoring records nothing");
  model.source_embedding.weight.value.setConstant(std::numeric_limits<double>::quiet_NaN());
  CHECK(ef::testing::message_of([&] { ef::score_tokens(model, one, one); }) ==
        "score_tokens: the logits of token 0 of sentence 0 are not finite");
}
