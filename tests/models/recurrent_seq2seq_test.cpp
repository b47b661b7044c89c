#include "eigenformer/models/recurrent_seq2seq.hpp"

#include "eigenformer/autograd/gradient_check.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/train/trainer.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/model_loss.hpp"
#include "support/recurrent_models.hpp"

namespace ef = eigenformer;
using ef::testing::copy_batch;
using ef::testing::loss_of;

TEST_CASE("gradients of every kind of recurrent seq2seq model", "[models][long]") {
  const std::uint64_t seed = 651;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::TranslationBatch batch = copy_batch({3, 5, 1, 4}, rng);
  for (const ef::RecurrentSeq2SeqOptions& options : ef::testing::kinds_of_recurrent_models()) {
    CAPTURE(ef::testing::name_of(options));
    ef::RecurrentSeq2Seq<double> model(options, rng);
    const ef::GradientCheckResult result = ef::gradient_check_parameters(
        model,
        [&](const ef::Context<double>& context) { return loss_of(model, context, batch, {.label_smoothing = 0.1}); },
        {.max_entries = 6});
    INFO(result.where);
    CHECK(result.entries > 50);
    CHECK(result.max_error <= 1e-6);
  }
}

TEST_CASE("a recurrent model's loss is the cross entropy of its logits", "[models]") {
  const std::uint64_t seed = 655;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::TranslationBatch batch = copy_batch({3, 5, 1}, rng);
  for (const ef::RecurrentSeq2SeqOptions& options : ef::testing::kinds_of_recurrent_models()) {
    CAPTURE(ef::testing::name_of(options), options.tie_output);
    ef::RecurrentSeq2Seq<double> model(options, rng);
    ef::testing::check_model_loss(model, batch);
    if (options.tie_output) continue;
    model.generator.bias = {};
    ef::testing::check_model_loss(model, batch);
  }
}

TEST_CASE("a sentence's logits are the same alone, in any batch, and by any number of threads", "[models][threads]") {
  const std::uint64_t seed = 652;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  const ef::TranslationBatch batch = copy_batch({3, 7, 1, 4, 7, 2}, rng);
  for (const ef::RecurrentSeq2SeqOptions& options : ef::testing::kinds_of_recurrent_models()) {
    CAPTURE(ef::testing::name_of(options));
    const ef::RecurrentSeq2Seq<float> model(options, rng);
    const ef::Matrix<float> all = model({}, batch.source, batch.target).value();
    const ef::PackedWeights<float> packed(model);
    CHECK(model({.threads = &pool, .packed = &packed}, batch.source, batch.target).value() == all);
    for (ef::Index s = 0; s < batch.target.sequences(); ++s) {
      const auto one = [s](const ef::Tokens& tokens) {
        const auto ids = tokens[s];
        return ef::Tokens::of(std::vector<std::vector<ef::Token>>{{ids.begin(), ids.end()}});
      };
      CHECK(model({}, one(batch.source), one(batch.target)).value() ==
            all.middleRows(batch.target.rows.begin(s), batch.target.rows.length(s)));
    }
  }
}

TEST_CASE("a recurrent model that is trained does not use weights packed earlier", "[models]") {
  const std::uint64_t seed = 656;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::TranslationBatch batch = copy_batch({3, 7, 1}, rng);
  for (const ef::RecurrentSeq2SeqOptions& options : ef::testing::kinds_of_recurrent_models()) {
    CAPTURE(ef::testing::name_of(options));
    ef::RecurrentSeq2Seq<float> model(options, rng);
    const ef::PackedWeights<float> packed(model);
    ef::for_each_parameter(model, [](const std::string&, ef::Parameter<float>& weight) { weight.value *= 1.5F; });
    ef::Tape<float> tape;
    CHECK(model({.tape = &tape, .packed = &packed}, batch.source, batch.target).value() ==
          model({}, batch.source, batch.target).value());
  }
}

TEST_CASE("empty target sentences have no logits", "[models]") {
  const std::uint64_t seed = 657;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::Tokens source = copy_batch({3, 7}, rng).source;
  const ef::Tokens none = ef::Tokens::of(std::vector<std::vector<ef::Token>>(2));
  for (const ef::RecurrentSeq2SeqOptions& options : ef::testing::kinds_of_recurrent_models()) {
    CAPTURE(ef::testing::name_of(options));
    const ef::RecurrentSeq2Seq<float> model(options, rng);
    CHECK(model({}, source, none).rows() == 0);
    ef::Tape<float> tape;
    CHECK(model({.tape = &tape}, source, none).rows() == 0);
  }
}

TEST_CASE("weights of attention are recorded for every target word, fed or not", "[models]") {
  const std::uint64_t seed = 653;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::TranslationBatch batch = copy_batch({2, 5}, rng);
  for (ef::RecurrentSeq2SeqOptions options : ef::testing::kinds_of_recurrent_models()) {
    if (options.context != ef::SourceContext::attention) continue;
    CAPTURE(ef::testing::name_of(options));
    const ef::RecurrentSeq2Seq<double> model(options, rng);
    ef::AttentionRecorder<double> recorder;
    model({.attention = &recorder}, batch.source, batch.target);
    const ef::Tensor<double>& weights = recorder.weights(model.attention);
    REQUIRE(weights.dimension(1) == batch.target.rows.rows());
    REQUIRE(weights.dimension(2) == batch.source.rows.max_length());
    for (ef::Index row = 0; row < weights.dimension(1); ++row) {
      const ef::Index words = batch.source.rows.length(row < batch.target.rows.end(0) ? 0 : 1);
      CHECK(std::abs(weights.matrix(0).row(row).head(words).sum() - 1) < 1e-12);
      CHECK(weights.matrix(0).row(row).tail(weights.dimension(2) - words).isZero(0));
    }
  }
}

TEST_CASE("recurrent models learn to copy a batch", "[models][long]") {
  const std::uint64_t seed = 654;
  CAPTURE(seed);
  for (ef::RecurrentSeq2SeqOptions options : ef::testing::kinds_of_recurrent_models()) {
    CAPTURE(ef::testing::name_of(options));
    ef::Rng rng(seed);
    options.width = options.hidden = 32;
    ef::RecurrentSeq2Seq<float> model(options, rng);
    const ef::TranslationBatch batch = copy_batch({4, 2, 5, 3}, rng);
    ef::Adam<float> adam;
    double loss = 100;
    ef::train(
        model, adam, [&] { return 0; },
        [&](const ef::Context<float>& context, int) {
          return ef::BatchLoss<float>{loss_of(model, context, batch), 1};
        },
        [&](const ef::TrainingProgress& progress) {
          loss = progress.loss;
          return progress.update < 150;
        },
        {.schedule = [](ef::Index) { return 0.01; }});
    CHECK(loss < 0.1);
  }
}
