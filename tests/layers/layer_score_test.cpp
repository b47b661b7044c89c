#include "eigenformer/layers/layer_score.hpp"

#include "eigenformer/kernels/scores.hpp"
#include "eigenformer/layers/encoder.hpp"
#include "support/approx.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::testing::random_matrix;

namespace {

const auto decay = ef::score([](auto s, const ef::ScorePosition& at) {
  return s - 0.25F * static_cast<float>(at.query > at.key ? at.query - at.key : at.key - at.query);
});

Matrix<double> map(const ef::Linear<double>& l, const Matrix<double>& in) {
  return Matrix<double>((in * l.weight.value.transpose()).rowwise() + l.bias.value.row(0));
}

}  // namespace

TEST_CASE("a layer's window, cap and user score apply to its attention", "[layers]") {
  const std::uint64_t seed = 171;
  const Index window = GENERATE(0, 1, 3);
  const double cap = GENERATE(0.0, 0.5);
  const bool user = GENERATE(false, true);
  const bool causal = GENERATE(false, true);
  CAPTURE(seed, window, cap, user, causal);
  ef::Rng rng(seed);
  ef::MultiHeadAttention<double> layer({.width = 6, .heads = 2}, rng);
  const ef::LayerScore options{.window = window, .soft_cap = cap, .user_score = user ? "decay" : ""};
  layer.score = options.score<double>({{"decay", decay}, {"other", ef::Causal{}}});
  const auto x = random_matrix<double>(9, 6, rng);
  const Matrix<double> q = map(layer.q, x), k = map(layer.k, x), v = map(layer.v, x);
  Matrix<double> heads = Matrix<double>::Zero(9, 6);
  for (Index h = 0; h < 2; ++h)
    for (Index i = 0; i < 9; ++i) {
      Eigen::RowVectorXd p = Eigen::RowVectorXd::Zero(9);
      for (Index j = 0; j < 9; ++j) {
        double s = q.row(i).segment(3 * h, 3).dot(k.row(j).segment(3 * h, 3)) / std::sqrt(3.0);
        if (cap > 0) s = cap * std::tanh(s / cap);
        if (user) s -= 0.25 * static_cast<double>(std::abs(i - j));
        const bool seen = (window == 0 || std::abs(i - j) < window) && (!causal || j <= i);
        p(j) = seen ? std::exp(s) : 0;
      }
      p /= p.sum();
      for (Index j = 0; j < 9; ++j) heads.row(i).segment(3 * h, 3) += p(j) * v.row(j).segment(3 * h, 3);
    }
  const ef::AnyScore<double> call = causal ? ef::AnyScore<double>(ef::Causal{}) : ef::AnyScore<double>();
  ef::AttentionRecorder<double> recorder;
  CHECK(ef::testing::max_error(layer({.attention = &recorder}, x, {}, call).value(), map(layer.out_proj, heads)) <
        1e-12);
  const auto weights = recorder.weights(layer).matrix(1);
  for (Index i = 0; i < 9; ++i)
    for (Index j = 0; j < 9; ++j)
      CHECK((weights(i, j) == 0) == ((window > 0 && std::abs(i - j) >= window) || (causal && j > i)));
  const ef::RowOffsets rows{0, 4, 9};
  ef::testing::check_parameters(layer, [&](const ef::Context<double>& c) { return layer(c, x, rows, call); });
  ef::testing::check_op({x}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return layer(c, in[0], rows, call);
  });
}

TEST_CASE("gradients with a score of the layer and each kind of position", "[layers]") {
  const std::uint64_t seed = 172;
  const ef::PositionEncoding encoding =
      GENERATE(ef::PositionEncoding::alibi, ef::PositionEncoding::bucketed, ef::PositionEncoding::relative);
  CAPTURE(seed, ef::to_string(encoding));
  ef::Rng rng(seed);
  ef::AttentionPositions<double> positions({.encoding = encoding, .heads = 2, .head_width = 4, .buckets = {6, 9, true}},
                                           rng);
  ef::MultiHeadAttention<double> layer(
      {.width = 8, .heads = 2, .relative_distance = encoding == ef::PositionEncoding::relative ? 2 : 0}, rng);
  layer.score = ef::LayerScore{.window = 3, .soft_cap = 0.5, .user_score = "decay"}.score<double>({{"decay", decay}});
  const ef::RowOffsets rows{0, 7, 7, 11};
  const auto x = random_matrix<double>(11, 8, rng);
  const auto run = [&](const ef::Context<double>& c) { return layer(c, x, rows, ef::Causal{}, positions); };
  ef::testing::check_parameters(layer, run);
  if (encoding == ef::PositionEncoding::bucketed) ef::testing::check_parameters(positions, run);
}

TEST_CASE("token by token, a layer's score is that of the whole sequence", "[layers]") {
  const std::uint64_t seed = 173;
  const ef::PositionEncoding encoding = GENERATE(from_range(ef::position_encodings));
  CAPTURE(seed, ef::to_string(encoding));
  ef::Rng rng(seed);
  const ef::AttentionPositions<double> positions(
      {.encoding = encoding, .heads = 2, .head_width = 4, .buckets = {6, 9, false}}, rng);
  ef::MultiHeadAttention<double> layer(
      {.width = 8, .heads = 2, .relative_distance = encoding == ef::PositionEncoding::relative ? 2 : 0}, rng);
  layer.score = ef::LayerScore{.window = 3, .soft_cap = 0.5, .user_score = "decay"}.score<double>({{"decay", decay}});
  const auto x = random_matrix<double>(9, 8, rng);
  const Matrix<double> whole = layer({}, x, {}, ef::Causal{}, positions).value();
  ef::KeyValueCache<double> cache({.page_size = 4});
  cache.add(1);
  for (Index i = 0; i < 9; ++i) {
    cache.extend();
    const Matrix<double> token = x.row(i);
    layer.append_to_cache({}, token, cache, 0, positions);
    CHECK(ef::testing::max_error(layer.attend_to_cache({}, token, cache, {}, positions).value(), whole.row(i)) < 1e-13);
  }
  // Several queries at the end of more keys.
  if (encoding != ef::PositionEncoding::none) return;
  const ef::AttentionBatch<double> last{
      .query_rows = {0, 4}, .key_rows = {0, 9}, .score = ef::Causal::after_past(), .positions = &positions};
  CHECK(ef::testing::max_error(layer({}, x.bottomRows(4).eval(), x, x, last).value(), whole.bottomRows(4)) < 1e-13);
}

TEST_CASE("the scores of a stack repeat", "[layers]") {
  const ef::LayerScores scores{{.window = 4}, {.window = 4}, {.soft_cap = 2}};
  CHECK(ef::score_of_layer(scores, 1) == ef::LayerScore{.window = 4});
  CHECK(ef::score_of_layer(scores, 5) == ef::LayerScore{.soft_cap = 2});
  CHECK(ef::score_of_layer({}, 5) == ef::LayerScore{});
  CHECK(ef::LayerScore{}.score<float>().empty());
}

TEST_CASE("scores of layers that do not fit are refused", "[layers]") {
  CHECK_THROWS_WITH((ef::LayerScore{.window = -1}.score<float>()),
                    "LayerScore: window is -1, soft_cap is 0, expected 0 or more");
  CHECK_THROWS_AS((ef::LayerScore{.soft_cap = -1}.score<float>()), ef::Error);
  CHECK_THROWS_WITH((ef::LayerScore{.user_score = "decay"}.score<float>({{"other", ef::Causal{}}})),
                    "LayerScore: the score \"decay\" is not among the named scores; give it to the model's constructor "
                    "or to load()");
}
