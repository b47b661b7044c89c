#include "eigenformer/kernels/detail/convolution/taps.hpp"

#include <array>
#include <vector>

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;

TEST_CASE("rows are cut where their sequences end", "[kernels]") {
  using Part = std::array<Index, 3>;
  const ef::RowOffsets rows{0, 2, 2, 5, 9};
  std::vector<Part> parts;
  detail::for_each_part(rows, 1, 7, [&](Index sequence, Index first, Index end) {
    if (first < end) parts.push_back({sequence, first, end});
  });
  CHECK(parts == std::vector<Part>{{0, 1, 2}, {2, 2, 5}, {3, 5, 7}});
}

TEMPLATE_TEST_CASE("unfolded rows have what each tap reads beside each other", "[kernels]", float, double) {
  ef::Rng rng(4);
  const auto x = ef::testing::random_matrix<TestType>(5, 2, rng);
  const detail::TappedRows<TestType> tapped{x, {0, 2, 5}, {3, -1, 1}};
  const Index width = detail::padded<TestType>(6);
  Matrix<TestType> panel = Matrix<TestType>::Constant(5, width, 9);
  detail::pack_unfolded<TestType>(tapped, 0, 5, 0, 6, {panel.data(), width});
  Matrix<TestType> expected = Matrix<TestType>::Zero(5, 6);
  for (const Index i : {0, 1, 2, 3, 4}) expected.block(i, 2, 1, 2) = x.row(i);
  for (const Index i : {1, 3, 4}) expected.block(i, 0, 1, 2) = x.row(i - 1);
  for (const Index i : {0, 2, 3}) expected.block(i, 4, 1, 2) = x.row(i + 1);
  CHECK(panel.leftCols(6) == expected);
  CHECK(panel.rightCols(width - 6).isZero(0));
}
