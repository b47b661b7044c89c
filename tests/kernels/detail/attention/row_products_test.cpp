#include "eigenformer/kernels/detail/attention/row_products.hpp"

#include <limits>
#include <vector>

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEMPLATE_TEST_CASE("products of rows with keys and values are near their definitions", "[kernels]", float, double) {
  constexpr Index lanes = ef::simd::lanes<TestType>;
  const std::uint64_t seed = 51;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Index rows : {1, 3})
    for (const Index keys : {1, 2, 7, 16, 17, 40})
      for (const Index packets : {1, 2, 3, 4, 9}) {
        CAPTURE(rows, keys, packets);
        const Index width = packets * lanes, whole = detail::padded<TestType>(keys);
        const auto q = random_matrix<TestType>(rows, width, rng);
        const auto k = random_matrix<TestType>(keys, width + 5, rng);
        Matrix<TestType> scores = Matrix<TestType>::Constant(rows, whole + lanes, 77);
        detail::multiply_by_keys<TestType>({q.data(), rows, packets}, keys, {k.data(), width + 5},
                                           {scores.data(), scores.cols()});
        const Matrix<double> expected =
            q.template cast<double>() * k.leftCols(width).transpose().template cast<double>();
        const double most = rounding<TestType>(4 * static_cast<double>(width) + 4);
        CHECK(max_error(scores.leftCols(keys), expected) < most);
        CHECK((scores.rightCols(lanes).array() == 77).all());

        // The weights of one row. Its first key is hidden, and that key's values are not numbers.
        Matrix<TestType> weights = scores.topLeftCorner(1, keys), values = k;
        Matrix<TestType> seen = Matrix<TestType>::Zero(1, keys), result = q.topRows(1);
        weights(0, 0) = 0;
        seen(0, 0) = ef::hidden_score<TestType>;
        const Matrix<double> sum = q.topRows(1).template cast<double>() +
                                   weights.template cast<double>() * values.leftCols(width).template cast<double>();
        values.row(0).setConstant(std::numeric_limits<TestType>::quiet_NaN());
        detail::add_values<TestType>(keys, packets, weights.data(), seen.data(), {values.data(), width + 5},
                                     result.data());
        const double size = 1 + weights.cwiseAbs().sum();
        CHECK(max_error(result, sum) < size * rounding<TestType>(4 * static_cast<double>(keys) + 4));
        result = q.topRows(1);
        detail::add_values<TestType>(keys, packets, weights.data(), nullptr, {k.data(), width + 5}, result.data());
        CHECK(max_error(result, sum) < size * rounding<TestType>(4 * static_cast<double>(keys) + 4));

        // Rows in the opposite order, picked by their numbers, give equal results.
        const Matrix<TestType> reversed = k.colwise().reverse();
        std::vector<Index> numbers(static_cast<std::size_t>(keys));
        for (Index i = 0; i < keys; ++i) numbers[static_cast<std::size_t>(i)] = keys - 1 - i;
        const detail::PacketRows<TestType> listed{reversed.data(), width + 5, numbers.data()};
        Matrix<TestType> listed_scores = Matrix<TestType>::Zero(rows, whole), listed_result = q.topRows(1);
        detail::multiply_by_keys<TestType>({q.data(), rows, packets}, keys, listed, {listed_scores.data(), whole});
        CHECK(listed_scores.leftCols(keys) == scores.leftCols(keys));
        detail::add_values<TestType>(keys, packets, weights.data(), nullptr, listed, listed_result.data());
        CHECK(listed_result == result);
      }
}
