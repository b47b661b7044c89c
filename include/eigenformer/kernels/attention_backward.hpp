// The gradients of attention.
//
// Let S be the scaled scores, S' = apply(S), P = softmax(S'), and D the dropout mask divided by its keep probability.
// With * entry by entry, the result is O = (P * D) V. Its gradients are:
//
//   dV = (P * D)^T dO                      dP = (dO V^T) * D
//   dS' = P * (dP - rowsum(P * dP))        rowsum(P * dP) = rowsum(O * dO)
//   dQ = scale dS K                        dK = scale dS^T Q
//
// If the log-sum-exps have gradients dL (one per row), dS' = P * (dP - rowsum(P * dP) + dL).
//
// The score's apply_backward turns dS' into dS. P is recomputed from Q, K and the log-sum-exp, one tile of queries and
// keys at a time: see detail/attention/backward_tile.hpp.
#pragma once

#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/kernels/attention.hpp"
#include "eigenformer/kernels/detail/attention/attend_backward_bfloat16.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The outputs of attention_forward that its backward reads.
template <class Scalar>
struct AttentionSaved {
  TensorView<const Scalar> out;
  TensorView<const ComputeType<Scalar>> log_sum_exp;
};

/// The outputs of the backward, shaped like q, k and v, with any strides. Rows that attended to nothing, or that
/// nothing attended to, are zeros.
template <class Scalar>
struct AttentionGradients {
  TensorView<Scalar> d_q;
  TensorView<Scalar> d_k;
  TensorView<Scalar> d_v;
  std::span<double> d_sinks{};  // one per head; the sinks' gradients are added. empty: not wanted
};

/// The gradients of the forward's outputs.
template <class Scalar>
struct AttentionOutputGradients {
  TensorView<const Scalar> d_out;
  TensorView<const ComputeType<Scalar>> d_log_sum_exp{};  // null: nobody uses the log-sum-exps
};

namespace detail {

/// Adds the gradients of sinks. See detail/attention/sinks.hpp. The rows of a head are summed in order.
template <class Scalar>
void add_sink_gradients(const AttentionLayout& layout, const BackwardRows<Scalar>& rows, std::span<double> d_sinks) {
  for_each_head_row(layout, nullptr, [&](Index sequence, Index head, Index row) {
    const auto out = rows.out.of(sequence).from(head, row), d_out = rows.d_out.of(sequence).from(head, row);
    double change = 0;
    for (Index e = 0; e < layout.value_width; ++e)
      change -= static_cast<double>(ComputeType<Scalar>(out(0, e)) * ComputeType<Scalar>(d_out(0, e)));
    if (rows.d_log_sum_exp.data != nullptr)
      change += static_cast<double>(*rows.d_log_sum_exp.of(sequence).row(head, row));
    const auto h = static_cast<std::size_t>(head);
    d_sinks[h] += change * weight_in(layout.sinks[h], *rows.log_sum_exp.of(sequence).row(head, row));
  });
}

/// Refers to a function that runs the backward kernel with a score (compare AttendRef).
template <class Scalar>
using AttendBackwardRef = FunctionRef<void(const AttentionLayout&, const BackwardRows<Scalar>&)>;

/// The kernels of both directions with a score.
struct FloatKernels {
  AttendRef<float, float> attends;
  AttendBackwardRef<float> attends_backward;
};

/// Computes the gradients of attention_forward, and adds those of the sinks. Throws, before it writes, if shapes do not
/// fit, or if options has key_index or key_pages.
template <class Scalar>
void backward_of_operands(const AttentionInputs<Scalar>& given, const AttentionOptions& options,
                          const AttentionSaved<Scalar>& saved, const AttentionOutputGradients<Scalar>& from,
                          const AttentionGradients<Scalar>& to, AttendBackwardRef<Scalar> attends_backward) {
  using Sum = ComputeType<Scalar>;
  const AttentionInputs<Scalar> in{by_heads(given.q, options), by_heads(given.k, options), by_heads(given.v, options)};
  const AttentionLayout layout = operands_layout(in.q.shape(), in.k.shape(), in.v.shape(), options);
  check(!options.key_index.has_value() && !options.key_pages.has_value(),
        "attention: key_index and key_pages have no backward");
  const Sizes result = result_sizes(in.q.shape(), in.v.shape(), layout);
  const Sizes result_sums = log_sum_exp_sizes(in.q.shape(), layout);
  const TensorView<const Scalar> out = by_heads(saved.out, options);
  const TensorView<const Scalar> d_out = by_heads(from.d_out, options);
  const bool has_d_sums = from.d_log_sum_exp.data() != nullptr;
  const WritableRows<Scalar> d_q(by_heads(to.d_q, options)), d_k(by_heads(to.d_k, options)),
      d_v(by_heads(to.d_v, options));
  check_sizes("out", out.shape(), result);
  check_sizes("d_out", d_out.shape(), result);
  check_sizes("log_sum_exp", saved.log_sum_exp.shape(), result_sums);
  if (has_d_sums) check_sizes("d_log_sum_exp", from.d_log_sum_exp.shape(), result_sums);
  check_sizes("d_q", d_q.rows().shape(), in.q.shape());
  check_sizes("d_k", d_k.rows().shape(), in.k.shape());
  check_sizes("d_v", d_v.rows().shape(), in.v.shape());
  check(to.d_sinks.empty() || to.d_sinks.size() == layout.sinks.size(), "attention: ", to.d_sinks.size(),
        " gradients of sinks, expected ", layout.sinks.size());
  using Read = OperandRows<const Scalar>;
  using Write = OperandRows<Scalar>;
  const RowOffsets &queries = layout.query_rows, &keys = layout.key_rows;
  const Read q(in.q, layout.heads, queries), k(in.k, layout.key_heads, keys), v(in.v, layout.key_heads, keys);
  const Read y(out, layout.heads, queries), d_y(d_out, layout.heads, queries);
  using ReadSums = OperandRows<const Sum>;
  const ReadSums sums(as_operand(saved.log_sum_exp), layout.heads, queries);
  const ReadSums d_sums(has_d_sums ? as_operand(from.d_log_sum_exp) : TensorView<const Sum>(nullptr, {0, 0}),
                        layout.heads, queries);
  const Write to_q(d_q.rows(), layout.heads, queries), to_k(d_k.rows(), layout.key_heads, keys),
      to_v(d_v.rows(), layout.key_heads, keys);
  const BackwardRows<Scalar> rows{q.rows(),    k.rows(),      v.rows(),    y.rows(),    d_y.rows(),
                                  sums.rows(), d_sums.rows(), to_q.rows(), to_k.rows(), to_v.rows()};
  attends_backward(layout, rows);
  if (!to.d_sinks.empty()) add_sink_gradients(layout, rows, to.d_sinks);
  for (const auto* gradient : {&d_q, &d_k, &d_v}) gradient->finish();
}
EIGENFORMER_FLOAT(void backward_of_operands(const AttentionInputs<float>&, const AttentionOptions&,
                                            const AttentionSaved<float>&, const AttentionOutputGradients<float>&,
                                            const AttentionGradients<float>&, AttendBackwardRef<float>));
EIGENFORMER_DOUBLE(void backward_of_operands(const AttentionInputs<double>&, const AttentionOptions&,
                                             const AttentionSaved<double>&, const AttentionOutputGradients<double>&,
                                             const AttentionGradients<double>&, AttendBackwardRef<double>));

/// Computes the gradients of 16-bit operands by the float kernels. Also computes the forward again, because the
/// rounding of the given O would spoil the differences between dP and rowsum(O * dO).
template <class Stored>
void backward_through_float(const AttentionInputs<Stored>& given, const AttentionOptions& options,
                            const AttentionSaved<Stored>& saved, const AttentionOutputGradients<Stored>& from,
                            const AttentionGradients<Stored>& to, const FloatKernels& kernels) {
  const Tensor<float> q = given.q.template cast<float>(), k = given.k.template cast<float>(),
                      v = given.v.template cast<float>(), d_out = from.d_out.template cast<float>();
  Tensor<float> out = saved.out.template cast<float>(), sums = saved.log_sum_exp.template cast<float>();
  attend_operands<float, float>({q, k, v}, options, {out, sums}, kernels.attends);
  Tensor<float> d_q = to.d_q.template cast<float>(), d_k = to.d_k.template cast<float>(),
                d_v = to.d_v.template cast<float>();  // copies the padding, which is not written
  backward_of_operands<float>({q, k, v}, options, {out, sums}, {d_out, from.d_log_sum_exp}, {d_q, d_k, d_v, to.d_sinks},
                              kernels.attends_backward);
  const auto round = [](const Tensor<float>& gradient, const TensorView<Stored>& rounded) {
    check_writable(rounded);
    gradient.template cast<Stored>().copy_to(rounded);
  };
  round(d_q, to.d_q);
  round(d_k, to.d_k);
  round(d_v, to.d_v);
}

}  // namespace detail

/// Writes the gradients of attention_forward. saved: what the forward wrote; from: the gradients of these outputs, of
/// the same shapes. Also adds the gradients of the score's own parameters, if it has any. In tensors, does not write
/// the gradients of padding. Throws before it writes if shapes do not fit, or if options has key_index or key_pages.
/// Multiplies bfloat16 operands on the matrix unit, if there is one. Otherwise converts 16-bit operands to float.
/// Rounds gradients once.
///
/// The weights are computed again as exp(score - log_sum_exp). Rounding gives them a relative error of about
/// |log_sum_exp| epsilon, with the epsilon of the log-sum-exps' type. So hide keys by a mask or by minus infinity: if
/// all keys of a query have a bias such as -1e9, its gradients in float mean nothing.
template <class Scalar, class S>
void attention_backward(const AttentionInputs<Scalar>& given, const S& score, const AttentionOptions& options,
                        const AttentionSaved<Scalar>& saved, const AttentionOutputGradients<Scalar>& from,
                        const AttentionGradients<Scalar>& to) {
  constexpr bool on_unit = std::is_same_v<Scalar, Eigen::bfloat16> && matrix_unit::is_fast<Eigen::bfloat16>;
  using Computed = std::conditional_t<on_unit, Scalar, ComputeType<Scalar>>;
  const auto& checked = detail::differentiable_score<ComputeType<Scalar>>(score);
  const auto attends_backward = [&](const detail::AttentionLayout& layout, const detail::BackwardRows<Computed>& rows) {
    detail::attend_backward(layout, rows, checked, options);
  };
  if constexpr (!std::is_same_v<Scalar, Computed>) {
    const auto attends = [&](const detail::AttentionLayout& layout, const detail::AttentionRows<float, float>& rows) {
      detail::attend(layout, rows, checked, options);
    };
    detail::backward_through_float(given, options, saved, from, to, {attends, attends_backward});
  } else {
    detail::backward_of_operands<Scalar>(given, options, saved, from, to, attends_backward);
  }
}
/// Writes the gradients of attention_forward when only its output `out` was used.
template <class Scalar, class S>
void attention_backward(const AttentionInputs<Scalar>& in, const S& score, const AttentionOptions& options,
                        const AttentionSaved<Scalar>& saved,
                        const std::type_identity_t<TensorView<const Scalar>>& d_out,
                        const AttentionGradients<Scalar>& to) {
  attention_backward(in, score, options, saved, AttentionOutputGradients<Scalar>{d_out, {}}, to);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
