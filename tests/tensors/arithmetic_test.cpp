#include "eigenformer/tensors/arithmetic.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "tensors/tensor_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Sizes;
using ef::Tensor;
using ef::testing::broadcast_entry;
using ef::testing::entries_of;
using ef::testing::entry;
using ef::testing::GuardedView;
using ef::testing::infinite;
using ef::testing::largest_difference;
using ef::testing::message_of;
using ef::testing::not_a_number;
using ef::testing::relative_error;
using ef::testing::rounding;

namespace {

// A tensor of one type from numbers, at least 33 so that each function also runs on packets.
template <class Scalar>
Tensor<Scalar> repeated(const std::vector<double>& numbers) {
  Tensor<Scalar> x({33 + static_cast<Index>(numbers.size())});
  for (Index i = 0; i < x.size(); ++i)
    x(i) = static_cast<Scalar>(numbers[static_cast<std::size_t>(i) % numbers.size()]);
  return x;
}

// The largest difference of function(x) from expected(x), computed in double of the rounded argument.
template <class Scalar, class Function, class Expected>
double error_of(Function function, Expected expected, const std::vector<double>& numbers) {
  const Tensor<Scalar> x = repeated<Scalar>(numbers);
  return largest_difference(Tensor<Scalar>(function(x)), x.shape(),
                            [&](const Sizes& i) { return expected(static_cast<double>(entry(x, i))); });
}

const std::vector<double> ordinary{0.5, -0.25, 0, 1, -1, 2.5, -2.5, 3.5, 0.1, -0.7, 7.25, -6.5};
const std::vector<double> positive{0.5, 0.25, 1, 2.5, 3.5, 0.1, 0.7, 7.25, 100, 1e-3};

template <class Scalar, class Function, class Expected>
void check_function(const char* name, Function function, Expected expected, const std::vector<double>& numbers) {
  CAPTURE(name);
  CHECK(error_of<Scalar>(function, expected, numbers) <= rounding<Scalar>(8));
}

// Those that Eigen's packets compute, or this library itself.
template <class Scalar>
void check_some_functions() {
  check_function<Scalar>(
      "-", [](const auto& x) { return -x; }, [](double x) { return -x; }, ordinary);
  check_function<Scalar>(
      "sqrt", [](const auto& x) { return sqrt(x); }, [](double x) { return std::sqrt(x); }, positive);
  check_function<Scalar>(
      "rsqrt", [](const auto& x) { return rsqrt(x); }, [](double x) { return 1 / std::sqrt(x); }, positive);
  check_function<Scalar>(
      "exp", [](const auto& x) { return exp(x); }, [](double x) { return std::exp(x); }, ordinary);
  check_function<Scalar>(
      "tanh", [](const auto& x) { return tanh(x); }, [](double x) { return std::tanh(x); }, ordinary);
  check_function<Scalar>(
      "relu", [](const auto& x) { return relu(x); }, [](double x) { return x > 0 ? x : 0; }, ordinary);
  check_function<Scalar>(
      "floor", [](const auto& x) { return floor(x); }, [](double x) { return std::floor(x); }, ordinary);
}

template <class Scalar>
void check_all_functions() {
  check_some_functions<Scalar>();
  const std::vector<double> halves{0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.25, -0.75, 3, -7, 0};
  check_function<Scalar>(
      "abs", [](const auto& x) { return abs(x); }, [](double x) { return std::abs(x); }, ordinary);
  check_function<Scalar>(
      "square", [](const auto& x) { return square(x); }, [](double x) { return x * x; }, ordinary);
  check_function<Scalar>(
      "log", [](const auto& x) { return log(x); }, [](double x) { return std::log(x); }, positive);
  check_function<Scalar>(
      "log1p", [](const auto& x) { return log1p(x); }, [](double x) { return std::log1p(x); }, positive);
  check_function<Scalar>(
      "expm1", [](const auto& x) { return expm1(x); }, [](double x) { return std::expm1(x); }, ordinary);
  check_function<Scalar>(
      "sin", [](const auto& x) { return sin(x); }, [](double x) { return std::sin(x); }, ordinary);
  check_function<Scalar>(
      "cos", [](const auto& x) { return cos(x); }, [](double x) { return std::cos(x); }, ordinary);
  check_function<Scalar>(
      "sigmoid", [](const auto& x) { return sigmoid(x); }, [](double x) { return 1 / (1 + std::exp(-x)); }, ordinary);
  check_function<Scalar>(
      "pow", [](const auto& x) { return pow(x, 1.5); }, [](double x) { return std::pow(x, 1.5); }, positive);
  check_function<Scalar>(
      "pow 3", [](const auto& x) { return pow(x, 3); }, [](double x) { return x * x * x; }, ordinary);
  check_function<Scalar>(
      "clamp", [](const auto& x) { return clamp(x, -1, 2.5); },
      [](double x) { return x < -1    ? -1
                            : x > 2.5 ? 2.5
                                      : x; }, ordinary);
  check_function<Scalar>(
      "ceil", [](const auto& x) { return ceil(x); }, [](double x) { return std::ceil(x); }, halves);
  check_function<Scalar>(
      "round", [](const auto& x) { return round(x); }, [](double x) { return std::nearbyint(x); }, halves);
  check_function<Scalar>(
      "sign", [](const auto& x) { return sign(x); }, [](double x) { return double(x > 0) - double(x < 0); }, halves);
}

template <class Scalar>
void check_special_numbers() {
  const auto check_at = [&](const char* name, auto function, double x, double expected) {
    CAPTURE(name, x);
    CHECK(error_of<Scalar>(function, [&](double) { return expected; }, {x}) <= (std::numeric_limits<Scalar>::min)());
  };
  const auto check_all = [&](const char* name, auto function, double at_infinity, double at_minus_infinity) {
    check_at(name, function, infinite, at_infinity);
    check_at(name, function, -infinite, at_minus_infinity);
    check_at(name, function, not_a_number, not_a_number);
  };
  check_all(
      "exp", [](const auto& x) { return exp(x); }, infinite, 0);
  check_all(
      "log", [](const auto& x) { return log(x); }, infinite, not_a_number);
  check_all(
      "tanh", [](const auto& x) { return tanh(x); }, 1, -1);
  check_all(
      "sigmoid", [](const auto& x) { return sigmoid(x); }, 1, 0);
  check_all(
      "relu", [](const auto& x) { return relu(x); }, infinite, 0);
  check_all(
      "abs", [](const auto& x) { return abs(x); }, infinite, infinite);
  check_all(
      "sqrt", [](const auto& x) { return sqrt(x); }, infinite, not_a_number);
  check_all(
      "expm1", [](const auto& x) { return expm1(x); }, infinite, -1);
  check_all(
      "log1p", [](const auto& x) { return log1p(x); }, infinite, not_a_number);
  check_all(
      "floor", [](const auto& x) { return floor(x); }, infinite, -infinite);
  check_all(
      "ceil", [](const auto& x) { return ceil(x); }, infinite, -infinite);
  check_all(
      "round", [](const auto& x) { return round(x); }, infinite, -infinite);
  check_all(
      "clamp", [](const auto& x) { return clamp(x, -2, 3); }, 3, -2);
  check_at(
      "log", [](const auto& x) { return log(x); }, 0, -infinite);
  check_at(
      "rsqrt", [](const auto& x) { return rsqrt(x); }, 0, infinite);
  check_at(
      "log1p", [](const auto& x) { return log1p(x); }, -1, -infinite);
}

}  // namespace

TEST_CASE("functions of entries", "[tensors]") {
  SECTION("float") {
    check_all_functions<float>();
  }
  SECTION("double") {
    check_all_functions<double>();
  }
  SECTION("half") {
    check_some_functions<Eigen::half>();
  }
  SECTION("bfloat16") {
    check_some_functions<Eigen::bfloat16>();
  }
}

TEST_CASE("functions of infinity and NaN", "[tensors]") {
  SECTION("float") {
    check_special_numbers<float>();
  }
  SECTION("double") {
    check_special_numbers<double>();
  }
  SECTION("half") {
    check_special_numbers<Eigen::half>();
  }
  SECTION("bfloat16") {
    check_special_numbers<Eigen::bfloat16>();
  }
}

TEST_CASE("functions are accurate for small and large numbers", "[tensors]") {
  const std::vector<double> small{1e-7, -1e-7, 1e-5, -3e-6, 1e-20};
  const auto relative = [](const Tensor<double>& y, const Tensor<double>& x, auto function) {
    return largest_difference(Tensor<double>(y / x), x.shape(),
                              [&](const Sizes& i) { return function(entry(x, i)) / entry(x, i); });
  };
  const Tensor<double> x = repeated<double>(small);
  CHECK(relative(expm1(x), x, [](double v) { return std::expm1(v); }) <= rounding<double>(8));
  CHECK(relative(log1p(x), x, [](double v) { return std::log1p(v); }) <= rounding<double>(8));
  const std::vector<double> large{1e10, -1e10, 3e9, -3e9, 4194304.5, -8388607.5, 1e38, 0.49999997};
  CHECK(error_of<float>([](const auto& a) { return floor(a); }, [](double a) { return std::floor(a); }, large) == 0);
  CHECK(error_of<float>([](const auto& a) { return ceil(a); }, [](double a) { return std::ceil(a); }, large) == 0);
  CHECK(error_of<float>([](const auto& a) { return round(a); }, [](double a) { return std::nearbyint(a); }, large) ==
        0);
  CHECK(error_of<float>([](const auto& a) { return sigmoid(a); }, [](double a) { return a > 0; }, {1e4, -1e4}) <=
        1e-37);
  CHECK(error_of<float>([](const auto& a) { return tanh(a); }, [](double a) { return a > 0 ? 1 : -1; }, {1e4, -1e4}) ==
        0);
}

TEMPLATE_TEST_CASE("roots and logarithms of subnormal numbers", "[tensors]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  const double least = static_cast<double>(Limits::denorm_min()), normal = static_cast<double>((Limits::min)());
  const std::vector<double> numbers{least, 3 * least, 1000 * least, normal / 2, normal - least, normal, 2 * normal, 1};
  const Tensor<TestType> x = repeated<TestType>(numbers), root = sqrt(x), inverse_root = rsqrt(x), logarithm = log(x);
  for (Index i = 0; i < x.size(); ++i) {
    const auto of = static_cast<double>(x(i));
    CAPTURE(i, of);
    CHECK(relative_error(static_cast<double>(root(i)), std::sqrt(of)) <= rounding<TestType>(2));
    CHECK(relative_error(static_cast<double>(inverse_root(i)), 1 / std::sqrt(of)) <= rounding<TestType>(4));
    CHECK(relative_error(static_cast<double>(logarithm(i)), std::log(of)) <= rounding<TestType>(2));
  }
  const Tensor<TestType> negative = repeated<TestType>({-least, -normal / 2});
  const Tensor<TestType> no_root = sqrt(negative), no_logarithm = log(negative);
  for (Index i = 0; i < negative.size(); ++i) CHECK((std::isnan(no_root(i)) && std::isnan(no_logarithm(i))));
}

TEMPLATE_TEST_CASE("roots of 0 keep its sign in every lane", "[tensors]", float, double) {
  const Tensor<TestType> x = repeated<TestType>({-0.0, 0.0}), root = sqrt(x), inverse_root = rsqrt(x);
  for (Index i = 0; i < x.size(); ++i) {
    CAPTURE(i);
    CHECK((root(i) == 0 && std::signbit(root(i)) == std::signbit(x(i))));
    CHECK(inverse_root(i) == std::copysign(std::numeric_limits<TestType>::infinity(), x(i)));
  }
}

TEMPLATE_TEST_CASE("powers of every kind of number, in every lane", "[tensors]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  const double least = static_cast<double>(Limits::denorm_min()), normal = static_cast<double>((Limits::min)());
  std::vector<double> numbers{0, least, normal / 2, normal, 0.5, 1, 1.5, 3, 1e6, infinite};
  for (std::size_t i = 0; i < 10; ++i) numbers.push_back(-numbers[i]);
  numbers.push_back(not_a_number);
  const Tensor<TestType> x = repeated<TestType>(numbers);
  for (const double exponent : {-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, infinite, -infinite}) {
    const Tensor<TestType> y = pow(x, exponent);
    for (Index i = 0; i < x.size(); ++i) {
      const auto expected = static_cast<double>(static_cast<TestType>(std::pow(static_cast<double>(x(i)), exponent)));
      const auto given = static_cast<double>(y(i));
      CAPTURE(exponent, i, x(i), given, expected);
      if (std::isnan(expected)) {
        CHECK(std::isnan(given));
        continue;
      }
      CHECK(std::signbit(given) == std::signbit(expected));
      if (std::isinf(expected) || expected == 0)
        CHECK(given == expected);
      else
        CHECK(std::abs(given - expected) <= rounding<TestType>(8) * std::abs(expected) + 2 * normal);
    }
  }
}

TEMPLATE_TEST_CASE("the logistic function keeps its digits", "[tensors]", float, double) {
  std::vector<double> numbers;
  const double most = std::is_same_v<TestType, float> ? 87 : 708;
  for (double x = -most; x <= 20; x += 0.37) numbers.push_back(x);
  const Tensor<TestType> x = repeated<TestType>(numbers), y = sigmoid(x);
  for (Index i = 0; i < x.size(); ++i) {
    const double expected = 1 / (1 + std::exp(-static_cast<double>(x(i))));
    CAPTURE(x(i), y(i), expected);
    CHECK(relative_error(static_cast<double>(y(i)), expected) <= rounding<TestType>(8));
  }
  const Tensor<TestType> below = repeated<TestType>({-1000, -infinite}), limit = sigmoid(below);
  for (Index i = 0; i < below.size(); ++i) CHECK(limit(i) == 0);
}

TEST_CASE("the exponential of minus infinity is exactly 0", "[tensors]") {
  const Tensor<float> x = repeated<float>({-infinite, -100, -1e30, 0});
  const Tensor<double> y = repeated<double>({-infinite, -1000, -1e300, 0});
  const Tensor<Eigen::half> h = x.cast<Eigen::half>();
  const Tensor<Eigen::bfloat16> b = x.cast<Eigen::bfloat16>();
  for (Index i = 0; i < x.size(); ++i) {
    CHECK(static_cast<float>(Tensor<Eigen::half>(exp(h))(i)) == (i % 4 == 3 ? 1 : 0));
    CHECK(static_cast<float>(Tensor<Eigen::bfloat16>(exp(b))(i)) == (i % 4 == 3 ? 1 : 0));
    CHECK(Tensor<float>(exp(x))(i) == (i % 4 == 3 ? 1 : 0));
    CHECK(Tensor<double>(exp(y))(i) == (i % 4 == 3 ? 1 : 0));
  }
}

TEST_CASE("maximum and minimum keep NaN, in either operand and every lane", "[tensors]") {
  const auto check_type = [](auto zero) {
    using Scalar = decltype(zero);
    for (const Index n : {1, 2, 3, 7, 16, 33})
      for (Index place = 0; place < n; ++place) {
        CAPTURE(n, place);
        Tensor<Scalar> x({n}, Scalar(1)), y({n}, Scalar(2));
        for (const bool in_x : {true, false}) {
          (in_x ? x : y)(place) = static_cast<Scalar>(not_a_number);
          (in_x ? y : x)(place) = static_cast<Scalar>(place % 2 == 0 ? 5 : infinite);
          CHECK(largest_difference(Tensor<Scalar>(maximum(x, y)), {n},
                                   [&](const Sizes& i) { return i[0] == place ? not_a_number : 2; }) == 0);
          CHECK(largest_difference(Tensor<Scalar>(minimum(x, y)), {n},
                                   [&](const Sizes& i) { return i[0] == place ? not_a_number : 1; }) == 0);
          x(place) = Scalar(1);
          y(place) = Scalar(2);
        }
        x(place) = static_cast<Scalar>(not_a_number);
        CHECK(largest_difference(Tensor<Scalar>(relu(x)), {n},
                                 [&](const Sizes& i) { return i[0] == place ? not_a_number : 1; }) == 0);
        CHECK(largest_difference(Tensor<Scalar>(clamp(x, 0, 0.5)), {n},
                                 [&](const Sizes& i) { return i[0] == place ? not_a_number : 0.5; }) == 0);
        CHECK(entries_of(Tensor<bool>(isnan(x)))[static_cast<std::size_t>(place)]);
      }
  };
  check_type(0.0F);
  check_type(0.0);
  check_type(Eigen::half(0));
  check_type(Eigen::bfloat16(0));
}

TEST_CASE("comparisons and logic give tensors of bool", "[tensors]") {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    const Sizes shape = ef::testing::random_shape(rng);
    const GuardedView<float> a(ef::testing::random_broadcastable(shape, rng), rng), b(shape, rng);
    const auto expect = [&](const Tensor<bool>& result, auto compare) {
      CHECK(largest_difference(result, shape, [&](const Sizes& i) {
              return compare(broadcast_entry(a.view(), i), entry(b.view(), i)) ? 1 : 0;
            }) == 0);
    };
    expect(a.view() < b.view(), [](float x, float y) { return x < y; });
    expect(a.view() <= b.view(), [](float x, float y) { return x <= y; });
    expect(a.view() > b.view(), [](float x, float y) { return x > y; });
    expect(a.view() >= b.view(), [](float x, float y) { return x >= y; });
    expect(a.view() == b.view(), [](float x, float y) { return x == y; });
    expect(a.view() != b.view(), [](float x, float y) { return x != y; });
    expect(a.view() > 0 && b.view() > 0, [](float x, float y) { return x > 0 && y > 0; });
    expect(a.view() > 0 || 3 < b.view(), [](float x, float y) { return x > 0 || y > 3; });
    expect(!(a.view() > 0 || b.view() > 0), [](float x, float y) { return !(x > 0 || y > 0); });
    // Of masks in memory too.
    const Tensor<bool> is_positive = a.view() > 0, is_negative = b.view() < 0;
    expect(is_positive && is_negative, [](float x, float y) { return x > 0 && y < 0; });
    expect(!is_positive || is_negative, [](float x, float y) { return x <= 0 || y < 0; });

    const Tensor<float> chosen = where(a.view() > b.view(), a.view(), b.view() * 2);
    CHECK(largest_difference(chosen, shape, [&](const Sizes& i) {
            const float x = broadcast_entry(a.view(), i), y = entry(b.view(), i);
            return x > y ? x : 2 * y;
          }) == 0);
    CHECK(largest_difference(Tensor<float>(where(is_negative, a.view(), 0.5)), shape, [&](const Sizes& i) {
            return entry(b.view(), i) < 0 ? broadcast_entry(a.view(), i) : 0.5F;
          }) == 0);
    CHECK(largest_difference(Tensor<float>(masked_fill(a.view(), b.view() < 0, -infinite)), shape, [&](const Sizes& i) {
            return entry(b.view(), i) < 0 ? -infinite : broadcast_entry(a.view(), i);
          }) == 0);
  }
  const Tensor<bool> mask({3}, true);
  CHECK(entries_of(Tensor<float>(where(mask, 1.5F, 0.0F))) == std::vector<float>{1.5F, 1.5F, 1.5F});
  CHECK(entries_of(Tensor<double>(where(!mask, 1, 0.5))) == std::vector<double>{0.5, 0.5, 0.5});

  const Tensor<double> special = repeated<double>({1, not_a_number, infinite, -infinite});
  CHECK(largest_difference(Tensor<bool>(isnan(special)), special.shape(),
                           [&](const Sizes& i) { return i[0] % 4 == 1; }) == 0);
  CHECK(largest_difference(Tensor<bool>(isfinite(special)), special.shape(),
                           [&](const Sizes& i) { return i[0] % 4 == 0; }) == 0);
  CHECK(largest_difference(Tensor<bool>(special == special), special.shape(),
                           [&](const Sizes& i) { return i[0] % 4 != 1; }) == 0);
  CHECK(largest_difference(Tensor<bool>(special != special), special.shape(),
                           [&](const Sizes& i) { return i[0] % 4 == 1; }) == 0);
}

TEST_CASE("functions of several operands keep temporary ones", "[tensors]") {
  const auto filled = [](float value) { return Tensor<float>({100}, value); };
  const Tensor<float> x = filled(2);
  const Tensor<bool> mask({100}, true);
  const auto check_value = [&](auto make, float expected) {
    const auto expression = make();
    std::vector<Tensor<float>> others;  // take the memory that temporaries may have freed
    for (int i = 0; i < 8; ++i) others.push_back(filled(-7));
    CHECK(largest_difference(Tensor<float>(expression), {100}, [&](const Sizes&) { return expected; }) == 0);
  };
  check_value([&] { return clamp(x, filled(3), filled(4)); }, 3);
  check_value([&] { return clamp(filled(5), 1, filled(4)); }, 4);
  check_value([&] { return maximum(x, filled(3)); }, 3);
  check_value([&] { return minimum(filled(1), x); }, 1);
  check_value([&] { return where(Tensor<bool>({100}, false), x, filled(6)); }, 6);
  check_value([&] { return masked_fill(filled(3), mask, filled(8)); }, 8);
  check_value([&] { return masked_fill(filled(3), Tensor<bool>({100}, false), 8); }, 3);
}

TEST_CASE("numbers stand on either side", "[tensors]") {
  const Tensor<float> x({2}, std::vector<float>{1, 4});
  using Floats = std::vector<float>;
  CHECK(entries_of(Tensor<float>(2 + x)) == Floats{3, 6});
  CHECK(entries_of(Tensor<float>(2 - x)) == Floats{1, -2});
  CHECK(entries_of(Tensor<float>(0.5 * x)) == Floats{0.5F, 2});
  CHECK(entries_of(Tensor<float>(2 / x)) == Floats{2, 0.5F});
  CHECK(entries_of(Tensor<float>(x / 2.0)) == Floats{0.5F, 2});
  CHECK(entries_of(Tensor<float>(maximum(2, x))) == Floats{2, 4});
  CHECK(entries_of(Tensor<float>(minimum(x, 2))) == Floats{1, 2});
  CHECK(entries_of(Tensor<bool>(2 < x)) == std::vector<bool>{false, true});
  const Tensor<Eigen::half> h = x.cast<Eigen::half>();
  CHECK(entries_of(Tensor<float>(cast<float>(h * 0.5 + 1))) == Floats{1.5F, 3});
  CHECK(entries_of(Tensor<float>(cast<float>(h * h - Eigen::half(1)))) == Floats{0, 15});
  static_assert(std::is_same_v<ef::ScalarOf<decltype(x * 2.0)>, float>);
  static_assert(std::is_same_v<ef::ScalarOf<decltype(h * 2.0)>, Eigen::half>);
}

TEST_CASE("integers are computed exactly", "[tensors]") {
  const Index large = (std::numeric_limits<Index>::max)() / 3;
  const Tensor<Index> x({4}, std::vector<Index>{-7, 0, 5, large});
  using Indices = std::vector<Index>;
  CHECK(entries_of(Tensor<Index>(x * 3 - 1)) == Indices{-22, -1, 14, large * 3 - 1});
  CHECK(entries_of(Tensor<Index>(x / 2)) == Indices{-3, 0, 2, large / 2});
  CHECK(entries_of(Tensor<Index>(abs(x))) == Indices{7, 0, 5, large});
  CHECK(entries_of(Tensor<Index>(-x)) == Indices{7, 0, -5, -large});
  CHECK(entries_of(Tensor<Index>(relu(x))) == Indices{0, 0, 5, large});
  CHECK(entries_of(Tensor<Index>(clamp(x, -1, 3))) == Indices{-1, 0, 3, 3});
  CHECK(entries_of(Tensor<Index>(sign(x))) == Indices{-1, 0, 1, 1});
  const Tensor<int> i({3}, std::vector<int>{-3, 0, 4});
  CHECK(entries_of(Tensor<int>(square(i))) == std::vector<int>{9, 0, 16});
  CHECK(entries_of(Tensor<int>(pow(i, 3))) == std::vector<int>{-27, 0, 64});
  const Tensor<std::uint64_t> most({20}, (std::numeric_limits<std::uint64_t>::max)());
  CHECK(entries_of(Tensor<std::uint64_t>(floor(most))) == entries_of(most));
  CHECK(entries_of(Tensor<std::uint64_t>(ceil(most))) == entries_of(most));
  CHECK(entries_of(Tensor<std::uint64_t>(round(most))) == entries_of(most));
  CHECK(entries_of(Tensor<float>(cast<float>(i) / 2)) == std::vector<float>{-1.5F, 0, 2});
  CHECK(entries_of(Tensor<bool>(cast<bool>(i))) == std::vector<bool>{true, false, true});
  CHECK(entries_of(Tensor<int>(cast<int>(i > 0) + 1)) == std::vector<int>{1, 1, 2});
  CHECK(entries_of(Tensor<int>(cast<int>(Tensor<float>({2}, 2.75F)))) == std::vector<int>{2, 2});
}

TEST_CASE("integers that do not fit a tensor's type are errors", "[tensors]") {
  const Tensor<std::uint8_t> x({3}, std::uint8_t{5});
  const std::string refusal = "a tensor of integers from 0 to 255 and the number ";
  CHECK(message_of([&] { Tensor<bool>(x < 300); }) == refusal + "300");
  CHECK(message_of([&] { Tensor<bool>(-1 < x); }) == refusal + "-1");
  CHECK(message_of([&] { x + 256U; }) == refusal + "256");
  CHECK(message_of([&] { clamp(x, 0, 1'000'000); }) == refusal + "1000000");
  Tensor<std::uint8_t> y({3});
  CHECK(message_of([&] { y.array() = -1; }) == refusal + "-1");
  const Tensor<Index> wide({3});
  const auto beyond = (std::numeric_limits<std::uint64_t>::max)();
  CHECK(message_of([&] { Tensor<bool>(wide < beyond); }).find("and the number 18446744073709551615") !=
        std::string::npos);
  CHECK(entries_of(Tensor<std::uint8_t>(x + 250)) == std::vector<std::uint8_t>(3, 255));
  CHECK(entries_of(Tensor<bool>(x < 255)) == std::vector<bool>(3, true));
  CHECK(entries_of(Tensor<bool>(Tensor<bool>({2}, true) == 1)) == std::vector<bool>(2, true));
}

TEST_CASE("integers have no quotients by 0 and no negative powers", "[tensors]") {
  Tensor<int> x({3}, 6);
  CHECK(message_of([&] { x / 0; }) == "a tensor of integers divided by 0");
  CHECK(message_of([&] { (x + 1) / 0U; }) == "a tensor of integers divided by 0");
  CHECK(message_of([&] { x.array() /= 0; }) == "a tensor of integers divided by 0");
  CHECK(message_of([] { Tensor<std::uint8_t>({3}) / 256; }) == "a tensor of integers divided by 256");
  x.array() /= 2;
  CHECK(entries_of(Tensor<int>(12 / x)) == std::vector<int>{4, 4, 4});
  CHECK(entries_of(Tensor<float>(Tensor<float>({2}, 1.0F) / 0)) == std::vector<float>(2, static_cast<float>(infinite)));
  CHECK(message_of([&] { pow(x, -1); }) == "pow: the exponent of integers is -1, expected 0 or more");
  CHECK(message_of([] { pow(Tensor<std::uint8_t>({3}), -1); }) ==
        "pow: the exponent of integers is -1, expected 0 or more");
  CHECK(entries_of(Tensor<int>(pow(x, 0U))) == std::vector<int>{1, 1, 1});
  CHECK(entries_of(Tensor<float>(pow(Tensor<float>({1}, 2.0F), -1))) == std::vector<float>{0.5F});
}

TEST_CASE("exp and expm1 are finite wherever their results are", "[tensors]") {
  for (const float x : {88.3F, 88.38F, 88.5F, 88.72F}) {
    CAPTURE(x);
    const auto expected = static_cast<float>(std::exp(static_cast<double>(x)));
    const Tensor<float> many({37}, x), y = exp(many), z = expm1(many);
    for (Index i = 0; i < 37; ++i) {
      CHECK(std::abs(y(i) / expected - 1) <= 8 * std::numeric_limits<float>::epsilon());
      CHECK(std::abs(z(i) / expected - 1) <= 8 * std::numeric_limits<float>::epsilon());
    }
  }
  const Tensor<float> beyond({37}, 88.73F), y = exp(beyond), z = expm1(beyond);
  CHECK(y(0) == std::numeric_limits<float>::infinity());
  CHECK(z(0) == std::numeric_limits<float>::infinity());
}
