#include "eigenformer/core/tensor_view.hpp"

#include <map>
#include <numeric>
#include <vector>

#include "eigenformer/core/tensor.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "tensors/tensor_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Sizes;
using ef::Slice;
using ef::Tensor;
using ef::TensorView;
using ef::testing::entry;
using ef::testing::for_each_index;
using ef::testing::GuardedView;
using ef::testing::message_of;

static_assert(std::is_convertible_v<TensorView<float>, TensorView<const float>>);
static_assert(!std::is_convertible_v<TensorView<const float>, TensorView<float>>);
static_assert(std::is_same_v<decltype(std::declval<const TensorView<float>&>()(0, 0)), float&>);
static_assert(std::is_same_v<decltype(std::declval<const TensorView<const float>&>()(0, 0)), const float&>);
static_assert(std::is_same_v<TensorView<const float>::value_type, float>);
static_assert(std::is_assignable_v<TensorView<float>&, TensorView<float>>);
static_assert(!std::is_assignable_v<TensorView<float>, TensorView<float>>);  // x.select(0, 0) = y would change nothing
static_assert(std::is_same_v<decltype(std::declval<TensorView<const float>>().data()), const float*>);
static_assert(std::is_same_v<decltype(TensorView(std::declval<Tensor<float>&>())), TensorView<float>>);
static_assert(std::is_same_v<decltype(TensorView(std::declval<const Tensor<float>&>())), TensorView<const float>>);

// Views can be made only of lvalues, and keep their constness.
static_assert(std::is_convertible_v<Tensor<float>&, TensorView<float>>);
static_assert(std::is_convertible_v<Tensor<float>&, TensorView<const float>>);
static_assert(std::is_convertible_v<const Tensor<float>&, TensorView<const float>>);
static_assert(!std::is_constructible_v<TensorView<float>, const Tensor<float>&>);
static_assert(!std::is_constructible_v<TensorView<float>, Tensor<float>>);
static_assert(!std::is_constructible_v<TensorView<const float>, Tensor<float>>);
static_assert(!std::is_constructible_v<TensorView<const float>, const Tensor<float>>);

// Views of Eigen's matrices.
static_assert(std::is_constructible_v<TensorView<float>, Eigen::MatrixXf&>);
static_assert(std::is_constructible_v<TensorView<const float>, const Eigen::MatrixXf&>);
static_assert(std::is_constructible_v<TensorView<float>, Eigen::Map<Eigen::MatrixXf>>);
static_assert(!std::is_constructible_v<TensorView<float>, const Eigen::MatrixXf&>);
static_assert(!std::is_constructible_v<TensorView<float>, Eigen::MatrixXf>);
static_assert(!std::is_constructible_v<TensorView<const float>, Eigen::MatrixXf>);
static_assert(std::is_convertible_v<Eigen::MatrixXf&, TensorView<float>>);
static_assert(!std::is_convertible_v<const Eigen::MatrixXf&, TensorView<float>>);

namespace {

// Checks that entry i of `view` is the entry map(i) of `of`.
template <class Map>
bool shows_entries(const TensorView<int>& view, const Sizes& shape, const TensorView<int>& of, Map map) {
  if (view.shape() != shape || view.strides().rank() != shape.rank()) return false;
  bool same = true;
  for_each_index(shape, [&](const Sizes& index) { same = same && &entry(view, index) == &entry(of, map(index)); });
  return same;
}

// The addresses of the entries, in the order of their indices.
std::vector<const int*> addresses_of(const TensorView<int>& x) {
  std::vector<const int*> addresses;
  for_each_index(x.shape(), [&](const Sizes& index) { addresses.push_back(&entry(x, index)); });
  return addresses;
}

// Whether strides can give the addresses this shape.
bool is_strided(const std::vector<const int*>& addresses, const Sizes& shape) {
  const Sizes places = ef::contiguous_strides(shape);
  bool strided = true;
  for_each_index(shape, [&](const Sizes& index) {
    std::ptrdiff_t offset = 0;
    for (int d = 0; d < shape.rank(); ++d)
      if (shape[d] > 1) offset += index[d] * (addresses[static_cast<std::size_t>(places[d])] - addresses[0]);
    const Index place = ef::testing::offset_of(places, index);
    strided = strided && addresses[static_cast<std::size_t>(place)] == addresses[0] + offset;
  });
  return strided;
}

// The places of Python's range [begin:end:step] of n entries, step by step.
std::vector<Index> places_of(const Slice& range, Index n) {
  const auto moved_inside = [&](Index place, Index before, Index behind) {
    if (place < 0) place += n;
    return place < before ? before : place > behind ? behind : place;
  };
  std::vector<Index> places;
  if (range.step > 0) {
    const Index end = range.end.has_value() ? moved_inside(*range.end, 0, n) : n;
    for (Index i = range.begin.has_value() ? moved_inside(*range.begin, 0, n) : 0; i < end; i += range.step)
      places.push_back(i);
  } else {
    const Index end = range.end.has_value() ? moved_inside(*range.end, -1, n - 1) : -1;
    for (Index i = range.begin.has_value() ? moved_inside(*range.begin, -1, n - 1) : n - 1; i > end; i += range.step)
      places.push_back(i);
  }
  return places;
}

// Calls body(view, rng) for random views of all ranks.
template <class Body>
void for_random_views(int from_rank, Body body) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    const Sizes shape = ef::testing::random_shape(from_rank + static_cast<int>(rng.randint(6 - from_rank)), rng);
    const GuardedView<int> x(shape, rng);
    body(x.view(), rng);
  }
}

int random_dimension(int rank, ef::Rng& rng) {
  return static_cast<int>(rng.randint(rank));
}
// Sometimes counts from the end.
Index either_sign(int d, int rank, ef::Rng& rng) {
  return rng.randint(2) == 0 ? d : d - rank;
}

template <class Derived>
bool shows_matrix(const TensorView<const typename Derived::Scalar>& view, const Eigen::DenseBase<Derived>& matrix) {
  if (view.dimension(0) != matrix.rows() || view.dimension(1) != matrix.cols()) return false;
  for (Index i = 0; i < matrix.rows(); ++i)
    for (Index j = 0; j < matrix.cols(); ++j)
      if (&view(i, j) != &matrix.derived().coeffRef(i, j)) return false;
  return true;
}

}  // namespace

TEST_CASE("a view of contiguous memory has the last dimension's entries next to each other", "[core]") {
  std::vector<float> values(24);
  std::iota(values.begin(), values.end(), 0.0F);
  const TensorView<float> view(values.data(), {2, 3, 4});
  CHECK(view.strides() == Sizes{12, 4, 1});
  CHECK(view.size() == 24);
  CHECK(view.rank() == 3);
  CHECK(view.dimension(1) == 3);
  CHECK(view.dimension(-1) == 4);
  CHECK(view.stride(0) == 12);
  CHECK(view.stride(-2) == 4);
  for (Index i = 0; i < 2; ++i)
    for (Index j = 0; j < 3; ++j)
      for (Index k = 0; k < 4; ++k) {
        CHECK(view(i, j, k) == static_cast<float>(12 * i + 4 * j + k));
        CHECK(&view(i - 2, j - 3, k - 4) == &view(i, j, k));
      }
  view(1, 2, 3) = -1;
  CHECK(values.back() == -1);
  const TensorView<const float> reading = view;
  CHECK(&reading(1, 1, 1) == &view(1, 1, 1));
  CHECK(reading.shape() == view.shape());
  CHECK(reading.strides() == view.strides());

  const TensorView<float> of_span(std::span<float>(values), {4, 6});
  CHECK(of_span.data() == values.data());
  CHECK(of_span.strides() == Sizes{6, 1});
  CHECK(message_of([&] {
          TensorView<float>(std::span<float>(values), {4, 5});
        }) == "TensorView: 24 values, the shape is [4 x 5]");
  CHECK(message_of([&] {
          TensorView<float>(values.data(), {4, 5}, {1});
        }) == "TensorView: the shape is [4 x 5], the strides are [1]");
  CHECK(message_of([&] { view.dimension(3); }) == "dimension: dimension 3 of a tensor of rank 3, expected -3 to 2");
  CHECK(message_of([&] { view.stride(-4); }) == "stride: dimension -4 of a tensor of rank 3, expected -3 to 2");
}

TEST_CASE("a view is assigned like a pointer", "[core]") {
  std::vector<int> values{1, 2, 3, 4};
  TensorView<int> a(values.data(), {2});
  const TensorView<int> b(values.data() + 2, {2});
  a = b;
  CHECK(values == std::vector<int>{1, 2, 3, 4});
  CHECK(&a(0) == &values[2]);
}

TEST_CASE("views without entries, and of one", "[core]") {
  const TensorView<float> nothing;
  CHECK(nothing.size() == 0);
  CHECK(nothing.data() == nullptr);
  CHECK(nothing.shape() == Sizes{0});
  CHECK(nothing.is_contiguous());
  const TensorView<float> no_rows(nullptr, {2, 0, 4});
  CHECK(no_rows.size() == 0);
  CHECK(ef::shape(no_rows.matrix(1)) == ef::Shape{0, 4});
  CHECK(no_rows.select(2, 3).shape() == Sizes{2, 0});  // null is not moved: see the sanitizer
  CHECK(no_rows.slice(2, {.begin = 1}).shape() == Sizes{2, 0, 3});
  CHECK(no_rows.slice(2, {.step = -1}).data() == nullptr);
  CHECK(no_rows.permute({2, 0, 1}).shape() == Sizes{4, 2, 0});
  CHECK(no_rows.reshape({0, 5}).shape() == Sizes{0, 5});
  CHECK(no_rows.reshape({8, -1}).shape() == Sizes{8, 0});
  CHECK(no_rows.flatten().shape() == Sizes{0});
  CHECK(no_rows.diagonal().shape() == Sizes{2, 0});
  CHECK(no_rows.contiguous().shape() == Sizes{2, 0, 4});
  CHECK(no_rows.split(2, 2).size() == 2);
  const TensorView<float> no_matrices(nullptr, {0, 3, 4});
  CHECK(no_matrices.select(1, 2).select(1, 3).shape() == Sizes{0});
  const TensorView<float> no_columns(nullptr, {2, 3, 0});
  CHECK(no_columns.row(1, 2).size() == 0);
  CHECK(no_columns.matrix(-1).rows() == 3);

  int value = 7;
  const TensorView<int> scalar(&value, {});
  CHECK(scalar.rank() == 0);
  CHECK(scalar.size() == 1);
  CHECK(scalar() == 7);
  CHECK(scalar.item() == 7);
  CHECK(scalar.is_contiguous());
  CHECK(scalar.permute({}).shape() == Sizes{});
  CHECK(scalar.squeeze().shape() == Sizes{});
  CHECK(scalar.unsqueeze(0).shape() == Sizes{1});
  CHECK(scalar.unsqueeze(-1).unsqueeze(1).item() == 7);
  CHECK(scalar.expand({2, 3})(1, 2) == 7);
  CHECK(scalar.reshape({1, 1}).shape() == Sizes{1, 1});
  CHECK(scalar.flatten().shape() == Sizes{1});
  CHECK(scalar.contiguous().item() == 7);
  CHECK(message_of([&] { scalar.select(0, 0); }) == "select: dimension 0 of a tensor of rank 0, which has none");
  CHECK(message_of([&] { scalar.row(); }) == "row: the tensor is [], expected 1 dimension or more");
  CHECK(message_of([&] { nothing.item(); }) == "item: a tensor [0], expected one entry");
  CHECK(message_of([&] { no_rows.item(); }) == "item: a tensor [2 x 0 x 4], expected one entry");
  CHECK(message_of([&] { scalar.expand({2}).item(); }) == "item: a tensor [2], expected one entry");
}

TEST_CASE("select chooses an index of a dimension", "[core]") {
  for_random_views(1, [](const TensorView<int>& x, ef::Rng& rng) {
    const int d = random_dimension(x.rank(), rng);
    const Index n = x.shape()[d];
    if (n == 0) return;
    const Index place = rng.randint(n);
    Sizes shape = x.shape();
    shape.erase(d);
    CHECK(shows_entries(x.select(either_sign(d, x.rank(), rng), rng.randint(2) == 0 ? place : place - n), shape, x,
                        [&](Sizes index) {
                          index.insert(d, place);
                          return index;
                        }));
  });
  int values[6] = {};
  const TensorView<int> x(values, {2, 3});
  CHECK(message_of([&] { x.select(2, 0); }) == "select: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { x.select(1, 3); }) == "select: index 3 of a dimension of 3 entries, expected -3 to 2");
  CHECK(message_of([&] { x.select(0, -3); }) == "select: index -3 of a dimension of 2 entries, expected -2 to 1");
}

TEST_CASE("slice is Python's", "[core]") {
  for_random_views(1, [](const TensorView<int>& x, ef::Rng& rng) {
    const int d = random_dimension(x.rank(), rng);
    const Index n = x.shape()[d];
    Slice range;
    if (rng.randint(4) > 0) range.begin = rng.randint(2 * n + 5) - n - 2;
    if (rng.randint(4) > 0) range.end = rng.randint(2 * n + 5) - n - 2;
    range.step = rng.randint(3) + 1;
    if (rng.randint(2) == 0) range.step = -range.step;
    CAPTURE(n, range.begin.value_or(99), range.end.value_or(99), range.step);
    const std::vector<Index> places = places_of(range, n);
    Sizes shape = x.shape();
    shape[d] = static_cast<Index>(places.size());
    CHECK(shows_entries(x.slice(either_sign(d, x.rank(), rng), range), shape, x, [&](Sizes index) {
      index[d] = places[static_cast<std::size_t>(index[d])];
      return index;
    }));
  });
  // What Python prints.
  int values[5] = {0, 1, 2, 3, 4};
  const TensorView<int> x(values, {5});
  const auto sliced = [&](const Slice& range) { return ef::testing::entries_of<int>(x.slice(0, range)); };
  using Ints = std::vector<int>;
  const Index most = (std::numeric_limits<Index>::max)(), least = (std::numeric_limits<Index>::min)();
  CHECK(sliced({}) == Ints{0, 1, 2, 3, 4});
  CHECK(sliced({.begin = 1, .end = -1}) == Ints{1, 2, 3});
  CHECK(sliced({.begin = -2}) == Ints{3, 4});
  CHECK(sliced({.end = -2}) == Ints{0, 1, 2});
  CHECK(sliced({.begin = 3, .end = 2}).empty());
  CHECK(sliced({.begin = -10, .end = 10, .step = 2}) == Ints{0, 2, 4});
  CHECK(sliced({.begin = 10}).empty());
  CHECK(sliced({.step = -1}) == Ints{4, 3, 2, 1, 0});
  CHECK(sliced({.begin = 3, .end = 0, .step = -2}) == Ints{3, 1});
  CHECK(sliced({.begin = 3, .end = -10, .step = -2}) == Ints{3, 1});
  CHECK(sliced({.begin = -10, .step = -1}).empty());
  CHECK(sliced({.begin = 10, .end = -3, .step = -1}) == Ints{4, 3});
  CHECK(sliced({.begin = 1, .step = most}) == Ints{1});
  CHECK(sliced({.step = least}) == Ints{4});
  CHECK(sliced({.begin = least, .end = most}) == Ints{0, 1, 2, 3, 4});
  CHECK(message_of([&] { x.slice(0, {.step = 0}); }) == "slice: the step is 0, expected a number above or below 0");
  CHECK(message_of([&] { x.slice(1, {}); }) == "slice: dimension 1 of a tensor of rank 1, expected -1 to 0");
}

TEST_CASE("permute and transpose reorder dimensions", "[core]") {
  for_random_views(0, [](const TensorView<int>& x, ef::Rng& rng) {
    const int rank = x.rank();
    const Sizes order = ef::testing::random_order(rank, rng);
    Sizes shape = x.shape(), given = order;
    for (int i = 0; i < rank; ++i) {
      shape[i] = x.shape()[static_cast<int>(order[i])];
      given[i] = either_sign(static_cast<int>(order[i]), rank, rng);
    }
    CHECK(shows_entries(x.permute(given), shape, x, [&](const Sizes& index) {
      Sizes from = index;
      for (int i = 0; i < rank; ++i) from[static_cast<int>(order[i])] = index[i];
      return from;
    }));
    if (rank == 0) return;
    const int a = random_dimension(rank, rng), b = random_dimension(rank, rng);
    const auto exchanged = [&](Sizes index) {
      const Index other = index[a];
      index[a] = index[b];
      index[b] = other;
      return index;
    };
    CHECK(shows_entries(x.transpose(either_sign(a, rank, rng), either_sign(b, rank, rng)), exchanged(x.shape()), x,
                        exchanged));
  });
  int values[24] = {};
  const TensorView<int> x(values, {2, 3, 4});
  CHECK(x.transpose().shape() == Sizes{2, 4, 3});
  CHECK(message_of([&] {
          x.permute({0, 1});
        }) == "permute: the order is (0, 1), expected each dimension of a tensor [2 x 3 x 4] once");
  CHECK(message_of([&] {
          x.permute({0, 1, -2});
        }) == "permute: the order is (0, 1, -2), expected each dimension of a tensor [2 x 3 x 4] once");
  CHECK(message_of([&] { x.permute({0, 1, 3}); }) == "permute: dimension 3 of a tensor of rank 3, expected -3 to 2");
  CHECK(message_of([&] { x.select(0, 0).select(0, 0).transpose(); }) ==
        "transpose: dimension -2 of a tensor of rank 1, expected -1 to 0");
}

TEST_CASE("reshape finds strides wherever there are any", "[core]") {
  int without_copy = 0, with_copy = 0;
  for_random_views(0, [&](const TensorView<int>& x, ef::Rng& rng) {
    const std::vector<const int*> addresses = addresses_of(x);
    CHECK(x.is_contiguous() ==
          (is_strided(addresses, {x.size()}) && (x.size() < 2 || addresses[1] == addresses[0] + 1)));
    // A random factorisation of the number of entries.
    Sizes shape{x.size()};
    for (int tries = 0; tries < 8 && shape.rank() < 6; ++tries) {
      const int d = random_dimension(shape.rank(), rng);
      const Index factor = 1 + rng.randint(6);
      if (shape[d] % factor != 0) continue;
      shape[d] /= factor;
      shape.insert(d + static_cast<int>(rng.randint(2)), factor);
    }
    Sizes given = shape;
    const int open = random_dimension(shape.rank(), rng);
    const bool is_open = x.size() > 0 && rng.randint(2) == 0;
    if (is_open) given[open] = -1;
    CAPTURE(std::vector<Index>(shape.begin(), shape.end()));
    if (is_strided(addresses, shape)) {
      ++without_copy;
      const TensorView<int> y = x.reshape(given);
      CHECK(y.shape() == shape);
      CHECK(addresses_of(y) == addresses);
    } else {
      ++with_copy;
      CHECK(message_of([&] { x.reshape(given); }).find("needs a copy: call contiguous() first") != std::string::npos);
      CHECK(ef::testing::entries_of(x.contiguous().reshape(given)) == ef::testing::entries_of<int>(x));
    }
  });
  CHECK(without_copy > 30);
  CHECK(with_copy > 30);

  int values[24] = {};
  const TensorView<int> x(values, {2, 3, 4});
  CHECK(x.transpose().reshape({2, 1, 4, 3, 1}).strides()[2] == 1);
  CHECK(message_of([&] { x.transpose().reshape({24}); }) ==
        "reshape: a tensor [2 x 4 x 3] with strides [12 x 1 x 4] to [24] needs a copy: call contiguous() first");
  CHECK(message_of([&] { x.reshape({5, 5}); }) == "reshape: a tensor [2 x 3 x 4] has no shape [5 x 5]");
  CHECK(message_of([&] { x.reshape({5, -1}); }) == "reshape: a tensor [2 x 3 x 4] has no shape [5 x -1]");
  CHECK(message_of([&] { x.reshape({0, -1}); }) == "reshape: a tensor [2 x 3 x 4] has no shape [0 x -1]");
  CHECK(message_of([&] { x.reshape({-2, -12}); }) == "reshape: a tensor [2 x 3 x 4] has no shape [-2 x -12]");
  CHECK(message_of([&] {
          x.reshape({-1, 3, -1});
        }) == "reshape: a tensor [2 x 3 x 4] to [-1 x 3 x -1], which leaves two sizes open");
  const Index large = Index{1} << (sizeof(Index) * 8 - 2);
  CHECK(message_of([&] {
          x.reshape({large, large, -1});
        }).find("which has too many entries to count") != std::string::npos);
}

TEST_CASE("flatten joins dimensions", "[core]") {
  for_random_views(1, [](const TensorView<int>& x, ef::Rng& rng) {
    int first = random_dimension(x.rank(), rng), last = random_dimension(x.rank(), rng);
    if (first > last) std::swap(first, last);
    Sizes shape;
    for (int d = 0; d < first; ++d) shape.push_back(x.shape()[d]);
    Index joined = 1;
    for (int d = first; d <= last; ++d) joined *= x.shape()[d];
    shape.push_back(joined);
    for (int d = last + 1; d < x.rank(); ++d) shape.push_back(x.shape()[d]);
    const Index given_first = either_sign(first, x.rank(), rng), given_last = either_sign(last, x.rank(), rng);
    if (is_strided(addresses_of(x), shape)) {
      CHECK(x.flatten(given_first, given_last).shape() == shape);
      CHECK(addresses_of(x.flatten(given_first, given_last)) == addresses_of(x));
    } else {
      CHECK(message_of([&] { x.flatten(given_first, given_last); }).find("needs a copy") != std::string::npos);
    }
  });
  int values[24] = {};
  const TensorView<int> x(values, {2, 3, 4});
  CHECK(x.flatten().shape() == Sizes{24});
  CHECK(x.flatten(1).shape() == Sizes{2, 12});
  CHECK(x.flatten(0, 1).shape() == Sizes{6, 4});
  CHECK(message_of([&] { x.flatten(2, 1); }) ==
        "flatten: dimensions 2 to 1 of a tensor [2 x 3 x 4], expected the first before the last");
  CHECK(message_of([&] { x.flatten(0, 3); }) == "flatten: dimension 3 of a tensor of rank 3, expected -3 to 2");
}

TEST_CASE("squeeze and unsqueeze take out and put in dimensions of one entry", "[core]") {
  for_random_views(0, [](const TensorView<int>& x, ef::Rng& rng) {
    const int rank = x.rank(), d = random_dimension(rank + 1, rng);
    Sizes longer = x.shape();
    longer.insert(d, 1);
    CHECK(shows_entries(x.unsqueeze(either_sign(d, rank + 1, rng)), longer, x, [&](Sizes index) {
      index.erase(d);
      return index;
    }));
    Sizes shorter;
    for (const Index n : x.shape())
      if (n != 1) shorter.push_back(n);
    CHECK(shows_entries(x.squeeze(), shorter, x, [&](const Sizes& index) {
      Sizes from = Sizes::of_rank(rank);
      for (int i = 0, k = 0; i < rank; ++i)
        if (x.shape()[i] != 1) from[i] = index[k++];
      return from;
    }));
    if (rank == 0) return;
    const int one = random_dimension(rank, rng);
    const TensorView<int> squeezed = x.squeeze(either_sign(one, rank, rng));
    if (x.shape()[one] != 1) {
      CHECK(shows_entries(squeezed, x.shape(), x, [](const Sizes& index) { return index; }));
      return;
    }
    shorter = x.shape();
    shorter.erase(one);
    CHECK(shows_entries(squeezed, shorter, x, [&](Sizes index) {
      index.insert(one, 0);
      return index;
    }));
  });
  int value = 0;
  const TensorView<int> x(&value, {1, 1});
  CHECK(x.unsqueeze(0).is_contiguous());
  CHECK(message_of([&] { x.squeeze(2); }) == "squeeze: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { x.unsqueeze(3); }) ==
        "unsqueeze: the new dimension is 3, the tensor is [1 x 1], expected -3 to 2");
  const TensorView<int> full(&value, Sizes::of_rank(8, 1));
  CHECK(message_of([&] { full.unsqueeze(0); }) == "Sizes: a tensor of 9 dimensions, expected at most 8");
}

TEST_CASE("expand repeats entries", "[core]") {
  for_random_views(0, [](const TensorView<int>& x, ef::Rng& rng) {
    const int added = static_cast<int>(rng.randint(3));
    Sizes shape = x.shape(), given;
    for (int d = 0; d < shape.rank(); ++d) {
      if (shape[d] == 1 && rng.randint(2) == 0) shape[d] = rng.randint(4);
      given.push_back(shape[d] == x.shape()[d] && rng.randint(2) == 0 ? -1 : shape[d]);
    }
    for (int d = 0; d < added; ++d) {
      shape.insert(0, rng.randint(4));
      given.insert(0, shape[0]);
    }
    CHECK(shows_entries(x.expand(given), shape, x,
                        [&](const Sizes& index) { return ef::testing::broadcast_index(x.shape(), index); }));
  });
  int values[6] = {};
  const TensorView<int> x(values, {2, 1, 3});
  CHECK(message_of([&] { x.expand({2, 3}); }) == "expand: a tensor [2 x 1 x 3] does not broadcast to [2 x 3]");
  CHECK(message_of([&] { x.expand({4, 1, 3}); }) == "expand: a tensor [2 x 1 x 3] does not broadcast to [4 x 1 x 3]");
  CHECK(message_of([&] {
          x.expand({-1, 2, 1, 3});
        }) == "expand: a tensor [2 x 1 x 3] does not broadcast to [-1 x 2 x 1 x 3]");
  CHECK(message_of([&] { x.expand({2, -2, 3}); }) == "expand: a tensor [2 x 1 x 3] does not broadcast to [2 x -2 x 3]");
}

TEST_CASE("diagonal takes equal indices", "[core]") {
  for_random_views(2, [](const TensorView<int>& x, ef::Rng& rng) {
    const int rank = x.rank(), a = random_dimension(rank, rng);
    const int b = (a + 1 + random_dimension(rank - 1, rng)) % rank;
    Sizes shape;
    for (int d = 0; d < rank; ++d)
      if (d != a && d != b) shape.push_back(x.shape()[d]);
    shape.push_back(x.shape()[a] < x.shape()[b] ? x.shape()[a] : x.shape()[b]);
    CHECK(shows_entries(x.diagonal(either_sign(a, rank, rng), either_sign(b, rank, rng)), shape, x,
                        [&](const Sizes& index) {
                          Sizes from = Sizes::of_rank(rank);
                          for (int d = 0, k = 0; d < rank; ++d)
                            from[d] = d == a || d == b ? index[index.rank() - 1] : index[k++];
                          return from;
                        }));
  });
  int values[6] = {};
  const TensorView<int> x(values, {2, 3});
  CHECK(message_of([&] { x.diagonal(1, -1); }) == "diagonal: dimension 1 is named twice");
  CHECK(message_of([&] { x.diagonal(0, 2); }) == "diagonal: dimension 2 of a tensor of rank 2, expected -2 to 1");
}

TEST_CASE("split cuts a dimension into pieces", "[core]") {
  for_random_views(1, [](const TensorView<int>& x, ef::Rng& rng) {
    const int d = random_dimension(x.rank(), rng);
    const Index n = x.shape()[d], size = 1 + rng.randint(4);
    const auto check_piece = [&](const TensorView<int>& piece, Index begin, Index entries) {
      Sizes shape = x.shape();
      shape[d] = entries;
      CHECK(shows_entries(piece, shape, x, [&](Sizes index) {
        index[d] += begin;
        return index;
      }));
    };
    const std::vector<TensorView<int>> equal = x.split(size, either_sign(d, x.rank(), rng));
    REQUIRE(static_cast<Index>(equal.size()) == (n == 0 ? 1 : (n + size - 1) / size));
    for (std::size_t i = 0; i < equal.size(); ++i) {
      const Index begin = static_cast<Index>(i) * size;
      check_piece(equal[i], begin, n - begin < size ? n - begin : size);
    }
    std::vector<Index> sizes;
    for (Index left = n; left > 0; left -= sizes.back()) sizes.push_back(rng.randint(left + 1));
    const std::vector<TensorView<int>> pieces = x.split(sizes, either_sign(d, x.rank(), rng));
    REQUIRE(pieces.size() == sizes.size());
    Index begin = 0;
    for (std::size_t i = 0; i < pieces.size(); begin += sizes[i++]) check_piece(pieces[i], begin, sizes[i]);
  });
  int values[6] = {};
  const TensorView<int> x(values, {2, 3});
  const auto sizes = [](std::vector<Index> list) { return list; };
  CHECK(x.split((std::numeric_limits<Index>::max)(), 1).size() == 1);
  CHECK(message_of([&] { x.split(0); }) == "split: pieces of 0 entries, expected 1 or more");
  CHECK(message_of([&] { x.split(1, 2); }) == "split: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { x.split(sizes({1, 1}), 2); }) == "split: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { x.split(sizes({2, -1, 2}), 1); }) == "split: a piece of -1 entries");
  CHECK_THROWS_AS(x.split(sizes({1, (std::numeric_limits<Index>::max)()}), 1), ef::Error);
  CHECK(message_of([&] { x.split(sizes({1, 1}), 1); }) == "split: pieces of 2 entries in all, the dimension has 3");
  CHECK(message_of([&] { x.split(sizes({2, 2}), 1); }) == "split: pieces of 4 entries in all, the dimension has 3");
}

TEST_CASE("matrices and rows of a view are Eigen maps", "[core]") {
  for_random_views(2, [](const TensorView<int>& x, ef::Rng& rng) {
    if (x.size() == 0) return;
    TensorView<int> y = x;
    while (y.rank() > 3) y = y.select(0, rng.randint(y.shape()[0]));
    y = y.rank() == 2 ? y.unsqueeze(0) : y;
    for (Index b = 0; b < y.shape()[0]; ++b) {
      const auto matrix = rng.randint(2) == 0 ? y.matrix(b) : y.matrix(b - y.shape()[0]);
      REQUIRE(ef::shape(matrix) == ef::Shape{y.shape()[1], y.shape()[2]});
      for (Index i = 0; i < matrix.rows(); ++i) {
        const auto row = y.row(b, static_cast<int>(i));
        REQUIRE(row.size() == y.shape()[2]);
        for (Index j = 0; j < matrix.cols(); ++j) {
          CHECK(&matrix.coeffRef(i, j) == &entry(y, {b, i, j}));
          CHECK(&row.coeffRef(j) == &entry(y, {b, i, j}));
        }
      }
    }
  });
  int values[24] = {};
  const TensorView<int> x(values, {2, 3, 4});
  x.matrix(1).row(2).setConstant(5);
  x.row(0, -1) *= 2;
  CHECK(values[23] == 5);
  CHECK(message_of([&] { x.matrix(2); }) == "matrix: index 2 of a dimension of 2 entries, expected -2 to 1");
  CHECK(message_of([&] { x.matrix(); }) == "matrix: the number of indices is 0, the tensor is [2 x 3 x 4], expected 1");
  CHECK(message_of([&] { x.matrix(0, 0); }) ==
        "matrix: the number of indices is 2, the tensor is [2 x 3 x 4], expected 1");
  CHECK(message_of([&] { x.row(0, -4); }) == "row: index -4 of a dimension of 3 entries, expected -3 to 2");
  CHECK(message_of([&] { x.row(0); }) == "row: the number of indices is 1, the tensor is [2 x 3 x 4], expected 2");
  const TensorView<const int> reading = x;
  static_assert(std::is_same_v<decltype(reading.matrix(0).data()), const int*>);
  CHECK(reading.row(1, 2).sum() == 20);
}

TEST_CASE("every matrix with memory is viewed as it lies", "[core]") {
  Eigen::MatrixXf by_columns = Eigen::MatrixXf::Random(6, 8);
  ef::Matrix<float> by_rows = by_columns;
  const Eigen::VectorXf vector = by_columns.col(1);
  const Eigen::RowVectorXf row_vector = by_columns.row(1);
  const Eigen::Matrix<float, 3, 2> fixed = by_columns.topLeftCorner<3, 2>();
  CHECK(shows_matrix(ef::strided_view(by_columns), by_columns));
  CHECK(shows_matrix(ef::strided_view(by_rows), by_rows));
  CHECK(shows_matrix(ef::strided_view(vector), vector));
  CHECK(shows_matrix(ef::strided_view(row_vector), row_vector));
  CHECK(shows_matrix(ef::strided_view(fixed), fixed));
  CHECK(shows_matrix(ef::strided_view(vector.transpose()), vector.transpose()));
  CHECK(shows_matrix(ef::strided_view(by_columns.transpose()), by_columns.transpose()));
  CHECK(shows_matrix(ef::strided_view(by_columns.row(2)), by_columns.row(2)));
  CHECK(shows_matrix(ef::strided_view(by_rows.col(2)), by_rows.col(2)));
  CHECK(shows_matrix(ef::strided_view(by_rows.block(1, 2, 3, 4).transpose()), by_rows.block(1, 2, 3, 4).transpose()));
  CHECK(shows_matrix(ef::strided_view(by_columns.diagonal()), by_columns.diagonal()));
  using Stride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
  const Eigen::Map<Eigen::MatrixXf, 0, Stride> spread(by_columns.data(), 3, 4, Stride(12, 2));
  CHECK(shows_matrix(ef::strided_view(spread), spread));
  CHECK(shows_matrix(ef::strided_view(spread.block(1, 1, 2, 3)), spread.block(1, 1, 2, 3)));
  CHECK(shows_matrix(ef::strided_view(by_rows.array()), by_rows.array()));
  CHECK(shows_matrix(TensorView<float>(by_rows), by_rows));
  CHECK(shows_matrix(TensorView<float>(by_columns.bottomRows(2)), by_columns.bottomRows(2)));
  TensorView<float>(by_columns.bottomRows(2))(1, 7) = 3;
  CHECK(by_columns(5, 7) == 3);
}

TEST_CASE("copies of views", "[core]") {
  for_random_views(0, [](const TensorView<int>& x, ef::Rng& rng) {
    const std::vector<int> entries = ef::testing::entries_of<int>(x);
    const Tensor<int> copy = x.contiguous();
    CHECK(copy.shape() == x.shape());
    CHECK(ef::testing::entries_of(copy) == entries);
    const Tensor<double> cast = x.cast<double>();
    CHECK(cast.shape() == x.shape());
    CHECK(ef::testing::entries_of(cast) == std::vector<double>(entries.begin(), entries.end()));

    const GuardedView<int> target(x.shape(), rng, ef::testing::Repeats::none);
    const Sizes smaller = ef::testing::random_broadcastable(x.shape(), rng);
    const GuardedView<int> source(smaller, rng);
    source.view().copy_to(target.view());
    CHECK(ef::testing::largest_difference(target.constant(), x.shape(), [&](const Sizes& index) {
            return ef::testing::broadcast_entry(source.view(), index);
          }) == 0);
    CHECK(target.is_untouched_outside());
  });
  int values[6] = {1, 2, 3, 4, 5, 6};
  const TensorView<int> x(values, {2, 3});
  CHECK(message_of([&] { x.copy_to(x.select(0, 0)); }) == "expand: a tensor [2 x 3] does not broadcast to [3]");
  CHECK(message_of([&] { x.copy_to(x.transpose()); }) == "expand: a tensor [2 x 3] does not broadcast to [3 x 2]");
  CHECK(message_of([&] {
          x.select(0, 0).copy_to(x.select(0, 1).expand({2, 3}));
        }) == "a tensor [2 x 3] with strides [0 x 1] repeats entries and cannot be written");
  // Overlapping memory.
  x.slice(1, {.end = 2}).copy_to(x.slice(1, {.begin = 1}));
  CHECK(std::vector<int>(values, values + 6) == std::vector<int>{1, 1, 2, 4, 4, 5});
  x.slice(1, {.step = -1}).copy_to(x);
  CHECK(std::vector<int>(values, values + 6) == std::vector<int>{2, 1, 1, 5, 4, 4});
}
