#include "eigenformer/kernels/detail/attention/online_softmax.hpp"

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
namespace simd = eigenformer::simd;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEMPLATE_TEST_CASE_SIG("softmax over keys that come in tiles is softmax over all of them", "[kernels]",
                       ((class Scalar, bool in_base_2), Scalar, in_base_2), (float, false), (float, true),
                       (double, false), (double, true)) {
  constexpr Index n = detail::block_queries<Scalar>;
  ef::Rng rng(1);
  for (const double scale : {1.0, 100.0})
    for (const std::vector<Index>& tiles : std::vector<std::vector<Index>>{{1}, {2}, {7}, {1, 1}, {5, 8, 1, 30}}) {
      Index keys = 0;
      for (const Index tile : tiles) keys += tile;
      CAPTURE(scale, keys, tiles.size());
      // Queries in columns, as the kernel has them. Some keys are hidden from some, and query 1 sees nothing.
      Matrix<Scalar> scores = random_matrix<Scalar>(keys, n, rng, scale);
      for (Index j = 0; j < keys; j += 3) scores(j, 0) = ef::hidden_score<Scalar>;
      scores.col(1).setConstant(ef::hidden_score<Scalar>);
      const Matrix<Scalar> values = random_matrix<Scalar>(keys, 3, rng);

      Matrix<double> expected = Matrix<double>::Zero(3, n);
      Matrix<double> log_sum_exp = Matrix<double>::Constant(1, n, ef::hidden_score<double>);
      for (Index i = 0; i < n; ++i) {
        const Eigen::VectorXd s = scores.col(i).template cast<double>();
        if (s.maxCoeff() == ef::hidden_score<double>) continue;
        Eigen::VectorXd weights(keys);
        for (Index j = 0; j < keys; ++j) weights[j] = std::exp(s[j] - s.maxCoeff());
        log_sum_exp(0, i) = s.maxCoeff() + std::log(weights.sum());
        expected.col(i) = values.template cast<double>().transpose() * (weights / weights.sum());
      }

      detail::OnlineSoftmax<Scalar, in_base_2> softmax;
      softmax.begin();
      Matrix<Scalar> results = Matrix<Scalar>::Zero(3, n);
      Index first = 0;
      for (const Index tile : tiles) {
        Matrix<Scalar> weights = scores.middleRows(first, tile);
        if (in_base_2) weights *= detail::log2_e<Scalar>;
        // A tile whose first packet of queries is another part, with half of the keys in a part of their own.
        std::vector<detail::TilePart> parts;
        const Index packets = n / simd::lanes<Scalar>, half = tile / 2;
        for (const auto& [key, count] : {std::pair{Index{0}, half}, std::pair{half, tile - half}})
          if (count > 0) {
            parts.push_back({{}, ef::Visible::some, key, count, 0, 1});
            if (packets > 1) parts.push_back({{}, ef::Visible::some, key, count, 1, packets - 1});
          }
        Matrix<Scalar> largest = Matrix<Scalar>::Constant(1, n, ef::hidden_score<Scalar>);
        for (const detail::TilePart& part : parts) {
          const Index lane = part.packet * simd::lanes<Scalar>;
          detail::note_largest(part.keys, part.packets, weights.data() + part.key * n + lane, largest.data() + lane);
        }
        CHECK(identical<Scalar>(largest, weights.colwise().maxCoeff()));
        softmax.add(parts, weights.data(), largest.data(), 3, results.data());
        results += values.middleRows(first, tile).transpose() * weights;
        first += tile;
      }
      CHECK(softmax.finish(3, results.data()));
      // A weight's error is its score's rounding.
      CHECK(max_error(results, expected) < scale * rounding<Scalar>(64));
      CHECK((results.col(1).array() == 0).all());
      Matrix<Scalar> given(1, n);
      softmax.log_sum_exp(given.data());
      CHECK(max_error(given, log_sum_exp) < rounding<Scalar>(16));
    }
}

TEMPLATE_TEST_CASE("a result that is no number shows", "[kernels]", float, double) {
  constexpr Index n = detail::block_queries<TestType>;
  for (const TestType bad :
       {std::numeric_limits<TestType>::quiet_NaN(), std::numeric_limits<TestType>::infinity(), TestType(3)}) {
    detail::OnlineSoftmax<TestType, true> softmax;
    softmax.begin();
    Matrix<TestType> scores = Matrix<TestType>::Zero(1, n), results = Matrix<TestType>::Zero(5, n);
    const std::vector<detail::TilePart> parts{{{}, ef::Visible::all, 0, 1, 0, n / simd::lanes<TestType>}};
    softmax.add(parts, scores.data(), scores.data(), 5, results.data());
    results(4, n - 1) = bad;
    CHECK(softmax.finish(5, results.data()) == (bad == TestType(3)));
  }
}
