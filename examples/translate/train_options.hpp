// The options of `train` for the run: checkpoints, schedules, optimisers, files of options. main.cpp has the options
// for the model and the corpus.
#pragma once

#include <CLI/CLI.hpp>

#include "translate/program.hpp"
#include "translate/replay.hpp"

namespace translate {

/// Adds the options to the command.
void add_run_options(CLI::App* command, TrainArguments& arguments);

/// Adds the option --precision.
void add_precision(CLI::App* command, std::string& precision);

/// Adds the options of `replay`, except those that it shares with other commands.
void add_replay_options(CLI::App* command, ReplayArguments& arguments);

/// Sets the arguments to those of the resumed run, if there is one. Options in the file --config then override them.
/// Returns whether it replaced them. If so, parse the command line again: its options override stored ones.
bool read_stored_arguments(TrainArguments& arguments);

/// Returns a command line with the options that differ from the defaults, for CLI::App::parse. Parsing it checks stored
/// options like typed ones. It may reverse lists, so do not use the parsed values.
std::vector<std::string> command_line_of(const TrainArguments& arguments);

/// Throws if the arguments are incomplete, out of range or contradictory. Stored arguments need this check too.
void check_arguments(const TrainArguments& arguments);

/// Replaces the arguments of all ranks by those of rank 0. --threads and --resume stay; --config becomes empty.
void broadcast_arguments(ef::Ranks& ranks, TrainArguments& arguments);

/// Throws if an option of a resumed run has changed. These may change: --out, --minutes, --epochs, --updates,
/// --checkpoint-every, --keep, --log, --plot, --patience, --validate-every, --threads.
void check_resumed_arguments(const TrainArguments& arguments);

}  // namespace translate
