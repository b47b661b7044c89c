// Question c: why several heads?
#include <array>
#include <limits>

#include "questions/support/chart.hpp"
#include "questions/support/markup.hpp"
#include "questions/support/program.hpp"
#include "questions/support/sequence_model.hpp"
#include "questions/support/statistics.hpp"
#include "questions/support/training.hpp"
#include "translate/heat_map.hpp"

namespace questions {
namespace {

const Question question{
    'c', "Why several heads?", "One head learns an average; several learn different directions in different subspaces.",
    "At every letter of a random word, one layer of self-attention must name the letter before and the letter after: "
    "two look-ups at once. One head of width 48 is compared with two of 24 and four of 12, which have equal numbers of "
    "parameters. The difference between two heads is the total variation distance of their weights: 0 if they are "
    "equal, 1 if they share nothing."};

constexpr Index letters = 24;

/// Draws words of 8 to 16 letters. The label of an inner letter is the pair of its neighbours.
LabelledBatch draw_words(Index count, ef::Rng& rng) {
  LabelledBatch batch;
  std::vector<std::vector<Token>> words(static_cast<std::size_t>(count));
  for (std::vector<Token>& word : words) {
    word.resize(static_cast<std::size_t>(8 + rng.randint(9)));
    for (Token& letter : word) letter = static_cast<Token>(rng.randint(letters));
    batch.labels.push_back(no_label);
    for (std::size_t i = 1; i + 1 < word.size(); ++i)
      batch.labels.push_back(static_cast<Token>(word[i - 1] * letters + word[i + 1]));
    batch.labels.push_back(no_label);
  }
  batch.input = ef::Tokens::of(words);
  return batch;
}

struct Outcome {
  std::vector<double> updates, accuracies;                          // during training
  double updates_needed = std::numeric_limits<double>::infinity();  // to reach 95 %
  std::vector<std::array<double, 2>> looks;  // mean weight of each head on the letters before and after
  double distance = std::nan("");            // mean total variation distance of two heads
  std::vector<ef::Matrix<float>> pictures;   // weights of each head in the first unseen word
};

/// Measures where the heads put their weight.
void look_at_heads(const SequenceModel& model, const ef::Tokens& words, Outcome& outcome) {
  ef::AttentionRecorder<float> recorder;
  model({.attention = &recorder}, words);
  const ef::Tensor<float>& weights = recorder.weights(model.layers[0].self_attn);
  const Index heads = weights.dimension(0);
  double distance = 0, inner = 0;
  outcome.looks.resize(static_cast<std::size_t>(heads));
  for (Index w = 0; w < words.sequences(); ++w) {
    for (Index i = 1; i + 1 < words.rows.length(w); ++i) {
      const Index row = words.rows.begin(w) + i;
      ++inner;
      for (Index a = 0; a < heads; ++a) {
        outcome.looks[static_cast<std::size_t>(a)][0] += weights(a, row, i - 1);
        outcome.looks[static_cast<std::size_t>(a)][1] += weights(a, row, i + 1);
        for (Index b = 0; b < a; ++b)
          distance += 0.5 * (weights.matrix(a).row(row) - weights.matrix(b).row(row)).cwiseAbs().sum();
      }
    }
  }
  for (auto& [before, after] : outcome.looks) before /= inner, after /= inner;
  if (heads > 1) outcome.distance = distance / (inner * static_cast<double>(heads * (heads - 1) / 2));
  const Index length = words.rows.length(0);
  for (Index a = 0; a < heads; ++a) outcome.pictures.emplace_back(weights.matrix(a).topLeftCorner(length, length));
}

Outcome learn(Index heads, const Settings& settings) {
  ef::Rng rng(settings.seed);
  SequenceModel model({.vocabulary_size = letters,
                       .classes = letters * letters,
                       .layers = 1,
                       .layer = {.width = 48, .heads = heads, .dim_feedforward = 48, .dropout = 0, .norm_first = true}},
                      rng);
  ef::Rng unseen_rng(settings.seed + 1000);
  const LabelledBatch unseen = draw_words(settings.count(200, 10), unseen_rng);
  Outcome outcome;
  fit(
      model, {.updates = settings.count(1600, 2), .rate = 3e-3, .warmup = 50}, [&] { return draw_words(32, rng); },
      [&](const ef::Context<float>& context, const LabelledBatch& batch) { return model(context, batch.input); },
      [&](Index update) {
        if (update % settings.count(40, 1) != 0) return;
        outcome.updates.push_back(static_cast<double>(update));
        outcome.accuracies.push_back(accuracy(model({}, unseen.input).value(), unseen.labels));
        if (outcome.accuracies.back() >= 0.95 && std::isinf(outcome.updates_needed))
          outcome.updates_needed = static_cast<double>(update);
      });
  look_at_heads(model, unseen.input, outcome);
  return outcome;
}

std::string shares(const std::vector<std::array<double, 2>>& looks, std::size_t which) {
  std::string text;
  for (const auto& look : looks) text += (text.empty() ? "" : ", ") + percent(look[which], 0);
  return text;
}

/// Returns the share of a head's weight on the two neighbours that goes to the preferred one, averaged over heads.
double devotion(const Outcome& outcome) {
  double sum = 0;
  for (const auto& [before, after] : outcome.looks) sum += std::max(before, after) / (before + after);
  return sum / static_cast<double>(outcome.looks.size());
}

Answer measure(const Settings& settings) {
  Table table{"Equal total width, split into heads",
              {"heads", "accuracy half-way", "accuracy at the end", "updates for 95 %", "weight before, by head",
               "weight after, by head", "distance between heads"},
              {}};
  Chart chart{.title = "Accuracy on both neighbours",
              .x = {.label = "updates"},
              .y = {.label = "share of unseen letters", .includes = {0, 1}},
              .series = {}};
  std::vector<Outcome> outcomes;
  std::vector<std::string> drawings{""};
  for (const Index heads : {1, 2, 4}) {
    const Outcome outcome = learn(heads, settings);
    table.rows.push_back({std::to_string(heads), percent(outcome.accuracies[(outcome.accuracies.size() - 1) / 2]),
                          percent(outcome.accuracies.back()), decimal(outcome.updates_needed, 0),
                          shares(outcome.looks, 0), shares(outcome.looks, 1), decimal(outcome.distance, 2)});
    chart.series.push_back(
        {std::to_string(heads) + (heads == 1 ? " head" : " heads"), outcome.updates, outcome.accuracies});
    std::vector<std::string> places;
    for (Index i = 0; i < outcome.pictures[0].rows(); ++i) places.push_back(std::to_string(i + 1));
    for (std::size_t a = 0; heads <= 2 && a < outcome.pictures.size(); ++a)
      drawings.push_back(
          translate::svg_heat_map(outcome.pictures[a], places, places,
                                  heads == 1 ? "The only head" : "Head " + std::to_string(a + 1) + " of 2"));
    outcomes.push_back(outcome);
  }
  drawings[0] = svg_chart(chart);

  const Outcome &one = outcomes[0], &two = outcomes[1], &four = outcomes[2];
  Answer answer{{table}, {}, {}, drawings};
  const auto needed = [&](const Outcome& outcome) {
    return std::isinf(outcome.updates_needed) ? "more than " + std::to_string(settings.count(1600, 2))
                                              : decimal(outcome.updates_needed, 0);
  };
  const bool averages = devotion(one) < 0.85;
  answer.as_noted = averages && devotion(two) > 0.95 && two.distance > 0.5 && four.distance > 0.3 &&
                    one.updates_needed > std::max(two.updates_needed, four.updates_needed);
  answer.sentence = "of its weight on the two neighbours, a single head gives " + percent(devotion(one), 0) +
                    " to the preferred one and the rest to the other" + (averages ? ", a weighted average" : "") +
                    ". Each of two heads gives " + percent(devotion(two), 0) +
                    " to one of them; the distance between the two heads is " + decimal(two.distance, 2) +
                    ". To reach 95 %, one head needs " + needed(one) + " updates, two heads " + needed(two) +
                    ", four heads " + needed(four) + "; at the end their accuracy is " +
                    percent(one.accuracies.back()) + ", " + percent(two.accuracies.back()) + " and " +
                    percent(four.accuracies.back()) + ".";
  return answer;
}

}  // namespace
}  // namespace questions

int main(int argc, char** argv) {
  return questions::run(argc, argv, questions::question, questions::measure);
}
