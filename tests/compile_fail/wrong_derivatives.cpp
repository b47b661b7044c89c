// Scores whose derivative is asked for and that have none.
#include <algorithm>
#include <cmath>
#include <eigenformer/kernels/scores/score_function.hpp>
#include <eigenformer/ops/attention.hpp>

namespace ef = eigenformer;

template <class Function>
ef::Variable<float> attend(const ef::Variable<float>& x, Function function) {
  return ef::attention({}, x, x, x, ef::score(function));
}

void call(const ef::Variable<float>& x);

void call(const ef::Variable<float>& x) {
  // expected: functions of std have no derivative: in a score write ef::exp
  attend(x, [](auto s, auto) { return std::exp(s); });
  // expected: this score has no derivative: write its function for any type of score
  attend(x, [](float s, auto) { return 2 * s; });
  // expected: a score that is cast to a number loses its derivative
  attend(x, [](auto s, auto) { return s * static_cast<float>(s); });
}

// In a program of its own each would say the sentence above. Here they are one instantiation, said once.
void call_others(const ef::Variable<float>& x);

void call_others(const ef::Variable<float>& x) {
  attend(x, [](auto s, auto) { return std::tanh(s) + std::abs(s) + std::log1p(s) + std::pow(s, 2); });
  attend(x, [](auto s, auto) { return std::max(s, 0.0F) - std::min(1.0F, s) + std::fmax(0.5F, s); });
}
