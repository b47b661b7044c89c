// Question i: why divide by sqrt(d_k)?
#include <cmath>
#include <numeric>

#include "eigenformer/kernels/attention_weights.hpp"
#include "eigenformer/layers/embedding.hpp"
#include "eigenformer/layers/linear.hpp"
#include "eigenformer/ops/attention.hpp"
#include "questions/support/chart.hpp"
#include "questions/support/markup.hpp"
#include "questions/support/program.hpp"
#include "questions/support/statistics.hpp"
#include "questions/support/training.hpp"

namespace questions {
namespace {

constexpr Index keys = 64;

const Question question{
    'i', "Why divide by sqrt(d_k)?",
    "The products of queries and keys grow with d_k and push softmax to where its gradient vanishes.",
    "Random queries and keys of growing width d_k, with normal entries of variance 1: the entropy of softmax over 64 "
    "keys and the norm of its derivative, with and without the division. Then one attention layer learns to look up "
    "keys, with and without it."};

ef::Matrix<float> normal_matrix(Index rows, Index cols, ef::Rng& rng) {
  ef::Matrix<float> x(rows, cols);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(rng.normal());
  return x;
}

struct Softmax {
  double deviation = 0;   // of the scores
  double entropy = 0;     // as a share of its maximum, log(keys); the mean over queries
  double derivative = 0;  // the Frobenius norm of d softmax / d scores; the median over queries
};

Softmax measure_softmax(Index d_k, double scale, Index draws, ef::Rng& rng) {
  std::vector<double> deviations, entropies, derivatives;
  for (Index draw = 0; draw < draws; ++draw) {
    const ef::Matrix<float> q = normal_matrix(keys, d_k, rng), k = normal_matrix(keys, d_k, rng);
    const ef::AttentionOptions options{.scale = scale};
    const auto weights = ef::attention_weights(q, k, ef::Unmasked{}, options);
    const auto scores = ef::attention_scores(q, k, ef::Unmasked{}, options);
    for (Index r = 0; r < q.rows(); ++r) {
      const Eigen::ArrayXd p = weights.matrix(0).row(r).transpose().array().cast<double>();
      const Eigen::ArrayXd s = scores.matrix(0).row(r).transpose().array().cast<double>();
      deviations.push_back(std::sqrt((s - s.mean()).square().mean()));
      entropies.push_back(-(p * p.max(1e-300).log()).sum() / std::log(static_cast<double>(keys)));
      // The derivative is diag(p) - p p^T.
      const double squares = p.square().sum();
      derivatives.push_back(std::sqrt(std::max(0.0, squares - 2 * p.cube().sum() + squares * squares)));
    }
  }
  return {mean(deviations), mean(entropies), median(derivatives)};
}

/// Lists of key-value pairs and the keys to look up.
struct Pairs {
  std::vector<Token> keys, values, asked, answers;
  ef::RowOffsets key_rows, query_rows;
};
const std::vector<Token>& labels_of(const Pairs& pairs) {
  return pairs.answers;
}

constexpr Index symbols = 64, kinds = 16, pairs_each = 16, questions_each = 4;

Pairs draw_pairs(Index lists, ef::Rng& rng) {
  Pairs drawn;
  std::vector<Token> order(symbols);
  std::iota(order.begin(), order.end(), Token{0});
  for (Index i = 0; i < lists; ++i) {
    rng.shuffle(std::span(order));
    drawn.keys.insert(drawn.keys.end(), order.begin(), order.begin() + pairs_each);
    for (Index p = 0; p < pairs_each; ++p) drawn.values.push_back(static_cast<Token>(rng.randint(kinds)));
    for (Index p = 0; p < questions_each; ++p) {  // from this list, which is in random order already
      drawn.asked.push_back(order[static_cast<std::size_t>(p)]);
      drawn.answers.push_back(drawn.values[drawn.values.size() - static_cast<std::size_t>(pairs_each - p)]);
    }
  }
  drawn.key_rows = ef::RowOffsets::from_lengths(std::vector<Index>(static_cast<std::size_t>(lists), pairs_each));
  drawn.query_rows = ef::RowOffsets::from_lengths(std::vector<Index>(static_cast<std::size_t>(lists), questions_each));
  return drawn;
}

/// Attention between learned tables of queries, keys and values, whose initial entries have variance 1.
struct Lookup {
  ef::Parameter<float> q, k, v;
  ef::Linear<float> output;
  double scale;

  Lookup(Index d_k, double chosen_scale, ef::Rng& rng)
      : q(normal_matrix(symbols, d_k, rng)),
        k(normal_matrix(symbols, d_k, rng)),
        v(normal_matrix(kinds, 32, rng)),
        output(32, kinds, rng),
        scale(chosen_scale) {}

  ef::Variable<float> operator()(const ef::Context<float>& context, const Pairs& pairs) const {
    const ef::AttentionOptions options{.scale = scale, .query_rows = pairs.query_rows, .key_rows = pairs.key_rows};
    const auto rows = [&](const ef::Parameter<float>& table, const std::vector<Token>& ids) {
      return ef::gather_rows(context, context.use(table), ids);
    };
    return output(context, ef::attention(context, rows(q, pairs.asked), rows(k, pairs.keys), rows(v, pairs.values),
                                         ef::Unmasked{}, options));
  }

  static void visit(auto& self, auto&& visitor) {
    visitor("q", self.q);
    visitor("k", self.k);
    visitor("v", self.v);
    visitor("output", self.output);
  }
};

/// Returns the accuracy after training.
double learn(Index d_k, double scale, const Settings& settings) {
  ef::Rng rng(settings.seed);
  Lookup model(d_k, scale, rng);
  const Plan plan{.updates = settings.count(500, 4), .rate = 1e-2, .warmup = 20};
  fit(
      model, plan, [&] { return draw_pairs(32, rng); },
      [&](const ef::Context<float>& context, const Pairs& pairs) { return model(context, pairs); });
  const Pairs unseen = draw_pairs(settings.count(500, 4), rng);
  return accuracy(model({}, unseen).value(), unseen.answers);
}

Answer measure(const Settings& settings) {
  ef::Rng rng(settings.seed);
  const std::vector<Index> widths{4, 16, 64, 256, 1024};
  std::vector<double> d_k, deviations[2], entropies[2], derivatives[2], accuracies[2];  // [0]: divided; [1]: undivided
  Table random{
      "Softmax over 64 keys: scores divided by sqrt(d_k), and undivided",
      {"d_k", "deviation of scores", "undivided", "entropy / log 64", "undivided", "derivative (median)", "undivided"},
      {}};
  Table learnt{"Accuracy of a layer that learned to look up keys", {"d_k", "divided", "undivided"}, {}};
  for (const Index width : widths) {
    const double root = std::sqrt(static_cast<double>(width));
    d_k.push_back(static_cast<double>(width));
    for (const int way : {0, 1}) {
      const double scale = way == 0 ? 1 / root : 1;
      const Softmax softmax = measure_softmax(width, scale, settings.count(16, 1), rng);
      deviations[way].push_back(softmax.deviation);
      entropies[way].push_back(softmax.entropy);
      derivatives[way].push_back(softmax.derivative);
      accuracies[way].push_back(learn(width, scale, settings));
    }
    const auto both = [](const std::vector<double>(&values)[2], auto&& format) {
      return std::array{format(values[0].back()), format(values[1].back())};
    };
    const auto plain = [](double value) { return significant(value, 3); };
    const auto share = [](double value) { return percent(value); };
    const auto [s0, s1] = both(deviations, plain);
    const auto [e0, e1] = both(entropies, plain);
    const auto [g0, g1] = both(derivatives, plain);
    const auto [a0, a1] = both(accuracies, share);
    random.rows.push_back({std::to_string(width), s0, s1, e0, e1, g0, g1});
    learnt.rows.push_back({std::to_string(width), a0, a1});
  }

  const double growth = fitted_exponent(d_k, deviations[1]);
  const double shrunk = derivatives[1].back() / derivatives[0].back();
  Answer answer{{random, learnt}, {}, {}, {}};
  answer.as_noted = std::abs(growth - 0.5) < 0.1 && std::abs(fitted_exponent(d_k, deviations[0])) < 0.1 &&
                    entropies[1].back() < 0.5 * entropies[0].back() && shrunk < 0.1 &&
                    accuracies[1].back() < accuracies[0].back();
  answer.sentence = "without the division, the standard deviation of the scores grows like d_k^" + decimal(growth, 2) +
                    ". At d_k = 1024, the entropy of softmax is then " + percent(entropies[1].back(), 0) +
                    " of its maximum (divided: " + percent(entropies[0].back(), 0) + "), its derivative is " +
                    significant(shrunk, 2) + " times as large as with the division, and the accuracy of look-ups is " +
                    percent(accuracies[1].back(), 0) + " (divided: " + percent(accuracies[0].back(), 0) + ").";
  const auto chart = [&](const char* title, const char* label, const std::vector<double>(&values)[2], bool logarithmic,
                         std::vector<double> includes) {
    return svg_chart({.title = title,
                      .x = {.label = "d_k", .logarithmic = true, .ticks = d_k},
                      .y = {.label = label, .logarithmic = logarithmic, .includes = std::move(includes)},
                      .series = {{"divided by sqrt(d_k)", d_k, values[0]}, {"not divided", d_k, values[1]}}});
  };
  answer.drawings = {chart("Random scores: standard deviation", "standard deviation", deviations, true, {}),
                     chart("Random scores: entropy of softmax", "entropy / log 64", entropies, false, {0, 1}),
                     chart("Random scores: derivative of softmax", "norm of the derivative", derivatives, true, {}),
                     chart("Learning to look up keys", "accuracy", accuracies, false, {0, 1})};
  return answer;
}

}  // namespace
}  // namespace questions

int main(int argc, char** argv) {
  return questions::run(argc, argv, questions::question, questions::measure);
}
