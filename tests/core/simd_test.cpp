#include "eigenformer/core/simd.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <type_traits>
#include <vector>

#include "eigenformer/core/rng.hpp"
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

TEMPLATE_TEST_CASE("arithmetic and choices go lane by lane", "[core]", float, double) {
  constexpr std::size_t lanes = simd::lanes<TestType>;
  const std::vector<TestType> a = thirds<TestType>(lanes);
  std::vector<TestType> b(a.rbegin(), a.rend());
  const simd::Packet<TestType> x = simd::load(a.data()), y = simd::load(b.data());
  const auto check_lanes = [&](const simd::Packet<TestType>& given, auto expected) {
    std::vector<TestType> to(lanes);
    simd::store(to.data(), given);
    for (std::size_t i = 0; i < lanes; ++i) CHECK(to[i] == expected(a[i], b[i]));
  };
  check_lanes(simd::add(x, y), [](TestType l, TestType r) { return l + r; });
  check_lanes(simd::subtract(x, y), [](TestType l, TestType r) { return l - r; });
  check_lanes(simd::multiply(x, y), [](TestType l, TestType r) { return l * r; });
  check_lanes(simd::maximum(x, y), [](TestType l, TestType r) { return std::max(l, r); });
  check_lanes(simd::select_less(x, y, simd::broadcast(TestType(1)), simd::broadcast(TestType(2))),
              [](TestType l, TestType r) { return l < r ? TestType(1) : TestType(2); });
  const auto undefined = simd::broadcast(std::numeric_limits<TestType>::quiet_NaN());
  check_lanes(simd::select_less(x, x, y, x), [](TestType l, TestType) { return l; });
  check_lanes(simd::select_less(undefined, y, y, x), [](TestType l, TestType) { return l; });
  check_lanes(simd::select_less(x, undefined, y, x), [](TestType l, TestType) { return l; });
  CHECK(simd::any_less<TestType>(x, simd::broadcast(a[0] + 1)));
  CHECK_FALSE(simd::any_less<TestType>(x, simd::broadcast(a[0])));
  CHECK_FALSE(simd::any_less<TestType>(undefined, x));
  CHECK_FALSE(simd::any_less<TestType>(x, undefined));
}

TEMPLATE_TEST_CASE("lanes are selected by bits", "[core]", float, double) {
  constexpr Index lanes = simd::lanes<TestType>;
  const std::vector<TestType> yes = thirds<TestType>(lanes);
  std::vector<TestType> given(yes.size());
  ef::Rng rng(4);
  for (int round = 0; round < 200; ++round) {
    const std::uint32_t bits = rng();  // more than there are lanes
    CAPTURE(bits);
    simd::store(given.data(), simd::select_bits<TestType>(bits, simd::load(yes.data()), simd::broadcast(TestType(-1))));
    for (std::size_t l = 0; l < given.size(); ++l) CHECK(given[l] == ((bits >> l) % 2 == 1 ? yes[l] : TestType(-1)));
  }
}

TEMPLATE_TEST_CASE("entries of a table are looked up in any order", "[core]", float, double) {
  constexpr int lanes = simd::lanes<TestType>;
  const std::vector<TestType> table = thirds<TestType>(lanes);
  const unsigned seed = 14;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (int attempt = 0; attempt < 20; ++attempt) {
    std::vector<std::int32_t> integers(lanes);
    for (std::int32_t& i : integers) i = static_cast<std::int32_t>(rng() % 64) - 32;
    std::vector<TestType> to(lanes);
    simd::store(to.data(), simd::look_up(table.data(), integers.data()));
    for (std::size_t l = 0; l < lanes; ++l)
      CHECK(to[l] == table[static_cast<std::size_t>((integers[l] + 32 * lanes) % lanes)]);
  }
}

TEST_CASE("integers in sequence are recognised, and one that differs", "[core]") {
  constexpr int count = simd::lanes<float>;
  const auto check = [](auto step_constant) {
    constexpr std::int32_t step = step_constant;
    std::vector<std::int32_t> integers(count);
    for (std::size_t i = 0; i < count; ++i) integers[i] = 7 + step * static_cast<std::int32_t>(i);
    CHECK(simd::in_sequence<count, step>(integers.data()));
    for (std::size_t i = 1; i < count; ++i) {
      CAPTURE(step, i);
      integers[i] += 1;
      CHECK_FALSE(simd::in_sequence<count, step>(integers.data()));
      integers[i] -= 1;
    }
  };
  check(std::integral_constant<std::int32_t, -1>());
  check(std::integral_constant<std::int32_t, 0>());
  check(std::integral_constant<std::int32_t, 1>());
}

TEMPLATE_TEST_CASE("the sums of packets' lanes come in the packets' order", "[core]", float, double) {
  constexpr Index lanes = simd::lanes<TestType>;
  std::vector<TestType> from(static_cast<std::size_t>(lanes * lanes)), sums(static_cast<std::size_t>(lanes));
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<TestType>(i * i % 101);  // sums are exact
  simd::Packet<TestType> packets[lanes];
  for (Index i = 0; i < lanes; ++i) packets[i] = simd::load(from.data() + i * lanes);
  simd::store(sums.data(), simd::sums_of_lanes<TestType>(packets));
  for (Index i = 0; i < lanes; ++i)
    CHECK(sums[static_cast<std::size_t>(i)] ==
          std::accumulate(from.begin() + i * lanes, from.begin() + (i + 1) * lanes, TestType(0)));
}

TEMPLATE_TEST_CASE("the columns of a square come in order, from rows any stride apart", "[core]", float, double) {
  constexpr Index lanes = simd::lanes<TestType>;
  for (const Index stride : {lanes, lanes + 1, 2 * lanes + 3})
    for (Index rows = 0; rows <= lanes; ++rows) {
      CAPTURE(stride, rows);
      // A sanitizer sees if more is read than the rows that there are.
      const std::vector<TestType> from = thirds<TestType>(static_cast<std::size_t>(rows * stride));
      Index next = 0;
      simd::for_each_column(from.data(), stride, rows, [&](Index col, const simd::Packet<TestType>& packet) {
        CHECK(col == next++);
        std::vector<TestType> column(lanes);
        simd::store(column.data(), packet);
        for (Index row = 0; row < lanes; ++row)
          CHECK(column[static_cast<std::size_t>(row)] ==
                (row < rows ? from[static_cast<std::size_t>(row * stride + col)] : TestType(0)));
      });
      CHECK(next == lanes);
    }
}
