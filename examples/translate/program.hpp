// Declarations that the subcommands share.
#pragma once

#include <array>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "eigenformer/decode/options.hpp"
#include "eigenformer/models/translation_model.hpp"
#include "eigenformer/train/ranks.hpp"
#include "translate/decoding_names.hpp"

namespace translate {

namespace ef = eigenformer;
using Model = ef::TranslationModel<float>;

/// Returns the maximum sentence length of the model, in tokens.
inline ef::Index max_length(const Model& model) {
  return std::visit([](const auto& network) { return network.options.max_length; }, model.network);
}

/// Throws if a sentence has more tokens than the model takes. where: names the sentence in the message.
inline void check_sentence_length(std::size_t tokens, const Model& model, const std::string& where) {
  const ef::Index limit = max_length(model) - 1;  // the end token needs one place
  ef::check(static_cast<ef::Index>(tokens) <= limit, where, ": the sentence has ", tokens,
            " tokens, the model's limit is ", limit);
}

/// Non-zero after a signal that the subcommand watches, such as Ctrl-C. Training checks it, saves, and returns; the
/// server checks it and ends.
extern volatile std::sig_atomic_t interrupted;

/// Makes Ctrl-C, SIGTERM and SIGHUP remove a folder, if it is empty, before they end the program. Holds until
/// watch_signals_of_training(). Does nothing on Windows, where the folder is not empty while it is locked.
void remove_if_interrupted(const std::filesystem::path& folder);

/// Makes Ctrl-C, SIGTERM and SIGHUP set `interrupted`, and makes writing to a closed pipe an error. Call it before the
/// first update: earlier signals end the program. Signals that were ignored at the start stay ignored.
void watch_signals_of_training();

// Model folders; see io/translation_model.hpp.

/// The file with the quality of the saved model, a KeptModel in JSON.
inline constexpr const char* quality_file = "quality.json";

/// The files that save_model replaces.
inline constexpr std::array<const char*, 8> saved_files{
    "config.json", "model.safetensors", "source_vocabulary.txt", "target_vocabulary.txt",
    "source.spm",  "target.spm",        "training.json",         quality_file};

/// Loads a model. Throws if the folder does not hold one.
Model load_model(const std::filesystem::path& folder);
/// Throws if a model cannot be saved in the folder.
void check_saving(const std::filesystem::path& folder);
/// Saves a model in the folder, together with the options of its run and its quality as JSON.
void save_model(const std::filesystem::path& folder, const Model& model, const std::string& training_json,
                const std::string& quality_json);

// The subcommands. Each throws ef::Error on failure; main() prints it as one line on stderr and exits with 1.

struct DemoArguments {
  std::uint64_t seed = 1;
  int threads = 0;
  std::string svg = "attention.svg";
  std::string precision = "float32";
};
void demo(const DemoArguments& arguments);

struct CompareArguments {
  std::uint64_t seed = 1;
  int threads = 0;
  ef::Index epochs = 30;
};
void compare(const CompareArguments& arguments);

struct TrainArguments {
  std::string pairs, source, target;
  std::string valid_pairs, valid_source, valid_target;
  std::string out;
  std::string model = "transformer";
  std::string preset = "tiny";
  ef::Index width = 0;         // 0: the preset's
  ef::Index layers = 0;        // 0: the preset's
  ef::Index heads = 0;         // 0: the preset's
  ef::Index feed_forward = 0;  // 0: the preset's multiple of the width
  bool norm_first = true;
  std::string positions = "sinusoidal";
  std::string context = "attention", score = "additive", encoder = "recurrent", cell = "gru";  // recurrent models only
  bool input_feeding = true;
  std::string tokens, source_tokens, target_tokens;  // empty: guessed from the text
  struct SubwordSide {
    ef::Index size = 0;  // of the vocabulary to learn; 0: none
    std::string model;   // a SentencePiece model file; empty: none
  };
  SubwordSide subwords, source_subwords, target_subwords;  // of both languages, or of one
  std::string subword_type = "unigram";
  bool joint_vocabulary = false;
  double subword_sampling = 0;  // alpha of unigram models; 0: no random splits
  ef::Index subword_n_best = 0;
  double bpe_dropout = 0;
  double minutes = -1;  // below 0: not given; the program then sets 20, or 0 if there is another limit
  ef::Index epochs = 0;
  ef::Index updates = 0;
  ef::Index batch_tokens = 2048;
  ef::Index shuffle_buffer = 1'000'000;  // pairs
  ef::Index min_count = 2;
  ef::Index max_length = 256;
  double rate = 0;      // 0: the preset's
  double dropout = -1;  // below 0: the preset's
  double label_smoothing = 0.1;
  std::uint64_t seed = 1;
  int threads = 0;
  bool resume = false;                // continue from the newest checkpoint in `out`
  ef::Index checkpoint_every = 1000;  // updates
  ef::Index keep = 2;                 // checkpoints
  ef::Index accumulate = 1;           // batches per update, of all ranks together
  bool checkpoint_activations = false;
  std::string schedule = "inverse_square_root";
  ef::Index warmup = 0;  // updates; 0: the preset's
  std::string optimizer = "adam";
  std::string precision = "float32";                                               // of products
  double weight_decay = -1;                                                        // below 0: the optimiser's
  double embedding_dropout = -1, attention_dropout = -1, activation_dropout = -1;  // below 0: `dropout`
  std::vector<std::string> freeze;                                                 // patterns of parameter names
  std::string init;                 // folder of a model that training starts from; empty: random weights
  double ema = 0;                   // decay of the average of the parameters; 0: none
  ef::Index average = 0;            // number of checkpoints whose average is validated at the end; 0: none
  std::string average_of = "last";  // the checkpoints to average: "last" or "best"
  ef::Index validate_every = 0;     // updates between validations; 0: 20 over the budget
  ef::Index patience = 0;           // validations without improvement; 0: no early stopping
  std::string stop_metric = "bleu";
  struct GuidedAlignment {
    std::string links;    // a file of links between the pairs' tokens, in Pharaoh's format; empty: none
    double weight = 0.1;  // of the alignment loss
    ef::Index layer = 0;  // of the decoder, from 1; 0: the second to last
    ef::Index head = 0;   // of the layer, from 1; 0: the first
  } guided_alignment;
  std::string config;  // file of options in JSON
  std::string log;     // CSV file of updates and validations
  std::string plot;    // SVG file of the course of the run
};
/// Trains a model, or continues a run, and saves it to arguments.out. ranks: the processes that train the model
/// together; null: this one alone.
void train(const TrainArguments& arguments, ef::Ranks* ranks);

/// How `run`, `evaluate` and `serve` decode.
struct DecodingArguments {
  /// max_decoding_length 0: the model's limit. A translation rarely has more than twice the tokens of its source, or
  /// four times from words to characters.
  ef::DecodingOptions options{.beam_size = 1,
                              .max_decoding_length = 0,
                              .max_length_a = 4,
                              .max_length_b = 20,
                              .max_batch_size = 2048,
                              .batch_type = ef::BatchType::tokens};
  std::vector<std::string> suppress;      // texts that no translation contains
  std::vector<std::string> end_tokens;    // tokens that end a translation; empty: </s>
  std::optional<ef::WeightType> weights;  // type of the packed weights; nullopt: float32, without a report
  DecodingNames names;                    // of the options, in messages
};

struct RunArguments {
  std::string model, target_prefix;
  DecodingArguments decoding;
  bool scores = false;
  bool stream = false;  // prints a translation token by token
  int threads = 0;
};
void run(const RunArguments& arguments);

struct ScoreArguments {
  std::string model, source, target;
  bool tokens = false;
  ef::Index batch_tokens = 1024;
  int threads = 0;
};
void score(const ScoreArguments& arguments);

struct EvaluateArguments {
  std::string model, source, reference;
  std::string alignments;  // a file of links between source and reference, in Pharaoh's format; empty: none
  DecodingArguments decoding;
  int layer = 0;  // see AlignArguments
  int head = 0;
  int threads = 0;
};
void evaluate(const EvaluateArguments& arguments);

struct AlignArguments {
  std::string model, source, target, svg;
  std::string reading = "attention";
  std::string view = "heat_map";
  int layer = 0;  // from 1; 0: see attention_between
  int head = 0;   // from 1; 0: see attention_between
};
void align(const AlignArguments& arguments);

/// The limits of `serve`, which keep one client from blocking the others.
struct ServeLimits {
  ef::Index max_body = 262'144;         // bytes of a request
  ef::Index max_sentences = 64;         // of a request
  ef::Index max_beam_size = 16;         // also of num_hypotheses
  ef::Index max_waiting = 256;          // requests
  ef::Index max_connections = 128;      // open at once
  ef::Index max_models = 2;             // in memory
  ef::Index max_influence = 128;        // source tokens whose influence is computed
  ef::Index max_attention = 5'000'000;  // attention weights of an answer; each needs about 60 bytes
  ef::Index batch_tokens = 16'384;      // source and target tokens of all hypotheses that are decoded at once
  double client_seconds = 10;           // in which a client must send its request; its longest pause in the answer
  double decode_seconds = 60;           // of one request
};

struct ServeArguments {
  std::string model;
  std::string host = "127.0.0.1";
  int port = 8080;                       // 0: any free port
  std::vector<std::string> allow_hosts;  // names of this server besides localhost and `host`; see AllowedHosts
  std::optional<ef::WeightType> weights;
  int threads = 0;
  ServeLimits limits;
};
void serve(const ServeArguments& arguments);

}  // namespace translate
