// Where attention's operands may lie: any strides, and expressions. For tensors see attention_tensors_test.cpp.
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

TEMPLATE_TEST_CASE("rows that collide are copied, and nobody sees it", "[kernels][threads]", float, double) {
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

TEMPLATE_TEST_CASE("queries that go over many keys together get what each gets alone", "[kernels][threads]", float,
                   double) {
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

TEST_CASE("16-bit keys and values are accepted with float or 16-bit queries", "[kernels]") {
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
      const Matrix<float> expected = ef::attention(q_read, k_read, v_read, ef::Causal::after_past(), c.options);
      CHECK(agrees<Stored>(ef::attention(q, k, v, ef::Causal::after_past(), c.options), expected.cast<double>(), 0));
      CHECK(identical<float>(ef::attention(c.q, k, v, c.options), ef::attention(c.q, k_read, v_read, c.options)));
    };
    check_stored(Eigen::half());
    check_stored(Eigen::bfloat16());
  }
}

TEST_CASE("results of width 1 may lie in columns, and repeated results are refused", "[kernels]") {
  ef::Rng rng(3);
  const Eigen::MatrixXf q = random_matrix<float>(40, 4, rng), v = random_matrix<float>(40, 1, rng);
  Eigen::MatrixXf out(40, 1), sums(40, 1);
  ef::attention_forward<float>({q, q, v}, ef::Unmasked{}, {}, {out, sums});
  CHECK(identical<float>(out, ef::attention(q, q, v)));
  Matrix<float> row = Matrix<float>::Constant(1, 4, 3), sum = Matrix<float>::Constant(1, 1, 3);
  const TensorView<float> rows = TensorView<float>(row).expand({40, 4}),
                          one_sum = TensorView<float>(sum).expand({40, 1});
  const auto message = [&](const TensorView<float>& to, const TensorView<float>& to_sums) {
    return message_of([&] { ef::attention_forward<float>({q, q, q}, ef::Unmasked{}, {}, {to, to_sums}); });
  };
  Matrix<float> whole(40, 4);
  CHECK(message(rows, sums) == "a tensor [40 x 4] with strides [0 x 1] repeats entries and cannot be written");
  CHECK(message(whole, one_sum) == "a tensor [40 x 1] with strides [0 x 1] repeats entries and cannot be written");
  CHECK((row.array() == 3).all());
  CHECK(sum(0, 0) == 3);
}
