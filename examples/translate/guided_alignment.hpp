// Options and input of `translate train --alignments`, which trains attention to follow links between tokens. The loss
// is in eigenformer/models/guided_loss.hpp.
#pragma once

#include <CLI/CLI.hpp>

#include "translate/program.hpp"

namespace translate {

/// Adds the options to the command.
void add_alignment_options(CLI::App* command, TrainArguments& arguments);

/// Throws if a model has subwords. Call it if there are links.
void check_no_subwords(bool has_subwords);

/// Throws if the options on alignments contradict each other or other options.
void check_alignment_options(const TrainArguments& arguments);

/// Chooses the layer and the head of a Transformer that learn the links. Does nothing without links. Throws if the
/// model has no such layer or head.
void choose_alignment_head(const TrainArguments& arguments, ef::TransformerOptions& options);

}  // namespace translate
