#include "eigenformer/core/matrix_unit_rounded_packing.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;
namespace unit = eigenformer::matrix_unit;

namespace {

using ef::Index;

/// Returns x rounded to bfloat16, to nearest, ties to even, by rounding its significand to eight bits.
float nearest_bfloat16(float x) {
  if (x == 0 || !std::isfinite(x)) return x;
  int exponent = 0;
  const double fraction = std::frexp(static_cast<double>(x), &exponent);  // 0.5 to 1: eight bits are kept
  return static_cast<float>(std::ldexp(std::nearbyint(fraction * 256), exponent - 8));
}

/// The lines of an operand, in memory that ends with their last entry, so that a sanitizer reports reads beyond it.
struct LinesInMemory {
  LinesInMemory(Index some_lines, Index some_entries, Index line_stride, Index depth_stride, ef::Rng& rng)
      : lines(some_lines),
        entries(some_entries),
        memory(static_cast<std::size_t>((lines - 1) * line_stride + (entries - 1) * depth_stride + 1)),
        view{memory.data(), line_stride, depth_stride} {
    for (float& entry : memory) entry = static_cast<float>(rng.normal());
  }
  float rounded(Index line, Index k) const {
    if (line >= lines || k >= entries) return 0;
    return nearest_bfloat16(memory[static_cast<std::size_t>(line * view.line_stride + k * view.depth_stride)]);
  }
  Index lines, entries;
  std::vector<float> memory;
  unit::FloatLines view;
};

/// Returns the number of entries of packed blocks that are wrong.
template <unit::Side side>
int wrong_entries(const LinesInMemory& in) {
  constexpr Index depth = unit::depth<Eigen::bfloat16>, step = unit::step_size<Eigen::bfloat16>;
  const Index steps = unit::steps_for<Eigen::bfloat16>(in.entries), blocks = unit::blocks_for(in.lines);
  std::vector<Eigen::bfloat16> packed(static_cast<std::size_t>(blocks * steps * step), Eigen::bfloat16(77));
  unit::pack_rounded_blocks<side>(in.view, in.lines, in.entries, packed.data());
  int wrong = 0;
  for (Index s = 0; s < blocks * steps; ++s)
    for (Index line = 0; line < unit::block; ++line)
      for (Index k = 0; k < depth; ++k) {
        const Index place = side == unit::Side::left ? line * depth + k : k / 2 * depth + 2 * line + k % 2;
        const auto given = static_cast<float>(packed[static_cast<std::size_t>(s * step + place)]);
        if (given != in.rounded(s / steps * unit::block + line, s % steps * depth + k)) ++wrong;
      }
  return wrong;
}

}  // namespace

TEST_CASE("floats are rounded and packed from any strides", "[core]") {
  const std::uint64_t seed = 71;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (Index lines = 1; lines <= 35; ++lines)
    for (const Index entries : {1, 2, 15, 16, 17, 31, 32, 33, 64, 71}) {
      CAPTURE(lines, entries);
      for (const LinesInMemory& in :
           {LinesInMemory(lines, entries, entries, 1, rng), LinesInMemory(lines, entries, entries + 3, 1, rng),
            LinesInMemory(lines, entries, 1, lines, rng), LinesInMemory(lines, entries, 1, lines + 5, rng),
            LinesInMemory(lines, entries, 1, 1024 + lines, rng),  // entries of a line on different pages
            LinesInMemory(lines, entries, 2, 2 * lines + 1, rng)}) {
        CHECK(wrong_entries<unit::Side::left>(in) == 0);
        CHECK(wrong_entries<unit::Side::right>(in) == 0);
      }
    }
}

TEST_CASE("packing rounds ties to even, keeps infinities and overflows to infinity", "[core]") {
  // 1 + 2^-8 lies between 1 and 1 + 2^-7, and 1 + 3 * 2^-8 between 1 + 2^-7 and 1 + 2^-6.
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> given{1.00390625F, 1.01171875F, -1.00390625F, infinity, -infinity, 3.4e38F};
  const std::vector<float> expected{1, 1.015625F, -1, infinity, -infinity, infinity};
  std::vector<Eigen::bfloat16> packed(static_cast<std::size_t>(unit::step_size<Eigen::bfloat16>));
  unit::pack_rounded<unit::Side::left>({given.data(), 0, 1}, 1, static_cast<Index>(given.size()), packed.data());
  for (std::size_t k = 0; k < given.size(); ++k) CHECK(static_cast<float>(packed[k]) == expected[k]);
}
