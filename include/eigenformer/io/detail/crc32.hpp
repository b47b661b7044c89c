// The CRC-32 of zip files: the polynomial 0x04C11DB7, bits reversed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "eigenformer/core/config.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// tables[k][b]: the remainder of byte b with k bytes of zeros behind it, so that eight bytes are done at once.
using Crc32Tables = std::array<std::array<std::uint32_t, 256>, 8>;
constexpr Crc32Tables crc32_tables() {
  Crc32Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = remainder >> 1 ^ ((remainder & 1) != 0 ? 0xEDB88320U : 0U);
    tables[0][byte] = remainder;
  }
  for (std::size_t k = 1; k < 8; ++k)
    for (std::size_t byte = 0; byte < 256; ++byte)
      tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 255];
  return tables;
}

/// Extends the CRC-32 `before` (0 at the start) by more bytes, and returns it.
inline std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before = 0) {
  static constexpr Crc32Tables tables = crc32_tables();
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint32_t>(bytes[i]); };
  std::uint32_t remainder = ~before;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    const std::uint32_t first = remainder ^ (at(i) | at(i + 1) << 8 | at(i + 2) << 16 | at(i + 3) << 24);
    remainder = tables[7][first & 255] ^ tables[6][first >> 8 & 255] ^ tables[5][first >> 16 & 255] ^
                tables[4][first >> 24] ^ tables[3][at(i + 4)] ^ tables[2][at(i + 5)] ^ tables[1][at(i + 6)] ^
                tables[0][at(i + 7)];
  }
  for (; i < bytes.size(); ++i) remainder = remainder >> 8 ^ tables[0][(remainder ^ at(i)) & 255];
  return ~remainder;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
