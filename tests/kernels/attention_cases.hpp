// Shared by the tests of attention: sizes just below and above every tile size, scores of each kind with their naive
// forms, and calls that check that results are written completely.
#pragma once

#include <limits>
#include <span>
#include <variant>
#include <vector>

#include "eigenformer/core/tensor.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/kernels/attention.hpp"
#include "eigenformer/kernels/scores.hpp"
#include "kernels/kernel_checks.hpp"
#include "support/naive_attention.hpp"

namespace eigenformer::testing {

/// A user-defined score that changes values: cap * tanh(score / cap). If `causal`, it also hides later keys.
struct CappedScore {
  static constexpr ScoreStage stage = ScoreStage::cap;
  static constexpr int saved_blocks = 1;
  double cap = 2;
  bool causal = false;

  Visible visible(const ScoreTile& tile) const { return causal ? Causal{}.visible(tile) : Visible::all; }
  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    scores = (scores.array() / Scalar(cap)).tanh() * Scalar(cap);
    if (causal) Causal{}.apply(tile, scores);
  }
  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores, ScoreBlock<Scalar> saved) const {
    saved = scores;
    apply(tile, scores);
  }
  template <class Scalar>
  void apply_backward(const ScoreTile&, ScoreBlock<Scalar> saved, ScoreBlock<Scalar> d_scores) const {
    d_scores.array() *= 1 - (saved.array() / Scalar(cap)).tanh().square();
  }
  NaiveScore naive() const {
    return [capped = *this](const QueryAndKey& at, double score) {
      return capped.causal && at.key > at.query ? naive_hidden : capped.cap * std::tanh(score / capped.cap);
    };
  }
};

/// A generic score function. It is smooth, because among many scores some would be close to a kink.
struct Bent {
  template <class Number>
  Number operator()(Number score, const ScorePosition& at) const {
    return score / (1 + eigenformer::exp(score * 0.5F)) + tanh(score) * static_cast<float>(at.head + 1) -
           0.25F * score * tanh(score);
  }
};
/// A mask function.
struct Striped {
  bool operator()(const ScorePosition& at) const { return at.key % 3 != 1 && (at.query + at.sequence) % 5 != 2; }
};

struct AttentionSizes {
  Index heads, key_heads;
  Index key_width, value_width;      // of each head
  std::vector<Index> queries, keys;  // of each sequence
};

/// Returns sizes that cycle through lengths, widths and heads, so that each length meets several widths. Tiles have at
/// most 48 queries, and 96 keys in the forward or 64 or 32 in the backward.
inline std::vector<AttentionSizes> attention_sizes(int rounds = 2) {
  const Index lengths[][2] = {{1, 1},   {1, 2},   {2, 1},   {3, 5},   {5, 3},    {8, 8},    {17, 33},
                              {33, 17}, {63, 64}, {64, 63}, {64, 64}, {65, 130}, {130, 65}, {130, 3},
                              {1, 130}, {70, 70}, {2, 65},  {65, 1},  {97, 96},  {16, 97}};
  const Index heads[][2] = {{1, 1}, {2, 2}, {3, 1}, {4, 2}, {3, 3}};
  const Index widths[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33, 64};
  std::vector<AttentionSizes> all;
  std::size_t i = 0;
  for (int round = 0; round < rounds; ++round)
    for (const auto& [queries, keys] : lengths) {
      const auto& [h, kh] = heads[i % std::size(heads)];
      all.push_back({h, kh, widths[i % std::size(widths)], widths[(5 * i + 2) % std::size(widths)], {queries}, {keys}});
      ++i;
    }
  all.push_back({2, 1, 5, 3, {3, 0, 1, 70, 5, 2}, {4, 2, 0, 65, 64, 1}});  // sequences without queries, without keys
  all.push_back({1, 1, 8, 8, {64, 1, 64, 0}, {64, 64, 129, 0}});
  all.push_back({4, 2, 3, 4, {1, 1, 1, 1}, {9, 1, 66, 30}});
  all.push_back({2, 2, 3, 4, {0, 0}, {0, 0}});
  all.push_back({2, 2, 3, 4, {0}, {5}});
  all.push_back({2, 2, 3, 4, {5}, {0}});
  all.push_back({2, 2, 3, 4, {}, {}});
  return all;
}

template <class Scalar>
struct AttentionCase {
  Matrix<Scalar> q, k, v, d_out;
  AttentionOptions options;

  AttentionCase(const AttentionSizes& sizes, Rng& rng) {
    options.heads = sizes.heads;
    options.key_heads = sizes.key_heads == sizes.heads ? 0 : sizes.key_heads;
    options.query_rows = RowOffsets::from_lengths(sizes.queries);
    options.key_rows = RowOffsets::from_lengths(sizes.keys);
    const Index queries = options.query_rows.rows(), keys = options.key_rows.rows();
    q = random_matrix<Scalar>(queries, sizes.heads * sizes.key_width, rng, 1.5);
    k = random_matrix<Scalar>(keys, sizes.key_heads * sizes.key_width, rng);
    v = random_matrix<Scalar>(keys, sizes.key_heads * sizes.value_width, rng);
    d_out = random_matrix<Scalar>(queries, sizes.heads * sizes.value_width, rng);
    if (sizes.queries.size() == 1) options.query_rows = options.key_rows = {};
  }
  /// Returns the case of one sequence alone.
  AttentionCase alone(Index sequence) const {
    const RowOffsets &queries = options.query_rows, &keys = options.key_rows;
    const auto rows_of = [&](const Matrix<Scalar>& m, const RowOffsets& rows) {
      return Matrix<Scalar>(m.middleRows(rows.begin(sequence), rows.length(sequence)));
    };
    AttentionCase one = *this;
    one.q = rows_of(q, queries);
    one.k = rows_of(k, keys);
    one.v = rows_of(v, keys);
    one.d_out = rows_of(d_out, queries);
    one.options.query_rows = one.options.key_rows = {};
    return one;
  }
  NaiveAttention naive(const NaiveScore& score) const {
    return naive_attention(q.template cast<double>(), k.template cast<double>(), v.template cast<double>(), score,
                           options);
  }
};

/// Values that a hidden key must not spread.
template <class Scalar>
std::vector<Scalar> bad_numbers() {
  const Scalar infinity = std::numeric_limits<Scalar>::infinity();
  return {std::numeric_limits<Scalar>::quiet_NaN(), infinity, -infinity};
}

/// Returns a random mask: some rows are hidden, some 32 x 32 blocks hidden, some visible, and the rest random.
inline Matrix<bool> random_mask(Index rows, Index cols, Rng& rng) {
  Eigen::MatrixXi parts =
      Eigen::MatrixXi::NullaryExpr(rows / 32 + 1, cols / 32 + 1, [&] { return static_cast<int>(rng.randint(4)); });
  Matrix<bool> mask(rows, cols);
  for (Index i = 0; i < rows; ++i) {
    const bool sees_nothing = rng.randint(9) == 0;
    for (Index j = 0; j < cols; ++j) {
      const int part = parts(i / 32, j / 32);
      mask(i, j) = !sees_nothing && (part == 0 || (part > 1 && rng.randint(3) > 0));
    }
  }
  return mask;
}

/// A bias and a mask, both chosen at run time.
template <class Scalar>
using ChosenByPosition = CombinedScore<ScoreVariant<Alibi, RelativeBias<Scalar>, RelativeKeys<Scalar>>,
                                       ScoreVariant<Unmasked, Causal, DenseMask>>;

/// Any score that the tests use, for scores of type Scalar.
template <class Scalar>
using ScoreOfTests = std::variant<Unmasked, Causal, DenseMask, CappedScore, SlidingWindow, SoftCap, Alibi,
                                  RelativeBias<Scalar>, DenseBias<Scalar>, RelativeKeys<Scalar>, ScoreFunction<Bent>,
                                  MaskFunction<Striped>, CombinedScore<Causal, SlidingWindow>, ChosenByPosition<Scalar>,
                                  CombinedScore<SoftCap, DenseBias<Scalar>, ScoreFunction<Bent>, RelativeBias<Scalar>,
                                                Causal, MaskFunction<Striped>>>;

/// Any score that the tests use, for operands of type Scalar. attention_cases.cpp and attention_16_bit_cases.cpp
/// compile attention for all of them, once for all tests.
template <class Scalar>
using TestedScore = ScoreOfTests<ComputeType<Scalar>>;

/// Whether a scalar type is bfloat16 or half.
template <class Scalar>
inline constexpr bool has_16_bits = !std::is_same_v<Scalar, ComputeType<Scalar>>;

/// Returns whether results agree with those expected:
/// - float, double: up to `units` rounding errors of each entry
/// - 16 bits: up to two units in the last place of the largest entry or of `least`, because weights are rounded too
template <class Scalar>
bool agrees(const Matrix<Scalar>& given, const Matrix<double>& expected, double units, double least = 1e-30) {
  if constexpr (has_16_bits<Scalar>) {
    if (given.rows() != expected.rows() || given.cols() != expected.cols()) return false;
    if (given.size() == 0) return true;
    const double largest = expected.cwiseAbs().maxCoeff();
    // Not numeric_limits: Eigen 3.4 has another epsilon for half.
    constexpr double epsilon = std::is_same_v<Scalar, Eigen::half> ? 0x1p-10 : 0x1p-7;
    const double last_place = epsilon * std::exp2(std::floor(std::log2(std::max(largest, least))));
    const double error = (given.template cast<double>() - expected).cwiseAbs().maxCoeff();
    UNSCOPED_INFO("error " << error / last_place << " units in the last place");
    return error <= 2 * last_place;
  } else {
    return max_error(given, expected) < rounding<Scalar>(units);
  }
}
/// Returns whether log-sum-exps agree with the expected ones. With 16 bits, exponentials have errors of up to 9e-5.
template <class Scalar>
bool sums_agree(const Matrix<ComputeType<Scalar>>& given, const Matrix<double>& expected, double units) {
  const double error = max_error(given, expected);
  UNSCOPED_INFO("error of log-sum-exps " << error);
  return error < (has_16_bits<Scalar> ? 2e-4 : rounding<Scalar>(units));
}

/// Calls body(score, its naive form, its name) for every kind of mask and for a score that changes values.
template <class Scalar, class Body>
void for_each_score(const AttentionCase<Scalar>& c, Rng& rng, Body body) {
  const auto call = [&](const TestedScore<Scalar>& score, const NaiveScore& naive, const char* name) {
    body(score, naive, name);
  };
  call(Unmasked{}, naive_unmasked, "unmasked");
  call(Causal{}, naive_causal, "causal");
  call(Causal::after_past(), naive_causal_after_past, "causal after past");
  const Matrix<bool> mask = random_mask(c.q.rows(), c.k.rows() + 1, rng);
  call(DenseMask(mask), naive_dense_mask(mask), "dense mask");
  for (const bool causal : {false, true}) {
    const CappedScore capped{.cap = 2, .causal = causal};
    call(capped, capped.naive(), causal ? "capped and causal" : "capped");
  }
}

template <class Scalar>
Matrix<Scalar> not_written(Index rows, Index cols) {
  return Matrix<Scalar>::Constant(rows, cols, std::numeric_limits<Scalar>::quiet_NaN());
}

template <class Scalar>
struct Attended {
  Matrix<Scalar> out;
  Matrix<ComputeType<Scalar>> log_sum_exp;
};
/// Runs attention on the case. extra: unused columns after those of q, k and v in memory.
template <class Scalar>
Attended<Scalar> attend(const AttentionCase<Scalar>& c, const std::type_identity_t<TestedScore<Scalar>>& score,
                        Threads* threads = nullptr, Index extra = 0);

/// Checks attention with every kind of mask and with a score that changes values: against its definition, and with
/// threads for bit-identical results.
template <class Scalar>
void check_definition(const AttentionCase<Scalar>& c, Rng& rng, Threads& threads) {
  for_each_score(c, rng, [&](const TestedScore<Scalar>& score, const NaiveScore& naive, const char* name) {
    CAPTURE(name);
    const NaiveAttention expected = c.naive(naive);
    const Attended<Scalar> given = attend(c, score);
    CHECK(agrees<Scalar>(given.out, expected.out, 64));
    CHECK(sums_agree<Scalar>(given.log_sum_exp, expected.log_sum_exp, 64));
    // A query that sees nothing must give exact zeros.
    const Index heads = c.options.heads, width = given.out.cols() / heads;
    for (Index i = 0; i < c.q.rows(); ++i)
      for (Index h = 0; h < heads; ++h)
        if (expected.log_sum_exp(i, h) == naive_hidden)
          CHECK((given.out.row(i).segment(h * width, width).array() == Scalar(0)).all());
    const Attended<Scalar> with_threads = attend(c, score, &threads);
    CHECK(identical<Scalar>(with_threads.out, given.out));
    CHECK(identical<ComputeType<Scalar>>(with_threads.log_sum_exp, given.log_sum_exp));
  });
}

template <class Scalar>
struct AttentionGradients {
  Matrix<Scalar> q, k, v;
};
template <class Scalar>
AttentionGradients<Scalar> gradients(const AttentionCase<Scalar>& c,
                                     const std::type_identity_t<TestedScore<Scalar>>& score,
                                     Threads* threads = nullptr);

/// Returns attention_weights of the case with other options.
template <class Scalar>
Tensor<Scalar> weights_of(const AttentionCase<Scalar>& c, const std::type_identity_t<TestedScore<Scalar>>& score,
                          const AttentionOptions& options);

/// Returns the error of d_x against differences of f at x. Compares every entry of a small matrix. In a larger matrix,
/// compares one entry and the derivative along a direction with entries 1 and -1.
template <class Function>
double gradient_error(const Matrix<double>& x, const Matrix<double>& d_x, Function f, Rng& rng) {
  if (x.rows() != d_x.rows() || x.cols() != d_x.cols()) return std::numeric_limits<double>::infinity();
  if (x.size() <= 60) return max_error(d_x, numeric_gradient(x, f));
  double largest = 0;
  const auto compare = [&](const Matrix<double>& direction) {
    const double h = 1e-5;
    const double expected = (f(x + h * direction) - f(x - h * direction)) / (2 * h);
    const double error = std::abs(dot(d_x, direction) - expected) / std::max(1.0, d_x.cwiseAbs().maxCoeff());
    if (!(error <= largest)) largest = error;
  };
  compare(Matrix<double>::NullaryExpr(x.rows(), x.cols(), [&] { return static_cast<double>(2 * rng.randint(2) - 1); }));
  Matrix<double> entry = Matrix<double>::Zero(x.rows(), x.cols());
  entry(rng.randint(x.rows()), rng.randint(x.cols())) = 1;
  compare(entry);
  return largest;
}

/// Checks the gradients of dot(out, d_out) against differences of the naive form.
inline void check_gradients(const AttentionCase<double>& c, const AttentionGradients<double>& d,
                            const NaiveScore& naive, Rng& rng) {
  const auto loss = [&](const Matrix<double>& q, const Matrix<double>& k, const Matrix<double>& v) {
    return dot(naive_attention(q, k, v, naive, c.options).out, c.d_out);
  };
  CHECK(gradient_error(
            c.q, d.q, [&](const auto& x) { return loss(x, c.k, c.v); }, rng) < gradient_tolerance);
  CHECK(gradient_error(
            c.k, d.k, [&](const auto& x) { return loss(c.q, x, c.v); }, rng) < gradient_tolerance);
  CHECK(gradient_error(
            c.v, d.v, [&](const auto& x) { return loss(c.q, c.k, x); }, rng) < gradient_tolerance);
}

template <class Scalar>
bool identical(const AttentionGradients<Scalar>& a, const AttentionGradients<Scalar>& b) {
  return identical<Scalar>(a.q, b.q) && identical<Scalar>(a.k, b.k) && identical<Scalar>(a.v, b.v);
}

}  // namespace eigenformer::testing
