#include "eigenformer/kernels/scores/score.hpp"

#include <vector>

#include "support/catch.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::ScoreTile;

namespace {

struct Whole {
  static constexpr ef::ScoreStage stage = ef::ScoreStage::bias;
  ef::Visible visible(const ScoreTile&) const { return ef::Visible::all; }
};
struct OfFloat : Whole {
  void apply(const ScoreTile&, ef::ScoreBlock<float>) const {}
};
struct OfDouble : Whole {
  void apply(const ScoreTile&, ef::ScoreBlock<double>) const {}
};
struct NotConst : Whole {
  void apply(const ScoreTile&, ef::ScoreBlock<float>) {}
};
struct StageOfEach : OfFloat {
  ef::ScoreStage stage = ef::ScoreStage::bias;
};
struct StageThatChanges : OfFloat {
  static inline ef::ScoreStage stage = ef::ScoreStage::bias;
};

}  // namespace

static_assert(ef::Score<OfFloat> && ef::Score<OfDouble>);
static_assert(!ef::Score<Whole> && !ef::Score<NotConst> && !ef::Score<StageOfEach> && !ef::Score<StageThatChanges>);

TEST_CASE("blocks lie one behind the other", "[kernels]") {
  std::vector<float> memory(60);
  const ef::ScoreBlock<float> block(memory.data(), 3, 4, Eigen::OuterStride<>(5));
  const ef::ScoreBlock<float> second = ef::block_after(block, 2);
  CHECK(second.data() == memory.data() + 40);
  CHECK(second.rows() == 3);
  CHECK(second.cols() == 4);
  CHECK(second.outerStride() == 5);
}

TEST_CASE("queries begin with their keys, or end with them", "[kernels]") {
  ef::ScoreTile tile;
  tile.queries = 3;
  tile.keys = 10;
  CHECK(ef::Alignment().first_query(tile) == 0);
  CHECK(ef::Alignment::after_past().first_query(tile) == 7);
  CHECK(ef::Alignment() != ef::Alignment::after_past());
}
