// The options of `train` for the shape of the model, and which of them fit which kind of model.
#pragma once

#include <CLI/CLI.hpp>

#include "translate/program.hpp"

namespace translate {

/// Adds the options to the command.
void add_model_options(CLI::App* command, TrainArguments& arguments);

/// Throws if an option does not apply to the chosen kind of model, whether it was given on the command line or in a
/// file of options. command: after parsing.
void check_model_options(const CLI::App& command, const TrainArguments& arguments);

}  // namespace translate
