// Question h: why self-attention for the model?
#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <functional>

#include "eigenformer/core/thread_pool.hpp"
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
    'h', "Why self-attention for the model?",
    "It runs in parallel over positions, and the path between any two positions is one step long (Vaswani et al. 2017, "
    "table 1: self-attention O(n^2 d), recurrent O(n d^2), convolutional O(k n d^2)).",
    "The time of the forward pass of one layer of width 128 over one sequence, on one thread and on two: the shortest "
    "of 41 runs. The number of threads that a layer can use is the time of all its tasks divided by that of its "
    "longest chain of dependent tasks, both on one thread. Then the norm of the derivative of the last output with "
    "respect to the first input, for untrained layers of width 32: the median of 41 draws."};

using Pass = std::function<void(ef::Threads*)>;

/// Runs tasks one after another and records the processor time of each, which depends little on other programs.
class TaskTimes : public ef::Threads {
 public:
  /// Returns the number of threads that a pass can use.
  double parallelism(const Pass& pass) {
    tasks_ = longest_ = 0;
    const double all = seconds_of([&] { pass(this); }), chain = all - tasks_ + longest_;
    return chain > 0 ? all / chain : 1;  // 0 if too short for the clock
  }
  void run(Index count, ef::TaskRef task) override {
    double longest = 0;
    for (Index i = 0; i < count; ++i) {
      const double seconds = seconds_of([&] { task(i); });
      tasks_ += seconds;
      longest = std::max(longest, seconds);
    }
    longest_ += longest;
  }

 private:
  template <class Work>
  static double seconds_of(const Work& work) {
    const std::clock_t begin = std::clock();
    work();
    return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  }
  double tasks_ = 0;    // seconds of all tasks
  double longest_ = 0;  // seconds of the longest task of each run, for which the next run waits, summed over runs
};

struct Speed {
  double one, two, parallelism;  // seconds on one thread and on two
};

Speed measure_speed(const Pass& pass, ef::Threads& pool, const Settings& settings) {
  std::vector<double> seconds[2], parallelisms;
  for (Index round = 0; round < settings.count(41, 1); ++round) {
    for (const std::size_t i : {0U, 1U}) {
      const auto begin = std::chrono::steady_clock::now();
      pass(i == 0 ? nullptr : &pool);
      seconds[i].push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    parallelisms.push_back(TaskTimes().parallelism(pass));
  }
  return {std::ranges::min(seconds[0]), std::ranges::min(seconds[1]), median(parallelisms)};
}

/// Estimates the Frobenius norm of d y_last / d x_first of a layer over n tokens, by the norm of its product with a
/// random vector: the squares are equal in expectation. layer: (context, x) -> y
template <class Layer>
double gradient_norm(Index n, Index width, const Layer& layer, ef::Rng& rng) {
  ef::Tape<double> tape;
  const ef::Context<double> context{.tape = &tape};
  const ef::Variable<double> x = tape.variable(ef::normal<double>(n, width, 1, rng).value);
  const ef::Variable<double> y = ef::slice_rows(context, layer(context, x), n - 1, 1);
  const ef::Variable<double> direction = ef::normal<double>(1, width, 1, rng).value;
  tape.backward(ef::sum(context, ef::multiply(context, y, direction)));
  return tape.gradient(x).row(0).norm();
}

const std::vector<std::string> kinds{"RNN", "GRU", "LSTM", "LSTM, forget bias 1", "self-attention"};

/// Returns the median gradient norm of an untrained layer over random draws. kind: index into `kinds`.
double fresh_gradient(std::size_t kind, Index n, Index draws, ef::Rng& rng) {
  using Cell = ef::RecurrentCell;
  constexpr Index width = 32;
  constexpr Cell cells[]{Cell::rnn, Cell::gru, Cell::lstm, Cell::lstm, Cell::rnn};
  std::vector<double> norms;
  for (Index draw = 0; draw < draws; ++draw) {
    const ef::MultiHeadAttention<double> attention({.width = width, .heads = 4}, rng);
    ef::Recurrent<double> recurrent({.inputs = width, .hidden = width, .cell = cells[kind]}, rng);
    if (kind == 3) recurrent.weights[0].bias_ih.value.middleCols(width, width).array() += 1;
    const auto layer = [&](const ef::Context<double>& context, const ef::Variable<double>& x) {
      return kind == 4 ? attention(context, x) : recurrent(context, x).output;
    };
    norms.push_back(gradient_norm(n, width, layer, rng));
  }
  return median(norms);
}

Answer measure(const Settings& settings) {
  ef::Rng rng(settings.seed);
  const ef::Recurrent<float> recurrent({.inputs = 128, .hidden = 128}, rng);
  const ef::MultiHeadAttention<float> attention({.width = 128, .heads = 4}, rng);
  ef::ThreadPool pool(2);
  const std::vector<std::string> layers{"GRU", "self-attention", "two independent GRUs"};
  Table speeds{"Milliseconds on one thread and on two",
               {"layer", "n", "sequential steps", "one", "two", "one / two", "usable threads"},
               {}};
  const std::vector<double> n{128, 256, 512, 1024, 2048};
  std::vector<double> seconds[2], feeds[2];
  double gains[3]{};  // speed-up by a second thread, at the largest n
  for (const std::size_t layer : {0U, 1U, 2U})
    for (const double size : n) {
      if (layer == 2 && size < n.back()) continue;
      const ef::Variable<float> x = ef::normal<float>(static_cast<Index>(size), 128, 1, rng).value;
      const Speed speed = measure_speed(
          [&](ef::Threads* threads) {
            const ef::Context<float> context{.threads = threads};
            if (layer == 0) recurrent(context, x);
            if (layer == 1) attention(context, x);
            if (layer == 2) ef::parallel_for(threads, 2, 1, [&](Index, Index) { recurrent({}, x); });
          },
          pool, settings);
      gains[layer] = speed.one / speed.two;
      speeds.rows.push_back({layers[layer], decimal(size, 0), layer == 1 ? "1" : decimal(size, 0),
                             significant(1e3 * speed.one), significant(1e3 * speed.two), decimal(gains[layer], 2),
                             decimal(speed.parallelism, 1)});
      if (layer == 2) continue;
      seconds[layer].push_back(speed.one);
      feeds[layer].push_back(speed.parallelism);
    }

  Table gradients{"Derivative of the last output with respect to the first of n inputs", {"n"}, {}};
  const std::vector<double> lengths{2, 4, 8, 16, 32, 64, 128, 256};
  std::vector<std::vector<double>> norms(kinds.size());
  for (const double length : lengths) {
    gradients.rows.push_back({decimal(length, 0)});
    for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
      norms[kind].push_back(fresh_gradient(kind, static_cast<Index>(length), settings.count(41, 1), rng));
      gradients.rows.back().push_back(significant(norms[kind].back()));
    }
  }
  gradients.header.insert(gradients.header.end(), kinds.begin(), kinds.end());
  std::string halves;  // tokens over which the gradient of a recurrent layer halves, from n = 32 on
  double largest = 0;  // of the recurrent gradients at the largest n
  for (std::size_t kind = 0; kind < 4; ++kind) {
    const double halved = (256 - 32) * std::log(2) / std::log(norms[kind][4] / norms[kind][7]);
    halves += (halves.empty() ? "" : ", ") + decimal(halved, 1) + " (" + kinds[kind] + ")";
    largest = std::max(largest, norms[kind][7]);
  }

  const double decay = fitted_exponent(lengths, norms[4]);
  Answer answer{{speeds, gradients}, {}, {}, {}};
  answer.as_noted = feeds[1].back() > 4 * feeds[0].back() && feeds[1].back() > 2 * feeds[1].front() &&
                    feeds[0].back() < 2 && (gains[2] < 1.5 || gains[1] > gains[0]) && decay > -1.5 &&
                    largest < 0.01 * norms[4][7];
  answer.sentence =
      "over 2048 tokens, a layer of self-attention can use " + decimal(feeds[1].back(), 0) + " threads, a GRU " +
      decimal(feeds[0].back(), 1) + ". Two threads make them " + decimal(gains[1], 2) + " and " + decimal(gains[0], 2) +
      " times as fast, and two independent GRUs " + decimal(gains[2], 2) + " times" +
      (gains[2] < 1.5 ? " (not conclusive: no second core was free)" : "") +
      ". On one thread, the time of self-attention grows like n^" + decimal(fitted_exponent(n, seconds[1]), 2) +
      ", of the GRU like n^" + decimal(fitted_exponent(n, seconds[0]), 2) +
      ". From the last token to the first, the gradient of a recurrent layer halves every " + halves +
      " tokens; through self-attention it falls like n^" + decimal(decay, 2) + ". At n = 256 it is " +
      significant(norms[4][7], 1) + " through self-attention and at most " + significant(largest, 1) +
      " through the recurrent layers.";
  const auto chart = [&](const char* title, const char* label, const std::vector<double>& x,
                         const std::vector<std::string>& names, std::span<const std::vector<double>> values) {
    Chart drawn{.title = title,
                .x = {.label = "n", .logarithmic = true, .ticks = x},
                .y = {.label = label, .logarithmic = true},
                .series = {}};
    for (std::size_t i = 0; i < values.size(); ++i) drawn.series.push_back({names[i], x, values[i]});
    return svg_chart(drawn);
  };
  answer.drawings = {chart("Threads that a layer can use", "threads", n, layers, feeds),
                     chart("Time on one thread", "seconds", n, layers, seconds),
                     chart("Gradient from the last token to the first", "norm", lengths, kinds, norms)};
  return answer;
}

}  // namespace
}  // namespace questions

int main(int argc, char** argv) {
  return questions::run(argc, argv, questions::question, questions::measure);
}
