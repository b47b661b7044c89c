// Which inputs need the offsets of their sequences.
#pragma once

#include "eigenformer/autograd/variable.hpp"
#include "eigenformer/core/row_offsets.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Throws if x is a tensor of several matrices and no offsets are given: without them, all of its rows would be one
/// sequence, padding included. `where` goes into the message.
template <class Scalar>
void check_has_sequences(const char* where, const char* name, const Variable<Scalar>& x, const RowOffsets& rows) {
  if (rows.given() || !x.is_tensor() || x.sizes().rank() < 3) return;
  Index matrices = 1;
  for (int d = 0; d + 2 < x.sizes().rank(); ++d) matrices *= x.sizes()[d];
  check(matrices == 1, where, ": ", name, " is ", x.sizes(),
        ", expected the offsets of its sequences; unpad() gives the rows of a padded tensor");
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
