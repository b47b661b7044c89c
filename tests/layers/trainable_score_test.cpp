#include "eigenformer/layers/trainable_score.hpp"

#include <set>

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/kernels/scores.hpp"
#include "eigenformer/layers/encoder_decoder.hpp"
#include "eigenformer/layers/layer_score.hpp"
#include "support/approx.hpp"
#include "support/message_of.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::TrainableScore;
using ef::testing::message_of;
using ef::testing::random_matrix;

namespace {

constexpr Index head_count = 4;

// A slope for each head, and a table by distance that all heads share.
const auto slope_and_table = [](const auto& s, const ef::ScorePosition& at, const auto& slope, const auto& table) {
  const auto distance = at.query > at.key ? at.query - at.key : at.key - at.query;
  return s * table(distance) - slope(at.head) * static_cast<float>(distance);
};

TrainableScore<double> random_score(ef::Rng& rng) {
  return TrainableScore<double>(slope_and_table, {{"slope", random_matrix<double>(1, head_count, rng)},
                                                  {"table", random_matrix<double>(1, 3, rng)}});
}

Matrix<double> project(const ef::Linear<double>& l, const Matrix<double>& in) {
  return Matrix<double>((in * l.weight.value.transpose()).rowwise() + l.bias.value.row(0));
}

std::set<std::string> names_of(const auto& layer) {
  std::set<std::string> names;
  ef::for_each_parameter(layer, [&](const std::string& name, const auto&) { names.insert(name); });
  return names;
}

}  // namespace

TEST_CASE("a layer with a learned score and sinks is the double loop over queries and keys", "[layers][threads]") {
  const std::uint64_t seed = 181;
  const bool narrow = GENERATE(false, true);  // with a window and a cap
  const bool causal = GENERATE(false, true);
  const bool sinks = GENERATE(false, true);
  CAPTURE(seed, narrow, causal, sinks);
  ef::Rng rng(seed);
  ef::MultiHeadAttention<double> layer({.width = 8, .heads = head_count, .key_heads = 2, .sinks = sinks}, rng);
  if (sinks) layer.sinks.value = random_matrix<double>(1, head_count, rng);
  layer.score =
      ef::LayerScore{.window = narrow ? 3 : 0, .soft_cap = narrow ? 0.5 : 0, .user_score = "learned"}.score<double>(
          {{"learned", random_score(rng)}});
  const Matrix<double>&slope = layer.score.parameter("slope").value, &table = layer.score.parameter("table").value;
  const auto x = random_matrix<double>(9, 8, rng);
  const Matrix<double> q = project(layer.q, x), k = project(layer.k, x), v = project(layer.v, x);
  Matrix<double> mixed = Matrix<double>::Zero(9, 8), weights(9, 9);
  for (Index h = 0; h < head_count; ++h)
    for (Index i = 0; i < 9; ++i) {
      Eigen::RowVectorXd p = Eigen::RowVectorXd::Zero(9);
      for (Index j = 0; j < 9; ++j) {
        double s = q.row(i).segment(2 * h, 2).dot(k.row(j).segment(h / 2 * 2, 2)) / std::sqrt(2.0);
        if (narrow) s = 0.5 * std::tanh(s / 0.5);
        const Index distance = std::abs(i - j);
        s = s * table(0, std::min<Index>(distance, 2)) - slope(0, h) * static_cast<double>(distance);
        p(j) = (!narrow || distance < 3) && (!causal || j <= i) ? std::exp(s) : 0;
      }
      p /= p.sum() + (sinks ? std::exp(layer.sinks.value(0, h)) : 0);
      mixed.row(i).segment(2 * h, 2) = p * v.middleCols(h / 2 * 2, 2);
      if (h == 1) weights.row(i) = p;
    }
  const ef::AnyScore<double> call = causal ? ef::AnyScore<double>(ef::Causal{}) : ef::AnyScore<double>();
  ef::AttentionRecorder<double> recorder;
  ef::ThreadPool pool(2);
  const Matrix<double> y = layer({.attention = &recorder}, x, {}, call).value();
  CHECK(ef::testing::max_error(y, project(layer.out_proj, mixed)) < 1e-12);
  CHECK(ef::testing::max_error(recorder.weights(layer).matrix(1), weights) < 1e-12);
  CHECK(layer({.threads = &pool}, x, {}, call).value() == y);
  const ef::RowOffsets rows{0, 4, 4, 9};
  ef::testing::check_parameters(layer, [&](const ef::Context<double>& c) { return layer(c, x, rows, call); });
  ef::testing::check_op({x}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return layer(c, in[0], rows, call);
  });
}

TEST_CASE("gradients and decoding with a learned score, sinks and each kind of position", "[layers]") {
  const std::uint64_t seed = 182;
  const ef::PositionEncoding encoding = GENERATE(from_range(ef::position_encodings));
  CAPTURE(seed, ef::to_string(encoding));
  ef::Rng rng(seed);
  const ef::AttentionPositions<double> positions(
      {.encoding = encoding, .heads = head_count, .head_width = 2, .buckets = {6, 9, false}}, rng);
  ef::MultiHeadAttention<double> layer({.width = 8,
                                        .heads = head_count,
                                        .relative_distance = encoding == ef::PositionEncoding::relative ? 2 : 0,
                                        .sinks = true},
                                       rng);
  layer.sinks.value = random_matrix<double>(1, head_count, rng);
  layer.score = random_score(rng).combined_with(ef::combine(ef::SlidingWindow(4), ef::SoftCap(0.5)));
  const auto x = random_matrix<double>(9, 8, rng);
  ef::testing::check_parameters(layer, [&](const ef::Context<double>& c) {
    return layer(c, x, {0, 5, 9}, ef::Causal{}, positions);
  });
  const Matrix<double> whole = layer({}, x, {}, ef::Causal{}, positions).value();
  ef::KeyValueCache<double> cache({.page_size = 4});
  cache.add(1);
  for (Index i = 0; i < 9; ++i) {
    cache.extend();
    const Matrix<double> token = x.row(i);
    layer.append_to_cache({}, token, cache, 0, positions);
    CHECK(ef::testing::max_error(layer.attend_to_cache({}, token, cache, {}, positions).value(), whole.row(i)) < 1e-13);
  }
}

TEST_CASE("each block of a stack has a score of its own, and its gradients", "[layers]") {
  const std::uint64_t seed = 183;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::EncoderDecoder<double> model({.width = 8,
                                    .heads = head_count,
                                    .dim_feedforward = 6,
                                    .dropout = 0,
                                    .activation = ef::Activation::gelu,
                                    .sinks = true},
                                   2, 1, rng);
  const ef::NamedScores<double> scores{{"learned", random_score(rng)}, {"other", ef::SoftCap(2)}};
  const ef::LayerScore learned{.user_score = "learned"};
  for (auto& layer : model.encoder.layers) learned.apply_to(layer.self_attn, scores);
  learned.apply_to(model.decoder.layers[0].self_attn, scores);
  learned.apply_to(model.decoder.layers[0].multihead_attn, scores);
  CHECK(model.encoder.layers[0].self_attn.score.parameter("slope").value ==
        model.encoder.layers[1].self_attn.score.parameter("slope").value);
  for (auto& layer : model.encoder.layers) {
    layer.self_attn.score.parameter("slope").value = random_matrix<double>(1, head_count, rng);
    layer.self_attn.sinks.value = random_matrix<double>(1, head_count, rng);
  }
  CHECK(model.encoder.layers[0].self_attn.score.parameter("slope").value !=
        model.encoder.layers[1].self_attn.score.parameter("slope").value);
  const std::set<std::string> names = names_of(model);
  for (const char* layer : {"encoder.layers.0.self_attn.", "encoder.layers.1.self_attn.", "decoder.layers.0.self_attn.",
                            "decoder.layers.0.multihead_attn."})
    for (const char* parameter : {"score.slope", "score.table", "sinks"})
      CHECK(names.count(layer + std::string(parameter)) == 1);
  const auto source = random_matrix<double>(7, 8, rng), target = random_matrix<double>(5, 8, rng);
  ef::testing::check_parameters(model, [&](const ef::Context<double>& c) {
    return model(c, source, {0, 3, 7}, target, {0, 4, 5});
  });
}

TEST_CASE("a step along the gradient lowers the loss as the gradient says", "[layers]") {
  const std::uint64_t seed = 184;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::MultiHeadAttention<double> layer({.width = 8, .heads = head_count, .sinks = true}, rng);
  layer.score = random_score(rng);
  const auto x = random_matrix<double>(9, 8, rng);
  ef::Tape<double> tape;
  const auto loss = [&](const ef::Context<double>& c) { return ef::testing::weighted_sum(c, layer(c, x, {0, 4, 9})); };
  const ef::Variable<double> before = loss({.tape = &tape});
  const double value = before.scalar();
  tape.backward(before);
  double square = 0;
  const double step = 1e-6;
  for (ef::Parameter<double>* p : {&layer.score.parameter("slope"), &layer.score.parameter("table"), &layer.sinks}) {
    const Matrix<double> gradient = tape.gradient(*p);
    CHECK(gradient.cwiseAbs().minCoeff() > 0);
    square += gradient.squaredNorm();
    p->value -= step * gradient;
  }
  CHECK(std::abs((value - loss({}).scalar()) / (step * square) - 1) < 1e-3);
}

TEST_CASE("a query of a layer that sees nothing gives the output's bias and no gradient", "[layers]") {
  ef::Rng rng(185);
  ef::MultiHeadAttention<double> layer({.width = 8, .heads = head_count, .sinks = true}, rng);
  layer.score = random_score(rng).combined_with(ef::mask([](const ef::ScorePosition&) { return false; }));
  layer.out_proj.bias.value.setConstant(3);
  const auto x = random_matrix<double>(5, 8, rng);
  ef::Tape<double> tape;
  const ef::Context<double> c{.tape = &tape};
  const ef::Variable<double> y = layer(c, x);
  CHECK((y.value().array() == 3).all());
  tape.backward(ef::testing::weighted_sum(c, y));
  for (const ef::Parameter<double>* p :
       {&layer.score.parameter("slope"), &layer.score.parameter("table"), &layer.sinks, &layer.q.weight})
    CHECK(tape.gradient(*p).isZero(0));
}

TEST_CASE("learned scores are combined, copied and named", "[layers]") {
  ef::Rng rng(186);
  const auto scaled = [](const auto& s, const ef::ScorePosition&, const auto& factor) { return s * factor(0); };
  const TrainableScore<double> first = random_score(rng);
  const TrainableScore<double> both =
      first.combined_with(ef::Causal{})
          .combined_with(TrainableScore<double>(scaled, {{"factor", Matrix<double>::Constant(1, 1, 2)}}));
  CHECK(names_of(both) == std::set<std::string>{"slope", "table", "factor"});
  CHECK(both({}).inputs().size() == 3);
  CHECK(TrainableScore<double>(ef::Unmasked{}).empty());
  CHECK(!both.empty());
  TrainableScore<double> copy = both;
  copy.parameter("factor").value(0, 0) = 5;
  CHECK(both.parameter("factor").value(0, 0) == 2);
  // The parts apply in the order in which they were combined.
  const auto x = random_matrix<double>(6, 8, rng);
  const auto expected =
      ef::combine(ef::score([&](auto s, const ef::ScorePosition& at) {
                    return 2 * slope_and_table(
                                   s, at, [&](int h) { return first.parameter("slope").value(0, h); },
                                   [&](int i) { return first.parameter("table").value(0, std::min(i, 2)); });
                  }),
                  ef::Causal{});
  CHECK(ef::testing::max_error(ef::attention<double>({}, x, x, x, both({}), {.heads = head_count}).value(),
                               ef::attention(x, x, x, expected, {.heads = head_count})) < 1e-13);
  CHECK(message_of([&] { first.combined_with(first); }) == "TrainableScore: two parameters are named \"slope\"");
  CHECK(message_of([&] { first.parameter("scale"); }) == "TrainableScore: there is no parameter \"scale\"");
  const Matrix<double> one = Matrix<double>::Ones(1, 1);
  CHECK(message_of([&] {
          TrainableScore<double>(scaled, {{"a.b", one}});
        }) == "TrainableScore: a parameter is named \"a.b\", expected a name without dots");
  CHECK(message_of([&] {
          TrainableScore<double>(scaled, {{"", one}});
        }) == "TrainableScore: a parameter is named \"\", expected a name without dots");
  CHECK(message_of([&] {
          TrainableScore<double>(scaled, {{"p", Matrix<double>(0, 4)}});
        }) == "TrainableScore: the parameter \"p\" is [0 x 4], expected entries");
}

TEST_CASE("sinks begin with score 0, and are a choice of each layer", "[layers]") {
  ef::Rng rng(187), plain_rng(187);
  const ef::MultiHeadAttention<float> with({.width = 8, .heads = head_count, .key_heads = 2, .sinks = true}, rng);
  ef::MultiHeadAttention<float> layer({.width = 8, .heads = head_count, .key_heads = 2}, plain_rng);
  CHECK(ef::shape(with.sinks.value) == ef::Shape{1, head_count});
  CHECK(with.sinks.value.isZero(0));
  CHECK(with.out_proj.weight.value == layer.out_proj.weight.value);
  CHECK(layer.sinks.empty());
  ef::LayerScore{.sinks = true}.apply_to(layer);
  const auto x = random_matrix<float>(6, 8, rng);
  CHECK(layer({}, x).value() == with({}, x).value());
  // Softmax with a 1 in its denominator.
  ef::AttentionRecorder<float> recorder;
  const Matrix<float> zeros = Matrix<float>::Zero(6, 8);
  layer({.attention = &recorder}, zeros);
  CHECK(std::abs(recorder.weights(layer)(0, 0, 0) - 1.0F / 7) < 1e-6F);
}
