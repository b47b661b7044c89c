#include "eigenformer/kernels/detail/gemm/register_tile.hpp"

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
namespace simd = eigenformer::simd;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEMPLATE_TEST_CASE("a product of any number of rows and packets is near its definition, and writes nothing else",
                   "[kernels]", float, double) {
  constexpr Index lanes = simd::lanes<TestType>;
  const std::uint64_t seed = 7;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (Index packets = 1; packets <= 8; ++packets)
    for (Index rows = 1; rows <= 25; ++rows)
      for (const Index depth : {1, 2, 7, 40}) {
        CAPTURE(packets, rows, depth);
        const Index cols = packets * lanes;
        const auto a = random_matrix<TestType>(rows, depth, rng);
        const auto b = random_matrix<TestType>(depth, cols + 3, rng);
        const auto bias = random_matrix<TestType>(1, cols, rng);
        const Matrix<double> product = a.template cast<double>() * b.leftCols(cols).template cast<double>();
        const double most = rounding<TestType>(4 * static_cast<double>(depth) + 4);
        Surrounded<TestType> c(Matrix<TestType>::Constant(rows, cols, 5));
        const detail::Strided<TestType> left{a.data(), depth, 1};
        const auto multiply = [&](const detail::ContiguousRows<const TestType>& start, TestType* largest = nullptr) {
          detail::multiply_packets<TestType>({.rows = rows,
                                              .cols = cols,
                                              .depth = depth,
                                              .a = left,
                                              .b = {b.data(), cols + 3},
                                              .start = start,
                                              .c = {c.inside().data(), c.inside().outerStride()}},
                                             largest);
        };
        multiply({});
        CHECK(max_error(c.inside(), product) < most);
        const Matrix<TestType> once = c.inside();
        // The largest of every column, of what was noted before too.
        const auto before = random_matrix<TestType>(1, cols, rng);
        Surrounded<TestType> largest(before);
        multiply({}, largest.inside().data());
        CHECK(identical<TestType>(largest.inside(), before.cwiseMax(once.colwise().maxCoeff())));
        CHECK(identical<TestType>(c.inside(), once));
        CHECK(largest.rest_is_untouched());
        multiply({c.inside().data(), c.inside().outerStride()});
        CHECK(max_error(c.inside(), 2 * product) < 2 * most);
        multiply({bias.data(), 0});
        CHECK(max_error(c.inside(), product.rowwise() + bias.template cast<double>().row(0)) < most);
        CHECK(c.rest_is_untouched());

        // From A's transpose where it lies, to the last bit; and a row alone.
        const Matrix<TestType> a_transpose = a.transpose();
        Matrix<TestType> again(rows, cols);
        const auto multiply_some = [&](Index some, const detail::Strided<TestType>& x, TestType* to) {
          detail::multiply_packets<TestType>({.rows = some,
                                              .cols = cols,
                                              .depth = depth,
                                              .a = x,
                                              .b = {b.data(), cols + 3},
                                              .start = {},
                                              .c = {to, cols}});
        };
        multiply_some(rows, {a_transpose.data(), 1, rows}, again.data());
        CHECK(identical<TestType>(again, once));
        for (Index i = 0; i < rows; ++i) multiply_some(1, left.from_row(i), again.data() + i * cols);
        CHECK(identical<TestType>(again, once));
      }
}
