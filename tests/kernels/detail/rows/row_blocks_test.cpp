#include "eigenformer/kernels/detail/rows/row_blocks.hpp"

#include <atomic>
#include <limits>
#include <vector>

#include "eigenformer/core/thread_pool.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;

TEST_CASE("every row has its turn once", "[kernels][threads]") {
  ef::ThreadPool pool(3);
  for (const Index cols : {0, 1, 100, 100000}) {
    std::vector<std::atomic<int>> turns(1000);
    ef::detail::for_each_row(&pool, 1000, cols, [&](Index i) { ++turns[static_cast<std::size_t>(i)]; });
    CHECK(std::all_of(turns.begin(), turns.end(), [](int n) { return n == 1; }));
  }
}

TEST_CASE("sums over rows are the same for any number of threads", "[kernels][threads]") {
  const auto seed = GENERATE(1U, 2U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Index rows : {0, 1, 5, 200, 20000}) {
    CAPTURE(rows);
    const Index cols = 37;
    const auto x = ef::testing::random_matrix<float>(rows, cols, rng);
    const auto sums = [&](ef::Threads* threads) {
      Matrix<float> s = Matrix<float>::Constant(2, cols, 99);
      ef::detail::sum_over_rows<float, 2>(threads, rows, cols, {&s(0, 0), &s(1, 0)},
                                          [&](Index begin, Index end, const std::array<float*, 2>& into) {
                                            for (Index i = begin; i < end; ++i)
                                              for (Index j = 0; j < cols; ++j) {
                                                into[0][j] += x(i, j);
                                                into[1][j] += x(i, j) * x(i, j);
                                              }
                                          });
      return s;
    };
    const Matrix<float> alone = sums(nullptr);
    ef::ThreadPool pool(3);
    CHECK((sums(&pool).array() == alone.array()).all());
    Eigen::RowVectorXd sum = Eigen::RowVectorXd::Zero(cols);
    Eigen::RowVectorXd squares = sum;
    for (Index i = 0; i < rows; ++i) {
      sum += x.row(i).cast<double>();
      squares += x.row(i).cast<double>().cwiseAbs2();
    }
    const double most = 1e-6 * static_cast<double>(rows);
    CHECK((alone.row(0).cast<double>() - sum).cwiseAbs().maxCoeff() <= most);
    CHECK((alone.row(1).cast<double>() - squares).cwiseAbs().maxCoeff() <= most);
  }
}

TEMPLATE_TEST_CASE("the rounding errors of many rows do not add up", "[kernels]", float, double) {
  const Index rows = 1'000'003, cols = 3;
  const Matrix<TestType> x = Matrix<TestType>::Constant(rows, cols, TestType(0.1));
  const double expected = static_cast<double>(rows) * static_cast<double>(TestType(0.1));
  const double tolerance = 256 * expected * static_cast<double>(std::numeric_limits<TestType>::epsilon());
  Matrix<TestType> sums = Matrix<TestType>::Constant(2, cols, 99);
  ef::detail::sum_rows(x.data(), x.outerStride(), rows, cols, &sums(0, 0));
  ef::detail::sum_over_rows<TestType, 1>(nullptr, rows, cols, {&sums(1, 0)},
                                         [&](Index begin, Index end, const std::array<TestType*, 1>& into) {
                                           for (Index i = begin; i < end; ++i)
                                             for (Index j = 0; j < cols; ++j) into[0][j] += x(i, j);
                                         });
  CHECK((sums.template cast<double>().array() - expected).abs().maxCoeff() <= tolerance);
}

TEST_CASE("rows are summed in strips of columns", "[kernels]") {
  const auto seed = GENERATE(3U, 4U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Index rows : {0, 1, 255, 256, 257, 700})
    for (const Index cols : {1, 63, 64, 65, 200}) {
      CAPTURE(rows, cols);
      const auto x = ef::testing::random_matrix<float>(rows, cols, rng);
      Matrix<float> sum = Matrix<float>::Constant(1, cols, 99);
      ef::detail::sum_rows(x.data(), x.outerStride(), rows, cols, sum.data());
      const Eigen::RowVectorXd expected = x.cast<double>().colwise().sum();
      CHECK((sum.cast<double>() - expected).cwiseAbs().maxCoeff() <= 256 * 1e-6);
    }
}
