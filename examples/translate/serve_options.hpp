// The options of `serve`.
#pragma once

#include <CLI/CLI.hpp>

#include "translate/program.hpp"

namespace translate {

/// Adds the options to the command, except --threads.
void add_serve_options(CLI::App* command, ServeArguments& arguments);

}  // namespace translate
