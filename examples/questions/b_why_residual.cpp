// Question b: why residual connections?
#include "questions/support/chart.hpp"
#include "questions/support/markup.hpp"
#include "questions/support/probe.hpp"
#include "questions/support/program.hpp"
#include "questions/support/sequence_model.hpp"
#include "questions/support/training.hpp"

namespace questions {
namespace {

const Question question{
    'b', "Why residual connections?", "With depth, position information disperses without them.",
    "Eight Transformer blocks, with and without residual connections, with the norm after each sub-layer (as in the "
    "paper) and before it. After each block, a linear probe predicts the position of the token (one of 16) and, for "
    "comparison, its symbol (one of 8). This is done with the initial random weights and again after training on a "
    "task that needs positions: naming the symbol at the mirrored place."};

constexpr Index positions = 16, symbols = 8, blocks = 8;
constexpr double chance = 1.0 / positions;

LabelledBatch draw_mirrors(Index count, ef::Rng& rng) {
  LabelledBatch batch;
  std::vector<std::vector<Token>> sequences(static_cast<std::size_t>(count), std::vector<Token>(positions));
  for (std::vector<Token>& sequence : sequences) {
    for (Token& symbol : sequence) symbol = static_cast<Token>(rng.randint(symbols));
    batch.labels.insert(batch.labels.end(), sequence.rbegin(), sequence.rend());
  }
  batch.input = ef::Tokens::of(sequences);
  return batch;
}

/// The accuracy of the probes at each depth.
struct Readings {
  std::vector<double> position, symbol;
};

Readings read_off(const SequenceModel& model, const LabelledBatch& learnt, const LabelledBatch& unseen) {
  const auto places = [](const LabelledBatch& batch) {
    std::vector<Token> numbers;
    for (std::size_t i = 0; i < batch.labels.size(); ++i) numbers.push_back(static_cast<Token>(i % positions));
    return numbers;
  };
  Readings readings;
  const std::vector<ef::Variable<float>> a = model.depths({}, learnt.input), b = model.depths({}, unseen.input);
  for (std::size_t depth = 0; depth < a.size(); ++depth) {
    const auto x = a[depth].value(), y = b[depth].value();
    readings.position.push_back(linear_probe(x, places(learnt), y, places(unseen), positions));
    readings.symbol.push_back(linear_probe(x, learnt.input.ids, y, unseen.input.ids, symbols));
  }
  return readings;
}

struct Outcome {
  std::string name;
  Readings random, trained;
  double accuracy = 0;  // on the task, after training
};

Outcome learn(bool norm_first, bool residual, const Settings& settings) {
  ef::Rng rng(settings.seed);
  SequenceModelOptions options{.vocabulary_size = symbols, .classes = symbols, .layers = blocks};
  options.layer.norm_first = norm_first;
  options.layer.residual = residual;
  SequenceModel model(options, rng);
  ef::Rng probe_rng(settings.seed + 1000);
  const LabelledBatch learnt = draw_mirrors(settings.count(200, 8), probe_rng);
  const LabelledBatch unseen = draw_mirrors(settings.count(200, 4), probe_rng);
  Outcome outcome;
  outcome.name = std::string(residual ? "with" : "without") + (norm_first ? ", norm before" : ", norm after");
  outcome.random = read_off(model, learnt, unseen);
  fit(
      model, {.updates = settings.count(600, 2), .rate = 1e-3, .warmup = 100}, [&] { return draw_mirrors(32, rng); },
      [&](const ef::Context<float>& context, const LabelledBatch& batch) { return model(context, batch.input); });
  outcome.trained = read_off(model, learnt, unseen);
  outcome.accuracy = accuracy(model({}, unseen.input).value(), unseen.labels);
  return outcome;
}

Answer measure(const Settings& settings) {
  std::vector<double> depths;
  std::vector<std::string> header{"residual connections"};
  for (Index depth = 0; depth <= blocks; ++depth) {
    depths.push_back(static_cast<double>(depth));
    header.push_back("after " + std::to_string(depth));
  }
  Table random{"Position probe by depth, random weights (chance: " + percent(chance) + ")", header, {}};
  Table trained{"Position probe by depth, trained weights", header, {}};
  Table symbol{"Symbol probe by depth, random weights (chance: " + percent(1.0 / symbols) + ")", header, {}};
  Table task{"The task after training", {"residual connections", "accuracy"}, {}};
  Chart random_chart{.title = "Random weights",
                     .x = {.label = "blocks", .ticks = depths},
                     .y = {.label = "accuracy of the position probe", .includes = {0, 1}}};
  Chart trained_chart = random_chart;
  trained_chart.title = "Trained weights";
  std::vector<Outcome> outcomes;
  for (const bool norm_first : {true, false})
    for (const bool residual : {true, false}) {
      const Outcome outcome = learn(norm_first, residual, settings);
      const auto add = [&](Table& table, const std::vector<double>& readings) {
        table.rows.push_back({outcome.name});
        for (const double reading : readings) table.rows.back().push_back(percent(reading));
      };
      add(random, outcome.random.position);
      add(trained, outcome.trained.position);
      add(symbol, outcome.random.symbol);
      task.rows.push_back({outcome.name, percent(outcome.accuracy)});
      random_chart.series.push_back({outcome.name, depths, outcome.random.position});
      trained_chart.series.push_back({outcome.name, depths, outcome.trained.position});
      outcomes.push_back(outcome);
    }

  const Outcome &with = outcomes[0], &without = outcomes[1], &with_after = outcomes[2], &without_after = outcomes[3];
  const auto last = [](const Readings& readings) { return readings.position.back(); };
  const auto gone = [&](const Outcome& outcome) {
    return last(outcome.random) < 2 * chance && last(outcome.trained) < 2 * chance;
  };
  Answer answer{{random, trained, symbol, task}, {}, {}, {}};
  answer.as_noted = gone(without) && gone(without_after) && last(with.random) > 0.5 && last(with.trained) > 0.5 &&
                    last(with_after.random) > 4 * chance && with.accuracy > without.accuracy;
  answer.sentence =
      "after eight blocks without residual connections, the position probe is right in " +
      percent(last(without.random), 0) + " of the cases with random weights and in " +
      percent(last(without.trained), 0) + " after training (chance: " + percent(chance, 0) +
      "; after one block: " + percent(without.random.position[1], 0) + "). With residual connections it is right in " +
      percent(last(with.random), 0) + " and " + percent(last(with.trained), 0) +
      " if the norm precedes the sub-layers, and in " + percent(last(with_after.random), 0) + " and " +
      percent(last(with_after.trained), 0) + " if it follows them. The accuracy on the task is " +
      percent(with.accuracy, 0) + " with them (norm before) and " + percent(without.accuracy, 0) +
      " without. With random weights the symbol probe is right in " + percent(with.random.symbol.back(), 0) +
      " with them and in " + percent(without.random.symbol.back(), 0) + " without.";
  answer.drawings = {svg_chart(random_chart), svg_chart(trained_chart)};
  return answer;
}

}  // namespace
}  // namespace questions

int main(int argc, char** argv) {
  return questions::run(argc, argv, questions::question, questions::measure);
}
