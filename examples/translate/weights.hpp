// The type in which `run` and `evaluate` pack a model's weights.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

#include "translate/program.hpp"

namespace translate {

/// Adds the option --weights.
void add_weights(CLI::App* command, std::optional<ef::WeightType>& weights);

/// Prints the memory of a model's packed weights as one line on stderr.
void report_weights(const Model& model, const ef::PackedWeights<float>& packed);

}  // namespace translate
