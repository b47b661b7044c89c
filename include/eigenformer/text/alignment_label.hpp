// The target of guided alignment: one entry of the attention weights that a batch should have.
#pragma once

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// One entry of the distribution that a row of attention weights should have. alignment_labels() makes labels from
/// links.
struct AlignmentLabel {
  Index row = 0;      // of the attention weights: the row of the query
  Index key = 0;      // the column of the weight: the key's place in its sequence
  double weight = 1;  // the wanted share of the row's attention; a row's labels usually add up to 1
  friend bool operator==(const AlignmentLabel&, const AlignmentLabel&) = default;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
