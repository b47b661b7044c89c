// translate compare: trains each kind of model on the demo corpus and compares accuracy by sentence length.
// A single context vector is said to fail on long sentences (Cho et al. 2014, arXiv 1409.1259); this program
// measures whether it does.
#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>

#include "eigenformer/core/standard_streams.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "translate/demo_task.hpp"
#include "translate/training.hpp"
#include "translate/translator.hpp"

namespace translate {

namespace {

struct Contestant {
  const char* name;
  ef::Index step;  // the width is a multiple of this
  std::function<ef::Seq2Seq<float>(ef::Index width, ef::Rng&)> make;
};

std::vector<Contestant> contestants(ef::Index sources, ef::Index targets) {
  std::vector<Contestant> all;
  for (const ef::SourceContext context :
       {ef::SourceContext::initial, ef::SourceContext::every_step, ef::SourceContext::attention})
    all.push_back({ef::to_string(context).data(), 8, [=](ef::Index width, ef::Rng& rng) -> ef::Seq2Seq<float> {
                     ef::RecurrentSeq2SeqOptions options;
                     options.source_vocabulary_size = sources;
                     options.target_vocabulary_size = targets;
                     options.width = options.hidden = width;
                     options.context = context;
                     options.dropout = 0.1;
                     return ef::RecurrentSeq2Seq<float>(options, rng);
                   }});
  all.push_back({"transformer", 8, [=](ef::Index width, ef::Rng& rng) -> ef::Seq2Seq<float> {
                   ef::TransformerOptions options = ef::TransformerOptions::tiny();
                   options.source_vocabulary_size = sources;
                   options.target_vocabulary_size = targets;
                   options.layer.width = width;
                   options.layer.dim_feedforward = 2 * width;
                   options.num_encoder_layers = options.num_decoder_layers = 2;
                   options.share_embeddings = false;
                   options.layer.norm_first = true;
                   options.layer.dropout = 0.1;
                   return ef::Transformer<float>(options, rng);
                 }});
  return all;
}

/// Returns the widest model of this kind that has at most `budget` parameters.
ef::Seq2Seq<float> within_budget(const Contestant& contestant, ef::Index budget, std::uint64_t seed) {
  ef::Index width = contestant.step;
  const auto make = [&](ef::Index of_width) {
    ef::Rng rng(seed);
    return contestant.make(of_width, rng);
  };
  while (ef::parameter_count(make(width + contestant.step)) <= budget) width += contestant.step;
  return make(width);
}

/// Ranges of source lengths, in words, that share a column.
constexpr std::array<std::pair<std::size_t, std::size_t>, 5> groups = {{{2, 4}, {5, 6}, {7, 8}, {9, 10}, {11, 12}}};

}  // namespace

void compare(const CompareArguments& arguments) {
  const auto [learnt, held_out] = demo_split(arguments.seed);
  const ef::TranslationSide source = side_of_words(learnt.source), target = side_of_words(learnt.target);
  std::array<ef::Index, groups.size()> sentences{};
  const auto group_of = [](const std::string& sentence) {
    const std::size_t words = ef::tokenize(sentence, ef::Tokenization::words).size();
    const auto found = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return words <= g.second; });
    return static_cast<std::size_t>(std::min(found, groups.end() - 1) - groups.begin());
  };
  for (const std::string& sentence : held_out.source) ++sentences[group_of(sentence)];

  ef::ThreadPool pool(arguments.threads);
  constexpr ef::Index budget = 900'000;
  std::string table;
  for (const Contestant& contestant : contestants(source.vocabulary.size(), target.vocabulary.size())) {
    Model model{within_budget(contestant, budget, arguments.seed), source, target};
    std::printf("%s: %lld parameters\n", contestant.name, static_cast<long long>(ef::parameter_count(model.network)));
    ef::flush_standard_output();
    TrainingSettings settings;
    settings.budget.epochs = arguments.epochs;
    settings.batch_tokens = 1024;
    settings.seed = arguments.seed + 1;
    settings.threads = &pool;
    train_model(model, encode(model, learnt, max_length(model), "compare"), settings);
    const std::vector<std::string> translations = Translator(model, &pool).translate(held_out.source, "compare");
    std::array<ef::Index, groups.size()> exact{};
    for (std::size_t i = 0; i < translations.size(); ++i)
      exact[group_of(held_out.source[i])] += translations[i] == held_out.target[i] ? 1 : 0;
    char cell[64];
    std::snprintf(cell, sizeof(cell), "%-12s", contestant.name);
    table += cell;
    ef::Index all = 0;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      std::snprintf(cell, sizeof(cell), "%9.1f",
                    100 * static_cast<double>(exact[g]) / static_cast<double>(sentences[g]));
      table += cell;
      all += exact[g];
    }
    std::snprintf(cell, sizeof(cell), "%9.1f\n",
                  100 * static_cast<double>(all) / static_cast<double>(translations.size()));
    table += cell;
  }
  std::printf("\nheld-out sentences translated exactly, in %%, by number of source words\n%-12s", "");
  for (const auto& [first, last] : groups) std::printf("%6zu-%2zu", first, last);
  std::printf("%9s\n%s%-12s", "all", table.c_str(), "sentences");
  for (const ef::Index count : sentences) std::printf("%9lld", static_cast<long long>(count));
  std::printf("%9zu\n", held_out.source.size());
}

}  // namespace translate
