// Marks members of saved structs that older files lack.
#pragma once

#include "eigenformer/core/config.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Marks an option in visit_options that older files may lack. An option that a file lacks keeps its default. See
/// options_to_json (io/options.hpp).
struct AddedLater {};

}  // namespace eigenformer::inline EIGENFORMER_ABI
