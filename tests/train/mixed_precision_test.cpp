// Training with products in bfloat16: Context::precision and TrainingOptions::precision.
#include <vector>

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/train/parameter_hash.hpp"
#include "eigenformer/train/trainer.hpp"
#include "kernels/kernel_checks.hpp"
#include "support/copy_task.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;

namespace {

/// Returns a function that computes the loss of a batch.
template <class Model>
auto copying_loss(const Model& model) {
  return [&model](const ef::Context<float>& context, const ef::TranslationBatch& batch) {
    return ef::BatchLoss<float>{model.loss(context, batch, {.reduction = ef::Reduction::sum}),
                                static_cast<Index>(batch.next.size())};
  };
}

/// Trains on batches of ten sentences of 3 to 6 tokens. Returns the mean loss of the last ten updates.
template <class Model>
double train_copying(Model& model, const ef::TrainingOptions& options) {
  ef::Adam<float> adam;
  ef::Rng rng(31);
  std::vector<double> losses;
  ef::train(
      model, adam,
      [&] {
        return ef::testing::copy_batch({3, 4, 5, 6, 3, 4, 5, 6, 5, 4}, rng);
      },
      copying_loss(model),
      [&](const ef::TrainingProgress& progress) {
        losses.push_back(progress.loss);
        return true;
      },
      options);
  double sum = 0;
  for (std::size_t i = losses.size() - std::min<std::size_t>(10, losses.size()); i < losses.size(); ++i)
    sum += losses[i];
  return sum / static_cast<double>(std::min<std::size_t>(10, losses.size()));
}

ef::Transformer<float> copying_transformer(double dropout) {
  ef::Rng rng(32);
  ef::TransformerOptions options = ef::testing::small_transformer();
  options.layer.dropout = dropout;
  options.layer.norm_first = true;
  return ef::Transformer<float>(options, rng);
}

}  // namespace

TEST_CASE("training in bfloat16 gives equal bits for any number of threads", "[train][threads]") {
  ef::ThreadPool one(1), two(2), three(3);
  std::vector<std::uint64_t> hashes;
  for (ef::Threads* threads : {static_cast<ef::Threads*>(nullptr), static_cast<ef::Threads*>(&one),
                               static_cast<ef::Threads*>(&two), static_cast<ef::Threads*>(&three)}) {
    ef::Transformer<float> model = copying_transformer(0.2);
    train_copying(model, {.max_updates = 3, .seed = 5, .threads = threads, .precision = ef::Precision::bfloat16});
    hashes.push_back(ef::parameter_hash(model));
  }
  CHECK(hashes == std::vector<std::uint64_t>(hashes.size(), hashes.front()));

  ef::Transformer<float> in_float = copying_transformer(0.2);
  train_copying(in_float, {.max_updates = 3, .seed = 5});
  CHECK(ef::parameter_hash(in_float) != hashes.front());
}

TEST_CASE("a sentence's logits in bfloat16 do not depend on its batch", "[train]") {
  const ef::Transformer<float> model = copying_transformer(0);
  ef::Rng rng(33);
  const std::vector<Index> lengths{1, 40, 7, 3, 17};
  const ef::TranslationBatch batch = ef::testing::copy_batch(lengths, rng);
  const auto logits_of = [&](const ef::TranslationBatch& of) {
    ef::Tape<float> tape;
    return Matrix<float>(
        model(ef::Context<float>{.tape = &tape, .precision = ef::Precision::bfloat16}, of.source, of.target).value());
  };
  const Matrix<float> together = logits_of(batch);
  ef::Rng again(33);
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    CAPTURE(lengths[i]);
    const ef::TranslationBatch alone = ef::testing::copy_batch({lengths[i]}, again);
    const auto s = static_cast<Index>(i);
    CHECK(ef::testing::identical<float>(logits_of(alone),
                                        together.middleRows(batch.target.rows.begin(s), batch.target.rows.length(s))));
  }
}

TEST_CASE("a Transformer learns in bfloat16 as in float", "[train][long]") {
  // The rate falls to 0, since losses at a constant rate differ more from update to update than from type to type.
  const auto schedule = [](Index update) { return 0.01 * (1 - static_cast<double>(update) / 401); };
  ef::Transformer<float> in_float = copying_transformer(0), in_bfloat16 = in_float;
  const double loss = train_copying(in_float, {.max_updates = 400, .schedule = schedule});
  const double rounded_loss =
      train_copying(in_bfloat16, {.max_updates = 400, .schedule = schedule, .precision = ef::Precision::bfloat16});
  CAPTURE(loss, rounded_loss);
  CHECK(loss < 0.1);
  CHECK(rounded_loss < loss + 0.05);
}
