#include "eigenformer/kernels/merge_attention.hpp"

#include <vector>

#include "eigenformer/kernels/attention_backward.hpp"
#include "kernels/attention_cases.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Tensor;
using namespace ef::testing;
using View = ef::AttentionResultView<float>;
using Exact = ef::AttentionResultView<double>;

TEMPLATE_TEST_CASE("attention over keys in two parts is attention over all keys", "[kernels]", float, double) {
  ef::Rng rng(1);
  for (Index n = 1; n <= 40; ++n)
    for (const Index first : {Index{0}, n / 3, n}) {
      CAPTURE(n, first);
      const AttentionCase<TestType> c({4, 2, 5, 3, {n}, {n}}, rng);
      ef::AttentionOptions options = c.options;
      // Causal: the second part's keys begin at `first`.
      const std::vector<Index> offsets{-first};
      const Matrix<TestType> k_1 = c.k.topRows(first), v_1 = c.v.topRows(first);
      const Matrix<TestType> k_2 = c.k.bottomRows(n - first), v_2 = c.v.bottomRows(n - first);
      const auto whole = ef::attention_with_log_sum_exp<TestType>({c.q, c.k, c.v}, ef::Causal{}, options);
      const auto part_1 = ef::attention_with_log_sum_exp<TestType>({c.q, k_1, v_1}, ef::Causal{}, options);
      const auto part_2 =
          ef::attention_with_log_sum_exp<TestType>({c.q, k_2, v_2}, ef::Causal::with_offsets(offsets), options);
      const auto merged = ef::merge_attention(part_1, part_2);
      CHECK(max_error(merged.out.matrix(), whole.out.matrix()) < tolerance<TestType>(16));
      CHECK(max_error(merged.log_sum_exp.matrix(), whole.log_sum_exp.matrix()) < tolerance<TestType>(16));
    }
}

TEMPLATE_TEST_CASE("parts of 16-bit numbers are merged, with log-sum-exps in float", "[kernels]", Eigen::half,
                   Eigen::bfloat16) {
  ef::Rng rng(3);
  for (const Index n : {2, 7, 33}) {
    CAPTURE(n);
    const AttentionCase<float> c({2, 2, 5, 3, {n}, {n}}, rng);
    const auto small = [](const Matrix<float>& x) -> Matrix<TestType> { return x.cast<TestType>(); };
    const Matrix<TestType> q = small(c.q), k = small(c.k), v = small(c.v);
    const Index first = n / 2;
    const Matrix<TestType> k_1 = k.topRows(first), v_1 = v.topRows(first), k_2 = k.bottomRows(n - first),
                           v_2 = v.bottomRows(n - first);
    const auto whole = ef::attention_with_log_sum_exp<TestType>({q, k, v}, ef::Unmasked{}, c.options);
    const auto part_1 = ef::attention_with_log_sum_exp<TestType>({q, k_1, v_1}, ef::Unmasked{}, c.options);
    const auto part_2 = ef::attention_with_log_sum_exp<TestType>({q, k_2, v_2}, ef::Unmasked{}, c.options);
    const auto merged = ef::merge_attention(part_1, part_2);
    static_assert(std::is_same_v<decltype(merged.log_sum_exp), ef::Tensor<float>>);
    // Half a unit in the last place of each part and of the merged result, for results of up to about 4.
    const double epsilon = static_cast<double>(std::numeric_limits<TestType>::epsilon());
    CHECK(max_error(merged.out.matrix().template cast<float>(), whole.out.matrix().template cast<float>()) <=
          8 * epsilon);
    // With AVX-512, weights have relative errors of up to 9e-5 (see exp2_for_16_bits), both in `whole` and in the
    // parts.
    const double weight_error = std::is_same_v<TestType, Eigen::bfloat16> ? 2 * 9e-5 : 0;
    CHECK(max_error(merged.log_sum_exp.matrix(), whole.log_sum_exp.matrix()) < tolerance<float>(16) + weight_error);
  }
}

TEST_CASE("tensors are merged wherever they lie", "[kernels]") {
  ef::Rng rng(2);
  const auto random = [&](const ef::Sizes& shape) {
    Tensor<float> x(shape);
    for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(rng.normal());
    return x;
  };
  const Tensor<float> q = random({2, 3, 7, 4}), k = random({2, 3, 10, 4}), v = random({2, 3, 10, 4});
  const auto part = [&](Index begin, Index end) {
    return ef::attention_with_log_sum_exp<float>(
        {q, k.slice(2, {.begin = begin, .end = end}), v.slice(2, {.begin = begin, .end = end})}, ef::Unmasked{}, {});
  };
  const auto whole = part(0, 10), first = part(0, 4);
  auto second = part(4, 10);
  // The second part with heads last.
  const Tensor<float> moved(second.out.transpose(1, 2));
  const auto merged =
      ef::merge_attention(View{first.out, first.log_sum_exp}, View{moved.transpose(1, 2), second.log_sum_exp});
  for (Index b = 0; b < 2; ++b)
    for (Index h = 0; h < 3; ++h)
      CHECK(max_error(merged.out.matrix(b, h), whole.out.matrix(b, h)) < rounding<float>(16));
}

TEST_CASE("parts with heads after tokens are merged too", "[kernels]") {
  ef::Rng rng(4);
  for (const Index heads : {2, 3}) {  // as many as tokens, or more
    const Tensor<float> q = Tensor<float>(random_matrix<float>(2, heads * 4, rng)).reshape({1, 2, heads, 4});
    const Tensor<float> k = Tensor<float>(random_matrix<float>(5, heads * 4, rng)).reshape({1, 5, heads, 4});
    const ef::AttentionOptions options{.dimensions = ef::AttentionDimensions::batch_tokens_heads};
    const auto part = [&](Index begin, Index end) {
      const auto keys = k.slice(1, {.begin = begin, .end = end});
      return ef::attention_with_log_sum_exp<float>({q, keys, keys}, ef::Unmasked{}, options);
    };
    const auto merged = ef::merge_attention(part(0, 2), part(2, 5));
    CHECK(merged.out.shape() == ef::Sizes{1, heads, 2, 4});
    const Tensor<float> whole = ef::attention(q, k, k, options);
    for (Index h = 0; h < heads; ++h)
      CHECK(max_error(merged.out.matrix(0, h), whole.transpose(1, 2).matrix(0, h)) < rounding<float>(16));
  }
}

TEST_CASE("the gradients of merged attention agree with differences", "[kernels]") {
  ef::Rng rng(3);
  const Index rows = 5, heads = 2, width = 3;
  const auto as_tensor = [](const Matrix<double>& m) { return Tensor<double>(m); };
  Matrix<double> out_a = random_matrix<double>(rows, heads * width, rng),
                 sum_a = random_matrix<double>(rows, heads, rng);
  Matrix<double> out_b = random_matrix<double>(rows, heads * width, rng),
                 sum_b = random_matrix<double>(rows, heads, rng);
  sum_a(1, 1) = -std::numeric_limits<double>::infinity();  // a query that sees nothing in one part
  sum_b(2, 0) = -std::numeric_limits<double>::infinity();
  const ef::AttentionResult<double> d_merged{as_tensor(random_matrix<double>(rows, heads * width, rng)),
                                             as_tensor(random_matrix<double>(rows, heads, rng))};
  const auto loss = [&](const Matrix<double>& out, const Matrix<double>& sum) {
    const auto merged = ef::merge_attention(Exact{out, sum}, Exact{out_b, sum_b});
    return dot(merged.out.matrix(), d_merged.out.matrix()) +
           dot(merged.log_sum_exp.matrix(), d_merged.log_sum_exp.matrix());
  };
  const auto d_a = ef::merge_attention_backward(Exact{out_a, sum_a}, Exact{out_b, sum_b}, d_merged);
  const Matrix<double> expected_out = numeric_gradient(out_a, [&](const Matrix<double>& m) { return loss(m, sum_a); });
  Matrix<double> expected_sum = numeric_gradient(sum_a, [&](const Matrix<double>& m) { return loss(out_a, m); });
  expected_sum(1, 1) = 0;
  CHECK(max_error(d_a.out.matrix(), expected_out) < gradient_tolerance);
  CHECK(max_error(d_a.log_sum_exp.matrix(), expected_sum) < gradient_tolerance);
}

TEST_CASE("results that cannot be merged say so", "[kernels]") {
  const Tensor<float> out({5, 6}), sums({5, 2}), other({4, 6}), bad({5, 4});
  CHECK(message_of([&] {
          ef::merge_attention(View{out, sums}, View{other, sums});
        }) == "merge_attention: results [5 x 6] and [4 x 6], log-sum-exps [5 x 2] and [5 x 2], expected equal shapes");
  CHECK(message_of([&] {
          ef::merge_attention(View{out, bad}, View{out, bad});
        }) ==
        "merge_attention: a result [5 x 6] with log-sum-exps [5 x 4], expected [queries x heads * e] and "
        "[queries x heads], or [batch x heads x tokens x e] and [batch x heads x tokens]");
}
