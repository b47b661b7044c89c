#include "eigenformer/models/guided_loss.hpp"

#include "eigenformer/autograd/gradient_check.hpp"
#include "eigenformer/layers/attention_recorder.hpp"
#include "eigenformer/models/recurrent_seq2seq_state.hpp"
#include "eigenformer/models/transformer_state.hpp"
#include "eigenformer/text/alignment_labels.hpp"
#include "eigenformer/train/trainer.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/message_of.hpp"
#include "support/recurrent_models.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::testing::message_of;

namespace {

/// Returns links that copying does not need. Target token t is linked with source token t + 1, the last token with the
/// last, and the first also with source token 0.
ef::WordAlignment shifted_links(Index length) {
  ef::WordAlignment links{{0, 0}};
  for (Index t = 0; t < length; ++t) links.insert({std::min<Index>(t + 1, length - 1), t});
  return links;
}

/// Returns a batch to copy with shifted links. The last sentence has no links.
ef::TranslationBatch shifted_batch(const std::vector<Index>& lengths, ef::Rng& rng) {
  ef::TranslationBatch batch = ef::testing::copy_batch(lengths, rng);
  ef::StoredAlignments links;
  std::vector<Index> chosen;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    links.add(i + 1 < lengths.size() ? shifted_links(lengths[i]) : ef::WordAlignment{}, lengths[i], lengths[i], "test");
    chosen.push_back(static_cast<Index>(i));
  }
  batch.alignment = ef::alignment_labels(links, chosen, batch);
  return batch;
}

ef::TransformerOptions aligned_transformer() {
  ef::TransformerOptions options = ef::testing::small_transformer();
  options.layer.activation = ef::Activation::gelu;  // no kinks
  options.alignment_layer = 1;
  options.alignment_head = 2;
  return options;
}

/// Returns - sum G log A, computed from the weights that an observer receives.
template <class Scalar>
double naive_alignment_loss(const ef::Tensor<Scalar>& weights, Index head, const ef::TranslationBatch& batch) {
  double sum = 0;
  for (const ef::AlignmentLabel& label : batch.alignment)
    sum -= label.weight * std::log(static_cast<double>(weights.matrix(head)(label.row, label.key)));
  return sum;
}

template <class Model>
void check_loss(const Model& model, const ef::TranslationBatch& batch, const void* layer, Index head) {
  class Observer final : public ef::AttentionObserver<double> {
   public:
    explicit Observer(const void* layer) : layer_(layer) {}
    void record(const void* layer, ef::Tensor<double> given) override {
      if (layer == layer_) weights = std::move(given);
    }
    ef::Tensor<double> weights;

   private:
    const void* layer_;
  };
  Observer observer(layer);
  model({.attention = &observer}, batch.source, batch.target);
  const double alignment = naive_alignment_loss(observer.weights, head, batch);
  REQUIRE(alignment > 0);
  const ef::Context<double> context;
  for (const ef::Reduction reduction : {ef::Reduction::sum, ef::Reduction::mean}) {
    const ef::CrossEntropyOptions options{.label_smoothing = 0.1, .reduction = reduction};
    const double divisor = reduction == ef::Reduction::mean ? static_cast<double>(batch.next.size()) : 1;
    const double expected = model.loss(context, batch, options).scalar() + 0.25 * alignment / divisor;
    CHECK(ef::testing::relative_error(ef::guided_loss(model, context, batch, 0.25, options).scalar(), expected) <=
          ef::testing::rounding<double>(1e3));
    CHECK(ef::guided_loss(model, context, batch, 0, options).scalar() == model.loss(context, batch, options).scalar());
  }
}

template <class Model>
void check_guided_gradients(Model& model, const ef::TranslationBatch& batch) {
  const ef::GradientCheckResult result = ef::gradient_check_parameters(
      model, [&](const ef::Context<double>& context) { return ef::guided_loss(model, context, batch, 0.7); },
      {.max_entries = 4});
  INFO(result.where);
  CHECK(result.entries > 40);
  CHECK(result.max_error <= 1e-6);
}

}  // namespace

TEST_CASE("the guided loss of a Transformer adds one head's alignment loss", "[models][long]") {
  const std::uint64_t seed = 781;
  const int variant = GENERATE(0, 1, 2, 3);
  CAPTURE(seed, variant);
  ef::Rng rng(seed);
  ef::TransformerOptions options = aligned_transformer();
  if (variant == 1) {
    options.layer.heads = 4;
    options.layer.key_heads = 2;
    options.alignment_head = 3;
  }
  if (variant == 2) options.layer.sinks = true;
  if (variant == 3) options.memory_scores = {{.soft_cap = 2}};  // a score: all heads are computed
  ef::Transformer<double> model(options, rng);
  const ef::TranslationBatch batch = shifted_batch({3, 1, 5, 4}, rng);
  check_loss(model, batch, &model.decoder.layers[0].multihead_attn, options.alignment_head - 1);
  check_guided_gradients(model, batch);
}

TEST_CASE("the guided loss of a recurrent model adds its attention's alignment loss", "[models]") {
  const std::uint64_t seed = 782;
  const ef::AlignmentScore score = GENERATE(ef::AlignmentScore::additive, ef::AlignmentScore::general,
                                            ef::AlignmentScore::dot, ef::AlignmentScore::scaled_dot);
  const bool input_feeding = GENERATE(false, true);
  CAPTURE(seed, ef::to_string(score), input_feeding);
  ef::Rng rng(seed);
  ef::RecurrentSeq2SeqOptions options = ef::testing::small_recurrent();
  options.score = score;
  options.input_feeding = input_feeding;
  ef::RecurrentSeq2Seq<double> model(options, rng);
  const ef::TranslationBatch batch = shifted_batch({2, 5, 1, 3}, rng);
  check_loss(model, batch, &model.attention, 0);
  check_guided_gradients(model, batch);
}

TEST_CASE("a sentence's guided loss does not depend on its batch", "[models]") {
  ef::Rng rng(783);
  const bool recurrent = GENERATE(false, true);
  CAPTURE(recurrent);
  const ef::Transformer<float> transformer(aligned_transformer(), rng);
  const ef::RecurrentSeq2Seq<float> fed(ef::testing::small_recurrent(), rng);
  const auto weights_of = [&](const ef::TranslationBatch& batch) {
    ef::HeadWeights<float> head = recurrent ? ef::alignment_weights(fed) : ef::alignment_weights(transformer);
    head.width = 8;
    const ef::Context<float> context{.head_weights = &head};
    recurrent ? fed.loss(context, batch) : transformer.loss(context, batch);
    return ef::Matrix<float>(head.weights.value());
  };
  const std::vector<std::vector<ef::Token>> sentences{{3, 4, 5}, {6, 7, 8, 9, 10, 3, 4}, {5}};
  const std::vector<Index> one{0}, all{1, 0, 2};
  const ef::Matrix<float> alone = weights_of(ef::translation_batch(sentences, sentences, one));
  CHECK(weights_of(ef::translation_batch(sentences, sentences, all)).middleRows(8, 4) == alone);
}

TEST_CASE("guided alignment teaches links that copying does not need", "[models][long]") {
  const std::uint64_t seed = 784;
  const bool recurrent = GENERATE(false, true);
  CAPTURE(seed, recurrent);
  const Index updates = 400;
  const auto error_rate = [&](auto model, double weight) {
    ef::Rng draws(seed);
    ef::Adam<float> optimizer;
    ef::train(
        model, optimizer,
        [&] {
          return shifted_batch({2, 3, 4, 5, 3, 4, 2}, draws);
        },
        [&](const ef::Context<float>& context, const ef::TranslationBatch& batch) {
          return ef::BatchLoss<float>{ef::guided_loss(model, context, batch, weight, {.reduction = ef::Reduction::sum}),
                                      static_cast<Index>(batch.next.size())};
        },
        [](const ef::TrainingProgress&) { return true; },
        {.max_updates = updates, .schedule = [=](Index update) {
           return 1e-2 * (1 - static_cast<double>(update) / static_cast<double>(updates + 1));
         }});
    std::vector<ef::WordAlignment> found, gold;
    for (const Index length : {2, 3, 4, 5}) {
      const ef::TranslationBatch batch = ef::testing::copy_batch({length}, draws);
      ef::HeadWeights<float> head = ef::alignment_weights(model);
      const ef::Context<float> context{.head_weights = &head};
      model.loss(context, batch);
      found.push_back(ef::best_links(head.weights.value().topLeftCorner(length, length)));
      gold.push_back(shifted_links(length));
    }
    return ef::alignment_error_rate(found, gold);
  };
  ef::Rng rng(seed);
  const auto check_rates = [&](const auto& model, double weight) {
    const double without = error_rate(model, 0), guided = error_rate(model, weight);
    CAPTURE(without, guided);
    CHECK(guided < 0.25);  // at best 0.125, since the first word has two links
    CHECK(without > guided + 0.1);
  };
  if (recurrent)  // its only attention also copies, so guidance needs a large weight
    check_rates(ef::RecurrentSeq2Seq<float>(ef::testing::small_recurrent(), rng), 5);
  else
    check_rates(ef::Transformer<float>(aligned_transformer(), rng), 0.5);
}

TEST_CASE("decoding reports the weights of the alignment head", "[models]") {
  ef::Rng rng(785);
  ef::TransformerOptions options = aligned_transformer();
  const Index layer = GENERATE(0, 1, 2), head = GENERATE(0, 1, 2);
  CAPTURE(layer, head);
  options.alignment_layer = layer;
  options.alignment_head = head;
  const ef::Transformer<float> model(options, rng);
  const ef::TranslationBatch batch = ef::testing::copy_batch({4}, rng);
  ef::AttentionRecorder<float> recorder;
  model({.attention = &recorder}, batch.source, batch.target);
  const ef::Tensor<float>& weights = recorder.weights(model.decoder.layers[layer == 1 ? 0 : 1].multihead_attn);
  const ef::Matrix<float> expected = head == 0 ? ef::Matrix<float>((weights.matrix(0) + weights.matrix(1)) / 2)
                                               : ef::Matrix<float>(weights.matrix(head - 1));
  auto state = ef::decoding_state(model, batch.source);
  state.record_alignments(true);
  for (Index i = 0; i < 5; ++i) {
    const Index parent[] = {0};
    const ef::Token token[] = {batch.target.ids[static_cast<std::size_t>(i)]};
    state(parent, token);
    CHECK(ef::testing::max_error(state.alignment(0), expected.row(i)) <= ef::testing::rounding<float>(256));
  }
}

TEST_CASE("models without a head to train refuse guided alignment", "[models]") {
  ef::Rng rng(786);
  const ef::TranslationBatch batch = shifted_batch({3, 2}, rng);
  const ef::Context<float> context;
  ef::TransformerOptions options = ef::testing::small_transformer();
  const ef::Transformer<float> model(options, rng);
  CHECK(message_of([&] { ef::guided_loss(model, context, batch, 0.1); }) ==
        "guided_loss: the Transformer's alignment_head is 0, the mean over all heads, expected one head");
  options.alignment_head = 3;
  CHECK(message_of([&] { ef::Transformer<float>(options, rng); }) ==
        "Transformer: alignment_layer is 0 and alignment_head 3, expected at most 2 and 2");
  ef::RecurrentSeq2SeqOptions without = ef::testing::small_recurrent();
  without.context = ef::SourceContext::every_step;
  const ef::RecurrentSeq2Seq<float> recurrent(without, rng);
  CHECK(message_of([&] { ef::guided_loss(recurrent, context, batch, 0.1); }) ==
        "guided_loss: the model's context is every_step, expected attention");
  ef::HeadWeights<float> head{.layer = &model.decoder.layers[0].multihead_attn, .head = 2};
  CHECK(message_of([&] { model.loss({.head_weights = &head}, batch); }) ==
        "MultiHeadAttention: head 2 does not exist, the layer has heads 0 to 1");
}
