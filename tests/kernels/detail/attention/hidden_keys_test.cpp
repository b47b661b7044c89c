#include "eigenformer/kernels/detail/attention/hidden_keys.hpp"

#include <limits>

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEST_CASE("scores are copied only where hidden keys are skipped", "[kernels]") {
  Matrix<float> scores = Matrix<float>::Constant(3, 4, 7);
  const detail::ScoresBefore<float> before(detail::HiddenKeys::skipped, scores.data(), scores.size());
  scores.setZero();
  REQUIRE(before.data() != nullptr);
  for (Index i = 0; i < scores.size(); ++i) CHECK(before.data()[i] == 7);
  CHECK(detail::ScoresBefore<float>(detail::HiddenKeys::weighted_by_zero, scores.data(), 12).data() == nullptr);
}

TEMPLATE_TEST_CASE("values of hidden keys are left out, whatever they are", "[kernels]", float, double) {
  constexpr Index n = detail::block_queries<TestType>, lanes = ef::simd::lanes<TestType>;
  const std::uint64_t seed = 31;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Index keys : {1, 5, 17})
    for (const Index width : {1, 3, 16}) {
      CAPTURE(keys, width);
      Matrix<TestType> scores = random_matrix<TestType>(keys, n, rng);
      Matrix<TestType> weights = random_matrix<TestType>(keys, n, rng);
      Matrix<TestType> values = random_matrix<TestType>(keys, width, rng);
      scores.row(keys / 2).setConstant(ef::hidden_score<TestType>);
      weights.row(keys / 2).setZero();
      const Matrix<TestType> start = random_matrix<TestType>(width, n, rng);
      const Matrix<double> expected =
          start.template cast<double>() + values.transpose().template cast<double>() * weights.template cast<double>();
      values.row(keys / 2).setConstant(std::numeric_limits<TestType>::quiet_NaN());
      Matrix<TestType> results = start;
      const detail::TilePart part{{}, ef::Visible::some, 0, keys, 0, n / lanes};
      detail::add_visible_values<TestType>(part, scores.data(), weights.data(), {values.data(), width, 1}, width,
                                           results.data());
      CHECK(max_error(results, expected) < rounding<TestType>(4 * static_cast<double>(keys) + 4));
    }
}
