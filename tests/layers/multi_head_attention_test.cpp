#include "eigenformer/layers/multi_head_attention.hpp"

#include <limits>

#include "eigenformer/core/thread_pool.hpp"
#include "support/approx.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::testing::random_matrix;

namespace {

void randomise_biases(ef::MultiHeadAttention<double>& layer, ef::Rng& rng) {
  for (ef::Linear<double>* linear : {&layer.q, &layer.k, &layer.v, &layer.out_proj})
    linear->bias = ef::Parameter<double>(random_matrix<double>(1, linear->outputs(), rng));
}

}  // namespace

TEST_CASE("multi-head attention is the concatenation of its heads, mapped by W_o", "[layers]") {
  const std::uint64_t seed = 31;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::MultiHeadAttention<double> layer({.width = 6, .heads = 2, .head_width = 5}, rng);
  randomise_biases(layer, rng);
  const auto x = random_matrix<double>(4, 6, rng);
  const auto map = [&](const ef::Linear<double>& l, const ef::Matrix<double>& in) {
    return ef::Matrix<double>((in * l.weight.value.transpose()).rowwise() + l.bias.value.row(0));
  };
  const ef::Matrix<double> q = map(layer.q, x), k = map(layer.k, x), v = map(layer.v, x);
  ef::Matrix<double> heads(4, 10);
  for (int h = 0; h < 2; ++h) {
    ef::Matrix<double> p = (q.middleCols(5 * h, 5) * k.middleCols(5 * h, 5).transpose() / std::sqrt(5.0)).array().exp();
    p.array().colwise() /= p.rowwise().sum().array().eval();
    heads.middleCols(5 * h, 5) = p * v.middleCols(5 * h, 5);
  }
  CHECK(ef::testing::max_error(layer({}, x).value(), map(layer.out_proj, heads)) < 1e-13);
}

TEST_CASE("gradients of multi-head attention: self, cross, grouped, other widths", "[layers]") {
  const std::uint64_t seed = 32;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto x = random_matrix<double>(7, 6, rng), key = random_matrix<double>(9, 4, rng),
             value = random_matrix<double>(9, 5, rng);
  const ef::RowOffsets rows{0, 3, 7}, key_rows{0, 5, 9};
  SECTION("self, causal") {
    ef::MultiHeadAttention<double> layer({.width = 6, .heads = 3}, rng);
    randomise_biases(layer, rng);
    ef::testing::check_parameters(layer, [&](const ef::Context<double>& c) { return layer(c, x, rows, ef::Causal{}); });
    ef::testing::check_op({x}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
      return layer(c, in[0], rows, ef::Causal{});
    });
  }
  SECTION("cross, grouped heads, other widths, no bias") {
    ef::MultiHeadAttention<double> layer(
        {.width = 6, .heads = 4, .key_heads = 2, .head_width = 3, .kdim = 4, .vdim = 5, .bias = false}, rng);
    ef::testing::check_parameters(layer, [&](const ef::Context<double>& c) {
      return layer(c, x, key, value, {rows, key_rows});
    });
    ef::testing::check_op({x, key, value},
                          [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
                            return layer(c, in[0], in[1], in[2], {.query_rows = rows, .key_rows = key_rows});
                          });
  }
}

TEST_CASE("recorded weights are those that were used; threads change nothing", "[layers][threads]") {
  const std::uint64_t seed = 33;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::MultiHeadAttention<float> layer({.width = 8, .heads = 2}, rng);
  const auto x = random_matrix<float>(9, 8, rng);
  const ef::RowOffsets rows{0, 4, 9};
  ef::AttentionRecorder<float> recorder;
  ef::ThreadPool pool(3);
  const ef::Matrix<float> y = layer({}, x, rows).value();
  CHECK(layer({.threads = &pool, .attention = &recorder}, x, rows).value() == y);
  const ef::Tensor<float>& weights = recorder.weights(layer);
  CHECK(weights.shape() == ef::Sizes{2, 9, 5});
  for (int h = 0; h < 2; ++h) {
    CHECK((weights.matrix(h).rowwise().sum().array() - 1).abs().maxCoeff() < 1e-6f);
    CHECK(weights.matrix(h).topRightCorner(4, 1).isZero(0));  // the first sequence has four keys
  }
}

TEST_CASE("relative positions have vectors of a head's width, for values if wanted", "[layers]") {
  ef::Rng rng(34), plain_rng(34);
  const ef::MultiHeadAttention<float> plain({.width = 8, .heads = 2}, plain_rng);
  const ef::MultiHeadAttention<float> keys(
      {.width = 8, .heads = 2, .head_width = 3, .relative_distance = 5, .relative_values = false}, rng);
  CHECK(ef::shape(keys.relative_keys.value) == ef::Shape{11, 3});
  CHECK(keys.relative_values.empty());
  CHECK(plain.relative_keys.empty());
  const auto x = random_matrix<float>(9, 8, rng);
  CHECK(keys({}, x, {}, ef::Causal{}).value().allFinite());
  // Under a causal mask the vectors of later keys are not looked at.
  ef::MultiHeadAttention<float> zero = keys;
  zero.relative_keys.value.bottomRows(5).setConstant(100);
  CHECK(zero({}, x, {}, ef::Causal{}).value() == keys({}, x, {}, ef::Causal{}).value());
  CHECK(zero({}, x).value() != keys({}, x).value());
}

TEST_CASE("attention to a cache without tokens is that of no keys", "[layers]") {
  ef::Rng rng(35);
  ef::MultiHeadAttention<float> layer({.width = 8, .heads = 2, .key_heads = 1}, rng);
  layer.out_proj.bias.value.setConstant(3);
  const auto x = random_matrix<float>(2, 8, rng), memory = random_matrix<float>(4, 8, rng);
  ef::KeyValueCache<float> empty, other;
  empty.add(2);
  empty.extend(std::vector<ef::Index>{0, 0});
  layer.append_to_cache({}, memory.topRows(0), empty);
  other.add(3);
  other.extend(std::vector<ef::Index>{0, 4, 0});
  layer.append_to_cache({}, memory, other);
  CHECK((layer.attend_to_cache({}, x, empty, {.query_rows = {0, 1, 2}}).value().array() == 3).all());
  const auto y = layer.attend_to_cache({}, x, other, {.query_rows = {0, 1, 1, 2}}).value();
  CHECK((y.array() == 3).all());
}

TEST_CASE("sequences that share pages of a cache attend as those with keys of their own", "[layers]") {
  const std::uint64_t seed = 381;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::MultiHeadAttention<double> layer({.width = 8, .heads = 4, .key_heads = 2}, rng);
  const auto prompt = random_matrix<double>(21, 8, rng), tokens = random_matrix<double>(16, 8, rng);
  ef::KeyValueCache<double> cache({.layers = 2, .page_size = 4});
  cache.add(1);
  cache.extend(std::vector<ef::Index>{21});
  layer.append_to_cache({}, prompt, cache, 1);
  ef::MultiHeadAttention<double> causal = layer;
  causal.score = ef::Causal{};
  const ef::Matrix<double> prefix = layer({}, prompt, {}, ef::Causal{}).value();
  CHECK(ef::testing::max_error(causal.attend_to_cache({}, prompt, cache, {.layer = 1}).value(), prefix) < 1e-13);
  cache.branch(std::vector<ef::Index>(16, 0));
  cache.extend();
  layer.append_to_cache({}, tokens, cache, 1);
  CHECK(cache.table().used_pages() == 5 + 16);
  const ef::Matrix<double> y = layer.attend_to_cache({}, tokens, cache, {.layer = 1}).value();
  for (ef::Index i = 0; i < 16; ++i) {
    ef::Matrix<double> all(22, 8);
    all << prompt, tokens.row(i);
    const ef::Matrix<double> token = tokens.row(i);
    CHECK(y.row(i) == layer({}, token, all, all).value());
  }
}

TEST_CASE("attention to a cache reports its weights to an observer", "[layers]") {
  ef::Rng rng(36);
  const ef::MultiHeadAttention<double> layer({.width = 8, .heads = 2}, rng);
  const auto x = random_matrix<double>(2, 8, rng), memory = random_matrix<double>(7, 8, rng);
  ef::KeyValueCache<double> cache({.page_size = 3});
  cache.add(2);
  cache.extend(std::vector<ef::Index>{5, 2});
  layer.append_to_cache({}, memory, cache);
  ef::AttentionRecorder<double> recorder, expected;
  layer.attend_to_cache({}, x, cache, {.query_rows = {0, 1, 2}, .observer = &recorder});
  layer({.attention = &expected}, x, memory, memory, {.query_rows = {0, 1, 2}, .key_rows = {0, 5, 7}});
  for (ef::Index head = 0; head < 2; ++head)
    CHECK(recorder.weights(layer).matrix(head) == expected.weights(layer).matrix(head));
  // The context's observer gets them too, unless the call has one of its own.
  ef::AttentionRecorder<double> of_context, unused;
  layer.attend_to_cache({.attention = &of_context}, x, cache, {.query_rows = {0, 1, 2}});
  CHECK(of_context.weights(layer).matrix(1) == expected.weights(layer).matrix(1));
  layer.attend_to_cache({.attention = &unused}, x, cache, {.query_rows = {0, 1, 2}, .observer = &recorder});
  CHECK_THROWS_AS(unused.weights(layer), ef::Error);
}

TEST_CASE("wrong widths and heads are refused", "[layers]") {
  ef::Rng rng(1);
  CHECK_THROWS_WITH(ef::MultiHeadAttention<float>({.width = 10, .heads = 4}, rng),
                    "MultiHeadAttention: width 10 does not divide into 4 heads; give head_width");
  CHECK_THROWS_AS(ef::MultiHeadAttention<float>({.width = 8, .heads = 4, .key_heads = 3}, rng), ef::Error);
  CHECK_THROWS_WITH(ef::MultiHeadAttention<float>({.width = 8, .heads = 4, .head_width = -2}, rng),
                    "MultiHeadAttention: head_width is -2, expected 0 or more; 0 means width / heads");
  CHECK_THROWS_WITH(ef::MultiHeadAttention<float>({.width = 8, .heads = 4, .relative_distance = -1}, rng),
                    "MultiHeadAttention: relative_distance is -1, expected 0 or more");
  CHECK_THROWS_WITH(ef::MultiHeadAttention<float>({.width = 0}, rng),
                    "MultiHeadAttention: width is 0, expected 1 or more");
  CHECK_THROWS_WITH(ef::MultiHeadAttention<float>({.width = 8, .kdim = -3}, rng),
                    "MultiHeadAttention: kdim is -3, vdim is 0, expected 0 or more; 0 means width");
  for (const double dropout : {2.0, 1.0, -0.5, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_WITH(ef::MultiHeadAttention<float>({.width = 8, .dropout = dropout}, rng),
                      Catch::Matchers::StartsWith("MultiHeadAttention: dropout is "));
  const ef::MultiHeadAttention<float> layer({.width = 8, .heads = 4}, rng);
  CHECK_THROWS_WITH(layer({}, Eigen::MatrixXf::Zero(3, 7)), "MultiHeadAttention: query is [3 x 7], expected 8 columns");
  CHECK_THROWS_WITH(layer({}, Eigen::MatrixXf::Zero(3, 8), Eigen::MatrixXf::Zero(3, 8), Eigen::MatrixXf::Zero(3, 9)),
                    "MultiHeadAttention: value is [3 x 9], expected 8 columns");
  CHECK_THROWS_AS(layer({}, Eigen::MatrixXf::Zero(3, 8), ef::RowOffsets{0, 2}), ef::Error);
  // Heads of a tensor of rank 4 would take the place of the layer's.
  CHECK_THROWS_WITH(
      layer({}, ef::Variable<float>(ef::Tensor<float>({1, 1, 5, 8}))),
      "MultiHeadAttention: an input is [1 x 1 x 5 x 8], expected [rows x width]; unpad() gives the rows of "
      "a padded tensor");
}
