// Compares kernels with plain loops in double. CMakeLists.txt compiles this with flags that change how a compiler takes
// floating-point numbers, or in which order Eigen stores matrices: results have to be the same, to rounding. A program
// of its own, since one program must not mix inline functions that were compiled with different flags.
#include "eigenformer/kernels/attention.hpp"  // first: it must not need other headers before it

#include <cstdio>
#include <string>

#include "eigenformer/kernels/activations.hpp"
#include "eigenformer/kernels/additive_attention.hpp"
#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/kernels/attention_weights.hpp"
#include "eigenformer/kernels/cross_entropy.hpp"
#include "eigenformer/kernels/layer_norm.hpp"
#include "eigenformer/kernels/rms_norm.hpp"
#include "eigenformer/kernels/scores/combine.hpp"
#include "eigenformer/kernels/scores/dense_bias.hpp"
#include "eigenformer/kernels/scores/dense_mask.hpp"
#include "eigenformer/kernels/scores/score_function.hpp"
#include "eigenformer/kernels/scores/sliding_window.hpp"
#include "eigenformer/kernels/scores/soft_cap.hpp"
#include "flags/naive.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

int failures = 0;

void report(const std::string& what, double error, double most) {
  if (ef::detail::is_finite(error) && error <= most) return;
  std::printf("%s: the error is %g, expected at most %g\n", what.c_str(), error, most);
  ++failures;
}

/// The largest |a - b| / max(1, |b|); large if a has an entry that is not finite.
template <class A, class B>
double error_of(const Eigen::MatrixBase<A>& a, const Eigen::MatrixBase<B>& b) {
  if (a.rows() != b.rows() || a.cols() != b.cols()) return 1e300;
  double largest = 0;
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < a.cols(); ++j) {
      const auto x = static_cast<double>(a(i, j)), y = static_cast<double>(b(i, j));
      if (!ef::detail::is_finite(x)) return 1e300;
      largest = std::max(largest, std::abs(x - y) / std::max(1.0, std::abs(y)));
    }
  return largest;
}

template <class Scalar>
constexpr double roundings(double count) {
  return count * static_cast<double>(std::numeric_limits<Scalar>::epsilon());
}

// --- Attention -------------------------------------------------------------------------------------------------------

constexpr auto seen_as_it_is = [](const Pair&, double s) { return NaiveScored{true, s, 1}; };

template <class Scalar>
struct Batch {
  Matrix<Scalar> q, k, v, d_out;
  ef::AttentionOptions options;

  /// Sequences of few queries, of no keys, of more than a block of queries and more than a tile of keys.
  Batch() : Batch({0, 1, 3, 6, 46, 147}, {0, 70, 77, 77, 127, 427}) {}
  Batch(const ef::RowOffsets& query_rows, const ef::RowOffsets& key_rows) {
    ef::Rng rng(1);
    options = {.heads = 4, .key_heads = 2, .query_rows = query_rows, .key_rows = key_rows};
    q = random_matrix<Scalar>(query_rows.rows(), 4 * 10, rng, 2);
    k = random_matrix<Scalar>(key_rows.rows(), 2 * 10, rng, 2);
    v = random_matrix<Scalar>(key_rows.rows(), 2 * 19, rng);
    d_out = random_matrix<Scalar>(query_rows.rows(), 4 * 19, rng);
  }

  NaiveResults expect(const NaiveScore& score) const {
    return naive_attention(
        {q.template cast<double>(), k.template cast<double>(), v.template cast<double>(), d_out.template cast<double>(),
         options.query_rows, options.key_rows, options.heads, options.key_heads},
        score);
  }

  template <class Score>
  NaiveResults check(const std::string& name, const Score& score, const NaiveScore& naive) const {
    const NaiveResults expected = expect(naive);
    const double few = roundings<Scalar>(300);
    Matrix<Scalar> out(q.rows(), d_out.cols()), log_sum_exp(q.rows(), options.heads);
    ef::attention_forward<Scalar>({ef::strided_view(q), ef::strided_view(k), ef::strided_view(v)}, score, options,
                                  {out, log_sum_exp});
    report(name, error_of(out, expected.out), few);
    for (Index i = 0; i < q.rows(); ++i)
      for (Index h = 0; h < options.heads; ++h)
        if (expected.seen.row(i).any())
          report(name + ", log_sum_exp",
                 error_of(log_sum_exp.block(i, h, 1, 1), expected.log_sum_exp.block(i, h, 1, 1)), few);
        else if (!ef::detail::is_minus_infinity(log_sum_exp(i, h)))
          report(name + ", log_sum_exp of a query that sees nothing", 1, 0);
    Matrix<Scalar> d_q(q.rows(), q.cols()), d_k(k.rows(), k.cols()), d_v(v.rows(), v.cols());
    ef::attention_backward<Scalar>({ef::strided_view(q), ef::strided_view(k), ef::strided_view(v)}, score, options,
                                   {out, log_sum_exp}, d_out, {d_q, d_k, d_v});
    report(name + ", d_q", error_of(d_q, expected.d_q), 10 * few);
    report(name + ", d_k", error_of(d_k, expected.d_k), 10 * few);
    report(name + ", d_v", error_of(d_v, expected.d_v), 10 * few);

    const auto weights = ef::attention_weights(q, k, score, options),
               scores = ef::attention_scores(q, k, score, options);
    for (Index h = 0; h < options.heads; ++h) {
      report(name + ", weights", error_of(weights.matrix(h), expected.weights[static_cast<std::size_t>(h)]), few);
      Matrix<double> seen = expected.scores[static_cast<std::size_t>(h)];
      bool hidden = true;
      for (Index i = 0; i < seen.rows(); ++i)
        for (Index j = 0; j < seen.cols(); ++j) {
          if (expected.seen(i, j)) continue;
          seen(i, j) = 0;
          hidden = hidden && ef::detail::is_minus_infinity(scores(h, i, j));
        }
      report(name + ", hidden scores", hidden ? 0 : 1, 0);
      const Matrix<Scalar> of_seen = Matrix<Scalar>::NullaryExpr(seen.rows(), seen.cols(), [&](Index i, Index j) {
        return expected.seen(i, j) ? scores(h, i, j) : Scalar(0);
      });
      report(name + ", scores", error_of(of_seen, seen), few);
    }
    return expected;
  }
};

/// Masks and biases come as types that share a kernel, which takes less time to compile.
template <class Scalar>
void check_masks(const std::string& type) {
  const Batch<Scalar> batch;
  batch.check(type + " attention", ef::Unmasked{}, seen_as_it_is);
  batch.check(type + " causal attention", ef::combine(ef::Causal{}), [](const Pair& at, double s) {
    return NaiveScored{at.key <= at.query, s, 1};
  });
  batch.check(type + " causal attention in a window",
              ef::combine(ef::Causal::after_past(), ef::SlidingWindow::after_past(9)), [](const Pair& at, double s) {
                const Index position = at.query + at.keys - at.queries;
                return NaiveScored{at.key <= position && position - at.key < 9, s, 1};
              });
  batch.check(type + " attention in a window", ef::SlidingWindow(20), [](const Pair& at, double s) {
    return NaiveScored{std::abs(at.key - at.query) < 20, s, 1};
  });
  const auto may_attend = [](Index row, Index key) { return row % 5 != 0 && row * key % 7 != 3; };
  batch.check(type + " attention with a dense mask",
              ef::DenseMask(Matrix<bool>::NullaryExpr(batch.q.rows(), 300, may_attend)), [=](const Pair& at, double s) {
                return NaiveScored{may_attend(at.row, at.key), s, 1};
              });
  batch.check(type + " attention with a function for a mask",
              ef::mask([](const ef::ScorePosition& at) { return at.query % 3 != 0 && at.key % 4 != 1; }),
              [](const Pair& at, double s) {
                return NaiveScored{at.query % 3 != 0 && at.key % 4 != 1, s, 1};
              });
}

template <class Scalar>
void check_biases(const std::string& type) {
  const Batch<Scalar> batch;
  ef::Rng rng(2);
  const auto hides = [](Index row, Index key) { return row % 6 == 0 || row * key % 5 == 1; };
  Matrix<Scalar> bias = random_matrix<Scalar>(batch.q.rows(), 300, rng);
  const Matrix<double> finite = bias.template cast<double>();
  for (Index i = 0; i < bias.rows(); ++i)
    for (Index j = 0; j < bias.cols(); ++j)
      if (hides(i, j)) bias(i, j) = ef::hidden_score<Scalar>;
  Matrix<Scalar> d_bias = Matrix<Scalar>::Zero(bias.rows(), bias.cols());
  const ef::DenseBias<Scalar> dense(ef::strided_view(bias),
                                    ef::TensorView<Scalar>(d_bias.data(), {bias.rows(), bias.cols()}));
  const NaiveResults expected =
      batch.check(type + " attention with a dense bias", dense, [&](const Pair& at, double s) {
        return NaiveScored{!hides(at.row, at.key), s + finite(at.row, at.key), 1};
      });
  report(type + " attention with a dense bias, d_bias", error_of(d_bias, expected.d_bias), roundings<Scalar>(3000));

  batch.check(type + " attention with capped scores", ef::combine(ef::SoftCap(2), ef::SlidingWindow(30)),
              [](const Pair& at, double s) {
                const double t = std::tanh(s / 2);
                return NaiveScored{std::abs(at.key - at.query) < 30, 2 * t, 1 - t * t};
              });
  batch.check(
      type + " attention with a function for a score",
      ef::combine(ef::score([](auto s, const ef::ScorePosition&) { return ef::tanh(s) + ef::exp(-ef::abs(s)); }),
                  ef::Causal{}),
      [](const Pair& at, double s) {
        const double t = std::tanh(s), e = std::exp(-std::abs(s));
        return NaiveScored{at.key <= at.query, t + e, 1 - t * t - (s < 0 ? -e : e)};
      });
}

/// What is hidden does not matter, whatever it is; with -ffinite-math-only, if it is a number (see README.md).
template <class Scalar>
void check_hidden(const std::string& type) {
  const std::string name = type + " attention past ";
  Batch<Scalar> batch;
  const auto may_attend = [](Index, Index key) { return key % 3 != 2; };
  const ef::DenseMask mask(Matrix<bool>::NullaryExpr(batch.q.rows(), 300, may_attend));
  const Matrix<Scalar> expected = ef::attention(batch.q, batch.k, batch.v, mask, batch.options);
  const auto hide = [&](const std::string& what, Scalar number) {
    for (Index s = 0; s < batch.options.key_rows.sequences(); ++s)
      for (Index j = 2; j < batch.options.key_rows.length(s); j += 3) {
        batch.k.row(batch.options.key_rows.begin(s) + j).setConstant(number);
        batch.v.row(batch.options.key_rows.begin(s) + j).setConstant(number);
      }
    const Matrix<Scalar> out = ef::attention(batch.q, batch.k, batch.v, mask, batch.options);
    report(name + what, error_of(out, expected), roundings<Scalar>(100));
  };
  hide("large numbers", Scalar(1e18));
#if !defined(__FINITE_MATH_ONLY__) || !__FINITE_MATH_ONLY__
  hide("NaN", std::numeric_limits<Scalar>::quiet_NaN());
  hide("infinity", std::numeric_limits<Scalar>::infinity());
#endif
}

// --- Functions of one number, and of a row ---------------------------------------------------------------------------

template <class Scalar>
void check_functions(const std::string& type) {
  constexpr Index lanes = ef::simd::lanes<Scalar>, count = 1 << 14;
  Matrix<Scalar> x(1, count);
  for (Index i = 0; i < count; ++i) x(0, i) = static_cast<Scalar>(-80 + 160.0 * static_cast<double>(i) / count);
  const Matrix<double> exact = x.template cast<double>();
  const auto relative = [&](const std::string& name, const Matrix<Scalar>& y, auto function, double most) {
    const Matrix<double> ratio = exact.unaryExpr([&](double number) { return 1 / function(number); });
    report(type + " " + name, error_of(y.template cast<double>().cwiseProduct(ratio), Matrix<double>::Ones(1, count)),
           roundings<Scalar>(most));
  };
  Matrix<Scalar> y(1, count);
  for (Index i = 0; i < count; i += lanes) ef::simd::store(&y(0, i), ef::simd::exp2<Scalar>(ef::simd::load(&x(0, i))));
  relative(
      "exp2", y, [](double number) { return std::exp2(number); }, 90);  // 3 + |x|: see exp2_each
  relative(
      "exp", x.unaryExpr([](Scalar number) { return ef::exp(number); }), [](double n) { return std::exp(n); }, 6);
  const auto derivative_of_exp = [](Scalar number) { return exp(ef::Dual<Scalar>(number, 1)).derivative; };
  relative(
      "derivative of exp", x.unaryExpr(derivative_of_exp), [](double n) { return std::exp(n); }, 6);
  const auto close = [&](const std::string& name, const Matrix<Scalar>& z, auto function) {
    report(type + " " + name, error_of(z, exact.unaryExpr(function)), roundings<Scalar>(20));
  };
  close("tanh", x.unaryExpr([](Scalar number) { return ef::tanh(number); }), [](double n) { return std::tanh(n); });
  for (Index i = 0; i < count; i += lanes) ef::simd::store(&y(0, i), ef::simd::tanh<Scalar>(ef::simd::load(&x(0, i))));
  close("tanh of packets", y, [](double n) { return std::tanh(n); });
  const auto logistic = [](double n) { return 1 / (1 + std::exp(-n)); };
  close("sigmoid", ef::sigmoid(x), logistic);
  close("silu", ef::silu(x), [=](double n) { return n * logistic(n); });
  close("gelu", ef::gelu(x), [](double n) { return n * std::erfc(-n / std::sqrt(2.0)) / 2; });
  close("gelu_tanh", ef::gelu_tanh(x),
        [](double n) { return n * (1 + std::tanh(0.79788456080286536 * (n + 0.044715 * n * n * n))) / 2; });
}

template <class Scalar>
void check_rows(const std::string& type) {
  ef::Rng rng(3);
  Matrix<Scalar> x = random_matrix<Scalar>(9, 70, rng, 5);
  const Matrix<double> exact = x.template cast<double>();
  x.row(4).setConstant(ef::hidden_score<Scalar>);  // of which softmax gives zeros
  x.row(5).head(40).setConstant(ef::hidden_score<Scalar>);
  Matrix<double> softmax = exact.array().exp();
  softmax.row(4).setZero();
  softmax.row(5).head(40).setZero();
  std::vector<ef::Token> labels(9, 41);
  labels[4] = -100;
  double loss = 0;
  for (Index i = 0; i < 9; ++i) {
    if (i == 4) continue;
    softmax.row(i) /= softmax.row(i).sum();
    loss -= std::log(softmax(i, 41)) / 8;
  }
  const double few = roundings<Scalar>(50);
  report(type + " softmax", error_of(ef::softmax(x), softmax), few);
  report(type + " log_softmax", error_of(ef::log_softmax(x).array().exp().matrix(), softmax), few);
  report(type + " cross entropy", std::abs(static_cast<double>(ef::cross_entropy(x, labels)) - loss), few * loss);

  const Matrix<Scalar> far = exact.cast<Scalar>().array() + 1000, ones = Matrix<Scalar>::Ones(1, 70);
  const Matrix<double> exact_far = far.template cast<double>();
  Matrix<double> normed = exact_far, by_root = exact_far;
  for (Index i = 0; i < 9; ++i) {
    normed.row(i).array() -= exact_far.row(i).mean();
    normed.row(i) /= std::sqrt(normed.row(i).squaredNorm() / 70 + 1e-5);
    by_root.row(i) /= std::sqrt(exact_far.row(i).squaredNorm() / 70 + 1e-5);
  }
  report(type + " layer norm", error_of(ef::layer_norm(far, ones, Matrix<Scalar>::Zero(1, 70)), normed), 20 * few);
  report(type + " RMS norm", error_of(ef::rms_norm(far, ones), by_root), few);
}

template <class Scalar>
void check_additive_attention(const std::string& type) {
  ef::Rng rng(4);
  const auto q = random_matrix<Scalar>(5, 21, rng), k = random_matrix<Scalar>(8, 21, rng),
             v = random_matrix<Scalar>(1, 21, rng), values = random_matrix<Scalar>(8, 6, rng);
  Matrix<double> expected(5, 6);
  for (Index i = 0; i < 5; ++i) {
    Matrix<double> weights(1, 8);
    for (Index j = 0; j < 8; ++j) {
      const Matrix<double> sum = (q.row(i) + k.row(j)).template cast<double>();
      weights(0, j) = std::exp((sum.array().tanh() * v.template cast<double>().array()).sum());
    }
    expected.row(i) = weights / weights.sum() * values.template cast<double>();
  }
  report(type + " additive attention", error_of(ef::additive_attention(q, k, v, values), expected),
         roundings<Scalar>(100));
}

template <class Scalar>
void check_functions_and_rows(const std::string& type) {
  check_functions<Scalar>(type);
  check_rows<Scalar>(type);
  check_additive_attention<Scalar>(type);
}

}  // namespace

int main() {
  check_masks<float>("float");
  check_biases<float>("float");
  check_hidden<float>("float");
  check_functions_and_rows<float>("float");
  check_functions_and_rows<double>("double");
  if (failures == 0) std::puts("all as it should be");
  return failures == 0 ? 0 : 1;
}
