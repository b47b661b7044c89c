#include "eigenformer/ops/alignment_loss.hpp"

#include "eigenformer/ops/softmax.hpp"
#include "support/approx.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("gradients of the alignment loss of softmax weights", "[ops]") {
  const std::uint64_t seed = 773;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const std::vector<ef::AlignmentLabel> labels{{0, 1}, {2, 0, 0.5}, {2, 3, 0.5}, {4, 2}};  // two rows have none
  ef::testing::check_op({ef::testing::random_matrix<double>(5, 4, rng)},
                        [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
                          return ef::alignment_loss(c, ef::softmax(c, in[0]), labels);
                        });
}

TEST_CASE("the alignment loss of softmax weights has the gradient weights - labels", "[ops]") {
  ef::Rng rng(774);
  ef::Tape<float> tape;
  const ef::Context<float> context{.tape = &tape};
  ef::Matrix<float> scores = ef::testing::random_matrix<float>(2, 3, rng);
  scores(0, 2) = -200;  // its weight is 0 in float
  const ef::Variable<float> x = tape.variable(scores);
  const ef::Variable<float> weights = ef::softmax(context, x);
  const ef::Matrix<float> kept = weights.value();
  tape.backward(
      ef::alignment_loss(context, weights, std::vector<ef::AlignmentLabel>{{0, 0}, {1, 1, 0.5}, {1, 2, 0.5}}));
  ef::Matrix<float> gold(2, 3);
  gold << 1, 0, 0, 0, 0.5F, 0.5F;
  CHECK(ef::testing::max_error(tape.gradient(x), kept - gold) <= ef::testing::rounding<float>(16));
}
