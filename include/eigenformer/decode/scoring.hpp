// Scores given translations: the log-probability that a model assigns to each of their tokens.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/kernels/cross_entropy.hpp"
#include "eigenformer/text/token_batches.hpp"
#include "eigenformer/text/tokens.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct ScoringOptions {
  // Maximum number of tokens on either side of a batch, which limits the memory for logits. A longer sentence raises it
  // to its own length.
  Index max_batch_size = 1024;
  Token begin_token = Vocabulary::begin;
  Token end_token = Vocabulary::end;
};

/// The score of one target sentence.
struct ScoringResult {
  std::vector<double> token_log_probabilities;  // of each target token, then of the end token
  double log_probability = 0;                   // their sum
};

/// Returns exp(-mean log-probability) of all tokens, end tokens included; 1 if there are no tokens.
inline double perplexity(std::span<const ScoringResult> results) {
  double sum = 0;
  std::size_t tokens = 0;
  for (const ScoringResult& result : results) {
    sum += result.log_probability;
    tokens += result.token_log_probabilities.size();
  }
  return tokens == 0 ? 1 : std::exp(-sum / static_cast<double>(tokens));
}

/// Returns the score of each target sentence, given its source sentence. The model reads whole targets at once, as in
/// training, batch by batch. A result does not depend on the batch.
///
/// model: a Transformer, a RecurrentSeq2Seq, or any class template whose model(context, source, target) returns logits.
/// sources: with end tokens, as the model takes them. targets: without begin and end tokens. Throws if their numbers
/// differ, if max_batch_size is below 1, if the context has a tape, or if logits are NaN.
template <template <class> class Model, class Scalar>
std::vector<ScoringResult> score_tokens(const Model<Scalar>& model, const Tokens& sources, const Tokens& targets,
                                        const ScoringOptions& options = {},
                                        const std::type_identity_t<Context<Scalar>>& context = {}) {
  check(sources.sequences() == targets.sequences(), "score_tokens: ", sources.sequences(), " sources, ",
        targets.sequences(), " targets");
  check(options.max_batch_size >= 1, "score_tokens: max_batch_size is ", options.max_batch_size,
        ", expected 1 or more");
  check(context.tape == nullptr, "score_tokens: the context has a tape; scoring records nothing");
  std::vector<Index> source_lengths, target_lengths;
  Index max_tokens = options.max_batch_size;
  for (Index i = 0; i < sources.sequences(); ++i) {
    source_lengths.push_back(static_cast<Index>(sources[i].size()));
    target_lengths.push_back(static_cast<Index>(targets[i].size()) + 1);
    max_tokens = std::max<Index>(max_tokens, std::max<Index>(source_lengths.back(), target_lengths.back()));
  }
  std::vector<ScoringResult> results(source_lengths.size());
  for (const std::vector<Index>& batch : token_batches(source_lengths, target_lengths, max_tokens)) {
    std::vector<std::vector<Token>> batch_sources, inputs;
    std::vector<Token> labels;
    for (const Index sentence : batch) {
      const std::span<const Token> source = sources[sentence], target = targets[sentence];
      batch_sources.emplace_back(source.begin(), source.end());
      inputs.emplace_back(1, options.begin_token);
      inputs.back().insert(inputs.back().end(), target.begin(), target.end());
      labels.insert(labels.end(), target.begin(), target.end());
      labels.push_back(options.end_token);
    }
    const Variable<Scalar> logits = model(context, Tokens::of(batch_sources), Tokens::of(inputs));
    const Matrix<Scalar> losses = cross_entropy_rows(logits.value(), labels, {}, context.threads);
    Index row = 0;
    for (const Index sentence : batch) {
      ScoringResult& result = results[static_cast<std::size_t>(sentence)];
      for (Index i = 0; i < target_lengths[static_cast<std::size_t>(sentence)]; ++i) {
        const auto log_probability = static_cast<double>(-losses(row++, 0));
        check(detail::is_finite(log_probability) || detail::is_minus_infinity(log_probability),
              "score_tokens: the logits of token ", i, " of sentence ", sentence, " are not finite");
        result.token_log_probabilities.push_back(log_probability);
        result.log_probability += log_probability;
      }
    }
  }
  return results;
}

/// Returns the score of each target sentence under a Seq2Seq, or another variant of models. Arguments and errors are
/// those of the overload for one model.
template <template <class> class... Models, class Scalar>
std::vector<ScoringResult> score_tokens(const std::variant<Models<Scalar>...>& model, const Tokens& sources,
                                        const Tokens& targets, const ScoringOptions& options = {},
                                        const std::type_identity_t<Context<Scalar>>& context = {}) {
  return std::visit([&](const auto& network) { return score_tokens(network, sources, targets, options, context); },
                    model);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
