#include "eigenformer/tensors/joining.hpp"

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
using ef::testing::entries_of;
using ef::testing::entry;
using ef::testing::GuardedView;
using ef::testing::largest_difference;
using ef::testing::message_of;

static_assert(std::is_same_v<decltype(concat(0, std::declval<Tensor<float>>())), Tensor<float>>);
static_assert(std::is_same_v<decltype(concat(std::declval<std::vector<TensorView<const float>>>(), 0)), Tensor<float>>);

TEST_CASE("parts are concatenated along a dimension", "[tensors]") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    const Sizes shape = ef::testing::random_shape(1 + static_cast<int>(rng.randint(5)), rng);
    const int d = static_cast<int>(rng.randint(shape.rank()));
    std::array<Sizes, 3> shapes{shape, shape, shape};
    Sizes whole = shape;
    whole[d] = 0;
    for (Sizes& own : shapes) {
      own[d] = rng.randint(4);
      whole[d] += own[d];
    }
    const GuardedView<int> a(shapes[0], rng), b(shapes[1], rng), c(shapes[2], rng);
    const auto expected = [&](Sizes index) {
      for (const GuardedView<int>* part : {&a, &b, &c}) {
        if (index[d] < part->view().shape()[d]) return entry(part->view(), index);
        index[d] -= part->view().shape()[d];
      }
      return -99;
    };
    const Index given = rng.randint(2) == 0 ? d : d - shape.rank();
    CHECK(largest_difference(concat(given, a.view(), b.constant(), c.view() + 0), whole, expected) == 0);
    const std::vector<TensorView<int>> parts{a.view(), b.view(), c.view()};
    CHECK(largest_difference(concat(parts, given), whole, expected) == 0);
    // What split cuts, concat joins.
    CHECK(entries_of(concat(a.view().split(2, given), given)) == entries_of(a.constant()));
  }
}

TEST_CASE("parts are stacked along a new dimension", "[tensors]") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    const Sizes shape = ef::testing::random_shape(rng);
    const int d = static_cast<int>(rng.randint(shape.rank() + 1));
    Sizes whole = shape;
    whole.insert(d, 3);
    const GuardedView<int> a(shape, rng), b(shape, rng), c(shape, rng);
    const auto expected = [&](Sizes index) {
      const Index part = index[d];
      index.erase(d);
      return entry((part == 0 ? a : part == 1 ? b : c).view(), index);
    };
    const Index given = rng.randint(2) == 0 ? d : d - shape.rank() - 1;
    CHECK(largest_difference(stack(given, a.view(), b.view() * 1, c.constant()), whole, expected) == 0);
    const std::vector<TensorView<const int>> parts{a.constant(), b.constant(), c.constant()};
    CHECK(largest_difference(stack(parts, given), whole, expected) == 0);
  }
}

TEST_CASE("joining temporaries, one part, and other types", "[tensors]") {
  CHECK(entries_of(concat(0, Tensor<int>({2}, 1), Tensor<int>({1}, 2))) == std::vector<int>{1, 1, 2});
  CHECK(entries_of(stack(1, Tensor<int>({2}, 1), Tensor<int>({2}, 2) + 1)) == std::vector<int>{1, 3, 1, 3});
  const Tensor<bool> flag({1}, true);
  CHECK(entries_of(concat(-1, flag)) == std::vector<bool>{true});
  CHECK(stack(0, Tensor<float>({}, 3.0F), Tensor<float>({}, 4.0F)).shape() == Sizes{2});
  CHECK(static_cast<float>(concat(0, Tensor<Eigen::half>({2}, Eigen::half(3)), Tensor<Eigen::half>({0}))(1)) == 3);
  Tensor<int> x({2, 2}, 5);
  const auto array = x.array();
  CHECK(entries_of(concat(0, array, x)) == std::vector<int>(8, 5));
}

TEST_CASE("parts that do not fit are refused", "[tensors]") {
  const Tensor<int> x({2, 3}), y({2, 4}), z({2});
  CHECK(message_of([&] { concat(0, x, y); }) ==
        "concat: a tensor [2 x 4] after one [2 x 3], expected equal sizes except in dimension 0");
  CHECK(message_of([&] { concat(1, x, z); }) == "concat: a tensor [2] after one [2 x 3], expected as many dimensions");
  CHECK(message_of([&] { concat(2, x, x); }) == "concat: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { concat(0, Tensor<int>({}, 1)); }) ==
        "concat: dimension 0 of a tensor of rank 0, which has none");
  CHECK(message_of([&] { stack(0, x, y); }) == "stack: a tensor [2 x 4] after one [2 x 3], expected equal shapes");
  CHECK(message_of([&] { stack(0, x, z); }) == "stack: a tensor [2] after one [2 x 3], expected equal shapes");
  CHECK(message_of([&] { stack(3, x, x); }) ==
        "stack: the new dimension is 3, the tensor is [2 x 3], expected -3 to 2");
  const std::vector<TensorView<int>> none;
  CHECK(message_of([&] { concat(none, 0); }) == "concat: no tensors, expected 1 or more");
  CHECK(message_of([&] { stack(none, 0); }) == "stack: no tensors, expected 1 or more");
}
