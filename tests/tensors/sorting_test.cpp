#include "eigenformer/tensors/sorting.hpp"

#include <cmath>
#include <vector>

#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "tensors/tensor_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Sizes;
using ef::SortOrder;
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

static_assert(std::is_same_v<decltype(sort(std::declval<Tensor<float>&>())), Tensor<float>>);
static_assert(std::is_same_v<decltype(argsort(std::declval<Tensor<float>&>())), Tensor<Index>>);
static_assert(std::is_same_v<decltype(cumsum(std::declval<Tensor<int>&>())), Tensor<std::int64_t>>);

namespace {

// Whether a sorts before b: NaN as larger than all numbers.
bool sorts_before(double a, double b, SortOrder order) {
  if (order == SortOrder::descending) std::swap(a, b);
  if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
  return a < b;
}

// Returns the places of sorted entries, by insertion; equal entries stay in their order.
std::vector<Index> naive_argsort(const std::vector<double>& entries, SortOrder order) {
  std::vector<Index> places;
  for (Index i = 0; i < static_cast<Index>(entries.size()); ++i) {
    auto at = places.end();
    while (at != places.begin() &&
           sorts_before(entries[static_cast<std::size_t>(i)], entries[static_cast<std::size_t>(*(at - 1))], order))
      --at;
    places.insert(at, i);
  }
  return places;
}

// Returns the line along dimension d through an index. `index` may leave out dimension d.
template <class Scalar>
std::vector<double> line_through(const TensorView<Scalar>& x, Sizes index, int d) {
  if (index.rank() < x.rank()) index.insert(d, 0);
  std::vector<double> line;
  for (index[d] = 0; index[d] < x.shape()[d]; ++index[d]) line.push_back(static_cast<double>(entry(x, index)));
  return line;
}

template <class Scalar>
void check_sorting(const TensorView<Scalar>& x, ef::Rng& rng) {
  const int d = static_cast<int>(rng.randint(x.rank()));
  const Index given = rng.randint(2) == 0 ? d : d - x.rank();
  const SortOrder order = rng.randint(2) == 0 ? SortOrder::ascending : SortOrder::descending;
  const auto place = [&](const Sizes& index, SortOrder by) {
    const std::vector<Index> places = naive_argsort(line_through(x, index, d), by);
    return places[static_cast<std::size_t>(index.rank() < x.rank() ? 0 : index[d])];
  };
  const auto value = [&](const Sizes& index, SortOrder by) {
    return line_through(x, index, d)[static_cast<std::size_t>(place(index, by))];
  };
  CHECK(largest_difference(argsort(x, given, order), x.shape(),
                           [&](const Sizes& i) { return static_cast<double>(place(i, order)); }) == 0);
  CHECK(largest_difference(sort(x, given, order), x.shape(), [&](const Sizes& i) { return value(i, order); }) == 0);
  Sizes chosen = x.shape();
  chosen[d] = rng.randint(chosen[d] + 1);
  const auto best = top_k(x, chosen[d], given);
  CHECK(largest_difference(best.indices, chosen,
                           [&](const Sizes& i) { return static_cast<double>(place(i, SortOrder::descending)); }) == 0);
  CHECK(largest_difference(best.values, chosen, [&](const Sizes& i) { return value(i, SortOrder::descending); }) == 0);
  Sizes shorter = x.shape();
  shorter.erase(d);
  if (x.shape()[d] > 0) {
    CHECK(largest_difference(argmax(x, given), shorter, [&](const Sizes& i) {
            return static_cast<double>(place(i, SortOrder::descending));
          }) == 0);
    // A NaN comes first in descending order, and is the extreme in either direction.
    CHECK(largest_difference(argmin(x, given), shorter, [&](const Sizes& i) {
            const double largest = value(i, SortOrder::descending);
            return static_cast<double>(place(i, largest == largest ? SortOrder::ascending : SortOrder::descending));
          }) == 0);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("lines of random views are sorted", "[tensors]", float, int) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    const GuardedView<TestType> x(ef::testing::random_shape(1 + static_cast<int>(rng.randint(5)), rng), rng);
    if constexpr (std::is_same_v<TestType, float>)  // NaN, infinities and zeros of both signs
      ef::testing::for_each_index(x.view().shape(), [&](const Sizes& index) {
        constexpr double special[] = {not_a_number, infinite, -infinite, -0.0, 0.0};
        if (rng.randint(3) == 0) entry(x.view(), index) = static_cast<float>(special[rng.randint(5)]);
      });
    check_sorting(x.view(), rng);
  }
}

TEST_CASE("other types are sorted too", "[tensors]") {
  ef::Rng rng(1);
  const GuardedView<Eigen::half> halves({3, 5}, rng);
  entry(halves.view(), {1, 2}) = static_cast<Eigen::half>(not_a_number);
  check_sorting(halves.view(), rng);
  const Tensor<bool> flags({4}, true);
  CHECK(entries_of(argsort(flags, 0, SortOrder::descending)) == std::vector<Index>{0, 1, 2, 3});
}

TEST_CASE("long lines are sorted, and equal entries keep their order", "[tensors]") {
  ef::Rng rng(2);
  Tensor<float> x({2, 3000});
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(rng.randint(40));
  for (const SortOrder order : {SortOrder::ascending, SortOrder::descending}) {
    const Tensor<Index> places = argsort(x, 1, order);
    const Tensor<float> sorted = sort(x, 1, order);
    const auto best = top_k(x, 100, 1);
    for (Index row = 0; row < 2; ++row)
      for (Index i = 0; i < 3000; ++i) {
        CHECK(sorted(row, i) == x(row, places(row, i)));
        if (i == 0) continue;
        const float before = sorted(row, i - 1), here = sorted(row, i);
        CHECK((order == SortOrder::ascending ? before <= here : before >= here));
        if (before == here) CHECK(places(row, i - 1) < places(row, i));
        if (order == SortOrder::descending && i < 100) {
          CHECK(best.values(row, i) == here);
          CHECK(best.indices(row, i) == places(row, i));
        }
      }
  }
}

TEST_CASE("the first of equal extremes is chosen, and NaN is the largest", "[tensors]") {
  const float nan = static_cast<float>(not_a_number);
  const auto row = [](const std::vector<float>& values) {
    return Tensor<float>({static_cast<Index>(values.size())}, values);
  };
  CHECK(argmax(row({1, 3, 3, 2}), 0).item() == 1);
  CHECK(argmin(row({2, 1, 1, 3}), 0).item() == 1);
  CHECK(argmax(row({1, nan, 3, nan}), 0).item() == 1);
  CHECK(argmin(row({5, nan, nan, 3}), 0).item() == 1);
  CHECK(argmin(row({nan, nan}), 0).item() == 0);
  CHECK(entries_of(argsort(row({2, nan, 1, 2, nan}))) == std::vector<Index>{2, 0, 3, 1, 4});
  CHECK(entries_of(argsort(row({2, nan, 1, 2, nan}), 0, SortOrder::descending)) == std::vector<Index>{1, 4, 0, 3, 2});
  CHECK(entries_of(top_k(row({2, nan, 1, 2, 2}), 3).indices) == std::vector<Index>{1, 0, 3});
  CHECK(std::isnan(top_k(row({2, nan, 1, 2, 2}), 3).values(0)));
  // Of expressions and temporaries.
  CHECK(argmax(row({1, 3, 2}) * -1, 0).item() == 0);
  CHECK(entries_of(sort(row({1, 3, 2}))) == std::vector<float>{1, 2, 3});
  CHECK(entries_of(cumsum(row({1, 3, 2}) + 1)) == std::vector<float>{2, 6, 9});
}

TEST_CASE("running sums", "[tensors]") {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    const GuardedView<int> x(ef::testing::random_shape(1 + static_cast<int>(rng.randint(5)), rng), rng);
    const int d = static_cast<int>(rng.randint(x.view().rank()));
    CHECK(largest_difference(cumsum(x.view(), d), x.view().shape(), [&](const Sizes& index) {
            const std::vector<double> line = line_through(x.view(), index, d);
            double sum = 0;
            for (Index i = 0; i <= index[d]; ++i) sum += line[static_cast<std::size_t>(i)];
            return sum;
          }) == 0);
  }
  CHECK(cumsum(Tensor<int>({3}, 2'000'000'000))(2) == 6'000'000'000);
  CHECK(static_cast<float>(cumsum(Tensor<Eigen::half>({5000}, Eigen::half(1)))(4999)) == 5000);
  CHECK(cumsum(Tensor<float>({20'000'000}, 1.0F))(19'999'999) == 20'000'000);
  CHECK(cumsum(Tensor<bool>({3}, true))(2) == 3);
}

TEST_CASE("sorting no entries, and wrong arguments", "[tensors]") {
  const Tensor<float> x({2, 0, 3});
  CHECK(sort(x).shape() == x.shape());
  CHECK(argsort(x, 1).shape() == x.shape());
  CHECK(cumsum(x, 1).shape() == x.shape());
  CHECK(top_k(x, 0, 1).values.shape() == x.shape());
  CHECK(top_k(x, 1, 2).indices.shape() == Sizes{2, 0, 1});
  CHECK(top_k(Tensor<float>({2, 3}), 0, 0).values.shape() == Sizes{0, 3});
  CHECK(argmax(x, 0).shape() == Sizes{0, 3});
  CHECK(message_of([&] { argmax(x, 1); }) == "argmax: a tensor [2 x 0 x 3] has no entries to choose from");
  CHECK(message_of([&] { argmin(x, -2); }) == "argmin: a tensor [2 x 0 x 3] has no entries to choose from");
  const Tensor<float> y({2, 3});
  CHECK(message_of([&] { argmax(y, 2); }) == "argmax: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { argmin(y, 2); }) == "argmin: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { sort(y, 2); }) == "sort: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { argsort(y, 2); }) == "argsort: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { cumsum(y, 2); }) == "cumsum: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { top_k(y, 1, 2); }) == "top_k: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { top_k(y, 4); }) == "top_k: k is 4, dimension 1 of a tensor [2 x 3], expected 0 to 3");
  CHECK(message_of([&] { top_k(y, -1, 0); }) == "top_k: k is -1, dimension 0 of a tensor [2 x 3], expected 0 to 2");
  CHECK(message_of([&] { sort(Tensor<float>({}, 1.0F)); }) ==
        "sort: dimension -1 of a tensor of rank 0, which has none");
}

TEST_CASE("running sums of unsigned 64-bit integers have no sign", "[tensors]") {
  constexpr std::uint64_t half = std::uint64_t{1} << 63;
  const auto sums = cumsum(ef::Tensor<std::uint64_t>({3}, half / 2 + 1));
  static_assert(std::is_same_v<decltype(sums), const ef::Tensor<std::uint64_t>>);
  CHECK(sums(1) == half + 2);
  CHECK(sums(2) == half / 2 * 3 + 3);
}
