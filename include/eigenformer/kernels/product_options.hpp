// How matrix products are computed: in which type, and on which threads.
#pragma once

#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/core/threads.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The type to which the operands of products are rounded. Sums, results and everything else keep their own type.
enum class Precision {
  float32,  // operands keep their type, float or double
  bfloat16  // floats are rounded to bfloat16 (relative error at most 2^-8); sums stay float. Other types throw.
};

constexpr auto enum_names(Precision) {
  return std::to_array<EnumName<Precision>>({{Precision::float32, "float32"}, {Precision::bfloat16, "bfloat16"}});
}

/// Options of matrix products. A Threads* converts to it, so that threads can be given alone.
struct ProductOptions {
  Threads* threads = nullptr;
  Precision precision = Precision::float32;

  ProductOptions() = default;
  ProductOptions(Threads* some_threads, Precision type = Precision::float32)  // NOLINT: implicit
      : threads(some_threads), precision(type) {}
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
