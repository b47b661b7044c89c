#include "eigenformer/layers/global_attention.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "support/approx.hpp"
#include "support/message_of.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::AlignmentScore;
using ef::Index;
using ef::Matrix;
using ef::testing::random_matrix;

namespace {

/// Both widths 6 where the score asks for it; else queries of 5 and an inner layer of 7. Biases are not 0.
ef::GlobalAttention<double> layer_of(AlignmentScore score, ef::Rng& rng) {
  const bool equal = score == AlignmentScore::dot || score == AlignmentScore::scaled_dot;
  ef::GlobalAttention<double> layer(
      {.query_width = equal ? 6 : 5, .memory_width = 6, .score = score, .attention_width = 7}, rng);
  if (score == AlignmentScore::additive) layer.query.bias = ef::Parameter<double>(random_matrix<double>(1, 7, rng));
  return layer;
}
Index query_width(AlignmentScore score) {
  return score == AlignmentScore::dot || score == AlignmentScore::scaled_dot ? 6 : 5;
}

/// The score of one query and one memory row, by the formulas.
double naive_score(const ef::GlobalAttention<double>& layer, const Eigen::VectorXd& state, const Eigen::VectorXd& h) {
  switch (layer.score) {
    case AlignmentScore::dot:
      return state.dot(h);
    case AlignmentScore::general:
      return h.dot(layer.query.weight.value * state);
    case AlignmentScore::scaled_dot:
      return state.dot(h) / std::sqrt(6.0);
    default:
      const Eigen::VectorXd hidden =
          layer.query.weight.value * state + layer.query.bias.value.transpose() + layer.key.weight.value * h;
      double sum = 0;
      for (Index c = 0; c < 7; ++c) sum += layer.v.value(0, c) * std::tanh(hidden(c));
      return sum;
  }
}

const auto every_score = {AlignmentScore::dot, AlignmentScore::general, AlignmentScore::scaled_dot,
                          AlignmentScore::additive};

}  // namespace

TEST_CASE("global attention is the softmax of its score", "[layers][threads]") {
  const std::uint64_t seed = 61;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::RowOffsets query_rows{0, 3, 4, 6}, memory_rows{0, 4, 5, 5};  // the last sentence has no words
  for (const AlignmentScore score : every_score) {
    CAPTURE(std::string(ef::to_string(score)));
    const ef::GlobalAttention<double> layer = layer_of(score, rng);
    const auto queries = random_matrix<double>(6, query_width(score), rng), memory = random_matrix<double>(5, 6, rng);
    Matrix<double> y = Matrix<double>::Zero(6, 6), weights = Matrix<double>::Zero(6, 4);
    for (Index s = 0; s < 2; ++s)
      for (Index i = query_rows.begin(s); i < query_rows.end(s); ++i) {
        const Index words = memory_rows.length(s);
        for (Index j = 0; j < words; ++j)
          weights(i, j) = std::exp(naive_score(layer, queries.row(i), memory.row(memory_rows.begin(s) + j)));
        weights.row(i) /= weights.row(i).sum();
        y.row(i) = weights.row(i).head(words) * memory.middleRows(memory_rows.begin(s), words);
      }
    ef::AttentionRecorder<double> recorder;
    ef::ThreadPool pool(3);
    const Matrix<double> found = layer({}, queries, layer.keys({}, memory), memory, query_rows, memory_rows).value();
    CHECK(ef::testing::max_error(found, y) < 1e-13);
    CHECK(layer({.threads = &pool, .attention = &recorder}, queries, layer.keys({}, memory), memory, query_rows,
                memory_rows)
              .value() == found);
    CHECK(recorder.weights(layer).shape() == ef::Sizes{1, 6, 4});
    CHECK(ef::testing::max_error(recorder.weights(layer).matrix(0), weights) < 1e-13);
  }
}

TEST_CASE("gradients of global attention, of every score", "[layers]") {
  const std::uint64_t seed = 62;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::RowOffsets query_rows{0, 3, 7}, memory_rows{0, 5, 9};
  for (const AlignmentScore score : every_score) {
    CAPTURE(std::string(ef::to_string(score)));
    ef::GlobalAttention<double> layer = layer_of(score, rng);
    const auto queries = random_matrix<double>(7, query_width(score), rng), memory = random_matrix<double>(9, 6, rng);
    const auto attend = [&](const ef::Context<double>& c, const ef::Variable<double>& q,
                            const ef::Variable<double>& m) {
      return layer(c, q, layer.keys(c, m), m, query_rows, memory_rows);
    };
    ef::testing::check_op({queries, memory},
                          [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
                            return attend(c, in[0], in[1]);
                          });
    if (ef::parameter_count(layer) > 0)
      ef::testing::check_parameters(layer, [&](const ef::Context<double>& c) { return attend(c, queries, memory); });
  }
}

TEST_CASE("hypotheses share their sentence's memory", "[layers]") {
  ef::Rng rng(63);
  // Two hypotheses of a sentence of two words, and one of a sentence of three.
  const std::vector<Index> rows{0, 1, 0, 1, 2, 3, 4};
  const ef::RowOffsets query_rows{0, 1, 2, 3}, own_rows{0, 2, 4, 7};
  for (const AlignmentScore score : every_score) {
    CAPTURE(std::string(ef::to_string(score)));
    const ef::GlobalAttention<double> layer = layer_of(score, rng);
    const auto queries = random_matrix<double>(3, query_width(score), rng), memory = random_matrix<double>(5, 6, rng);
    const ef::Variable<double> keys = layer.keys({}, memory);
    ef::KeyValueCache<double> cache({.page_size = 2});
    cache.add(2);
    cache.extend(std::vector<Index>{2, 3});
    cache.write(0, keys.value(), memory);
    cache.branch(std::vector<Index>{0, 0, 1});
    ef::AttentionRecorder<double> recorder;
    const Matrix<double> y = layer.attend_to_cache({.attention = &recorder}, queries, cache, query_rows).value();
    const Matrix<double> own = memory(rows, Eigen::all);  // a copy for each
    CHECK(y == layer({}, queries, layer.keys({}, own), own, query_rows, own_rows).value());
    // As queries of one sentence they may be summed up in another order.
    const auto together = layer({}, queries, keys, memory, ef::RowOffsets{0, 2, 3}, ef::RowOffsets{0, 2, 5});
    CHECK(ef::testing::max_error(y, together.value()) < 1e-13);
    CHECK(recorder.weights(layer).matrix(0)(0, 2) == 0);
    CHECK(std::abs(recorder.weights(layer).matrix(0).row(2).sum() - 1) < 1e-14);

    ef::Tape<double> tape;
    CHECK_THROWS_AS(layer.attend_to_cache({.tape = &tape}, tape.variable(queries), cache, query_rows), ef::Error);
  }
}

TEST_CASE("each score of global attention has its own parameters", "[layers]") {
  ef::Rng rng(64);
  const auto names = [](const auto& layer) {
    std::string all;
    ef::for_each_parameter(layer, [&](const std::string& name, const ef::Parameter<double>& p) {
      all += name + " " + std::to_string(p.value.rows()) + "x" + std::to_string(p.value.cols()) + ", ";
    });
    return all;
  };
  CHECK(names(layer_of(AlignmentScore::dot, rng)).empty());
  CHECK(names(layer_of(AlignmentScore::scaled_dot, rng)).empty());
  CHECK(names(layer_of(AlignmentScore::general, rng)) == "query.weight 6x5, ");
  CHECK(names(layer_of(AlignmentScore::additive, rng)) == "query.weight 7x5, query.bias 1x7, key.weight 7x6, v 1x7, ");
  const ef::GlobalAttention<double> by_default({.query_width = 3, .memory_width = 4, .score = AlignmentScore::additive},
                                               rng);
  CHECK(by_default.v.value.cols() == 4);
}

TEST_CASE("alignment scores have names, and dot products equal widths", "[layers]") {
  using ef::testing::message_of;
  for (const AlignmentScore score : every_score) CHECK(ef::value_of<ef::AlignmentScore>(ef::to_string(score)) == score);
  CHECK(message_of([] { ef::value_of<ef::AlignmentScore>("concat"); }) ==
        "value_of: expected dot, general, scaled_dot or additive, given \"concat\"");
  ef::Rng rng(65);
  for (const AlignmentScore score : {AlignmentScore::dot, AlignmentScore::scaled_dot})
    CHECK(message_of([&] { ef::GlobalAttention<float>({.query_width = 3, .memory_width = 4, .score = score}, rng); }) ==
          "GlobalAttention: query_width is 3, memory_width is 4, expected equal widths for the score " +
              std::string(ef::to_string(score)));
  const ef::GlobalAttention<float> layer({.query_width = 3, .memory_width = 4, .score = AlignmentScore::additive}, rng);
  const ef::Variable<float> memory(Eigen::MatrixXf::Zero(5, 4));
  CHECK(message_of([&] { layer({}, Eigen::MatrixXf::Zero(2, 4), layer.keys({}, memory), memory); }) ==
        "linear: x is [2 x 4], weight is [4 x 3]");
  CHECK(message_of([&] { layer({}, Eigen::MatrixXf::Zero(2, 3), Eigen::MatrixXf::Zero(5, 3), memory); }) ==
        "additive_attention: q is [2 x 4], k is [5 x 3], expected equal numbers of columns");
}

TEST_CASE("a global attention of negative width is refused", "[layers]") {
  ef::Rng rng(1);
  CHECK_THROWS_WITH(ef::GlobalAttention<float>({.query_width = -4, .memory_width = 4}, rng),
                    "GlobalAttention: query_width is -4, memory_width is 4, attention_width is 0, expected 0 or more");
}
