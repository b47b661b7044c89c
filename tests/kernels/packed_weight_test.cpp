#include "eigenformer/kernels/packed_weight.hpp"

#include "eigenformer/kernels/matmul.hpp"
#include "kernels/kernel_checks.hpp"
#include "support/allocations.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

constexpr ef::WeightType reduced_types[] = {ef::WeightType::bfloat16, ef::WeightType::int8};

/// Returns the numbers that a matrix stands for after rounding to a type.
Matrix<double> rounded(ef::WeightType type, const Matrix<float>& m) {
  if (type == ef::WeightType::bfloat16) return m.cast<Eigen::bfloat16>().cast<double>();
  const ef::QuantizedRows quantized = ef::quantize_rows(m);
  Matrix<double> numbers = quantized.values.cast<double>();
  for (Index i = 0; i < m.rows(); ++i) numbers.row(i) *= static_cast<double>(quantized.scales(i, 0));
  return numbers;
}
/// Returns the activations that a product uses: rounded only if the processor has a matrix unit for the type.
Matrix<double> activations(ef::WeightType type, const Matrix<float>& x) {
  const bool is_fast = type == ef::WeightType::bfloat16 ? ef::matrix_unit::is_fast<Eigen::bfloat16>
                                                        : ef::matrix_unit::is_fast<std::int8_t>;
  return is_fast ? rounded(type, x) : x.cast<double>();
}

}  // namespace

TEMPLATE_TEST_CASE("a linear map by a packed weight is that by the weight itself, to the last bit",
                   "[kernels][threads]", float, double) {
  const std::uint64_t seed = 5;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  for (const Index inputs : {0, 1, 17, 64, 300})
    for (const Index outputs : {0, 1, 15, 48, 49, 300, 700}) {
      const auto weight = random_matrix<TestType>(outputs, inputs, rng);
      const ef::PackedWeight<TestType> packed(weight);
      CHECK(packed.inputs() == inputs);
      CHECK(packed.outputs() == outputs);
      for (const bool with_bias : {false, true})
        for (const Index tokens : {0, 1, 2, 5, 8, 250}) {
          CAPTURE(inputs, outputs, tokens, with_bias);
          const auto x = random_matrix<TestType>(tokens, inputs, rng);
          const Matrix<TestType> bias = with_bias ? random_matrix<TestType>(1, outputs, rng) : Matrix<TestType>();
          Matrix<TestType> expected(tokens, outputs);
          ef::linear_forward<TestType>(x, weight, bias, expected);
          Surrounded<TestType> y(Matrix<TestType>::Zero(tokens, outputs));
          ef::linear_forward<TestType>(x, packed, bias, y.inside());
          CHECK(identical<TestType>(y.inside(), expected));
          ef::linear_forward<TestType>(x, packed, bias, y.inside(), &pool);
          CHECK(identical<TestType>(y.inside(), expected));
          CHECK(y.rest_is_untouched());
        }
    }
}

TEST_CASE("a packed weight that does not fit is named", "[kernels]") {
  const ef::PackedWeight<float> weight(Matrix<float>::Ones(3, 4));
  const Matrix<float> none;
  Matrix<float> y(2, 3), wrong(2, 4);
  CHECK(message_of([&] { ef::linear_forward<float>(Matrix<float>::Ones(2, 5), weight, none, y); }) ==
        "linear: x is [2 x 5], weight is [3 x 4]");
  CHECK(message_of([&] {
          ef::linear_forward<float>(Matrix<float>::Ones(2, 4), weight, Matrix<float>::Ones(1, 4), y);
        }) == "linear: bias is [1 x 4], weight is [3 x 4]");
  CHECK(message_of([&] { ef::linear_forward<float>(Matrix<float>::Ones(2, 4), weight, none, wrong); }) ==
        "linear: y is [2 x 4], expected [2 x 3]");
}

TEST_CASE("a linear map by a low-precision weight is the product of the rounded numbers, in every call",
          "[kernels][threads]") {
  const std::uint64_t seed = 6;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  for (const ef::WeightType type : reduced_types)
    for (const Index inputs : {0, 1, 17, 64, 300, 513, 1100, 2113})
      for (const Index outputs : {0, 1, 15, 16, 49, 270}) {
        const auto weight = random_matrix<float>(outputs, inputs, rng);
        const ef::PackedWeight<float> packed(weight, type);
        CHECK(packed.type() == type);
        CHECK(packed.inputs() == inputs);
        CHECK(packed.outputs() == outputs);
        CHECK(packed.values().empty());
        const Matrix<double> w = rounded(type, weight);
        for (const bool with_bias : {false, true})
          for (const Index tokens : {0, 1, 2, 5, 16, 17, 70, 131}) {
            CAPTURE(to_string(type), inputs, outputs, tokens, with_bias);
            const auto x = random_matrix<float>(tokens, inputs, rng);
            const Matrix<float> bias = with_bias ? random_matrix<float>(1, outputs, rng) : Matrix<float>();
            Matrix<double> expected = activations(type, x) * w.transpose();
            if (with_bias) expected.rowwise() += bias.row(0).cast<double>();
            Matrix<float> y(tokens, outputs);
            ef::linear_forward<float>(x, packed, bias, y);
            CHECK(max_error(y, expected) < rounding<float>(2 * static_cast<double>(inputs) + 8));
            Surrounded<float> x_around(x), around(Matrix<float>::Zero(tokens, outputs));
            ef::linear_forward<float>(x_around.inside(), packed, bias, around.inside());
            CHECK(identical<float>(around.inside(), y));
            ef::linear_forward<float>(x_around.inside(), packed, bias, around.inside(), &pool);
            CHECK(identical<float>(around.inside(), y));
            CHECK(around.rest_is_untouched());
            // The rows in smaller batches.
            for (const Index rows : {1, 3, 16, 65})
              for (Index i = 0; i < tokens; i += rows) {
                const Index count = std::min(rows, tokens - i);
                Matrix<float> part(count, outputs);
                ef::linear_forward<float>(x.middleRows(i, count), packed, bias, part);
                CHECK(identical<float>(part, y.middleRows(i, count)));
              }
          }
      }
}

TEST_CASE("bfloat16 products are within 2^-8 of the norm of the float result", "[kernels]") {
  const std::uint64_t seed = 7;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto x = random_matrix<float>(40, 512, rng), weight = random_matrix<float>(300, 512, rng);
  const Matrix<double> expected = x.cast<double>() * weight.cast<double>().transpose();
  const ef::PackedWeight<float> packed(weight, ef::WeightType::bfloat16);
  Matrix<float> y(40, 300);
  ef::linear_forward<float>(x, packed, Matrix<float>(), y);
  CHECK((y.cast<double>() - expected).norm() < std::ldexp(1, -8) * expected.norm());
}

TEST_CASE("int8 products are within 2 % of the norm of the float result on Gaussian weights", "[kernels]") {
  const std::uint64_t seed = GENERATE(10U, 11U, 12U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Index inputs : {128, 512, 2048}) {
    const auto x = random_matrix<float>(50, inputs, rng), weight = random_matrix<float>(300, inputs, rng, 0.05);
    const Matrix<double> expected = x.cast<double>() * weight.cast<double>().transpose();
    const ef::PackedWeight<float> packed(weight, ef::WeightType::int8);
    Matrix<float> y(50, 300);
    ef::linear_forward<float>(x, packed, Matrix<float>(), y);
    CHECK((y.cast<double>() - expected).norm() < 0.02 * expected.norm());
  }
}

TEST_CASE("a packed weight takes the memory of its type, up to whole blocks", "[kernels]") {
  const Matrix<float> weight = Matrix<float>::Ones(480, 512);
  const auto bytes = [&](ef::WeightType type) { return ef::PackedWeight<float>(weight, type).bytes().size(); };
  CHECK(bytes(ef::WeightType::float32) == 480 * 512 * 4);
  CHECK(bytes(ef::WeightType::bfloat16) == 480 * 512 * 2);
  CHECK(bytes(ef::WeightType::int8) == 480 * 512);
}

TEST_CASE("a row with a NaN or an infinity does not become finite by rounding it to int8", "[kernels]") {
  ef::Rng rng(13);
  const auto weight = random_matrix<float>(20, 40, rng);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    auto x = random_matrix<float>(3, 40, rng);
    x(1, 17) = bad;
    for (const ef::WeightType type : reduced_types) {
      Matrix<float> y(3, 20);
      ef::linear_forward<float>(x, ef::PackedWeight<float>(weight, type), Matrix<float>(), y);
      CHECK(!y.row(1).array().isFinite().any());
      CHECK(y.row(0).allFinite());
      CHECK(y.row(2).allFinite());
    }
  }
}

TEST_CASE("int8 products of huge and tiny numbers are right wherever floats hold them", "[kernels]") {
  const std::uint64_t seed = 14;
  CAPTURE(seed);
  ef::Rng rng(seed);
  constexpr float largest = std::numeric_limits<float>::max(), least = std::numeric_limits<float>::min();
  const float sizes[] = {0, 1e-40F, 1e-37F, 1e-25F, 1e-15F, 1, 1e5F, 1e15F, 1e30F, 1e38F, largest};
  const Index inputs = 70, outputs = 20;
  for (const float x_size : sizes)
    for (const float w_size : sizes) {
      CAPTURE(x_size, w_size);
      Matrix<float> x(3, inputs), weight(outputs, inputs);
      for (Index i = 0; i < x.size(); ++i) x.data()[i] = x_size * static_cast<float>(rng.uniform() * 2 - 1);
      for (Index i = 0; i < weight.size(); ++i) weight.data()[i] = w_size * static_cast<float>(rng.uniform() * 2 - 1);
      x.row(1) << x_size, -x_size,
          Matrix<float>::Zero(1, inputs - 2);  // its products are 0 with the weights of output 1
      weight.row(1) << w_size, w_size, Matrix<float>::Zero(1, inputs - 2);
      x.row(2) << x_size, Matrix<float>::Zero(1, inputs - 1);
      const Matrix<double> a = activations(ef::WeightType::int8, x), w = rounded(ef::WeightType::int8, weight);
      const Matrix<double> expected = a * w.transpose(), magnitude = a.cwiseAbs() * w.cwiseAbs().transpose();
      Matrix<float> y(3, outputs);
      ef::linear_forward<float>(x, ef::PackedWeight<float>(weight, ef::WeightType::int8), Matrix<float>(), y);
      const bool is_fast = ef::matrix_unit::is_fast<std::int8_t>;
      for (Index i = 0; i < y.rows(); ++i)
        for (Index j = 0; j < outputs; ++j) {
          // Integer sums cannot overflow on the way, sums of floats can.
          if ((is_fast ? std::abs(expected(i, j)) : magnitude(i, j)) > static_cast<double>(largest)) continue;
          CAPTURE(i, j, y(i, j), expected(i, j));
          CHECK(std::abs(static_cast<double>(y(i, j)) - expected(i, j)) <=
                magnitude(i, j) * rounding<float>(2 * static_cast<double>(inputs)) +
                    static_cast<double>(inputs) * static_cast<double>(least));
        }
    }
}

TEST_CASE("the epilogue sees each block of a product with a low-precision weight once", "[kernels][threads]") {
  ef::Rng rng(8);
  ef::ThreadPool pool(3);
  for (const ef::WeightType type : reduced_types) {
    const auto x = random_matrix<float>(150, 30, rng), weight = random_matrix<float>(300, 30, rng);
    const ef::PackedWeight<float> packed(weight, type);
    Matrix<float> y(150, 300);
    ef::linear_forward<float>(x, packed, Matrix<float>(), y);
    for (ef::Threads* threads : std::initializer_list<ef::Threads*>{nullptr, &pool}) {
      Matrix<float> doubled(150, 300);
      ef::linear_forward<float>(x, packed, Matrix<float>(), doubled, threads,
                                [](ef::MatrixRef<float> block) { block *= 2; });
      CHECK(identical<float>(doubled, 2 * y));
    }
  }
}

TEST_CASE("a product with a low-precision weight allocates nothing", "[kernels]") {
  ef::Rng rng(9);
  for (const ef::WeightType type : reduced_types) {
    const auto x = random_matrix<float>(100, 700, rng), weight = random_matrix<float>(300, 700, rng);
    const ef::PackedWeight<float> packed(weight, type);
    const Matrix<float> no_bias;
    Matrix<float> y(100, 300);
    ef::linear_forward<float>(x, packed, no_bias, y);
    const AllocationCount allocations(1);
    ef::linear_forward<float>(x, packed, no_bias, y);
    ef::linear_forward<float>(x.topRows(1), packed, no_bias, y.topRows(1));
    CHECK(allocations.count() == 0);
  }
}

TEST_CASE("low-precision weights need floats", "[kernels]") {
  const Matrix<double> weight = Matrix<double>::Ones(3, 4);
  CHECK(message_of([&] { ef::PackedWeight<double>(weight, ef::WeightType::bfloat16); }) ==
        "PackedWeight: the type is bfloat16, expected float32 for a weight that is not of floats");
}

TEST_CASE("int8 weights have no more inputs than 32-bit sums can take", "[kernels]") {
  using Weight = ef::PackedWeight<float>;
  CHECK(message_of([] { Weight(Matrix<float>::Zero(1, 131072), ef::WeightType::int8); }) ==
        "PackedWeight: weight is [1 x 131072], expected at most 131071 columns for int8");
  CHECK(Weight(Matrix<float>::Zero(1, 131072), ef::WeightType::bfloat16).inputs() == 131072);
  // The largest sum there is.
  const Matrix<float> ones = Matrix<float>::Ones(1, 131071);
  const ef::Matrix<float> no_bias;
  Matrix<float> y(1, 1);
  ef::linear_forward<float>(ones, Weight(ones, ef::WeightType::int8), no_bias, y);
  CHECK(std::abs(y(0, 0) / 131071 - 1) < 1e-3F);
}

TEST_CASE("rows of a packed low-precision table are gathered as floats", "[kernels][threads]") {
  const std::uint64_t seed = 14;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  const std::vector<ef::Token> ids{49, 0, 15, 16, 16, 47, 48};
  for (const ef::WeightType type : reduced_types)
    for (const Index features : {1, 17, 64, 300}) {
      const auto table = random_matrix<float>(50, features, rng);
      const ef::PackedWeight<float> packed(table, type);
      const Matrix<double> numbers = rounded(type, table);
      Surrounded<float> y(Matrix<float>::Zero(7, features));
      ef::gather_rows_forward(packed, ids, y.inside(), &pool);
      for (std::size_t i = 0; i < ids.size(); ++i)
        CHECK(max_error(y.inside().row(static_cast<Index>(i)), numbers.row(ids[i])) <= rounding<float>(1));
      CHECK(y.rest_is_untouched());
    }
  const ef::PackedWeight<float> packed(Matrix<float>::Ones(3, 4), ef::WeightType::int8);
  Matrix<float> y(1, 4), wrong(1, 3);
  CHECK(message_of([&] { ef::gather_rows_forward(packed, std::vector<Index>{3}, y); }) ==
        "gather_rows: id 3 at 0, the table has 3 rows");
  CHECK(message_of([&] { ef::gather_rows_forward(packed, std::vector<Index>{0}, wrong); }) ==
        "gather_rows: y is [1 x 3], expected [1 x 4]");
  CHECK(message_of([&] {
          ef::gather_rows_forward(ef::PackedWeight<float>(Matrix<float>::Ones(3, 4)), std::vector<Index>{0}, y);
        }) == "gather_rows: the packed table is of float32, expected bfloat16 or int8");
}
