#include "eigenformer/kernels/detail/attention/result_rows.hpp"

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEMPLATE_TEST_CASE("rows of results are stored, and nothing beside them", "[kernels]", float, double) {
  constexpr Index n = detail::block_queries<TestType>;
  ef::Rng rng(2);
  for (Index width = 0; width <= 2 * n + 1; ++width)
    for (Index count = 1; count <= n; ++count) {
      CAPTURE(width, count);
      const Matrix<TestType> results = random_matrix<TestType>(width, n, rng);
      Matrix<TestType> rows = Matrix<TestType>::Constant(count + 1, width + 2, 77);
      detail::store_rows(results.data(), width, count, rows.data() + 1, rows.cols());
      CHECK(rows.block(0, 1, count, width) == results.leftCols(count).transpose());
      rows.block(0, 1, count, width).setConstant(77);
      CHECK((rows.array() == TestType(77)).all());
    }
}

TEMPLATE_TEST_CASE("rows are added to, and nothing beside them", "[kernels]", float, double) {
  constexpr Index n = detail::block_queries<TestType>;
  ef::Rng rng(3);
  for (Index width = 0; width <= 2 * n + 1; ++width)
    for (Index count = 1; count <= n; ++count) {
      CAPTURE(width, count);
      const Matrix<TestType> added = random_matrix<TestType>(width, n, rng);
      Matrix<TestType> rows = Matrix<TestType>::Constant(count + 1, width + 2, 77);
      const Matrix<TestType> before = random_matrix<TestType>(count, width, rng);
      rows.block(0, 1, count, width) = before;
      detail::add_rows(added.data(), width, count, rows.data() + 1, rows.cols());
      CHECK(identical<TestType>(rows.block(0, 1, count, width), before + added.leftCols(count).transpose()));
      rows.block(0, 1, count, width).setConstant(77);
      CHECK((rows.array() == TestType(77)).all());
    }
}
