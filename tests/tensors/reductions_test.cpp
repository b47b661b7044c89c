#include "eigenformer/tensors/reductions.hpp"

#include <cmath>
#include <vector>

#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "tensors/tensor_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Sizes;
using ef::Tensor;
using ef::TensorView;
using ef::testing::difference;
using ef::testing::entries_of;
using ef::testing::entry;
using ef::testing::GuardedView;
using ef::testing::infinite;
using ef::testing::largest_difference;
using ef::testing::message_of;
using ef::testing::not_a_number;
using ef::testing::rounding;

static_assert(std::is_same_v<decltype(sum(std::declval<Tensor<float>&>())), Tensor<float>>);
static_assert(std::is_same_v<decltype(sum(std::declval<Tensor<Eigen::half>&>(), 0)), Tensor<Eigen::half>>);
static_assert(std::is_same_v<decltype(sum(std::declval<Tensor<int>&>(), 0)), Tensor<std::int64_t>>);
static_assert(std::is_same_v<decltype(sum(std::declval<Tensor<bool>&>(), 0)), Tensor<std::int64_t>>);
static_assert(std::is_same_v<decltype(sum(std::declval<Tensor<std::uint32_t>&>(), 0)), Tensor<std::int64_t>>);
static_assert(std::is_same_v<decltype(sum(std::declval<Tensor<std::uint64_t>&>(), 0)), Tensor<std::uint64_t>>);
static_assert(std::is_same_v<decltype(prod(std::declval<Tensor<std::uint64_t>&>(), 0)), Tensor<std::uint64_t>>);
static_assert(std::is_same_v<decltype(amax(std::declval<Tensor<int>&>(), 0)), Tensor<int>>);
static_assert(std::is_same_v<decltype(all(std::declval<Tensor<bool>&>())), bool>);
static_assert(std::is_same_v<decltype(all(std::declval<Tensor<bool>&>(), 0)), Tensor<bool>>);

namespace {

// The dimensions of a reduction, and its result's shape.
struct Reduction {
  std::vector<bool> is_reduced;
  Sizes dimensions, kept, squeezed;

  Reduction(const Sizes& shape, ef::Rng& rng) : is_reduced(shape.size()) {
    for (const Index d : ef::testing::random_order(shape.rank(), rng))
      if (rng.randint(2) == 0) {
        is_reduced[static_cast<std::size_t>(d)] = true;
        dimensions.push_back(rng.randint(2) == 0 ? d : d - shape.rank());
      }
    for (int d = 0; d < shape.rank(); ++d) {
      kept.push_back(is_reduced[static_cast<std::size_t>(d)] ? 1 : shape[d]);
      if (!is_reduced[static_cast<std::size_t>(d)]) squeezed.push_back(shape[d]);
    }
  }
  // All entries of x that become the entry at an index of the result.
  template <class Scalar>
  std::vector<double> entries(const TensorView<Scalar>& x, const Sizes& index, bool keep_dims) const {
    std::vector<double> entries;
    ef::testing::for_each_index(x.shape(), [&](const Sizes& at) {
      bool belongs = true;
      for (int d = 0, k = 0; d < x.rank(); ++d)
        if (!is_reduced[static_cast<std::size_t>(d)]) belongs = belongs && at[d] == index[keep_dims ? d : k++];
      if (belongs) entries.push_back(static_cast<double>(entry(x, at)));
    });
    return entries;
  }
};

double naive_sum(const std::vector<double>& entries) {
  double sum = 0;
  for (const double x : entries) sum += x;
  return sum;
}
double naive_product(const std::vector<double>& entries) {
  double product = 1;
  for (const double x : entries) product *= x;
  return product;
}
double naive_max(const std::vector<double>& entries) {
  double largest = -infinite;
  for (const double x : entries) largest = std::isnan(x) || x > largest ? x : largest;
  return largest;
}
double naive_min(const std::vector<double>& entries) {
  double smallest = infinite;
  for (const double x : entries) smallest = std::isnan(x) || x < smallest ? x : smallest;
  return smallest;
}
double naive_mean(const std::vector<double>& entries) {
  return naive_sum(entries) / static_cast<double>(entries.size());
}
double naive_variance(const std::vector<double>& entries, double correction) {
  double sum = 0;
  for (const double x : entries) sum += (x - naive_mean(entries)) * (x - naive_mean(entries));
  const double divisor = static_cast<double>(entries.size()) - correction;
  return sum / (divisor > 0 ? divisor : 0);
}
double naive_logsumexp(const std::vector<double>& entries) {
  double sum = 0;
  for (const double x : entries) sum += std::exp(x);
  return std::log(sum);
}

}  // namespace

TEMPLATE_TEST_CASE("reductions of random views", "[tensors]", float, int) {
  using Scalar = TestType;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    const Sizes shape = ef::testing::random_shape(rng);
    const GuardedView<Scalar> x(shape, rng);
    const Reduction to(shape, rng);
    const bool keep = rng.randint(2) == 0;
    const auto expect = [&](const auto& result, auto naive, double tolerance) {
      CHECK(largest_difference(result, keep ? to.kept : to.squeezed, [&](const Sizes& index) {
              return naive(to.entries(x.view(), index, keep));
            }) <= tolerance);
    };
    expect(sum(x.view(), to.dimensions, {.keep_dims = keep}), naive_sum, 0);
    // Of an expression: the same numbers, but computed on the way.
    expect(sum(x.constant() * 2 - x.view(), to.dimensions, {.keep_dims = keep}), naive_sum, 0);
    const Tensor<bool> is_positive = x.view() > 0;
    expect(
        all(is_positive, to.dimensions, {.keep_dims = keep}), [](const auto& e) { return naive_min(e) > 0; }, 0);
    expect(
        any(x.view() > 0, to.dimensions, {.keep_dims = keep}), [](const auto& e) { return naive_max(e) > 0; }, 0);
    expect(
        sum(is_positive, to.dimensions, {.keep_dims = keep}),
        [](const auto& e) {
          return static_cast<double>(std::count_if(e.begin(), e.end(), [](double v) { return v > 0; }));
        },
        0);
    bool reduces_nothing = false;
    for (int d = 0; d < shape.rank(); ++d)
      reduces_nothing = reduces_nothing || (to.is_reduced[static_cast<std::size_t>(d)] && shape[d] == 0);
    if (reduces_nothing) {
      CHECK(message_of([&] { amax(x.view(), to.dimensions); }).find("has no entries to choose from") !=
            std::string::npos);
      CHECK(message_of([&] { amin(x.view(), to.dimensions); }).find("has no entries to choose from") !=
            std::string::npos);
    } else {
      expect(amax(x.view(), to.dimensions, {.keep_dims = keep}), naive_max, 0);
      expect(amin(x.view() + 0, to.dimensions, {.keep_dims = keep}), naive_min, 0);
    }
    if constexpr (std::is_same_v<Scalar, float>) {
      const double tolerance = rounding<float>(8);
      expect(
          prod(x.view(), to.dimensions, {.keep_dims = keep}),
          [](const auto& e) { return static_cast<float>(naive_product(e)); }, rounding<float>(1));
      expect(mean(x.view(), to.dimensions, {.keep_dims = keep}), naive_mean, tolerance);
      expect(
          variance(x.view(), to.dimensions, {.keep_dims = keep}), [](const auto& e) { return naive_variance(e, 1); },
          tolerance);
      expect(
          variance(x.view() + 0, to.dimensions, {.keep_dims = keep, .correction = 0}),
          [](const auto& e) { return naive_variance(e, 0); }, tolerance);
      expect(
          standard_deviation(x.view(), to.dimensions, {.keep_dims = keep}),
          [](const auto& e) { return std::sqrt(naive_variance(e, 1)); }, tolerance);
      if (!reduces_nothing) expect(logsumexp(x.view(), to.dimensions, {.keep_dims = keep}), naive_logsumexp, tolerance);
    }
    CHECK(difference(static_cast<double>(sum(x.view()).item()), naive_sum([&] {
                       std::vector<double> entries;
                       for (const Scalar e : entries_of(x.constant())) entries.push_back(static_cast<double>(e));
                       return entries;
                     }())) == 0);
    CHECK(x.is_untouched_outside());
  }
}

TEST_CASE("reductions of all dimensions have rank 0", "[tensors]") {
  const Tensor<float> x({2, 3}, std::vector<float>{1, 2, 3, 4, 5, 7});
  CHECK(sum(x).shape() == Sizes{});
  CHECK(sum(x).item() == 22);
  CHECK(prod(x).item() == 840);
  CHECK(amax(x).item() == 7);
  CHECK(amin(x).item() == 1);
  CHECK(mean(x).item() == 22.0F / 6);
  CHECK(all(x > 0));
  CHECK(!all(x > 1));
  CHECK(any(x > 6));
  CHECK(!any(x > 7));
  CHECK(sum(Tensor<float>({}, 5.0F)).item() == 5);
  CHECK(amax(Tensor<int>({}, 5)).item() == 5);
  CHECK(sum(x, {0, 1}, {.keep_dims = true}).shape() == Sizes{1, 1});
  CHECK(entries_of(sum(x, Sizes{})) == entries_of(x));
  // Typical use: centring and sums of squares.
  const Tensor<float> centred = x - mean(x, -1, {.keep_dims = true});
  CHECK(entries_of(centred) == std::vector<float>{-1, 0, 1, 4 - 16.0F / 3, 5 - 16.0F / 3, 7 - 16.0F / 3});
  CHECK(entries_of(sum(x * x, 0)) == std::vector<float>{17, 29, 58});
  CHECK(entries_of(sum(Tensor<float>(x + 1) * 2, 0)) == std::vector<float>{14, 18, 24});
}

TEST_CASE("reductions over no entries", "[tensors]") {
  // Sizes whose product is too large to count, of a tensor without entries.
  const Tensor<float> huge({0, Index{1} << 31, Index{1} << 31, 4});
  CHECK(sum(huge, {1, 2, 3}).shape() == Sizes{0});
  CHECK(mean(huge, {1, 2, 3}).shape() == Sizes{0});
  const Tensor<float> x({2, 0, 3});
  CHECK(entries_of(sum(x, 1)) == std::vector<float>(6, 0));
  CHECK(entries_of(prod(x, 1)) == std::vector<float>(6, 1));
  CHECK(sum(x).item() == 0);
  CHECK(std::isnan(mean(x).item()));
  CHECK(std::isnan(mean(x, 1)(1, 2)));
  CHECK(all(x > 0));
  CHECK(!any(x > 0));
  CHECK(sum(x, 0).shape() == Sizes{0, 3});
  CHECK(amax(x, {0, 2}).shape() == Sizes{0});
  CHECK(logsumexp(x, 0, {.keep_dims = true}).shape() == Sizes{1, 0, 3});
  CHECK(logsumexp(Tensor<float>({2, 3}) * 2, 1, {.keep_dims = true}).shape() == Sizes{2, 1});
  CHECK(std::abs(static_cast<double>(logsumexp(Tensor<Eigen::half>({70000}), 0).item()) - std::log(70000)) < 0.01);
  CHECK(message_of([&] { amax(x, 1); }) == "amax: a tensor [2 x 0 x 3] has no entries to choose from");
  CHECK(message_of([&] { amin(x); }) == "amin: a tensor [2 x 0 x 3] has no entries to choose from");
  CHECK(message_of([&] { logsumexp(x, 1); }) == "logsumexp: a tensor [2 x 0 x 3] has no entries to choose from");
  CHECK(message_of([&] { amax(Tensor<int>()); }) == "amax: a tensor [0] has no entries to choose from");
}

TEST_CASE("wrong dimensions of a reduction", "[tensors]") {
  const Tensor<float> x({2, 3});
  CHECK(message_of([&] { sum(x, 2); }) == "sum: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { sum(x, {0, -2}); }) == "sum: dimension 0 is named twice");
  CHECK(message_of([&] { prod(x, -3); }) == "prod: dimension -3 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { amax(x, 2); }) == "amax: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { amin(x, {1, 1}); }) == "amin: dimension 1 is named twice");
  CHECK(message_of([&] { mean(x, 2); }) == "mean: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { variance(x, 2); }) == "variance: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { all(x > 0, 2); }) == "all: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { any(x > 0, 2); }) == "any: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { logsumexp(x, 2); }) == "logsumexp: dimension 2 of a tensor of rank 2, expected -2 to 1");
}

TEST_CASE("long sums of float are accurate", "[tensors]") {
  constexpr Index many = 10'000'000;
  {
    const Tensor<float> ones({many}, 1.0F);
    CHECK(sum(ones).item() == many);
    CHECK(sum(ones.reshape({10, -1}), 1)(9) == many / 10);
    CHECK(sum(ones.reshape({-1, 10}), 0)(9) == many / 10);
    CHECK(sum(ones.slice(0, {.step = 3}) * 3).item() == (many + 2) / 3 * 3);
    CHECK(mean(ones).item() == 1);
    const double tenth = static_cast<double>(0.1F);
    CHECK(difference(static_cast<double>(sum(ones * 0.1F).item()), tenth * many) <= rounding<float>(16));
    CHECK(difference(static_cast<double>(sum(ones.slice(0, {.step = -2}) * 0.1F).item()), tenth * many / 2) <=
          rounding<float>(16));
    CHECK(variance(ones, 0).item() == 0);
    float one = 1;
    CHECK(sum(TensorView<float>(&one, {}).expand({many})).item() == many);
  }
  ef::Rng rng(5);
  Tensor<float> x({300, 700});
  double exact = 0, size = 0;
  for (Index i = 0; i < x.size(); ++i) {
    x.data()[i] = static_cast<float>(rng.normal());
    exact += static_cast<double>(x.data()[i]);
    size += std::abs(static_cast<double>(x.data()[i]));
  }
  for (const TensorView<float>& view : {x.view(), x.transpose(), x.slice(0, {.step = -1})})
    CHECK(std::abs(static_cast<double>(sum(view).item()) - exact) <= rounding<float>(16) * size);
  // A mean far from zero does not hide the variance.
  Tensor<float> far({3, 1000});
  for (Index i = 0; i < far.size(); ++i) far.data()[i] = static_cast<float>(10000 + i % 2);
  CHECK(largest_difference(variance(far, 1, {.correction = 0}), {3}, [](const Sizes&) { return 0.25; }) <=
        rounding<float>(2));
  // Sums of these in float would be rounded to multiples of 1024.
  Tensor<float> farther({1001});
  for (Index i = 0; i < farther.size(); ++i) farther(i) = static_cast<float>(10'000'000 + i * 37 % 11);
  std::vector<double> values;
  for (const float value : entries_of(farther)) values.push_back(static_cast<double>(value));
  const double expected = naive_variance(values, 1);
  CHECK(std::abs(static_cast<double>(variance(farther, 0).item()) - expected) <= rounding<float>(1) * expected);
  CHECK(std::abs(static_cast<double>(standard_deviation(farther, 0).item()) - std::sqrt(expected)) <=
        rounding<float>(1) * std::sqrt(expected));
  const Tensor<float> extremes({2}, std::vector<float>{3e38F, -3e38F});
  CHECK(standard_deviation(extremes, 0, {.correction = 0}).item() == 3e38F);  // the variance is too large for a float
}

TEST_CASE("sums of integers do not overflow their type", "[tensors]") {
  const Tensor<int> x({4}, 2'000'000'000);
  CHECK(sum(x).item() == 8'000'000'000);
  CHECK(prod(x.slice(0, {.end = 2}), 0).item() == 4'000'000'000'000'000'000);
  CHECK(sum(Tensor<std::int8_t>({1000}, std::int8_t{100})).item() == 100'000);
  CHECK(sum(Tensor<bool>({3, 500}, true), 1)(2) == 500);
  CHECK(amax(Tensor<bool>({3}, true)).item());
  CHECK(!amin(Tensor<bool>({3}, false)).item());
  const std::vector<Index> extremes{(std::numeric_limits<Index>::max)(), 0, (std::numeric_limits<Index>::min)()};
  CHECK(amax(Tensor<Index>({3}, extremes)).item() == extremes[0]);
  CHECK(amin(Tensor<Index>({3}, extremes)).item() == extremes[2]);
}

TEST_CASE("16-bit numbers are summed wider", "[tensors]") {
  const Tensor<Eigen::half> x({5000}, Eigen::half(1));
  CHECK(static_cast<float>(sum(x).item()) == 5000);  // in half, sums would stay at 2048
  CHECK(static_cast<float>(sum(x.reshape({-1, 2}), 0)(1)) == 2500);
  CHECK(static_cast<float>(mean(x * 3).item()) == 3);
  const Tensor<Eigen::bfloat16> y({5000}, Eigen::bfloat16(1));
  CHECK(static_cast<float>(sum(y).item()) == static_cast<float>(Eigen::bfloat16(5000)));
  CHECK(static_cast<float>(variance(y, 0).item()) == 0);
  CHECK(static_cast<float>(logsumexp(x, 0).item()) == static_cast<float>(Eigen::half(1 + std::log(5000.0F))));
}

TEST_CASE("the extremes keep NaN and infinity, wherever they are", "[tensors]") {
  const auto check_type = [](auto zero) {
    using Scalar = decltype(zero);
    for (const Index n : {1, 2, 5, 8, 17, 35})
      for (const double special : {not_a_number, infinite, -infinite})
        for (Index place = 0; place < n; ++place) {
          CAPTURE(n, place, special);
          Tensor<Scalar> x({3, n});
          for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<Scalar>(static_cast<float>(i % 7 - 3));
          x(1, place) = static_cast<Scalar>(special);
          // Along the memory, across it, and in steps.
          for (const TensorView<Scalar>& view :
               {x.view(), x.select(0, 1), x.slice(0, {.step = -1}), x.slice(1, {.begin = place, .step = 2})}) {
            std::vector<double> entries;
            for (const Scalar e : entries_of<Scalar>(view)) entries.push_back(static_cast<double>(e));
            CHECK(difference(static_cast<double>(amax(view).item()), naive_max(entries)) == 0);
            CHECK(difference(static_cast<double>(amin(view).item()), naive_min(entries)) == 0);
          }
          const Tensor<Scalar> largest = amax(x, 0), smallest = amin(x, 0);
          const double over = static_cast<double>(x(0, place)), under = static_cast<double>(x(2, place));
          CHECK(difference(static_cast<double>(largest(place)), naive_max({over, special, under})) == 0);
          CHECK(difference(static_cast<double>(smallest(place)), naive_min({over, special, under})) == 0);
        }
    CHECK(static_cast<double>(amax(Tensor<Scalar>({40}, static_cast<Scalar>(-infinite))).item()) == -infinite);
    CHECK(static_cast<double>(amin(Tensor<Scalar>({40}, static_cast<Scalar>(infinite))).item()) == infinite);
  };
  check_type(0.0F);
  check_type(0.0);
  check_type(Eigen::half(0));
  check_type(Eigen::bfloat16(0));
}

TEST_CASE("logsumexp does not overflow", "[tensors]") {
  const auto of = [](const std::vector<float>& values, Index repeat) {
    const Tensor<float> x({static_cast<Index>(values.size())}, values);
    return static_cast<double>(logsumexp(x.unsqueeze(0).expand({repeat, x.size()}), {0, 1}).item());
  };
  const float inf = static_cast<float>(infinite);
  for (const Index repeat : {1, 5, 40}) {
    const double more = std::log(static_cast<double>(repeat));
    CHECK(difference(of({1000, 1000}, repeat), 1000 + std::log(2) + more) <= rounding<float>(2));
    CHECK(difference(of({-1000, -1001}, repeat), -1000 + std::log1p(std::exp(-1)) + more) <= rounding<float>(2));
    CHECK(of({-inf, -inf}, repeat) == -infinite);
    CHECK(difference(of({-inf, 2}, repeat), 2 + more) <= rounding<float>(2));
    CHECK(of({inf, 2}, repeat) == infinite);
    CHECK(of({inf, -inf}, repeat) == infinite);
    CHECK(std::isnan(of({static_cast<float>(not_a_number), 2}, repeat)));
  }
}

TEST_CASE("a variance divides by the number of entries minus the correction", "[tensors]") {
  const Tensor<double> x({2}, std::vector<double>{1, 3});
  CHECK(variance(x, 0).item() == 2);
  CHECK(variance(x, 0, {.correction = 0}).item() == 1);
  CHECK(variance(x, 0, {.correction = 2}).item() == infinite);
  CHECK(variance(x, 0, {.correction = 3}).item() == infinite);  // never negative, as in NumPy
  CHECK(standard_deviation(x, 0, {.correction = 0}).item() == 1);
  CHECK(std::isnan(variance(Tensor<double>({1}, 5.0), 0).item()));
}

TEST_CASE("unsigned 64-bit integers are summed and multiplied without a sign", "[tensors]") {
  constexpr std::uint64_t half = std::uint64_t{1} << 63;
  const Tensor<std::uint64_t> x({2, 1500}, half / 1500);
  CHECK(sum(x).item() == half / 1500 * 3000);
  CHECK(sum(x, 0)(1499) == half / 1500 * 2);
  CHECK(sum(Tensor<std::uint64_t>({2}, half - 1)).item() == 2 * (half - 1));
  CHECK(sum(Tensor<std::uint64_t>({1}, half + 5)).item() == half + 5);
  CHECK(prod(Tensor<std::uint64_t>({2}, (std::uint64_t{1} << 32) - 1)).item() == 18446744065119617025U);
  CHECK(sum(Tensor<std::uint64_t>({0}, half)).item() == 0);
}
