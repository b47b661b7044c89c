// Question d: what does a self-attention layer cost?
#include <array>
#include <ctime>
#include <functional>

#include "eigenformer/layers/convolution.hpp"
#include "eigenformer/layers/multi_head_attention.hpp"
#include "eigenformer/layers/recurrent.hpp"
#include "questions/support/chart.hpp"
#include "questions/support/markup.hpp"
#include "questions/support/program.hpp"
#include "questions/support/statistics.hpp"

namespace questions {
namespace {

namespace ef = eigenformer;
using ef::Index;

const Question question{
    'd', "What does a self-attention layer cost?", "O(n^2 d): each pair of positions needs a product of length d.",
    "The processor time of the forward pass of one layer over n tokens of width d, on one thread: the median of "
    "repeated runs, for growing n and for growing d. The exponent is the slope of log time over log n or log d. It is "
    "compared with the slope of the number of multiplications at the same sizes and with Vaswani et al. 2017 (table "
    "1). Self-attention is measured without and with its four projections, which add O(n d^2); it has one head."};

/// The number of multiplications in a forward pass: pairs n^2 d + products n d^2.
struct Count {
  double pairs;
  double products;
  double operator()(double n, double d) const { return pairs * n * n * d + products * n * d * d; }
};

struct Layer {
  const char* name;
  const char* paper;  // complexity in the paper
  Count multiplications;
};
const std::vector<Layer> layers{{"attention alone", "n^2 d", {2, 0}},
                                {"self-attention layer", "n^2 d", {2, 4}},
                                {"recurrent layer (GRU)", "n d^2", {0, 6}},
                                {"convolution of 3", "k n d^2", {0, 3}}};

/// Returns the forward passes of all `layers`, in their order, over n tokens of width d.
std::vector<std::function<void()>> passes(Index n, Index d, ef::Rng& rng) {
  const ef::Variable<float> x = ef::normal<float>(n, d, 1, rng).value;
  const ef::MultiHeadAttention<float> attention({.width = d, .heads = 1}, rng);
  const ef::Recurrent<float> recurrent({.inputs = d, .hidden = d}, rng);
  const ef::Convolution<float> convolution({.inputs = d, .outputs = d}, rng);
  return {[x] { ef::attention<float>({}, x, x, x); }, [x, attention] { attention({}, x); },
          [x, recurrent] { recurrent({}, x); }, [x, convolution] { convolution({}, x); }};
}

/// Returns the seconds of processor time per pass. Processor time depends little on other programs.
double processor_time(const std::function<void()>& pass, double at_least) {
  const std::clock_t begin = std::clock();
  for (Index runs = 1;; ++runs) {
    pass();
    const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    if (seconds >= at_least) return seconds / static_cast<double>(runs);
  }
}

/// Returns the median time of each layer at each size. Each round measures all sizes and layers, so that a slow moment
/// of the machine affects one round of each, not all rounds of one.
std::vector<std::vector<double>> measure_times(const std::vector<double>& n, const std::vector<double>& d,
                                               const Settings& settings, ef::Rng& rng) {
  std::vector<std::vector<std::function<void()>>> of_size;
  for (std::size_t i = 0; i < n.size(); ++i)
    of_size.push_back(passes(static_cast<Index>(n[i]), static_cast<Index>(d[i]), rng));
  std::vector<std::vector<std::vector<double>>> rounds(of_size[0].size(), std::vector<std::vector<double>>(n.size()));
  for (Index round = 0; round < settings.count(15, 1); ++round)
    for (std::size_t i = 0; i < n.size(); ++i)
      for (std::size_t layer = 0; layer < rounds.size(); ++layer)
        rounds[layer][i].push_back(processor_time(of_size[i][layer], settings.quick ? 1e-4 : 4e-3));
  std::vector<std::vector<double>> medians;
  for (const auto& layer : rounds) {
    medians.emplace_back();
    for (const std::vector<double>& times : layer) medians.back().push_back(median(times));
  }
  return medians;
}

Table table_of(const std::string& caption, const char* varied, const std::vector<double>& sizes,
               const std::vector<std::vector<double>>& times) {
  Table table{caption, {varied}, {}};
  for (const Layer& layer : layers) table.header.push_back(layer.name);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    table.rows.push_back({decimal(sizes[i], 0)});
    for (const std::vector<double>& layer : times) table.rows.back().push_back(significant(1e3 * layer[i], 3));
  }
  return table;
}

std::string chart_of(const std::string& title, const char* varied, const std::vector<double>& sizes,
                     const std::vector<std::vector<double>>& times) {
  Chart chart{.title = title,
              .x = {.label = varied, .logarithmic = true, .ticks = sizes},
              .y = {.label = "seconds", .logarithmic = true},
              .series = {}};
  for (std::size_t i = 0; i < layers.size(); ++i) chart.series.push_back({layers[i].name, sizes, times[i]});
  return svg_chart(chart);
}

Answer measure(const Settings& settings) {
  ef::Rng rng(settings.seed);
  std::vector<double> n{256, 512, 1024, 2048, 4096}, d{64, 128, 256, 512, 1024};
  if (settings.quick) n = d = {64, 128};
  const std::vector<double> same_n(d.size(), 512), same_d(n.size(), 64);
  const auto over_n = measure_times(n, same_d, settings, rng), over_d = measure_times(same_n, d, settings, rng);

  Table exponents{"Fitted exponents of the time and of the number of multiplications",
                  {"layer", "of n", "counted", "of d", "counted", "Vaswani et al."},
                  {}};
  std::vector<std::array<double, 2>> fitted;
  double error = 0;  // the largest difference between the exponents of time and multiplications
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::vector<double> count_n, count_d;
    for (const double size : n) count_n.push_back(layers[i].multiplications(size, same_d[0]));
    for (const double size : d) count_d.push_back(layers[i].multiplications(same_n[0], size));
    const std::array counted{fitted_exponent(n, count_n), fitted_exponent(d, count_d)};
    fitted.push_back({fitted_exponent(n, over_n[i]), fitted_exponent(d, over_d[i])});
    exponents.rows.push_back({layers[i].name, decimal(fitted[i][0], 2), decimal(counted[0], 2),
                              decimal(fitted[i][1], 2), decimal(counted[1], 2), layers[i].paper});
    for (const std::size_t of : {0U, 1U}) error = std::max(error, std::abs(fitted[i][of] - counted[of]));
  }
  double cheaper = 0;  // up to this n, the self-attention layer takes less time than the recurrent one
  for (std::size_t i = 0; i < n.size() && over_n[1][i] < over_n[2][i]; ++i) cheaper = n[i];

  const auto law = [&](std::size_t layer) {
    return "n^" + decimal(fitted[layer][0], 2) + " d^" + decimal(fitted[layer][1], 2);
  };
  Answer answer{{table_of("Milliseconds for d = 64", "n", n, over_n),
                 table_of("Milliseconds for n = 512", "d", d, over_d), exponents},
                {},
                {},
                {}};
  answer.as_noted = error < 0.3;
  answer.sentence = "the time of attention alone grows like " + law(0) + " (in the paper: n^2 d), of a GRU like " +
                    law(2) + " and of a convolution like " + law(3) +
                    " (n d^2). With its projections, the time of a self-attention layer grows like " + law(1) +
                    " at these sizes. The exponents differ from those of the multiplications by at most " +
                    decimal(error, 2) + ". For d = 64 the self-attention layer takes less time than the GRU " +
                    (cheaper == 0 ? "at no measured n." : "up to n = " + decimal(cheaper, 0) + ".");
  answer.drawings = {chart_of("Longer sequences: d = 64", "n", n, over_n),
                     chart_of("Wider tokens: n = 512", "d", d, over_d)};
  return answer;
}

}  // namespace
}  // namespace questions

int main(int argc, char** argv) {
  return questions::run(argc, argv, questions::question, questions::measure);
}
