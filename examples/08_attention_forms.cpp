// Attention on padded tensors, masks per batch entry, sinks, learned scores, and keys attended in parts.
#include <eigenformer/kernels/attention_backward.hpp>
#include <eigenformer/kernels/merge_attention.hpp>
#include <eigenformer/kernels/scores.hpp>
#include <eigenformer/tensors/arithmetic.hpp>
#include <eigenformer/tensors/comparison.hpp>
#include <eigenformer/tensors/creation.hpp>
#include <iostream>

namespace ef = eigenformer;

int main() {
  ef::Rng rng(1);
  const ef::Sizes shape{2, 4, 10, 8};  // [batch x heads x tokens x width]
  const ef::Tensor<float> q = ef::randn<float>(shape, rng), k = ef::randn<float>(shape, rng),
                          v = ef::randn<float>(shape, rng);

  // The second sequence has 6 tokens. Passing lengths and masking keys give the same result for these tokens.
  const auto lengths = ef::RowOffsets::from_lengths({10, 6});
  const ef::Tensor<float> by_lengths = ef::attention(q, k, v, {.query_rows = lengths, .key_rows = lengths});
  const ef::Tensor<ef::Index> count = ef::tensor<ef::Index>({10, 6}).reshape({2, 1, 1, 1});
  const ef::DenseMask real_keys(ef::arange<ef::Index>(10) < count);  // [2 x 1 x 1 x 10]
  const ef::Tensor<float> by_mask = ef::attention(q, k, v, real_keys);
  const auto tokens = [](const ef::Tensor<float>& x) { return x.select(0, 1).slice(1, {.end = 6}); };
  const bool same = ef::all_close(tokens(by_lengths), tokens(by_mask), {.absolute = 1e-6});

  // An attention sink for each head: a key without a value, whose score takes a share of the weights.
  const std::vector<double> sinks{0.5, 1, -1, 2};
  const ef::Tensor<float> with_sinks = ef::attention(q, k, v, ef::Causal{}, {.sinks = sinks});

  // A score with a learned slope for each head, and its gradient.
  const ef::Tensor<float> slopes = ef::tensor<float>({0.1F, 0.2F, 0.3F, 0.4F});
  ef::Tensor<float> d_slopes({4, 4});  // row h: the gradients from head h; their sum is the gradient
  const auto decay =
      ef::score([](auto s, const ef::ScorePosition& at,
                   const auto& slope) { return s - slope(at.head) * static_cast<float>(at.query - at.key); },
                ef::ScoreParameter<float>(slopes, d_slopes));
  const ef::AttentionResult<float> y = ef::attention_with_log_sum_exp<float>({q, k, v}, decay, {});
  ef::Tensor<float> d_q(shape), d_k(shape), d_v(shape);
  ef::attention_backward<float>({q, k, v}, decay, {}, {y.out, y.log_sum_exp}, v, {d_q, d_k, d_v});

  // Attention to the keys in two parts, merged: useful when many sequences share a prefix.
  const auto part = [&](const ef::Slice& keys) {
    return ef::attention_with_log_sum_exp<float>({q, k.slice(2, keys), v.slice(2, keys)}, ef::Unmasked{}, {});
  };
  const ef::AttentionResult<float> merged = ef::merge_attention(part({.end = 7}), part({.begin = 7}));
  const bool exact = ef::all_close(merged.out, ef::attention(q, k, v), {.absolute = 1e-6});

  std::cout << "lengths and mask agree: " << same << ", parts and whole agree: " << exact
            << ", gradient of the first head's slope: " << d_slopes(0, 0) << '\n';
  return same && exact && std::cout.flush() ? 0 : 1;
}
