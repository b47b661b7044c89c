#include "eigenformer/core/row_offsets.hpp"

#include <array>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::testing::message_of;

TEST_CASE("offsets say which rows are whose", "[core]") {
  const ef::RowOffsets offsets{0, 3, 3, 7};
  CHECK(offsets.given());
  CHECK(offsets.sequences() == 3);
  CHECK(offsets.rows() == 7);
  CHECK(offsets.max_length() == 4);
  const Index begins[] = {0, 3, 3}, ends[] = {3, 3, 7}, lengths[] = {3, 0, 4};
  for (Index i = 0; i < 3; ++i) {
    CAPTURE(i);
    CHECK(offsets.begin(i) == begins[i]);
    CHECK(offsets.end(i) == ends[i]);
    CHECK(offsets.length(i) == lengths[i]);
  }
  const ef::RowOffsets none{0};
  CHECK(none.given());
  CHECK(none.sequences() == 0);
  CHECK(none.rows() == 0);
  CHECK(none.max_length() == 0);
}

TEST_CASE("offsets from lengths, and from a vector of offsets", "[core]") {
  const std::vector<Index> lengths{3, 0, 4};
  CHECK(ef::RowOffsets::from_lengths(lengths) == ef::RowOffsets{0, 3, 3, 7});
  CHECK(ef::RowOffsets::from_lengths({}) == ef::RowOffsets{0});
  CHECK(ef::RowOffsets::from_lengths({3, 0, 4}) == ef::RowOffsets{0, 3, 3, 7});
  CHECK(ef::RowOffsets(std::vector<Index>{0, 3, 3, 7}) == ef::RowOffsets{0, 3, 3, 7});
}

TEST_CASE("offsets and lengths may be any whole numbers in a row", "[core]") {
  struct Options {
    ef::RowOffsets rows{};
  };
  const ef::RowOffsets expected{0, 3, 8};
  const std::vector<Index> of_index{0, 3, 8};
  const std::array<int, 3> of_int{0, 3, 8};
  const std::size_t of_size[] = {0, 3, 8};
  CHECK(Options{.rows = of_index}.rows == expected);
  CHECK(Options{.rows = std::vector<Index>{0, 3, 8}}.rows == expected);
  CHECK(Options{.rows = of_int}.rows == expected);
  CHECK(Options{.rows = of_size}.rows == expected);
  CHECK(Options{.rows = std::span(of_index)}.rows == expected);
  CHECK(Options{.rows = {0, 3, 8}}.rows == expected);
  CHECK(Options{.rows = Eigen::Vector3i(0, 3, 8)}.rows == expected);
  CHECK_FALSE(Options{.rows = {}}.rows.given());
  CHECK(ef::RowOffsets::from_lengths(std::array<int, 2>{3, 5}) == expected);
  CHECK(ef::RowOffsets::from_lengths(std::vector<std::uint32_t>{3, 5}) == expected);
  CHECK(ef::RowOffsets::from_lengths(std::span(of_index).last(2)) == ef::RowOffsets{0, 3, 11});

  CHECK_FALSE(std::is_convertible_v<std::vector<bool>, ef::RowOffsets>);
  CHECK_FALSE(std::is_convertible_v<std::vector<float>, ef::RowOffsets>);
  CHECK_FALSE(std::is_convertible_v<std::string, ef::RowOffsets>);
  CHECK_FALSE(std::is_convertible_v<Index, ef::RowOffsets>);
}

TEST_CASE("offsets are compared by value, and copies share them", "[core]") {
  const ef::RowOffsets offsets{0, 2, 5};
  ef::RowOffsets copy;
  CHECK_FALSE(copy.given());
  CHECK(copy == ef::RowOffsets());
  CHECK_FALSE(copy == offsets);
  CHECK_FALSE(offsets == copy);
  CHECK_FALSE(ef::RowOffsets{0} == ef::RowOffsets());
  copy = offsets;
  CHECK(copy == offsets);
  CHECK(copy != ef::RowOffsets{0, 5});
  CHECK(copy != ef::RowOffsets{0, 3, 5});
}

TEST_CASE("offsets over a matrix", "[core]") {
  CHECK(ef::RowOffsets().for_rows(4, "attention", "q") == ef::RowOffsets{0, 4});
  CHECK(ef::RowOffsets().for_rows(0, "attention", "q") == ef::RowOffsets{0, 0});
  const ef::RowOffsets offsets{0, 2, 5};
  CHECK(offsets.for_rows(5, "attention", "q") == offsets);
  CHECK(message_of([&] { offsets.for_rows(6, "attention", "q"); }) == "attention: q has 6 rows, its offsets end at 5");
  CHECK_THROWS_AS(offsets.for_rows(4, "attention", "q"), ef::Error);
}

TEST_CASE("offsets that are none are refused, and lengths pointed at from_lengths", "[core]") {
  const std::string hint = "; for lengths use RowOffsets::from_lengths";
  const auto message = [](const std::vector<Index>& offsets) { return message_of([&] { ef::RowOffsets{offsets}; }); };
  CHECK(message({}) == "RowOffsets: no offsets were given, expected a 0 and each sequence's end");
  CHECK(message({3, 5, 2}) == "RowOffsets: expected offsets that begin with 0, given 3" + hint);
  CHECK(message({-1, 2}) == "RowOffsets: expected offsets that begin with 0, given -1" + hint);
  CHECK(message({0, 4, 3}) == "RowOffsets: offset 2 is 3, less than the one before, 4" + hint);
  CHECK(message_of([] { ef::RowOffsets{3, 5, 2}; }) == message({3, 5, 2}));
  CHECK(message_of([] { ef::RowOffsets(std::array<int, 3>{3, 5, 2}); }) == message({3, 5, 2}));
  const ef::RowOffsets lengths{0, 2, 5};
  CHECK(message_of([&] { lengths.for_rows(7, "attention", "q"); }) ==
        "attention: q has 7 rows, its offsets end at 5" + hint);
}

TEST_CASE("lengths that are none are refused", "[core]") {
  const std::string expected = ", expected 0 or more, and a sum that an Index can hold";
  const Index largest = std::numeric_limits<Index>::max();
  CHECK(message_of([] {
          ef::RowOffsets::from_lengths({1, -1});
        }) == "RowOffsets::from_lengths: length 1 is -1" + expected);
  CHECK(message_of([&] {
          ef::RowOffsets::from_lengths({1, largest});
        }) == "RowOffsets::from_lengths: length 1 is " + std::to_string(largest) + expected);
  CHECK(ef::RowOffsets::from_lengths({largest}).rows() == largest);
}

TEST_CASE("a view reads offsets where they are, and so do its copies", "[core]") {
  std::vector<Index> offsets{0, 2, 5};
  const ef::RowOffsets view = ef::RowOffsets::view(offsets), copy = view;
  CHECK(view.given());
  CHECK(view == ef::RowOffsets{0, 2, 5});
  CHECK(view.for_rows(5, "attention", "q") == view);
  CHECK(copy.length(1) == 3);
  offsets[2] = 9;
  CHECK(copy.rows() == 9);
  CHECK(!ef::RowOffsets::view({}).given());
}
