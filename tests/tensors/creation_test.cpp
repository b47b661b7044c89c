#include "eigenformer/tensors/creation.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "tensors/tensor_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Sizes;
using ef::Tensor;
using ef::testing::entries_of;
using ef::testing::message_of;

TEST_CASE("nested lists are tensors", "[tensors]") {
  const Tensor<float> x = ef::tensor<float>({{1, 2, 3}, {4, 5, 6}});
  CHECK(x.shape() == Sizes{2, 3});
  CHECK(entries_of(x) == std::vector<float>{1, 2, 3, 4, 5, 6});
  const Tensor<int> y = ef::tensor<int>({{{1}, {2}}, {{3}, {4}}, {{5}, {6}}});
  CHECK(y.shape() == Sizes{3, 2, 1});
  CHECK(entries_of(y) == std::vector<int>{1, 2, 3, 4, 5, 6});
  CHECK(ef::tensor<int>(5).shape() == Sizes{});
  CHECK(ef::tensor<int>(5).item() == 5);
  CHECK(ef::tensor<int>({5}).shape() == Sizes{1});
  CHECK(ef::tensor<int>({{5}}).shape() == Sizes{1, 1});
  CHECK(ef::tensor<int>({{{5}}}).shape() == Sizes{1, 1, 1});
  CHECK(ef::tensor<int>({{5, 6}}).shape() == Sizes{1, 2});
  CHECK(ef::tensor<double>({0.5, -1}).shape() == Sizes{2});
  CHECK(ef::tensor<float>({}).shape() == Sizes{0});
  CHECK(ef::tensor<float>({{}, {}}).shape() == Sizes{2, 0});
  CHECK(entries_of(ef::tensor<bool>({{true, false}, {false, true}})) == std::vector<bool>{true, false, false, true});
  CHECK(static_cast<float>(ef::tensor<Eigen::half>({Eigen::half(1), Eigen::half(2)})(1)) == 2);
  CHECK(ef::tensor<int>({{{{{{{{7}}}}}}}}).rank() == 8);

  CHECK(message_of([] {
          ef::tensor<int>({{1, 2, 3}, {4, 5}});
        }) == "tensor: a list of shape [2] beside one of shape [3]");
  CHECK(message_of([] {
          ef::tensor<int>({{{1}, {2}}, {{3}, {4, 5}}});
        }) == "tensor: a list of shape [2] beside one of shape [1]");
  CHECK(message_of([] { ef::tensor<int>({{1, 2}, 3}); }) == "tensor: a list of shape [] beside one of shape [2]");
  CHECK(message_of([] { ef::tensor<int>({{}, {1}}); }) == "tensor: a list of shape [1] beside one of shape [0]");
  CHECK(message_of([] { ef::tensor<int>({{{{{{{{{7}}}}}}}}}); }) ==
        "Sizes: a tensor of 9 dimensions, expected at most 8");
}

TEST_CASE("tensors of equal entries, and the identity", "[tensors]") {
  CHECK(entries_of(ef::full<float>({2, 2}, 3)) == std::vector<float>{3, 3, 3, 3});
  CHECK(ef::full<float>({}, 3).item() == 3);
  CHECK(entries_of(ef::zeros<int>({3})) == std::vector<int>{0, 0, 0});
  CHECK(entries_of(ef::ones<double>({2, 1})) == std::vector<double>{1, 1});
  CHECK(ef::zeros<bool>({0, 3}).shape() == Sizes{0, 3});
  CHECK(static_cast<float>(ef::ones<Eigen::bfloat16>({1}).item()) == 1);
  CHECK(ef::eye<float>(3).matrix() == Eigen::Matrix3f::Identity());
  CHECK(ef::eye<int>(0).shape() == Sizes{0, 0});
  CHECK(message_of([] { ef::eye<int>(-1); }) == "Tensor: the shape is [-1 x -1], expected sizes of 0 or more");
}

TEST_CASE("ranges are NumPy's", "[tensors]") {
  using Ints = std::vector<int>;
  CHECK(entries_of(ef::arange<int>(4)) == Ints{0, 1, 2, 3});
  CHECK(entries_of(ef::arange<int>(2, 5)) == Ints{2, 3, 4});
  CHECK(entries_of(ef::arange<int>(2, 9, 3)) == Ints{2, 5, 8});
  CHECK(entries_of(ef::arange<int>(2, 8, 3)) == Ints{2, 5});
  CHECK(entries_of(ef::arange<int>(5, 0, -2)) == Ints{5, 3, 1});
  CHECK(entries_of(ef::arange<int>(5, 1, -2)) == Ints{5, 3});
  CHECK(ef::arange<int>(5, 5).shape() == Sizes{0});
  CHECK(ef::arange<int>(5, 2).shape() == Sizes{0});
  CHECK(ef::arange<int>(-3).shape() == Sizes{0});
  CHECK(ef::arange<int>(2, 5, -1).shape() == Sizes{0});
  CHECK(entries_of(ef::arange<double>(0, 1, 0.25)) == std::vector<double>{0, 0.25, 0.5, 0.75});
  CHECK(entries_of(ef::arange<float>(1, 0, -0.5F)) == std::vector<float>{1, 0.5F});
  CHECK(ef::arange<double>(0, 1, 0.1).size() == 10);
  CHECK(ef::arange<double>(1, 1.3, 0.1).size() == 4);  // as in NumPy, which warns of it
  CHECK(ef::arange<float>(0, 1, 0.1F)(7) == 7 * 0.1F);
  CHECK(static_cast<float>(ef::arange<Eigen::half>(Eigen::half(5))(4)) == 4);
  // At the ends of the integers.
  const Index large = Index{1} << (sizeof(Index) * 8 - 3);
  CHECK(entries_of(ef::arange<Index>(large, large + 3)) == std::vector<Index>{large, large + 1, large + 2});
  CHECK(entries_of(ef::arange<Index>(-large, -large - 5, -2)) == std::vector<Index>{-large, -large - 2, -large - 4});
  CHECK(entries_of(ef::arange<int>(-2'000'000'000, 2'000'000'000, 1'500'000'000)) ==
        Ints{-2'000'000'000, -500'000'000, 1'000'000'000});
  CHECK(ef::arange<std::int8_t>(-100, 100)(199) == 99);
  CHECK(entries_of(ef::arange<std::uint8_t>(250, 255, 2)) == std::vector<std::uint8_t>{250, 252, 254});
  CHECK(message_of([] { ef::arange<int>(0, 5, 0); }) == "arange: the step is 0, expected a number above or below 0");
  CHECK(message_of([] { ef::arange<double>(0, HUGE_VAL); }) == "arange: too many entries");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(message_of([&] { ef::arange<double>(nan, 3); }) ==
        "arange: from nan to 3 by 1, expected a finite number of entries");
  CHECK(message_of([&] { ef::arange<float>(0, HUGE_VALF, HUGE_VALF); }) ==
        "arange: from 0 to inf by inf, expected a finite number of entries");
  CHECK(message_of([&] { ef::arange<float>(0, 5, HUGE_VALF); }) ==
        "arange: from 0 to 5 by inf, expected a finite number of entries");
}

TEST_CASE("random tensors", "[tensors]") {
  ef::Rng rng(42), same(42);
  const Tensor<float> uniform = ef::rand<float>({100, 100}, rng);
  CHECK(entries_of(uniform) == entries_of(ef::rand<float>({100, 100}, same)));
  double sum = 0;
  for (const float x : entries_of(uniform)) {
    sum += static_cast<double>(x);
    CHECK((x >= 0 && x < 1));
  }
  CHECK(std::abs(sum / 10'000 - 0.5) < 0.02);
  // In a type with few bits, too, 1 is not reached.
  for (const Eigen::bfloat16 x : entries_of(ef::rand<Eigen::bfloat16>({3000}, rng))) CHECK(static_cast<float>(x) < 1);

  const Tensor<double> normal = ef::randn<double>({100, 100}, rng);
  double mean = 0, square = 0;
  for (const double x : entries_of(normal)) {
    mean += x / 10'000;
    square += x * x / 10'000;
  }
  CHECK(std::abs(mean) < 0.05);
  CHECK(std::abs(square - 1) < 0.1);

  std::vector<int> counts(7);
  for (const Index i : entries_of(ef::randint<Index>(7, {7000}, rng))) ++counts.at(static_cast<std::size_t>(i));
  for (const int count : counts) CHECK(std::abs(count - 1000) < 150);
  CHECK(ef::rand<float>({0, 2}, rng).shape() == Sizes{0, 2});
  CHECK(ef::randn<float>({}, rng).rank() == 0);
  CHECK(ef::randint<int>(1, {2}, rng)(1) == 0);
  CHECK(message_of([&] { ef::randint<int>(0, {2}, rng); }) == "randint: count is 0, expected at least 1");
  CHECK(message_of([&] { ef::randint<float>((Index{1} << 24) + 1, {2}, rng); }) ==
        "randint: count is 16777217, expected at most 16777216");
  CHECK(message_of([&] { ef::randint<std::uint8_t>(257, {2}, rng); }) == "randint: count is 257, expected at most 256");
  CHECK(message_of([&] { ef::randint<bool>(3, {2}, rng); }) == "randint: count is 3, expected at most 2");
  CHECK(ef::randint<std::uint8_t>(256, {2}, rng).shape() == Sizes{2});
  CHECK(ef::randint<float>(1000, {2}, rng).shape() == Sizes{2});
}

TEMPLATE_TEST_CASE("tensors of 16-bit types are made from ordinary numbers", "[tensors]", Eigen::half,
                   Eigen::bfloat16) {
  CHECK(entries_of(ef::tensor<TestType>({{1, 2}, {3, 4}})) ==
        std::vector<TestType>{TestType(1), TestType(2), TestType(3), TestType(4)});
  CHECK(entries_of(ef::tensor<TestType>({0.5F, 2.0F})) == std::vector<TestType>{TestType(0.5), TestType(2)});
  CHECK(entries_of(ef::full<TestType>({2}, 3)) == std::vector<TestType>{TestType(3), TestType(3)});
  CHECK(entries_of(ef::arange<TestType>(2)) == std::vector<TestType>{TestType(0), TestType(1)});
  CHECK(entries_of(ef::arange<TestType>(1, 3)) == std::vector<TestType>{TestType(1), TestType(2)});
  CHECK(ef::arange<TestType>(TestType(0), 3).size() == 3);
  CHECK(ef::arange<TestType>(TestType(0), TestType(3), 1).size() == 3);
  CHECK(ef::arange<TestType>(TestType(0), TestType(3)).size() == 3);
  CHECK(entries_of(ef::arange<TestType>(0.0F, 0.5F, 0.25F)) == std::vector<TestType>{TestType(0), TestType(0.25)});
}
