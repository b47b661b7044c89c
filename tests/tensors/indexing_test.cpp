#include "eigenformer/tensors/indexing.hpp"

#include <cstdint>
#include <limits>
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

namespace {

// Indices of a dimension of n entries, some of them from the end.
template <class Integer>
void fill_indices(const TensorView<Integer>& indices, Index n, ef::Rng& rng) {
  ef::testing::for_each_index(
      indices.shape(), [&](const Sizes& at) { entry(indices, at) = static_cast<Integer>(rng.randint(2 * n) - n); });
}
Index from_start(Index index, Index n) {
  return index < 0 ? index + n : index;
}

}  // namespace

TEST_CASE("gather and scatter_add take and add entries at indices", "[tensors]") {
  for (std::uint64_t seed = 0; seed < 250; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    Sizes shape = ef::testing::random_shape(1 + static_cast<int>(rng.randint(5)), rng);
    const int d = static_cast<int>(rng.randint(shape.rank()));
    if (shape[d] == 0) shape[d] = 2;
    Sizes chosen = shape;
    for (int i = 0; i < shape.rank(); ++i)
      chosen[i] = i == d ? rng.randint(5) : shape[i] - rng.randint(2) * (shape[i] > 0);
    const GuardedView<int> x(shape, rng, ef::testing::Repeats::none), source(chosen, rng);
    const GuardedView<Index> indices(chosen, rng);
    fill_indices(indices.view(), shape[d], rng);
    const Index given = rng.randint(2) == 0 ? d : d - shape.rank();
    const auto target = [&](Sizes index) {
      index[d] = from_start(entry(indices.view(), index), shape[d]);
      return index;
    };
    CHECK(largest_difference(gather(x.view(), given, indices.view()), chosen,
                             [&](const Sizes& index) { return entry(x.view(), target(index)); }) == 0);
    Tensor<int> expected(x.view());
    ef::testing::for_each_index(chosen, [&](const Sizes& index) {
      expected.data()[ef::testing::offset_of(expected.strides(), target(index))] += entry(source.view(), index);
    });
    scatter_add(x.view(), given, indices.view(), source.view());
    CHECK(entries_of(x.constant()) == entries_of(expected));
    CHECK(x.is_untouched_outside());
  }
}

TEST_CASE("index_select takes parts at indices", "[tensors]") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    Sizes shape = ef::testing::random_shape(1 + static_cast<int>(rng.randint(5)), rng);
    const int d = static_cast<int>(rng.randint(shape.rank()));
    if (shape[d] == 0) shape[d] = 2;
    const GuardedView<float> x(shape, rng);
    const GuardedView<int> indices({rng.randint(6)}, rng);
    fill_indices(indices.view(), shape[d], rng);
    Sizes chosen = shape;
    chosen[d] = indices.view().size();
    CHECK(largest_difference(index_select(x.view(), rng.randint(2) == 0 ? d : d - shape.rank(), indices.view()), chosen,
                             [&](Sizes index) {
                               index[d] = from_start(indices.view()(index[d]), shape[d]);
                               return static_cast<double>(entry(x.view(), index));
                             }) == 0);
  }
}

TEST_CASE("tril and triu keep triangles", "[tensors]") {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    const Sizes shape = ef::testing::random_shape(2 + static_cast<int>(rng.randint(4)), rng);
    const GuardedView<float> x(shape, rng);
    const Index diagonal = rng.randint(9) - 4;
    const auto above = [&](const Sizes& index) { return index[shape.rank() - 1] - index[shape.rank() - 2] - diagonal; };
    CHECK(largest_difference(tril(x.view(), diagonal), shape, [&](const Sizes& index) {
            return above(index) <= 0 ? static_cast<double>(entry(x.view(), index)) : 0;
          }) == 0);
    CHECK(largest_difference(triu(x.view() + 0, diagonal), shape, [&](const Sizes& index) {
            return above(index) >= 0 ? static_cast<double>(entry(x.view(), index)) : 0;
          }) == 0);
  }
  // NaN is not kept by a product with 0.
  const Tensor<double> nan({3, 3}, ef::testing::not_a_number);
  CHECK(tril(nan)(0, 1) == 0);
  const Tensor<bool> causal = tril(Tensor<bool>({2, 2}, true));
  CHECK(entries_of(causal) == std::vector<bool>{true, false, true, true});
}

TEST_CASE("indices of expressions and temporaries", "[tensors]") {
  const Tensor<int> table({3, 2}, std::vector<int>{1, 2, 3, 4, 5, 6});
  CHECK(entries_of(index_select(table, 0, Tensor<int>({2}, 1) + 1)) == std::vector<int>{5, 6, 5, 6});
  CHECK(entries_of(index_select(table * 2, 1, Tensor<Index>({1}, 1))) == std::vector<int>{4, 8, 12});
  CHECK(entries_of(gather(Tensor<int>(table), 0, Tensor<std::int8_t>({1, 2}, std::int8_t{-1}))) ==
        std::vector<int>{5, 6});
  // Entries of one target are added in order; the tensor may be its own source.
  Tensor<int> x({3}, std::vector<int>{1, 2, 3});
  scatter_add(x.view(), 0, Tensor<Index>({3}, std::vector<Index>{1, 2, 0}), x);
  CHECK(entries_of(x) == std::vector<int>{4, 3, 5});
  Tensor<Eigen::half> h({2});
  scatter_add(h.view(), 0, Tensor<Index>({3}), Tensor<Eigen::half>({3}, Eigen::half(1)));
  CHECK(static_cast<float>(h(0)) == 3);
}

TEST_CASE("wrong indices", "[tensors]") {
  Tensor<float> x({2, 3});
  const Tensor<Index> indices({2, 3}, 2), one({1}, 3);
  CHECK(message_of([&] { gather(x, 0, indices); }) == "gather: index 2 of a dimension of 2 entries, expected -2 to 1");
  CHECK(message_of([&] { gather(x, 1, indices * -2); }) ==
        "gather: index -4 of a dimension of 3 entries, expected -3 to 2");
  CHECK(message_of([&] { gather(x, 2, indices); }) == "gather: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { gather(x, 0, one); }) ==
        "gather: the tensor is [2 x 3], indices are [1], expected as many dimensions, and no larger sizes except in "
        "dimension 0");
  CHECK(message_of([&] {
          gather(x, 0, Tensor<Index>({2, 4}));
        }) ==
        "gather: the tensor is [2 x 3], indices are [2 x 4], expected as many dimensions, and no larger sizes except "
        "in dimension 0");
  CHECK(message_of([&] { scatter_add(x.view(), 0, indices, x); }) ==
        "scatter_add: index 2 of a dimension of 2 entries, expected -2 to 1");
  CHECK(message_of([&] {
          scatter_add(x.view(), 1, indices, Tensor<float>({2, 2}));
        }) == "scatter_add: source is [2 x 2], indices are [2 x 3]");
  CHECK(message_of([&] {
          scatter_add(x.view(), 0, Tensor<Index>({2, 4}), Tensor<float>({2, 4}));
        }) ==
        "scatter_add: the tensor is [2 x 3], indices are [2 x 4], expected as many dimensions, and no larger sizes "
        "except in dimension 0");
  CHECK(message_of([&] {
          scatter_add(x.select(0, 0).expand({2, 3}), 1, indices, x);
        }) == "a tensor [2 x 3] with strides [0 x 1] repeats entries and cannot be written");
  CHECK(message_of([&] { index_select(x, 0, one); }) ==
        "index_select: index 3 of a dimension of 2 entries, expected -2 to 1");
  CHECK(message_of([&] { index_select(x, 0, indices); }) == "index_select: indices are [2 x 3], expected rank 1");
  CHECK(message_of([&] { index_select(x, -3, one); }) ==
        "index_select: dimension -3 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { tril(one); }) == "tril: a tensor [1], expected matrices");
  CHECK(message_of([&] { triu(Tensor<float>({}, 1.0F)); }) == "triu: a tensor [], expected matrices");
  const Tensor<std::uint64_t> beyond({1}, (std::numeric_limits<std::uint64_t>::max)());  // as an Index, -1
  CHECK(message_of([&] { index_select(x, 0, beyond); }) ==
        "index_select: index 18446744073709551615 of a dimension of 2 entries");
  CHECK(message_of([&] {
          gather(x, 0, beyond.reshape({1, 1}));
        }) == "gather: index 18446744073709551615 of a dimension of 2 entries");
  CHECK(message_of([&] {
          scatter_add(x.view(), 0, beyond.reshape({1, 1}), Tensor<float>({1, 1}));
        }) == "scatter_add: index 18446744073709551615 of a dimension of 2 entries");
  CHECK(gather(x, 0, Tensor<Index>({0, 3})).shape() == Sizes{0, 3});
  CHECK(index_select(x, 1, Tensor<Index>({0})).shape() == Sizes{2, 0});
  CHECK(message_of([&] {
          index_select(Tensor<float>({0, 3}), 0, one);
        }) == "index_select: index 3 of a dimension of 0 entries");
  CHECK(message_of([&] {
          index_select(Tensor<float>({2, 0}), 0, one);
        }) == "index_select: index 3 of a dimension of 2 entries, expected -2 to 1");
}
