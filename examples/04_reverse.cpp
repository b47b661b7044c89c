// Trains a Transformer to reverse sequences and decodes sequences that it has never seen.
#include <eigenformer/decode/greedy.hpp>
#include <eigenformer/models/transformer_state.hpp>
#include <eigenformer/train/trainer.hpp>
#include <iostream>

namespace ef = eigenformer;

using Sentences = std::vector<std::vector<ef::Token>>;

// Draws sequences of 3 to 8 symbols and their reverses. Symbols are tokens 3 to 12: tokens 0 to 2 are <unk>, <s>, </s>.
std::pair<Sentences, Sentences> draw(ef::Index count, ef::Rng& rng) {
  Sentences sequences(static_cast<std::size_t>(count));
  for (auto& sequence : sequences) {
    sequence.resize(static_cast<std::size_t>(3 + rng.randint(6)));
    for (ef::Token& symbol : sequence) symbol = static_cast<ef::Token>(3 + rng.randint(10));
  }
  Sentences reverses = sequences;
  for (auto& sequence : reverses) std::reverse(sequence.begin(), sequence.end());
  return {sequences, reverses};
}

int main() {
  ef::Rng rng(7);
  const ef::TransformerOptions options{
      .source_vocabulary_size = 13,
      .target_vocabulary_size = 13,
      .num_encoder_layers = 2,
      .num_decoder_layers = 2,
      .layer = {.width = 32, .heads = 4, .dim_feedforward = 64, .dropout = 0, .norm_first = true}};
  ef::Transformer<float> model(options, rng);
  std::cout << ef::parameter_count(model) << " parameters\n";

  std::vector<ef::Index> all(64);
  std::iota(all.begin(), all.end(), ef::Index{0});
  const auto next_batch = [&] {
    const auto [sequences, reverses] = draw(64, rng);
    return ef::translation_batch(sequences, reverses, all);
  };
  // The loss of a batch, summed over its target tokens, and their number: the trainer divides.
  const auto loss = [&](const ef::Context<float>& context, const ef::TranslationBatch& batch) {
    return ef::BatchLoss<float>{model.loss(context, batch, {.reduction = ef::Reduction::sum}),
                                static_cast<ef::Index>(batch.next.size())};
  };
  const auto report = [](const ef::TrainingProgress& progress) {
    if (progress.update % 100 == 0) std::cout << "update " << progress.update << ": loss " << progress.loss << '\n';
    return true;
  };
  ef::Adam<float> adam;
  ef::train(model, adam, next_batch, loss, report,
            {.max_updates = 1000, .schedule = ef::InverseSquareRoot{.peak = 3e-3, .warmup = 100}});

  const auto [unseen, expected] = draw(64, rng);
  const ef::Tokens source = ef::translation_batch(unseen, expected, all).source;
  ef::TransformerState<float> step(model, source);
  const std::vector<ef::Hypothesis> decoded = ef::greedy_search(step, source.sequences(), {.max_tokens = 20});
  int right = 0;
  for (std::size_t i = 0; i < decoded.size(); ++i) right += decoded[i].tokens == expected[i] ? 1 : 0;
  std::cout << right << " of " << decoded.size() << " unseen sequences reversed\n";
  return right >= 60 && std::cout.flush() ? 0 : 1;
}
