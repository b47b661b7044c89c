#include "eigenformer/models/transformer_state.hpp"

#include "eigenformer/decode/greedy.hpp"
#include "eigenformer/kernels/scores/score_function.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/random.hpp"
#include "support/uncached_decoding.hpp"

namespace ef = eigenformer;

namespace {

ef::Transformer<double> model_of(bool norm_first, std::uint64_t seed,
                                 ef::PositionEncoding positions = ef::PositionEncoding::sinusoidal) {
  ef::Rng rng(seed);
  ef::TransformerOptions options = ef::testing::small_transformer();
  options.positions = positions;
  options.max_length = positions == ef::PositionEncoding::learned ? 40 : 6;  // the others go on beyond
  options.relative_distance = 2;
  options.layer.relative_values = norm_first;
  options.buckets = 6;
  options.max_distance = 9;
  options.layer.norm_first = norm_first;
  options.layer.heads = 4;
  options.layer.key_heads = 2;
  return ef::Transformer<double>(options, rng);
}

}  // namespace

TEST_CASE("greedy decoding with a cache equals decoding without", "[models]") {
  const std::uint64_t seed = GENERATE(71U, 72U, 73U);
  const bool norm_first = GENERATE(false, true);
  const ef::PositionEncoding positions = GENERATE(from_range(ef::position_encodings));
  CAPTURE(seed, norm_first, ef::to_string(positions));
  const ef::Transformer<double> model = model_of(norm_first, seed, positions);
  ef::Rng rng(seed + 100);
  const ef::Tokens source = ef::testing::copy_batch({5, 1, 12, 7}, rng).source;
  ef::TransformerState<double> cached(model, source);
  ef::testing::Uncached uncached{model, source};
  const auto a = ef::greedy_search(cached, 4, {.max_tokens = 25});
  const auto b = ef::greedy_search(uncached, 4, {.max_tokens = 25});
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(a[i].tokens == b[i].tokens);
    CHECK(a[i].ended == b[i].ended);
    CHECK(std::abs(a[i].log_probability - b[i].log_probability) < 1e-9);
  }
}

TEST_CASE("scores of layers see the same places in decoding as in training", "[models]") {
  const std::uint64_t seed = 77;
  const ef::PositionEncoding positions = GENERATE(from_range(ef::position_encodings));
  CAPTURE(seed, ef::to_string(positions));
  ef::TransformerOptions options = model_of(true, seed, positions).options;
  options.num_decoder_layers = 3;
  options.encoder_scores = {{.window = 3}, {.soft_cap = 0.5, .user_score = "far"}};
  options.decoder_scores = {{.window = 4, .user_score = "learned", .sinks = true},
                            {.soft_cap = 0.5, .user_score = "far"},
                            {.window = 2, .soft_cap = 0.25}};
  options.memory_scores = {
      {.window = 2}, {.user_score = "learned", .sinks = true}, {.soft_cap = 0.5, .user_score = "odd"}};
  options.layer.qk_norm = ef::QueryKeyNorm::rms_norm;
  options.rope_scaling = {.rope_type = GENERATE(ef::RopeType::yarn, ef::RopeType::dynamic, ef::RopeType::longrope),
                          .factor = 4,
                          .original_max_position_embeddings = 5,
                          .short_factor = {1, 1.5},
                          .long_factor = {2, 5}};
  if (positions != ef::PositionEncoding::rotary && options.rope_scaling.rope_type != ef::RopeType::yarn) return;
  ef::Rng rng(seed + 1);
  const ef::NamedScores<double> scores{
      {"far", ef::score([](auto s, const ef::ScorePosition& at) {
         return s + 0.5F * static_cast<float>((at.query * 5 + at.key * 3) % 7);
       })},
      {"learned", ef::TrainableScore<double>(
                      [](auto s, const ef::ScorePosition& at, const auto& table, const auto& slope) {
                        return s + table((at.query * 5 + at.key * 3) % 7) -
                               slope(at.head) * static_cast<float>(at.query);
                      },
                      {{"table", ef::testing::random_matrix<double>(1, 7, rng)},
                       {"slope", ef::testing::random_matrix<double>(1, 4, rng, 0.1)}})},
      {"odd", ef::mask([](const ef::ScorePosition& at) { return (at.query + at.key) % 2 == 1; })}};
  ef::Rng model_rng(seed), plain_rng(seed);
  ef::Transformer<double> model(options, model_rng, scores);
  for (ef::DecoderLayer<double>& layer : model.decoder.layers)
    for (ef::MultiHeadAttention<double>* attention : {&layer.self_attn, &layer.multihead_attn})
      attention->sinks.value = ef::testing::random_matrix<double>(attention->sinks.value.rows(), 4, rng);
  const ef::Tokens source = ef::testing::copy_batch({3, 8, 5}, rng).source;
  ef::TransformerState<double> cached(model, source);
  ef::testing::Uncached uncached{model, source};
  ef::Index count = 3;
  double difference = 0;
  options.encoder_scores = options.decoder_scores = options.memory_scores = {};
  const ef::Transformer<double> plain(options, plain_rng);
  ef::TransformerState<double> without(plain, source);
  for (int step = 0; step < 12; ++step) {
    std::vector<ef::Index> parents(static_cast<std::size_t>(1 + rng.randint(6)));
    for (ef::Index& parent : parents) parent = rng.randint(count);
    std::vector<ef::Token> tokens(parents.size());
    for (ef::Token& token : tokens) token = static_cast<ef::Token>(rng.randint(11));
    const ef::Matrix<double> logits = cached(parents, tokens);
    CHECK(ef::testing::max_error(logits, uncached(parents, tokens)) < 1e-10);
    difference = std::max(difference, (logits - without(parents, tokens)).cwiseAbs().maxCoeff());
    count = static_cast<ef::Index>(parents.size());
  }
  CHECK(difference > 0.01);
}

TEST_CASE("hypotheses may be dropped, reordered and split", "[models]") {
  const std::uint64_t seed = 74;
  const ef::PositionEncoding positions = GENERATE(from_range(ef::position_encodings));
  CAPTURE(seed, ef::to_string(positions));
  const ef::Transformer<double> model = model_of(true, seed, positions);
  ef::Rng rng(seed);
  const ef::Tokens source = ef::testing::copy_batch({3, 8, 5}, rng).source;
  ef::TransformerState<double> cached(model, source);
  ef::testing::Uncached uncached{model, source};
  ef::Index count = 3;
  for (int step = 0; step < 12; ++step) {
    std::vector<ef::Index> parents(static_cast<std::size_t>(1 + rng.randint(6)));
    for (ef::Index& parent : parents) parent = rng.randint(count);
    std::vector<ef::Token> tokens(parents.size());
    for (ef::Token& token : tokens) token = static_cast<ef::Token>(rng.randint(11));
    CHECK(ef::testing::max_error(cached(parents, tokens), uncached(parents, tokens)) < 1e-10);
    count = static_cast<ef::Index>(parents.size());
  }
  CHECK_THROWS_AS(cached(std::vector<ef::Index>{count}, std::vector<ef::Token>{1}), ef::Error);
  CHECK_THROWS_AS(cached(std::vector<ef::Index>{0, 0}, std::vector<ef::Token>{1}), ef::Error);
  CHECK_THROWS_AS(cached(std::vector<ef::Index>{0}, std::vector<ef::Token>{11}), ef::Error);
}

TEST_CASE("learned positions end a sentence that does not end itself, alone and beside others", "[models]") {
  ef::Transformer<double> model = model_of(true, 76, ef::PositionEncoding::learned);
  ef::Rng rng(76);
  model.generator = ef::Linear<double>(16, 11, rng);
  model.generator.bias.value(0, 2) = -1000;  // the end token is never the likeliest
  const ef::Tokens source = ef::testing::copy_batch({5, 1}, rng).source;
  const ef::Tokens alone{{source.ids.begin(), source.ids.begin() + 6}, {}};
  const auto a = ef::greedy_search(ef::decoding_state(model, source), 2);
  const auto b = ef::greedy_search(ef::decoding_state(model, alone), 1);
  CHECK(a[0].tokens.size() == 40);
  CHECK(a[1].tokens.size() == 40);
  CHECK(a[0].tokens == b[0].tokens);
}

TEST_CASE("sentences without tokens, and no sentences, are decoded too", "[models]") {
  const ef::Transformer<double> model = model_of(true, 75);
  const ef::Tokens nothing{{}, {0, 0}}, no_sentences{{}, {0}};
  ef::TransformerState<double> cached(model, nothing);
  ef::testing::Uncached uncached{model, nothing};
  const std::vector<ef::Index> parent{0};
  for (const ef::Token token : {1, 5, 3})
    CHECK(ef::testing::max_error(cached(parent, std::vector<ef::Token>{token}),
                                 uncached(parent, std::vector<ef::Token>{token})) < 1e-10);
  CHECK(ef::greedy_search(ef::TransformerState<double>(model, no_sentences), 0).empty());
  CHECK(ef::TransformerState<double>(model, no_sentences)({}, {}).rows() == 0);
}

TEST_CASE("a context with a tape cannot decode", "[models]") {
  const ef::Transformer<double> model = model_of(true, 1);
  ef::Tape<double> tape;
  const ef::Tokens source{{3, 4, 2}, {}};
  CHECK_THROWS_AS(ef::TransformerState<double>(model, source, {.tape = &tape}), ef::Error);
  ef::TransformerState<double> state(model, source);  // without offsets: one sentence
  CHECK(state(std::vector<ef::Index>{0}, std::vector<ef::Token>{1}).rows() == 1);
}
