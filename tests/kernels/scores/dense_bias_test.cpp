#include "eigenformer/kernels/scores/dense_bias.hpp"

#include "eigenformer/kernels/scores/alibi.hpp"
#include "eigenformer/kernels/scores/causal.hpp"
#include "eigenformer/kernels/scores/combine.hpp"
#include "eigenformer/kernels/scores/score_traits.hpp"
#include "eigenformer/kernels/scores/score_variant.hpp"
#include "kernels/kernel_checks.hpp"
#include "kernels/scores/score_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Tensor;
using ef::TensorView;
using namespace ef::testing;

static_assert(ef::Score<ef::DenseBias<float>> && ef::ScoreTraits<ef::DenseBias<float>>::changes_values);
static_assert(ef::ScoreTraits<ef::DenseBias<float>>::heads_share_gradient &&
              ef::ScoreTraits<ef::DenseBias<float>>::sequences_share_gradient);

TEMPLATE_TEST_CASE("a dense bias is added from where it lies, and its gradient to where it lies", "[kernels]", float,
                   double) {
  ef::Rng rng(1);
  for (const bool by_columns : {false, true})
    for (const Index heads : {1, 3})
      for (const Index queries : {1, 4, 9, 16, 33})
        for (const Index keys : {1, 7, 8, 16, 35}) {
          CAPTURE(by_columns, heads, queries, keys);
          const Index rows = 50, cols = 60;
          Matrix<TestType> memory = random_matrix<TestType>(heads, rows * cols, rng);
          Matrix<TestType> d_memory = Matrix<TestType>::Constant(heads, rows * cols, 1);
          using View = TensorView<TestType>;
          const ef::Sizes strides{rows * cols, by_columns ? 1 : cols, by_columns ? rows : 1};
          const View bias(memory.data(), {heads, rows, cols}, strides);
          const View d_bias(d_memory.data(), {heads, rows, cols}, strides);
          const ef::DenseBias<TestType> score(TensorView<const TestType>(bias), d_bias);
          ef::ScoreTile tile = sequence(40, 50, 6);
          tile.head = 2;
          tile.query_begin = 3;
          tile.query_end = 3 + queries;
          tile.key_begin = 5;
          tile.key_end = 5 + keys;
          const ByKeys<TestType> before = random_matrix<TestType>(queries, keys, rng);
          ByKeys<TestType> scores = before, d_scores = before;
          score.apply(tile, block_of(scores));
          score.apply_backward(tile, block_of(d_scores));
          Index wrong = 0;
          for (Index i = 0; i < queries; ++i)
            for (Index j = 0; j < keys; ++j) {
              const Index head = heads == 1 ? 0 : 2;
              wrong += scores(i, j) != before(i, j) + bias(head, 9 + i, 5 + j);
              wrong += d_bias(head, 9 + i, 5 + j) != 1 + before(i, j);
              d_bias(head, 9 + i, 5 + j) = 1;
            }
          CHECK(wrong == 0);
          CHECK((d_memory.array() == 1).all());  // nothing beside it
          CHECK(d_scores == before);
        }
}

TEMPLATE_TEST_CASE("a dense bias may have a matrix for each sequence and head", "[kernels]", float, double) {
  ef::Rng rng(2);
  for (const Index batch : {1, 3})
    for (const Index heads : {1, 4})
      for (const Index queries : {1, 35})
        for (const Index keys : {1, 40}) {
          CAPTURE(batch, heads, queries, keys);
          Tensor<TestType> bias({batch, heads, queries, keys});
          for (Index i = 0; i < bias.size(); ++i) bias.data()[i] = static_cast<TestType>(rng.normal());
          Tensor<TestType> d_bias(bias.shape(), TestType(1));
          Tensor<double> d_expected(bias.shape(), 1.0);
          const ef::DenseBias<TestType> score(bias, d_bias.view());
          ef::ScoreTile tile = sequence(35, 40, 100);  // of sequence 2 and head 3
          tile.query_begin = 2;
          tile.query_end = 35;
          tile.key_begin = 5;
          tile.key_end = 40;
          const ByKeys<TestType> before = random_matrix<TestType>(33, 35, rng);
          ByKeys<TestType> scores = before, d_scores = before;
          score.apply(tile, block_of(scores));
          score.apply_backward(tile, block_of(d_scores));
          Index wrong = 0;
          for (Index i = 0; i < 33; ++i)
            for (Index j = 0; j < 35; ++j) {
              const Index b = batch == 1 ? 0 : 2, h = heads == 1 ? 0 : 3, row = queries == 1 ? 0 : 2 + i,
                          key = keys == 1 ? 0 : 5 + j;
              wrong += scores(i, j) != before(i, j) + bias(b, h, row, key);
              d_expected(b, h, row, key) += static_cast<double>(before(i, j));
            }
          CHECK(wrong == 0);
          const auto row_of = [](const auto& t) { return t.flatten().unsqueeze(0).matrix(); };
          CHECK(max_error(row_of(d_bias), row_of(d_expected)) < tolerance<TestType>(64));  // and nothing beside it
        }
}

TEST_CASE("tiles share the gradient of a dense bias where it is repeated", "[kernels]") {
  const auto shared = [](const ef::Sizes& shape) {
    Tensor<float> bias(shape), d_bias(shape);
    CHECK(ef::ScoreTraits<ef::DenseBias<float>>::shared_gradients(ef::DenseBias<float>(bias.view())) ==
          ef::SharedGradients{false, false});
    return ef::ScoreTraits<ef::DenseBias<float>>::shared_gradients(ef::DenseBias<float>(bias.view(), d_bias.view()));
  };
  CHECK(shared({3, 4, 5, 6}) == ef::SharedGradients{false, false});
  CHECK(shared({3, 1, 5, 6}) == ef::SharedGradients{true, false});
  CHECK(shared({1, 4, 5, 6}) == ef::SharedGradients{false, true});
  CHECK(shared({3, 4, 1, 6}) == ef::SharedGradients{false, true});
  CHECK(shared({3, 4, 5, 1}) == ef::SharedGradients{false, true});
  CHECK(shared({1, 1, 1, 6}) == ef::SharedGradients{true, true});
  CHECK(shared({5, 6}) == ef::SharedGradients{true, false});
  CHECK(shared({1, 5, 6}) == ef::SharedGradients{true, false});
  CHECK(shared({4, 1, 1}) == ef::SharedGradients{false, false});  // rows of the batch are not repeated
  // Combined scores share what one of them shares.
  Tensor<float> bias({1, 4, 5, 6}), d_bias(bias.shape());
  const ef::DenseBias<float> score(bias.view(), d_bias.view());
  const auto combined = ef::combine(ef::Causal{}, ef::DenseBias<float>(bias.view()), score);
  CHECK(combined.shared_gradients() == ef::SharedGradients{false, true});
  using Bias = ef::ScoreVariant<ef::Alibi, ef::DenseBias<float>>;
  CHECK(Bias(score).shared_gradients() == ef::SharedGradients{false, true});
  CHECK(Bias(ef::Alibi(4)).shared_gradients() == ef::SharedGradients{false, false});
  CHECK(message_of([&] {
          ef::DenseBias<float>(bias.view(), d_bias.select(1, 0).expand({1, 4, 5, 6}));
        }) != "nothing was thrown");
}

TEST_CASE("a dense bias and its gradient have one shape", "[kernels]") {
  Tensor<float> bias({1, 4, 5}), d_bias({1, 4, 6});
  const TensorView<const float> view = bias.view();
  CHECK(message_of([&] { ef::DenseBias<float>(view, d_bias.view()); }) ==
        "DenseBias: d_bias is [1 x 4 x 6], bias is [1 x 4 x 5]");
  CHECK(message_of([] { ef::DenseBias<float>(ef::TensorView<const float>()); }) ==
        "DenseBias: a tensor [0], expected [queries x keys], [heads x queries x keys] or [batch x heads x queries x "
        "keys]");
  const Matrix<float> for_all = Matrix<float>::Constant(4, 5, 2);
  ByKeys<float> scores = ByKeys<float>::Zero(4, 5);
  ef::ScoreTile tile = sequence(4, 5, 0);
  tile.query_end = 4;
  tile.key_end = 5;
  ef::DenseBias<float>(ef::strided_view(for_all)).apply(tile, block_of(scores));
  CHECK((scores.array() == 2).all());
}
