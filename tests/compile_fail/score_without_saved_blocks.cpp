// expected: a score whose apply_backward takes saved blocks needs a constant saved_blocks, their number
#include <eigenformer/kernels/attention_backward.hpp>

struct Doubled {
  static constexpr eigenformer::ScoreStage stage = eigenformer::ScoreStage::bias;
  eigenformer::Visible visible(const eigenformer::ScoreTile&) const { return eigenformer::Visible::all; }
  template <class Scalar>
  void apply(const eigenformer::ScoreTile&, eigenformer::ScoreBlock<Scalar> scores) const {
    scores *= 2;
  }
  template <class Scalar>
  void apply_backward(const eigenformer::ScoreTile&, eigenformer::ScoreBlock<Scalar>,
                      eigenformer::ScoreBlock<Scalar> d_scores) const {
    d_scores *= 2;
  }
};

int main() {
  return eigenformer::ScoreTraits<Doubled>::has_derivative<float>() ? 0 : 1;
}
