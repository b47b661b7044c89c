// Multi-head attention (Vaswani et al. 2017, section 3.2.2).
#pragma once

#include "eigenformer/core/compiled.hpp"
#include "eigenformer/kernels/attention_weights.hpp"
#include "eigenformer/layers/attention_recorder.hpp"
#include "eigenformer/layers/key_value_cache.hpp"
#include "eigenformer/layers/linear.hpp"
#include "eigenformer/ops/attention.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Options of a MultiHeadAttention; dropout, bias, kdim and vdim as in torch.nn.MultiheadAttention.
struct MultiHeadAttentionOptions {
  Index width = 512;     // of the queries and of the result (embed_dim)
  Index heads = 8;       // num_heads
  Index key_heads = 0;   // 0: as many as heads. Fewer: grouped, one: multi-query attention (Shazeer 2019)
  Index head_width = 0;  // 0: width / heads, as in the paper. The study notes' variant has width
  Index kdim = 0;        // width of the keys' input; 0: width
  Index vdim = 0;        // width of the values' input; 0: width
  double dropout = 0;    // of the attention weights
  bool bias = true;
};

/// MultiHead(Q, K, V) = concat(head_1, .., head_h) W_o, head_i = attention(Q W_q_i, K W_k_i, V W_v_i). Heads are column
/// blocks, so each of q, k, v is one linear map.
template <class Scalar>
struct MultiHeadAttention {
  Linear<Scalar> q;         // width -> heads * head_width
  Linear<Scalar> k;         // kdim -> key_heads * head_width
  Linear<Scalar> v;         // vdim -> key_heads * head_width
  Linear<Scalar> out_proj;  // heads * head_width -> width
  Index heads = 1;
  Index key_heads = 1;
  double dropout = 0;

  MultiHeadAttention() = default;
  MultiHeadAttention(const MultiHeadAttentionOptions& options, Rng& rng);

  /// Self-attention within each sequence. x: [tokens x width] -> [tokens x width].
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x, const RowOffsets& rows = {},
                              const AnyScore& score = Unmasked{}) const {
    return (*this)(context, x, x, x, rows, rows, score);
  }

  /// Each sequence's queries attend to the keys and values of the same sequence of the other batch.
  /// query: [queries x width], key: [keys x kdim], value: [keys x vdim] -> [queries x width].
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& query,
                              const Variable<Scalar>& key, const Variable<Scalar>& value, const RowOffsets& query_rows,
                              const RowOffsets& key_rows, const AnyScore& score = Unmasked{}) const;

  /// For decoding: attends to keys and values that were projected before. `key_index` names, through key_rows, the
  /// cache's row of each key.
  Variable<Scalar> attend_to_cache(const Context<Scalar>& context, const Variable<Scalar>& query,
                                   const KeyValueCache<Scalar>& cache, const RowOffsets& query_rows,
                                   const RowOffsets& key_rows, std::span<const Index> key_index) const;

  /// Appends the projections of `x`, as key and value, to the cache.
  void append_to_cache(const Context<Scalar>& context, const Variable<Scalar>& x, KeyValueCache<Scalar>& cache) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("q", self.q);
    visitor("k", self.k);
    visitor("v", self.v);
    visitor("out_proj", self.out_proj);
  }
};

template <class Scalar>
MultiHeadAttention<Scalar>::MultiHeadAttention(const MultiHeadAttentionOptions& options, Rng& rng)
    : heads(options.heads),
      key_heads(options.key_heads == 0 ? options.heads : options.key_heads),
      dropout(options.dropout) {
  check(heads >= 1 && key_heads >= 1 && heads % key_heads == 0, "MultiHeadAttention: ", heads, " heads cannot share ",
        key_heads, " key heads, expected a multiple");
  check(options.head_width != 0 || options.width % heads == 0, "MultiHeadAttention: width ", options.width,
        " does not divide into ", heads, " heads; give head_width");
  const Index head_width = options.head_width == 0 ? options.width / heads : options.head_width;
  const auto or_width = [&](Index given) { return given == 0 ? options.width : given; };
  q = Linear<Scalar>(options.width, heads * head_width, rng, options.bias);
  k = Linear<Scalar>(or_width(options.kdim), key_heads * head_width, rng, options.bias);
  v = Linear<Scalar>(or_width(options.vdim), key_heads * head_width, rng, options.bias);
  out_proj = Linear<Scalar>(heads * head_width, options.width, rng, options.bias);
}

template <class Scalar>
Variable<Scalar> MultiHeadAttention<Scalar>::operator()(const Context<Scalar>& context, const Variable<Scalar>& query,
                                                        const Variable<Scalar>& key, const Variable<Scalar>& value,
                                                        const RowOffsets& query_rows, const RowOffsets& key_rows,
                                                        const AnyScore& score) const {
  const AttentionOptions options{.heads = heads,
                                 .key_heads = key_heads,
                                 .query_rows = query_rows,
                                 .key_rows = key_rows,
                                 .dropout = dropout,
                                 .threads = context.threads};
  const Variable<Scalar> queries = q(context, query);
  const Variable<Scalar> keys = k(context, key);
  if (context.attention != nullptr)
    context.attention->record(
        *this,
        std::visit([&](const auto& s) { return attention_weights(queries.value(), keys.value(), s, options); }, score));
  return out_proj(context, attention(context, queries, keys, v(context, value), score, options));
}

template <class Scalar>
Variable<Scalar> MultiHeadAttention<Scalar>::attend_to_cache(const Context<Scalar>& context,
                                                             const Variable<Scalar>& query,
                                                             const KeyValueCache<Scalar>& cache,
                                                             const RowOffsets& query_rows, const RowOffsets& key_rows,
                                                             std::span<const Index> key_index) const {
  const AttentionOptions options{
      .heads = heads, .key_heads = key_heads, .query_rows = query_rows, .key_rows = key_rows, .key_index = key_index};
  return out_proj(context, attention(context, q(context, query), cache.keys(), cache.values(), Unmasked{}, options));
}

template <class Scalar>
void MultiHeadAttention<Scalar>::append_to_cache(const Context<Scalar>& context, const Variable<Scalar>& x,
                                                 KeyValueCache<Scalar>& cache) const {
  cache.append(k(context, x).value(), v(context, x).value());
}

EIGENFORMER_TEMPLATE(struct MultiHeadAttention);

}  // namespace eigenformer::inline EIGENFORMER_ABI
