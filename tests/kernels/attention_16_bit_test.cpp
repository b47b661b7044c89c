// Compares attention of 16-bit operands, forward and backward and under every score, with the definition in double on
// the same operands. Errors are at most two units in the last place of the largest entry.
#include "eigenformer/kernels/attention_backward.hpp"
#include "kernels/all_scores.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

/// Returns the case with its operands in another type.
template <class To, class From>
AttentionCase<To> converted(const AttentionCase<From>& c) {
  ef::Rng rng(1);
  AttentionCase<To> to({1, 1, 1, 1, {1}, {1}}, rng);
  to.q = c.q.template cast<To>();
  to.k = c.k.template cast<To>();
  to.v = c.v.template cast<To>();
  to.d_out = c.d_out.template cast<To>();
  to.options = c.options;
  return to;
}

/// Returns the case with later keys made larger, so that the largest score so far keeps rising.
template <class Stored>
AttentionCase<Stored> rising(AttentionCase<Stored> c) {
  for (Index j = 0; j < c.k.rows(); ++j)
    c.k.row(j) = (c.k.row(j).template cast<double>() * (6.0 * double(j) / double(c.k.rows()))).template cast<Stored>();
  return c;
}

/// Compares attention under every score with its definition, and gradients with those in double.
template <class Stored>
void check_every_score(const AttentionCase<Stored>& c, ef::Rng& rng, bool backward) {
  Biases<float> biases(c, rng);
  const AttentionCase<double> exact = converted<double>(c);
  Biases<double> exact_biases(exact, rng);
  exact_biases.dense = biases.dense.cast<double>();
  exact_biases.shared = biases.shared.cast<double>();
  exact_biases.terms = biases.terms.cast<double>();
  exact_biases.relative = biases.relative.cast<double>();
  const auto exact_scores = all_scores(exact, exact_biases);
  std::size_t i = 0;
  for (const auto& [name, score, naive] : all_scores(c, biases)) {
    CAPTURE(name);
    const NaiveAttention expected = exact.naive(naive);
    const Attended<Stored> given = attend(c, score);
    CHECK(agrees<Stored>(given.out, expected.out, 0));
    CHECK(sums_agree<Stored>(given.log_sum_exp, expected.log_sum_exp, 0));
    const auto& exact_score = exact_scores[i++].score;
    if (!backward) continue;
    const AttentionGradients<double> d_expected = gradients(exact, exact_score);
    const AttentionGradients<Stored> d = gradients(c, score);
    // With one visible key, these gradients are differences of equal products of d_out and v, one of them rounded.
    CHECK(agrees<Stored>(d.q, d_expected.q, 0, 1));
    CHECK(agrees<Stored>(d.k, d_expected.k, 0, 1));
    CHECK(agrees<Stored>(d.v, d_expected.v, 0));
  }
}

}  // namespace

TEMPLATE_TEST_CASE("16-bit attention agrees with its definition", "[kernels][threads]", Eigen::half, Eigen::bfloat16) {
  const auto seed = GENERATE(1U, 2U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  std::vector<AttentionSizes> all = attention_sizes();
  all.push_back({2, 1, 64, 33, {600, 3, 530}, {300, 70, 129}});  // several tasks of one head, and several tiles
  for (const AttentionSizes& s : all) {
    CAPTURE(s.heads, s.key_heads, s.key_width, s.value_width, s.queries, s.keys);
    check_definition(AttentionCase<TestType>(s, rng), rng, pool);
  }
}

TEMPLATE_TEST_CASE("16-bit attention of every size from 1 to 70, under every score", "[kernels]", Eigen::half,
                   Eigen::bfloat16) {
  const std::uint64_t seed = 5;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (Index n = 1; n <= 70; ++n) {
    const Index d = 1 + 29 * n % 70, keys = 1 + 41 * n % 97;
    CAPTURE(n, d, keys);
    check_every_score(AttentionCase<TestType>({2, 1, d, d, {n}, {keys}}, rng), rng, n % 3 == 0);
  }
}

TEMPLATE_TEST_CASE("16-bit attention of many keys, under every score", "[kernels]", Eigen::half, Eigen::bfloat16) {
  const std::uint64_t seed = 12;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const Index widths[][2] = {{64, 64}, {40, 160}, {160, 33}};
  std::size_t i = 0;
  for (const Index keys : {255, 256, 257, 513, 1100}) {
    const auto& [d, e] = widths[i++ % std::size(widths)];
    CAPTURE(keys, d, e);
    check_every_score(rising(AttentionCase<TestType>({1, 1, d, e, {70}, {keys}}, rng)), rng, false);
  }
}

TEMPLATE_TEST_CASE("16-bit gradients of several tiles of queries and keys agree with double", "[kernels]", Eigen::half,
                   Eigen::bfloat16) {
  const std::uint64_t seed = 11;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const AttentionCase<TestType> c({2, 1, 40, 33, {300, 130}, {700, 140}}, rng);
  const AttentionCase<double> exact = converted<double>(c);
  for (const bool causal : {false, true}) {
    CAPTURE(causal);
    const auto d = causal ? gradients(c, ef::Causal{}) : gradients(c, ef::Unmasked{});
    const auto d_expected = causal ? gradients(exact, ef::Causal{}) : gradients(exact, ef::Unmasked{});
    CHECK(agrees<TestType>(d.q, d_expected.q, 0, 1));
    CHECK(agrees<TestType>(d.k, d_expected.k, 0, 1));
    CHECK(agrees<TestType>(d.v, d_expected.v, 0, 1));
  }
}

TEMPLATE_TEST_CASE("a sequence's 16-bit result is the same to the last bit alone and in any batch",
                   "[kernels][threads]", Eigen::half, Eigen::bfloat16) {
  ef::Rng rng(3);
  ef::ThreadPool pool(3);
  const AttentionCase<TestType> batch(
      {4, 2, 5, 3, {3, 0, 70, 1, 9, 64, 97, 600, 40}, {4, 2, 65, 131, 64, 64, 200, 140, 600}}, rng);
  const ef::RowOffsets& queries = batch.options.query_rows;
  for (const TestedScore<TestType>& score :
       {TestedScore<TestType>(ef::Unmasked{}), TestedScore<TestType>(ef::Causal{}),
        TestedScore<TestType>(ef::SlidingWindow(20)), TestedScore<TestType>(ef::SoftCap(2))}) {
    const Matrix<TestType> all = attend(batch, score, &pool).out;
    for (Index s = 0; s < queries.sequences(); ++s) {
      CAPTURE(s, score.index());
      CHECK(
          identical<TestType>(attend(batch.alone(s), score).out, all.middleRows(queries.begin(s), queries.length(s))));
    }
  }
}

TEMPLATE_TEST_CASE("16-bit operands are read wherever they lie", "[kernels]", Eigen::half, Eigen::bfloat16) {
  ef::Rng rng(4);
  for (const Index queries : {3, 70}) {
    const AttentionCase<TestType> c({2, 2, 37, 20, {queries}, {150}}, rng);
    CAPTURE(queries);
    const Attended<TestType> expected = attend(c, ef::Causal{});
    CHECK(identical<TestType>(attend(c, ef::Causal{}, nullptr, 5).out, expected.out));  // rows that are far apart
    using ByColumns = Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic>;
    const ByColumns q = c.q, k = c.k, v = c.v;
    CHECK(identical<TestType>(ef::attention(q, k, v, ef::Causal{}, c.options), expected.out));
    // The same keys in other rows, found through key_index and in pages.
    std::vector<Index> order(static_cast<std::size_t>(c.k.rows()));
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<Index>(i);
    rng.shuffle(std::span<Index>(order));
    Matrix<TestType> moved_k = c.k, moved_v = c.v;
    for (std::size_t i = 0; i < order.size(); ++i) {
      moved_k.row(order[i]) = c.k.row(static_cast<Index>(i));
      moved_v.row(order[i]) = c.v.row(static_cast<Index>(i));
    }
    ef::AttentionOptions options = c.options;
    options.key_index = order;
    CHECK(identical<TestType>(ef::attention(c.q, moved_k, moved_v, ef::Causal{}, options), expected.out));
    const std::vector<Index> pages{2, 0, 1};
    for (Index page = 0; page < 3; ++page) {
      moved_k.middleRows(pages[static_cast<std::size_t>(page)] * 50, 50) = c.k.middleRows(page * 50, 50);
      moved_v.middleRows(pages[static_cast<std::size_t>(page)] * 50, 50) = c.v.middleRows(page * 50, 50);
    }
    options = c.options;
    options.key_rows = {0, 150};
    options.query_rows = {0, queries};
    options.key_pages = ef::KeyPages{50, pages};
    CHECK(identical<TestType>(ef::attention(c.q, moved_k, moved_v, ef::Causal{}, options), expected.out));
  }
}

TEMPLATE_TEST_CASE("hidden 16-bit rows of NaN, infinity and the largest number leak nowhere", "[kernels]", Eigen::half,
                   Eigen::bfloat16) {
  ef::Rng rng(1);
  std::vector<TestType> all_bad = bad_numbers<TestType>();
  all_bad.push_back(Eigen::NumTraits<TestType>::highest());
  for (const Index queries : {3, 16, 70, 700})
    for (const TestType bad : all_bad) {
      const Index keys = queries + 40;
      CAPTURE(queries, bad);
      const AttentionCase<TestType> clean({2, 1, 17, 20, {queries}, {keys}}, rng);
      const Matrix<bool> mask = Matrix<bool>::NullaryExpr(
          queries, keys, [&](Index i, Index j) { return j % 5 != 1 && i % 7 != 2 && (i < 40 || j % 3 != 0); });
      AttentionCase<TestType> dirty = clean;
      for (Index j = 1; j < keys; j += 5) {
        dirty.k.row(j).setConstant(bad);
        dirty.v.row(j).setConstant(bad);
      }
      for (Index i = 2; i < queries; i += 7) dirty.q.row(i).setConstant(bad);
      const Attended<TestType> expected = attend(clean, ef::DenseMask(mask)),
                               given = attend(dirty, ef::DenseMask(mask));
      CHECK(agrees<TestType>(given.out, expected.out.template cast<double>(), 0));
      CHECK(sums_agree<TestType>(given.log_sum_exp, expected.log_sum_exp.template cast<double>(), 0));
      const auto d_expected = gradients(clean, ef::DenseMask(mask)), d = gradients(dirty, ef::DenseMask(mask));
      CHECK(agrees<TestType>(d.q, d_expected.q.template cast<double>(), 0));
      CHECK(agrees<TestType>(d.v, d_expected.v.template cast<double>(), 0));
    }
}

TEMPLATE_TEST_CASE("16-bit rows that see no NaN keep their results beside rows that do", "[kernels]", Eigen::half,
                   Eigen::bfloat16) {
  ef::Rng rng(6);
  const AttentionCase<TestType> clean({1, 1, 32, 16, {100}, {100}}, rng);
  AttentionCase<TestType> dirty = clean;
  dirty.v.row(60).setConstant(std::numeric_limits<TestType>::quiet_NaN());
  const Matrix<TestType> given = attend(dirty, ef::Causal{}).out;
  const Matrix<double> expected = clean.naive(naive_causal).out;
  for (Index i = 0; i < 100; ++i) {
    CAPTURE(i);
    const Matrix<double> row = given.row(i).template cast<double>();
    CHECK(row.array().isNaN().all() == (i >= 60));
    CHECK(row.array().isFinite().all() == (i < 60));
    if (i < 60) CHECK(agrees<TestType>(given.row(i), expected.row(i), 0));
  }
}

TEST_CASE("a 16-bit score that overflows spoils no gradient of what is hidden from its query", "[kernels]") {
  using Stored = Eigen::bfloat16;
  ef::Rng rng(13);
  for (const Index size : {20, 70, 300}) {
    CAPTURE(size);
    const AttentionCase<Stored> clean({1, 1, 17, 20, {size}, {size}}, rng);
    Matrix<bool> mask = Matrix<bool>::Constant(size, size, true);
    mask.row(0).setConstant(false);
    mask.col(0).setConstant(false);
    mask(0, 0) = true;
    AttentionCase<Stored> dirty = clean;
    dirty.q.row(0).setConstant(Stored(1e20F));
    dirty.k.row(0).setConstant(Stored(1e20F));
    const auto d_expected = gradients(clean, ef::DenseMask(mask)), d = gradients(dirty, ef::DenseMask(mask));
    CHECK(d.q.row(0).array().isNaN().all());
    CHECK(d.k.row(0).array().isNaN().all());
    const auto agree = [size](const Matrix<Stored>& given, const Matrix<Stored>& expected) {
      return agrees<Stored>(given.bottomRows(size - 1), expected.bottomRows(size - 1).cast<double>(), 0);
    };
    CHECK(agree(d.q, d_expected.q));
    CHECK(agree(d.k, d_expected.k));
    CHECK(agree(d.v, d_expected.v));
  }
}

TEMPLATE_TEST_CASE("16-bit attention with dropout and with sinks agrees with its definition", "[kernels]", Eigen::half,
                   Eigen::bfloat16) {
  ef::Rng rng(7);
  for (const Index n : {1, 5, 33, 70, 300}) {
    CAPTURE(n);
    AttentionCase<TestType> c({4, 2, 9, 7, {n, 3}, {n + 9, 20}}, rng);
    c.options.dropout = 0.3;
    c.options.dropout_key = rng.split();
    const AttentionCase<double> exact = converted<double>(c);
    CHECK(agrees<TestType>(attend(c, ef::Unmasked{}).out, exact.naive(naive_unmasked).out, 0));
    c.options.dropout = 0;
    const std::vector<double> sinks{0.5, -2, 3, -std::numeric_limits<double>::infinity()};
    c.options.sinks = sinks;
    AttentionCase<double> with_sinks = converted<double>(c);
    const Attended<double> expected = attend(with_sinks, ef::Causal{});
    const Attended<TestType> given = attend(c, ef::Causal{});
    CHECK(agrees<TestType>(given.out, expected.out, 0));
    CHECK(sums_agree<TestType>(given.log_sum_exp, expected.log_sum_exp, 0));
  }
}

TEMPLATE_TEST_CASE("16-bit attention takes any scale", "[kernels]", Eigen::half, Eigen::bfloat16) {
  ef::Rng rng(10);
  for (const double scale : {0.0, -0.5, 1.0, 3.0}) {
    CAPTURE(scale);
    AttentionCase<TestType> c({2, 2, 9, 7, {50, 2}, {140, 9}}, rng);
    c.options.scale = scale;
    CHECK(agrees<TestType>(attend(c, ef::Causal{}).out, converted<double>(c).naive(naive_causal).out, 0));
  }
}

TEST_CASE("16-bit attention of large and small scores gives no NaN", "[kernels]") {
  ef::Rng rng(8);
  for (const double size : {1e-20, 1e4, 1e15})
    for (const Index n : {5, 70, 300}) {
      CAPTURE(size, n);
      AttentionCase<Eigen::bfloat16> c({1, 1, 16, 16, {n}, {n}}, rng);
      c.q = (c.q.cast<double>() * size).cast<Eigen::bfloat16>();
      for (const auto& score : {TestedScore<float>(ef::Unmasked{}), TestedScore<float>(ef::Causal{})}) {
        const Matrix<float> out = attend(c, score).out.cast<float>();
        CHECK(out.allFinite());
        CHECK(out.cwiseAbs().maxCoeff() <= 1.01F * c.v.cast<float>().cwiseAbs().maxCoeff());
      }
    }
}

TEST_CASE("attention on the portable matrix unit agrees with its definition", "[kernels]") {
  const std::uint64_t seed = 9;
  CAPTURE(seed);
  ef::Rng rng(seed);
  using Stored = Eigen::bfloat16;
  const Index lengths[][2] = {{1, 4}, {9, 12}, {33, 36}, {70, 73}, {150, 153}, {40, 530}};
  for (const auto& size : lengths) {
    const Index n = size[0], keys = size[1];
    const auto c = rising(AttentionCase<Stored>({1, 1, 1 + 7 * n % 50, 1 + 11 * n % 50, {n}, {keys}}, rng));
    CAPTURE(n, keys, c.q.cols(), c.v.cols());
    const auto check = [&](const auto& score, const NaiveScore& naive) {
      const NaiveAttention expected = c.naive(naive);
      Matrix<Stored> out = not_written<Stored>(n, c.v.cols());
      Matrix<float> sums = not_written<float>(n, 1);
      ef::MatrixRef<Stored> to(out);
      ef::MatrixRef<float> to_sums(sums);
      const auto layout = ef::detail::attention_layout(ef::shape(c.q), ef::shape(c.k), ef::shape(c.v), {});
      ef::detail::AttentionCall<Stored, Stored, std::remove_cvref_t<decltype(score)>> call{
          layout,
          score,
          ef::detail::AttentionDropout(0, {}),
          {ef::detail::head_columns(ef::strided_view(c.q), 1), ef::detail::head_columns(ef::strided_view(c.k), 1),
           ef::detail::head_columns(ef::strided_view(c.v), 1), ef::detail::head_columns(to, 1),
           ef::detail::head_columns(to_sums, 1)}};
      ef::detail::attend_on(ef::matrix_unit::Portable<Stored>(), call, nullptr, nullptr);
      CHECK(agrees<Stored>(out, expected.out, 0));
      CHECK(sums_agree<Stored>(sums, expected.log_sum_exp, 0));
    };
    check(ef::Unmasked{}, naive_unmasked);
    check(ef::Causal{}, naive_causal);
    const CappedScore capped{.causal = true};  // changes values
    check(ef::detail::for_kernel<float, ef::detail::kind_of_forward<CappedScore>>(capped), capped.naive());
  }
}

TEMPLATE_TEST_CASE("16-bit attention of huge values depends neither on threads nor on masks elsewhere",
                   "[kernels][threads]", Eigen::bfloat16, Eigen::half) {
  ef::Rng rng(10);
  const Index n = 256;
  AttentionCase<TestType> c({1, 1, 1, 1, {n}, {n}}, rng);
  // Weights of 2^10 times such values overflow in float, although their mean does not.
  const double huge = std::is_same_v<TestType, Eigen::half> ? 6e4 : 1e36;
  c.options.scale = 1;
  c.q.setConstant(TestType(1));
  c.k.setConstant(TestType(0));
  c.k.bottomRows(32).setConstant(TestType(6.8F));
  c.v.setConstant(static_cast<TestType>(static_cast<float>(huge)));
  Matrix<bool> all_but_one = Matrix<bool>::Constant(n, n, true);
  all_but_one(200, 5) = false;
  ef::ThreadPool pool(2);
  for (const auto& score : {TestedScore<float>(ef::Unmasked{}), TestedScore<float>(ef::DenseMask(all_but_one))})
    for (ef::Threads* threads : {static_cast<ef::Threads*>(nullptr), static_cast<ef::Threads*>(&pool)})
      CHECK(identical<TestType>(attend(c, score, threads).out, c.v));
}

TEMPLATE_TEST_CASE("16-bit attention takes a tiny scale and the least bias", "[kernels]", Eigen::bfloat16,
                   Eigen::half) {
  ef::Rng rng(11);
  for (const Index n : {40, 64, 90}) {
    CAPTURE(n);
    AttentionCase<TestType> c({1, 1, 16, 8, {n}, {n}}, rng);
    c.options.scale = 1e-50;  // 0 in float
    CHECK(agrees<TestType>(attend(c, ef::Unmasked{}).out, converted<double>(c).naive(naive_unmasked).out, 0));
    c.options.scale = {};
    Matrix<float> bias = Matrix<float>::Zero(n, n);
    bias.leftCols(33).setConstant(-3.3895e38F);  // the least bfloat16
    bias.row(7).setConstant(-3.3895e38F);
    const NaiveScore naive = [&](const QueryAndKey& at, double s) {
      return s + static_cast<double>(bias(at.query, at.key));
    };
    Matrix<double> expected = converted<double>(c).naive(naive).out;
    // In float, such a bias leaves nothing of the scores: they are equal.
    expected.row(7) = c.v.template cast<double>().colwise().mean();
    CHECK(agrees<TestType>(attend(c, ef::DenseBias<float>(ef::strided_view(bias))).out, expected, 0));
  }
}

TEST_CASE("an infinite gradient of a log-sum-exp reaches no hidden key", "[kernels]") {
  using Stored = Eigen::bfloat16;
  ef::Rng rng(12);
  const Index n = 64, blind = 5;  // sees nothing: its log-sum-exp is minus infinity, as the gradient of its square
  const AttentionCase<Stored> c({1, 1, 8, 8, {n}, {n}}, rng);
  Matrix<bool> sees = Matrix<bool>::Constant(n, n, true);
  sees.row(blind).setConstant(false);
  const ef::DenseMask mask(sees);
  const Attended<Stored> forward = attend(c, mask);
  Matrix<float> d_sums = Matrix<float>::Zero(n, 1);
  const auto key_gradients = [&] {
    AttentionGradients<Stored> d{not_written<Stored>(n, 8), not_written<Stored>(n, 8), not_written<Stored>(n, 8)};
    ef::attention_backward<Stored>({ef::strided_view(c.q), ef::strided_view(c.k), ef::strided_view(c.v)}, mask,
                                   c.options, {forward.out, forward.log_sum_exp},
                                   {ef::strided_view(c.d_out), ef::strided_view(d_sums)}, {d.q, d.k, d.v});
    return d;
  };
  const AttentionGradients<Stored> expected = key_gradients();
  d_sums(blind, 0) = -std::numeric_limits<float>::infinity();
  const AttentionGradients<Stored> given = key_gradients();
  CHECK(agrees<Stored>(given.k, expected.k.cast<double>(), 0));
  CHECK(agrees<Stored>(given.v, expected.v.cast<double>(), 0));
}
