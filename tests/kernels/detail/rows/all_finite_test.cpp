#include "eigenformer/kernels/detail/rows/all_finite.hpp"

#include <limits>

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEMPLATE_TEST_CASE("an infinite or undefined entry is found wherever it is", "[kernels]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  ef::Rng rng(1);
  for (const Index rows : {0, 1, 2, 5})
    for (const Index cols : {0, 1, 3, 4, 8, 16, 17, 37}) {
      CAPTURE(rows, cols);
      Matrix<TestType> memory = Matrix<TestType>::Constant(rows, cols + 2, Limits::quiet_NaN());  // beside it
      auto m = memory.leftCols(cols);
      m = random_matrix<TestType>(rows, cols, rng) * (Limits::max() / 16);
      const auto finite = [&] {
        const ef::detail::Strided<TestType> by_rows{memory.data(), cols + 2, 1};
        const bool along_rows = ef::detail::all_finite(by_rows, rows, cols);
        CHECK(ef::detail::all_finite(transposed(by_rows), cols, rows) == along_rows);
        Matrix<TestType> spread = Matrix<TestType>::Constant(2 * rows, 2 * cols, Limits::quiet_NaN());
        for (Index i = 0; i < rows; ++i)
          for (Index j = 0; j < cols; ++j) spread(2 * i, 2 * j) = m(i, j);
        CHECK(ef::detail::all_finite(ef::detail::Strided<TestType>{spread.data(), 4 * cols, 2}, rows, cols) ==
              along_rows);
        return along_rows;
      };
      CHECK(finite());
      for (Index i = 0; i < rows; ++i)
        for (Index j = 0; j < cols; ++j)
          for (const TestType bad : {Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity()}) {
            const TestType good = m(i, j);
            m(i, j) = bad;
            CHECK_FALSE(finite());
            m(i, j) = good;
          }
    }
}
