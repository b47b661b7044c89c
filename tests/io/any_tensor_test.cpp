#include "eigenformer/io/any_tensor.hpp"

#include <cstdint>
#include <limits>
#include <utility>

#include "eigenformer/tensors/comparison.hpp"
#include "eigenformer/tensors/creation.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::AnyTensor;
using ef::DType;
using ef::holds_exactly;
using ef::Tensor;
using ef::testing::message_of;
using Eigen::bfloat16;
using Eigen::half;

// The rule of exact conversions, as a table.
static_assert(holds_exactly<double, float>() && holds_exactly<double, half>() && holds_exactly<double, bfloat16>());
static_assert(holds_exactly<float, half>() && holds_exactly<float, bfloat16>() && !holds_exactly<float, double>());
static_assert(!holds_exactly<half, bfloat16>() && !holds_exactly<bfloat16, half>());
static_assert(!holds_exactly<half, float>() && !holds_exactly<bfloat16, float>());
static_assert(holds_exactly<double, std::int32_t>() && !holds_exactly<double, std::int64_t>());
static_assert(holds_exactly<float, std::uint16_t>() && !holds_exactly<float, std::int32_t>());
static_assert(holds_exactly<half, std::uint8_t>() && !holds_exactly<half, std::int16_t>());
static_assert(holds_exactly<bfloat16, std::uint8_t>() && holds_exactly<half, bool>());
static_assert(holds_exactly<std::int16_t, std::uint8_t>() && !holds_exactly<std::int8_t, std::uint8_t>());
static_assert(!holds_exactly<std::uint64_t, std::int8_t>() && !holds_exactly<std::int64_t, std::uint64_t>());
static_assert(holds_exactly<std::int64_t, bool>() && !holds_exactly<bool, std::uint8_t>());
static_assert(!holds_exactly<std::int64_t, half>() && !holds_exactly<bool, float>());
static_assert(holds_exactly<long long, long>() && holds_exactly<bool, bool>());

namespace {

template <class Scalar>
void check_any_type(DType dtype, const char* name) {
  CAPTURE(name);
  const Tensor<Scalar> x = ef::arange<float>(6).cast<Scalar>().reshape({2, 3});
  const AnyTensor any = x;
  CHECK(any.dtype() == dtype);
  CHECK(ef::numpy_name(any.dtype()) == name);
  CHECK(any.shape() == ef::Sizes{2, 3});
  CHECK(ef::equal(any.to<Scalar>(), x));
  CHECK(any.converts_to<Scalar>());
}

}  // namespace

TEST_CASE("a tensor of any type keeps type, shape and entries", "[io]") {
  check_any_type<double>(DType::f64, "float64");
  check_any_type<float>(DType::f32, "float32");
  check_any_type<half>(DType::f16, "float16");
  check_any_type<bfloat16>(DType::bf16, "bfloat16");
  check_any_type<std::int64_t>(DType::i64, "int64");
  check_any_type<std::int32_t>(DType::i32, "int32");
  check_any_type<std::int16_t>(DType::i16, "int16");
  check_any_type<std::int8_t>(DType::i8, "int8");
  check_any_type<std::uint64_t>(DType::u64, "uint64");
  check_any_type<std::uint32_t>(DType::u32, "uint32");
  check_any_type<std::uint16_t>(DType::u16, "uint16");
  check_any_type<std::uint8_t>(DType::u8, "uint8");
  check_any_type<bool>(DType::boolean, "bool");
  check_any_type<long long>(DType::i64, "int64");
  check_any_type<unsigned long>(sizeof(long) == 8 ? DType::u64 : DType::u32, sizeof(long) == 8 ? "uint64" : "uint32");
  CHECK(AnyTensor().shape() == ef::Sizes{0});
}

TEST_CASE("views and expressions become tensors, and temporaries are not copied", "[io]") {
  Tensor<float> x = ef::arange<float>(6).reshape({2, 3});
  CHECK(ef::equal(AnyTensor(x.transpose()).to<float>(), x.transpose()));
  CHECK(ef::equal(AnyTensor(x + 1.0F).to<float>(), x + 1.0F));
  const float* const data = x.data();
  AnyTensor any = std::move(x);
  CHECK(std::get<Tensor<float>>(any.variant()).data() == data);
  CHECK(any.to<float>().data() != data);
  CHECK(std::move(any).to<float>().data() == data);
}

TEST_CASE("a conversion is exact or refused", "[io]") {
  const AnyTensor bytes = ef::tensor<std::uint8_t>({0, 7, 255});
  CHECK(ef::equal(bytes.to<half>(), ef::tensor<half>({half(0), half(7), half(255)})));
  CHECK(ef::equal(bytes.to<std::int64_t>(), ef::tensor<std::int64_t>({0, 7, 255})));
  const AnyTensor truth = ef::tensor<bool>({true, false});
  CHECK(ef::equal(truth.to<float>(), ef::tensor<float>({1, 0})));
  const AnyTensor halves = ef::tensor<half>({half(0.5F), std::numeric_limits<half>::infinity()});
  CHECK(ef::equal(halves.to<double>(), ef::tensor<double>({0.5, std::numeric_limits<double>::infinity()})));

  const AnyTensor doubles = ef::tensor<double>({1});
  CHECK_FALSE(doubles.converts_to<float>());
  CHECK(message_of([&] { doubles.to<float>(); }) ==
        "AnyTensor: the tensor is of float64, which float32 does not hold exactly: read it as float64 and cast it");
  CHECK(message_of([&] { bytes.to<bool>("here"); }) ==
        "here: the tensor is of uint8, which bool does not hold exactly: read it as uint8 and cast it");
}
