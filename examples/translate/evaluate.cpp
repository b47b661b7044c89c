// translate evaluate: BLEU and chrF against a reference.
#include <cstdio>

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/text/bleu.hpp"
#include "eigenformer/text/chrf.hpp"
#include "eigenformer/text/corpus.hpp"
#include "translate/translator.hpp"

namespace translate {

void evaluate(const EvaluateArguments& arguments) {
  const Model model = load_model(arguments.model);
  const ef::ParallelCorpus corpus = ef::read_parallel(arguments.source, arguments.reference);
  ef::ThreadPool pool(arguments.threads);
  const std::vector<std::string> translations = Translator(model, &pool).translate(corpus.source, arguments.source);
  const bool by_character = model.target.tokenization == ef::Tokenization::characters;
  const ef::Bleu bleu =
      ef::bleu(translations, corpus.target, by_character ? ef::BleuTokenizer::character : ef::BleuTokenizer::v13a);
  const ef::Chrf chrf = ef::chrf(translations, corpus.target);
  std::printf("BLEU %.2f  %.1f/%.1f/%.1f/%.1f  brevity penalty %.3f  %s\n", bleu.score, bleu.precisions[0],
              bleu.precisions[1], bleu.precisions[2], bleu.precisions[3], bleu.brevity_penalty, bleu.signature.c_str());
  std::printf("chrF %.2f  %s\n", chrf.score, chrf.signature.c_str());
}

}  // namespace translate
