// Multi-head attention (Vaswani et al. 2017, section 3.2.2).
#pragma once

#include <optional>
#include <span>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/kernels/attention_weights.hpp"
#include "eigenformer/layers/attention_positions.hpp"
#include "eigenformer/layers/attention_recorder.hpp"
#include "eigenformer/layers/head_norm.hpp"
#include "eigenformer/layers/key_value_cache.hpp"
#include "eigenformer/layers/linear.hpp"
#include "eigenformer/layers/trainable_score.hpp"
#include "eigenformer/ops/attention.hpp"
#include "eigenformer/ops/attention_weights.hpp"
#include "eigenformer/ops/columns.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Options of a MultiHeadAttention; dropout, bias, kdim and vdim as in torch.nn.MultiheadAttention.
struct MultiHeadAttentionOptions {
  Index width = 512;     // of the queries and of the result (embed_dim)
  Index heads = 8;       // num_heads
  Index key_heads = 0;   // 0: equal to heads. Fewer: grouped-query attention; 1: multi-query attention (Shazeer 2019)
  Index head_width = 0;  // 0: width / heads, as in the paper
  Index kdim = 0;        // width of the keys' input; 0: width
  Index vdim = 0;        // width of the values' input; 0: width
  double dropout = 0;    // of the attention weights
  bool bias = true;
  Index relative_distance = 0;                // k: relative positions are clipped to -k .. k; 0: no relative positions
  bool relative_values = true;                // adds relative positions to the values too
  QueryKeyNorm qk_norm = QueryKeyNorm::none;  // normalises the queries and keys of each head
  double qk_norm_eps = 1e-5;
  bool qk_norm_bias = true;  // of layer_norm
  bool sinks = false;  // a learned sink for each query head, as in gpt-oss (arXiv 2508.10925); begins with score 0
};

/// Assigns queries and keys to sequences and tells which pairs attend.
template <class Scalar>
struct AttentionBatch {
  RowOffsets query_rows{};   // sequences of the queries; empty: one sequence
  RowOffsets key_rows{};     // sequences of the keys, as many as in query_rows; queries attend within their sequence
  AnyScore<Scalar> score{};  // applies in addition to the layer's score
  const AttentionPositions<Scalar>* positions = nullptr;  // null: none; else a sequence's queries are its last tokens
};

/// A layer of a KeyValueCache, and the queries that attend to its keys.
template <class Scalar>
struct CacheQueries {
  Index layer = 0;
  RowOffsets query_rows{};  // queries of each sequence; empty: the tokens that the last extend() added
  // The position of each sequence's first query, for scores that depend on positions, such as a window. The span must
  // outlive the call. nullopt, for self-attention: the queries are the last tokens of their sequence.
  std::optional<std::span<const Index>> query_offsets{};
  AttentionObserver<Scalar>* observer = nullptr;  // if not null, replaces the context's observer
};

/// Computes MultiHead(Q, K, V) = concat(head_1, .., head_h) W_o with head_i = attention(Q W_q_i, K W_k_i, V W_v_i).
/// Heads are column blocks, so the projections of all heads are one linear map for each of q, k and v.
///
/// A relative_distance k adds the relative positions of Shaw et al. 2018 (arXiv 1803.02155, equations 3 and 4) to
/// self-attention. With clip(x) = min(max(x, -k), k), each head computes
///
///   e_ij = q_i . (k_j + aK_clip(j - i)) / sqrt(d)
///   z_i = sum_j softmax(e_i)_j (v_j + aV_clip(j - i))
///
/// Each layer has its own aK and aV, shared by its heads. In the paper's table 3, aV brings no gain when aK is used.
/// Using aV takes a second pass over the scores; see attention_with_relative_values.
///
/// The layer's `score` may be any score, such as a window, a soft cap or a function, or several combined. A function
/// may have parameters, which belong to the layer (see TrainableScore). The score is written for whole sequences. In
/// `attend_to_cache`, and in self-attention of a sequence's last tokens, it sees queries at their positions in the
/// sequence (see AnyScore::after_past).
///
/// A sink is a key without a value. It takes a share of the weights of its head (see AttentionOptions::sinks).
template <class Scalar>
struct MultiHeadAttention {
  Linear<Scalar> q;                   // width -> heads * head_width
  Linear<Scalar> k;                   // kdim -> key_heads * head_width
  Linear<Scalar> v;                   // vdim -> key_heads * head_width
  Linear<Scalar> out_proj;            // heads * head_width -> width
  HeadNorm<Scalar> q_norm;            // of each head's queries, before positions
  HeadNorm<Scalar> k_norm;            // of each head's keys, before positions and before they are cached
  Parameter<Scalar> relative_keys;    // aK: [2k + 1 x head_width], for distances -k .. k; empty: none
  Parameter<Scalar> relative_values;  // aV: [2k + 1 x head_width], for distances -k .. k; empty: none
  Parameter<Scalar> sinks;            // scores of the sinks: [1 x heads]; empty: no sinks
  Index heads = 1;
  Index key_heads = 1;
  double dropout = 0;
  TrainableScore<Scalar> score{};  // applies in every call. A model file holds its parameters, but not its function

  MultiHeadAttention() = default;
  /// Throws unless heads is a multiple of key_heads, width is above 0 and a multiple of heads (or head_width given),
  /// dropout is at least 0 and less than 1, and kdim, vdim and relative_distance are at least 0.
  MultiHeadAttention(const MultiHeadAttentionOptions& options, Rng& rng);

  /// Self-attention within each sequence. x: [tokens x width] -> [tokens x width].
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& x, const RowOffsets& rows = {},
                              const AnyScore<Scalar>& call_score = {},
                              const AttentionPositions<Scalar>& positions = {}) const {
    return (*this)(context, x, x, x,
                   {.query_rows = rows, .key_rows = rows, .score = call_score, .positions = &positions});
  }

  /// Attention between two batches: queries of sequence s attend to the keys and values of sequence s.
  /// query: [queries x width], key: [keys x kdim], value: [keys x vdim] -> [queries x width].
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& query,
                              const Variable<Scalar>& key, const Variable<Scalar>& value,
                              const AttentionBatch<Scalar>& batch = {}) const;

  /// Attends to the sequences of a cache, for decoding. Throws if `context` has a tape. query: [queries x width] ->
  /// [queries x width].
  Variable<Scalar> attend_to_cache(const Context<Scalar>& context, const Variable<Scalar>& query,
                                   const KeyValueCache<Scalar>& cache, const CacheQueries<Scalar>& queries = {},
                                   const AttentionPositions<Scalar>& positions = {}) const;

  /// Projects x to keys and values, applies `positions` to the keys, and writes both to a layer of the cache. x: the
  /// tokens that the last cache.extend() added, [tokens x width].
  void append_to_cache(const Context<Scalar>& context, const Variable<Scalar>& x, KeyValueCache<Scalar>& cache,
                       Index layer = 0, const AttentionPositions<Scalar>& positions = {}) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("q", self.q);
    visitor("k", self.k);
    visitor("v", self.v);
    visitor("out_proj", self.out_proj);
    visitor("q_norm", self.q_norm);
    visitor("k_norm", self.k_norm);
    visitor("relative_keys", self.relative_keys);
    visitor("relative_values", self.relative_values);
    visitor("sinks", self.sinks);
    visitor("score", self.score);
  }

 private:
  // Throws unless the input `x` of this name has the columns that the projection reads.
  static void check_width(const char* name, const Variable<Scalar>& x, const Linear<Scalar>& projection) {
    check(x.cols() == projection.inputs(), "MultiHeadAttention: ", name, " is ", shape(x), ", expected ",
          projection.inputs(), " columns");
  }
  // Projected queries and keys, after norms and rotary positions.
  Variable<Scalar> project_queries(const Context<Scalar>& context, const Variable<Scalar>& query,
                                   const RowOffsets& query_rows, const RowOffsets& key_rows,
                                   const AttentionPositions<Scalar>& positions) const {
    return positions.apply_rotary(context, q_norm(context, q(context, query), heads), heads, query_rows, key_rows);
  }
  Variable<Scalar> project_keys(const Context<Scalar>& context, const Variable<Scalar>& key, const RowOffsets& x_rows,
                                const RowOffsets& key_rows, const AttentionPositions<Scalar>& positions) const {
    return positions.apply_rotary(context, k_norm(context, k(context, key), key_heads), key_heads, x_rows, key_rows);
  }
  // Returns the score of relative_keys or `positions`, if any, combined with `other`.
  VariableScore<Scalar> with_positions(const Context<Scalar>& context, const Variable<Scalar>& queries,
                                       const VariableScore<Scalar>& other,
                                       const AttentionPositions<Scalar>& positions) const;
  // Computes attention and projects the result.
  Variable<Scalar> attend(const Context<Scalar>& context, QueryKeyValue<Scalar> in,
                          const VariableScore<Scalar>& score_used, const AttentionOptions& options) const;
  void record_weights(const Context<Scalar>& context, const Variable<Scalar>& queries, const Variable<Scalar>& keys,
                      const VariableScore<Scalar>& score_used, AttentionOptions options) const;
  // Writes one head's weights to context.head_weights if it names this layer.
  void write_head_weights(const Context<Scalar>& context, const Variable<Scalar>& queries, const Variable<Scalar>& keys,
                          const VariableScore<Scalar>& score_used, AttentionOptions options) const;
};

template <class Scalar>
MultiHeadAttention<Scalar>::MultiHeadAttention(const MultiHeadAttentionOptions& options, Rng& rng)
    : heads(options.heads),
      key_heads(options.key_heads == 0 ? options.heads : options.key_heads),
      dropout(options.dropout) {
  check(heads >= 1 && key_heads >= 1 && heads % key_heads == 0, "MultiHeadAttention: ", heads, " heads cannot share ",
        key_heads, " key heads, expected a multiple");
  check(options.width >= 1, "MultiHeadAttention: width is ", options.width, ", expected 1 or more");
  check(options.kdim >= 0 && options.vdim >= 0, "MultiHeadAttention: kdim is ", options.kdim, ", vdim is ",
        options.vdim, ", expected 0 or more; 0 means width");
  check(dropout >= 0 && dropout < 1, "MultiHeadAttention: dropout is ", dropout,
        ", expected 0 or more and less than 1");
  check(options.head_width != 0 || options.width % heads == 0, "MultiHeadAttention: width ", options.width,
        " does not divide into ", heads, " heads; give head_width");
  check(options.head_width >= 0, "MultiHeadAttention: head_width is ", options.head_width,
        ", expected 0 or more; 0 means width / heads");
  check(options.relative_distance >= 0, "MultiHeadAttention: relative_distance is ", options.relative_distance,
        ", expected 0 or more");
  const Index head_width = options.head_width == 0 ? options.width / heads : options.head_width;
  const auto or_width = [&](Index given) { return given == 0 ? options.width : given; };
  q = Linear<Scalar>(options.width, heads * head_width, rng, options.bias);
  k = Linear<Scalar>(or_width(options.kdim), key_heads * head_width, rng, options.bias);
  v = Linear<Scalar>(or_width(options.vdim), key_heads * head_width, rng, options.bias);
  out_proj = Linear<Scalar>(heads * head_width, options.width, rng, options.bias);
  q_norm = HeadNorm<Scalar>(options.qk_norm, head_width, options.qk_norm_eps, options.qk_norm_bias);
  k_norm = q_norm;
  if (options.sinks) sinks = Parameter<Scalar>(1, heads);
  if (options.relative_distance == 0) return;
  relative_keys = xavier_uniform<Scalar>(2 * options.relative_distance + 1, head_width, rng);
  if (options.relative_values)
    relative_values = xavier_uniform<Scalar>(2 * options.relative_distance + 1, head_width, rng);
}

template <class Scalar>
VariableScore<Scalar> MultiHeadAttention<Scalar>::with_positions(const Context<Scalar>& context,
                                                                 const Variable<Scalar>& queries,
                                                                 const VariableScore<Scalar>& other,
                                                                 const AttentionPositions<Scalar>& positions) const {
  if (relative_keys.empty()) return positions.score(context, heads, other);
  return PositionScore<Scalar>::relative(context, queries, context.use(relative_keys), heads, other);
}

template <class Scalar>
Variable<Scalar> MultiHeadAttention<Scalar>::attend(const Context<Scalar>& context, QueryKeyValue<Scalar> in,
                                                    const VariableScore<Scalar>& score_used,
                                                    const AttentionOptions& options) const {
  if (!sinks.empty()) in.sinks = context.use(sinks);
  if (relative_values.empty()) return out_proj(context, attention(context, in, score_used, options));
  return out_proj(context,
                  attention_with_relative_values(context, in, context.use(relative_values), score_used, options));
}

template <class Scalar>
void MultiHeadAttention<Scalar>::record_weights(const Context<Scalar>& context, const Variable<Scalar>& queries,
                                                const Variable<Scalar>& keys, const VariableScore<Scalar>& score_used,
                                                AttentionOptions options) const {
  if (context.attention == nullptr) return;
  const std::vector<double> sink_scores(sinks.value.data(), sinks.value.data() + sinks.size());
  options.sinks = sink_scores;
  context.attention->record(this, score_used.score().visit([&](const auto& s) {
    return attention_weights(queries.value(), keys.value(), s, options);
  }));
}

template <class Scalar>
void MultiHeadAttention<Scalar>::write_head_weights(const Context<Scalar>& context, const Variable<Scalar>& queries,
                                                    const Variable<Scalar>& keys,
                                                    const VariableScore<Scalar>& score_used,
                                                    AttentionOptions options) const {
  if (context.head_weights == nullptr || context.head_weights->layer != this) return;
  HeadWeights<Scalar>& wanted = *context.head_weights;
  check(wanted.head >= 0 && wanted.head < heads, "MultiHeadAttention: head ", wanted.head,
        " does not exist, the layer has heads 0 to ", heads - 1);
  QueryKeyValue<Scalar> in{queries, keys, {}};
  if (!sinks.empty()) in.sinks = context.use(sinks);
  if (!score_used.empty()) {  // a score may depend on the head, so all heads are computed
    const Variable<Scalar> all = differentiable_attention_weights(context, in, score_used, options, wanted.width);
    wanted.weights = columns(context, all, wanted.head * (all.cols() / heads), all.cols() / heads);
    return;
  }
  const Index head_width = queries.cols() / heads;
  in.q = columns(context, queries, wanted.head * head_width, head_width);
  in.k = columns(context, keys, wanted.head / (heads / key_heads) * head_width, head_width);
  if (!sinks.empty()) in.sinks = columns(context, in.sinks, wanted.head, 1);
  options.heads = options.key_heads = 1;
  wanted.weights = differentiable_attention_weights(context, in, score_used, options, wanted.width);
}

template <class Scalar>
Variable<Scalar> MultiHeadAttention<Scalar>::operator()(const Context<Scalar>& context, const Variable<Scalar>& query,
                                                        const Variable<Scalar>& key, const Variable<Scalar>& value,
                                                        const AttentionBatch<Scalar>& batch) const {
  for (const Variable<Scalar>* const x : {&query, &key, &value})
    check(!x->is_tensor(), "MultiHeadAttention: an input is ", x->sizes(),
          ", expected [rows x width]; unpad() gives the rows of a padded tensor");
  check_width("query", query, q);
  check_width("key", key, k);
  check_width("value", value, v);
  const AttentionPositions<Scalar> none;
  const AttentionPositions<Scalar>& positions = batch.positions != nullptr ? *batch.positions : none;
  const AttentionOptions options{.heads = heads,
                                 .key_heads = key_heads,
                                 .query_rows = batch.query_rows.for_rows(query.rows(), "MultiHeadAttention", "query"),
                                 .key_rows = batch.key_rows.for_rows(key.rows(), "MultiHeadAttention", "key"),
                                 .dropout = dropout,
                                 .threads = context.threads};
  const Variable<Scalar> queries = project_queries(context, query, options.query_rows, options.key_rows, positions);
  const Variable<Scalar> keys = project_keys(context, key, options.key_rows, options.key_rows, positions);
  const bool is_placed = batch.positions != nullptr && !(options.query_rows == options.key_rows);
  const VariableScore<Scalar> own = score(context);
  const VariableScore<Scalar> both = (is_placed ? own.after_past() : own).combined_with(batch.score);
  const VariableScore<Scalar> all = with_positions(context, queries, both, positions);
  record_weights(context, queries, keys, all, options);
  write_head_weights(context, queries, keys, all, options);
  return attend(context, {queries, keys, v(context, value)}, all, options);
}

template <class Scalar>
Variable<Scalar> MultiHeadAttention<Scalar>::attend_to_cache(const Context<Scalar>& context,
                                                             const Variable<Scalar>& query,
                                                             const KeyValueCache<Scalar>& cache,
                                                             const CacheQueries<Scalar>& queries,
                                                             const AttentionPositions<Scalar>& positions) const {
  check_width("query", query, q);
  const AttentionOptions options =
      cache.options({.heads = heads, .key_heads = key_heads, .query_rows = queries.query_rows});
  const Variable<Scalar> projected = q_norm(context, q(context, query), heads);
  const QueryKeyValue<Scalar> in{
      queries.query_rows.given()
          ? positions.apply_rotary(context, projected, heads, options.query_rows, options.key_rows)
          : positions.apply_rotary_at(context, projected, heads, cache.table().new_positions()),
      cache.keys(queries.layer), cache.values(queries.layer)};
  const VariableScore<Scalar> own = score(context);
  const VariableScore<Scalar> placed =
      queries.query_offsets.has_value() ? own.with_offsets(*queries.query_offsets) : own.after_past();
  const VariableScore<Scalar> all = with_positions(context, in.q, placed, positions);
  Context<Scalar> observed = context;
  if (queries.observer != nullptr) observed.attention = queries.observer;
  record_weights(observed, in.q, in.k, all, options);
  return attend(context, in, all, options);
}

template <class Scalar>
void MultiHeadAttention<Scalar>::append_to_cache(const Context<Scalar>& context, const Variable<Scalar>& x,
                                                 KeyValueCache<Scalar>& cache, Index layer,
                                                 const AttentionPositions<Scalar>& positions) const {
  check_width("x", x, k);
  check_width("x", x, v);
  const Variable<Scalar> keys = positions.apply_rotary_at(context, k_norm(context, k(context, x), key_heads), key_heads,
                                                          cache.table().new_positions());
  const Variable<Scalar> values = v(context, x);
  cache.write(layer, keys.value(), values.value());
}

EIGENFORMER_TEMPLATE(struct MultiHeadAttention);

}  // namespace eigenformer::inline EIGENFORMER_ABI
