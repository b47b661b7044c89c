#include "translate/model_options.hpp"

#include <string>
#include <vector>

#include "translate/validators.hpp"

namespace translate {

void add_model_options(CLI::App* command, TrainArguments& arguments) {
  const auto add_choice = [&](const char* name, std::string& choice, const std::vector<std::string>& choices,
                              const char* help) {
    command->add_option(name, choice, help)->check(CLI::IsMember(choices))->capture_default_str();
  };
  add_choice("--model", arguments.model, {"transformer", "recurrent"}, "kind of model");
  add_choice("--preset", arguments.preset, {"tiny", "base"},
             "tiny: 4 layers of width 128 (recurrent: 1 of 256); base: 6 layers of width 512 (recurrent: 2 of 512)");
  command->add_option("--width", arguments.width, "width of the layers (default: from the preset)")
      ->check(whole_in(1, 8192));
  command->add_option("--layers", arguments.layers, "layers in encoder and decoder each (default: from the preset)")
      ->check(whole_in(1, 100));
  command
      ->add_option("--heads", arguments.heads,
                   "attention heads of a Transformer or of --encoder self_attention (default: tiny 4, base 8)")
      ->check(whole_in(1, 1024));
  command
      ->add_option("--feed-forward", arguments.feed_forward,
                   "hidden width of a Transformer's feed-forward layers (default: tiny 2, base 4 times the width)")
      ->check(whole_in(1, 65'536));
  command->add_flag(
      "--norm-first,!--post-norm", arguments.norm_first,
      "Transformer: normalise the input of each sub-layer (default), or the sum after it as in the paper");
  add_choice("--positions", arguments.positions, names_of<ef::PositionEncoding>(),
             "position encoding of a Transformer");
  add_choice("--context", arguments.context, names_of<ef::SourceContext>(), "how a recurrent decoder reads the source");
  add_choice("--score", arguments.score, names_of<ef::AlignmentScore>(), "attention score of a recurrent model");
  command->add_flag("--input-feeding,!--no-input-feeding", arguments.input_feeding,
                    "recurrent attention: feed each output to the next step (default: yes)");
  add_choice("--encoder", arguments.encoder, names_of<ef::SourceEncoder>(), "encoder of a recurrent model");
  add_choice("--cell", arguments.cell, names_of<ef::RecurrentCell>(), "cell of recurrent layers");
}

void check_model_options(const CLI::App& command, const TrainArguments& arguments) {
  const TrainArguments defaults;
  const bool is_transformer = arguments.model == "transformer";
  const auto refuse = [&](const char* name, bool is_default, const char* needed) {
    ef::check(is_default && command.count(name) == 0, name, ": needs ", needed);
  };
  if (is_transformer) {
    constexpr const char* recurrent = "--model recurrent";
    refuse("--context", arguments.context == defaults.context, recurrent);
    refuse("--score", arguments.score == defaults.score, recurrent);
    refuse("--input-feeding", arguments.input_feeding == defaults.input_feeding, recurrent);
    refuse("--encoder", arguments.encoder == defaults.encoder, recurrent);
    refuse("--cell", arguments.cell == defaults.cell, recurrent);
    return;
  }
  constexpr const char* transformer = "--model transformer";
  refuse("--feed-forward", arguments.feed_forward == defaults.feed_forward, transformer);
  refuse("--norm-first", arguments.norm_first == defaults.norm_first, transformer);
  refuse("--positions", arguments.positions == defaults.positions, transformer);
  refuse("--embedding-dropout", arguments.embedding_dropout < 0, transformer);
  refuse("--attention-dropout", arguments.attention_dropout < 0, transformer);
  refuse("--activation-dropout", arguments.activation_dropout < 0, transformer);
  if (arguments.encoder != "self_attention") {
    constexpr const char* attention_layers = "--model transformer or --encoder self_attention";
    refuse("--heads", arguments.heads == defaults.heads, attention_layers);
    refuse("--checkpoint-activations", !arguments.checkpoint_activations, attention_layers);
  }
  if (arguments.context != "attention") {
    refuse("--score", arguments.score == defaults.score, "--context attention");
    refuse("--input-feeding", arguments.input_feeding == defaults.input_feeding, "--context attention");
  }
}

}  // namespace translate
