// The options of `train` that concern the run: checkpoints, schedules, optimisers, files of options. main.cpp has those
// of the model and of the corpus.
#pragma once

#include <CLI/CLI.hpp>

#include "translate/program.hpp"
#include "translate/replay.hpp"

namespace translate {

/// Adds the options to the command.
void add_run_options(CLI::App* command, TrainArguments& arguments);

/// Adds the options of `replay` but for those that other commands have too.
void add_replay_options(CLI::App* command, ReplayArguments& arguments);

/// Replaces the arguments by those of the run that --resume continues, or by those in the file --config. Returns
/// whether there are any: then the command line must be parsed again, because its options override them.
bool read_stored_arguments(TrainArguments& arguments);

/// Throws if the arguments, wherever they come from, contradict one another.
void check_arguments(const TrainArguments& arguments);

/// Throws if options of a resumed run differ from those it was begun with. Only its limits and its checkpoints may
/// change.
void check_resumed_arguments(const TrainArguments& arguments);

}  // namespace translate
