// Where attention's operands may lie: any strides, expressions, and tensors of four dimensions.
#include <array>
#include <numeric>
#include <vector>

#include "eigenformer/kernels/attention.hpp"
#include "kernels/attention_cases.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Tensor;
using ef::TensorView;
using namespace ef::testing;

namespace {

using AnyStride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
template <class Scalar>
using Spread = Eigen::Map<const Matrix<Scalar>, Eigen::Unaligned, AnyStride>;

// A tensor [batch x heads x tokens x width] whose dimensions lie in memory in `order`, from the widest stride on, with
// room between.
template <class Scalar>
class Laid {
 public:
  Laid(const std::array<Index, 4>& shape, const std::array<int, 4>& order, Index gap) : shape_(shape) {
    Index stride = 1 + gap;
    for (std::size_t i = 4; i-- > 0;) {
      const auto dimension = static_cast<std::size_t>(order[i]);
      strides_[dimension] = stride;
      stride = stride * shape[dimension] + gap;
    }
    memory_.assign(static_cast<std::size_t>(stride), std::numeric_limits<Scalar>::quiet_NaN());
  }
  TensorView<Scalar> view() { return {memory_.data(), shape_, strides_}; }
  // The matrix of one batch entry with heads as column blocks.
  Matrix<Scalar> columns(Index b) {
    Matrix<Scalar> m(shape_[2], shape_[1] * shape_[3]);
    for (Index h = 0; h < shape_[1]; ++h) m.middleCols(h * shape_[3], shape_[3]) = view().matrix(b, h);
    return m;
  }
  void fill(ef::Rng& rng) {
    for (Index b = 0; b < shape_[0]; ++b)
      for (Index h = 0; h < shape_[1]; ++h) view().matrix(b, h) = random_matrix<Scalar>(shape_[2], shape_[3], rng);
  }

 private:
  std::array<Index, 4> shape_, strides_{};
  std::vector<Scalar> memory_;
};

}  // namespace

TEMPLATE_TEST_CASE("attention is the same to the last bit wherever its matrices lie", "[kernels]", float, double) {
  using ByColumns = Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic>;
  ef::Rng rng(1);
  for (const ef::Shape& s : {ef::Shape{1, 1}, ef::Shape{3, 7}, ef::Shape{70, 67}}) {
    CAPTURE(s.rows, s.cols);
    const AttentionCase<TestType> c({2, 1, 5, 3, {s.rows}, {s.cols}}, rng);
    const ef::AttentionOptions& options = c.options;
    const ef::Causal causal = ef::Causal::after_past();
    const Matrix<TestType> expected = ef::attention(c.q, c.k, c.v, causal, options);

    const ByColumns q_columns = c.q, k_columns = c.k, v_columns = c.v;
    CHECK(identical<TestType>(ef::attention(q_columns, k_columns, v_columns, causal, options), expected));

    // Every entry on its own, two apart within a row and rows apart by more.
    const auto spread = [](const Matrix<TestType>& m, std::vector<TestType>& memory) {
      const Index outer = 2 * m.cols() + 3;
      memory.assign(static_cast<std::size_t>(m.rows() * outer), std::numeric_limits<TestType>::quiet_NaN());
      Eigen::Map<Matrix<TestType>, Eigen::Unaligned, AnyStride>(memory.data(), m.rows(), m.cols(),
                                                                AnyStride(outer, 2)) = m;
      return Spread<TestType>(memory.data(), m.rows(), m.cols(), AnyStride(outer, 2));
    };
    std::vector<TestType> q_memory, k_memory, v_memory;
    CHECK(identical<TestType>(
        ef::attention(spread(c.q, q_memory), spread(c.k, k_memory), spread(c.v, v_memory), causal, options), expected));

    // One matrix [queries, keys, values side by side], its blocks and their transposes' transposes.
    ByColumns together = ByColumns::Constant(std::max(s.rows, s.cols) + 1, 1 + 10 + 5 + 3, 77);
    together.block(1, 1, s.rows, 10) = c.q;
    together.block(0, 11, s.cols, 5) = c.k;
    together.block(1, 16, s.cols, 3) = c.v;
    CHECK(identical<TestType>(ef::attention(together.block(1, 1, s.rows, 10), together.block(0, 11, s.cols, 5),
                                            together.block(1, 16, s.cols, 3), causal, options),
                              expected));
    const Matrix<TestType> upright = c.k.transpose();
    CHECK(identical<TestType>(ef::attention(c.q, upright.transpose(), c.v, causal, options), expected));
    // Expressions are evaluated.
    CHECK(identical<TestType>(ef::attention(c.q + Matrix<TestType>::Zero(s.rows, 10), 1 * c.k,
                                            c.v.cwiseProduct(Matrix<TestType>::Ones(s.cols, 3)), causal, options),
                              expected));
    // Sizes that the compiler knows, and a single query as a row vector.
    const Eigen::Matrix<TestType, 1, 10> row = c.q.row(s.rows - 1);
    CHECK(max_error(ef::attention(row, c.k, c.v, causal, options), expected.bottomRows(1)) < rounding<TestType>(8));
  }
}

TEMPLATE_TEST_CASE("rows that collide are copied, and nobody sees it", "[kernels]", float, double) {
  ef::Rng rng(3);
  ef::ThreadPool pool(2);
  // More keys than a tile has.
  const AttentionCase<TestType> c({2, 2, 64, 64, {390, 5, 70}, {600, 300, 0}}, rng);
  const Index extra = 1024 - c.q.cols();
  REQUIRE(ef::detail::copies_pay<TestType>(c.k.cols() + extra, 1, 1));
  for_each_score(c, rng, [&](const TestedScore<TestType>& score, const NaiveScore&, const char* name) {
    CAPTURE(name);
    const Attended<TestType> expected = attend(c, score);
    for (ef::Threads* threads : {static_cast<ef::Threads*>(nullptr), static_cast<ef::Threads*>(&pool)}) {
      const Attended<TestType> result = attend(c, score, threads, extra);
      CHECK(identical<TestType>(result.out, expected.out));
      CHECK(identical<TestType>(result.log_sum_exp, expected.log_sum_exp));
    }
  });
  // More queries than go over the keys together, of widths that let as many as ever do so; and rows every other of
  // which collides, too.
  const AttentionCase<TestType> many({1, 1, 24, 24, {1560}, {300}}, rng);
  REQUIRE(ef::detail::max_query_blocks<TestType> * ef::detail::block_queries<TestType> < 1560);
  const Matrix<TestType> expected = attend(many, ef::Unmasked{}).out;
  for (const Index row_bytes : {2048, 4096}) {
    CAPTURE(row_bytes);
    const Index columns = row_bytes / static_cast<Index>(sizeof(TestType));
    CHECK(identical<TestType>(attend(many, ef::Unmasked{}, nullptr, columns - many.q.cols()).out, expected));
  }
}

TEMPLATE_TEST_CASE("queries that go over many keys together get what each gets alone", "[kernels]", float, double) {
  ef::Rng rng(4);
  ef::ThreadPool pool(2);
  const AttentionCase<TestType> c({1, 1, 64, 61, {1560}, {4300}}, rng);  // more than a megabyte of keys and values
  const Attended<TestType> together = attend(c, ef::Unmasked{});
  for (const Index first : {0, 90, 1537}) {
    AttentionCase<TestType> few = c;
    few.q = c.q.middleRows(first, 23);
    few.d_out = c.d_out.topRows(23);
    CHECK(identical<TestType>(attend(few, ef::Unmasked{}).out, together.out.middleRows(first, 23)));
    CHECK(max_error(together.out.middleRows(first, 23), few.naive(naive_unmasked).out) < rounding<TestType>(16));
  }
  // Two threads take fewer queries at a time than one.
  const ef::Causal causal = ef::Causal::after_past();
  CHECK(identical<TestType>(attend(c, causal, &pool).out, attend(c, causal).out));
}

TEST_CASE("a view of more than memory could hold copied is read in place", "[kernels]") {
  // 2^20 keys of 2^20 columns, all in one row's memory; queries see the first three alone.
  const Index many = Index{1} << 20;
  const Matrix<float> row = Matrix<float>::Constant(1, many, 0.5F);
  const Eigen::Map<const Matrix<float>, Eigen::Unaligned, AnyStride> keys(row.data(), many, many, AnyStride(0, 1));
  const ef::RowOffsets key_rows{0, 0, 3, many};
  const Matrix<float> y = ef::attention(keys.topRows(1), keys.topRows(3), keys.topRows(3));
  CHECK((y.array() == 0.5F).all());
  Matrix<float> expected = Matrix<float>::Zero(2, many);
  expected.row(1).setConstant(0.5F);
  const Matrix<float> z = ef::attention(keys.topRows(2), keys, keys, ef::Causal{},
                                        {.query_rows = ef::RowOffsets{0, 1, 2, 2}, .key_rows = key_rows});
  CHECK(max_error(z, expected) < 1e-6);
}

TEMPLATE_TEST_CASE("tensors in any order of strides give what their matrices give", "[kernels]", float, double) {
  const std::array<int, 4> orders[] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {2, 0, 1, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}};
  ef::Rng rng(2);
  const Index batch = 2, queries = 67, keys = 9;
  ef::ThreadPool pool(3);
  for (std::size_t i = 0; i < std::size(orders); ++i) {
    CAPTURE(i);
    Laid<TestType> q({batch, 4, queries, 5}, orders[i], static_cast<Index>(i) % 3);
    Laid<TestType> k({batch, 2, keys, 5}, orders[(i + 1) % 5], static_cast<Index>(i) % 2);
    Laid<TestType> v({batch, 2, keys, 3}, orders[(i + 3) % 5], 0);
    q.fill(rng);
    k.fill(rng);
    v.fill(rng);
    // Options that speak of matrices are not read.
    const ef::AttentionOptions options{
        .heads = 7, .key_heads = 3, .scale = 0.7, .query_rows = {0, 1}, .threads = &pool};
    const auto check_score = [&](const auto& score) {
      const Tensor<TestType> y = ef::attention(q.view(), k.view(), v.view(), score, options);
      REQUIRE(y.shape() == ef::Sizes{batch, 4, queries, 3});
      const Tensor<TestType> of_const =
          ef::attention(TensorView<const TestType>(q.view()), TensorView<const TestType>(k.view()),
                        TensorView<const TestType>(v.view()), score, options);
      for (Index b = 0; b < batch; ++b) {
        const Matrix<TestType> expected =
            ef::attention(q.columns(b), k.columns(b), v.columns(b), score, {.heads = 4, .key_heads = 2, .scale = 0.7});
        for (Index h = 0; h < 4; ++h) {
          CHECK(identical<TestType>(y.matrix(b, h), expected.middleCols(3 * h, 3)));
          CHECK(identical<TestType>(of_const.matrix(b, h), y.matrix(b, h)));
        }
      }
    };
    check_score(ef::Unmasked{});
    check_score(ef::Causal{});
  }
}

TEST_CASE("tensors drop weights of their own in each batch entry", "[kernels]") {
  const Tensor<float> q({2, 1, 40, 2}), k({2, 1, 40, 2});
  Tensor<float> v({2, 1, 40, 1});
  for (Index i = 0; i < v.size(); ++i) v.data()[i] = 1;
  const Tensor<float> y =
      ef::attention(q.view(), k.view(), TensorView<const float>(v.view()), ef::Unmasked{}, {.dropout = 0.5});
  CHECK_FALSE(identical<float>(y.matrix(0, 0), y.matrix(1, 0)));
  CHECK(std::abs(y.matrix(1, 0).mean() - 1) < 4.5 / 40);
}

TEST_CASE("tensors that do not fit are named", "[kernels]") {
  using ef::Sizes;
  const auto message = [](const Sizes& q, const Sizes& k, const Sizes& v) {
    return message_of(
        [&] { ef::attention(Tensor<float>(q), Tensor<float>(k), Tensor<float>(v)); });
  };
  CHECK(message({2, 4, 5, 8}, {2, 2, 6, 8}, {2, 2, 6, 3}) == "nothing was thrown");
  CHECK(message({2, 4, 5, 8}, {3, 2, 6, 8}, {2, 2, 6, 3}) == "attention: q has a batch of 2, k of 3, v of 2");
  CHECK(message({2, 4, 5, 8}, {2, 2, 6, 8}, {1, 2, 6, 3}) == "attention: q has a batch of 2, k of 2, v of 1");
  CHECK(message({2, 4, 5, 8}, {2, 2, 6, 8}, {2, 4, 6, 3}) == "attention: k has 2 heads, v has 4");
  CHECK(message({2, 4, 5, 8}, {2, 3, 6, 8}, {2, 3, 6, 3}) ==
        "attention: 4 heads cannot share 3 key heads, expected a multiple");
  CHECK(message({2, 4, 5, 8}, {2, 2, 6, 7}, {2, 2, 6, 3}) ==
        "attention: q is [5 x 32], k is [6 x 14], expected 16 columns in k for 4 heads and 2 key heads");
  CHECK(message({2, 4, 5, 8}, {2, 2, 6, 8}, {2, 2, 7, 3}) ==
        "attention: k is [6 x 16], v is [7 x 6], expected as many rows");
  CHECK(message({0, 4, 5, 8}, {0, 2, 6, 8}, {0, 2, 6, 3}) == "nothing was thrown");
  CHECK(message({1, 4, 0, 8}, {1, 2, 6, 8}, {1, 2, 6, 3}) == "nothing was thrown");
  CHECK(message({1, 4, 5, 8}, {1, 2, 0, 8}, {1, 2, 0, 3}) == "nothing was thrown");
}

TEMPLATE_TEST_CASE("one query attends the same to the last bit wherever its many keys lie", "[kernels]", float,
                   double) {
  using ByColumns = Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic>;
  ef::Rng rng(17);
  for (const Index width : {16, 64, 128}) {
    CAPTURE(width);
    const AttentionCase<TestType> c({1, 1, width, width, {1}, {1300}}, rng);
    const Eigen::Matrix<Eigen::half, Eigen::Dynamic, Eigen::Dynamic> narrow_k = c.k.template cast<Eigen::half>();
    const Matrix<TestType> k = narrow_k.template cast<TestType>(), expected = ef::attention(c.q, k, c.v);
    const ByColumns k_columns = k, v_columns = c.v;
    CHECK(identical<TestType>(ef::attention(c.q, k_columns, v_columns), expected));
    ef::AttentionOptions options;
    options.query_rows = {0, 1};
    options.key_rows = {0, 1300};
    std::vector<Index> backwards(1300);
    for (Index j = 0; j < 1300; ++j) backwards[static_cast<std::size_t>(j)] = 1299 - j;
    options.key_index = backwards;
    const Matrix<TestType> k_backwards = k.colwise().reverse(), v_backwards = c.v.colwise().reverse();
    CHECK(identical<TestType>(ef::attention(c.q, k_backwards, v_backwards, options), expected));
    if constexpr (std::is_same_v<TestType, float>)
      CHECK(identical<float>(ef::attention(c.q, narrow_k, c.v.template cast<Eigen::half>().eval()),
                             ef::attention(c.q, k, c.v.template cast<Eigen::half>().template cast<float>().eval())));
  }
}

TEST_CASE("queries, keys and values of 16 bits are read as float", "[kernels]") {
  const std::uint64_t seed = 16;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Index queries : {1, 40}) {
    const AttentionCase<float> c({2, 1, 20, 9, {queries}, {130}}, rng);
    const auto check_stored = [&](auto stored) {
      using Stored = decltype(stored);
      using Narrow = Eigen::Matrix<Stored, Eigen::Dynamic, Eigen::Dynamic>;
      const Narrow q = c.q.template cast<Stored>(), k = c.k.template cast<Stored>(), v = c.v.template cast<Stored>();
      const Matrix<float> q_read = q.template cast<float>(), k_read = k.template cast<float>(),
                          v_read = v.template cast<float>();
      CHECK(identical<float>(ef::attention(q, k, v, ef::Causal::after_past(), c.options),
                             ef::attention(q_read, k_read, v_read, ef::Causal::after_past(), c.options)));
      CHECK(identical<float>(ef::attention(c.q, k, v, c.options), ef::attention(c.q, k_read, v_read, c.options)));
    };
    check_stored(Eigen::half());
    check_stored(Eigen::bfloat16());
  }
}
