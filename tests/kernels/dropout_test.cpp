#include "eigenformer/kernels/dropout.hpp"

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::RandomKey;
using namespace ef::testing;

namespace {

constexpr RandomKey drawn_key{5, 77};

Matrix<double> mask(Index rows, Index cols, double rate, RandomKey k = drawn_key) {
  return ef::dropout(Matrix<double>::Ones(rows, cols), rate, k);
}

}  // namespace

TEMPLATE_TEST_CASE("dropout drops or scales, the same every way", "[kernels][threads]", float, double) {
  const auto rate = GENERATE(0.0, 1e-6, 0.1, 0.5, 0.9);
  CAPTURE(rate);
  ef::Rng rng(231);
  for (const ef::Shape& s : odd_shapes()) {
    CAPTURE(s.rows, s.cols);
    const auto x = random_matrix<TestType>(s.rows, s.cols, rng);
    const auto y = run_every_way<TestType>({x}, {s}, [&](auto& in, auto& out, ef::Threads* threads) {
      ef::dropout_forward<TestType>(in[0], rate, drawn_key, out[0], threads);
    })[0];
    CHECK(identical<TestType>(ef::dropout(x, rate, drawn_key), y));
    // The mask, from its definition: a word for two draws, 8 blocks for 64 columns, first words first.
    const double threshold = std::round(rate * 0x1p32);
    const auto kept = static_cast<TestType>(0x1p32 / (0x1p32 - threshold));
    Matrix<TestType> expected(s.rows, s.cols);
    for (Index i = 0; i < s.rows; ++i)
      for (Index j = 0; j < s.cols; ++j) {
        const Index stretch = i * ((s.cols + 63) / 64) + j / 64;
        const Index within = j % 64;
        const auto draw = drawn_key.draw(static_cast<std::uint64_t>(8 * stretch + within % 8));
        const std::uint32_t word = draw[static_cast<std::size_t>(within / 16)];
        const std::uint32_t bits = within / 8 % 2 == 0 ? (word & 65535U) << 16 | word >> 16 : word;
        expected(i, j) = static_cast<double>(bits) < threshold ? TestType(0) : x(i, j) * kept;
      }
    CHECK(identical<TestType>(y, expected));
    Matrix<TestType> in_place = x;
    ef::dropout_forward<TestType>(in_place, rate, drawn_key, in_place);
    CHECK(identical<TestType>(in_place, y));
  }
}

TEST_CASE("dropout drops at its rate and keeps the expectation", "[kernels]") {
  const auto rate = GENERATE(0.001, 0.1, 0.3, 0.5, 0.9);
  CAPTURE(rate);
  const Index rows = 400;
  const Index cols = 500;
  const Matrix<double> m = mask(rows, cols, rate);
  const auto n = static_cast<double>(m.size());
  const auto dropped = static_cast<double>((m.array() == 0).count());
  const double deviation = std::sqrt(n * rate * (1 - rate));
  CHECK(std::abs(dropped - n * rate) < 4 * deviation);
  CHECK(std::abs(m.mean() - 1) < 4 * deviation / n / (1 - rate));
  // Neighbours, in a row and in a column, are dropped independently.
  const auto zero = (m.array() == 0).cast<double>();
  const double both_in_row = (zero.leftCols(cols - 1) * zero.rightCols(cols - 1)).mean();
  const double both_in_column = (zero.topRows(rows - 1) * zero.bottomRows(rows - 1)).mean();
  const double four_deviations = 4 * rate / std::sqrt(n) + 4 * rate * rate / std::sqrt(n / rate);
  CHECK(std::abs(both_in_row - rate * rate) < four_deviations);
  CHECK(std::abs(both_in_column - rate * rate) < four_deviations);
}

TEST_CASE("dropout has rates near 0 and near 1", "[kernels]") {
  for (const double rate : {1e-6, 1e-5, 1e-4}) {
    CAPTURE(rate);
    const Index rows = 4000, cols = 2000;
    const double expected = 8e6 * rate, most = 4.5 * std::sqrt(expected);
    CHECK(std::abs(static_cast<double>((mask(rows, cols, rate).array() == 0).count()) - expected) < most);
    CHECK(std::abs(static_cast<double>((mask(rows, cols, 1 - rate).array() != 0).count()) - expected) < most);
  }
  // Of two entries that share a word, columns 8 apart.
  const double rate = 0.01;
  const Matrix<double> m = mask(4000, 2048, rate);
  const auto zero = (m.array() == 0).cast<double>();
  double both = 0;
  for (Index j = 0; j < 2048; j += 16) both += (zero.middleCols(j, 8) * zero.middleCols(j + 8, 8)).sum();
  const double pairs = 4000.0 * 1024, chance = rate * rate;
  CHECK(std::abs(both / pairs - chance) < 0.0003 * rate + 4.5 * std::sqrt(chance / pairs));
}

TEST_CASE("dropout is drawn by its key, and is its own backward", "[kernels]") {
  CHECK(identical<double>(mask(5, 100, 0.5), mask(5, 100, 0.5)));
  CHECK_FALSE(identical<double>(mask(5, 100, 0.5), mask(5, 100, 0.5, {5, 78})));
  CHECK_FALSE(identical<double>(mask(5, 100, 0.5), mask(5, 100, 0.5, {6, 77})));
  CHECK(identical<double>(mask(5, 100, 0.5).topRows(3), mask(3, 100, 0.5)));

  ef::Rng rng(241);
  const auto x = random_matrix<double>(5, 17, rng);
  const auto d_y = random_matrix<double>(5, 17, rng);
  CHECK(max_error(ef::dropout(d_y, 0.3, drawn_key), numeric_gradient(x, [&](const Matrix<double>& v) {
                    return dot(ef::dropout(v, 0.3, drawn_key), d_y);
                  })) < gradient_tolerance);
}

TEST_CASE("dropout of extreme rates", "[kernels]") {
  ef::Rng rng(251);
  const auto x = random_matrix<float>(5, 17, rng);
  CHECK(identical<float>(ef::dropout(x, 0, drawn_key), x));
  CHECK(ef::dropout(x, 0.9999999, drawn_key).allFinite());
  CHECK(ef::dropout(Matrix<float>(0, 3), 0.5, drawn_key).rows() == 0);
  CHECK(ef::dropout(Matrix<float>(3, 0), 0.5, drawn_key).cols() == 0);
  const Eigen::MatrixXf by_columns = x;
  CHECK(identical<float>(ef::dropout(by_columns, 0.5, drawn_key), ef::dropout(x, 0.5, drawn_key)));

  Matrix<float> y(17, 5);
  CHECK(message_of([&] { ef::dropout(x, 1, drawn_key); }) == "dropout: rate is 1, expected at least 0 and less than 1");
  CHECK(message_of([&] { ef::dropout(x, -0.5, drawn_key); }) ==
        "dropout: rate is -0.5, expected at least 0 and less than 1");
  CHECK(message_of([&] { ef::dropout_forward<float>(x, 0.5, drawn_key, y); }) ==
        "dropout: y is [17 x 5], expected [5 x 17]");
  CHECK_THROWS_AS(ef::dropout(x, std::nan(""), drawn_key), ef::Error);
}
