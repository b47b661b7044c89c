// Hashes that tell whether a run continues with the data and the parameters that it had.
#pragma once

#include <cstdint>
#include <string>

#include "translate/train.hpp"

namespace translate {

/// Returns a hash as 16 hexadecimal digits. JSON readers may round whole numbers of 64 bits.
std::string hex(std::uint64_t hash);

/// Returns a hash of all that a run reads: the vocabularies, the training pairs, the text of the validation pairs and,
/// with --init, the parameters of the initial model. initial: the model before its first update.
std::string run_hash(const TrainArguments& arguments, const TrainingData& data, const Model& initial);

}  // namespace translate
