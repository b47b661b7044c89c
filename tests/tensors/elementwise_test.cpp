#include "eigenformer/tensors/elementwise.hpp"

#include <vector>

#include "eigenformer/tensors/arithmetic.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "tensors/tensor_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Sizes;
using ef::Tensor;
using ef::TensorView;
using ef::testing::broadcast_entry;
using ef::testing::entries_of;
using ef::testing::entry;
using ef::testing::GuardedView;
using ef::testing::largest_difference;
using ef::testing::message_of;

static_assert(ef::TensorLike<ef::TensorArray<float>>);
static_assert(std::is_same_v<ef::ScalarOf<decltype(std::declval<Tensor<float>&>() < 1)>, bool>);
static_assert(std::is_same_v<decltype(Tensor(std::declval<Tensor<float>&>() + 1)), Tensor<float>>);
static_assert(std::is_convertible_v<decltype(std::declval<Tensor<float>&>() + 1), Tensor<float>>);
static_assert(!std::is_convertible_v<decltype(std::declval<Tensor<float>&>() + 1), Tensor<double>>);
// Entries of a const tensor cannot be written.
static_assert(std::is_assignable_v<ef::TensorArray<float>, float>);
static_assert(!std::is_assignable_v<ef::TensorArray<const float>, float>);
static_assert(!std::is_assignable_v<ef::TensorArray<const float>, const ef::TensorArray<const float>&>);

namespace {

Tensor<int> counted_tensor(const Sizes& shape) {
  Tensor<int> x(shape);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<int>(i);
  return x;
}

// For Catch2, which would otherwise compare expressions itself.
using Ints = std::vector<int>;

}  // namespace

TEMPLATE_TEST_CASE("expressions of random views are computed entry by entry", "[tensors]", float, int) {
  using Scalar = TestType;
  for (std::uint64_t seed = 0; seed < 250; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    const Sizes shape = ef::testing::random_shape(rng);
    const GuardedView<Scalar> a(ef::testing::random_broadcastable(shape, rng), rng),
        b(ef::testing::random_broadcastable(shape, rng), rng), c(shape, rng),
        target(shape, rng, ef::testing::Repeats::none);
    const auto value = [&](const Sizes& index) {
      return static_cast<double>(broadcast_entry(a.view(), index) * broadcast_entry(b.constant(), index) -
                                 entry(c.view(), index) * 2);
    };
    const auto expression = a.view() * b.constant() - c.view() * 2;
    CHECK(expression.shape() == shape);
    CHECK(largest_difference(Tensor<Scalar>(expression), shape, value) == 0);
    target.view().array() = expression;
    CHECK(largest_difference(target.constant(), shape, value) == 0);
    target.view().array() += a.constant();
    CHECK(largest_difference(target.constant(), shape, [&](const Sizes& index) {
            return value(index) + static_cast<double>(broadcast_entry(a.view(), index));
          }) == 0);
    target.view().array() -= expression;
    target.view().array() *= b.view();
    CHECK(largest_difference(target.constant(), shape, [&](const Sizes& index) {
            return static_cast<double>(broadcast_entry(a.view(), index) * broadcast_entry(b.view(), index));
          }) == 0);
    target.view().array() = 12;
    target.view().array() /= 4;
    CHECK(largest_difference(target.constant(), shape, [](const Sizes&) { return 3; }) == 0);
    CHECK(target.is_untouched_outside());
  }
}

TEST_CASE("map takes the caller's function of several operands", "[tensors]") {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    const Sizes shape = ef::testing::random_shape(rng);
    const GuardedView<double> a(shape, rng), b(ef::testing::random_broadcastable(shape, rng), rng);
    const auto function = [](const auto& x, const auto& y, const auto& z) { return (x - y).square() + z; };
    const Tensor<double> result = map(function, a.view(), b.view(), 0.5);
    CHECK(largest_difference(result, shape, [&](const Sizes& index) {
            const double apart = entry(a.view(), index) - broadcast_entry(b.view(), index);
            return apart * apart + 0.5;
          }) == 0);
  }
  const Tensor<int> x = counted_tensor({3});
  CHECK(entries_of(Tensor<float>(map([](const auto& a) { return a.template cast<float>() / 2; }, x))) ==
        std::vector<float>{0, 0.5F, 1});
}

TEST_CASE("an expression keeps temporaries, and sees changes of what it refers to", "[tensors]") {
  const auto make = [](const Tensor<int>& x) { return Tensor<int>(x + 1) * counted_tensor({3}) + 10; };
  const auto expression = make(counted_tensor({2, 3}));
  CHECK(entries_of(Tensor<int>(expression)) == Ints{10, 12, 16, 10, 15, 22});
  const auto nested = -(make(counted_tensor({2, 3})) - counted_tensor({2, 3}).reshape({2, 3}));
  CHECK(entries_of(Tensor<int>(nested)) == Ints{-10, -11, -14, -7, -11, -17});
  const auto constant = []() -> const Tensor<int> { return counted_tensor({3}); };
  const auto of_constant = constant() * 2;
  CHECK(entries_of(Tensor<int>(of_constant)) == Ints{0, 2, 4});

  Tensor<int> x = counted_tensor({2});
  const auto lazy = x * 2;
  x(1) = 5;
  CHECK(entries_of(Tensor<int>(lazy)) == Ints{0, 10});
  x = x + x;
  CHECK(entries_of(x) == Ints{0, 10});
  x = counted_tensor({2, 2}) - x;
  CHECK(entries_of(x) == Ints{0, -9, 2, -7});
}

TEST_CASE("writing entries differs from assigning views", "[tensors]") {
  Tensor<int> x = counted_tensor({2, 3}), y({3}, 7);
  TensorView<int> view = x.select(0, 0);
  view.array() = y;
  CHECK(entries_of(x) == Ints{7, 7, 7, 3, 4, 5});
  view = y;
  CHECK(entries_of(x) == Ints{7, 7, 7, 3, 4, 5});
  x.select(0, 1).array() = x.select(0, 0).array();
  CHECK(entries_of(x) == Ints{7, 7, 7, 7, 7, 7});
  auto entries = x.array();
  auto others = y.array();
  others = 1;
  entries = others;
  CHECK(entries_of(x) == Ints{1, 1, 1, 1, 1, 1});
  (entries = 2) += 3;
  CHECK(entries_of(x) == Ints{5, 5, 5, 5, 5, 5});
  x.array() = counted_tensor({2, 1});
  CHECK(entries_of(x) == Ints{0, 0, 0, 1, 1, 1});

  Tensor<int> scalar({}, 3);
  scalar.array() = 4;
  scalar.array() += scalar;
  CHECK(scalar.item() == 8);
  x.array() += scalar * 2;
  CHECK(x(1, 2) == 17);
  Tensor<int> nothing({0, 3});
  nothing.array() = 1;
  nothing.array() += y;
  nothing.array() = nothing * nothing + counted_tensor({1, 1});
  CHECK(Tensor<int>(nothing + y).shape() == Sizes{0, 3});
  CHECK(Tensor<int>(Tensor<int>() + 1).shape() == Sizes{0});
}

TEST_CASE("operands may share memory with the target", "[tensors]") {
  const Tensor<int> x = counted_tensor({3, 3});
  Tensor<int> y = x;
  y.array() = y.transpose();
  CHECK(entries_of(y) == entries_of(Tensor<int>(x.transpose())));
  y = x;
  y.array() += y.transpose();
  CHECK(entries_of(y) == Ints{0, 4, 8, 4, 8, 12, 8, 12, 16});
  y = x;
  y.array() += y.select(0, 0);
  CHECK(entries_of(y) == Ints{0, 2, 4, 3, 5, 7, 6, 8, 10});
  y = x;
  y.array() += y.select(1, 2).unsqueeze(1);
  CHECK(entries_of(y) == Ints{2, 3, 4, 8, 9, 10, 14, 15, 16});
  y = x;
  y.array() *= y.slice(0, {.begin = 1, .end = 2});
  CHECK(entries_of(y) == Ints{0, 4, 10, 9, 16, 25, 18, 28, 40});
  y = x;
  y.array() = y * 2 + y;  // the same entries
  CHECK(entries_of(y) == Ints{0, 3, 6, 9, 12, 15, 18, 21, 24});

  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    // Windows of one tensor, some of them reversed or transposed.
    Tensor<int> memory = counted_tensor({7, 7});
    const auto window = [&](Index rows, Index cols) {
      Index row = rng.randint(8 - rows), col = rng.randint(8 - cols);
      TensorView<int> part =
          memory.slice(0, {.begin = row, .end = row + rows}).slice(1, {.begin = col, .end = col + cols});
      if (rng.randint(2) == 0) part = part.slice(0, {.step = -1});
      if (rng.randint(2) == 0) part = part.slice(1, {.step = -1});
      if (rows == cols && rng.randint(2) == 0) part = part.transpose();
      return part;
    };
    const Index rows = 1 + rng.randint(6), cols = 1 + rng.randint(6);
    const TensorView<int> target = window(rows, cols), a = window(rows, cols), b = window(1, cols);
    const Tensor<int> a_before(a), b_before(b), target_before(target);
    Tensor<int> expected = memory;
    const std::ptrdiff_t place = target.data() - memory.data();
    ef::testing::for_each_index(target.shape(), [&](const Sizes& index) {
      expected.data()[place + ef::testing::offset_of(target.strides(), index)] =
          entry(target_before, index) - 3 * entry(a_before, index) + broadcast_entry(b_before, index);
    });
    if (rng.randint(2) == 0)
      target.array() = target - a * 3 + b;
    else
      target.array() += b - a * 3;
    CHECK(entries_of(memory) == entries_of(expected));
    // Copies too.
    expected = memory;
    const Tensor<int> again(a);
    ef::testing::for_each_index(target.shape(), [&](const Sizes& index) {
      expected.data()[place + ef::testing::offset_of(target.strides(), index)] = entry(again, index);
    });
    if (rng.randint(2) == 0)
      a.copy_to(target);
    else
      target.array() = a;
    CHECK(entries_of(memory) == entries_of(expected));
  }
}

TEST_CASE("what does not broadcast is refused", "[tensors]") {
  Tensor<int> x = counted_tensor({2, 3});
  const Tensor<int> y = counted_tensor({2});
  CHECK(message_of([&] { x + y; }) ==
        "broadcast: the tensors are [2 x 3] and [2], expected sizes that are equal or 1, from the last dimension on");
  CHECK(
      message_of([&] { Tensor<int>(x.transpose() * x); }) ==
      "broadcast: the tensors are [3 x 2] and [2 x 3], expected sizes that are equal or 1, from the last dimension on");
  CHECK(message_of([&] { x.array() = y; }) ==
        "broadcast: the tensors are [2] and [2 x 3], expected sizes that are equal or 1, from the last dimension on");
  CHECK(message_of([&] {
          x.array() = counted_tensor({4, 2, 3});
        }) == "expand: a tensor [4 x 2 x 3] does not broadcast to [2 x 3]");
  CHECK(message_of([&] {
          x.array() += counted_tensor({4, 2, 3});
        }) == "expand: a tensor [4 x 2 x 3] does not broadcast to [2 x 3]");
  CHECK(message_of([&] { x.select(0, 0).array() = x + 1; }) == "expand: a tensor [2 x 3] does not broadcast to [3]");
  CHECK(message_of([&] { x.slice(0, {.end = 1}).array() *= x; }) ==
        "expand: a tensor [2 x 3] does not broadcast to [1 x 3]");
  CHECK(
      message_of([&] {
        Tensor<int> nothing({0, 3});
        nothing.array() = x;
      }) ==
      "broadcast: the tensors are [2 x 3] and [0 x 3], expected sizes that are equal or 1, from the last dimension on");
  CHECK(entries_of(x) == entries_of(counted_tensor({2, 3})));

  const std::string repeated = "a tensor [4 x 3] with strides [0 x 1] repeats entries and cannot be written";
  Tensor<int> row = counted_tensor({1, 3});
  CHECK(message_of([&] { row.expand({4, 3}).array() = 1; }) == repeated);
  CHECK(message_of([&] { row.expand({4, 3}).array() += row; }) == repeated);
  CHECK(message_of([&] { row.expand({4, 3}).array() = counted_tensor({4, 3}) * 2; }) == repeated);
  CHECK(entries_of(row) == Ints{0, 1, 2});
}

TEST_CASE("long rows are computed by packets and the rest by entries", "[tensors]") {
  for (const Index n : {1, 3, 7, 8, 15, 16, 17, 31, 32, 33, 100}) {
    CAPTURE(n);
    Tensor<float> x({3, 2 * n}), y({n});
    for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(i % 41);
    for (Index i = 0; i < n; ++i) y(i) = static_cast<float>(i);
    const TensorView<float> even = x.slice(1, {.step = 2}), backwards = x.slice(1, {.begin = -1, .step = -2});
    const Tensor<float> z = even * y + backwards * 3;
    CHECK(largest_difference(z, {3, n}, [&](const Sizes& i) {
            return x(i[0], 2 * i[1]) * y(i[1]) + x(i[0], 2 * n - 1 - 2 * i[1]) * 3;
          }) == 0);
    const Tensor<float> before = x;
    even.array() -= y;
    CHECK(largest_difference(x, {3, 2 * n}, [&](const Sizes& i) {
            return before(i[0], i[1]) - (i[1] % 2 == 0 ? y(i[1] / 2) : 0);
          }) == 0);
  }
}
