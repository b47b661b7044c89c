// What the subcommands share.
#pragma once

#include <csignal>
#include <filesystem>
#include <string>

#include "eigenformer/models/translation_model.hpp"

namespace translate {

namespace ef = eigenformer;
using Model = ef::TranslationModel<float>;

/// The most tokens of a sentence that the model takes.
inline ef::Index max_length(const Model& model) {
  return std::visit([](const auto& network) { return network.options.max_length; }, model.network);
}

/// Set by Ctrl-C: whoever works for long looks at it, saves, and returns.
extern volatile std::sig_atomic_t interrupted;

/// Reading and writing a model folder; see io/translation_model.hpp. (A file of its own, so that JSON is compiled
/// once.)
Model load_model(const std::filesystem::path& folder);
void check_saving(const std::filesystem::path& folder);
void save_model(const std::filesystem::path& folder, const Model& model);

// The subcommands. Each throws ef::Error, which main() turns into one line on stderr and exit code 1.

struct DemoArguments {
  std::uint64_t seed = 1;
  int threads = 0;
  std::string svg = "attention.svg";
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
  ef::Index width = 0;   // 0: the preset's
  ef::Index layers = 0;  // 0: the preset's
  std::string positions = "sinusoidal";
  std::string context = "attention", score = "additive", encoder = "recurrent", cell = "gru";  // of a recurrent model
  bool input_feeding = true;
  std::string tokens, source_tokens, target_tokens;  // empty: by the text
  double minutes = 0;
  ef::Index epochs = 0;
  ef::Index updates = 0;
  ef::Index batch_tokens = 2048;
  ef::Index min_count = 2;
  ef::Index max_length = 256;
  double rate = 0;      // 0: the preset's
  double dropout = -1;  // below 0: the preset's
  std::uint64_t seed = 1;
  int threads = 0;
};
void train(const TrainArguments& arguments);

struct RunArguments {
  std::string model;
  int threads = 0;
};
void run(const RunArguments& arguments);

struct EvaluateArguments {
  std::string model, source, reference;
  std::string alignments;  // of source and reference, in Pharaoh's format; empty: none
  int layer = 0;           // as in AlignArguments
  int head = 0;
  int threads = 0;
};
void evaluate(const EvaluateArguments& arguments);

struct AlignArguments {
  std::string model, source, target, svg;
  std::string reading = "attention";
  std::string view = "heat_map";
  int layer = 0;  // counted from 1; 0: the last
  int head = 0;   // counted from 1; 0: the mean over all
};
void align(const AlignArguments& arguments);

}  // namespace translate
