// Two ways to write a score: combine built-in parts, or pass lambdas, which the kernel applies to each score.
#include <eigenformer/kernels/attention.hpp>
#include <eigenformer/kernels/scores.hpp>
#include <iostream>

namespace ef = eigenformer;

int main() {
  const Eigen::Index tokens = 300, heads = 8, features = 256;
  const Eigen::MatrixXf x = Eigen::MatrixXf::Random(tokens, features);

  // As in recent language models: scores are capped and fall with distance; a query sees itself and the 63 tokens
  // before it.
  const auto parts = ef::combine(ef::SoftCap(30), ef::Alibi(heads), ef::Causal{}, ef::SlidingWindow(64));
  const ef::Matrix<float> y = ef::attention(x, x, x, parts, {.heads = heads});

  // Lambdas that do the same. A score that takes `auto` has a derivative, so models can be trained with it.
  const auto capped_and_biased = ef::score([](auto s, const ef::ScorePosition& at) {
    const auto slope = ef::exp(-0.6931472F * static_cast<float>(at.head + 1));  // 2^-(h + 1): ALiBi's slope for 8 heads
    return 30 * ef::tanh(s / 30) - slope * static_cast<float>(at.query - at.key);
  });
  const auto looks_back = ef::mask([](const ef::ScorePosition& at) {
    const int distance = at.query - at.key;
    return distance >= 0 && distance < 64;
  });
  const ef::Matrix<float> own = ef::attention(x, x, x, ef::combine(capped_and_biased, looks_back), {.heads = heads});

  const float difference = (y - own).cwiseAbs().maxCoeff();
  std::cout << "Built-in parts and lambdas differ by at most " << difference << ".\n";
  return difference < 1e-4F && std::cout.flush() ? 0 : 1;
}
