#include "eigenformer/kernels/pooling.hpp"

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Pooling;
using ef::PoolingWindow;
using ef::RowOffsets;
using ef::RowRange;
using namespace ef::testing;

namespace {

template <class Scalar>
Matrix<Scalar> forward(Pooling pooling, const Matrix<Scalar>& x, const std::vector<RowRange>& ranges) {
  return run_every_way<Scalar>({x}, {{static_cast<Index>(ranges.size()), x.cols()}},
                               [&](auto& in, auto& out, ef::Threads* threads) {
                                 ef::pool_forward<Scalar>(pooling, in[0], ranges, out[0], threads);
                               })[0];
}

template <class Scalar>
Matrix<Scalar> backward(Pooling pooling, const Matrix<Scalar>& x, const std::vector<RowRange>& ranges,
                        const Matrix<Scalar>& d_y) {
  return run_every_way<Scalar>({x, d_y}, {ef::shape(x)}, [&](auto& in, auto& out, ef::Threads* threads) {
    ef::pool_backward<Scalar>(pooling, in[0], ranges, in[1], out[0], threads);
  })[0];
}

}  // namespace

TEST_CASE("windows lie within their sequences, and the last may be shorter", "[kernels]") {
  const RowOffsets rows{0, 0, 1, 6, 10};  // of 0, 1, 5 and 4 rows
  using Ranges = std::vector<RowRange>;
  CHECK(ef::pooled_rows(rows, {.size = 2}) == RowOffsets{0, 0, 1, 4, 6});
  CHECK(ef::pooling_ranges(rows, {.size = 2}) == Ranges{{0, 1}, {1, 3}, {3, 5}, {5, 6}, {6, 8}, {8, 10}});
  // Overlapping: the first window that reaches the end is the last.
  CHECK(ef::pooling_ranges(rows, {.size = 3, .stride = 1}) == Ranges{{0, 1}, {1, 4}, {2, 5}, {3, 6}, {6, 9}, {7, 10}});
  CHECK(ef::pooling_ranges(rows, {.size = 3, .stride = 2}) == Ranges{{0, 1}, {1, 4}, {3, 6}, {6, 9}, {8, 10}});
  // With gaps: none begins beyond the end.
  CHECK(ef::pooling_ranges(rows, {.size = 1, .stride = 4}) == Ranges{{0, 1}, {1, 2}, {5, 6}, {6, 7}});
  CHECK(ef::pooling_ranges(rows, {.size = 100}) == Ranges{{0, 1}, {1, 6}, {6, 10}});
  CHECK(ef::sequence_ranges(rows) == Ranges{{0, 0}, {0, 1}, {1, 6}, {6, 10}});
  constexpr Index largest = std::numeric_limits<Index>::max();
  CHECK(ef::pooling_ranges(rows, {.size = largest}) == Ranges{{0, 1}, {1, 6}, {6, 10}});
  CHECK(ef::pooling_ranges(rows, {.size = largest, .stride = 2}) == Ranges{{0, 1}, {1, 6}, {6, 10}});
  CHECK(ef::pooling_ranges(rows, {.size = 1, .stride = largest}) == Ranges{{0, 1}, {1, 2}, {6, 7}});
  CHECK(ef::pooling_ranges(rows, {.size = 3, .stride = largest}) == Ranges{{0, 1}, {1, 4}, {6, 9}});

  // PyTorch's ceil_mode by its formula.
  for (Index length = 1; length < 30; ++length)
    for (Index size = 1; size <= length; ++size)
      for (Index stride = 1; stride < 8; ++stride) {
        Index count = (length - size + stride - 1) / stride + 1;
        if ((count - 1) * stride >= length) --count;
        REQUIRE(ef::pooled_rows(RowOffsets{0, length}, {.size = size, .stride = stride}).rows() == count);
      }
}

TEMPLATE_TEST_CASE("pooling agrees with its definition", "[kernels][threads]", float, double) {
  const std::uint64_t seed = 321;
  CAPTURE(seed);
  ef::Rng rng(seed);
  std::vector<Index> lengths{0, 1, 7, 0, 40};
  for (Index i = 0; i < 50; ++i) lengths.push_back(rng.randint(20));
  const RowOffsets rows = RowOffsets::from_lengths(lengths);
  for (const Pooling pooling : {Pooling::maximum, Pooling::mean})
    for (const auto& ranges :
         {ef::pooling_ranges(rows, {.size = 2}), ef::pooling_ranges(rows, {.size = 5, .stride = 2}),
          ef::pooling_ranges(rows, {.size = 2, .stride = 3}), ef::sequence_ranges(rows)})
      for (const Index features : {1, 3, 64, 130}) {
        CAPTURE(pooling == Pooling::mean, ranges.size(), features);
        const auto x = random_matrix<TestType>(rows.rows(), features, rng);
        const auto d_y = random_matrix<TestType>(static_cast<Index>(ranges.size()), features, rng);
        Matrix<double> y = Matrix<double>::Zero(d_y.rows(), features);
        Matrix<double> d_x = Matrix<double>::Zero(x.rows(), features);
        for (Index i = 0; i < y.rows(); ++i)
          for (Index j = 0; j < features; ++j) {
            const auto [begin, end] = ranges[static_cast<std::size_t>(i)];
            if (begin == end) continue;
            const auto column = x.col(j).segment(begin, end - begin);
            if (pooling == Pooling::mean) {
              y(i, j) = column.template cast<double>().mean();
              d_x.col(j).segment(begin, end - begin).array() +=
                  static_cast<double>(d_y(i, j)) / static_cast<double>(end - begin);
            } else {
              Index row = 0;
              y(i, j) = static_cast<double>(column.maxCoeff(&row));
              d_x(begin + row, j) += static_cast<double>(d_y(i, j));
            }
          }
        CHECK(max_error(forward<TestType>(pooling, x, ranges), y) < tolerance<TestType>(8));
        CHECK(max_error(backward<TestType>(pooling, x, ranges, d_y), d_x) < tolerance<TestType>(8));
      }
}

TEST_CASE("the gradient of a maximum goes to the first of equals", "[kernels][threads]") {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const Matrix<float> x{{1, -infinity, 2, 0}, {3, -infinity, nan, -0.0F}, {3, -infinity, 5, 0}};
  const std::vector<RowRange> all{{0, 3}};
  Matrix<float> y(1, 4);
  ef::pool_forward<float>(Pooling::maximum, x, all, y);
  CHECK(y(0, 0) == 3);
  CHECK(y(0, 1) == -infinity);
  CHECK(std::isnan(y(0, 2)));
  const Matrix<float> d_x{{0, 7, 0, 7}, {7, 0, 7, 0}, {0, 0, 0, 0}};
  CHECK(identical<float>(backward<float>(Pooling::maximum, x, all, Matrix<float>::Constant(1, 4, 7)), d_x));
}

TEST_CASE("an empty sequence pools to zeros, and no batch to nothing", "[kernels][threads]") {
  const Matrix<double> x = Matrix<double>::Ones(2, 3);
  for (const Pooling pooling : {Pooling::maximum, Pooling::mean}) {
    const auto ranges = ef::sequence_ranges(RowOffsets{0, 2, 2});
    const Matrix<double> y = forward<double>(pooling, x, ranges);
    CHECK((y.row(0).array() == 1).all());
    CHECK((y.row(1).array() == 0).all());
    CHECK(backward<double>(pooling, x, {}, Matrix<double>(0, 3)).isZero(0));
    CHECK(forward<double>(pooling, Matrix<double>(0, 3), {}).rows() == 0);
  }
}

TEST_CASE("pooling that cannot be is refused before anything is written", "[kernels]") {
  const RowOffsets rows{0, 4};
  const std::string expected = ", expected a size of 1 or more and a stride of 0 (the size) or more";
  CHECK(message_of([&] { ef::pooling_ranges(rows, {.size = 0}); }) == "pooling: size is 0, stride 0" + expected);
  CHECK(message_of([&] { ef::pooled_rows(rows, {.size = 2, .stride = -1}); }) ==
        "pooling: size is 2, stride -1" + expected);
  CHECK(message_of([&] { (void)ef::PoolingWindow{.size = 0}.count(5); }) == "pooling: size is 0, stride 0" + expected);
  CHECK(message_of([&] { (void)ef::PoolingWindow{}.count(-1); }) ==
        "pooling: a sequence of -1 rows, expected 0 or more");
  CHECK(message_of([&] { ef::sequence_ranges({}); }) == "pooling: expected the sequences' offsets");
  const Matrix<float> x = Matrix<float>::Ones(4, 2);
  Matrix<float> y = Matrix<float>::Zero(2, 2), d_x = Matrix<float>::Zero(4, 2);
  const std::vector<RowRange> beyond{{0, 2}, {2, 5}}, backwards{{0, 2}, {3, 2}}, one{{0, 2}};
  CHECK(message_of([&] { ef::pool_forward<float>(Pooling::mean, x, beyond, y); }) ==
        "pooling: rows 2 to 5 do not exist, x has 4 rows");
  CHECK(message_of([&] { ef::pool_backward<float>(Pooling::mean, x, backwards, y, d_x); }) ==
        "pooling: rows 3 to 2 do not exist, x has 4 rows");
  CHECK(message_of([&] { ef::pool_forward<float>(Pooling::mean, x, one, y); }) ==
        "pooling: y is [2 x 2], expected [1 x 2]");
  CHECK(message_of([&] { ef::pool_backward<float>(Pooling::mean, x, one, y, d_x); }) ==
        "pooling: d_y is [2 x 2], expected [1 x 2]");
  CHECK(y.isZero(0));
}

TEST_CASE("the mean of many rows is as accurate as that of few", "[kernels]") {
  const Index rows = 1'000'000;
  const Matrix<float> y =
      forward<float>(Pooling::mean, Matrix<float>::Constant(rows, 2, 0.1F), std::vector<RowRange>{{0, rows}});
  CHECK(y(0, 0) == Approx(0.1).epsilon(256 * std::numeric_limits<float>::epsilon()));
  CHECK(y(0, 1) == y(0, 0));
}
