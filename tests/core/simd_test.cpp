#include "eigenformer/core/simd.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "support/catch.hpp"

namespace ef = eigenformer;
namespace simd = eigenformer::simd;
using ef::Index;

namespace {

template <class Scalar>
std::vector<Scalar> thirds(std::size_t size) {
  std::vector<Scalar> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = static_cast<Scalar>(i + 1) / 3;
  return values;
}

}  // namespace

TEMPLATE_TEST_CASE("a packet's size", "[core]", float, double) {
  constexpr int lanes = simd::lanes<TestType>;
  CHECK(sizeof(simd::Packet<TestType>) == static_cast<std::size_t>(lanes) * sizeof(TestType));
  CHECK((lanes & (lanes - 1)) == 0);
  CHECK(lanes <= static_cast<int>(64 / sizeof(TestType)));
  CHECK(simd::registers >= 8);
}

TEMPLATE_TEST_CASE("packets are loaded from anywhere, and stored without more", "[core]", float, double) {
  constexpr std::size_t lanes = simd::lanes<TestType>;
  const std::vector<TestType> from = thirds<TestType>(3 * lanes);
  for (std::size_t offset = 0; offset <= 2 * lanes; ++offset) {
    CAPTURE(offset);
    std::vector<TestType> to(3 * lanes, TestType(-1));
    simd::store(to.data() + offset, simd::load(from.data() + offset));
    for (std::size_t i = 0; i < to.size(); ++i)
      CHECK(to[i] == (i >= offset && i < offset + lanes ? from[i] : TestType(-1)));
  }
  std::vector<TestType> to(lanes);
  simd::store(to.data(), simd::broadcast(TestType(2) / 3));
  CHECK(std::all_of(to.begin(), to.end(), [](TestType x) { return x == TestType(2) / 3; }));
}

TEMPLATE_TEST_CASE("multiply_add is a b + c in every lane", "[core]", float, double) {
  constexpr std::size_t lanes = simd::lanes<TestType>;
  const std::vector<TestType> a = thirds<TestType>(3 * lanes);
  std::vector<TestType> to(lanes);
  simd::store(to.data(),
              simd::multiply_add(simd::load(a.data()), simd::load(a.data() + lanes), simd::load(a.data() + 2 * lanes)));
  for (std::size_t i = 0; i < lanes; ++i) {
    CAPTURE(i);
    // Fused, or in two steps.
    const TestType product = a[i] * a[lanes + i];
    const TestType two_steps = product + a[2 * lanes + i];
    const TestType fused = std::fma(a[i], a[lanes + i], a[2 * lanes + i]);
    CHECK((to[i] == two_steps || to[i] == fused));
  }
  // The last argument is the one that is added.
  simd::store(to.data(), simd::multiply_add(simd::broadcast(TestType(2)), simd::broadcast(TestType(3)),
                                            simd::broadcast(TestType(5))));
  CHECK(to == std::vector<TestType>(lanes, TestType(11)));
}

TEMPLATE_TEST_CASE("a square is transposed from and to any strides", "[core]", float, double) {
  constexpr Index lanes = simd::lanes<TestType>;
  for (const Index from_stride : {lanes, lanes + 1, 2 * lanes + 3})
    for (const Index to_stride : {lanes, lanes + 2}) {
      CAPTURE(from_stride, to_stride);
      const std::vector<TestType> from = thirds<TestType>(static_cast<std::size_t>(lanes * from_stride));
      std::vector<TestType> to(static_cast<std::size_t>(lanes * to_stride), TestType(-1));
      simd::transpose(from.data(), from_stride, to.data(), to_stride);
      for (Index i = 0; i < lanes; ++i)
        for (Index j = 0; j < to_stride; ++j)
          CHECK(to[static_cast<std::size_t>(i * to_stride + j)] ==
                (j < lanes ? from[static_cast<std::size_t>(j * from_stride + i)] : TestType(-1)));
    }
}

TEST_CASE("unroll counts in order, by types", "[core]") {
  std::vector<int> given;
  simd::unroll<5>([&](auto i) {
    constexpr int constant = i;  // known to the compiler
    given.push_back(constant);
  });
  CHECK(given == std::vector<int>{0, 1, 2, 3, 4});
  simd::unroll<0>([&](auto) { given.clear(); });
  CHECK(given.size() == 5);
}
