// translate evaluate: BLEU, chrF and exact match against a reference, and the alignment error rate of attention.
#include <cstdio>

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/text/alignment_labels.hpp"
#include "eigenformer/text/bleu.hpp"
#include "eigenformer/text/chrf.hpp"
#include "eigenformer/text/corpus.hpp"
#include "translate/readings.hpp"
#include "translate/subwords.hpp"
#include "translate/translator.hpp"

namespace translate {

namespace {

/// Reads the links of --alignments. Throws if a link leaves its pair, if a reference is too long, or if the model lacks
/// the layer or the head.
std::vector<ef::WordAlignment> read_links(const EvaluateArguments& arguments, const Model& model,
                                          const ef::ParallelCorpus& corpus) {
  ef::check(model.source.subwords == nullptr && model.target.subwords == nullptr,
            "--alignments: links are between words, but this model has subwords");
  check_layer_and_head(model, arguments.layer, arguments.head);
  std::vector<ef::WordAlignment> links = ef::read_alignments(arguments.alignments);
  ef::check(links.size() == corpus.source.size(), arguments.alignments, ": has ", links.size(),
            " alignments, expected ", corpus.source.size(), ", one per sentence");
  for (std::size_t i = 0; i < links.size(); ++i) {
    const TokenPair pair = tokenize_pair(model, corpus.source[i], corpus.target[i]);
    check_sentence_length(pair.target.size(), model, arguments.reference + ':' + std::to_string(i + 1));
    ef::StoredAlignments().add(links[i], static_cast<ef::Index>(pair.source.size()),
                               static_cast<ef::Index>(pair.target.size()),
                               arguments.alignments + ':' + std::to_string(i + 1));
  }
  return links;
}

}  // namespace

void evaluate(const EvaluateArguments& arguments) {
  const Model model = load_model(arguments.model);
  const ef::ParallelCorpus corpus = ef::read_parallel(arguments.source, arguments.reference);
  std::vector<ef::WordAlignment> sure;
  if (!arguments.alignments.empty()) sure = read_links(arguments, model, corpus);
  const std::vector<std::string> references = plain(model.target, corpus.target);
  ef::ThreadPool pool(arguments.threads);
  const std::vector<std::string> translations =
      Translator(model, &pool, arguments.decoding).translate(corpus.source, arguments.source);
  const ef::Bleu bleu = ef::bleu(translations, references, bleu_tokenizer(model.target, references));
  const ef::Chrf chrf = ef::chrf(translations, references);
  std::printf("BLEU %.2f  %.1f/%.1f/%.1f/%.1f  brevity penalty %.3f  %s\n", bleu.score, bleu.precisions[0],
              bleu.precisions[1], bleu.precisions[2], bleu.precisions[3], bleu.brevity_penalty, bleu.signature.c_str());
  std::printf("chrF %.2f  %s\n", chrf.score, chrf.signature.c_str());
  ef::Index exact = 0;
  for (std::size_t i = 0; i < translations.size(); ++i)  // compared word by word, so white space does not count
    exact += ef::split_words(translations[i]) == ef::split_words(references[i]) ? 1 : 0;
  std::printf("exact match %.2f %%\n", 100 * static_cast<double>(exact) / static_cast<double>(translations.size()));
  if (arguments.alignments.empty()) return;

  std::vector<ef::WordAlignment> found;
  for (std::size_t i = 0; i < sure.size(); ++i)
    found.push_back(
        links_of(attention_between(model, corpus.source[i], corpus.target[i], arguments.layer, arguments.head)));
  std::printf("alignment error rate %.2f %%\n", 100 * ef::alignment_error_rate(found, sure));
}

}  // namespace translate
