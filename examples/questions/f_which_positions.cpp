// Question f: which other position encodings are there?
#include <algorithm>
#include <array>
#include <cmath>

#include "questions/support/chart.hpp"
#include "questions/support/markup.hpp"
#include "questions/support/program.hpp"
#include "questions/support/sequence_model.hpp"
#include "questions/support/training.hpp"

namespace questions {
namespace {

const Question question{
    'f', "Which other position encodings are there?",
    "This question is left open. There are sinusoidal, learned, relative (Shaw et al. 2018), bucketed (T5), ALiBi and "
    "rotary positions, or none at all.",
    "With each encoding, one layer of self-attention without a mask learns three tasks, one at a time, on random words "
    "of 8 to 16 letters. At every letter, it names the letter three places before (order), the nearest capital on "
    "either side (distance), or the third letter of the word (place). It is tested at the last eight letters of unseen "
    "words of 16 letters, and of 1.5, 2 and 3 times that length."};

enum class Task { order, distance, place };
constexpr std::array tasks{Task::order, Task::distance, Task::place};
constexpr std::array task_names{"The letter three before", "The nearest capital", "The word's third letter"};

constexpr Index shortest = 8, longest = 16, last_letters = 8;
constexpr std::array<Index, 4> lengths{longest, 3 * longest / 2, 2 * longest, 3 * longest};
constexpr std::size_t twice = 2;  // index into lengths

constexpr Index small_letters = 8, capitals = 4, letters = small_letters + capitals;
bool is_capital(Token letter) {
  return letter >= small_letters;
}

/// Returns the capital nearest to place i. Returns no_label if there is none, if letter i is itself a capital, or if
/// two different capitals are equally near.
Token nearest_capital(const std::vector<Token>& word, std::size_t i) {
  if (is_capital(word[i])) return no_label;
  for (std::size_t distance = 1; distance < word.size(); ++distance) {
    const Token before = i >= distance ? word[i - distance] : 0;
    const Token after = i + distance < word.size() ? word[i + distance] : 0;
    if (is_capital(before) && is_capital(after) && before != after) return no_label;
    if (is_capital(before) || is_capital(after)) return std::max(before, after);
  }
  return no_label;
}

Token label(Task task, const std::vector<Token>& word, std::size_t i) {
  if (task == Task::order) return i >= 3 ? word[i - 3] : no_label;
  if (task == Task::place) return i == 2 ? no_label : word[2];
  return nearest_capital(word, i);
}

/// Draws words of `least` to `most` letters; each letter is a capital with probability 1/4. Only the last `asked`
/// letters have labels.
LabelledBatch draw_words(Task task, Index count, Index least, Index most, Index asked, ef::Rng& rng) {
  LabelledBatch batch;
  std::vector<std::vector<Token>> words(static_cast<std::size_t>(count));
  for (std::vector<Token>& word : words) {
    word.resize(static_cast<std::size_t>(least + rng.randint(most - least + 1)));
    for (Token& letter : word)
      letter =
          static_cast<Token>(rng.randint(4) == 0 ? small_letters + rng.randint(capitals) : rng.randint(small_letters));
    for (std::size_t i = 0; i < word.size(); ++i)
      batch.labels.push_back(i + static_cast<std::size_t>(asked) >= word.size() ? label(task, word, i) : no_label);
  }
  batch.input = ef::Tokens::of(words);
  return batch;
}

/// The accuracy at each of the lengths; NaN where the encoding has no positions.
using Rights = std::array<double, lengths.size()>;

Rights learn(ef::PositionEncoding positions, Task task, const Settings& settings) {
  ef::Rng rng(settings.seed);
  // `relative` and `bucketed` clip distances at 8; larger ones would occur too rarely in training.
  SequenceModel model({.vocabulary_size = letters,
                       .classes = letters,
                       .layers = 1,
                       .layer = {.width = 48, .heads = 4, .dim_feedforward = 96, .dropout = 0, .norm_first = true},
                       .positions = positions,
                       .max_length = longest,
                       .relative_distance = 8,
                       .buckets = {.buckets = 16, .max_distance = 8}},
                      rng);
  fit(
      model, {.updates = settings.count(1200, 2), .rate = 8e-3, .warmup = 50},
      [&] { return draw_words(task, 32, shortest, longest, longest, rng); },
      [&](const ef::Context<float>& context, const LabelledBatch& batch) { return model(context, batch.input); });
  ef::Rng unseen_rng(settings.seed + 1000);
  Rights rights;
  for (std::size_t l = 0; l < lengths.size(); ++l) {
    const LabelledBatch unseen =
        draw_words(task, settings.count(200, 10), lengths[l], lengths[l], last_letters, unseen_rng);
    const bool ends = positions == ef::PositionEncoding::learned && lengths[l] > longest;
    try {
      rights[l] = accuracy(model({}, unseen.input).value(), unseen.labels);
    } catch (const ef::Error&) {
      if (!ends) throw;
      rights[l] = std::nan("");
    }
  }
  return rights;
}

bool is_right(double share) {
  return share >= 0.9;
}

/// The accuracy of one encoding on each task.
struct Outcome {
  std::string name;
  std::array<Rights, tasks.size()> rights;

  bool does_all(std::size_t length) const {
    return std::all_of(rights.begin(), rights.end(), [&](const Rights& task) { return is_right(task[length]); });
  }
  bool learns_any() const {
    return std::any_of(rights.begin(), rights.end(), [](const Rights& task) { return is_right(task[0]); });
  }
};

/// Returns the names of the outcomes that satisfy the predicate, as "a, b and c".
std::string names(const std::vector<Outcome>& outcomes, const auto& are_so) {
  std::vector<std::string> chosen;
  for (const Outcome& outcome : outcomes)
    if (are_so(outcome)) chosen.push_back(outcome.name);
  std::string text = chosen.empty() ? "no encoding" : chosen[0];
  for (std::size_t i = 1; i < chosen.size(); ++i) text += (i + 1 < chosen.size() ? ", " : " and ") + chosen[i];
  return text;
}

Answer measure(const Settings& settings) {
  std::vector<Outcome> outcomes;
  for (const ef::PositionEncoding positions : ef::position_encodings) {
    outcomes.push_back({std::string(to_string(positions)), {}});
    for (const Task task : tasks)
      outcomes.back().rights[static_cast<std::size_t>(task)] = learn(positions, task, settings);
  }

  Answer answer;
  std::vector<std::string> header{"positions"}, drawings;
  std::vector<double> ticks;
  for (const Index length : lengths) {
    header.push_back(std::to_string(length) + " letters");
    ticks.push_back(static_cast<double>(length));
  }
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    Table table{task_names[t] + std::string(": accuracy at the last eight letters"), header, {}};
    Chart chart{.title = task_names[t],
                .x = {.label = "letters in the word (trained up to " + std::to_string(longest) + ")", .ticks = ticks},
                .y = {.label = "accuracy", .includes = {0, 1}}};
    for (const Outcome& outcome : outcomes) {
      const Rights& rights = outcome.rights[t];
      table.rows.push_back({outcome.name});
      for (const double right : rights) table.rows.back().push_back(std::isnan(right) ? "-" : percent(right));
      chart.series.push_back({outcome.name, ticks, {rights.begin(), rights.end()}});
    }
    answer.tables.push_back(table);
    drawings.push_back(svg_chart(chart));
  }
  answer.drawings = std::move(drawings);

  const Outcome& none = outcomes[static_cast<std::size_t>(ef::PositionEncoding::none)];
  const Outcome& alibi = outcomes[static_cast<std::size_t>(ef::PositionEncoding::alibi)];
  const auto does_all = [](const Outcome& outcome) { return outcome.does_all(twice); };
  answer.as_noted = std::nullopt;
  answer.sentence = "at twice the trained length, all three tasks are solved (90 % accuracy or more) by " +
                    names(outcomes, does_all) + ".";
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    const auto right_at = [&](std::size_t length) {
      return names(outcomes, [&](const Outcome& outcome) { return is_right(outcome.rights[t][length]); });
    };
    answer.sentence += std::string(" ") + task_names[t] + ": learnt with " + right_at(0) +
                       "; still right at twice the length with " + right_at(twice) + ".";
  }
  const auto share = [](const Outcome& outcome, Task task) {
    return percent(outcome.rights[static_cast<std::size_t>(task)][0], 0);
  };
  answer.sentence +=
      " Without positions, the accuracy is " + share(none, Task::order) + ", " + share(none, Task::distance) + " and " +
      share(none, Task::place) + (none.learns_any() ? "" : ", because without a mask nothing shows the order") +
      "; with alibi it is " + share(alibi, Task::order) + ", " + share(alibi, Task::distance) + " and " +
      share(alibi, Task::place) +
      (is_right(alibi.rights[0][0]) ? "" : ", because without a mask alibi shows the distance but not the side") +
      ". Learned positions end at the trained length.";
  return answer;
}

}  // namespace
}  // namespace questions

int main(int argc, char** argv) {
  return questions::run(argc, argv, questions::question, questions::measure);
}
