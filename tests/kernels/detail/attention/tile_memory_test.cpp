#include "eigenformer/kernels/detail/attention/tile_memory.hpp"

#include <cstdint>

#include "support/catch.hpp"

namespace ef = eigenformer;
using ef::Index;

TEMPLATE_TEST_CASE("a tile's memory is as large as asked for, and aligned", "[kernels]", float, double) {
  using Memory = ef::detail::TileMemory<TestType>;
  for (const Index size : {Index{0}, Index{1}, Memory::capacity, Memory::capacity + 1, 10 * Memory::capacity}) {
    CAPTURE(size);
    const Memory memory(size);
    const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
    CHECK(address % EIGEN_DEFAULT_ALIGN_BYTES == 0);
    for (Index i = 0; i < size; ++i) memory.data()[i] = static_cast<TestType>(i);
    if (size > 0) CHECK(memory.data()[size - 1] == static_cast<TestType>(size - 1));
    const auto* self = reinterpret_cast<const char*>(&memory);
    const auto* data = reinterpret_cast<const char*>(memory.data());
    CHECK((size > Memory::capacity) == (data < self || data >= self + sizeof(memory)));
  }
}
