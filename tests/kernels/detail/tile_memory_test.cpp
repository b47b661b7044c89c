#include "eigenformer/kernels/detail/tile_memory.hpp"

#include <cstdint>
#include <type_traits>
#include <utility>

#include "support/catch.hpp"

namespace ef = eigenformer;
using ef::Index;

TEMPLATE_TEST_CASE("a tile's memory is as large as asked for, and aligned", "[kernels]", ef::detail::TileMemory<float>,
                   ef::detail::TileMemory<double>, ef::detail::TileMemory<Eigen::bfloat16>,
                   (ef::detail::TileMemory<Eigen::bfloat16, 128>)) {
  using Memory = TestType;
  using Entry = std::remove_pointer_t<decltype(std::declval<Memory>().data())>;
  for (const Index size : {Index{0}, Index{1}, Memory::capacity, Memory::capacity + 1, 10 * Memory::capacity}) {
    CAPTURE(size);
    const Memory memory(size);
    const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
    CHECK(address % EIGEN_DEFAULT_ALIGN_BYTES == 0);
    for (Index i = 0; i < size; ++i) memory.data()[i] = Entry(static_cast<float>(i));
    if (size > 0) CHECK(memory.data()[size - 1] == Entry(static_cast<float>(size - 1)));
    const auto* self = reinterpret_cast<const char*>(&memory);
    const auto* data = reinterpret_cast<const char*>(memory.data());
    CHECK((size > Memory::capacity) == (data < self || data >= self + sizeof(memory)));
  }
}
