#include "eigenformer/kernels/detail/gemm/product.hpp"

#include <limits>

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

// A matrix laid out by any strides among entries of 77, which must not be touched.
template <class Scalar>
class AnyStrides {
 public:
  AnyStrides(const Matrix<Scalar>& values, Index row_stride, Index col_stride)
      : memory_(Matrix<Scalar>::Constant(1,
                                         2 * margin + std::max<Index>(0, values.rows() - 1) * row_stride +
                                             std::max<Index>(0, values.cols() - 1) * col_stride + 1,
                                         77)),
        view_{memory_.data() + margin, row_stride, col_stride} {
    for (Index i = 0; i < values.rows(); ++i)
      for (Index j = 0; j < values.cols(); ++j) memory_(margin + i * row_stride + j * col_stride) = values(i, j);
  }
  const detail::Strided<Scalar>& view() const { return view_; }

 private:
  static constexpr Index margin = 3;
  Matrix<Scalar> memory_;
  detail::Strided<Scalar> view_;
};

template <class Scalar>
detail::Strided<Scalar> by_rows(const Matrix<Scalar>& m) {
  return {m.data(), m.cols(), 1};
}

// start + a b, summed in double, and the sum of its terms' sizes: what rounding is measured by.
struct Expected {
  Matrix<double> sum, size;
};
template <class Scalar>
Expected naive_product(const Matrix<Scalar>& a, const Matrix<Scalar>& b, const Matrix<Scalar>& start) {
  Expected expected{start.template cast<double>(), start.template cast<double>().cwiseAbs()};
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < b.cols(); ++j)
      for (Index k = 0; k < a.cols(); ++k) {
        const double term = static_cast<double>(a(i, k)) * static_cast<double>(b(k, j));
        expected.sum(i, j) += term;
        expected.size(i, j) += std::abs(term);
      }
  return expected;
}

// In units of what a chain of `depth` roundings may lose.
template <class Scalar>
double error_in_roundings(const Matrix<Scalar>& given, const Expected& expected, Index depth) {
  double largest = 0;
  for (Index i = 0; i < given.rows(); ++i)
    for (Index j = 0; j < given.cols(); ++j) {
      const double allowed = rounding<Scalar>(static_cast<double>(depth) + 1) * expected.size(i, j);
      const double error = std::abs(static_cast<double>(given(i, j)) - expected.sum(i, j));
      if (!(error <= allowed)) largest = std::max(largest, allowed > 0 ? error / allowed : 2.0);
    }
  return largest;
}

// c = a b, or bias + a b, by `threads`.
template <class Scalar>
void multiply_into(Eigen::Ref<Matrix<Scalar>> c, const detail::Strided<Scalar>& a, const detail::Strided<Scalar>& b,
                   Index depth, const Scalar* bias = nullptr, ef::Threads* threads = nullptr) {
  detail::multiply<Scalar>({.rows = c.rows(),
                            .cols = c.cols(),
                            .depth = depth,
                            .a = a,
                            .b = b,
                            .start = {bias, 0},
                            .c = {c.data(), c.outerStride()}},
                           threads);
}

}  // namespace

TEMPLATE_TEST_CASE("a product of any sizes is near its definition", "[kernels][threads]", float, double) {
  ef::Rng rng(1);
  for (const Index depth : {0, 1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 64, 100, 257})
    for (const Index rows : {0, 1, 2, 3, 5, 7, 8, 13, 17, 31})
      for (const Index cols : {0, 1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 64}) {
        CAPTURE(rows, cols, depth);
        const auto a = random_matrix<TestType>(rows, depth, rng);
        const auto b = random_matrix<TestType>(depth, cols, rng);
        const Matrix<TestType> nothing = Matrix<TestType>::Zero(rows, cols);
        Matrix<TestType> c = Matrix<TestType>::Constant(rows, cols, std::numeric_limits<TestType>::quiet_NaN());
        multiply_into<TestType>(c, by_rows(a), by_rows(b), depth);
        if (error_in_roundings(c, naive_product(a, b, nothing), depth) > 1) FAIL_CHECK("a wrong product");
      }
}

TEMPLATE_TEST_CASE("a product is one sum in order, wherever its matrices lie", "[kernels][threads]", float, double) {
  ef::Rng rng(2);
  for (const Index depth : {1, 7, 16, 100, 256, 257, 600})
    for (const Index rows : {1, 3, 6, 7, 13, 64})
      for (const Index cols : {1, 5, 8, 16, 17, 40}) {
        CAPTURE(rows, cols, depth);
        const auto a = random_matrix<TestType>(rows, depth, rng);
        const auto b = random_matrix<TestType>(depth, cols, rng);
        const auto product = [&](const detail::Strided<TestType>& x, const detail::Strided<TestType>& y) {
          Matrix<TestType> c(rows, cols);
          multiply_into<TestType>(c, x, y, depth);
          return c;
        };
        const Matrix<TestType> c = product(by_rows(a), by_rows(b));
        CHECK(identical<TestType>(product(AnyStrides<TestType>(a, 1, rows).view(), by_rows(b)), c));
        CHECK(identical<TestType>(product(by_rows(a), AnyStrides<TestType>(b, 1, depth + 5).view()), c));
        CHECK(identical<TestType>(product(by_rows(a), AnyStrides<TestType>(b, cols + 3, 1).view()), c));
        CHECK(identical<TestType>(
            product(AnyStrides<TestType>(a, 2 * depth + 1, 1).view(), AnyStrides<TestType>(b, 2, 2 * depth + 3).view()),
            c));
        // Each entry alone: what no order of summation but the one from 0 up would give for all depths.
        for (const Index i : {Index{0}, rows / 2, rows - 1})
          for (const Index j : {Index{0}, cols / 2, cols - 1}) {
            TestType alone = 0;
            const auto add = [&](Index first, Index count, const TestType* start) {
              detail::multiply_block<TestType>({.rows = 1,
                                                .cols = 1,
                                                .depth = count,
                                                .a = {a.data() + i * depth + first, depth, 1},
                                                .b = {b.data() + first * cols + j, cols, 1},
                                                .start = {start, 1},
                                                .c = {&alone, 1}});
            };
            add(0, depth, nullptr);
            CHECK(alone == c(i, j));
            if (depth > 2) {
              add(0, depth - 2, nullptr);
              add(depth - 2, 2, &alone);
              CHECK(alone == c(i, j));
            }
          }
      }
}

TEMPLATE_TEST_CASE("a product starts from a row for all, from a matrix, or from itself", "[kernels][threads]", float,
                   double) {
  ef::Rng rng(3);
  for (const Index depth : {1, 5, 300})
    for (const Index rows : {1, 7, 20})
      for (const Index cols : {3, 16, 21}) {
        CAPTURE(rows, cols, depth);
        const auto a = random_matrix<TestType>(rows, depth, rng);
        const auto b = random_matrix<TestType>(depth, cols, rng);
        const auto bias = random_matrix<TestType>(1, cols, rng);
        const auto start = random_matrix<TestType>(rows, cols + 2, rng);
        const Matrix<TestType> bias_rows = bias.replicate(rows, 1);
        const Matrix<TestType> start_cols = start.leftCols(cols);

        Matrix<TestType> c(rows, cols);
        multiply_into<TestType>(c, by_rows(a), by_rows(b), depth, bias.data());
        CHECK(error_in_roundings(c, naive_product(a, b, bias_rows), depth) <= 1);
        const Expected expected = naive_product(a, b, start_cols);
        const auto multiply_from = [&](const TestType* from, Index stride, auto&& to) {
          detail::multiply_block<TestType>({.rows = rows,
                                            .cols = cols,
                                            .depth = depth,
                                            .a = by_rows(a),
                                            .b = by_rows(b),
                                            .start = {from, stride},
                                            .c = {to.data(), to.outerStride()}});
        };
        multiply_from(start.data(), cols + 2, c);
        CHECK(error_in_roundings(c, expected, depth) <= 1);
        Surrounded<TestType> in_place(start_cols);
        multiply_from(in_place.inside().data(), in_place.inside().outerStride(), in_place.inside());
        CHECK(identical<TestType>(in_place.inside(), c));
        CHECK(in_place.rest_is_untouched());
        multiply_into<TestType>(c, {nullptr, 1, 1}, {nullptr, 1, 1}, 0, bias.data());
        CHECK(identical<TestType>(c, bias_rows));
      }
}

TEMPLATE_TEST_CASE("a panel's unused columns do not touch the result", "[kernels][threads]", float, double) {
  const TestType bad = std::numeric_limits<TestType>::quiet_NaN();
  for (const Index cols : {1, 5, 9}) {
    Matrix<TestType> b = Matrix<TestType>::Constant(4, 30, bad);  // beyond the columns that are asked for
    b.leftCols(cols).setConstant(2);
    const Matrix<TestType> a = Matrix<TestType>::Ones(7, 4);
    Surrounded<TestType> c(Matrix<TestType>::Zero(7, cols));
    multiply_into<TestType>(c.inside(), by_rows(a), by_rows(b), 4);
    CHECK((c.inside().array() == TestType(8)).all());
    CHECK(c.rest_is_untouched());
  }
}

TEMPLATE_TEST_CASE("a product of many blocks is the same for any number of threads", "[kernels][threads]", float,
                   double) {
  ef::Rng rng(4);
  ef::ThreadPool pool(3);
  for (const ef::Shape& s : {ef::Shape{500, 70}, ef::Shape{3, 700}, ef::Shape{241, 129}, ef::Shape{0, 9}}) {
    CAPTURE(s.rows, s.cols);
    const Index depth = 37;
    const auto a = random_matrix<TestType>(s.rows, depth, rng);
    const auto b = random_matrix<TestType>(depth, s.cols, rng);
    const auto bias = random_matrix<TestType>(1, s.cols, rng);
    Matrix<TestType> alone(s.rows, s.cols), together(s.rows, s.cols);
    multiply_into<TestType>(alone, by_rows(a), by_rows(b), depth, bias.data());
    multiply_into<TestType>(together, by_rows(a), by_rows(b), depth, bias.data(), &pool);
    CHECK(identical<TestType>(alone, together));
    CHECK(error_in_roundings(alone, naive_product(a, b, Matrix<TestType>(bias.replicate(s.rows, 1))), depth) <= 1);
  }
}

TEMPLATE_TEST_CASE("a panel is packed from any strides, times a factor, and filled up with zeros", "[kernels]", float,
                   double) {
  constexpr Index lanes = ef::simd::lanes<TestType>;
  ef::Rng rng(5);
  for (const Index depth : {1, 7, 16, 17, 33})
    for (const Index cols : {1, 3, 8, 16, 17, 40})
      for (const TestType factor : {TestType(1), TestType(-0.25)}) {
        CAPTURE(depth, cols, factor);
        const auto b = random_matrix<TestType>(depth, cols, rng);
        const Matrix<TestType> b_transpose = b.transpose();
        const Index used = detail::padded<TestType>(cols);
        for (const detail::Strided<TestType>& source :
             {detail::Strided<TestType>{b.data(), cols, 1}, {b_transpose.data(), 1, depth}}) {
          Matrix<TestType> panel = Matrix<TestType>::Constant(depth, used + lanes, 77);
          detail::pack_panel<TestType>(depth, cols, source, {panel.data(), panel.cols()}, factor);
          CHECK(panel.leftCols(cols) == factor * b);
          CHECK((panel.middleCols(cols, used - cols).array() == 0).all());
          CHECK((panel.rightCols(lanes).array() == 77).all());
        }
      }
}
