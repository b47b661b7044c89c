// Trains the parameters of a layer's score: a slope for each head, and attention sinks.
#include <cmath>
#include <eigenformer/kernels/scores.hpp>
#include <eigenformer/layers/multi_head_attention.hpp>
#include <eigenformer/train/adam.hpp>
#include <iostream>

namespace ef = eigenformer;

int main() {
  ef::Rng rng(3);
  // Far keys get lower scores; the slope is learned. The function takes `auto`, so it can be differentiated.
  const auto decay = [](auto s, const ef::ScorePosition& at, const auto& slope) {
    return s - slope(at.head) * static_cast<float>(at.query - at.key);
  };
  ef::MultiHeadAttention<float> teacher({.width = 32, .heads = 4, .sinks = true}, rng);
  teacher.score = ef::TrainableScore<float>(decay, {{"slope", ef::Matrix<float>{{0.1F, 0.2F, 0.4F, 0.8F}}}});
  teacher.sinks.value << 1, 0, -1, -2;

  // The student does not know the teacher's slopes and sinks.
  ef::MultiHeadAttention<float> student = teacher;
  student.score.parameter("slope").value.setZero();
  student.sinks.value.setZero();

  ef::Tape<float> tape;
  ef::Adam<float> of_score, of_sinks;
  const auto rows = ef::RowOffsets::from_lengths({12, 7, 15});
  for (int update = 0; update < 500; ++update) {
    const ef::Variable<float> x =
        ef::Matrix<float>::NullaryExpr(34, 32, [&] { return static_cast<float>(rng.normal()); });
    const ef::Context<float> context{.tape = &tape};
    const auto error =
        ef::subtract(context, student(context, x, rows, ef::Causal{}), teacher({}, x, rows, ef::Causal{}));
    const auto loss = ef::sum(context, ef::multiply(context, error, error));
    if (update % 100 == 0) std::cout << "update " << update << ": loss " << loss.scalar() << '\n';
    tape.backward(loss);
    const double rate = 0.05 * std::pow(0.99, update);
    of_score.update(student.score, tape.gradients(), rate);  // only these two: all other weights stay fixed
    of_sinks.update(student.sinks, tape.gradients(), rate);
    tape.gradients().clear();
  }
  const ef::Matrix<float>& slopes = student.score.parameter("slope").value;
  std::cout << "slopes " << slopes << "\nsinks " << student.sinks.value << '\n';
  const float slope_error = (slopes - teacher.score.parameter("slope").value).cwiseAbs().maxCoeff();
  const float sink_error = (student.sinks.value - teacher.sinks.value).cwiseAbs().maxCoeff();
  return slope_error < 0.05F && sink_error < 0.05F && std::cout.flush() ? 0 : 1;
}
