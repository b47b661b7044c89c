#include "eigenformer/tensors/comparison.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "tensors/tensor_cases.hpp"

namespace ef = eigenformer;
using ef::Sizes;
using ef::Tensor;
using ef::testing::GuardedView;
using ef::testing::infinite;
using ef::testing::message_of;
using ef::testing::not_a_number;

TEST_CASE("tensors are equal if their shapes and entries are", "[tensors]") {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    const Sizes shape = ef::testing::random_shape(rng);
    const GuardedView<int> x(shape, rng);
    Tensor<int> copy(x.view());
    CHECK(equal(x.view(), copy));
    CHECK(equal(copy + 1, x.view() + 1));
    CHECK(!equal(copy, x.view().unsqueeze(0)));
    CHECK(all_close(copy, x.view()));
    if (copy.size() == 0) continue;
    copy.data()[rng.randint(copy.size())] += 1;
    CHECK(!equal(x.view(), copy));
    CHECK(!all_close(x.view(), copy));
  }
  CHECK(equal(Tensor<float>(), Tensor<float>()));
  CHECK(!equal(Tensor<float>({0, 2}), Tensor<float>({2, 0})));
  CHECK(!equal(Tensor<float>({2}, 1.0F), Tensor<float>({1}, 1.0F)));
  CHECK(equal(Tensor<float>({2}, 0.0F), Tensor<float>({2}, -0.0F)));
  const Tensor<float> nan({2}, static_cast<float>(not_a_number));
  CHECK(!equal(nan, nan));
  CHECK(equal(Tensor<bool>({2}, true), Tensor<float>({2}, 1.0F) > 0));
}

TEST_CASE("tensors are close within tolerances", "[tensors]") {
  const auto of = [](double value) { return Tensor<double>({20}, value); };
  CHECK(all_close(of(1 + 0.9e-5), of(1)));
  CHECK(!all_close(of(1 + 1.1e-5), of(1)));
  CHECK(all_close(of(0.9e-8), of(0)));
  CHECK(!all_close(of(1.1e-8), of(0)));
  CHECK(all_close(of(1.4), of(1), {.relative = 0, .absolute = 0.5}));
  CHECK(!all_close(of(1.6), of(1), {.relative = 0, .absolute = 0.5}));
  // Relative to the second, as in NumPy.
  CHECK(all_close(of(1), of(2), {.relative = 0.5, .absolute = 0}));
  CHECK(!all_close(of(2), of(1), {.relative = 0.5, .absolute = 0}));
  CHECK(all_close(of(-1), of(-2), {.relative = 0.5, .absolute = 0}));
  CHECK(all_close(of(infinite), of(infinite)));
  CHECK(!all_close(of(infinite), of(-infinite)));
  CHECK(!all_close(of(1), of(infinite)));
  CHECK(!all_close(of(infinite), of(1)));
  CHECK(!all_close(of(not_a_number), of(not_a_number)));
  CHECK(all_close(of(not_a_number), of(not_a_number), {.equal_nan = true}));
  CHECK(!all_close(of(not_a_number), of(1), {.equal_nan = true}));
  CHECK(!all_close(of(1), of(not_a_number), {.equal_nan = true}));
  // One entry of many decides.
  Tensor<double> x = of(3);
  x(17) = 4;
  CHECK(!all_close(x, of(3)));
  // Broadcast, other types, and no entries.
  CHECK(all_close(of(3), Tensor<double>({}, 3.0)));
  CHECK(all_close(Tensor<Eigen::half>({2}, Eigen::half(1)) * 3, Tensor<Eigen::half>({2}, Eigen::half(3))));
  CHECK(all_close(Tensor<int>({2}, 1'000'000), Tensor<int>({2}, 1'000'009)));
  CHECK(!all_close(Tensor<int>({2}, 1'000'000), Tensor<int>({2}, 1'000'011)));
  CHECK(all_close(Tensor<float>({2}, 3.0F), Tensor<double>({2}, 3.0)));
  CHECK(!all_close(Tensor<float>({2}, 3.5F), Tensor<std::int64_t>({2}, std::int64_t{3})));
  // 64-bit integers are not rounded to double.
  using ef::Index;
  const Tensor<Index> even({2}, Index{1} << 53), lowest({2}, (std::numeric_limits<Index>::min)());
  CHECK(!all_close(even + 1, even, {.relative = 0, .absolute = 0}));
  CHECK(all_close(even + 1, even, {.relative = 0, .absolute = 1}));
  CHECK(!all_close(lowest, even, {.relative = 0, .absolute = 1e18}));
  CHECK(all_close(Tensor<float>({0, 2}), Tensor<float>({0, 2})));
  CHECK(message_of([&] { all_close(of(1), Tensor<double>({3})); }) ==
        "broadcast: the tensors are [20] and [3], expected sizes that are equal or 1, from the last dimension on");
}
