// Attention on tensors gives the same bits as on ragged matrices.
#include <array>
#include <limits>
#include <vector>

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/kernels/attention_weights.hpp"
#include "kernels/attention_cases.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Tensor;
using ef::TensorView;
using namespace ef::testing;

namespace {

// A tensor [batch x heads x tokens x width] whose dimensions lie in memory in `order`, from the widest stride on, with
// room between.
template <class Scalar>
class LaidTensor {
 public:
  LaidTensor(const ef::Sizes& shape, const std::array<int, 4>& order, Index gap)
      : shape_(shape), strides_(ef::Sizes::of_rank(4)) {
    Index stride = 1 + gap;
    for (std::size_t i = 4; i-- > 0;) {
      strides_[order[i]] = stride;
      stride = stride * shape[order[i]] + gap;
    }
    memory_.assign(static_cast<std::size_t>(stride), std::numeric_limits<Scalar>::quiet_NaN());
  }
  TensorView<Scalar> view() { return {memory_.data(), shape_, strides_}; }
  // The rows of all sequences as a matrix with heads as column blocks.
  Matrix<Scalar> rows(const ef::RowOffsets& sequences) {
    Matrix<Scalar> m(sequences.rows(), shape_[1] * shape_[3]);
    for (Index b = 0; b < shape_[0]; ++b)
      for (Index h = 0; h < shape_[1]; ++h)
        m.block(sequences.begin(b), h * shape_[3], sequences.length(b), shape_[3]) =
            view().matrix(b, h).topRows(sequences.length(b));
    return m;
  }
  // Writes random numbers to the rows of sequences. Everything else stays NaN.
  void fill(const ef::RowOffsets& sequences, ef::Rng& rng) {
    for (Index b = 0; b < shape_[0]; ++b)
      for (Index h = 0; h < shape_[1]; ++h)
        view().matrix(b, h).topRows(sequences.length(b)) = random_matrix<Scalar>(sequences.length(b), shape_[3], rng);
  }

 private:
  ef::Sizes shape_, strides_;
  std::vector<Scalar> memory_;
};

// A batch of four sequences, with more tokens in the tensors than any sequence has.
template <class Scalar>
struct PaddedBatch {
  static constexpr Index batch = 4, heads = 4, key_heads = 2, width = 5, value_width = 3;
  ef::RowOffsets query_rows, key_rows;
  LaidTensor<Scalar> q, k, v, out, d_out, d_q, d_k, d_v;
  LaidTensor<Scalar> sums;  // [batch x heads x tokens x 1]
  ef::AttentionOptions options, ragged;

  PaddedBatch(std::vector<Index> queries, std::vector<Index> keys, std::size_t order, ef::Rng& rng)
      : query_rows(ef::RowOffsets::from_lengths(queries)),
        key_rows(ef::RowOffsets::from_lengths(keys)),
        q({batch, heads, query_rows.max_length() + 2, width}, orders[order], 1),
        k({batch, key_heads, key_rows.max_length() + 1, width}, orders[(order + 1) % 5], 0),
        v({batch, key_heads, key_rows.max_length() + 1, value_width}, orders[(order + 3) % 5], 2),
        out({batch, heads, query_rows.max_length() + 2, value_width}, orders[(order + 2) % 5], 0),
        d_out({batch, heads, query_rows.max_length() + 2, value_width}, orders[(order + 4) % 5], 1),
        d_q({batch, heads, query_rows.max_length() + 2, width}, orders[(order + 1) % 5], 1),
        d_k({batch, key_heads, key_rows.max_length() + 1, width}, orders[order], 0),
        d_v({batch, key_heads, key_rows.max_length() + 1, value_width}, orders[(order + 2) % 5], 0),
        sums({batch, heads, query_rows.max_length() + 2, 1}, orders[order], 1),
        options{.scale = 0.7, .query_rows = query_rows, .key_rows = key_rows},
        ragged{.heads = heads, .key_heads = key_heads, .scale = 0.7, .query_rows = query_rows, .key_rows = key_rows} {
    q.fill(query_rows, rng);
    k.fill(key_rows, rng);
    v.fill(key_rows, rng);
    d_out.fill(query_rows, rng);
  }

  static constexpr std::array<int, 4> orders[] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {2, 0, 1, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}};
};

}  // namespace

TEMPLATE_TEST_CASE("padded tensors in any order of strides give what ragged matrices give", "[kernels][threads]", float,
                   double) {
  ef::ThreadPool pool(3);
  for (std::size_t order = 0; order < 5; ++order) {
    CAPTURE(order);
    ef::Rng rng(order);
    PaddedBatch<TestType> c({67, 0, 3, 20}, {9, 4, 0, 33}, order, rng);
    const Matrix<TestType> q = c.q.rows(c.query_rows), k = c.k.rows(c.key_rows), v = c.v.rows(c.key_rows);
    const Matrix<TestType> d_out = c.d_out.rows(c.query_rows);
    const auto check_score = [&](const auto& score) {
      // Forward: the value returned, and what is written to memory of any strides.
      Matrix<TestType> out(q.rows(), c.heads * c.value_width), sums(q.rows(), c.heads);
      ef::attention_forward<TestType>({q, k, v}, score, c.ragged, {out, sums});
      const Tensor<TestType> y = ef::attention(c.q.view(), c.k.view(), c.v.view(), score, c.options);
      REQUIRE(y.shape() == ef::Sizes{c.batch, c.heads, 69, c.value_width});
      ef::AttentionOptions options = c.options;
      options.threads = &pool;
      ef::attention_forward<TestType>({c.q.view(), c.k.view(), c.v.view()}, score, options,
                                      {c.out.view(), c.sums.view().squeeze(-1)});
      CHECK(identical<TestType>(c.out.rows(c.query_rows), out));
      CHECK(identical<TestType>(c.sums.rows(c.query_rows), sums));
      for (Index b = 0; b < c.batch; ++b)
        for (Index h = 0; h < c.heads; ++h) {
          const Index n = c.query_rows.length(b);
          CHECK(identical<TestType>(y.matrix(b, h).topRows(n), c.out.view().matrix(b, h).topRows(n)));
          CHECK(y.matrix(b, h).bottomRows(69 - n).isZero(0));
        }
      // Heads after tokens.
      options.dimensions = ef::AttentionDimensions::batch_tokens_heads;
      const auto swapped = [](auto& x) { return x.view().transpose(1, 2); };
      const Tensor<TestType> z = ef::attention(swapped(c.q), swapped(c.k), swapped(c.v), score, options);
      REQUIRE(z.shape() == ef::Sizes{c.batch, 69, c.heads, c.value_width});
      for (Index b = 0; b < c.batch; ++b)
        for (Index h = 0; h < c.heads; ++h) CHECK(identical<TestType>(z.transpose(1, 2).matrix(b, h), y.matrix(b, h)));
      // Weights and scores.
      const Tensor<TestType> weights = ef::attention_weights(q, k, score, c.ragged);
      const Tensor<TestType> padded = ef::attention_weights(c.q.view(), c.k.view(), score, c.options);
      const Tensor<TestType> scores = ef::attention_scores(q, k, score, c.ragged);
      const Tensor<TestType> padded_scores = ef::attention_scores(swapped(c.q), swapped(c.k), score, options);
      REQUIRE(padded.shape() == ef::Sizes{c.batch, c.heads, 69, 34});
      for (Index b = 0; b < c.batch; ++b)
        for (Index h = 0; h < c.heads; ++h) {
          const Index n = c.query_rows.length(b), m = c.key_rows.length(b), first = c.query_rows.begin(b);
          CHECK(identical<TestType>(padded.matrix(b, h).topLeftCorner(n, m), weights.matrix(h).block(first, 0, n, m)));
          CHECK(padded.matrix(b, h).rightCols(34 - m).isZero(0));
          CHECK(padded.matrix(b, h).bottomRows(69 - n).isZero(0));
          CHECK(identical<TestType>(padded_scores.matrix(b, h).topLeftCorner(n, m),
                                    scores.matrix(h).block(first, 0, n, m)));
          CHECK((padded_scores.matrix(b, h).rightCols(34 - m).array() == ef::hidden_score<TestType>).all());
        }
      // Backward.
      Matrix<TestType> d_q(q.rows(), q.cols()), d_k(k.rows(), k.cols()), d_v(v.rows(), v.cols());
      ef::attention_backward<TestType>({q, k, v}, score, c.ragged, {out, sums}, d_out, {d_q, d_k, d_v});
      options.dimensions = ef::AttentionDimensions::batch_heads_tokens;
      ef::attention_backward<TestType>({c.q.view(), c.k.view(), c.v.view()}, score, options,
                                       {c.out.view(), c.sums.view().squeeze(-1)}, c.d_out.view(),
                                       {c.d_q.view(), c.d_k.view(), c.d_v.view()});
      CHECK(identical<TestType>(c.d_q.rows(c.query_rows), d_q));
      CHECK(identical<TestType>(c.d_k.rows(c.key_rows), d_k));
      CHECK(identical<TestType>(c.d_v.rows(c.key_rows), d_v));
    };
    check_score(ef::Unmasked{});
    check_score(ef::Causal{});
    check_score(ef::Causal::after_past());
  }
}

TEST_CASE("long sequences of few heads share their keys among threads in tensors too", "[kernels][threads]") {
  ef::Rng rng(3);
  ef::ThreadPool pool(3);
  const Tensor<float> x = Tensor<float>(random_matrix<float>(1300, 8, rng)).reshape({1, 1, 1300, 8});
  const auto run = [&](ef::Threads* threads) {
    Tensor<float> out(x.shape()), sums({1, 1, 1300}), d_q(x.shape()), d_k(x.shape()), d_v(x.shape());
    const ef::AttentionOptions options{.threads = threads};
    ef::attention_forward<float>({x, x, x}, ef::Causal{}, options, {out, sums});
    ef::attention_backward<float>({x, x, x}, ef::Causal{}, options, {out, sums}, x, {d_q, d_k, d_v});
    return std::array{Matrix<float>(d_q.matrix(0, 0)), Matrix<float>(d_k.matrix(0, 0)),
                      Matrix<float>(d_v.matrix(0, 0))};
  };
  const auto alone = run(nullptr), together = run(&pool);
  for (std::size_t i = 0; i < 3; ++i) CHECK(identical<float>(alone[i], together[i]));
}

TEST_CASE("tensors may have 16-bit entries", "[kernels]") {
  ef::Rng rng(4);
  const Tensor<float> q = Tensor<float>(random_matrix<float>(12, 8, rng)).reshape({2, 1, 6, 8});
  const Tensor<Eigen::bfloat16> k = q.cast<Eigen::bfloat16>();
  const Tensor<float> rounded = k.cast<float>();
  const Tensor<float> y = ef::attention(q, k, k, ef::Causal{}), z = ef::attention(q, rounded, rounded, ef::Causal{});
  const Tensor<Eigen::bfloat16> of_rounded = ef::attention(k, k, k);
  const Tensor<float> expected = ef::attention(rounded, rounded, rounded);
  for (Index b = 0; b < 2; ++b) {
    CHECK(identical<float>(y.matrix(b, 0), z.matrix(b, 0)));
    CHECK(agrees<Eigen::bfloat16>(of_rounded.matrix(b, 0), expected.matrix(b, 0).cast<double>(), 0));
  }
}

TEST_CASE("tensors drop weights of their own in each batch entry", "[kernels]") {
  const Tensor<float> q({2, 1, 40, 2}), k({2, 1, 40, 2});
  const Tensor<float> v({2, 1, 40, 1}, 1.0F);
  const Tensor<float> y = ef::attention(q.view(), k.view(), TensorView<const float>(v.view()), ef::Unmasked{},
                                        {.dropout = 0.5, .dropout_key = ef::RandomKey{}});
  CHECK_FALSE(identical<float>(y.matrix(0, 0), y.matrix(1, 0)));
  CHECK(std::abs(y.matrix(1, 0).mean() - 1) < 4.5 / 40);
}

TEST_CASE("tensors that do not fit are named", "[kernels]") {
  using ef::Sizes;
  const auto message = [](const Sizes& q, const Sizes& k, const Sizes& v, const ef::AttentionOptions& options = {}) {
    return message_of([&] { ef::attention(Tensor<float>(q), Tensor<float>(k), Tensor<float>(v), options); });
  };
  CHECK(message({2, 4, 5, 8}, {2, 2, 6, 8}, {2, 2, 6, 3}) == "nothing was thrown");
  CHECK(message({2, 4, 5, 8}, {3, 2, 6, 8}, {2, 2, 6, 3}) ==
        "attention: q has a batch of 2, k of 3, v of 2, expected equal batches");
  CHECK(message({2, 4, 5, 8}, {2, 2, 6, 8}, {1, 2, 6, 3}) ==
        "attention: q has a batch of 2, k of 2, v of 1, expected equal batches");
  CHECK(message({2, 4, 5, 8}, {2, 2, 6, 8}, {2, 4, 6, 3}) ==
        "attention: k has 2 heads, v has 4, expected equally many");
  CHECK(message({1, 4, 5, 8}, {1, 0, 5, 8}, {1, 0, 5, 8}) ==
        "attention: q is [1 x 4 x 5 x 8], k is [1 x 0 x 5 x 8], expected at least 1 head in each");
  CHECK(message({2, 4, 5, 8}, {2, 3, 6, 8}, {2, 3, 6, 3}) ==
        "attention: 4 heads cannot share 3 key heads, expected a multiple");
  CHECK(message({2, 4, 5, 8}, {2, 2, 6, 7}, {2, 2, 6, 3}) ==
        "attention: q is [2 x 4 x 5 x 8], k is [2 x 2 x 6 x 7], expected heads of one width");
  CHECK(message({2, 4, 5, 8}, {2, 2, 6, 8}, {2, 2, 7, 3}) ==
        "attention: k is [2 x 2 x 6 x 8], v is [2 x 2 x 7 x 3], expected equally many tokens");
  CHECK(message({4, 5, 8}, {4, 6, 8}, {4, 6, 3}) ==
        "attention: q is [4 x 5 x 8], v is [4 x 6 x 3], expected tensors of rank 4");
  CHECK(message({2, 4, 5, 8}, {6, 8}, {2, 4, 6, 3}) ==
        "attention: q is [2 x 4 x 5 x 8], k is [6 x 8], v is [2 x 4 x 6 x 3], expected three matrices, or three "
        "tensors of rank 4");
  CHECK(message({2, 4, 5, 8}, {2, 2, 6, 8}, {2, 2, 6, 3}, {.query_rows = {0, 6, 8}}) ==
        "attention: sequences in query_rows: 2, of up to 6 rows, the tensor is [2 x 4 x 5 x 8], expected 2 of at most "
        "5 rows");
  CHECK(message({2, 4, 5, 8}, {2, 2, 6, 8}, {2, 2, 6, 3}, {.key_rows = {0, 6}}) ==
        "attention: sequences in key_rows: 1, of up to 6 rows, the tensor is [2 x 2 x 6 x 8], expected 2 of at most 6 "
        "rows");
  for (const auto& [heads, key_heads] : std::vector<std::pair<ef::Index, ef::Index>>{{4, 2}, {1, 2}, {4, 0}})
    CHECK(message({2, 4, 5, 8}, {2, 2, 6, 8}, {2, 2, 6, 3}, {.heads = heads, .key_heads = key_heads}) ==
          "nothing was thrown");
  CHECK(message({2, 4, 5, 8}, {2, 2, 6, 8}, {2, 2, 6, 3}, {.heads = 2}) ==
        "attention: q has 4 heads, k has 2, the options have heads 2, key_heads 0, expected the same numbers, or none: "
        "tensors have a dimension for heads");
  CHECK(message({2, 4, 5, 8}, {2, 2, 6, 8}, {2, 2, 6, 3}, {.key_heads = 4}).find("attention: q has 4 heads") == 0);
  CHECK(message({0, 4, 5, 8}, {0, 2, 6, 8}, {0, 2, 6, 3}) == "nothing was thrown");
  CHECK(message({1, 4, 0, 8}, {1, 2, 6, 8}, {1, 2, 6, 3}) == "nothing was thrown");
  CHECK(message({1, 4, 5, 8}, {1, 2, 0, 8}, {1, 2, 0, 3}) == "nothing was thrown");
}
