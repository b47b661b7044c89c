// How near attention in float is to attention in double, and that it is as near as with the n x n weights in memory.
#include "eigenformer/kernels/attention_backward.hpp"
#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

// Attention and its gradients as the formulas stand, with all weights in memory.
template <class Scalar>
struct Materialised {
  Matrix<Scalar> out, d_q, d_k, d_v;

  Materialised(const Matrix<Scalar>& q, const Matrix<Scalar>& k, const Matrix<Scalar>& v, const Matrix<Scalar>& d_out) {
    const Scalar scale = 1 / std::sqrt(static_cast<Scalar>(q.cols()));
    Matrix<Scalar> weights = scale * (q * k.transpose());
    for (Index i = 0; i < weights.rows(); ++i) {
      weights.row(i) = (weights.row(i).array() - weights.row(i).maxCoeff()).exp();
      weights.row(i) /= weights.row(i).sum();
    }
    out = weights * v;
    d_v = weights.transpose() * d_out;
    Matrix<Scalar> d_weights = d_out * v.transpose();
    for (Index i = 0; i < weights.rows(); ++i)
      d_weights.row(i) =
          weights.row(i).array() * (d_weights.row(i).array() - weights.row(i).dot(d_weights.row(i))) * scale;
    d_q = d_weights * k;
    d_k = d_weights.transpose() * q;
  }
};

struct AttentionInputs {
  Matrix<float> q, k, v, d_out;
  AttentionInputs(Index queries, Index keys, Index width, double size, ef::Rng& rng)
      : q(random_matrix<float>(queries, width, rng, size)),
        k(random_matrix<float>(keys, width, rng, size)),
        v(random_matrix<float>(keys, width, rng, size)),
        d_out(random_matrix<float>(queries, width, rng)) {}
  Materialised<double> in_double() const {
    return {q.cast<double>(), k.cast<double>(), v.cast<double>(), d_out.cast<double>()};
  }
};

struct Given {
  Matrix<float> out, log_sum_exp, d_q, d_k, d_v;
  explicit Given(const AttentionInputs& in)
      : out(in.q.rows(), in.v.cols()),
        log_sum_exp(in.q.rows(), 1),
        d_q(in.q.rows(), in.q.cols()),
        d_k(in.k.rows(), in.k.cols()),
        d_v(in.v.rows(), in.v.cols()) {
    const auto q = ef::strided_view(in.q), k = ef::strided_view(in.k), v = ef::strided_view(in.v);
    ef::attention_forward<float>({q, k, v}, ef::Unmasked{}, {}, {out, log_sum_exp});
    ef::attention_backward<float>({q, k, v}, ef::Unmasked{}, {}, {out, log_sum_exp}, in.d_out, {d_q, d_k, d_v});
  }
};

double error(const Matrix<float>& given, const Matrix<double>& expected) {
  return (given.cast<double>() - expected).cwiseAbs().maxCoeff();
}

}  // namespace

TEST_CASE("attention in float is within 2e-6 of double for inputs of size 1, its gradients within 1e-5", "[kernels]") {
  const std::uint64_t seed = 21;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto check_errors = [&](Index queries, Index keys, Index width) {
    CAPTURE(queries, keys, width);
    const AttentionInputs in(queries, keys, width, 1, rng);
    const Materialised<double> expected = in.in_double();
    const Given given(in);
    CHECK(error(given.out, expected.out) < 2e-6);
    CHECK(error(given.d_q, expected.d_q) < 1e-5);
    CHECK(error(given.d_k, expected.d_k) < 1e-5);
    CHECK(error(given.d_v, expected.d_v) < 1e-5);
  };
  check_errors(64, 64, 32);
  check_errors(128, 128, 64);
  check_errors(512, 512, 64);
  check_errors(1024, 1024, 128);
  check_errors(1, 8192, 64);  // of a long sequence, some queries
  check_errors(40, 8192, 64);
}

TEST_CASE("for larger inputs attention's error is that of weights in memory", "[kernels]") {
  const std::uint64_t seed = 22;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const double size : {3.0, 10.0, 30.0}) {
    CAPTURE(size);
    // The largest error is that of the one query with two keys nearest to a tie: at size 30 it is now a fifth and now
    // five times the other's. The median of the ratios is near 1.1.
    std::vector<double> ratios;
    for (int draw = 0; draw < 15; ++draw) {
      const AttentionInputs in(128, 256, 64, size, rng);
      const Materialised<double> expected = in.in_double();
      const Materialised<float> in_memory(in.q, in.k, in.v, in.d_out);
      ratios.push_back(error(Given(in).out, expected.out) / error(in_memory.out, expected.out));
    }
    std::sort(ratios.begin(), ratios.end());
    CHECK(ratios[7] < 1.5);
  }
}
