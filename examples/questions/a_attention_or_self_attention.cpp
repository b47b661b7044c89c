// Question a: attention or self-attention?
#include <array>
#include <functional>
#include <map>

#include "eigenformer/models/transformer.hpp"
#include "questions/support/chart.hpp"
#include "questions/support/little_language.hpp"
#include "questions/support/markup.hpp"
#include "questions/support/program.hpp"
#include "questions/support/training.hpp"
#include "translate/heat_map.hpp"

namespace questions {
namespace {

const Question question{
    'a', "Attention or self-attention?",
    "Attention relates decoder states to encoder states; self-attention relates positions of one sequence, so it "
    "reaches far and captures syntax and reference.",
    "A Transformer learns to translate generated English into German. The generator knows on which word each word "
    "depends. Most words depend on the word that they translate. A pronoun depends on the article of its noun, which "
    "is drawn at random and precedes it by up to 20 words. The ending of a verb depends on the number of its subject, "
    "which both languages show. The table gives the attention weight on that word in unseen sentences, of the head "
    "that gives it the largest weight in a separate set of sentences. Beside it stands the weight if all words had "
    "equal shares."};

using Model = ef::Transformer<float>;

/// A row of attention weights and the key on which its word depends.
struct Link {
  Index row, key, keys, distance;  // keys: visible to the row; distance: in words
};

/// A kind of dependency and the attention layer that may show it.
struct Relation {
  std::string name, attention;
  std::function<const ef::MultiHeadAttention<float>*(const Model&, std::size_t layer)> layer_of;
  std::array<std::vector<Link>, 2> links{};  // [0]: for choosing a head; [1]: for measuring
};

std::vector<Relation> relations_of(const LittleCorpus& to_choose, const LittleCorpus& to_measure) {
  const auto cross = [](const Model& m, std::size_t i) { return &m.decoder.layers[i].multihead_attn; };
  const auto decoder = [](const Model& m, std::size_t i) { return &m.decoder.layers[i].self_attn; };
  const auto encoder = [](const Model& m, std::size_t i) { return &m.encoder.layers[i].self_attn; };
  std::vector<Relation> relations{{"a word on the one it translates", "decoder to encoder", cross},
                                  {"the pronoun on its noun's article", "decoder to itself", decoder},
                                  {"the verb on its subject's number", "decoder to encoder", cross},
                                  {"the verb on its subject's number", "decoder to itself", decoder},
                                  {"the verb on its subject's number", "encoder to itself", encoder}};
  for (std::size_t part = 0; part < 2; ++part) {
    const LittleCorpus& corpus = part == 0 ? to_choose : to_measure;
    // Row i of the decoder reads target word i - 1 and predicts word i. Hence target word i is key i + 1.
    for (std::size_t i = 0; i < corpus.sentences.size(); ++i) {
      const TranslatedSentence& s = corpus.sentences[i];
      const auto number = static_cast<Index>(i);
      const Index target = corpus.batch.target.rows.begin(number), source = corpus.batch.source.rows.begin(number);
      const Index keys = corpus.batch.source.rows.length(number);
      for (const auto& [word, from] : s.aligned)
        relations[0].links[part].push_back({target + word, from, keys, std::abs(word - from)});
      const auto looks_back = [&](Index word, Index at) { return Link{target + word, at + 1, word + 1, word - at}; };
      relations[1].links[part].push_back(looks_back(s.pronoun, s.subject_article));
      relations[2].links[part].push_back({target + s.verb, s.source_subject_number, keys, 0});
      relations[3].links[part].push_back(looks_back(s.verb, s.subject_number));
      relations[4].links[part].push_back({source + s.source_verb, s.source_subject_number, keys, 0});
    }
  }
  return relations;
}

std::map<Index, std::vector<Link>> by_distance(const std::vector<Link>& links) {
  std::map<Index, std::vector<Link>> groups;
  for (const Link& link : links) groups[link.distance].push_back(link);
  return groups;
}

double share(const ef::Tensor<float>& weights, Index head, const std::vector<Link>& links) {
  double sum = 0;
  for (const Link& link : links) sum += weights(head, link.row, link.key);
  return sum / static_cast<double>(links.size());
}

/// A head of an attention layer.
struct Head {
  std::size_t layer = 0;
  Index head = 0;
};
/// Returns the head with the largest weight on the links.
Head best_head(const Model& model, const Relation& relation, const ef::AttentionRecorder<float>& recorder,
               const std::vector<Link>& links) {
  Head best;
  double most = -1;
  for (std::size_t layer = 0; layer < model.decoder.layers.size(); ++layer) {
    const ef::Tensor<float>& weights = recorder.weights(*relation.layer_of(model, layer));
    for (Index head = 0; head < weights.dimension(0); ++head)
      if (const double given = share(weights, head, links); given > most) best = {layer, head}, most = given;
  }
  return best;
}

/// Draws the weights of one head in the first sentence with one "near": to the source, or to the target so far.
std::string picture(const LittleCorpus& corpus, const ef::Tensor<float>& weights, Index head, bool to_source) {
  const auto one_near = [](const TranslatedSentence& s) { return s.source.size() == 12; };
  const auto found = std::find_if(corpus.sentences.begin(), corpus.sentences.end() - 1, one_near);
  std::vector<std::string> said = found->target, seen = to_source ? found->source : found->target;
  said.push_back("</s>");
  seen.insert(to_source ? seen.end() : seen.begin(), to_source ? "</s>" : "<s>");
  const Index first_row = corpus.batch.target.rows.begin(found - corpus.sentences.begin());
  return translate::svg_heat_map(weights.matrix(head).block(first_row, 0, std::ssize(said), std::ssize(seen)), said,
                                 seen,
                                 to_source ? "Attention: decoder to encoder" : "Self-attention: decoder to itself");
}

Model learn(const LittleLanguages& languages, const Settings& settings) {
  ef::TransformerOptions options = ef::TransformerOptions::tiny();
  options.source_vocabulary_size = languages.source.size();
  options.target_vocabulary_size = languages.target.size();
  options.num_encoder_layers = options.num_decoder_layers = 2;
  options.layer = {.width = 64, .heads = 2, .dim_feedforward = 128, .dropout = 0, .norm_first = true};
  options.share_embeddings = false;
  ef::Rng rng(settings.seed);
  Model model(options, rng);
  fit(
      model, {.updates = settings.count(1500, 2), .rate = 3e-3, .warmup = 100},
      [&] { return languages.draw(32, rng).batch; },
      [&](const ef::Context<float>& context, const ef::TranslationBatch& batch) {
        return model(context, batch.source, batch.target);
      });
  return model;
}

Answer measure(const Settings& settings) {
  const LittleLanguages languages;
  const Model model = learn(languages, settings);
  ef::Rng rng(settings.seed + 1000);
  const LittleCorpus choice = languages.draw(settings.count(100, 4), rng);
  const LittleCorpus unseen = languages.draw(settings.count(400, 4), rng);
  ef::AttentionRecorder<float> choosing, looking;
  model({.attention = &choosing}, choice.batch.source, choice.batch.target);
  const ef::Matrix<float> logits = model({.attention = &looking}, unseen.batch.source, unseen.batch.target).value();

  Table table{"Weight on the word that a word depends on, in unseen sentences",
              {"relation", "attention", "layer", "head", "weight", "equal weights"},
              {}};
  Chart chart{.title = "Reach: the best head at each distance",
              .x = {.label = "distance in words"},
              .y = {.label = "weight on that word", .includes = {0, 1}}};
  const std::vector<Relation> relations = relations_of(choice, unseen);
  std::vector<double> shares;
  std::vector<std::string> drawings{""};
  for (std::size_t i = 0; i < relations.size(); ++i) {
    const Relation& relation = relations[i];
    const Head best = best_head(model, relation, choosing, relation.links[0]);
    const auto weights = [&](const Head& head) -> const ef::Tensor<float>& {
      return looking.weights(*relation.layer_of(model, head.layer));
    };
    shares.push_back(share(weights(best), best.head, relation.links[1]));
    double equal = 0;
    for (const Link& link : relation.links[1]) equal += 1 / static_cast<double>(link.keys);
    table.rows.push_back({relation.name, relation.attention, std::to_string(best.layer + 1),
                          std::to_string(best.head + 1), percent(shares.back()),
                          percent(equal / static_cast<double>(relation.links[1].size()))});
    if (i > 1) continue;  // only the first two are drawn
    drawings.push_back(picture(unseen, weights(best), best.head, i == 0));
    chart.series.push_back({relation.attention + ": " + relation.name, {}, {}});
    auto to_choose = by_distance(relation.links[0]);
    for (const auto& [distance, links] : by_distance(relation.links[1])) {
      if (to_choose[distance].empty()) continue;
      const Head head = best_head(model, relation, choosing, to_choose[distance]);
      chart.series.back().x.push_back(static_cast<double>(distance));
      chart.series.back().y.push_back(share(weights(head), head.head, links));
    }
  }
  drawings[0] = svg_chart(chart);
  std::vector<Token> labels(unseen.batch.next.size(), no_label);  // set at the pronouns only
  for (const Link& link : relations[1].links[1])
    labels[static_cast<std::size_t>(link.row)] = unseen.batch.next[static_cast<std::size_t>(link.row)];
  const double pronouns = accuracy(logits, labels);
  const auto route = static_cast<std::size_t>(std::max_element(shares.begin() + 2, shares.end()) - shares.begin());

  Answer answer{{table}, {}, {}, drawings};
  answer.as_noted = shares[0] > 0.4 && shares[1] > 0.5 && chart.series[1].y.back() > 0.4 && pronouns > 0.9;
  answer.sentence =
      "the decoder's attention to the encoder puts " + percent(shares[0], 0) +
      " of its weight on the word that is being translated. Self-attention puts " + percent(shares[1], 0) +
      " on the article that a pronoun refers to, and still " + percent(chart.series[1].y.back(), 0) + " across " +
      decimal(chart.series[1].x.back(), 0) + " words; " + percent(pronouns, 0) +
      " of the pronouns are right, although the source does not determine them. Both kinds of attention can see the " +
      "number of the verb; the largest weight on it, " + percent(shares[route], 0) + ", is in the attention of the " +
      relations[route].attention + ".";
  return answer;
}

}  // namespace
}  // namespace questions

int main(int argc, char** argv) {
  return questions::run(argc, argv, questions::question, questions::measure);
}
