// translate demo: trains a small Transformer from random weights and shows what it learns.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <numeric>

#include "eigenformer/core/standard_streams.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/text/bleu.hpp"
#include "translate/demo_task.hpp"
#include "translate/heat_map.hpp"
#include "translate/readings.hpp"
#include "translate/training.hpp"
#include "translate/translator.hpp"

namespace translate {

namespace {

constexpr const char* phrase_translated = "自然 语言 处理";

}  // namespace

void demo(const DemoArguments& arguments) {
  ef::check_writable(arguments.svg);
  const auto [learnt, held_out] = demo_split(arguments.seed);
  ef::TranslationSide source = side_of_words(learnt.source);
  ef::TranslationSide target = side_of_words(learnt.target);

  ef::TransformerOptions options = ef::TransformerOptions::tiny();
  options.source_vocabulary_size = source.vocabulary.size();
  options.target_vocabulary_size = target.vocabulary.size();
  options.num_encoder_layers = 2;
  options.num_decoder_layers = 2;
  options.share_embeddings = false;
  options.layer.norm_first = true;
  options.layer.dropout = 0.1;
  ef::Rng rng(arguments.seed);
  Model model{ef::Transformer<float>(options, rng), std::move(source), std::move(target)};
  ef::ThreadPool pool(arguments.threads);

  std::printf(
      "A Transformer with %lld parameters learns English to Chinese from %lld sentence pairs\n"
      "with %lld English and %lld Chinese words; %lld other pairs are held out. %d threads.\n",
      static_cast<long long>(ef::parameter_count(model.network)), static_cast<long long>(learnt.size()),
      static_cast<long long>(model.source.vocabulary.size() - 3),
      static_cast<long long>(model.target.vocabulary.size() - 3), static_cast<long long>(held_out.size()), pool.size());
  ef::flush_standard_output();
  TrainingSettings settings;
  settings.budget.epochs = 10;
  settings.batch_tokens = 1024;
  settings.seed = arguments.seed + 1;
  settings.threads = &pool;
  settings.precision = ef::value_of<ef::Precision>(arguments.precision);
  train_model(model, encode(model, learnt, options.max_length, "demo"), settings);

  const Translator translator(model, &pool);
  const std::vector<std::string> translations = translator.translate(held_out.source, "demo");
  ef::Index exact = 0;
  for (std::size_t i = 0; i < translations.size(); ++i) exact += translations[i] == held_out.target[i] ? 1 : 0;
  std::printf("\nheld-out exact match: %.1f %%\n",
              100 * static_cast<double>(exact) / static_cast<double>(translations.size()));
  std::printf("held-out BLEU: %.1f\n\nSome held-out sentences:\n",
              ef::bleu(translations, held_out.target, ef::BleuTokenizer::none).score);
  for (std::size_t i = 0; i < std::min<std::size_t>(6, translations.size()); ++i)
    std::printf("  %s -> %s%s\n", held_out.source[i].c_str(), translations[i].c_str(),
                translations[i] == held_out.target[i] ? "" : (" (expected: " + held_out.target[i] + ")").c_str());

  const std::vector<std::string> lines{demo_phrase};
  const std::string translation = translator.translate(lines, "demo").front();
  std::printf(
      "\n%s -> %s%s\nAttention of each Chinese word (row) to the English words (last layer, mean over heads):\n",
      demo_phrase, translation.c_str(), translation == phrase_translated ? "" : " (wrong)");
  const Reading alignment = attention_between(model, demo_phrase, translation, 0, 0);
  print_heat_map(std::cout, alignment.shades, alignment.target, alignment.source);
  ef::flush_standard_output();  // because --svg may name standard output
  ef::write_file(arguments.svg, svg_heat_map(alignment.shades, alignment.target, alignment.source,
                                             std::string(demo_phrase) + " → " + translation));
  std::cout << "The heat map is also in " << arguments.svg << '\n';
}

}  // namespace translate
