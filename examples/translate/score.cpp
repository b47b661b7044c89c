// translate score: prints the log-probabilities that a model assigns to given translations.
#include <cstdio>
#include <iostream>

#include "eigenformer/core/standard_streams.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/decode/scoring.hpp"
#include "eigenformer/text/corpus.hpp"
#include "translate/translator.hpp"

namespace translate {

void score(const ScoreArguments& arguments) {
  const Model model = load_model(arguments.model);
  const ef::ParallelCorpus corpus = ef::read_parallel(arguments.source, arguments.target);
  ef::ThreadPool pool(arguments.threads);
  const Translator translator(model, &pool);
  const ef::PackedWeights<float> packed(model.network);
  ef::Workspace workspace;
  const ef::Context<float> context{.workspace = &workspace, .threads = &pool, .packed = &packed};

  std::vector<ef::ScoringResult> all;
  constexpr std::size_t max_lines = 1024;  // printed at once
  for (std::size_t begin = 0; begin < corpus.source.size(); begin += max_lines) {
    const std::size_t end = std::min(begin + max_lines, corpus.source.size());
    std::vector<std::vector<ef::Token>> sources, targets;
    for (std::size_t i = begin; i < end; ++i) {
      const std::string line = ':' + std::to_string(i + 1);
      sources.push_back(translator.encode(corpus.source[i], arguments.source + line));
      sources.back().push_back(ef::Vocabulary::end);
      targets.push_back(translator.encode_target(corpus.target[i], arguments.target + line));
    }
    std::vector<ef::ScoringResult> results =
        ef::score_tokens(model.network, ef::Tokens::of(sources), ef::Tokens::of(targets),
                         {.max_batch_size = arguments.batch_tokens}, context);
    for (std::size_t i = 0; i < results.size(); ++i) {
      std::printf("%.6f", results[i].log_probability);
      for (std::size_t t = 0; arguments.tokens && t <= targets[i].size(); ++t) {
        const ef::Token token = t < targets[i].size() ? targets[i][t] : ef::Vocabulary::end;
        std::printf("\t%s %.6f", model.target.vocabulary.token(token).c_str(), results[i].token_log_probabilities[t]);
      }
      std::printf("\n");
    }
    ef::flush_standard_output();
    all.insert(all.end(), std::make_move_iterator(results.begin()), std::make_move_iterator(results.end()));
  }
  std::size_t tokens = 0;
  for (const ef::ScoringResult& result : all) tokens += result.token_log_probabilities.size();
  std::cerr << "perplexity " << ef::perplexity(all) << " of " << tokens << " tokens, in " << all.size()
            << " sentences\n";
}

}  // namespace translate
