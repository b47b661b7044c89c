// A replacement for std::bit_cast, which the standard library of Emscripten 3.1.6 lacks.
#pragma once

#include <type_traits>

#include "eigenformer/core/config.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Returns the value of type `To` with the bits of `from`.
template <class To, class From>
EIGEN_ALWAYS_INLINE constexpr To bit_cast(const From& from) {
  static_assert(sizeof(To) == sizeof(From) && std::is_trivially_copyable_v<To> && std::is_trivially_copyable_v<From>);
  return __builtin_bit_cast(To, from);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
