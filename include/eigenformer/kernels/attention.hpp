// Scaled dot-product attention: softmax(Q K^T / sqrt(d_k)) V (Vaswani et al. 2017, equation 1), over Eigen matrices.
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/core/readable.hpp"
#include "eigenformer/kernels/detail/attention/anonymous_score.hpp"
#include "eigenformer/kernels/detail/attention/few_queries.hpp"
#include "eigenformer/kernels/detail/attention/grouped_heads.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Every query tile of every sequence and head is a task; of few queries, or heads that fit a block,
/// all that share a key head.
template <class Scalar, class Stored, Score S>
void attend(const AttentionLayout& layout, const HeadRows<const Scalar>& q, const HeadRows<const Stored>& k,
            const HeadRows<const Stored>& v, const S& score, const AttentionDropout& dropout,
            const HeadRows<Scalar>& out, Scalar* log_sum_exp, Threads* threads) {
  check_covers(score, whole_batch(layout));
  const Index together = blocks_together<Scalar>(layout, k, v, threads != nullptr);
  std::vector<ScoreTile> tiles;
  for (Index s = 0; s < layout.sequences(); ++s) {
    const Index blocks = query_blocks<Scalar>(layout.query_rows.length(s));
    for (Index block = 0; block < blocks; block += together) {
      ScoreTile tile;
      tile.sequence = s;
      tile.first_row = layout.query_rows.begin(s);
      tile.queries = layout.query_rows.length(s);
      tile.keys = layout.key_rows.length(s);
      tile.query_begin = query_block_begin<Scalar>(tile.queries, block);
      tile.query_end = query_block_begin<Scalar>(tile.queries, std::min<Index>(blocks, block + together));
      tiles.push_back(tile);
    }
  }
  const auto count = static_cast<Index>(tiles.size());
  const Index grain = layout.key_rows.longest() > 128 ? 1 : 16;  // short sequences: some 20 microseconds a task
  parallel_for(threads, count * layout.heads, grain, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      ScoreTile tile = tiles[static_cast<std::size_t>(i % count)];
      tile.head = i / count;
      const auto is_done = [&](bool carefully) {
        const bool few = has_few_queries<Scalar>(layout, tile.sequence);
        if (!few && !heads_fit_a_block<Scalar>(layout, tile.sequence))
          return attend_query_tile<Scalar>(layout, q, k, v, score, dropout, tile, out, log_sum_exp, carefully);
        if (tile.head % layout.group() != 0) return true;
        if (few) return attend_few_queries<Scalar>(layout, q, k, v, score, dropout, tile, out, log_sum_exp, carefully);
        return attend_grouped_heads<Scalar>(layout, q, k, v, score, dropout, tile, out, log_sum_exp, carefully);
      };
      if (!is_done(false)) (void)is_done(true);
    }
  });
}

EIGENFORMER_FLOAT(void attend(const AttentionLayout&, const HeadRows<const float>&, const HeadRows<const float>&,
                              const HeadRows<const float>&, const Unmasked&, const AttentionDropout&,
                              const HeadRows<float>&, float*, Threads*));
EIGENFORMER_DOUBLE(void attend(const AttentionLayout&, const HeadRows<const double>&, const HeadRows<const double>&,
                               const HeadRows<const double>&, const Unmasked&, const AttentionDropout&,
                               const HeadRows<double>&, double*, Threads*));
EIGENFORMER_FLOAT(void attend(const AttentionLayout&, const HeadRows<const float>&, const HeadRows<const float>&,
                              const HeadRows<const float>&, const Causal&, const AttentionDropout&,
                              const HeadRows<float>&, float*, Threads*));
EIGENFORMER_DOUBLE(void attend(const AttentionLayout&, const HeadRows<const double>&, const HeadRows<const double>&,
                               const HeadRows<const double>&, const Causal&, const AttentionDropout&,
                               const HeadRows<double>&, double*, Threads*));
EIGENFORMER_FLOAT(void attend(const AttentionLayout&, const HeadRows<const float>&, const HeadRows<const float>&,
                              const HeadRows<const float>&, const ScoreOfKind<float, ScoreKind{}>&,
                              const AttentionDropout&, const HeadRows<float>&, float*, Threads*));
EIGENFORMER_FLOAT(void attend(const AttentionLayout&, const HeadRows<const float>&, const HeadRows<const float>&,
                              const HeadRows<const float>&, const ScoreOfKind<float, ScoreKind{true}>&,
                              const AttentionDropout&, const HeadRows<float>&, float*, Threads*));
EIGENFORMER_DOUBLE(void attend(const AttentionLayout&, const HeadRows<const double>&, const HeadRows<const double>&,
                               const HeadRows<const double>&, const ScoreOfKind<double, ScoreKind{}>&,
                               const AttentionDropout&, const HeadRows<double>&, double*, Threads*));
EIGENFORMER_DOUBLE(void attend(const AttentionLayout&, const HeadRows<const double>&, const HeadRows<const double>&,
                               const HeadRows<const double>&, const ScoreOfKind<double, ScoreKind{true}>&,
                               const AttentionDropout&, const HeadRows<double>&, double*, Threads*));

template <class Stored>
inline constexpr bool has_16_bits = std::is_same_v<Stored, Eigen::half> || std::is_same_v<Stored, Eigen::bfloat16>;
/// What attention over such numbers is computed in.
template <class Stored>
using Computed = std::conditional_t<has_16_bits<Stored>, float, Stored>;

}  // namespace detail

/// Writes the attention of q over k and v.
///
///   q: [queries x heads * d], k: [keys x key_heads * d], v: [keys x key_heads * e]   (any strides)
///   k and v may be of Eigen::half or Eigen::bfloat16, where q is of float: they are read as float, a tile at a time.
///   out: [queries x heads * e], log_sum_exp: [queries x heads], kept for the backward; a query that sees nothing has
///   minus infinity there, and zeros in out.
///
/// Scores are scaled, then `score` is applied, then softmax, then dropout. Throws if shapes, heads and offsets do not
/// fit; nothing is written then.
template <class Scalar, class Stored, class S>
void attention_forward(const TensorView<const Scalar, 2>& q, const TensorView<const Stored, 2>& k,
                       const TensorView<const Stored, 2>& v, const S& score, const AttentionOptions& options,
                       MatrixRef<Scalar> out, MatrixRef<Scalar> log_sum_exp) {
  static_assert(std::is_same_v<detail::Computed<Stored>, Scalar>, "attention: q, k and v have one scalar type");
  const auto& checked = detail::checked_score<Scalar>(score);
  using Checked = std::remove_cvref_t<decltype(checked)>;
  const auto shape_of = [](const auto& x) { return Shape{x.dimension(0), x.dimension(1)}; };
  const detail::AttentionLayout layout = detail::attention_layout(shape_of(q), shape_of(k), shape_of(v), options);
  check_shape("attention", "out", shape(out), {q.dimension(0), layout.heads * layout.value_width});
  check_shape("attention", "log_sum_exp", shape(log_sum_exp), {q.dimension(0), layout.heads});
  check(log_sum_exp.outerStride() == layout.heads || log_sum_exp.rows() <= 1,
        "attention: log_sum_exp is a block, expected contiguous rows");
  detail::attend<Scalar>(layout, detail::head_columns(q, layout.heads), detail::head_columns(k, layout.key_heads),
                         detail::head_columns(v, layout.key_heads),
                         detail::for_kernel<Scalar, detail::kind_of_forward<Checked>>(checked),
                         detail::AttentionDropout(options.dropout, options.dropout_key),
                         detail::head_columns(out, layout.heads), log_sum_exp.data(), options.threads);
}

namespace detail {

/// What q, k and v may be, as kernels read it.
template <class Derived>
const Derived& operand(const Eigen::MatrixBase<Derived>& matrix) {
  return matrix.derived();
}
template <class Scalar>
TensorView<const std::remove_const_t<Scalar>, 4> operand(const TensorView<Scalar, 4>& tensor) {
  return tensor;
}
template <class Scalar>
TensorView<const Scalar, 4> operand(const Tensor<Scalar, 4>& tensor) {
  return tensor.view();
}

template <class Derived>
typename Derived::Scalar scalar_of(const Eigen::MatrixBase<Derived>&);
template <class Scalar>
Scalar scalar_of(const TensorView<const Scalar, 4>&);

template <class T>
concept Operand = requires(const T& x) {
  operand(x);
};
template <class T>
concept TensorOperand = requires(const T& x) {
  operand(x).strides();
};
template <Operand T>
using OperandScalar = decltype(scalar_of(operand(std::declval<const T&>())));

/// Whether attention takes operands of these types. If not, a sentence says what is wrong with them.
template <class Q, class... KeysAndValues>
constexpr bool are_operands() {
  constexpr bool readable =
      Operand<Q> && (... && Operand<KeysAndValues>)&&(... && (TensorOperand<KeysAndValues> == TensorOperand<Q>));
  static_assert(readable,
                "attention takes Eigen matrices, or tensors of 4 dimensions: write x.matrix() for an Array, x.value() "
                "for a Variable, an Eigen::Map for other memory; a Context is followed by Variables");
  if constexpr (readable) {
    using Scalar = std::conditional_t<TensorOperand<Q>, OperandScalar<Q>, Computed<OperandScalar<Q>>>;
    constexpr bool computed = std::is_same_v<Scalar, float> || std::is_same_v<Scalar, double>;
    constexpr bool alike =
        (... &&
         std::is_same_v<
             std::conditional_t<TensorOperand<Q>, OperandScalar<KeysAndValues>, Computed<OperandScalar<KeysAndValues>>>,
             Scalar>);
    static_assert(computed, "attention runs on float or double");
    static_assert(!computed || alike, "attention: q, k and v have one scalar type");
    return computed && alike;
  }
  return false;
}

template <class Q, class K, class V, Score S>
auto attention_of(const Eigen::MatrixBase<Q>& q, const Eigen::MatrixBase<K>& k, const Eigen::MatrixBase<V>& v,
                  const S& score, const AttentionOptions& options) {
  using Scalar = Computed<typename Q::Scalar>;
  if constexpr (has_16_bits<typename Q::Scalar>) {
    return attention_of(q.template cast<float>(), k, v, score, options);
  } else {
    const AttentionLayout layout = attention_layout(shape(q), shape(k), shape(v), options);
    const Readable<Q> q_rows(q);
    const Readable<K> k_rows(k);
    const Readable<V> v_rows(v);
    Matrix<Scalar> out(q.rows(), layout.heads * layout.value_width);
    const HeadRows<Scalar> out_rows{out.data(), layout.value_width, out.outerStride(), 1, layout.value_width};
    attend<Scalar>(layout, head_columns(q_rows.view(), layout.heads), head_columns(k_rows.view(), layout.key_heads),
                   head_columns(v_rows.view(), layout.key_heads), for_kernel<Scalar, kind_of_forward<S>>(score),
                   AttentionDropout(options.dropout, options.dropout_key), out_rows, nullptr, options.threads);
    return out;
  }
}

/// The number of heads is the tensors' own: of `options`, only scale, dropout and threads are read.
template <class Scalar, Score S>
Tensor<Scalar, 4> attention_of(const TensorView<const Scalar, 4>& q, const TensorView<const Scalar, 4>& k,
                               const TensorView<const Scalar, 4>& v, const S& score, AttentionOptions options) {
  check(q.dimension(0) == k.dimension(0) && k.dimension(0) == v.dimension(0), "attention: q has a batch of ",
        q.dimension(0), ", k of ", k.dimension(0), ", v of ", v.dimension(0));
  check(k.dimension(1) == v.dimension(1), "attention: k has ", k.dimension(1), " heads, v has ", v.dimension(1));
  options.heads = q.dimension(1);
  options.key_heads = k.dimension(1);
  options.query_rows = {};
  options.key_rows = {};
  options.key_index = {};
  const auto matrix_shape = [](const TensorView<const Scalar, 4>& x) {
    return Shape{x.dimension(2), x.dimension(1) * x.dimension(3)};
  };
  const AttentionLayout layout = attention_layout(matrix_shape(q), matrix_shape(k), matrix_shape(v), options);
  Tensor<Scalar, 4> out({q.dimension(0), q.dimension(1), q.dimension(2), v.dimension(3)});
  const auto rows_of = [](const auto& x, Index b) {
    return HeadRows<std::remove_pointer_t<decltype(x.data())>>{x.data() + b * x.stride(0), x.stride(1), x.stride(2),
                                                               x.stride(3), x.dimension(3)};
  };
  for (Index b = 0; b < q.dimension(0); ++b)
    attend<Scalar>(layout, rows_of(q, b), rows_of(k, b), rows_of(v, b), for_kernel<Scalar, kind_of_forward<S>>(score),
                   AttentionDropout(options.dropout, {options.dropout_key.key,
                                                      options.dropout_key.stream + static_cast<std::uint64_t>(b)}),
                   rows_of(out.view(), b), static_cast<Scalar*>(nullptr), options.threads);
  return out;
}

}  // namespace detail

/// The attention of q over k and v: [queries x heads * value width].
///
///   Matrix<float> y = attention(q, k, v, Causal{}, {.heads = 8});
///
/// q, k, v: any Eigen matrices, maps, blocks or transposes, read where they lie, or expressions, evaluated once. Of
/// Eigen::half and Eigen::bfloat16 the result is in float: all three may be of these, or k and v alone (a cache).
///
/// Or all three are tensors [batch x heads x tokens x width] in any order of strides, read where they lie, and so is
/// the result. The number of heads is then their own: of the options, only scale, dropout and threads are read. k and v
/// may have fewer heads than q.
///
/// score: any Score. options: see AttentionOptions, for heads, grouped heads and ragged batches. Either may be left
/// out, or both: attention(q, k, v, {.heads = 8}). It takes any types and checks them itself, so that a wrong argument
/// is answered by a sentence, and not by a list of functions.
template <class Q, class K, class V, class S = AttentionOptions, class O = OptionsAfter<S>>
requires(!std::is_arithmetic_v<Q>)  // attention<float>({}, ..) is that of ops/attention.hpp
    auto attention(const Q& q, const K& k, const V& v, const S& score = {}, const O& options = {}) {
  if constexpr (detail::are_operands<Q, K, V>()) {
    return detail::with_score_and_options<detail::Computed<detail::OperandScalar<Q>>>(
        score, options, [&](const auto& checked, const AttentionOptions& given) {
          return detail::attention_of(detail::operand(q), detail::operand(k), detail::operand(v), checked, given);
        });
  } else {
    return Matrix<float>();
  }
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
