// The command line of the nine programs.
#pragma once

#include <cstdint>
#include <functional>

#include "eigenformer/core/types.hpp"

#include "questions/support/report.hpp"

namespace questions {

struct Settings {
  std::uint64_t seed = 1;
  bool quick = false;  // a smoke test of about a second; its measurements mean nothing

  /// Returns `few` in a quick run, else `full`: for numbers of updates and the like.
  eigenformer::Index count(eigenformer::Index full, eigenformer::Index few) const { return quick ? few : full; }
};

/// The body of main. Reads `--seed N`, `--out FOLDER` and `--quick`, measures, prints the answer and writes the report.
/// Returns the exit code. An error is printed as one line on stderr.
int run(int argc, char** argv, const Question& question, const std::function<Answer(const Settings&)>& measure);

}  // namespace questions
