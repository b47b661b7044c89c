// What the subcommands share.
#pragma once

#include <csignal>
#include <filesystem>
#include <string>

#include "eigenformer/models/translation_model.hpp"

namespace translate {

namespace ef = eigenformer;
using Model = ef::TranslationModel<float>;

/// Set by Ctrl-C: whoever works for long looks at it, saves, and returns.
extern volatile std::sig_atomic_t interrupted;

/// Reading and writing a model folder; see io/translation_model.hpp. (A file of its own, so that JSON is compiled
/// once.)
Model load_model(const std::filesystem::path& folder);
void save_model(const std::filesystem::path& folder, const Model& model);

// The subcommands. Each throws ef::Error, which main() turns into one line on stderr and exit code 1.

struct DemoArguments {
  std::uint64_t seed = 1;
  int threads = 0;
  std::string svg = "attention.svg";
};
void demo(const DemoArguments& arguments);

struct TrainArguments {
  std::string pairs, source, target;
  std::string valid_pairs, valid_source, valid_target;
  std::string out;
  std::string preset = "tiny";
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
  int threads = 0;
};
void evaluate(const EvaluateArguments& arguments);

struct AlignArguments {
  std::string model, source, target, svg;
  int layer = 0;  // counted from 1; 0: the last
  int head = 0;   // counted from 1; 0: the mean over all
};
void align(const AlignArguments& arguments);

}  // namespace translate
