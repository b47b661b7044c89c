#include "eigenformer/core/row_offsets.hpp"

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
  CHECK(offsets.longest() == 4);
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
  CHECK(none.longest() == 0);
}

TEST_CASE("offsets from lengths, and from a vector of offsets", "[core]") {
  const std::vector<Index> lengths{3, 0, 4};
  CHECK(ef::RowOffsets::from_lengths(lengths) == ef::RowOffsets{0, 3, 3, 7});
  CHECK(ef::RowOffsets::from_lengths({}) == ef::RowOffsets{0});
  CHECK(ef::RowOffsets(std::vector<Index>{0, 3, 3, 7}) == ef::RowOffsets{0, 3, 3, 7});
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
  CHECK(ef::RowOffsets().over(4, "attention", "q") == ef::RowOffsets{0, 4});
  CHECK(ef::RowOffsets().over(0, "attention", "q") == ef::RowOffsets{0, 0});
  const ef::RowOffsets offsets{0, 2, 5};
  CHECK(offsets.over(5, "attention", "q") == offsets);
  CHECK(message_of([&] { offsets.over(6, "attention", "q"); }) == "attention: q has 6 rows, its offsets end at 5");
  CHECK_THROWS_AS(offsets.over(4, "attention", "q"), ef::Error);
}

TEST_CASE("offsets that are none are refused", "[core]") {
  const std::string begin = "RowOffsets: expected offsets that begin with 0";
  CHECK(message_of([] { ef::RowOffsets(std::vector<Index>{}); }) == begin);
  CHECK(message_of([] { ef::RowOffsets{1, 2}; }) == begin);
  CHECK(message_of([] { ef::RowOffsets{-1, 2}; }) == begin);
  CHECK(message_of([] { ef::RowOffsets{0, 4, 3}; }) == "RowOffsets: offset 2 is 3, less than the one before, 4");
  const std::vector<Index> lengths{1, -1};
  CHECK(message_of([&] { ef::RowOffsets::from_lengths(lengths); }) ==
        "RowOffsets: offset 2 is 0, less than the one before, 1");
}
