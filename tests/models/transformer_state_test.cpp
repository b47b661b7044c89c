#include "eigenformer/models/transformer_state.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/decode/greedy.hpp"
#include "eigenformer/kernels/scores/score_function.hpp"
#include "support/allocations.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/decoding_checks.hpp"
#include "support/message_of.hpp"
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

TEST_CASE("hypotheses in pages of any size have the logits of the whole model", "[models]") {
  const std::uint64_t seed = 78;
  const ef::Index page_size = GENERATE(1, 3, 16);
  const ef::PositionEncoding positions = GENERATE(from_range(ef::position_encodings));
  CAPTURE(seed, page_size, ef::to_string(positions));
  const ef::Transformer<double> model = model_of(true, seed, positions);
  ef::testing::RandomSteps steps(3, 11, seed);
  ef::TransformerState<double> state(model, steps.sources(), {},
                                     {.page_size = page_size, .memory_page_size = page_size});
  for (int step = 0; step < 36; ++step) {
    CAPTURE(step);
    if (step % 5 == 3) state.add(steps.add(2));
    const auto [parents, tokens] = steps.next(5);
    const ef::Matrix<double> logits = state(parents, tokens);
    REQUIRE(logits.rows() == static_cast<ef::Index>(parents.size()));
    for (ef::Index i = 0; i < logits.rows(); ++i)
      REQUIRE(ef::testing::max_error(
                  logits.row(i),
                  ef::testing::whole_logits<double>(model, steps.hypotheses()[static_cast<std::size_t>(i)])) < 1e-10);
  }
  CHECK(state.target_cache().table().used_pages() > 0);
  CHECK(state({}, {}).rows() == 0);
  CHECK(state.target_cache().table().used_pages() == 0);
  CHECK(state.memory_cache().table().used_pages() == 0);
}

TEST_CASE("a hypothesis has the bits that it has alone, whatever is decoded beside it", "[models][threads]") {
  const std::uint64_t seed = GENERATE(79U, 80U);
  const ef::PositionEncoding positions = GENERATE(from_range(ef::position_encodings));
  CAPTURE(seed, ef::to_string(positions));
  ef::Rng rng(seed);
  ef::TransformerOptions options = model_of(true, seed, positions).options;
  if (seed == 80) options.decoder_scores = {{.window = 4}, {.soft_cap = 0.5}};
  if (seed == 80) options.memory_scores = {{.window = 6}, {}};
  const ef::Transformer<float> model(options, rng);
  ef::ThreadPool pool(2);
  ef::Workspace workspace;
  ef::testing::RandomSteps steps(3, 11, seed);
  ef::TransformerState<float> state(model, steps.sources());
  ef::TransformerState<float> threaded(model, steps.sources(), {.workspace = &workspace, .threads = &pool},
                                       {.page_size = 5, .memory_page_size = 2});
  for (int step = 0; step < 38; ++step) {
    CAPTURE(step);
    if (step % 4 == 2) {
      const ef::Tokens more = steps.add(steps.rng().randint(3));
      state.add(more);
      threaded.add(more);
    }
    const auto [parents, tokens] = steps.next(9);
    const ef::Matrix<float> logits = state(parents, tokens);
    REQUIRE(logits == threaded(parents, tokens));
    if (step % 6 == 5)
      for (ef::Index i = 0; i < logits.rows(); ++i)
        REQUIRE(logits.row(i) ==
                ef::testing::logits_alone<float>(model, steps.hypotheses()[static_cast<std::size_t>(i)]));
  }
}

TEST_CASE("the caches of a run that is refilled stay as small as its largest step", "[models]") {
  const ef::Transformer<float> model = [] {
    ef::Rng rng(81);
    return ef::Transformer<float>(ef::testing::small_transformer(), rng);
  }();
  ef::testing::RandomSteps steps(0, 11, 81);
  ef::TransformerState<float> state(model, steps.sources(), {}, {.page_size = 4, .memory_page_size = 4});
  // Always four sentences; each has one to ten tokens, and then makes place for another.
  std::vector<ef::Index> left;
  for (int sentences = 0; sentences < 400;) {
    std::vector<ef::Index> parents;
    std::vector<ef::Token> tokens;
    for (std::size_t i = 0; i < left.size(); ++i)
      if (left[i] > 0) parents.push_back(static_cast<ef::Index>(i));
    const auto missing = static_cast<ef::Index>(4 - parents.size());
    for (ef::Index i = 0; i < missing; ++i, ++sentences) {
      parents.push_back(static_cast<ef::Index>(left.size()));
      left.push_back(1 + steps.rng().randint(10));
    }
    state.add(steps.add(missing));
    std::vector<ef::Index> next;
    for (const ef::Index parent : parents) next.push_back(left[static_cast<std::size_t>(parent)] - 1);
    left = next;
    tokens.assign(parents.size(), 3);
    REQUIRE(state(parents, tokens).rows() == 4);
    REQUIRE(state.target_cache().table().used_pages() <= 4 * 3);
    REQUIRE(state.memory_cache().table().used_pages() <= 4 * 3);
  }
  CHECK(state.target_cache().table().pages() <= 4 * 3);
  CHECK(state.memory_cache().table().pages() <= 3 * 4 * 3);  // sentences leave gaps of other lengths
}

TEST_CASE("alignments are the mean weights of the last layer's heads", "[models]") {
  const std::uint64_t seed = 82;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::TransformerOptions options = model_of(true, seed).options;
  options.memory_scores = {{}, {.window = 5}};
  const ef::Transformer<double> model(options, rng);
  ef::testing::RandomSteps steps(3, 11, seed);
  ef::TransformerState<double> state(model, steps.sources()), plain(model, steps.sources());
  state.record_alignments(true);
  for (int step = 0; step < 12; ++step) {
    if (step == 5) {
      const ef::Tokens more = steps.add(2);
      state.add(more);
      plain.add(more);
    }
    const auto [parents, tokens] = steps.next(5);
    CHECK(state(parents, tokens) == plain(parents, tokens));
    for (std::size_t i = 0; i < parents.size(); ++i) {
      const auto& [source, target] = steps.hypotheses()[i];
      ef::AttentionRecorder<double> recorder;
      model({.attention = &recorder}, ef::Tokens{source, {}}, ef::Tokens{target, {}});
      const ef::Tensor<double>& weights = recorder.weights(model.decoder.layers.back().multihead_attn);
      ef::Matrix<double> expected = ef::Matrix<double>::Zero(1, static_cast<ef::Index>(source.size()));
      for (ef::Index head = 0; head < 4; ++head) expected += weights.matrix(head).bottomRows(1) / 4;
      const ef::Matrix<double> alignment = state.alignment(static_cast<ef::Index>(i));
      CHECK(ef::shape(alignment) == ef::shape(expected));
      CHECK(ef::testing::max_error(alignment, expected) < 1e-12);
    }
  }
  CHECK(ef::testing::message_of([&] {
          state.alignment(-1);
        }).find("TransformerState: the alignment of hypothesis -1 does not exist, the last step had ") == 0);
  CHECK(ef::testing::message_of([&] { plain.alignment(0); }) ==
        "TransformerState: no alignments are recorded; call record_alignments(true) before the first step");
  CHECK(ef::testing::message_of([&] { plain.record_alignments(true); }) ==
        "TransformerState: record_alignments is called after the first step");
  options.num_decoder_layers = 0;
  options.memory_scores = {};
  const ef::Transformer<double> shallow(options, rng);
  CHECK(ef::testing::message_of([&] { ef::decoding_state(shallow, steps.sources()).record_alignments(true); }) ==
        "TransformerState: the decoder has no layers, and so no alignments");
}

TEST_CASE("what a step cannot do is named, and leaves the state as it was", "[models]") {
  const ef::Transformer<double> model = model_of(true, 83, ef::PositionEncoding::learned);
  ef::testing::RandomSteps steps(2, 11, 83);
  ef::TransformerState<double> state(model, steps.sources());
  const auto message = [&](std::vector<ef::Index> parents, std::vector<ef::Token> tokens) {
    return ef::testing::message_of([&] { state(parents, tokens); });
  };
  const auto refuses = [&] {
    const std::string count = std::to_string(steps.hypotheses().size());
    CHECK(message({0, 0}, {1}) == "TransformerState: 2 parents and 1 tokens, expected equal numbers");
    CHECK(message({0, 9}, {1, 1}) == "TransformerState: parent 9 does not exist, there are " + count);
    CHECK(message({-1}, {1}) == "TransformerState: parent -1 does not exist, there are " + count);
    CHECK(message({0}, {11}) == "TransformerState: token 11 does not exist, the vocabulary has 11");
    CHECK(message({0, 0}, {1, -1}) == "TransformerState: token -1 does not exist, the vocabulary has 11");
    CHECK_THROWS_AS(state.add(ef::Tokens{{3, 11}, {}}), ef::Error);
    CHECK_THROWS_AS(state.add(ef::Tokens{{3, 4}, {0, 1}}), ef::Error);
  };
  refuses();
  for (int step = 0; step < 40; ++step) {
    const auto [parents, tokens] = steps.next(3);
    const ef::Matrix<double> logits = state(parents, tokens);
    if (step % 10 != 0) continue;
    for (ef::Index i = 0; i < logits.rows(); ++i)
      CHECK(ef::testing::max_error(logits.row(i), ef::testing::whole_logits<double>(
                                                      model, steps.hypotheses()[static_cast<std::size_t>(i)])) < 1e-10);
    refuses();
  }
  CHECK(message({0}, {1}) == "TransformerState: hypothesis 0 has 40 tokens already, the model has as many positions");
  state.add(steps.add(1));
  CHECK(state(std::vector<ef::Index>{static_cast<ef::Index>(steps.hypotheses().size()) - 1}, std::vector<ef::Token>{1})
            .allFinite());
}

TEST_CASE("after a first run a step allocates nothing", "[models]") {
  const ef::PositionEncoding positions = GENERATE(ef::PositionEncoding::none, ef::PositionEncoding::sinusoidal,
                                                  ef::PositionEncoding::learned, ef::PositionEncoding::rotary);
  const bool grouped = GENERATE(false, true);
  CAPTURE(ef::to_string(positions), grouped);
  ef::Rng rng(84);
  ef::TransformerOptions options = ef::testing::small_transformer();
  options.positions = positions;
  options.layer.width = 32;
  options.layer.heads = 4;
  options.layer.key_heads = grouped ? 2 : 4;
  options.layer.norm_first = grouped;
  options.max_length = 60;
  const ef::Transformer<float> model(options, rng);
  const std::vector<std::vector<ef::Token>> sentences(4, std::vector<ef::Token>(7, 5));
  const ef::Tokens source = ef::Tokens::of(sentences);
  ef::TransformerState<float> state(model, source);
  std::vector<ef::Index> parents(20);
  const std::vector<ef::Token> tokens(20, 3);
  const auto run = [&](bool shared) {
    for (std::size_t i = 0; i < parents.size(); ++i) parents[i] = static_cast<ef::Index>(i) / 5;
    state(parents, tokens);
    for (std::size_t step = 1; step < 50; ++step) {
      for (std::size_t i = 0; i < parents.size(); ++i)
        parents[i] = static_cast<ef::Index>(shared ? i / 5 * 5 + i * step % 5 * (i + step) % 5 : i);
      state(parents, tokens);
    }
    state({}, {});
    state.add(source);
  };
  run(false);  // as many pages as there can be
  run(true);
  for (std::size_t i = 0; i < parents.size(); ++i) parents[i] = static_cast<ef::Index>(i) / 5;
  state(parents, tokens);
  const ef::testing::AllocationCount allocations(1);
  for (std::size_t step = 1; step < 50; ++step) {
    for (std::size_t i = 0; i < parents.size(); ++i)
      parents[i] = static_cast<ef::Index>(i / 5 * 5 + i * step % 5 * (i + step) % 5);
    state(parents, tokens);
  }
  CHECK(allocations.count() == 0);
  if (!ef::testing::can_count_allocations()) WARN("allocations are not counted in this build");
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
