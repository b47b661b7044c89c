// Attention of a recurrent decoder to the states of its encoder: the "global attention" of Luong, Pham and Manning 2015
// ("Effective Approaches to Attention-based Neural Machine Translation", arXiv 1508.04025, section 3.1).
#pragma once

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/kernels/attention_weights.hpp"
#include "eigenformer/layers/attention_recorder.hpp"
#include "eigenformer/layers/key_value_cache.hpp"
#include "eigenformer/layers/linear.hpp"
#include "eigenformer/ops/additive_attention.hpp"
#include "eigenformer/ops/attention.hpp"
#include "eigenformer/ops/attention_weights.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Score of a decoder state H and an encoder state h.
enum class AlignmentScore {
  dot,         // H . h (Luong et al. 2015, equation 8)
  general,     // H^T W h (Luong et al. 2015, equation 8)
  scaled_dot,  // H . h / sqrt(width) (Vaswani et al. 2017)
  additive     // v^T tanh(W H + b + U h) (Bahdanau et al. 2015, arXiv 1409.0473); Luong et al. call it "concat"
};

constexpr auto enum_names(AlignmentScore) {
  return std::to_array<EnumName<AlignmentScore>>({{AlignmentScore::dot, "dot"},
                                                  {AlignmentScore::general, "general"},
                                                  {AlignmentScore::scaled_dot, "scaled_dot"},
                                                  {AlignmentScore::additive, "additive"}});
}

struct GlobalAttentionOptions {
  Index query_width = 512;   // of the decoder states
  Index memory_width = 512;  // of the encoder states; dot and scaled_dot need both widths equal
  AlignmentScore score = AlignmentScore::general;
  Index attention_width = 0;  // of the hidden layer of `additive`; 0: memory_width
};

/// Computes a context for each query i: the average of its sequence's memory, weighted by the softmax of the scores.
///
///   a_ij = softmax over j of score(query_i, memory_j)
///   context_i = sum_j a_ij memory_j
///
/// The queries may be the decoder states of one step or of all steps at once.
template <class Scalar>
struct GlobalAttention {
  Linear<Scalar> query;  // general: query_width -> memory_width, no bias; additive: query_width -> attention_width
  Linear<Scalar> key;    // additive: memory_width -> attention_width, no bias
  Parameter<Scalar> v;   // additive: [1 x attention_width]
  AlignmentScore score = AlignmentScore::dot;

  GlobalAttention() = default;
  /// Throws unless all widths are at least 0, and query_width equals memory_width for the scores that need it.
  GlobalAttention(const GlobalAttentionOptions& options, Rng& rng);

  /// Returns the keys of a memory: U h for the additive score, the memory itself for the others. Call it once per
  /// sentence.
  Variable<Scalar> keys(const Context<Scalar>& context, const Variable<Scalar>& memory) const;

  /// Returns the contexts; each query attends to the memory of its own sequence. An attention observer in `context`
  /// gets the weights as [1 x queries x words of the longest sequence]; HeadWeights get those of head 0.
  /// queries: [queries x query_width], keys: keys(memory), memory: [words x memory_width] -> [queries x memory_width].
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& queries,
                              const Variable<Scalar>& keys, const Variable<Scalar>& memory,
                              const RowOffsets& query_rows = {}, const RowOffsets& memory_rows = {}) const {
    return attend(context, queries, keys, memory, {.query_rows = query_rows, .key_rows = memory_rows});
  }

  /// Returns the contexts of queries that attend to the sequences of a cache: [queries x memory_width]. For decoding,
  /// where hypotheses share the memory of their sentence. Throws if `context` has a tape. queries: [queries x
  /// query_width]; cache: its layer 0 holds keys(memory) as keys and the memory as values; query_rows: the queries of
  /// each sequence.
  Variable<Scalar> attend_to_cache(const Context<Scalar>& context, const Variable<Scalar>& queries,
                                   const KeyValueCache<Scalar>& cache, const RowOffsets& query_rows) const {
    return attend(context, queries, cache.keys(0), cache.values(0), cache.options({.query_rows = query_rows}));
  }

  static void visit(auto& self, auto&& visitor) {
    visitor("query", self.query);
    visitor("key", self.key);
    visitor("v", self.v);
  }

 private:
  // options: the rows of queries and keys.
  Variable<Scalar> attend(const Context<Scalar>& context, const Variable<Scalar>& queries, const Variable<Scalar>& keys,
                          const Variable<Scalar>& memory, AttentionOptions options) const;
  // Writes the weights to context.head_weights if it names this layer. mapped: the queries after the map `query`.
  void write_head_weights(const Context<Scalar>& context, const Variable<Scalar>& mapped, const Variable<Scalar>& keys,
                          const AttentionOptions& options) const;
};

template <class Scalar>
GlobalAttention<Scalar>::GlobalAttention(const GlobalAttentionOptions& options, Rng& rng) : score(options.score) {
  check(options.query_width >= 0 && options.memory_width >= 0 && options.attention_width >= 0,
        "GlobalAttention: query_width is ", options.query_width, ", memory_width is ", options.memory_width,
        ", attention_width is ", options.attention_width, ", expected 0 or more");
  if (score == AlignmentScore::general) {
    query = Linear<Scalar>(options.query_width, options.memory_width, rng, false);
  } else if (score == AlignmentScore::additive) {
    const Index hidden = options.attention_width == 0 ? options.memory_width : options.attention_width;
    query = Linear<Scalar>(options.query_width, hidden, rng);
    key = Linear<Scalar>(options.memory_width, hidden, rng, false);
    v = xavier_uniform<Scalar>(1, hidden, rng);
  } else {
    check(options.query_width == options.memory_width, "GlobalAttention: query_width is ", options.query_width,
          ", memory_width is ", options.memory_width, ", expected equal widths for the score ", to_string(score));
  }
}

template <class Scalar>
Variable<Scalar> GlobalAttention<Scalar>::keys(const Context<Scalar>& context, const Variable<Scalar>& memory) const {
  return score == AlignmentScore::additive ? key(context, memory) : memory;
}

template <class Scalar>
Variable<Scalar> GlobalAttention<Scalar>::attend(const Context<Scalar>& context, const Variable<Scalar>& queries,
                                                 const Variable<Scalar>& keys, const Variable<Scalar>& memory,
                                                 AttentionOptions options) const {
  const Variable<Scalar> mapped = query.empty() ? queries : query(context, queries);
  if (score == AlignmentScore::dot || score == AlignmentScore::general) options.scale = 1;
  write_head_weights(context, mapped, keys, options);
  if (score == AlignmentScore::additive) {
    const auto [y, weights] = additive_attention_and_weights(
        context, mapped, keys, context.use(v), memory,
        {.query_rows = options.query_rows, .key_rows = options.key_rows, .key_pages = options.key_pages});
    if (context.attention != nullptr) {
      Tensor<Scalar> recorded({1, weights.rows(), weights.cols()});
      recorded.matrix(0) = weights.value();
      context.attention->record(this, std::move(recorded));
    }
    return y;
  }
  Variable<Scalar> y = attention(context, mapped, keys, memory, options);
  if (context.attention != nullptr) {
    options.threads = context.threads;
    context.attention->record(this, attention_weights(mapped.value(), keys.value(), Unmasked{}, options));
  }
  return y;
}

template <class Scalar>
void GlobalAttention<Scalar>::write_head_weights(const Context<Scalar>& context, const Variable<Scalar>& mapped,
                                                 const Variable<Scalar>& keys, const AttentionOptions& options) const {
  if (context.head_weights == nullptr || context.head_weights->layer != this || options.key_pages.has_value()) return;
  HeadWeights<Scalar>& wanted = *context.head_weights;
  check(wanted.head == 0, "GlobalAttention: head ", wanted.head, " does not exist, the layer has only head 0");
  if (score == AlignmentScore::additive)
    wanted.weights = differentiable_attention_weights(context, mapped, keys, context.use(v),
                                                      {.query_rows = options.query_rows, .key_rows = options.key_rows},
                                                      wanted.width);
  else
    wanted.weights = differentiable_attention_weights<Scalar>(context, {mapped, keys, {}}, {}, options, wanted.width);
}

EIGENFORMER_TEMPLATE(struct GlobalAttention);

}  // namespace eigenformer::inline EIGENFORMER_ABI
