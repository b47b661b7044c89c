#include "eigenformer/kernels/detail/attention/head_rows.hpp"

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEST_CASE("heads are column blocks of a matrix in any layout", "[kernels]") {
  ef::Rng rng(1);
  const Matrix<double> m = random_matrix<double>(5, 6, rng);
  const Eigen::MatrixXd by_columns = m;
  for (const auto& heads :
       {detail::head_columns(ef::strided_view(m), 3), detail::head_columns(ef::strided_view(by_columns), 3)}) {
    CHECK(heads.width == 2);
    for (Index head = 0; head < 3; ++head)
      for (Index row = 0; row < 5; ++row) {
        CHECK(*heads.row(head, row) == m(row, 2 * head));
        CHECK(heads.from(head, row)(0, 1) == m(row, 2 * head + 1));
      }
  }
  Matrix<double> written = m;
  ef::MatrixRef<double> block = written.middleCols(2, 4);
  const auto heads = detail::head_columns(block, 2);
  heads.row(1, 3)[1] = 77;
  CHECK(written(3, 5) == 77);
}
