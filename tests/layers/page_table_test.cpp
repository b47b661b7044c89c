#include "eigenformer/layers/page_table.hpp"

#include <algorithm>
#include <set>

#include "eigenformer/core/rng.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::PageTable;
using ef::testing::message_of;

namespace {

/// A table with a buffer of one number a row, beside plain lists of the same numbers.
struct Sequences {
  PageTable table;
  std::vector<int> buffer{};
  std::vector<std::vector<int>> lists{};
  int written = 0;

  void add(Index count) {
    table.add(count);
    lists.resize(lists.size() + static_cast<std::size_t>(count));
  }
  void branch(const std::vector<Index>& parents) {
    table.branch(parents);
    std::vector<std::vector<int>> next;
    for (const Index parent : parents) next.push_back(lists[static_cast<std::size_t>(parent)]);
    lists = next;
  }
  void extend(const std::vector<Index>& tokens) {
    table.extend(tokens);
    buffer.resize(static_cast<std::size_t>(table.pages() * table.page_size()), -1);
    for (const ef::PageCopy& copy : table.copies())
      std::copy_n(buffer.begin() + copy.from * table.page_size(), copy.rows,
                  buffer.begin() + copy.to * table.page_size());
    std::size_t next = 0;
    for (std::size_t s = 0; s < lists.size(); ++s)
      for (Index i = 0; i < tokens[s]; ++i, ++next) {
        REQUIRE(table.new_positions()[next] == static_cast<Index>(lists[s].size()));
        buffer[static_cast<std::size_t>(table.new_rows()[next])] = ++written;
        lists[s].push_back(written);
      }
    REQUIRE(next == table.new_rows().size());
    REQUIRE(table.new_tokens() == ef::RowOffsets::from_lengths(tokens));
  }

  /// Checks that the pages hold what the lists do, and that no other page is in use.
  void check() const {
    const ef::KeyPages pages = table.key_pages();
    std::size_t page = 0;
    std::set<Index> used;
    REQUIRE(table.sequences() == static_cast<Index>(lists.size()));
    for (std::size_t s = 0; s < lists.size(); ++s) {
      REQUIRE(table.length(static_cast<Index>(s)) == static_cast<Index>(lists[s].size()));
      for (std::size_t t = 0; t < lists[s].size(); ++t) {
        if (t > 0 && t % static_cast<std::size_t>(pages.page_size) == 0) ++page;
        used.insert(pages.pages[page]);
        const Index row = pages.pages[page] * pages.page_size + static_cast<Index>(t) % pages.page_size;
        REQUIRE(buffer[static_cast<std::size_t>(row)] == lists[s][t]);
      }
      if (!lists[s].empty()) ++page;
    }
    REQUIRE(page == pages.pages.size());
    REQUIRE(table.used_pages() == static_cast<Index>(used.size()));
  }
};

}  // namespace

TEST_CASE("sequences in pages are what they would be in lists of their own", "[layers]") {
  const std::uint64_t seed = GENERATE(1U, 2U, 3U);
  const Index page_size = GENERATE(1, 2, 3, 16);
  CAPTURE(seed, page_size);
  ef::Rng rng(seed);
  Sequences all{PageTable(page_size)};
  for (int step = 0; step < 300; ++step) {
    CAPTURE(step);
    if (rng.randint(10) == 0) all.add(rng.randint(4));
    if (rng.randint(2) == 0 && !all.lists.empty()) {
      std::vector<Index> parents(static_cast<std::size_t>(rng.randint(8)));
      for (Index& parent : parents) parent = rng.randint(static_cast<Index>(all.lists.size()));
      all.branch(parents);
    }
    std::vector<Index> tokens(all.lists.size());
    for (Index& count : tokens) count = rng.randint(10) == 0 ? rng.randint(40) : rng.randint(2);
    all.extend(tokens);
    all.check();
  }
  all.branch({});
  CHECK(all.table.used_pages() == 0);
  CHECK(all.table.sequences() == 0);
}

TEST_CASE("a page is copied only when two sequences go on from it", "[layers]") {
  PageTable table(4);
  table.add(1);
  table.extend(std::vector<Index>{6});
  const std::vector<Index> four{0, 0, 0, 0};
  table.branch(four);
  CHECK(table.used_pages() == 2);
  table.extend(std::vector<Index>{0, 1, 1, 0});  // the first two still share the page with the others
  CHECK(table.copies().size() == 2);
  CHECK(table.copies()[0].rows == 2);
  CHECK(table.used_pages() == 4);
  table.branch(std::vector<Index>{3, 1, 2});
  table.extend();  // no page is shared any more, except the full one
  CHECK(table.copies().empty());
  CHECK(table.used_pages() == 4);
  table.branch(std::vector<Index>{0, 0});
  table.extend();
  CHECK(table.copies().size() == 1);  // the last that goes on has the page to itself
  CHECK(table.used_pages() == 3);
  // They have eight tokens now: full pages are never copied.
  table.branch(std::vector<Index>{0, 0});
  table.extend();
  CHECK(table.copies().empty());
  CHECK(table.used_pages() == 4);
}

TEST_CASE("the pages of a long sequence lie one after another, also among freed pages", "[layers]") {
  PageTable table(2);
  table.add(5);
  table.extend(std::vector<Index>{2, 6, 2, 8, 2});  // pages 0, 1 to 3, 4, 5 to 8, 9
  table.branch(std::vector<Index>{0, 2, 4});        // frees 1 to 3 and 5 to 8
  table.add(1);
  table.extend(std::vector<Index>{0, 0, 0, 7});
  CHECK(std::vector<Index>(table.key_pages().pages.begin() + 3, table.key_pages().pages.end()) ==
        std::vector<Index>{5, 6, 7, 8});
  table.add(1);
  table.extend(std::vector<Index>{0, 0, 0, 0, 5});
  CHECK(table.key_pages().pages[7] == 1);
  CHECK(table.pages() == 10);
  CHECK(table.used_pages() == 10);
}

TEST_CASE("beams that come and go stay within the pages of the most that there were, and allocate nothing",
          "[layers]") {
  const std::uint64_t seed = 4;
  CAPTURE(seed);
  ef::Rng rng(seed);
  PageTable table(16);
  const std::vector<Index> none;
  std::vector<Index> parents(20);
  const auto sentence = [&] {
    table.branch(none);
    table.add(20);
    for (Index step = 0; step < 100; ++step) {
      for (std::size_t i = 0; i < parents.size(); ++i) parents[i] = static_cast<Index>(i) / 5 * 5 + rng.randint(5);
      table.branch(parents);
      table.extend();
    }
  };
  sentence();
  CHECK(table.used_pages() <= 20 * 7);
  table.branch(none);
  table.add(20);
  for (int i = 0; i < 100; ++i) table.extend();  // as long as lists can get
  const Index pages = table.pages();
  CHECK(pages <= 20 * 7);
  const ef::testing::AllocationCount allocations(1);
  for (int i = 0; i < 5; ++i) sentence();
  CHECK(allocations.count() == 0);
  CHECK(table.pages() == pages);
}

TEST_CASE("what a page table cannot do is named, and changes nothing", "[layers]") {
  CHECK(message_of([] { PageTable(0); }) == "PageTable: page_size is 0, expected 1 or more");
  PageTable table(4);
  CHECK(message_of([&] { table.add(-1); }) == "PageTable: -1 sequences are added, expected 0 or more");
  table.add(2);
  table.extend(std::vector<Index>{3, 5});
  CHECK(message_of([&] {
          table.branch(std::vector<Index>{0, 2});
        }) == "PageTable: parent 2 does not exist, there are 2");
  CHECK(message_of([&] { table.branch(std::vector<Index>{-1}); }) ==
        "PageTable: parent -1 does not exist, there are 2");
  CHECK(message_of([&] { table.extend(std::vector<Index>{1}); }) ==
        "PageTable: 1 numbers of new tokens, expected 2, one per sequence");
  CHECK(message_of([&] {
          table.extend(std::vector<Index>{1, -1});
        }) == "PageTable: -1 tokens are added to a sequence, expected 0 or more");
  CHECK(table.key_rows() == ef::RowOffsets{0, 3, 8});
  CHECK(table.used_pages() == 3);
}

TEST_CASE("a page of the largest size holds every token", "[layers]") {
  PageTable table((std::numeric_limits<Index>::max)());
  table.add(1);
  table.extend(std::vector<Index>{2});
  table.extend();
  CHECK(table.pages() == 1);
  CHECK(table.new_rows()[0] == 2);
}
