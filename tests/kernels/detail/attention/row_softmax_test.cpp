#include "eigenformer/kernels/detail/attention/row_softmax.hpp"

#include <cmath>

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
namespace simd = eigenformer::simd;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEMPLATE_TEST_CASE_SIG("one query's softmax over keys that come in tiles is softmax over all of them", "[kernels]",
                       ((class Scalar, bool in_base_2), Scalar, in_base_2), (float, false), (float, true),
                       (double, false), (double, true)) {
  constexpr Index lanes = simd::lanes<Scalar>;
  const std::uint64_t seed = 41;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const double scale : {1.0, 100.0})
    for (const std::vector<Index>& tiles : std::vector<std::vector<Index>>{{1}, {lanes}, {3, 17, 1}, {64, 5}}) {
      detail::RowSoftmax<Scalar, in_base_2> softmax;
      Matrix<Scalar> result = Matrix<Scalar>::Zero(1, 1);
      std::vector<double> scores;
      double largest = -std::numeric_limits<double>::infinity(), sum = 0, expected = 0;
      std::vector<double> values;
      for (const Index tile : tiles) {
        const Index whole = (tile + lanes - 1) / lanes * lanes;
        Matrix<Scalar> weights = Matrix<Scalar>::Constant(1, whole, ef::hidden_score<Scalar>);
        weights.leftCols(tile) = random_matrix<Scalar>(1, tile, rng, scale);
        if (tile > 1) weights(0, 0) = ef::hidden_score<Scalar>;
        for (Index j = 0; j < tile; ++j) {
          scores.push_back(static_cast<double>(weights(0, j)));
          values.push_back(static_cast<double>(j) + 1);
          largest = std::max(largest, scores.back());
        }
        if (in_base_2) weights *= detail::log2_e<Scalar>;
        softmax.add(tile, weights.data(), 1, result.data());
        for (Index j = 0; j < tile; ++j) result(0, 0) += weights(0, j) * static_cast<Scalar>(j + 1);
        CHECK((weights.rightCols(whole - tile).array() == 0).all());
      }
      for (std::size_t j = 0; j < scores.size(); ++j) {
        sum += std::exp(scores[j] - largest);
        expected += std::exp(scores[j] - largest) * values[j];
      }
      const double tolerance = scale * rounding<Scalar>(64);
      CHECK(std::abs(static_cast<double>(result(0, 0) / softmax.sum()) - expected / sum) < 64 * tolerance);
      CHECK(std::abs(static_cast<double>(softmax.log_sum_exp()) - (largest + std::log(sum))) < tolerance);
    }
}

TEST_CASE("a query that sees nothing has a sum of zero, and minus infinity for its logarithm", "[kernels]") {
  detail::RowSoftmax<float, true> softmax;
  Matrix<float> scores = Matrix<float>::Constant(1, simd::lanes<float>, ef::hidden_score<float>);
  Matrix<float> result = Matrix<float>::Zero(1, 1);
  softmax.add(1, scores.data(), 1, result.data());
  CHECK(softmax.sum() == 0);
  CHECK(softmax.log_sum_exp() == ef::hidden_score<float>);
  CHECK((scores.array() == 0).all());
}
