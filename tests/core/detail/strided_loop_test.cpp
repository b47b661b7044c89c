#include "eigenformer/core/detail/strided_loop.hpp"

#include <set>
#include <vector>

#include "eigenformer/core/tensor.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "tensors/tensor_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Sizes;
using ef::TensorView;
using ef::detail::StridedLoop;
using ef::testing::for_each_index;
using ef::testing::GuardedView;
using ef::testing::message_of;

namespace {

// All triples of offsets that a loop visits, entry by entry.
std::multiset<std::array<Index, 3>> visited(const StridedLoop<3>& loop) {
  std::multiset<std::array<Index, 3>> entries;
  loop.for_each_run([&](const std::array<Index, 3>& offsets) {
    for (Index i = 0; i < loop.run_size(); ++i) {
      std::array<Index, 3> entry = offsets;
      for (std::size_t k = 0; k < 3; ++k) entry[k] += i * loop.run_stride(k);
      entries.insert(entry);
    }
  });
  return entries;
}

int count_runs(const StridedLoop<2>& loop) {
  int runs = 0;
  loop.for_each_run([&](const auto&) { ++runs; });
  return runs;
}

}  // namespace

TEST_CASE("a loop visits each index once, in all operands together", "[core]") {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    const Sizes shape = ef::testing::random_shape(rng);
    std::array<Sizes, 3> strides;
    for (Sizes& own : strides) own = GuardedView<int>(shape, rng).view().strides();
    if (rng.randint(2) == 0) strides[1] = strides[0];
    std::multiset<std::array<Index, 3>> expected;
    for_each_index(shape, [&](const Sizes& index) {
      std::array<Index, 3> entry{};
      for (std::size_t k = 0; k < 3; ++k) entry[k] = ef::testing::offset_of(strides[k], index);
      expected.insert(entry);
    });
    for (std::size_t leader = 0; leader < 3; ++leader)
      CHECK(visited(StridedLoop<3>(shape, strides, leader)) == expected);
  }
}

TEST_CASE("a loop merges dimensions and follows its leader's memory", "[core]") {
  const Sizes shape{2, 3, 4}, contiguous{12, 4, 1}, by_columns{1, 2, 6};
  CHECK(count_runs(StridedLoop<2>(shape, {contiguous, contiguous})) == 1);
  CHECK(StridedLoop<2>(shape, {contiguous, contiguous}).run_size() == 24);
  CHECK(count_runs(StridedLoop<2>(shape, {by_columns, by_columns})) == 1);
  CHECK(count_runs(StridedLoop<2>(shape, {by_columns, Sizes{0, 0, 0}})) == 1);
  const StridedLoop<2> first(shape, {contiguous, by_columns}, 0), second(shape, {contiguous, by_columns}, 1);
  CHECK(first.run_size() == 4);
  CHECK(first.run_stride(0) == 1);
  CHECK(first.run_stride(1) == 6);
  CHECK(second.run_size() == 2);
  CHECK(second.run_stride(0) == 12);
  CHECK(second.run_stride(1) == 1);
  CHECK(count_runs(StridedLoop<2>({2, 0, 4}, {contiguous, contiguous})) == 0);
  CHECK(count_runs(StridedLoop<2>({}, {Sizes{}, Sizes{}})) == 1);
  CHECK(count_runs(StridedLoop<2>({1, 1}, {Sizes{7, 0}, Sizes{1, -3}})) == 1);
  const Index large = Index{1} << (sizeof(Index) * 8 - 3);
  CHECK(count_runs(StridedLoop<2>({large, 0, large}, {Sizes{large, 1, large}, Sizes{large, 1, large}})) == 0);
}

TEST_CASE("shapes broadcast as in NumPy", "[core]") {
  using ef::detail::broadcast_shapes;
  CHECK(broadcast_shapes({}, {}) == Sizes{});
  CHECK(broadcast_shapes({}, {2, 3}) == Sizes{2, 3});
  CHECK(broadcast_shapes({3}, {2, 3}) == Sizes{2, 3});
  CHECK(broadcast_shapes({2, 1}, {3}) == Sizes{2, 3});
  CHECK(broadcast_shapes({8, 1, 6, 1}, {7, 1, 5}) == Sizes{8, 7, 6, 5});
  CHECK(broadcast_shapes({1}, {0}) == Sizes{0});
  CHECK(broadcast_shapes({2, 0}, {2, 1}) == Sizes{2, 0});
  CHECK(message_of([] {
          broadcast_shapes({2, 3}, {2});
        }) ==
        "broadcast: the tensors are [2 x 3] and [2], expected sizes that are equal or 1, from the last dimension on");
  CHECK(message_of([] {
          broadcast_shapes({3}, {2, 2});
        }) ==
        "broadcast: the tensors are [3] and [2 x 2], expected sizes that are equal or 1, from the last dimension on");
  CHECK(message_of([] { broadcast_shapes({0}, {2}); }) ==
        "broadcast: the tensors are [0] and [2], expected sizes that are equal or 1, from the last dimension on");
}

TEST_CASE("views that share an entry interfere, unless they are the same", "[core]") {
  std::vector<int> memory(40);
  int apart = 0, together = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    const auto random_view = [&] {
      const TensorView<int> all(memory.data() + rng.randint(12), {4, 7});
      return all.slice(0, {.begin = rng.randint(4), .step = 1 + rng.randint(2)})
          .slice(1, {.begin = rng.randint(4), .end = rng.randint(8), .step = rng.randint(2) == 0 ? -1 : 1});
    };
    const TensorView<int> a = random_view(), b = random_view();
    std::set<const int*> of_a;
    for_each_index(a.shape(), [&](const Sizes& index) { of_a.insert(&ef::testing::entry(a, index)); });
    bool share = false;
    for_each_index(b.shape(),
                   [&](const Sizes& index) { share = share || of_a.count(&ef::testing::entry(b, index)) > 0; });
    const bool is_same = a.data() == b.data() && a.shape() == b.shape() && a.strides() == b.strides();
    if (share && !is_same) CHECK(ef::detail::interferes(a, b));
    CHECK(ef::detail::interferes(a, b) == ef::detail::interferes(b, a));
    CHECK(!ef::detail::interferes(a, a));
    (ef::detail::interferes(a, b) ? together : apart) += 1;
  }
  CHECK(apart > 20);
  CHECK(together > 20);
  const TensorView<int> low(memory.data(), {4, 2}), high(memory.data() + 8, {4, 2});
  CHECK(!ef::detail::interferes(low, high));
  CHECK(!ef::detail::interferes(low, high.slice(0, {.step = -1})));
  CHECK(ef::detail::interferes(low, low.slice(0, {.step = -1})));
}

TEST_CASE("views that repeat entries cannot be written", "[core]") {
  std::vector<int> memory(40);
  const TensorView<int> x(memory.data(), {4, 5});
  CHECK(message_of([&] { ef::detail::check_writable(x); }) == "nothing was thrown");
  CHECK(message_of([&] { ef::detail::check_writable(x.slice(0, {.step = -2})); }) == "nothing was thrown");
  CHECK(message_of([&] {
          ef::detail::check_writable(x.slice(0, {.end = 1}).expand({3, 5}));
        }) == "a tensor [3 x 5] with strides [0 x 1] repeats entries and cannot be written");
  CHECK(message_of([&] { ef::detail::check_writable(x.slice(0, {.end = 1}).expand({1, 5})); }) == "nothing was thrown");
  CHECK(message_of([&] { ef::detail::check_writable(x.slice(0, {.end = 1}).expand({0, 5})); }) == "nothing was thrown");
}
