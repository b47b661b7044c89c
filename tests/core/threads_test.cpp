#include "eigenformer/core/threads.hpp"

#include <stdexcept>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace ef = eigenformer;
using ef::Index;

namespace {

// A user's own threads: one that works from the end, and notes what it was asked for.
class Backwards final : public ef::Threads {
 public:
  void run(Index count, ef::TaskRef task) override {
    runs.push_back(count);
    for (Index i = count; i-- > 0;) task(i);
  }
  std::vector<Index> runs;
};

using Ranges = std::vector<std::pair<Index, Index>>;

Ranges ranges(ef::Threads* threads, Index count, Index grain) {
  Ranges given;
  ef::parallel_for(threads, count, grain, [&](Index begin, Index end) { given.emplace_back(begin, end); });
  return given;
}

}  // namespace

TEST_CASE("parallel_for covers every item once, in ranges of the grain", "[core][threads]") {
  for (const Index count : {1, 2, 3, 7, 8, 9, 100})
    for (const Index grain : {1, 2, 3, 8, 1000}) {
      CAPTURE(count, grain);
      const Ranges given = ranges(nullptr, count, grain);
      Index next = 0;
      for (const auto& [begin, end] : given) {
        CHECK(begin == next);
        CHECK(end > begin);
        CHECK((end - begin == grain || (end == count && end - begin < grain)));
        next = end;
      }
      CHECK(next == count);
    }
}

TEST_CASE("parallel_for cuts alike with threads and without", "[core][threads]") {
  for (const Index count : {1, 2, 7, 8, 9, 100})
    for (const Index grain : {1, 3, 8}) {
      CAPTURE(count, grain);
      Backwards threads;
      const Ranges alone = ranges(nullptr, count, grain);
      Ranges with_threads = ranges(&threads, count, grain);
      if (count > grain) {  // else there is nothing to share
        CHECK(threads.runs == std::vector<Index>{(count + grain - 1) / grain});
        std::reverse(with_threads.begin(), with_threads.end());
      } else {
        CHECK(threads.runs.empty());
      }
      CHECK(with_threads == alone);
    }
}

TEST_CASE("parallel_for over nothing does nothing", "[core][threads]") {
  Backwards threads;
  for (const Index count : {0, -1}) {
    CHECK(ranges(nullptr, count, 4).empty());
    CHECK(ranges(&threads, count, 4).empty());
  }
  CHECK(threads.runs.empty());
}

TEST_CASE("an exception of a body reaches the caller", "[core][threads]") {
  Backwards threads;
  for (ef::Threads* t : {static_cast<ef::Threads*>(nullptr), static_cast<ef::Threads*>(&threads)})
    CHECK_THROWS_AS(ef::parallel_for(t, 10, 2,
                                     [](Index begin, Index) {
                                       if (begin == 4) throw std::domain_error("4");
                                     }),
                    std::domain_error);
}
