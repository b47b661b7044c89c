// Recurrent sequence-to-sequence models: an encoder reads the source, and a recurrent decoder writes the target.
// SourceContext selects how the decoder sees the source.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/core/sequence_steps.hpp"
#include "eigenformer/layers/convolutional_encoder.hpp"
#include "eigenformer/layers/embedding.hpp"
#include "eigenformer/layers/encoder.hpp"
#include "eigenformer/layers/global_attention.hpp"
#include "eigenformer/layers/positions.hpp"
#include "eigenformer/layers/recurrent.hpp"
#include "eigenformer/models/recurrent_seq2seq_options.hpp"
#include "eigenformer/ops/cross_entropy.hpp"
#include "eigenformer/ops/pooling.hpp"
#include "eigenformer/text/tokens.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Everything that the decoder receives from the encoder.
template <class Scalar>
struct EncodedSource {
  Variable<Scalar> memory;               // h_j: [source tokens x hidden]
  RowOffsets rows;                       // sequences of the source
  Variable<Scalar> summary;              // C: [sequences x hidden]; used by SourceContext::every_step
  std::vector<Variable<Scalar>> states;  // initial state of each decoder layer: [sequences x state]
};

/// Inputs of one or more decoder steps of each sequence.
template <class Scalar>
struct RecurrentDecoderInputs {
  Variable<Scalar> embedded;             // y: [tokens x width]
  RowOffsets rows;                       // sequences of the tokens
  std::vector<Variable<Scalar>> states;  // of each layer before the first of these steps: [sequences x state]
  Variable<Scalar> summary{};            // C of each token: [tokens x hidden], for SourceContext::every_step
  Variable<Scalar> fed{};                // the previous step's output: [tokens x hidden], with input feeding
};

/// A recurrent sequence-to-sequence model. It is called, trained and decoded in the same way as a Transformer.
template <class Scalar>
struct RecurrentSeq2Seq {
  RecurrentSeq2SeqOptions options;
  Embedding<Scalar> source_embedding;
  Embedding<Scalar> target_embedding;  // empty: the source embedding serves both
  Positions<Scalar> positions;         // used if the encoder is not recurrent
  Recurrent<Scalar> encoder;           // only one of encoder, convolution and self_attention is set
  ConvolutionalEncoder<Scalar> convolution;
  Encoder<Scalar> self_attention;
  Linear<Scalar> bridge;  // mean of the encoder's output -> initial decoder states, if the encoder is not recurrent
  Recurrent<Scalar> decoder;
  GlobalAttention<Scalar> attention;  // used if options.context is attention
  Linear<Scalar> combine;             // W_c; empty: the decoder's output is used directly
  Linear<Scalar> generator;           // empty: the target embedding is the output layer
  Dropout<Scalar> dropout;

  RecurrentSeq2Seq() = default;
  /// Initialises all weights at random. Throws if the options are inconsistent.
  RecurrentSeq2Seq(const RecurrentSeq2SeqOptions& options, Rng& rng);

  /// Returns the logits of each next target token: [target tokens x target vocabulary size].
  /// target: the decoder's input, i.e. the begin token followed by the tokens so far.
  Variable<Scalar> operator()(const Context<Scalar>& context, const Tokens& source, const Tokens& target) const;

  /// Returns the loss [1 x 1] of predicting batch.next: the cross entropy of the logits. The matrix of all logits is
  /// never materialised, so this also works for large vocabularies.
  Variable<Scalar> loss(const Context<Scalar>& context, const TranslationBatch& batch,
                        const CrossEntropyOptions& loss_options = {}) const;

  /// Encodes the source sentences.
  EncodedSource<Scalar> encode(const Context<Scalar>& context, const Tokens& source) const;

  /// Returns the decoder's output, before the output layer: [target tokens x hidden]. Throws if target and source have
  /// different numbers of sequences.
  Variable<Scalar> decode(const Context<Scalar>& context, const Tokens& target,
                          const EncodedSource<Scalar>& source) const;

  /// Returns the embeddings of target tokens, after dropout: [tokens x width].
  Variable<Scalar> embed_target(const Context<Scalar>& context, std::span<const Token> tokens) const;

  /// Applies the output layer to rows of the decoder's output. x: [n x hidden] -> [n x target vocabulary size].
  Variable<Scalar> logits(const Context<Scalar>& context, const Variable<Scalar>& x) const;

  /// Runs the decoder for one or more steps of each sequence. Returns the output and each layer's last state.
  /// attend: maps the decoder's outputs h [tokens x hidden] to their contexts [tokens x hidden]; called only if
  /// options.context is attention.
  template <class Attend>
  RecurrentResult<Scalar> steps(const Context<Scalar>& context, const RecurrentDecoderInputs<Scalar>& in,
                                Attend&& attend) const {
    RecurrentResult<Scalar> result;
    steps(context, in, attend, result);
    return result;
  }
  /// Runs the decoder for one or more steps of each sequence. Writes the output and each layer's last state to
  /// `result`, and reuses its memory. attend: maps the decoder's outputs to their contexts, if options.context is
  /// attention.
  template <class Attend>
  void steps(const Context<Scalar>& context, const RecurrentDecoderInputs<Scalar>& in, Attend&& attend,
             RecurrentResult<Scalar>& result) const;

  bool feeds_input() const { return options.context == SourceContext::attention && options.input_feeding; }
  const Embedding<Scalar>& target_embedding_used() const {
    return target_embedding.empty() ? source_embedding : target_embedding;
  }

  /// Returns the weight of the output layer, [target vocabulary size x hidden]: the target embedding if tied.
  const Parameter<Scalar>& output_weight() const {
    return generator.empty() ? target_embedding_used().weight : generator.weight;
  }

  static void visit(auto& self, auto&& visitor) {
    visitor("source_embedding", self.source_embedding);
    visitor("target_embedding", self.target_embedding);
    visitor("positions", self.positions);
    visitor("encoder", self.encoder);
    visitor("convolution", self.convolution);
    visitor("self_attention", self.self_attention);
    visitor("bridge", self.bridge);
    visitor("decoder", self.decoder);
    visitor("attention", self.attention);
    visitor("combine", self.combine);
    visitor("generator", self.generator);
  }

 private:
  Variable<Scalar> decode_step_by_step(const Context<Scalar>& context, const Variable<Scalar>& embedded,
                                       const RowOffsets& rows, const EncodedSource<Scalar>& source) const;
};

template <class Scalar>
RecurrentSeq2Seq<Scalar>::RecurrentSeq2Seq(const RecurrentSeq2SeqOptions& chosen, Rng& rng)
    : options(chosen), dropout{chosen.dropout} {
  detail::check_options(options);
  source_embedding = Embedding<Scalar>(options.source_vocabulary_size, options.width, rng);
  if (!options.share_embeddings)
    target_embedding = Embedding<Scalar>(options.target_vocabulary_size, options.width, rng);
  switch (options.encoder) {
    case SourceEncoder::recurrent:
      encoder = Recurrent<Scalar>(options.recurrent_encoder(), rng);
      break;
    case SourceEncoder::convolution:
      convolution = ConvolutionalEncoder<Scalar>(
          {.num_layers = options.num_encoder_layers,
           .layer = {.width = options.hidden, .kernel = options.kernel, .dropout = options.dropout}},
          rng);
      break;
    case SourceEncoder::self_attention:
      self_attention = Encoder<Scalar>(options.self_attention_layer(), options.num_encoder_layers, rng);
      break;
  }
  const bool attends = options.context == SourceContext::attention;
  const bool every_step = options.context == SourceContext::every_step;
  decoder = Recurrent<Scalar>(options.recurrent_decoder(), rng);
  if (options.encoder != SourceEncoder::recurrent) {
    positions = Positions<Scalar>(PositionEncoding::sinusoidal, options.max_length, options.width, rng);
    bridge = Linear<Scalar>(options.hidden, options.num_decoder_layers * decoder.state_width(), rng);
  }
  if (attends) {
    attention = GlobalAttention<Scalar>(
        {.query_width = options.hidden, .memory_width = options.hidden, .score = options.score}, rng);
    combine = Linear<Scalar>(2 * options.hidden, options.hidden, rng);
  }
  if (every_step) combine = Linear<Scalar>(2 * options.hidden + options.width, options.hidden, rng);
  if (!options.tie_output) generator = Linear<Scalar>(options.hidden, options.target_vocabulary_size, rng);
}

template <class Scalar>
EncodedSource<Scalar> RecurrentSeq2Seq<Scalar>::encode(const Context<Scalar>& context, const Tokens& source) const {
  EncodedSource<Scalar> encoded;
  encoded.rows = source.rows.for_rows(static_cast<Index>(source.ids.size()), "RecurrentSeq2Seq", "source");
  Variable<Scalar> x = source_embedding(context, source.ids);
  if (options.encoder == SourceEncoder::recurrent) {
    RecurrentResult<Scalar> result = encoder(context, dropout(context, x), encoded.rows);
    encoded.memory = result.output;
    // If the encoder has more layers than the decoder, the states of its last layers are used.
    encoded.states.assign(result.states.end() - options.num_decoder_layers, result.states.end());
    encoded.summary = columns(context, encoded.states.back(), 0, options.hidden);
  } else {
    x = dropout(context,
                positions(context, scale(context, x, std::sqrt(static_cast<Scalar>(options.width))), encoded.rows));
    encoded.memory = options.encoder == SourceEncoder::convolution ? convolution(context, x, encoded.rows)
                                                                   : self_attention(context, x, encoded.rows);
    encoded.summary = pool_sequences(context, Pooling::mean, encoded.memory, encoded.rows);
    const Variable<Scalar> states = tanh(context, bridge(context, encoded.summary));
    for (Index i = 0; i < options.num_decoder_layers; ++i)
      encoded.states.push_back(columns(context, states, i * decoder.state_width(), decoder.state_width()));
  }
  return encoded;
}

template <class Scalar>
Variable<Scalar> RecurrentSeq2Seq<Scalar>::embed_target(const Context<Scalar>& context,
                                                        std::span<const Token> tokens) const {
  return dropout(context, target_embedding_used()(context, tokens));
}

template <class Scalar>
template <class Attend>
void RecurrentSeq2Seq<Scalar>::steps(const Context<Scalar>& context, const RecurrentDecoderInputs<Scalar>& in,
                                     Attend&& attend, RecurrentResult<Scalar>& result) const {
  Variable<Scalar> input = in.embedded;
  if (options.context == SourceContext::every_step) input = concat_columns(context, input, in.summary);
  if (feeds_input()) input = concat_columns(context, input, in.fed);
  decoder.run(context, input, in.rows, in.states, result);
  if (options.context == SourceContext::attention)
    result.output = tanh(context, combine(context, concat_columns(context, attend(result.output), result.output)));
  if (options.context == SourceContext::every_step)
    result.output = tanh(
        context,
        combine(context, concat_columns(context, concat_columns(context, result.output, in.embedded), in.summary)));
  result.output = dropout(context, result.output);
}

template <class Scalar>
Variable<Scalar> RecurrentSeq2Seq<Scalar>::decode(const Context<Scalar>& context, const Tokens& target,
                                                  const EncodedSource<Scalar>& source) const {
  const Variable<Scalar> embedded = embed_target(context, target.ids);
  const RowOffsets rows = target.rows.for_rows(embedded.rows(), "RecurrentSeq2Seq", "target");
  check(rows.sequences() == source.rows.sequences(), "RecurrentSeq2Seq: the target has ", rows.sequences(),
        " sequences, the source ", source.rows.sequences());
  if (feeds_input()) return decode_step_by_step(context, embedded, rows, source);
  Variable<Scalar> summary;
  if (options.context == SourceContext::every_step) {
    std::vector<Index> sequence_of_row;
    for (Index s = 0; s < rows.sequences(); ++s)
      sequence_of_row.insert(sequence_of_row.end(), static_cast<std::size_t>(rows.length(s)), s);
    summary = gather_rows(context, source.summary, sequence_of_row);
  }
  const auto attend = [&](const Variable<Scalar>& h) {
    return attention(context, h, attention.keys(context, source.memory), source.memory, rows, source.rows);
  };
  const RecurrentDecoderInputs<Scalar> in{
      .embedded = embedded, .rows = rows, .states = source.states, .summary = std::move(summary)};
  return steps(context, in, attend).output;
}

// Decodes with input feeding: each step reads the previous step's output. Sequences are sorted by decreasing length, so
// that at every step the unfinished sequences, and the memory rows of their sources, come first.
template <class Scalar>
Variable<Scalar> RecurrentSeq2Seq<Scalar>::decode_step_by_step(const Context<Scalar>& context,
                                                               const Variable<Scalar>& embedded, const RowOffsets& rows,
                                                               const EncodedSource<Scalar>& source) const {
  const std::vector<Index> order = sequences_by_length(rows);
  const SequenceSteps sequences(rows, order);
  std::vector<Index> source_rows, source_lengths, target_rows;
  for (const Index s : order) {
    source_lengths.push_back(source.rows.length(s));
    for (Index row = source.rows.begin(s); row < source.rows.end(s); ++row) source_rows.push_back(row);
  }
  sequences.for_each_step([&](Index t, Index active) {
    for (Index i = 0; i < active; ++i) target_rows.push_back(sequences.row(i, t));
  });
  const Variable<Scalar> inputs = gather_rows(context, embedded, target_rows);
  const Variable<Scalar> memory = gather_rows(context, source.memory, source_rows);
  const Variable<Scalar> keys = attention.keys(context, memory);
  std::vector<Variable<Scalar>> states;
  for (const Variable<Scalar>& state : source.states) states.push_back(gather_rows(context, state, order));

  // Each step records only its own attention weights; here they are gathered into one tensor.
  Context<Scalar> step_context = context;
  AttentionRecorder<Scalar> recorder;
  Tensor<Scalar> weights({1, rows.rows(), source.rows.max_length()});
  if (context.attention != nullptr) step_context.attention = &recorder;
  HeadWeights<Scalar> of_step;
  std::vector<Variable<Scalar>> head_weights;  // of each step
  const bool gives_weights = context.head_weights != nullptr && context.head_weights->layer == &attention;
  if (gives_weights) {
    of_step = *context.head_weights;
    of_step.width = std::max<Index>(of_step.width, source.rows.max_length());
    step_context.head_weights = &of_step;
  }

  Variable<Scalar> fed(Matrix<Scalar>::Zero(rows.sequences(), options.hidden));
  std::vector<Variable<Scalar>> outputs;
  Index first = 0;
  sequences.for_each_step([&](Index t, Index active) {
    const RowOffsets one_each = RowOffsets::from_lengths(std::vector<Index>(static_cast<std::size_t>(active), 1));
    const RowOffsets memory_rows =
        RowOffsets::from_lengths(std::span(source_lengths).first(static_cast<std::size_t>(active)));
    const auto top = [&](const Variable<Scalar>& x, Index count) { return slice_rows(context, x, 0, count); };
    for (Variable<Scalar>& state : states) state = top(state, active);
    const auto attend = [&](const Variable<Scalar>& h) {
      return attention(step_context, h, top(keys, memory_rows.rows()), top(memory, memory_rows.rows()), one_each,
                       memory_rows);
    };
    RecurrentResult<Scalar> step = steps(step_context,
                                         {.embedded = slice_rows(context, inputs, first, active),
                                          .rows = one_each,
                                          .states = std::move(states),
                                          .fed = top(fed, active)},
                                         attend);
    if (context.attention != nullptr) {
      const Tensor<Scalar>& recorded = recorder.weights(attention);
      for (Index i = 0; i < active; ++i)
        weights.matrix(0).row(sequences.row(i, t)).head(recorded.dimension(2)) = recorded.matrix(0).row(i);
    }
    if (gives_weights) head_weights.push_back(std::move(of_step.weights));
    states = std::move(step.states);
    fed = step.output;
    outputs.push_back(std::move(step.output));
    first += active;
  });
  if (context.attention != nullptr) context.attention->record(&attention, std::move(weights));
  if (outputs.empty()) return context.new_matrix(0, options.hidden);
  std::vector<Index> place(target_rows.size());
  for (std::size_t i = 0; i < place.size(); ++i)
    place[static_cast<std::size_t>(target_rows[i])] = static_cast<Index>(i);
  if (gives_weights)
    context.head_weights->weights = gather_rows(context, concat_rows(context, std::move(head_weights)), place);
  return gather_rows(context, concat_rows(context, std::move(outputs)), place);
}

template <class Scalar>
Variable<Scalar> RecurrentSeq2Seq<Scalar>::operator()(const Context<Scalar>& context, const Tokens& source,
                                                      const Tokens& target) const {
  return logits(context, decode(context, target, encode(context, source)));
}

template <class Scalar>
Variable<Scalar> RecurrentSeq2Seq<Scalar>::logits(const Context<Scalar>& context, const Variable<Scalar>& x) const {
  return linear(context, x, output_weight(), generator.bias);
}

template <class Scalar>
Variable<Scalar> RecurrentSeq2Seq<Scalar>::loss(const Context<Scalar>& context, const TranslationBatch& batch,
                                                const CrossEntropyOptions& loss_options) const {
  const Variable<Scalar> x = decode(context, batch.target, encode(context, batch.source));
  return linear_cross_entropy(context, x, output_weight(), generator.bias, batch.next, loss_options);
}

EIGENFORMER_TEMPLATE(struct RecurrentSeq2Seq);

}  // namespace eigenformer::inline EIGENFORMER_ABI
