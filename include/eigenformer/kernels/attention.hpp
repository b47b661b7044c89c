// Scaled dot-product attention: softmax(Q K^T / sqrt(d_k)) V (Vaswani et al. 2017, equation 1), over Eigen matrices.
#pragma once

#include "eigenformer/core/detail/readable.hpp"
#include "eigenformer/kernels/detail/attention/arguments.hpp"
#include "eigenformer/kernels/detail/attention/attend.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The inputs of attention, with any strides. If q is float, k and v may be Eigen::half or Eigen::bfloat16.
template <class Scalar, class Stored = Scalar>
struct AttentionInputs {
  TensorView<const Scalar> q;  // [queries x heads * d]
  TensorView<const Stored> k;  // [keys x key_heads * d]
  TensorView<const Stored> v;  // [keys x key_heads * e]
};

/// The outputs of attention.
template <class Scalar>
struct AttentionOutputs {
  MatrixRef<Scalar> out;          // [queries x heads * e]; zeros for a query that sees no key
  MatrixRef<Scalar> log_sum_exp;  // [queries x heads], for the backward; -inf for a query that sees no key
};

/// Writes the attention of q over k and v: scales the scores, applies `score`, then softmax and dropout. Converts
/// 16-bit keys and values to float one tile at a time. Throws if shapes, heads and offsets do not fit, before it
/// writes.
template <class Scalar, class Stored = Scalar, class S>
void attention_forward(const AttentionInputs<Scalar, Stored>& in, const S& score, const AttentionOptions& options,
                       AttentionOutputs<Scalar> to) {
  static_assert(std::is_same_v<ComputeType<Stored>, Scalar>, "attention: q, k and v have one scalar type");
  const auto& checked = detail::checked_score<Scalar>(score);
  const Shape q = detail::matrix_shape("q", in.q);
  const detail::AttentionLayout layout =
      detail::attention_layout(q, detail::matrix_shape("k", in.k), detail::matrix_shape("v", in.v), options);
  check_shape("attention", "out", shape(to.out), {q.rows, layout.heads * layout.value_width});
  check_shape("attention", "log_sum_exp", shape(to.log_sum_exp), {q.rows, layout.heads});
  check(to.log_sum_exp.outerStride() == layout.heads || to.log_sum_exp.rows() <= 1,
        "attention: log_sum_exp is a block, expected a matrix without gaps between its rows");
  const detail::AttentionRows<Scalar, Stored> rows{
      detail::head_columns(in.q, layout.heads), detail::head_columns(in.k, layout.key_heads),
      detail::head_columns(in.v, layout.key_heads), detail::head_columns(to.out, layout.heads), to.log_sum_exp.data()};
  detail::attend(layout, rows, checked, options);
}

namespace detail {

template <class Q, class K, class V, Score S>
auto attention_of(const Eigen::MatrixBase<Q>& q, const Eigen::MatrixBase<K>& k, const Eigen::MatrixBase<V>& v,
                  const S& score, const AttentionOptions& options) {
  using Scalar = ComputeType<typename Q::Scalar>;
  if constexpr (!std::is_same_v<typename Q::Scalar, Scalar>) {
    return attention_of(q.template cast<Scalar>(), k, v, score, options);
  } else {
    const AttentionLayout layout = attention_layout(shape(q), shape(k), shape(v), options);
    const Readable<Q> q_rows(q);
    const Readable<K> k_rows(k);
    const Readable<V> v_rows(v);
    Matrix<Scalar> out(q.rows(), layout.heads * layout.value_width);
    MatrixRef<Scalar> to(out);
    const AttentionRows<Scalar, typename K::Scalar> rows{
        head_columns(q_rows.view(), layout.heads), head_columns(k_rows.view(), layout.key_heads),
        head_columns(v_rows.view(), layout.key_heads), head_columns(to, layout.heads), nullptr};
    attend(layout, rows, score, options);
    return out;
  }
}

/// Returns the attention of tensors [batch x heads x tokens x width]. The tensors give the number of heads; `options`
/// supplies only scale, dropout and threads.
template <class Scalar, Score S>
Tensor<Scalar> attention_of(const TensorView<const Scalar>& q, const TensorView<const Scalar>& k,
                               const TensorView<const Scalar>& v, const S& score, AttentionOptions options) {
  for (const TensorView<const Scalar>* x : {&q, &k, &v})
    check(x->rank() == 4, "attention: a tensor ", x->shape(), ", expected [batch x heads x tokens x width]");
  check(q.dimension(0) == k.dimension(0) && k.dimension(0) == v.dimension(0), "attention: q has a batch of ",
        q.dimension(0), ", k of ", k.dimension(0), ", v of ", v.dimension(0));
  check(k.dimension(1) == v.dimension(1), "attention: k has ", k.dimension(1), " heads, v has ", v.dimension(1));
  options.heads = q.dimension(1);
  options.key_heads = k.dimension(1);
  options.query_rows = {};
  options.key_rows = {};
  options.key_index = {};
  const auto matrix_shape = [](const TensorView<const Scalar>& x) {
    return Shape{x.dimension(2), x.dimension(1) * x.dimension(3)};
  };
  const AttentionLayout layout = attention_layout(matrix_shape(q), matrix_shape(k), matrix_shape(v), options);
  Tensor<Scalar> out({q.dimension(0), q.dimension(1), q.dimension(2), v.dimension(3)});
  const auto rows_of = [](const auto& x, Index b) {
    return HeadRows<std::remove_pointer_t<decltype(x.data())>>{x.data() + b * x.stride(0), x.stride(1), x.stride(2),
                                                               x.stride(3), x.dimension(3)};
  };
  for (Index b = 0; b < q.dimension(0); ++b) {
    const AttentionRows<Scalar, Scalar> rows{rows_of(q, b), rows_of(k, b), rows_of(v, b), rows_of(out.view(), b),
                                             nullptr};
    AttentionOptions own = options;
    own.dropout_key.stream += static_cast<std::uint64_t>(b);
    attend(layout, rows, score, own);
  }
  return out;
}

}  // namespace detail

/// Returns the attention of q over k and v: [queries x heads * value width].
///
///   Matrix<float> y = attention(q, k, v, Causal{}, {.heads = 8});
///
/// q, k and v are Eigen matrices or tensors:
/// - Matrices, maps, blocks and transposes are read in place. Expressions are evaluated once.
/// - Matrices may be Eigen::half or Eigen::bfloat16: all three, or only k and v (a cache). The result is then float.
/// - Tensors are [batch x heads x tokens x width] with any order of strides, and are read in place. The result is a
///   tensor [batch x heads x tokens x value width]. The tensors give the number of heads; the options supply only
///   scale, dropout and threads. k and v may have fewer heads than q.
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
          return detail::attention_of(detail::operand(q), detail::operand(k), detail::operand(v), checked, given);
        });
  } else {
    return Matrix<float>();
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
