// Question e: why a mask?
#include <array>

#include "eigenformer/decode/greedy.hpp"
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
    'e', "Why a mask?", "So that the decoder cannot look at positions after t.",
    "Two equal decoders, one with the causal mask and one without, read a word and learn to write it backwards. The "
    "training loss and the accuracy while reading the right answer are compared with what the decoders write on "
    "their own."};

constexpr Index letters = 12;
constexpr Token turn = 0, end = 1, first_letter = 2;  // "abc<turn>cba<end>"

struct Words {
  std::vector<std::vector<Token>> prompts, answers;  // "abc<turn>", "cba"
  LabelledBatch batch;  // prompt and answer in one sequence; labels: the next token of the answer
};
const std::vector<Token>& labels_of(const Words& words) {
  return words.batch.labels;
}

Words draw_words(Index count, ef::Rng& rng) {
  Words words;
  std::vector<std::vector<Token>> inputs;
  for (Index i = 0; i < count; ++i) {
    std::vector<Token> word(static_cast<std::size_t>(4 + rng.randint(5)));
    for (Token& letter : word) letter = static_cast<Token>(first_letter + rng.randint(letters));
    std::vector<Token> answer(word.rbegin(), word.rend());
    word.push_back(turn);
    words.batch.labels.insert(words.batch.labels.end(), word.size() - 1, no_label);
    words.batch.labels.insert(words.batch.labels.end(), answer.begin(), answer.end());
    words.batch.labels.push_back(end);
    inputs.push_back(word);
    inputs.back().insert(inputs.back().end(), answer.begin(), answer.end());
    words.prompts.push_back(std::move(word));
    words.answers.push_back(std::move(answer));
  }
  words.batch.input = ef::Tokens::of(inputs);
  return words;
}

/// A step function for greedy_search that runs the model over all tokens so far. Without a mask nothing can be cached,
/// because each new token changes the activations of all tokens before it.
class Writer {
 public:
  Writer(const SequenceModel& model, const ef::AnyScore<float>& mask, std::vector<std::vector<Token>> prompts)
      : model_(model), mask_(mask), written_(std::move(prompts)) {}

  ef::Matrix<float> operator()(std::span<const Index> parents, std::span<const Token> tokens) {
    std::vector<std::vector<Token>> next;
    for (std::size_t i = 0; i < parents.size(); ++i) {
      next.push_back(written_[static_cast<std::size_t>(parents[i])]);
      if (steps_ > 0) next.back().push_back(tokens[i]);  // the first is the begin token, which the prompt replaces
    }
    ++steps_;
    written_ = std::move(next);
    const ef::Tokens input = ef::Tokens::of(written_);
    const ef::Matrix<float> all = model_({}, input, mask_).value();
    ef::Matrix<float> last(input.sequences(), all.cols());
    for (Index s = 0; s < last.rows(); ++s) last.row(s) = all.row(input.rows.end(s) - 1);
    return last;
  }

 private:
  const SequenceModel& model_;
  ef::AnyScore<float> mask_;
  std::vector<std::vector<Token>> written_;
  Index steps_ = 0;
};

struct Outcome {
  std::vector<double> losses;
  double told = 0;            // accuracy on unseen tokens, given the right tokens (teacher forcing)
  double free = 0;            // share of unseen words written right, decoding freely
  double ahead = 0;           // weight on later positions: the mean over rows of the answers, heads and layers
  ef::Matrix<float> picture;  // weights of the sharpest head in the first unseen word
};

Outcome learn(const ef::AnyScore<float>& mask, const Settings& settings) {
  ef::Rng rng(settings.seed);
  SequenceModel model({.vocabulary_size = first_letter + letters, .classes = first_letter + letters}, rng);
  Outcome outcome;
  outcome.losses = fit(
      model, {.updates = settings.count(1000, 2), .rate = 3e-3, .warmup = 50}, [&] { return draw_words(32, rng); },
      [&](const ef::Context<float>& context, const Words& words) { return model(context, words.batch.input, mask); });

  ef::Rng unseen_rng(settings.seed + 1000);
  const Words unseen = draw_words(settings.count(300, 5), unseen_rng);
  ef::AttentionRecorder<float> recorder;
  outcome.told = accuracy(model({.attention = &recorder}, unseen.batch.input, mask).value(), unseen.batch.labels);
  Writer writer(model, mask, unseen.prompts);
  const auto written =
      ef::greedy_search(writer, static_cast<Index>(unseen.prompts.size()), {.end = end, .max_tokens = 12});
  for (std::size_t i = 0; i < written.size(); ++i)
    outcome.free += written[i].tokens == unseen.answers[i] && written[i].ended ? 1 : 0;
  outcome.free /= static_cast<double>(written.size());

  const ef::RowOffsets& rows = unseen.batch.input.rows;
  double looks = 0, sharpest = -1;
  for (const ef::EncoderLayer<float>& layer : model.layers) {
    const ef::Tensor<float>& weights = recorder.weights(layer.self_attn);
    for (Index h = 0; h < weights.dimension(0); ++h) {
      double largest = 0;
      for (Index s = 0; s < rows.sequences(); ++s)
        for (Index i = 0; i < rows.length(s); ++i) {
          const Index row = rows.begin(s) + i;
          if (unseen.batch.labels[static_cast<std::size_t>(row)] == no_label) continue;
          outcome.ahead += weights.matrix(h).row(row).tail(weights.dimension(2) - i - 1).sum();
          largest += weights.matrix(h).row(row).maxCoeff();
          ++looks;
        }
      if (largest <= sharpest) continue;
      sharpest = largest;
      outcome.picture = weights.matrix(h).topLeftCorner(rows.length(0), rows.length(0));
    }
  }
  outcome.ahead /= looks;
  return outcome;
}

/// Returns the means of successive groups of ten values.
std::vector<double> smoothed(const std::vector<double>& values) {
  std::vector<double> means;
  for (std::size_t i = 0; i < values.size(); i += 10)
    means.push_back(mean(std::span(values).subspan(i, std::min<std::size_t>(10, values.size() - i))));
  return means;
}

Answer measure(const Settings& settings) {
  ef::Rng unseen_rng(settings.seed + 1000);
  const Words unseen = draw_words(1, unseen_rng);
  std::vector<std::string> letters_shown;
  for (const Token token : unseen.batch.input.ids)
    letters_shown.push_back(token == turn ? "|" : std::string(1, static_cast<char>('a' + token - first_letter)));

  const Outcome masked = learn(ef::Causal{}, settings), open = learn(ef::Unmasked{}, settings);
  const double masked_loss = mean_of_last(masked.losses, 50), open_loss = mean_of_last(open.losses, 50);
  Table table{"Two decoders",
              {"mask", "loss, first 100 updates", "loss, last 50 updates", "tokens right, reading the answer",
               "words right, decoded freely", "weight on later tokens"},
              {}};
  const auto add = [&](const char* name, const Outcome& outcome) {
    const std::size_t early = std::min<std::size_t>(100, outcome.losses.size());
    table.rows.push_back({name, significant(mean(std::span(outcome.losses).first(early)), 3),
                          significant(mean_of_last(outcome.losses, 50), 3), percent(outcome.told),
                          percent(outcome.free), percent(outcome.ahead)});
  };
  add("causal", masked);
  add("none", open);

  Answer answer{{table}, {}, {}, {}};
  answer.as_noted = open_loss < 0.1 && open.told > 0.95 && open.free < 0.5 && masked.free > 0.8;
  answer.sentence = "without a mask, the training loss falls to " + significant(open_loss, 2) + " and " +
                    percent(open.told, 0) +
                    " of the tokens are right, because the decoder reads the token that it must predict. But " +
                    percent(open.ahead, 0) +
                    " of the attention weight is on later tokens, and decoding freely the model writes only " +
                    percent(open.free, 0) + " of the words right. With the causal mask the loss is " +
                    significant(masked_loss, 2) + " and " + percent(masked.free, 0) + " of the words are right.";
  std::vector<double> updates;
  for (std::size_t i = 0; i < smoothed(open.losses).size(); ++i) updates.push_back(10.0 * static_cast<double>(i + 1));
  answer.drawings = {
      svg_chart(
          {.title = "Training loss",
           .x = {.label = "updates"},
           .y = {.label = "loss per token", .logarithmic = true},
           .series = {{"causal mask", updates, smoothed(masked.losses)}, {"no mask", updates, smoothed(open.losses)}}}),
      svg_chart({.title = "Accuracy",
                 .y = {.label = "share of right answers", .includes = {0, 1}},
                 .series = {{"causal mask", {}, {masked.told, masked.free}}, {"no mask", {}, {open.told, open.free}}},
                 .mark = Mark::bars,
                 .categories = {"tokens, reading the answer", "words, decoded freely"}}),
      translate::svg_heat_map(masked.picture, letters_shown, letters_shown, "Causal mask: the sharpest head"),
      translate::svg_heat_map(open.picture, letters_shown, letters_shown, "No mask: the sharpest head")};
  return answer;
}

}  // namespace
}  // namespace questions

int main(int argc, char** argv) {
  return questions::run(argc, argv, questions::question, questions::measure);
}
