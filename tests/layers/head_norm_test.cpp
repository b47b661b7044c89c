#include "eigenformer/layers/head_norm.hpp"

#include "eigenformer/layers/multi_head_attention.hpp"
#include "support/approx.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::QueryKeyNorm;
using ef::testing::random_matrix;

namespace {

void randomise(ef::HeadNorm<double>& norm, ef::Rng& rng) {
  norm.weight.value = random_matrix<double>(1, norm.weight.value.cols(), rng);
  if (!norm.bias.empty()) norm.bias.value = random_matrix<double>(1, norm.bias.value.cols(), rng);
}

/// The norm by its formula, head by head.
Matrix<double> naive_norm(const ef::HeadNorm<double>& norm, const Matrix<double>& x, Index heads) {
  const Index d = x.cols() / heads;
  Matrix<double> y = x;
  for (Index i = 0; i < x.rows(); ++i)
    for (Index h = 0; h < heads && norm.kind != QueryKeyNorm::none; ++h) {
      double mean = 0, square = 0;
      for (Index c = 0; c < d; ++c) mean += x(i, h * d + c) / static_cast<double>(d);
      if (norm.kind == QueryKeyNorm::rms_norm) mean = 0;
      for (Index c = 0; c < d; ++c) square += std::pow(x(i, h * d + c) - mean, 2) / static_cast<double>(d);
      for (Index c = 0; c < d; ++c) {
        y(i, h * d + c) = (x(i, h * d + c) - mean) / std::sqrt(square + norm.epsilon) * norm.weight.value(0, c);
        if (!norm.bias.empty()) y(i, h * d + c) += norm.bias.value(0, c);
      }
    }
  return y;
}

ef::MultiHeadAttention<double> layer_of(QueryKeyNorm norm, ef::Rng& rng) {
  ef::MultiHeadAttention<double> layer(
      {.width = 8, .heads = 4, .key_heads = 2, .head_width = 6, .qk_norm = norm, .qk_norm_eps = 0.125}, rng);
  if (norm == QueryKeyNorm::none) return layer;
  randomise(layer.q_norm, rng);
  randomise(layer.k_norm, rng);
  return layer;
}

}  // namespace

TEST_CASE("each head is normalised by itself, with one gain for all", "[layers]") {
  const std::uint64_t seed = 91;
  const QueryKeyNorm kind = GENERATE(QueryKeyNorm::none, QueryKeyNorm::rms_norm, QueryKeyNorm::layer_norm);
  const bool bias = GENERATE(false, true);
  CAPTURE(seed, ef::to_string(kind), bias);
  ef::Rng rng(seed);
  for (const Index rows : {0, 1, 5})
    for (const Index heads : {1, 3})
      for (const Index width : {1, 4, 19}) {
        CAPTURE(rows, heads, width);
        ef::HeadNorm<double> norm(kind, width, 0.25, bias);
        CHECK(norm.weight.empty() == (kind == QueryKeyNorm::none));
        CHECK(norm.bias.empty() != (kind == QueryKeyNorm::layer_norm && bias));
        if (kind != QueryKeyNorm::none) randomise(norm, rng);
        const auto x = random_matrix<double>(rows, heads * width, rng);
        const Matrix<double> y = norm({}, x, heads).value();
        CHECK(ef::testing::max_error(y, naive_norm(norm, x, heads)) < 1e-13);
      }
}

TEST_CASE("queries and keys are normalised before positions and scores", "[layers]") {
  const std::uint64_t seed = 92;
  const QueryKeyNorm kind = GENERATE(QueryKeyNorm::none, QueryKeyNorm::rms_norm, QueryKeyNorm::layer_norm);
  const ef::PositionEncoding encoding = GENERATE(ef::PositionEncoding::none, ef::PositionEncoding::rotary);
  CAPTURE(seed, ef::to_string(kind), ef::to_string(encoding));
  ef::Rng rng(seed);
  const ef::MultiHeadAttention<double> layer = layer_of(kind, rng);
  const ef::AttentionPositions<double> positions({.encoding = encoding, .heads = 4, .head_width = 6}, rng);
  const auto x = random_matrix<double>(9, 8, rng);
  const auto map = [](const ef::Linear<double>& l, const Matrix<double>& in) {
    return Matrix<double>((in * l.weight.value.transpose()).rowwise() + l.bias.value.row(0));
  };
  const auto turn = [&](const Matrix<double>& m, Index heads) {
    Matrix<double> y = m;
    for (Index i = 0; i < m.rows() && encoding == ef::PositionEncoding::rotary; ++i)
      for (Index h = 0; h < heads; ++h)
        for (Index c = 0; c < 3; ++c) {
          const double angle = static_cast<double>(i) / std::pow(10000.0, static_cast<double>(c) / 3);
          const double a = m(i, 6 * h + c), b = m(i, 6 * h + c + 3);
          y(i, 6 * h + c) = a * std::cos(angle) - b * std::sin(angle);
          y(i, 6 * h + c + 3) = a * std::sin(angle) + b * std::cos(angle);
        }
    return y;
  };
  const Matrix<double> q = turn(naive_norm(layer.q_norm, map(layer.q, x), 4), 4),
                       k = turn(naive_norm(layer.k_norm, map(layer.k, x), 2), 2), v = map(layer.v, x);
  Matrix<double> heads(9, 24);
  for (Index h = 0; h < 4; ++h) {
    const Index of_key = 6 * (h / 2);
    Matrix<double> p = (q.middleCols(6 * h, 6) * k.middleCols(of_key, 6).transpose() / std::sqrt(6.0)).array().exp();
    p.array().colwise() /= p.rowwise().sum().array().eval();
    heads.middleCols(6 * h, 6) = p * v.middleCols(of_key, 6);
  }
  CHECK(ef::testing::max_error(layer({}, x, {}, ef::Unmasked{}, positions).value(), map(layer.out_proj, heads)) <
        1e-12);
}

TEST_CASE("gradients of attention with norms of queries and keys", "[layers]") {
  const std::uint64_t seed = 93;
  const QueryKeyNorm kind = GENERATE(QueryKeyNorm::rms_norm, QueryKeyNorm::layer_norm);
  CAPTURE(seed, ef::to_string(kind));
  ef::Rng rng(seed);
  ef::MultiHeadAttention<double> layer = layer_of(kind, rng);
  const ef::AttentionPositions<double> positions(
      {.encoding = ef::PositionEncoding::rotary, .heads = 4, .head_width = 6}, rng);
  const auto x = random_matrix<double>(7, 8, rng);
  const ef::RowOffsets rows{0, 3, 7};
  ef::testing::check_parameters(
      layer, [&](const ef::Context<double>& c) { return layer(c, x, rows, ef::Causal{}, positions); });
  ef::testing::check_op({x}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return layer(c, in[0], rows, ef::Causal{}, positions);
  });
}

TEST_CASE("keys are normalised before they are cached", "[layers]") {
  const std::uint64_t seed = 94;
  const QueryKeyNorm kind = GENERATE(QueryKeyNorm::none, QueryKeyNorm::rms_norm, QueryKeyNorm::layer_norm);
  CAPTURE(seed, ef::to_string(kind));
  ef::Rng rng(seed);
  const ef::MultiHeadAttention<double> layer = layer_of(kind, rng);
  const ef::AttentionPositions<double> positions(
      {.encoding = ef::PositionEncoding::rotary, .heads = 4, .head_width = 6}, rng);
  const auto x = random_matrix<double>(9, 8, rng);
  const Matrix<double> together = layer({}, x, {}, ef::Causal{}, positions).value();
  ef::KeyValueCache<double> cache({.page_size = 4});
  cache.add(1);
  for (Index i = 0; i < 9; ++i) {
    cache.extend();
    const Matrix<double> token = x.row(i);
    layer.append_to_cache({}, token, cache, 0, positions);
    const Matrix<double> y = layer.attend_to_cache({}, token, cache, {}, positions).value();
    CHECK(ef::testing::max_error(y, together.row(i)) < 1e-13);
  }
}

TEST_CASE("the norms' parameters have names, and their widths are checked", "[layers]") {
  ef::Rng rng(95);
  std::vector<std::string> names;
  const auto layer = layer_of(QueryKeyNorm::rms_norm, rng);
  ef::for_each_parameter(layer, [&](const std::string& name, const auto&) { names.push_back(name); });
  CHECK(names == std::vector<std::string>{"q.weight", "q.bias", "k.weight", "k.bias", "v.weight", "v.bias",
                                          "out_proj.weight", "out_proj.bias", "q_norm.weight", "k_norm.weight"});
  CHECK(ef::shape(layer.q_norm.weight.value) == ef::Shape{1, 6});
  const ef::HeadNorm<float> norm(QueryKeyNorm::rms_norm, 4);
  CHECK_THROWS_WITH(norm({}, Matrix<float>::Zero(2, 6), 2), "HeadNorm: x is [2 x 6], expected 2 heads of 4 columns");
  CHECK_THROWS_AS(ef::HeadNorm<float>(ef::QueryKeyNorm::rms_norm, -4), ef::Error);
}

TEST_CASE("a norm of heads of negative width is refused", "[layers]") {
  CHECK_THROWS_WITH(ef::HeadNorm<float>(ef::QueryKeyNorm::rms_norm, -2),
                    "HeadNorm: head_width is -2, expected 0 or more");
}
