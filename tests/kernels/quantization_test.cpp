#include "eigenformer/kernels/quantization.hpp"

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEST_CASE("rows are quantised to the nearest integer, and their largest magnitude to 127", "[kernels]") {
  const std::uint64_t seed = 401;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const double size : {1e-30, 1e-3, 1.0, 1e3, 1e30})
    for (const Index cols : {1, 2, 15, 16, 17, 64, 100}) {
      const auto x = random_matrix<float>(9, cols, rng, size);
      const ef::QuantizedRows quantized = ef::quantize_rows(x);
      CAPTURE(size, cols);
      const Matrix<float> back = ef::dequantize_rows(quantized);
      for (Index i = 0; i < x.rows(); ++i) {
        const double largest = x.row(i).cast<double>().cwiseAbs().maxCoeff();
        const auto scale = static_cast<double>(quantized.scales(i, 0));
        CHECK(scale >= largest / 127 * (1 - rounding<float>(1)));
        CHECK(scale <= largest / 127 * (1 + std::ldexp(1, -15)));
        CHECK(quantized.values.row(i).cast<int>().cwiseAbs().maxCoeff() == 127);
        // Half a step, and the error of multiplying by the reciprocal.
        const double error = (back.row(i).cast<double>() - x.row(i).cast<double>()).cwiseAbs().maxCoeff();
        CHECK(error <= scale * (0.5 + 128 * rounding<float>(2)));
      }
    }
}

TEST_CASE("integers are rounded to nearest, ties to even", "[kernels]") {
  Matrix<float> x(1, 7);
  x << 127, -127, 0.5F, 1.5F, -0.5F, -1.5F, 2.4F;
  const ef::QuantizedRows quantized = ef::quantize_rows(x);
  CHECK(quantized.scales(0, 0) == 1);
  Matrix<int> expected(1, 7);
  expected << 127, -127, 0, 2, 0, -2, 2;
  CHECK(quantized.values.cast<int>() == expected);
}

TEST_CASE("quantising again changes nothing", "[kernels]") {
  const std::uint64_t seed = 402;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (int repeat = 0; repeat < 200; ++repeat) {
    const ef::QuantizedRows once = ef::quantize_rows(random_matrix<float>(20, 33, rng, std::exp(rng.normal() * 5)));
    const ef::QuantizedRows twice = ef::quantize_rows(ef::dequantize_rows(once));
    CHECK(twice.values == once.values);
    CHECK(twice.scales == once.scales);
  }
}

TEST_CASE("the largest floats stay finite", "[kernels]") {
  constexpr float largest = std::numeric_limits<float>::max();
  Matrix<float> x(3, 2);
  x << largest, -largest, 1e38F, -largest, largest / 127, largest * 0.9999F;
  const ef::QuantizedRows once = ef::quantize_rows(x);
  const Matrix<float> floats = ef::dequantize_rows(once);
  CHECK(floats.allFinite());
  CHECK(once.values(0, 0) == 127);
  CHECK(once.values(0, 1) == -127);
  CHECK(floats(0, 0) > largest * (1 - std::ldexp(1.0F, -15)));
  const ef::QuantizedRows twice = ef::quantize_rows(floats);
  CHECK(twice.values == once.values);
  CHECK(twice.scales == once.scales);
}

TEST_CASE("rows of zeros have scale 0, rows that are not finite have scale NaN", "[kernels]") {
  Matrix<float> x = Matrix<float>::Zero(4, 5);
  x(1, 2) = std::numeric_limits<float>::quiet_NaN();
  x(2, 4) = -std::numeric_limits<float>::infinity();
  x.row(3).setConstant(1e-40F);
  const ef::QuantizedRows quantized = ef::quantize_rows(x);
  CHECK(quantized.values.isZero());
  CHECK(quantized.scales(0, 0) == 0);
  CHECK(std::isnan(quantized.scales(1, 0)));
  CHECK(std::isnan(quantized.scales(2, 0)));
  CHECK(quantized.scales(3, 0) == 0);
  CHECK(ef::quantize_rows(Matrix<float>(0, 5)).values.rows() == 0);
  CHECK(ef::quantize_rows(Matrix<float>(2, 0)).scales.isZero(0));
  CHECK(message_of([] {
          ef::dequantize_rows({Matrix<std::int8_t>::Zero(2, 3), Matrix<float>::Zero(1, 3)});
        }) == "dequantize_rows: scales is [1 x 3], expected [2 x 1]");
}
