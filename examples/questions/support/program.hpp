// The command line that the nine programs share.
#pragma once

#include <cstdint>
#include <functional>

#include "eigenformer/core/types.hpp"

#include "questions/support/report.hpp"

namespace questions {

struct Settings {
  std::uint64_t seed = 1;
  bool quick = false;  // run through in a second, to see that it works: what is measured means nothing then

  /// `full`, or `few` in a quick run: numbers of updates and the like.
  eigenformer::Index count(eigenformer::Index full, eigenformer::Index few) const { return quick ? few : full; }
};

/// The body of main: reads `--seed N`, `--out FOLDER` and `--quick`, measures, prints the answer and writes the report.
/// Gives the exit code; an error is one line on stderr.
int run(int argc, char** argv, const Question& question, const std::function<Answer(const Settings&)>& measure);

}  // namespace questions
