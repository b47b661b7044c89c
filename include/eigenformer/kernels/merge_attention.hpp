// Attention over keys in parts: merges the results over two sets of keys into the result over both.
//
//   AttentionResult<float> first = attention_with_log_sum_exp<float>({q, k_1, v_1}, score, options), second = ..;
//   AttentionResult<float> whole = merge_attention(first, second);
//
// With log-sum-exps L_1 and L_2, L = log(e^L_1 + e^L_2) and w_i = e^(L_i - L), the result is w_1 O_1 + w_2 O_2. This is
// exact, so a long prefix may be attended once for many sequences, or on another machine.
#pragma once

#include "eigenformer/kernels/attention.hpp"
#include "eigenformer/kernels/detail/attention/sinks.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The result of attention and the log-sum-exps of its scores. These are floats for 16-bit results.
/// - Matrices: [queries x heads * e] and [queries x heads].
/// - Tensors: [batch x heads x tokens x e] and [batch x heads x tokens], for either value of options.dimensions.
template <class Scalar>
struct AttentionResult {
  Tensor<Scalar> out;
  Tensor<ComputeType<Scalar>> log_sum_exp;
};

/// Views of the result of attention and its log-sum-exps, or of their gradients.
template <class Scalar>
struct AttentionResultView {
  TensorView<const Scalar> out;
  TensorView<const ComputeType<Scalar>> log_sum_exp;
};

/// Returns the attention of q over k and v with the log-sum-exps of its scores. in, score and options: see
/// attention_forward. Throws as it does.
template <class Scalar, class Stored = Scalar, class S>
AttentionResult<Scalar> attention_with_log_sum_exp(const AttentionInputs<Scalar, Stored>& in, const S& score,
                                                   const AttentionOptions& options) {
  const bool swapped = in.q.rank() == 4 && options.dimensions == AttentionDimensions::batch_tokens_heads;
  detail::ResultSizes sizes = detail::result_sizes(in.q.shape(), in.k.shape(), in.v.shape(), options);
  if (swapped) std::swap(sizes.out[1], sizes.out[2]);
  using Compute = ComputeType<Scalar>;
  AttentionResult<Scalar> result{Tensor<Scalar>(sizes.out), Tensor<Compute>(sizes.log_sum_exp, hidden_score<Compute>)};
  const TensorView<Scalar> out = swapped ? result.out.transpose(1, 2) : result.out.view();
  attention_forward<Scalar, Stored>(in, score, options, {out, result.log_sum_exp});
  return result;
}

namespace detail {

/// Throws unless two results have the same shape, which must be one that attention returns.
template <class Scalar>
void check_results(const AttentionResultView<Scalar>& a, const AttentionResultView<Scalar>& b) {
  const Sizes &out = a.out.shape(), &sums = a.log_sum_exp.shape();
  check(b.out.shape() == out && b.log_sum_exp.shape() == sums, "merge_attention: results ", out, " and ", b.out.shape(),
        ", log-sum-exps ", sums, " and ", b.log_sum_exp.shape(), ", expected equal shapes");
  const bool matrices =
      out.rank() == 2 && sums.rank() == 2 && out[0] == sums[0] && sums[1] > 0 && out[1] % sums[1] == 0;
  const bool tensors = out.rank() == 4 && sums == Sizes{out[0], out[1], out[2]};
  check(matrices || tensors, "merge_attention: a result ", out, " with log-sum-exps ", sums,
        ", expected [queries x heads * e] and [queries x heads], or [batch x heads x tokens x e] and "
        "[batch x heads x tokens]");
}

/// Returns a result with heads as a dimension: a matrix as [rows x heads x e], a tensor as it is.
template <class Entry>
TensorView<Entry> head_entries(const TensorView<Entry>& out, const Sizes& log_sum_exp) {
  return out.rank() == 4 ? out : out.reshape({out.shape()[0], log_sum_exp[1], out.shape()[1] / log_sum_exp[1]});
}

/// Calls body(place in a contiguous result, log-sum-exp of a, of b, entries of a, of b) for each row and head.
template <class Scalar, class Body>
void for_each_pair(const AttentionResultView<Scalar>& a, const AttentionResultView<Scalar>& b, Body body) {
  const TensorView<const Scalar> a_out = head_entries(a.out, a.log_sum_exp.shape());
  const TensorView<const Scalar> b_out = head_entries(b.out, a.log_sum_exp.shape());
  const Sizes shape = a.log_sum_exp.shape(), contiguous = contiguous_strides(shape);
  const int last = a_out.rank() - 1;
  const auto leading = [&](Sizes strides) {
    strides.pop_back();
    return strides;
  };
  StridedLoop<5> loop(shape, {contiguous, a.log_sum_exp.strides(), b.log_sum_exp.strides(), leading(a_out.strides()),
                              leading(b_out.strides())});
  loop.for_each_run([&](const auto& offsets) {
    for (Index i = 0; i < loop.run_size(); ++i) {
      const auto at = [&](std::size_t k) { return offsets[k] + i * loop.run_stride(k); };
      body(at(0), a.log_sum_exp.data()[at(1)], b.log_sum_exp.data()[at(2)],
           Strided<Scalar>{a_out.data() + at(3), 0, a_out.strides()[last]},
           Strided<Scalar>{b_out.data() + at(4), 0, b_out.strides()[last]});
    }
  });
}

}  // namespace detail

/// Returns the result over the keys of both parts. The parts have the same queries and different keys. Sinks count
/// once: give them to one of the parts only. If a query sees no key in a part, its log-sum-exp is -inf there, and the
/// part does not count for it. Throws if shapes differ.
template <class Scalar>
AttentionResult<Scalar> merge_attention(const AttentionResultView<Scalar>& a, const AttentionResultView<Scalar>& b) {
  detail::check_results(a, b);
  using Compute = ComputeType<Scalar>;
  AttentionResult<Scalar> merged{Tensor<Scalar>::uninitialized(a.out.shape()),
                                 Tensor<Compute>::uninitialized(a.log_sum_exp.shape())};
  const Index width = merged.log_sum_exp.size() == 0 ? 0 : merged.out.size() / merged.log_sum_exp.size();
  detail::for_each_pair(a, b, [&](Index place, Compute sum_a, Compute sum_b, const auto& out_a, const auto& out_b) {
    const double sum = detail::log_add_exp(static_cast<double>(sum_a), static_cast<double>(sum_b));
    const auto w_a = static_cast<Compute>(detail::weight_in(static_cast<double>(sum_a), sum));
    const auto w_b = static_cast<Compute>(detail::weight_in(static_cast<double>(sum_b), sum));
    merged.log_sum_exp.data()[place] = static_cast<Compute>(sum);
    Scalar* const out = merged.out.data() + place * width;
    const auto weighted = [](Compute w, Scalar x) { return w == 0 ? Compute(0) : w * static_cast<Compute>(x); };
    for (Index e = 0; e < width; ++e)
      out[e] = static_cast<Scalar>(weighted(w_a, out_a(0, e)) + weighted(w_b, out_b(0, e)));
  });
  return merged;
}
template <class Scalar>
AttentionResult<Scalar> merge_attention(const AttentionResult<Scalar>& a, const AttentionResult<Scalar>& b) {
  return merge_attention(AttentionResultView<Scalar>{a.out, a.log_sum_exp},
                         AttentionResultView<Scalar>{b.out, b.log_sum_exp});
}

/// Returns the gradients of the first part: d_O_1 = w_1 d_O and d_L_1 = w_1 (d_L + d_O . (O_1 - O)). For the second
/// part, exchange a and b. d_merged: the gradients of the merged result, contiguous.
template <class Scalar>
AttentionResult<Scalar> merge_attention_backward(const AttentionResultView<Scalar>& a,
                                                 const AttentionResultView<Scalar>& b,
                                                 const AttentionResult<Scalar>& d_merged) {
  detail::check_results(a, b);
  detail::check_results(a, AttentionResultView<Scalar>{d_merged.out, d_merged.log_sum_exp});
  using Compute = ComputeType<Scalar>;
  AttentionResult<Scalar> d_a{Tensor<Scalar>(a.out.shape()), Tensor<Compute>(a.log_sum_exp.shape())};
  const Index width = d_a.log_sum_exp.size() == 0 ? 0 : d_a.out.size() / d_a.log_sum_exp.size();
  detail::for_each_pair(a, b, [&](Index place, Compute sum_a, Compute sum_b, const auto& out_a, const auto& out_b) {
    const double sum = detail::log_add_exp(static_cast<double>(sum_a), static_cast<double>(sum_b));
    const double w_a = detail::weight_in(static_cast<double>(sum_a), sum);
    if (w_a == 0) return;  // whatever its result is, it does not count
    const double w_b = detail::weight_in(static_cast<double>(sum_b), sum);
    const Scalar* const d_out = d_merged.out.data() + place * width;
    double d_sum = static_cast<double>(d_merged.log_sum_exp.data()[place]);
    for (Index e = 0; e < width; ++e) {
      const auto d = static_cast<Compute>(d_out[e]);
      d_a.out.data()[place * width + e] = static_cast<Scalar>(static_cast<Compute>(w_a) * d);
      if (w_b != 0)
        d_sum += w_b * static_cast<double>(d) *
                 static_cast<double>(static_cast<Compute>(out_a(0, e)) - static_cast<Compute>(out_b(0, e)));
    }
    d_a.log_sum_exp.data()[place] = static_cast<Compute>(w_a * d_sum);
  });
  return d_a;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
