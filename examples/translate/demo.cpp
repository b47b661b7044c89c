// translate demo: a Transformer learns to translate, from nothing, while you watch.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <numeric>

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/io/files.hpp"
#include "eigenformer/text/bleu.hpp"
#include "translate/demo_corpus.hpp"
#include "translate/heat_map.hpp"
#include "translate/training.hpp"
#include "translate/translator.hpp"

namespace translate {

namespace {

constexpr const char* phrase = "natural language processing";
constexpr const char* phrase_translated = "自然 语言 处理";

/// Every tenth pair of a shuffled corpus is held out; the phrase stays among those that are learnt.
std::pair<ef::ParallelCorpus, ef::ParallelCorpus> split(const ef::ParallelCorpus& corpus, std::uint64_t seed) {
  std::vector<std::size_t> order(corpus.source.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  ef::Rng rng(seed);
  rng.shuffle(std::span(order));
  ef::ParallelCorpus learnt, held_out;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const bool hold = i % 10 == 0 && corpus.source[order[i]] != phrase;
    ef::ParallelCorpus& part = hold ? held_out : learnt;
    part.source.push_back(corpus.source[order[i]]);
    part.target.push_back(corpus.target[order[i]]);
  }
  return {learnt, held_out};
}

ef::TranslationSide words_of(const std::vector<std::string>& lines) {
  std::vector<std::vector<std::string>> sentences;
  for (const std::string& line : lines) sentences.push_back(ef::tokenize(line, ef::Tokenization::words));
  return {ef::Vocabulary::of(sentences), ef::Tokenization::words};
}

}  // namespace

void demo(const DemoArguments& arguments) {
  const auto [learnt, held_out] = split(demo_corpus(), arguments.seed);
  ef::TranslationSide source = words_of(learnt.source);
  ef::TranslationSide target = words_of(learnt.target);

  ef::TransformerOptions options = ef::TransformerOptions::tiny();
  options.source_vocabulary_size = source.vocabulary.size();
  options.target_vocabulary_size = target.vocabulary.size();
  options.num_encoder_layers = 2;
  options.num_decoder_layers = 2;
  options.share_embeddings = false;
  options.norm_first = true;
  options.dropout = 0.1;
  ef::Rng rng(arguments.seed);
  Model model{ef::Transformer<float>(options, rng), std::move(source), std::move(target)};
  ef::ThreadPool pool(arguments.threads);

  std::printf(
      "A Transformer of %lld parameters learns English to Chinese from %lld sentence pairs,\n"
      "with %lld English and %lld Chinese words; %lld other pairs are held out. %d threads.\n",
      static_cast<long long>(ef::parameter_count(model.transformer)), static_cast<long long>(learnt.size()),
      static_cast<long long>(model.source.vocabulary.size() - 3),
      static_cast<long long>(model.target.vocabulary.size() - 3), static_cast<long long>(held_out.size()), pool.size());
  TrainingSettings settings;
  settings.budget.epochs = 10;
  settings.batch_tokens = 1024;
  settings.seed = arguments.seed + 1;
  settings.threads = &pool;
  train_model(model, encode(model, learnt, options.max_length, "demo"), settings);

  const Translator translator(model, &pool);
  const std::vector<std::string> translations = translator.translate(held_out.source, "demo");
  ef::Index exact = 0;
  for (std::size_t i = 0; i < translations.size(); ++i) exact += translations[i] == held_out.target[i] ? 1 : 0;
  std::printf("\nheld-out exact match: %.1f %%\n",
              100 * static_cast<double>(exact) / static_cast<double>(translations.size()));
  std::printf("held-out BLEU: %.1f\n\nSome sentences that it has never seen:\n",
              ef::bleu(translations, held_out.target, ef::BleuTokenizer::none).score);
  for (std::size_t i = 0; i < std::min<std::size_t>(6, translations.size()); ++i)
    std::printf("  %s -> %s%s\n", held_out.source[i].c_str(), translations[i].c_str(),
                translations[i] == held_out.target[i] ? "" : (" (expected: " + held_out.target[i] + ")").c_str());

  const std::vector<std::string> lines{phrase};
  const std::string translation = translator.translate(lines, "demo").front();
  std::printf("\n%s -> %s%s\nEach Chinese word (row) looked at these English words (mean over heads, last layer):\n",
              phrase, translation.c_str(), translation == phrase_translated ? "" : " (wrong)");
  std::fflush(stdout);
  const Alignment alignment = attention_between(model, phrase, translation, 0, 0);
  print_heat_map(std::cout, alignment.weights, alignment.target, alignment.source);
  ef::write_file(arguments.svg, svg_heat_map(alignment.weights, alignment.target, alignment.source,
                                             std::string(phrase) + " → " + translation));
  std::cout << "The same as a picture: " << arguments.svg << '\n';
}

}  // namespace translate
