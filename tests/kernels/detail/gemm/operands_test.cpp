#include "eigenformer/kernels/detail/gemm/operands.hpp"

#include "support/catch.hpp"

namespace detail = eigenformer::detail;

TEST_CASE("strided matrices are read by their strides", "[kernels]") {
  const double numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const detail::Strided<double> m{numbers, 6, 2};
  CHECK(m(0, 0) == 0);
  CHECK(m(1, 2) == 10);
  CHECK(m.from(1, 1)(0, 1) == 10);
  CHECK(m.from_row(1)(0, 2) == 10);
  CHECK(detail::transposed(m)(2, 1) == 10);
  CHECK(detail::transposed(m.from(0, 1)).from(1, 0)(0, 1) == 10);
}

TEST_CASE("contiguous rows begin where their stride says, and none begin nowhere", "[kernels]") {
  double numbers[24] = {};
  const detail::ContiguousRows<double> rows{numbers, 5};
  CHECK(rows.row(2) == numbers + 10);
  CHECK(rows.from(1, 3).row(1) == numbers + 13);
  CHECK(detail::ContiguousRows<double>{numbers, 0}.row(7) == numbers);
  CHECK(detail::ContiguousRows<double>{nullptr, 3}.from(4, 4).data == nullptr);
}
