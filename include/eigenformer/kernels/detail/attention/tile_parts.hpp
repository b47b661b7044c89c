// Selects the parts of a tile of scores that are worth computing.
#pragma once

#include <algorithm>
#include <array>

#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/core/simd.hpp"
#include "eigenformer/kernels/scores/score.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A rectangle of a tile: consecutive keys, and the queries of consecutive packets. `key` and `packet` are relative to
/// the tile's first key and first packet.
struct TilePart {
  ScoreTile tile;  // the part as a tile of its own
  Visible seen;    // some or all
  Index key, keys;
  Index packet, packets;
};

/// Splits a tile of at most `max_queries` queries into parts that leave out most of what the queries do not see. The
/// queries form groups of one packet, or of 16 if a packet has fewer than 8 lanes. Each group leaves out hidden keys at
/// both ends, eight at a time. A fully visible tile is one part.
/// Measured: Zen 3, GCC 12, forward, n = 2048, d = 64: groups of 8 queries instead of 16 have 1.03 times the speed with
/// a mask of blocks of 128, one in two or four visible; with a causal mask, both have equal speed.
template <class Scalar, Index max_queries>
class TileParts {
 public:
  /// Splits `tile`. seen: how much of the tile its queries see.
  template <Score S>
  TileParts(const S& score, const ScoreTile& tile, Visible seen) {
    if (seen == Visible::all) add(tile, tile, seen);
    if (seen == Visible::some) split([&](const ScoreTile& part) { return score.visible(part); }, tile);
  }
  /// Splits `tile`, and asks the score how much of it is seen.
  template <Score S>
  TileParts(const S& score, const ScoreTile& tile) : TileParts(score, tile, score.visible(tile)) {}

  const TilePart* begin() const { return parts_.data(); }
  const TilePart* end() const { return parts_.data() + size_; }
  bool empty() const { return size_ == 0; }

 private:
  static constexpr Index lanes = simd::lanes<Scalar>;
  static constexpr Index group = lanes >= 8 ? lanes : 16;  // groups of such small packets cost more than they save
  static constexpr Index max_groups = (max_queries + group - 1) / group;

  /// Refers to a function that returns how much of a tile is seen. It hides the score's type, so that `split` is
  /// compiled once for all scores.
  using VisibleRef = FunctionRef<Visible(const ScoreTile&)>;

  /// Adds the parts of a partly hidden tile.
  EIGEN_DONT_INLINE void split(VisibleRef visible, const ScoreTile& tile) {
    const Index groups = (tile.query_end - tile.query_begin + group - 1) / group;
    std::array<ScoreTile, max_groups> narrowed;
    for (Index g = 0; g < groups; ++g) {
      narrowed[static_cast<std::size_t>(g)] = queries_of(tile, g, 1);
      narrow(visible, narrowed[static_cast<std::size_t>(g)]);
    }
    // Cut at each key where some group's keys begin or end. The part between two cuts has all groups between the first
    // and the last group that see its keys, inclusive.
    for (Index key = tile.key_begin; key < tile.key_end;) {
      Index next = tile.key_end, first = groups, last = -1;
      for (Index g = 0; g < groups; ++g) {
        const ScoreTile& own = narrowed[static_cast<std::size_t>(g)];
        if (own.key_begin <= key && key < own.key_end) {
          first = std::min<Index>(first, g);
          last = g;
        }
        for (const Index edge : {own.key_begin, own.key_end})
          if (edge > key) next = std::min<Index>(next, edge);
      }
      if (last >= 0) {
        ScoreTile part = queries_of(tile, first, last - first + 1);
        part.key_begin = key;
        part.key_end = next;
        const Visible of_part = visible(part);
        if (of_part != Visible::none) add(tile, part, of_part);
      }
      key = next;
    }
  }

  /// Returns the part of `tile` with `groups` groups of queries, from `first_group` on.
  static ScoreTile queries_of(const ScoreTile& tile, Index first_group, Index groups) {
    ScoreTile part = tile;
    part.query_begin = tile.query_begin + first_group * group;
    part.query_end = std::min<Index>(tile.query_end, part.query_begin + groups * group);
    return part;
  }

  /// Adds the part `tile` of the tile `whole`.
  void add(const ScoreTile& whole, const ScoreTile& tile, Visible seen) {
    parts_[size_++] = {tile,
                       seen,
                       tile.key_begin - whole.key_begin,
                       tile.key_end - tile.key_begin,
                       (tile.query_begin - whole.query_begin) / lanes,
                       (tile.query_end - tile.query_begin + lanes - 1) / lanes};
  }

  /// Leaves out the keys at both ends of a tile that its queries do not see, a step at a time. Leaves no keys if the
  /// queries see none.
  static void narrow(VisibleRef visible, ScoreTile& tile) {
    constexpr Index step = 8;
    const Visible whole = visible(tile);
    if (whole == Visible::none) tile.key_end = tile.key_begin;
    if (whole != Visible::some) return;
    ScoreTile part = tile;
    for (;; tile.key_begin = part.key_end) {
      if (tile.key_begin == tile.key_end) return;
      part.key_begin = tile.key_begin;
      part.key_end = std::min<Index>(tile.key_end, tile.key_begin + step);
      if (visible(part) != Visible::none) break;
    }
    for (;; tile.key_end = part.key_begin) {
      // No key may be left: a combination of masks may show a step of keys although no query sees any of them.
      if (tile.key_begin == tile.key_end) return;
      part.key_end = tile.key_end;
      part.key_begin = std::max<Index>(tile.key_begin, tile.key_end - step);
      if (visible(part) != Visible::none) break;
    }
  }

  std::array<TilePart, 2 * max_groups + 1> parts_;
  std::size_t size_ = 0;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
