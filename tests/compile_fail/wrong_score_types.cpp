// Score types of a user's own that lack something.
#include <eigenformer/kernels/attention.hpp>

namespace ef = eigenformer;

struct WithoutApply {
  static constexpr ef::ScoreStage stage = ef::ScoreStage::bias;
  ef::Visible visible(const ef::ScoreTile&) const { return ef::Visible::all; }
};
struct WithoutStage {
  ef::Visible visible(const ef::ScoreTile&) const { return ef::Visible::all; }
  template <class Scalar>
  void apply(const ef::ScoreTile&, ef::ScoreBlock<Scalar>) const {}
};
struct WithoutVisible {
  static constexpr ef::ScoreStage stage = ef::ScoreStage::bias;
  template <class Scalar>
  void apply(const ef::ScoreTile&, ef::ScoreBlock<Scalar>) const {}
};

void call(const Eigen::MatrixXf& x);

void call(const Eigen::MatrixXf& x) {
  // expected: a score has: template <class Scalar> void apply(const ef::ScoreTile&, ef::ScoreBlock<Scalar>) const
  ef::attention(x, x, x, WithoutApply{});
  // expected: a score says when it is applied: static constexpr ef::ScoreStage stage
  ef::attention(x, x, x, WithoutStage{});
  // expected: a score says what queries may see: ef::Visible visible(const ef::ScoreTile&) const
  ef::attention(x, x, x, WithoutVisible{});
}
