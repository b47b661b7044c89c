// Checks a double-array trie before SentencePiece uses it. SentencePiece reads the trie of its character rules without
// bounds checks, so a damaged file would make it read out of bounds.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Reads a 32-bit word, least significant byte first.
inline std::uint32_t little_endian_word(std::string_view bytes, std::size_t offset) {
  std::uint32_t word = 0;
  for (std::size_t i = 4; i-- > 0;) word = word << 8 | static_cast<unsigned char>(bytes[offset + i]);
  return word;
}

/// A trie of byte strings in the format of Darts-clone. A string is looked up like this:
///
///   state = offset(unit[0]); for each byte c: unit = unit[state ^ c], which must have the label c;
///   state = state ^ c ^ offset(unit); if the unit has a leaf, unit[state] holds the string's value.
class DoubleArray {
 public:
  DoubleArray(std::string_view bytes, std::string_view where) : where_(where) {
    check(!bytes.empty() && bytes.size() % 4 == 0, where_, ": a trie has ", bytes.size(),
          " bytes, expected a positive multiple of 4");
    units_.reserve(bytes.size() / 4);
    for (std::size_t i = 0; i < bytes.size(); i += 4) units_.push_back(little_endian_word(bytes, i));
  }

  /// Throws unless every look-up stays inside the trie, every value is below `values`, and no string has more than
  /// `max_prefixes` prefixes in the trie, itself included. Takes time linear in the size of the trie.
  void check_walks(std::size_t values, int max_prefixes) {
    prefixes_.assign(units_.size(), unseen);
    std::vector<Step> path{first_step(offset_of(units_[0]))};
    while (!path.empty()) {
      Step& step = path.back();
      if (step.next_byte == 256) {
        prefixes_[step.state] = step.prefixes;
        const int below = step.prefixes + (step.has_leaf ? 1 : 0);
        path.pop_back();
        if (!path.empty()) path.back().prefixes = std::max<int>(path.back().prefixes, below);
        check(below <= max_prefixes, where_, ": a trie has ", below, " strings that are prefixes of one another");
        continue;
      }
      const std::uint32_t byte = step.next_byte++;
      const std::uint32_t place = step.state ^ byte;
      const std::uint32_t unit = units_[place];
      if ((unit & (std::uint32_t{1} << 31 | 0xFF)) != byte) continue;  // no such child
      Step child = first_step(place ^ offset_of(unit));
      child.has_leaf = (unit >> 8 & 1) != 0;
      if (child.has_leaf) {
        const std::uint32_t value = units_[child.state] & 0x7FFFFFFF;
        check(value < values, where_, ": a trie has the value ", value, ", expected one below ", values);
      }
      const int known = prefixes_[child.state];
      check(known != unfinished, where_, ": a trie leads back to itself");
      if (known == unseen) {
        prefixes_[child.state] = unfinished;
        path.push_back(child);
      } else {
        step.prefixes = std::max<int>(step.prefixes, known + (child.has_leaf ? 1 : 0));
      }
    }
  }

 private:
  static constexpr int unseen = -1, unfinished = -2;

  /// A state on the current path, and what is known so far about the strings that continue from it.
  struct Step {
    std::uint32_t state = 0;
    std::uint32_t next_byte = 0;  // the next one to look up
    int prefixes = 0;             // the most prefixes on any path down from here
    bool has_leaf = false;        // whether a string ends here
  };

  static std::uint32_t offset_of(std::uint32_t unit) { return unit >> 10 << ((unit & 1U << 9) >> 6); }

  Step first_step(std::uint32_t state) const {
    check((state | 255U) < units_.size(), where_, ": a trie leads to unit ", state | 255U, ", it has ", units_.size());
    return {.state = state};
  }

  std::string_view where_;
  std::vector<std::uint32_t> units_;
  std::vector<int> prefixes_;  // of each state: Step::prefixes, if finished
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
