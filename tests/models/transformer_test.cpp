#include "eigenformer/models/transformer.hpp"

#include "eigenformer/autograd/gradient_check.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/train/trainer.hpp"
#include "support/allocations.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/model_loss.hpp"

namespace ef = eigenformer;
using ef::testing::copy_batch;
using ef::testing::loss_of;
using ef::testing::small_transformer;

namespace {

ef::TransformerOptions with_positions(ef::PositionEncoding positions) {
  ef::TransformerOptions options = small_transformer();
  options.positions = positions;
  options.max_length = 64;
  options.relative_distance = 2;
  options.buckets = 6;
  options.max_distance = 9;
  return options;
}

}  // namespace

TEST_CASE("gradients of the whole tiny Transformer", "[models][long]") {
  const std::uint64_t seed = 61;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::TransformerOptions options = ef::TransformerOptions::tiny();
  options.source_vocabulary_size = 11;
  options.target_vocabulary_size = 11;
  options.share_embeddings = GENERATE(true, false);
  options.layer.norm_first = !options.share_embeddings;
  options.tie_output = options.share_embeddings;
  options.positions =
      options.share_embeddings ? ef::PositionEncoding::sinusoidal_concatenated : ef::PositionEncoding::learned;
  options.layer.activation = ef::Activation::gelu;  // no kinks
  options.max_length = 16;
  ef::Transformer<double> model(options, rng);
  const ef::TranslationBatch batch = copy_batch({3, 1}, rng);
  const ef::GradientCheckResult result = ef::gradient_check_parameters(
      model,
      [&](const ef::Context<double>& context) { return loss_of(model, context, batch, {.label_smoothing = 0.1}); },
      {.max_entries = 2});
  INFO(result.where);
  CHECK(result.entries > 200);
  CHECK(result.max_error <= 1e-6);
}

TEST_CASE("gradients of a Transformer with every kind of position", "[models][long]") {
  const std::uint64_t seed = 66;
  const ef::PositionEncoding positions = GENERATE(from_range(ef::position_encodings));
  CAPTURE(seed, ef::to_string(positions));
  ef::Rng rng(seed);
  ef::TransformerOptions options = with_positions(positions);
  options.layer.activation = ef::Activation::gelu;
  ef::Transformer<double> model(options, rng);
  const ef::TranslationBatch batch = copy_batch({3, 0, 7}, rng);
  const ef::GradientCheckResult result = ef::gradient_check_parameters(
      model, [&](const ef::Context<double>& context) { return loss_of(model, context, batch); }, {.max_entries = 4});
  INFO(result.where);
  CHECK(result.entries > 100);
  CHECK(result.max_error <= 1e-6);
}

TEST_CASE("a Transformer's loss is the cross entropy of its logits", "[models]") {
  const std::uint64_t seed = 69;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::TranslationBatch batch = copy_batch({3, 5, 1}, rng);
  ef::TransformerOptions options = small_transformer();
  options.share_embeddings = GENERATE(true, false);
  options.tie_output = GENERATE(true, false);
  CAPTURE(options.share_embeddings, options.tie_output);
  ef::Transformer<double> model(options, rng);
  ef::testing::check_model_loss(model, batch);
  if (options.tie_output) return;
  for (ef::Index i = 0; i < 11; ++i) model.generator.bias.value(0, i) = rng.normal();
  ef::testing::check_model_loss(model, batch);
  model.generator.bias = {};
  ef::testing::check_model_loss(model, batch);
}

TEST_CASE("where positions have their parameters, and how many", "[models]") {
  const auto names_of = [](ef::PositionEncoding positions) {
    ef::Rng rng(1);
    const ef::Transformer<float> model(with_positions(positions), rng);
    std::vector<std::string> names;
    ef::for_each_parameter(model, [&](const std::string& name, const ef::Parameter<float>& p) {
      const bool of_positions =
          name.find("position") != std::string::npos || name.find("relative") != std::string::npos;
      if (of_positions)
        names.push_back(name + " " + std::to_string(p.value.rows()) + "x" + std::to_string(p.value.cols()));
    });
    return names;
  };
  using Names = std::vector<std::string>;
  CHECK(names_of(ef::PositionEncoding::none).empty());
  CHECK(names_of(ef::PositionEncoding::sinusoidal).empty());
  CHECK(names_of(ef::PositionEncoding::alibi).empty());
  CHECK(names_of(ef::PositionEncoding::rotary).empty());
  CHECK(names_of(ef::PositionEncoding::learned) == Names{"positions.weight 64x16"});
  CHECK(names_of(ef::PositionEncoding::bucketed) ==
        Names{"encoder.positions.weight 6x2", "decoder.positions.weight 6x2"});
  ef::Rng rng(1);
  const ef::Transformer<float> bucketed(with_positions(ef::PositionEncoding::bucketed), rng);
  CHECK(bucketed.encoder.positions.options.buckets.bidirectional);
  CHECK(!bucketed.decoder.positions.options.buckets.bidirectional);
  Names relative;
  for (const char* stack : {"encoder", "decoder"})
    for (const char* layer : {"0", "1"})
      for (const char* of : {"keys", "values"})
        relative.push_back(std::string(stack) + ".layers." + layer + ".self_attn.relative_" + of + " 5x8");
  CHECK(names_of(ef::PositionEncoding::relative) == relative);
}

TEST_CASE("a model with positions knows in which order its tokens stand, one without does not", "[models]") {
  const std::uint64_t seed = 67;
  const ef::PositionEncoding positions = GENERATE(from_range(ef::position_encodings));
  CAPTURE(seed, ef::to_string(positions));
  ef::Rng rng(seed);
  const ef::Transformer<double> model(with_positions(positions), rng);
  const std::vector<std::vector<ef::Token>> sentences{{3, 4, 5, 6, 7}, {3, 4, 7, 6, 5}};
  const ef::Matrix<double> x = model.encode({}, ef::Tokens::of(sentences)).value();
  const double difference = (x.row(0) - x.row(5)).cwiseAbs().maxCoeff();
  CHECK((difference > 1e-4) == (positions != ef::PositionEncoding::none));
  if (positions == ef::PositionEncoding::none) CHECK(difference < 1e-12);
}

TEST_CASE("all positions but learned ones go on beyond max_length", "[models]") {
  const std::uint64_t seed = 68;
  const ef::PositionEncoding positions = GENERATE(from_range(ef::position_encodings));
  CAPTURE(seed, ef::to_string(positions));
  ef::TransformerOptions options = with_positions(positions);
  const ef::TranslationBatch batch = [&] {
    ef::Rng rng(seed);
    return copy_batch({2, 90, 30}, rng);
  }();
  const auto result = [&](ef::Index max_length) {
    ef::Rng rng(seed);
    options.max_length = max_length;
    return ef::Transformer<float>(options, rng)({}, batch.source, batch.target).value();
  };
  if (positions == ef::PositionEncoding::learned) {
    CHECK_THROWS_AS(result(5), ef::Error);
    CHECK_NOTHROW(result(100));
  } else {
    CHECK(result(5).allFinite());
    CHECK(result(5) == result(100));
  }
}

TEST_CASE("a Transformer's blocks may be without residual connections", "[models]") {
  ef::Rng rng(64);
  ef::TransformerOptions options = small_transformer();
  options.layer.residual = GENERATE(true, false);
  const ef::Transformer<float> model(options, rng);
  for (const auto& layer : model.encoder.layers) CHECK(layer.residual.enabled == options.layer.residual);
  for (const auto& layer : model.decoder.layers) CHECK(layer.residual.enabled == options.layer.residual);
}

TEST_CASE("a Transformer learns one batch by heart", "[models][long]") {
  const std::uint64_t seed = 62;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::TransformerOptions options = small_transformer();
  options.layer.norm_first = GENERATE(false, true);
  CAPTURE(options.layer.norm_first);
  ef::Transformer<float> model(options, rng);
  const ef::TranslationBatch batch = copy_batch({4, 2, 5, 3}, rng);
  ef::Adam<float> adam;
  double loss = 1e9;
  ef::train(
      model, adam, [&] { return batch; },
      [&](const ef::Context<float>& context, const ef::TranslationBatch& b) {
        return ef::BatchLoss<float>{loss_of(model, context, b, {.reduction = ef::Reduction::sum}),
                                    static_cast<ef::Index>(b.next.size())};
      },
      [&](const ef::TrainingProgress& progress) {
        loss = progress.loss;
        return loss >= 0.01;
      },
      {.max_updates = 500, .schedule = ef::InverseSquareRoot{3e-3, 50}});
  CHECK(loss < 0.01);
}

TEMPLATE_TEST_CASE("a sentence's result is the same to the last bit alone and in any batch, packed or not",
                   "[models][threads]", float, double) {
  const std::uint64_t seed = 63;
  const ef::PositionEncoding positions = GENERATE(from_range(ef::position_encodings));
  CAPTURE(seed, ef::to_string(positions));
  ef::Rng rng(seed);
  ef::TransformerOptions options = with_positions(positions);
  options.max_length = 100;
  options.layer.activation = GENERATE(ef::Activation::relu, ef::Activation::gelu);
  options.layer.norm_first = options.layer.activation == ef::Activation::gelu;
  const ef::Transformer<TestType> model(options, rng);
  const ef::PackedWeights<TestType> packed(model);
  ef::ThreadPool pool(3);
  for (const ef::Index length : {1, 6, 17, 70}) {
    CAPTURE(length);
    ef::Rng first(7), second(7);
    const ef::TranslationBatch alone = copy_batch({length}, first);
    const ef::TranslationBatch together = copy_batch({length, 9, 0, 3, 50}, second);  // the first sentence is the same
    const ef::Matrix<TestType> y = model({}, alone.source, alone.target).value();
    CHECK(model({}, together.source, together.target).value().topRows(y.rows()) == y);
    CHECK(model({.packed = &packed}, alone.source, alone.target).value() == y);
    CHECK(model({.threads = &pool, .packed = &packed}, together.source, together.target).value().topRows(y.rows()) ==
          y);
    ef::Tape<TestType> tape;
    CHECK(model({.tape = &tape, .packed = &packed}, alone.source, alone.target).value() == y);
  }
}

TEST_CASE("threads and checkpointed activations change nothing: values, gradients, dropout", "[models][threads]") {
  const std::uint64_t seed = 64;
  const ef::PositionEncoding positions = GENERATE(from_range(ef::position_encodings));
  CAPTURE(seed, ef::to_string(positions));
  ef::Rng rng(seed);
  ef::TransformerOptions options = with_positions(positions);
  options.max_length = 100;
  options.layer.dropout = 0.2;
  const ef::Transformer<float> model(options, rng);
  const ef::TranslationBatch batch = copy_batch({30, 70, 2, 90, 45}, rng);
  const auto run = [&](ef::Threads* threads, bool checkpoints) {
    ef::Tape<float> tape;
    ef::Rng dropout(5);
    const ef::Context<float> context{
        .tape = &tape, .rng = &dropout, .threads = threads, .checkpoint_activations = checkpoints};
    const ef::Variable<float> loss = loss_of(model, context, batch);
    tape.backward(loss, 1, threads);
    std::vector<ef::Matrix<float>> results{loss.value()};
    ef::for_each_parameter(model, [&](const std::string&, const auto& p) { results.push_back(tape.gradient(p)); });
    return results;
  };
  ef::ThreadPool two(2);
  const std::vector<ef::Matrix<float>> plain = run(nullptr, false);
  CHECK(run(&two, false) == plain);
  CHECK(run(&two, true) == plain);
}

TEST_CASE("after a first pass over the shapes a training step allocates no activation memory", "[models]") {
  const std::uint64_t seed = 65;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::TransformerOptions options = small_transformer();
  options.layer.width = 64;
  options.layer.dim_feedforward = 128;
  ef::Transformer<float> model(options, rng);
  std::vector<ef::TranslationBatch> batches{copy_batch({40, 20, 30}, rng), copy_batch({10, 25, 80}, rng),
                                            copy_batch({60, 50}, rng)};
  ef::Adam<float> adam;
  ef::Tape<float> tape;
  ef::Rng dropout(1);
  const ef::Context<float> context{.tape = &tape, .rng = &dropout};
  const auto step = [&](const ef::TranslationBatch& batch) {
    tape.gradients().clear();
    tape.backward(loss_of(model, context, batch));
    adam.update(model, tape.gradients(), 1e-3);
  };
  for (const ef::TranslationBatch& batch : batches) step(batch);
  for (const ef::TranslationBatch& batch : batches) step(batch);
  const std::size_t chunks = tape.workspace().system_allocations();
  const std::size_t smallest_activation = 93 * 64 * sizeof(float);
  const ef::testing::AllocationCount allocations(smallest_activation);
  for (int i = 0; i < 3; ++i)
    for (const ef::TranslationBatch& batch : batches) step(batch);
  CHECK(allocations.count() == 0);
  CHECK(tape.workspace().system_allocations() == chunks);
  if (!ef::testing::can_count_allocations()) WARN("the heap itself is not counted in this build");
}

TEST_CASE("the base model has the paper's sizes and number of parameters", "[models]") {
  ef::TransformerOptions options = ef::TransformerOptions::base();
  CHECK(options.num_encoder_layers == 6);
  CHECK(options.num_decoder_layers == 6);
  CHECK(options.layer.width == 512);
  CHECK(options.layer.heads == 8);
  CHECK(options.layer.dim_feedforward == 2048);
  // Counted from the paper for any width d: per encoder layer 4 (d^2 + d) for attention, 2 * 4 d^2 + 4 d + d for the
  // feed-forward network, 2 * 2 d for the norms; the decoder has a second attention and a third norm. A width of 64
  // takes a sixtieth of the time to initialise.
  const ef::Index d = options.layer.width = 64;
  options.layer.dim_feedforward = 4 * d;
  const ef::Index attention = 4 * (d * d + d), feed_forward = 8 * d * d + 5 * d, norm = 2 * d;
  options.source_vocabulary_size = options.target_vocabulary_size = 100;
  ef::Rng rng(1);
  const ef::Transformer<float> model(options, rng);
  CHECK(ef::parameter_count(model) ==
        6 * (attention + feed_forward + 2 * norm) + 6 * (2 * attention + feed_forward + 3 * norm) + 100 * d);
}

TEST_CASE("options that do not fit together are refused", "[models]") {
  ef::Rng rng(1);
  ef::TransformerOptions options = small_transformer();
  options.target_vocabulary_size = 12;
  CHECK_THROWS_WITH(ef::Transformer<float>(options, rng),
                    "Transformer: share_embeddings needs one vocabulary, given are 11 and 12 tokens");
  options.target_vocabulary_size = 0;
  CHECK_THROWS_AS(ef::Transformer<float>(options, rng), ef::Error);
  options = small_transformer();
  options.num_decoder_layers = -2;
  CHECK_THROWS_WITH(ef::Transformer<float>(options, rng), "Transformer: num_encoder_layers is " +
                                                              std::to_string(options.num_encoder_layers) +
                                                              ", num_decoder_layers -2, expected 0 or more");
  options = with_positions(ef::PositionEncoding::relative);
  options.relative_distance = 0;
  CHECK_THROWS_WITH(ef::Transformer<float>(options, rng), "Transformer: relative_distance is 0, expected 1 or more");
  options.relative_distance = 4;
  options.layer.relative_distance = 3;
  CHECK_THROWS_WITH(ef::Transformer<float>(options, rng),
                    "Transformer: layer.relative_distance is 3, expected 0; set positions to relative, and "
                    "relative_distance beside it");
  options = with_positions(ef::PositionEncoding::bucketed);
  options.max_distance = 3;
  CHECK_THROWS_WITH(
      ef::Transformer<float>(options, rng),
      "RelativeBias: max_distance is 3, expected more than 3, the number of distances with a bucket of their own");
  options = with_positions(ef::PositionEncoding::rotary);
  options.layer.head_width = 5;
  CHECK_THROWS_WITH(
      ef::Transformer<float>(options, rng),
      "AttentionPositions: rotary turns pairs of features, head_width is 5, expected an even number, 0 to 65536");
}
