// The two masks with dedicated attention kernels: Unmasked and Causal.
#pragma once

#include <limits>

#include "eigenformer/kernels/detail/attention/score_packets.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A mask that hides nothing: every query sees every key.
struct Unmasked {
  static constexpr ScoreStage stage = ScoreStage::mask;
  Visible visible(const ScoreTile&) const { return Visible::all; }
  template <class Scalar>
  void apply(const ScoreTile&, ScoreBlock<Scalar>) const {}
};

/// A mask that lets a query see the keys up to its own position:
/// - Causal{} aligns the first query with the first key: query i sees keys 0 .. i.
/// - Causal::after_past() aligns the last query with the last key, for keys that include earlier tokens (a cache):
///   query i of n_q sees keys 0 .. i + (n_k - n_q).
/// - Causal::with_offsets(offsets) places each sequence: query i of sequence s sees keys 0 .. i + offsets[s].
class Causal {
 public:
  static constexpr ScoreStage stage = ScoreStage::mask;

  Causal() = default;
  static Causal after_past() {
    Causal causal;
    causal.alignment_ = Alignment::after_past();
    return causal;
  }

  /// offsets: one for each sequence; they must outlive the mask.
  static Causal with_offsets(std::span<const Index> offsets) {
    Causal causal;
    causal.alignment_ = Alignment::with_offsets(offsets);
    return causal;
  }

  void check_covers(const ScoreTile& batch) const { alignment_.check_covers(batch); }

  Visible visible(const ScoreTile& tile) const {
    const Index past = alignment_.first_query(tile);
    if (tile.key_begin > tile.query_end - 1 + past) return Visible::none;
    return tile.key_end - 1 <= tile.query_begin + past ? Visible::all : Visible::some;
  }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    const Index position = alignment_.first_query(tile) + tile.query_begin;
    detail::hide_outside_band(tile, (std::numeric_limits<Index>::min)() / 2, position, scores);
  }

  friend bool operator==(const Causal&, const Causal&) = default;

 private:
  Alignment alignment_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
