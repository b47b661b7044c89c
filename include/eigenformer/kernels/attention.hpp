// Scaled dot-product attention: softmax(Q K^T / sqrt(d_k)) V (Vaswani et al. 2017, equation 1), over Eigen matrices
// or tensors.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/core/detail/readable.hpp"
#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/kernels/detail/attention/arguments.hpp"
#include "eigenformer/kernels/detail/attention/attend_16_bit.hpp"
#include "eigenformer/kernels/detail/attention/operands.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The inputs of attention, with any strides: matrices, or tensors [batch x heads x tokens x width] (see
/// AttentionOptions::dimensions). Entries are float, double, Eigen::half or Eigen::bfloat16. If q is float, k and v may
/// be Eigen::half or Eigen::bfloat16.
template <class Scalar, class Stored = Scalar>
struct AttentionInputs {
  TensorView<const Scalar> q;  // [queries x heads * d]
  TensorView<const Stored> k;  // [keys x key_heads * d]
  TensorView<const Stored> v;  // [keys x key_heads * e]
};

/// The outputs of attention, with any strides.
template <class Scalar>
struct AttentionOutputs {
  TensorView<Scalar> out;  // [queries x heads * e]; zeros for a query that sees no key
  // [queries x heads], or [batch x heads x tokens]; -inf for a query that sees no key; float if Scalar has 16 bits
  TensorView<ComputeType<Scalar>> log_sum_exp;
};

namespace detail {

/// Refers to a function that runs attention's kernel with a score. A function that takes it instead of the score is
/// compiled once for all scores.
template <class Scalar, class Stored>
using AttendRef = FunctionRef<void(const AttentionLayout&, const AttentionRows<Scalar, Stored>&)>;

/// Computes attention into `to`, whose log_sum_exp may be null.
template <class Scalar, class Stored>
void attend_operands(const AttentionInputs<Scalar, Stored>& given, const AttentionOptions& options,
                     const AttentionOutputs<Scalar>& to, AttendRef<Scalar, Stored> attends) {
  const AttentionInputs<Scalar, Stored> in{by_heads(given.q, options), by_heads(given.k, options),
                                           by_heads(given.v, options)};
  const AttentionLayout layout = operands_layout(in.q.shape(), in.k.shape(), in.v.shape(), options);
  const WritableRows<Scalar> out(by_heads(to.out, options));
  check_sizes("out", out.rows().shape(), result_sizes(in.q.shape(), in.v.shape(), layout));
  const bool asked = to.log_sum_exp.data() != nullptr || to.log_sum_exp.rank() > 1;
  if (asked) check_writable(to.log_sum_exp);
  if (asked) check_sizes("log_sum_exp", to.log_sum_exp.shape(), log_sum_exp_sizes(in.q.shape(), layout));
  const OperandRows<const Scalar> q(in.q, layout.heads, layout.query_rows);
  const OperandRows<const Stored> k(in.k, layout.key_heads, layout.key_rows);
  const OperandRows<const Stored> v(in.v, layout.key_heads, layout.key_rows);
  const OperandRows<Scalar> out_rows(out.rows(), layout.heads, layout.query_rows);
  using Sum = ComputeType<Scalar>;
  const OperandRows<Sum> sums(asked ? as_operand(to.log_sum_exp) : TensorView<Sum>(nullptr, {0, 0}), layout.heads,
                              layout.query_rows);
  attends(layout, {q.rows(), k.rows(), v.rows(), out_rows.rows(), sums.rows()});
  out.finish();
}
EIGENFORMER_FLOAT(void attend_operands(const AttentionInputs<float>&, const AttentionOptions&,
                                       const AttentionOutputs<float>&, AttendRef<float, float>));
EIGENFORMER_DOUBLE(void attend_operands(const AttentionInputs<double>&, const AttentionOptions&,
                                        const AttentionOutputs<double>&, AttendRef<double, double>));

/// Computes attention with a score into `to`, whose log_sum_exp may be null.
template <class Scalar, class Stored, Score S>
void attend_operands(const AttentionInputs<Scalar, Stored>& given, const S& score, const AttentionOptions& options,
                     const AttentionOutputs<Scalar>& to) {
  attend_operands<Scalar, Stored>(given, options, to,
                                  [&](const AttentionLayout& layout, const AttentionRows<Scalar, Stored>& rows) {
                                    attend(layout, rows, score, options);
                                  });
}

}  // namespace detail

/// Writes the attention of q over k and v: scales the scores, applies `score`, then softmax and dropout. 16-bit
/// operands are computed in float. For bfloat16 operands on a processor with a matrix unit (see core/matrix_unit.hpp),
/// the weights are rounded to bfloat16 for the product with v. In tensors, does not write the results of padding.
/// Throws if shapes, heads and offsets do not fit, before it writes.
template <class Scalar, class Stored = Scalar, class S>
void attention_forward(const AttentionInputs<Scalar, Stored>& in, const S& score, const AttentionOptions& options,
                       const AttentionOutputs<Scalar>& to) {
  static_assert(std::is_same_v<Stored, Scalar> || std::is_same_v<ComputeType<Stored>, Scalar>,
                "attention: q, k and v must have one scalar type; if q is float, k and v may be 16-bit");
  detail::attend_operands(in, detail::checked_score<ComputeType<Scalar>>(score), options, to);
}

namespace detail {

template <class Q, class K, class V>
Matrix<typename Q::Scalar> attention_of(
    const Eigen::MatrixBase<Q>& q, const Eigen::MatrixBase<K>& k, const Eigen::MatrixBase<V>& v,
    const AttentionOptions& options, std::type_identity_t<AttendRef<typename Q::Scalar, typename K::Scalar>> attends) {
  using Scalar = typename Q::Scalar;
  const AttentionLayout layout = attention_layout(shape(q), shape(k), shape(v), options);
  const Readable<Q> q_rows(q);
  const Readable<K> k_rows(k);
  const Readable<V> v_rows(v);
  Matrix<Scalar> out(q.rows(), layout.heads * layout.value_width);
  MatrixRef<Scalar> to(out);
  attends(layout, {head_columns(q_rows.view(), layout.heads),
                   head_columns(k_rows.view(), layout.key_heads),
                   head_columns(v_rows.view(), layout.key_heads),
                   head_columns(to, layout.heads),
                   {}});
  return out;
}

template <class Scalar, class Stored>
Tensor<Scalar> attention_of(const TensorView<const Scalar>& q, const TensorView<const Stored>& k,
                            const TensorView<const Stored>& v, const AttentionOptions& options,
                            std::type_identity_t<AttendRef<Scalar, Stored>> attends) {
  check(q.rank() == 4 && v.rank() == 4, "attention: q is ", q.shape(), ", v is ", v.shape(),
        ", expected tensors of rank 4");
  Sizes shape = q.shape();
  shape[3] = v.shape()[3];
  Tensor<Scalar> out(shape);
  attend_operands<Scalar, Stored>({q, k, v}, options, {out, {}}, attends);
  return out;
}

}  // namespace detail

/// Returns the attention of q over k and v: [queries x heads * value width].
///
///   Matrix<float> y = attention(q, k, v, Causal{}, {.heads = 8});
///
/// q, k and v are Eigen matrices or tensors:
/// - Matrices, maps, blocks and transposes are read in place. Expressions are evaluated once.
/// - Entries of all three, or only of k and v (a cache), may be Eigen::half or Eigen::bfloat16. The result has the
///   scalar type of q.
/// - Tensors are [batch x heads x tokens x width] with any strides, and are read in place. The result is a tensor
///   [batch x heads x tokens x value width]. With options.dimensions = batch_tokens_heads, the order is [batch x tokens
///   x heads x width]. options.query_rows and key_rows may give the sequences' lengths. k and v may have fewer heads
///   than q.
///
/// score: any Score. options: see AttentionOptions (heads, grouped heads, ragged batches). Either or both may be
/// omitted: attention(q, k, v, {.heads = 8}).
///
/// Accepts any types and checks them itself, so that a wrong argument gives one readable error instead of a list of
/// candidate functions.
template <class Q, class K, class V, class S = AttentionOptions, class O = OptionsAfter<S>>
requires(!std::is_arithmetic_v<Q>)  // attention<float>({}, ..) calls the overload in ops/attention.hpp
    auto attention(const Q& q, const K& k, const V& v, const S& score = {}, const O& options = {}) {
  if constexpr (detail::are_operands<Q, K, V>()) {
    return detail::with_score_and_options<ComputeType<detail::OperandScalar<Q>>>(
        score, options, [&](const auto& checked, const AttentionOptions& given) {
          using Scalar = detail::OperandScalar<Q>;
          using Stored = detail::OperandScalar<K>;
          return detail::attention_of(
              detail::operand(q), detail::operand(k), detail::operand(v), given,
              [&](const detail::AttentionLayout& layout, const detail::AttentionRows<Scalar, Stored>& rows) {
                detail::attend(layout, rows, checked, given);
              });
        });
  } else {
    return Matrix<float>();
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
