// Question g: CNN or self-attention?
#include <algorithm>
#include <cmath>
#include <functional>

#include "eigenformer/layers/convolution_layer.hpp"
#include "eigenformer/layers/embedding.hpp"
#include "eigenformer/layers/encoder_layer.hpp"
#include "eigenformer/layers/positions.hpp"
#include "eigenformer/ops/pooling.hpp"
#include "questions/support/chart.hpp"
#include "questions/support/markup.hpp"
#include "questions/support/program.hpp"
#include "questions/support/statistics.hpp"
#include "questions/support/training.hpp"

namespace questions {
namespace {

const Question question{
    'g', "CNN or self-attention?",
    "A convolution sees a kernel's width, and needs many layers to see far; self-attention sees everything in one "
    "step; channels correspond to heads.",
    "One of 64 random letters is one of eight capitals; the last position must name it. Causal convolutions of kernel "
    "3, without and with pooling of 2 after each, and self-attention learn this at all distances between the capital "
    "and the end. A model sees up to the largest distance within which its accuracy is 90 % or more everywhere. The "
    "claim that channels "
    "correspond to heads is not measured."};

constexpr Index length = 64, small = 8, capitals = 8, width = 32;

/// Draws words with one capital, distance() letters before the end. The capital is the label.
template <class Distance>
LabelledBatch draw_words(Index count, ef::Rng& rng, Distance distance) {
  LabelledBatch batch;
  std::vector<std::vector<Token>> words(static_cast<std::size_t>(count), std::vector<Token>(length));
  for (std::vector<Token>& word : words) {
    for (Token& letter : word) letter = static_cast<Token>(rng.randint(small));
    batch.labels.push_back(static_cast<Token>(rng.randint(capitals)));
    word[static_cast<std::size_t>(length - 1 - distance())] = static_cast<Token>(small + batch.labels.back());
  }
  batch.input = ef::Tokens::of(words);
  return batch;
}

enum class Kind { convolution, pooled_convolution, attention };

/// A stack of layers of one kind that classifies each sequence at its last row.
struct Reader {
  Kind kind;
  ef::Embedding<float> embedding;
  ef::Positions<float> positions;
  std::vector<ef::ConvolutionLayer<float>> convolutions;
  std::vector<ef::EncoderLayer<float>> blocks;
  ef::Linear<float> output;

  Reader(Kind chosen, Index layers, ef::Rng& rng) : kind(chosen), embedding(small + capitals, width, rng) {
    for (Index i = 0; i < layers; ++i)
      if (kind == Kind::attention)
        blocks.emplace_back(
            ef::TransformerLayerOptions{
                .width = width, .heads = 4, .dim_feedforward = 2 * width, .dropout = 0, .norm_first = true},
            rng);
      else
        convolutions.emplace_back(
            ef::ConvolutionLayerOptions{.width = width, .padding = ef::ConvolutionPadding::causal, .dropout = 0}, rng);
    if (kind == Kind::attention) positions = ef::Positions<float>(ef::PositionEncoding::sinusoidal, length, width, rng);
    output = ef::Linear<float>(width, capitals, rng);
  }

  /// Returns the logits: [sequences x capitals].
  ef::Variable<float> operator()(const ef::Context<float>& context, const ef::Tokens& words) const {
    const float factor = std::sqrt(static_cast<float>(width));
    ef::RowOffsets rows = words.rows;
    ef::Variable<float> x = positions(context, ef::scale(context, embedding(context, words.ids), factor), rows);
    for (const auto& block : blocks) x = block(context, x, rows, ef::Causal{});
    for (const auto& layer : convolutions) {
      x = layer(context, x, rows);
      if (kind == Kind::convolution) continue;
      ef::Pooled<float> pooled = ef::pool_windows(context, ef::Pooling::maximum, x, {.size = 2}, rows);
      x = pooled.x, rows = pooled.rows;
    }
    std::vector<Index> last;
    for (Index s = 0; s < rows.sequences(); ++s) last.push_back(rows.end(s) - 1);
    return output(context, ef::gather_rows(context, x, last));
  }

  static void visit(auto& self, auto&& visitor) {
    visitor("embedding", self.embedding);
    visitor("convolutions", self.convolutions);
    visitor("blocks", self.blocks);
    visitor("output", self.output);
  }
};

struct Model {
  Kind kind;
  Index layers;
  std::vector<double> accuracies{};  // at distance 1, 2, ..

  std::string name() const {
    const char* const kinds[]{"convolution", "pooled convolution", "self-attention"};
    return kinds[static_cast<int>(kind)] + (", " + std::to_string(layers)) + (layers == 1 ? " layer" : " layers");
  }
  /// Returns how far back the receptive field of the last row reaches.
  Index can_see() const {
    Index field = 1;
    for (Index i = 0; i < layers; ++i) field = (kind == Kind::pooled_convolution ? 2 * field : field) + 2;
    return kind == Kind::attention ? length - 1 : std::min(field, length) - 1;
  }
  /// Returns the distance up to which the accuracy is 90 % or more.
  Index sees() const {
    return std::find_if(accuracies.begin(), accuracies.end(), [](double right) { return right < 0.9; }) -
           accuracies.begin();
  }
};

void learn(Model& model, const Settings& settings) {
  ef::Rng rng(settings.seed);
  Reader reader(model.kind, model.layers, rng);
  // Uniform in the logarithm of the distance.
  const auto any_distance = [&] { return static_cast<Index>(std::pow(length, rng.uniform(0, 1))); };
  fit(
      reader, {.updates = settings.count(800, 2), .rate = 3e-3, .warmup = 40},
      [&] { return draw_words(32, rng, any_distance); },
      [&](const ef::Context<float>& context, const LabelledBatch& batch) { return reader(context, batch.input); });
  for (Index distance = 1; distance < length; ++distance) {
    const LabelledBatch unseen = draw_words(settings.count(100, 1), rng, [&] { return distance; });
    model.accuracies.push_back(accuracy(reader({}, unseen.input).value(), unseen.labels));
  }
}

/// Returns a number of each model of this kind, as "2, 4, 8 and 16".
template <class Number>
std::string list(const std::vector<Model>& models, Kind kind, Number number) {
  std::vector<std::string> numbers;
  for (const Model& model : models)
    if (model.kind == kind) numbers.push_back(std::to_string(std::invoke(number, model)));
  std::string text = numbers[0];
  for (std::size_t i = 1; i < numbers.size(); ++i) text += (i + 1 < numbers.size() ? ", " : " and ") + numbers[i];
  return text;
}

Answer measure(const Settings& settings) {
  constexpr Kind plain = Kind::convolution, pooled = Kind::pooled_convolution, attention = Kind::attention;
  std::vector<Model> models;
  for (const Index layers : {1, 2, 4, 8}) models.push_back({plain, layers});
  for (const Index layers : {1, 2, 4, 5}) models.push_back({pooled, layers});
  for (const Index layers : {1, 2}) models.push_back({attention, layers});
  Table table{"Accuracy by distance (chance: 12.5 %)", {"kind", "can see", "sees", "rows left"}, {}};
  const std::vector<double> shown{1, 2, 4, 8, 16, 32, 63};
  for (const double distance : shown) table.header.push_back(decimal(distance, 0));
  std::vector<double> distances;
  for (Index distance = 1; distance < length; ++distance) distances.push_back(static_cast<double>(distance));
  Chart charts[2];
  charts[0].title = "Convolution and self-attention";
  charts[1].title = "Convolution with pooling";
  for (Chart& chart : charts) {
    chart.x = {.label = "distance", .logarithmic = true, .ticks = shown};
    chart.y = {.label = "accuracy", .includes = {0, 1}};
  }
  std::vector<double> beyond;  // accuracy beyond the receptive field
  bool within = true, deeper_sees_farther = true;
  for (std::size_t i = 0; i < models.size(); ++i) {
    Model& model = models[i];
    learn(model, settings);
    const Index can = model.can_see();
    const Index rows = model.kind == pooled ? length >> model.layers : length;
    table.rows.push_back({model.name(), std::to_string(can), std::to_string(model.sees()), std::to_string(rows)});
    for (const double distance : shown)
      table.rows.back().push_back(percent(model.accuracies[static_cast<std::size_t>(distance) - 1], 0));
    charts[model.kind == pooled ? 1 : 0].series.push_back({model.name(), distances, model.accuracies});
    beyond.insert(beyond.end(), model.accuracies.begin() + can, model.accuracies.end());
    within = within && model.sees() <= can;
    if (i > 0 && model.kind != attention && models[i - 1].kind == model.kind)
      deeper_sees_farther = deeper_sees_farther && model.sees() > models[i - 1].sees();
  }

  const Model &one = models[0], &eight = models[3], &attends = models[8];
  Answer answer{{table}, {}, {}, {svg_chart(charts[0]), svg_chart(charts[1])}};
  answer.as_noted = within && deeper_sees_farther && one.sees() <= 2 && eight.sees() < length / 2 &&
                    attends.sees() == length - 1 && mean(beyond) < 0.2;
  answer.sentence =
      "one layer of self-attention sees " + std::to_string(attends.sees()) + " of " + std::to_string(length - 1) +
      " letters back. Convolutions of kernel 3 with " + list(models, plain, &Model::layers) + " layers see " +
      list(models, plain, &Model::sees) + " letters back (receptive field: " + list(models, plain, &Model::can_see) +
      ", two per layer); beyond the receptive field their accuracy is " + percent(mean(beyond)) +
      ". With pooling after each layer, " + list(models, pooled, &Model::layers) + " layers see " +
      list(models, pooled, &Model::sees) + " letters back (receptive field: " + list(models, pooled, &Model::can_see) +
      "), but the output has fewer rows.";
  return answer;
}

}  // namespace
}  // namespace questions

int main(int argc, char** argv) {
  return questions::run(argc, argv, questions::question, questions::measure);
}
