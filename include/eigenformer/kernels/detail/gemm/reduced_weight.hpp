// A low-precision weight, packed for the processor's fastest product of its type.
#pragma once

#include <type_traits>

#include "eigenformer/kernels/detail/gemm/unit_weight.hpp"
#include "eigenformer/kernels/detail/gemm/widened_weight.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A weight [outputs x inputs] of T, which is bfloat16 or int8. Internal: for PackedWeight.
template <class T>
using ReducedWeight = std::conditional_t<matrix_unit::is_fast<T>, detail::UnitWeight<T>, detail::WidenedWeight<T>>;

}  // namespace eigenformer::inline EIGENFORMER_ABI
