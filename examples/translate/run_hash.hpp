// A hash that tells whether a resumed run has the data, the initial model and the precision that it began with.
#pragma once

#include <cstdint>
#include <string>

#include "translate/train.hpp"

namespace translate {

/// Returns a hash as 16 hexadecimal digits. A JSON number would not do, because readers may round 64-bit integers.
std::string hex(std::uint64_t hash);

/// Returns a hash of the input of a run: the vocabularies, the training pairs, the text of the validation pairs, a
/// precision other than float32 and, with --init, the parameters of the initial model. initial: the model before its
/// first update.
std::string run_hash(const TrainArguments& arguments, const TrainingData& data, const Model& initial);

}  // namespace translate
