#include "eigenformer/core/sizes.hpp"

#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Sizes;
using ef::testing::message_of;

TEST_CASE("sizes are a list of at most eight integers", "[core]") {
  CHECK(Sizes().rank() == 0);
  CHECK(Sizes({}).rank() == 0);
  const Sizes sizes{2, 3, 4};
  CHECK(sizes.rank() == 3);
  CHECK(sizes.size() == 3);
  CHECK(sizes[0] == 2);
  CHECK(sizes[2] == 4);
  CHECK(std::vector<Index>(sizes.begin(), sizes.end()) == std::vector<Index>{2, 3, 4});
  CHECK(Sizes(std::span<const Index>(std::vector<Index>{5, 6})) == Sizes{5, 6});
  CHECK(Sizes::of_rank(0) == Sizes());
  CHECK(Sizes::of_rank(3) == Sizes{0, 0, 0});
  CHECK(Sizes::of_rank(2, -1) == Sizes{-1, -1});
  CHECK(Sizes{1, 2, 3, 4, 5, 6, 7, 8}.rank() == Sizes::max_rank);
  CHECK(Sizes{2, 3} != Sizes{3, 2});
  CHECK(Sizes{2, 3} != Sizes{2, 3, 1});
  CHECK(Sizes{2, 3} != Sizes{2});

  CHECK(message_of([] { Sizes{1, 2, 3, 4, 5, 6, 7, 8, 9}; }) == "Sizes: a tensor of 9 dimensions, expected at most 8");
  CHECK(message_of([] { Sizes::of_rank(9); }) == "Sizes: a tensor of 9 dimensions, expected 0 to 8");
  CHECK(message_of([] { Sizes::of_rank(-1); }) == "Sizes: a tensor of -1 dimensions, expected 0 to 8");
}

TEST_CASE("sizes can be put in and taken out", "[core]") {
  Sizes sizes;
  sizes.insert(0, 3);
  sizes.insert(0, 1);
  sizes.insert(1, 2);
  sizes.push_back(4);
  CHECK(sizes == Sizes{1, 2, 3, 4});
  sizes[3] = 5;
  sizes.erase(1);
  CHECK(sizes == Sizes{1, 3, 5});
  sizes.erase(2);
  sizes.erase(0);
  CHECK(sizes == Sizes{3});
  sizes.pop_back();
  CHECK(sizes == Sizes());
  Sizes full = Sizes::of_rank(8, 1);
  CHECK(message_of([&] { full.push_back(1); }) == "Sizes: a tensor of 9 dimensions, expected at most 8");
  CHECK(full == Sizes::of_rank(8, 1));
  full.erase(0);
  full.insert(7, 2);
  CHECK(full == Sizes{1, 1, 1, 1, 1, 1, 1, 2});
}

TEST_CASE("the entries of a shape are counted, unless they are too many", "[core]") {
  const Index most = (std::numeric_limits<Index>::max)();
  CHECK(ef::count_of({}) == 1);
  CHECK(ef::count_of({7}) == 7);
  CHECK(ef::count_of({2, 3, 4}) == 24);
  CHECK(ef::count_of({2, 0, 4}) == 0);
  CHECK(ef::count_of({most}) == most);
  CHECK(ef::count_of({1, most, 1}) == most);
  CHECK(ef::count_of({most, most, 0}) == 0);
  CHECK(ef::count_of({0, most, most}) == 0);
  CHECK(message_of([&] {
          ef::count_of({3, most / 2});
        }) == "Tensor: the shape is [3 x " + std::to_string(most / 2) + "], which has too many entries to count");
  CHECK(message_of([&] { ef::count_of({2, -3}); }) == "Tensor: the shape is [2 x -3], expected sizes of 0 or more");
  CHECK(message_of([&] { ef::count_of({0, -1}); }) == "Tensor: the shape is [0 x -1], expected sizes of 0 or more");
}

TEST_CASE("strides of contiguous memory", "[core]") {
  CHECK(ef::contiguous_strides({}) == Sizes{});
  CHECK(ef::contiguous_strides({5}) == Sizes{1});
  CHECK(ef::contiguous_strides({2, 3, 4}) == Sizes{12, 4, 1});
  CHECK(ef::contiguous_strides({2, 1, 4}) == Sizes{4, 4, 1});
  CHECK(ef::contiguous_strides({2, 0, 4}) == Sizes{0, 4, 1});
  const Index most = (std::numeric_limits<Index>::max)();
  CHECK(ef::contiguous_strides({0, most, most}).rank() == 3);  // a tensor without entries, not an overflow
}

TEST_CASE("dimensions count from either end", "[core]") {
  CHECK(ef::dimension_number("here", 0, 3) == 0);
  CHECK(ef::dimension_number("here", 2, 3) == 2);
  CHECK(ef::dimension_number("here", -1, 3) == 2);
  CHECK(ef::dimension_number("here", -3, 3) == 0);
  CHECK(message_of([] { ef::dimension_number("here", 3, 3); }) ==
        "here: dimension 3 of a tensor of rank 3, expected -3 to 2");
  CHECK(message_of([] { ef::dimension_number("here", -4, 3); }) ==
        "here: dimension -4 of a tensor of rank 3, expected -3 to 2");
  CHECK(message_of([] { ef::dimension_number("here", 0, 0); }) ==
        "here: dimension 0 of a tensor of rank 0, which has none");
}
