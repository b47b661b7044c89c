// Attention of a recurrent decoder over the states of its encoder: "global attention" (Luong, Pham and Manning 2015,
// "Effective Approaches to Attention-based Neural Machine Translation", arXiv 1508.04025, section 3.1), with the scores
// of that paper's equation 8, of Vaswani et al. 2017 and of Bahdanau et al. 2015 (arXiv 1409.0473).
#pragma once

#include <optional>
#include <span>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/kernels/attention_weights.hpp"
#include "eigenformer/layers/attention_recorder.hpp"
#include "eigenformer/layers/indexed_keys.hpp"
#include "eigenformer/layers/linear.hpp"
#include "eigenformer/ops/additive_attention.hpp"
#include "eigenformer/ops/attention.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// How a decoder state H is scored with an encoder state h.
enum class AlignmentScore {
  dot,         // H . h
  general,     // H^T W h
  scaled_dot,  // H . h / sqrt(width)
  additive     // v^T tanh(W H + b + U h): Bahdanau's, which Luong et al. call "concat"
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
  Index attention_width = 0;  // of additive's hidden layer; 0: memory_width
};

/// a_ij = softmax over j of score(query_i, memory_j), context_i = sum_j a_ij memory_j: each query's own summary of the
/// memory of its sequence. Queries may be one step's states or all steps' at once.
template <class Scalar>
struct GlobalAttention {
  Linear<Scalar> query;  // general: query_width -> memory_width, no bias; additive: query_width -> attention_width
  Linear<Scalar> key;    // additive: memory_width -> attention_width, no bias
  Parameter<Scalar> v;   // additive: [1 x attention_width]
  AlignmentScore score = AlignmentScore::dot;

  GlobalAttention() = default;
  GlobalAttention(const GlobalAttentionOptions& options, Rng& rng);

  /// What is computed once a sentence: U h for the additive score, the memory itself for the others.
  Variable<Scalar> keys(const Context<Scalar>& context, const Variable<Scalar>& memory) const;

  /// queries: [queries x query_width], memory: [words x memory_width], keys: of that memory -> the contexts,
  /// [queries x memory_width]. The weights go to the context's recorder as [1 x queries x words of the longest
  /// sequence].
  Variable<Scalar> operator()(const Context<Scalar>& context, const Variable<Scalar>& queries,
                              const Variable<Scalar>& keys, const Variable<Scalar>& memory,
                              const RowOffsets& query_rows = {}, const RowOffsets& memory_rows = {}) const {
    return attend_by_index(context, queries, keys, memory, {.query_rows = query_rows, .key_rows = memory_rows});
  }

  /// For decoding, where hypotheses of one sentence share its memory: `rows` names the rows of keys and memory that
  /// each sees. Not for a context that records.
  Variable<Scalar> attend_by_index(const Context<Scalar>& context, const Variable<Scalar>& queries,
                                   const Variable<Scalar>& keys, const Variable<Scalar>& memory,
                                   const IndexedKeys& rows) const;

  static void visit(auto& self, auto&& visitor) {
    visitor("query", self.query);
    visitor("key", self.key);
    visitor("v", self.v);
  }
};

template <class Scalar>
GlobalAttention<Scalar>::GlobalAttention(const GlobalAttentionOptions& options, Rng& rng) : score(options.score) {
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
Variable<Scalar> GlobalAttention<Scalar>::attend_by_index(const Context<Scalar>& context,
                                                          const Variable<Scalar>& queries, const Variable<Scalar>& keys,
                                                          const Variable<Scalar>& memory,
                                                          const IndexedKeys& rows) const {
  const Variable<Scalar> mapped = query.empty() ? queries : query(context, queries);
  if (score == AlignmentScore::additive) {
    const auto [y, weights] = additive_attention_and_weights(
        context, mapped, keys, context.use(v), memory,
        {.query_rows = rows.query_rows, .key_rows = rows.key_rows, .key_index = rows.key_index});
    if (context.attention != nullptr) {
      Tensor<Scalar, 3> recorded({1, weights.rows(), weights.cols()});
      recorded.matrix(0) = weights.value();
      context.attention->record(this, std::move(recorded));
    }
    return y;
  }
  AttentionOptions options{.query_rows = rows.query_rows, .key_rows = rows.key_rows, .key_index = rows.key_index};
  if (score != AlignmentScore::scaled_dot) options.scale = 1;
  Variable<Scalar> y = attention(context, mapped, keys, memory, options);
  if (context.attention != nullptr) {
    options.threads = context.threads;
    context.attention->record(this, attention_weights(mapped.value(), keys.value(), Unmasked{}, options));
  }
  return y;
}

EIGENFORMER_TEMPLATE(struct GlobalAttention);

}  // namespace eigenformer::inline EIGENFORMER_ABI
