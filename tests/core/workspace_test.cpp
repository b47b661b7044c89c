#include "eigenformer/core/workspace.hpp"

#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Workspace;

namespace {

bool aligned(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % 64 == 0;
}

// A block with its own value in every byte, so that an overlap shows.
class MarkedBlock {
 public:
  MarkedBlock(Workspace& workspace, Index size, int mark)
      : block_(workspace.allocate<unsigned char>(size)), size_(static_cast<std::size_t>(size)), mark_(mark) {
    std::memset(block_.get(), mark_, size_);
  }
  bool intact() const {
    for (std::size_t i = 0; i < size_; ++i)
      if (block_.get()[i] != static_cast<unsigned char>(mark_)) return false;
    return aligned(block_.get());
  }

 private:
  std::shared_ptr<unsigned char> block_;
  std::size_t size_;
  int mark_;
};

// A training step as a tape makes it: everything is kept, then released in any order.
void step(Workspace& workspace, const std::vector<Index>& sizes, ef::Rng& rng) {
  std::vector<std::shared_ptr<float>> blocks;
  for (const Index size : sizes) blocks.push_back(workspace.allocate<float>(size));
  rng.shuffle(std::span<std::shared_ptr<float>>(blocks));
  for (std::shared_ptr<float>& block : blocks) block.reset();
}

std::vector<Index> sizes_of_at_most(Index total, ef::Rng& rng) {
  std::vector<Index> sizes;
  for (;;) {
    const Index size = 16 * (1 + rng.randint(rng.randint(4) == 0 ? 500 : 10));  // of whole cache lines
    if (total < size) return sizes;
    total -= size;
    sizes.push_back(size);
  }
}

}  // namespace

TEST_CASE("blocks are aligned and large enough", "[core]") {
  Workspace workspace;
  std::vector<std::shared_ptr<void>> kept;
  std::size_t bytes = 0;
  for (const Index count : {0, 1, 3, 16, 17, 1000, 100000}) {
    CAPTURE(count);
    const auto floats = workspace.allocate<float>(count);
    const auto doubles = workspace.allocate<double>(count);
    const auto characters = Workspace::allocate_from_heap<char>(count);
    CHECK(aligned(floats.get()));
    CHECK(aligned(doubles.get()));
    CHECK(aligned(characters.get()));
    std::fill_n(floats.get(), count, 1.0F);
    std::fill_n(doubles.get(), count, 2.0);
    std::fill_n(characters.get(), count, 'c');
    CHECK(std::accumulate(floats.get(), floats.get() + count, 0.0) == static_cast<double>(count));
    kept.insert(kept.end(), {floats, doubles, characters});
    bytes += static_cast<std::size_t>(count) * 12;
  }
  CHECK(workspace.capacity() >= bytes);
  CHECK(workspace.allocate<float>(0) != nullptr);
}

TEST_CASE("memory is used again", "[core]") {
  Workspace workspace;
  CHECK(workspace.capacity() == 0);
  CHECK(workspace.system_allocations() == 0);
  const float* first = workspace.allocate<float>(100).get();
  CHECK(workspace.system_allocations() == 1);
  CHECK(workspace.allocate<float>(100).get() == first);
  CHECK(workspace.allocate<double>(50).get() == static_cast<const void*>(first));
  {
    const auto a = workspace.allocate<float>(50);
    const auto b = workspace.allocate<float>(40);
    CHECK(a.get() == first);
    CHECK(b.get() != first);
  }
  CHECK(workspace.system_allocations() == 1);
}

TEST_CASE("after the largest step nothing is asked of the system, whatever the shapes and the order of releases",
          "[core]") {
  const auto seed = GENERATE(1U, 2U, 3U, 4U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  Workspace workspace;
  const Index largest = 100000;
  step(workspace, sizes_of_at_most(largest / 3, rng), rng);
  step(workspace, std::vector<Index>(static_cast<std::size_t>(largest / 16), 16), rng);
  step(workspace, {16}, rng);  // begins by putting the memory of the largest step into one chunk
  const std::size_t allocations = workspace.system_allocations();
  const std::size_t capacity = workspace.capacity();
  CHECK(allocations < 30);
  CHECK(capacity >= static_cast<std::size_t>(largest) * sizeof(float));
  CHECK(capacity <= 2 * static_cast<std::size_t>(largest) * sizeof(float));
  step(workspace, {largest}, rng);  // one block of it all
  for (int i = 0; i < 100; ++i) step(workspace, sizes_of_at_most(largest, rng), rng);
  CHECK(workspace.system_allocations() == allocations);
  CHECK(workspace.capacity() == capacity);
}

TEST_CASE("steps that release while they allocate settle too", "[core]") {
  const auto seed = GENERATE(1U, 2U, 3U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  Workspace workspace;
  const auto forward = [&] {  // a window of buffers passes over the layers
    std::vector<std::shared_ptr<float>> window(8);
    for (int layer = 0; layer < 200; ++layer)
      window[static_cast<std::size_t>(rng.randint(8))] = workspace.allocate<float>(1 + rng.randint(2000));
  };
  for (int i = 0; i < 200; ++i) forward();
  const std::size_t allocations = workspace.system_allocations();
  for (int i = 0; i < 50; ++i) forward();
  CHECK(workspace.system_allocations() - allocations <= 2);
  CHECK(workspace.capacity() < 4 * 8 * 2000 * sizeof(float));
}

TEST_CASE("blocks outlive their workspace", "[core]") {
  auto workspace = std::make_unique<Workspace>();
  MarkedBlock a(*workspace, 1000, 1);
  auto b = std::make_unique<MarkedBlock>(*workspace, 5000, 2);
  Workspace copy = *workspace;  // of the same memory
  workspace.reset();
  CHECK(a.intact());
  CHECK(b->intact());
  b.reset();
  const MarkedBlock c(copy, 3000, 3);
  CHECK(a.intact());
  CHECK(c.intact());
}

TEST_CASE("live blocks never overlap", "[core]") {
  const auto seed = GENERATE(1U, 2U, 3U, 4U, 5U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  Workspace workspace;
  std::vector<MarkedBlock> live;
  for (int i = 0; i < 3000; ++i) {
    const bool growing = i / 300 % 2 == 0;  // and shrinking to nothing in turn
    if (live.empty() || rng.randint(10) < (growing ? 7 : 3)) {
      live.emplace_back(workspace, rng.randint(rng.randint(10) == 0 ? 20000 : 300), i % 251);
      REQUIRE(live.back().intact());
    } else {
      const auto at = static_cast<std::size_t>(rng.randint(static_cast<Index>(live.size())));
      REQUIRE(live[at].intact());
      std::swap(live[at], live.back());
      live.pop_back();
    }
    if (i % 100 == 0)
      for (const MarkedBlock& block : live) REQUIRE(block.intact());
  }
  for (const MarkedBlock& block : live) REQUIRE(block.intact());
  live.clear();
  // All of it is in one piece again, as soon as something is asked for.
  workspace.allocate<float>(1);
  const std::size_t allocations = workspace.system_allocations();
  const MarkedBlock whole(workspace, static_cast<Index>(workspace.capacity() / 64 * 64), 9);
  CHECK(whole.intact());
  CHECK(workspace.system_allocations() == allocations);
}

TEST_CASE("memory that cannot be had is an error, and handing back never fails", "[core]") {
  if (!ef::testing::can_count_allocations()) {
    WARN("the heap cannot be made to fail in this build");
    return;
  }
  const auto work = [](Workspace& workspace) {
    for (int time = 0; time < 2; ++time) {  // the second begins by putting the chunks into one
      std::vector<std::shared_ptr<float>> blocks(40);
      for (std::size_t i = 0; i < blocks.size(); ++i)
        blocks[i] = workspace.allocate<float>(static_cast<Index>(100 * i));
      for (std::size_t i = 0; i < blocks.size(); i += 2) blocks[i].reset();  // as many free ranges as there can be
      for (std::size_t i = 1; i < blocks.size(); i += 2) blocks[i].reset();
    }
  };
  std::size_t failures = 0;
  for (bool all_had = false; !all_had; ++failures) {
    Workspace workspace;
    bool threw = false;
    {
      const ef::testing::FailingAllocation failing(failures);
      try {
        work(workspace);
      } catch (const std::bad_alloc&) {
        threw = true;
      }
      all_had = !failing.reached();
    }
    CAPTURE(failures);
    REQUIRE(threw != all_had);
    work(workspace);  // still serves
    const std::size_t allocations = workspace.system_allocations();
    work(workspace);
    REQUIRE(workspace.system_allocations() == allocations);
  }
  CHECK(failures > 40);  // the blocks' owners alone, which the second time uses again
}

TEST_CASE("sizes that no memory has are refused", "[core]") {
  Workspace workspace;
  const Index most = std::numeric_limits<Index>::max();
  for (const Index count : {Index{-1}, most, most / Index{sizeof(double)}}) {
    CAPTURE(count);
    CHECK(ef::testing::message_of([&] {
            workspace.allocate<double>(count);
          }).find("Workspace: " + std::to_string(count) + " numbers are requested") == 0);
    CHECK_THROWS_AS(Workspace::allocate_from_heap<double>(count), ef::Error);
  }
}
