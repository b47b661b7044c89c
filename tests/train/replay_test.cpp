#include "eigenformer/train/replay.hpp"

#include <vector>

#include "eigenformer/train/parameter_hash.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;

namespace {

/// A training whose state can be copied.
struct ReplayedTraining {
  ef::Transformer<float> model;
  ef::Adam<float> adam;
  ef::Index next = 0;  // the number of the next batch

  static ef::TranslationBatch batch(ef::Index number) {
    ef::Rng rng(100 + static_cast<std::uint64_t>(number));
    return ef::testing::copy_batch({1 + number % 4, 3}, rng);
  }
  auto next_batch() {
    return [this] { return batch(next++); };
  }
  auto loss() {
    return [this](const ef::Context<float>& context, const ef::TranslationBatch& batch) {
      return ef::BatchLoss<float>{model.loss(context, batch, {.label_smoothing = 0.1, .reduction = ef::Reduction::sum}),
                                  static_cast<ef::Index>(batch.next.size())};
    };
  }
};

ReplayedTraining new_training() {
  ef::TransformerOptions options = ef::testing::small_transformer();
  options.num_encoder_layers = 1;
  options.layer.dropout = 0.3;
  ef::Rng rng(8);
  return {ef::Transformer<float>(options, rng), {}, 0};
}

}  // namespace

TEST_CASE("any update is replayed exactly from any state before it", "[train]") {
  const ef::TrainingOptions options{
      .accumulate = 2, .schedule = ef::InverseSquareRoot{.peak = 0.01, .warmup = 3}, .seed = 6};
  ReplayedTraining training = new_training();
  std::vector<ReplayedTraining> states{training};
  std::vector<ef::TrainingProgress> updates;
  ef::TrainingOptions all = options;
  all.max_updates = 6;
  ef::train(
      training.model, training.adam, training.next_batch(), training.loss(),
      [&](const ef::TrainingProgress& progress) {
        updates.push_back(progress);
        states.push_back(training);
        return true;
      },
      all);
  for (std::size_t from = 0; from < 6; ++from)
    for (std::size_t update = from + 1; update <= 6; ++update) {
      CAPTURE(from, update);
      ReplayedTraining again = states[from];
      ef::train_until(again.model, again.adam, again.next_batch(), again.loss(), static_cast<ef::Index>(update) - 1,
                      options);
      const ef::Transformer<float> before = again.model;
      const auto replayed = ef::observe_update(again.model, again.adam, again.next_batch(), again.loss(), options);
      CHECK(replayed.progress.update == static_cast<ef::Index>(update));
      CHECK(replayed.progress.loss == updates[update - 1].loss);
      CHECK(replayed.progress.gradient_norm == updates[update - 1].gradient_norm);
      CHECK(replayed.progress.learning_rate == updates[update - 1].learning_rate);
      CHECK(ef::parameter_hash(again.model) == ef::parameter_hash(states[update].model));
      CHECK(ef::parameter_hash(before) == ef::parameter_hash(states[update - 1].model));
      REQUIRE(replayed.batches.size() == 2);
      CHECK(replayed.batches[1].source.ids ==
            ReplayedTraining::batch(2 * static_cast<ef::Index>(update) - 1).source.ids);
      double squares = 0;
      for (const ef::GradientNorm& layer : replayed.gradient_norms) squares += layer.norm * layer.norm;
      CHECK(std::abs(std::sqrt(squares) / replayed.progress.gradient_norm - 1) < 1e-5);

      // The losses of the tokens, with the update's dropout, have the update's mean.
      double sum = 0;
      ef::Index tokens = 0;
      for (std::size_t b = 0; b < 2; ++b) {
        ef::Rng rng = ef::update_rng(6, replayed.progress.update, static_cast<ef::Index>(b));
        const ef::TranslationBatch& batch = replayed.batches[b];
        const ef::Matrix<float> logits = before(ef::Context<float>{.rng = &rng}, batch.source, batch.target).value();
        for (const double loss : ef::token_losses<float>(logits, batch.next, 0.1)) sum += loss;
        tokens += static_cast<ef::Index>(batch.next.size());
      }
      CHECK(std::abs(sum / static_cast<double>(tokens) - replayed.progress.loss) < 1e-5);
    }
}

TEST_CASE("parameters belong to the layer in their name", "[train]") {
  CHECK(ef::layer_of("encoder.layers.0.self_attn.q.weight") == "encoder.layers.0");
  CHECK(ef::layer_of("encoder.layers.12.norm1.weight") == "encoder.layers.12");
  CHECK(ef::layer_of("encoder.norm.weight") == "encoder.norm");
  CHECK(ef::layer_of("generator.bias") == "generator");
  CHECK(ef::layer_of("encoder.weight_ih_l0") == "encoder");
  CHECK(ef::layer_of("x") == "x");
}

TEST_CASE("the losses of tokens are the cross entropy's", "[train]") {
  ef::Rng rng(9);
  for (const double label_smoothing : {0.0, 0.1})
    for (const ef::Index classes : {1, 2, 17}) {
      const ef::Matrix<double> logits = 30 * ef::testing::random_matrix<double>(5, classes, rng);
      std::vector<ef::Token> labels;
      for (int i = 0; i < 5; ++i) labels.push_back(static_cast<ef::Token>(rng.randint(classes)));
      const std::vector<double> losses = ef::token_losses<double>(logits, labels, label_smoothing);
      for (ef::Index row = 0; row < 5; ++row) {
        double sum = 0, smooth = 0;
        for (ef::Index c = 0; c < classes; ++c) sum += std::exp(logits(row, c) - logits.row(row).maxCoeff());
        for (ef::Index c = 0; c < classes; ++c)
          smooth -= (logits(row, c) - logits.row(row).maxCoeff() - std::log(sum)) / static_cast<double>(classes);
        const double nll =
            logits.row(row).maxCoeff() + std::log(sum) - logits(row, labels[static_cast<std::size_t>(row)]);
        CHECK(std::abs(losses[static_cast<std::size_t>(row)] - (1 - label_smoothing) * nll - label_smoothing * smooth) <
              1e-12);
      }
    }
  ef::Matrix<float> masked = ef::Matrix<float>::Zero(1, 3);
  masked(0, 2) = -std::numeric_limits<float>::infinity();  // a class with probability 0 adds nothing
  CHECK(std::abs(ef::token_losses<float>(masked, std::vector<ef::Token>{0}).front() - std::log(2.0)) < 1e-15);
  CHECK(std::isinf(ef::token_losses<float>(masked, std::vector<ef::Token>{2}).front()));
  const ef::Matrix<double> one = ef::Matrix<double>::Zero(1, 3);
  CHECK_THROWS_AS(ef::token_losses<double>(one, std::vector<ef::Token>{3}), ef::Error);
  CHECK_THROWS_AS(ef::token_losses<double>(one, std::vector<ef::Token>{}), ef::Error);
  CHECK_THROWS_AS(ef::token_losses<double>(one, std::vector<ef::Token>{0}, 1.5), ef::Error);
}
