#include "eigenformer/train/ranks.hpp"

#include <mutex>
#include <set>

#include "support/catch.hpp"
#include "support/thread_ranks.hpp"

namespace ef = eigenformer;

TEST_CASE("a broadcast reaches each rank once, from the rank that it expects", "[train]") {
  for (ef::Index size = 1; size <= 20; ++size) {
    CAPTURE(size);
    std::multiset<ef::Index> reached{0};
    for (ef::Index rank = 0; rank < size; ++rank)
      ef::for_each_broadcast_child(rank, size, [&](ef::Index child) {
        CHECK(ef::broadcast_parent(child) == rank);
        CHECK(child > rank);
        CHECK(child < size);
        reached.insert(child);
      });
    CHECK(reached.size() == static_cast<std::size_t>(size));
    CHECK(std::set(reached.begin(), reached.end()).size() == static_cast<std::size_t>(size));
  }
}

TEST_CASE("values of rank 0 and parts of all ranks reach all ranks", "[train][threads]") {
  for (ef::Index size = 1; size <= 9; ++size) {
    std::mutex mutex;
    ef::testing::run_ranks(size, [&](ef::Ranks& ranks) {
      std::vector<double> values(5, static_cast<double>(ranks.rank()));
      ef::broadcast(ranks, std::span(values));
      std::string text = ranks.rank() == 0 ? "of rank 0" : "other";
      ef::broadcast_text(ranks, text);
      bool is_first = ranks.rank() == 0;
      ef::broadcast_value(ranks, is_first);
      // Rank r has r % 3 numbers, so that some have none.
      const auto begin = [](ef::Index rank) { return rank / 3 * 3 + rank % 3 * (rank % 3 - 1) / 2; };
      std::vector<ef::Index> parts(static_cast<std::size_t>(begin(size)), -1);
      for (ef::Index i = begin(ranks.rank()); i < begin(ranks.rank() + 1); ++i)
        parts[static_cast<std::size_t>(i)] = 10 * i;
      ef::all_gather(ranks, std::span(parts), begin);
      const std::lock_guard lock(mutex);
      CAPTURE(size, ranks.rank());
      CHECK(values == std::vector<double>(5, 0));
      CHECK(text == "of rank 0");
      CHECK(is_first);
      for (std::size_t i = 0; i < parts.size(); ++i) CHECK(parts[i] == 10 * static_cast<ef::Index>(i));
    });
  }
}
