// Sliding-window attention (Beltagy et al. 2020, arXiv 2004.05150; with Causal, as in Mistral: Jiang et al. 2023, arXiv
// 2310.06825).
#pragma once

#include <algorithm>
#include <limits>

#include "eigenformer/kernels/detail/attention/score_packets.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A mask that lets a query see the keys less than `size` positions away: itself and size - 1 on either side. With
/// Causal it sees only itself and the keys before: `combine(Causal{}, SlidingWindow(4096))`. Tiles outside the window
/// cost nothing.
class SlidingWindow {
 public:
  static constexpr ScoreStage stage = ScoreStage::mask;

  /// Throws if size < 1.
  explicit SlidingWindow(Index size)
      : size_(std::min<Index>(size, (std::numeric_limits<Index>::max)() / 4)) {  // sums with it must not overflow
    check(size >= 1, "SlidingWindow: size is ", size, ", expected 1 or more");
  }
  /// Returns a window that aligns the last query with the last key, for keys that include earlier tokens (a cache).
  /// Throws if size < 1.
  static SlidingWindow after_past(Index size) {
    SlidingWindow window(size);
    window.alignment_ = Alignment::after_past();
    return window;
  }

  /// Returns a window that aligns the first query of sequence s with key offsets[s]. The offsets must outlive the mask.
  /// Throws if size < 1.
  static SlidingWindow with_offsets(Index size, std::span<const Index> offsets) {
    SlidingWindow window(size);
    window.alignment_ = Alignment::with_offsets(offsets);
    return window;
  }

  Index size() const { return size_; }

  void check_covers(const ScoreTile& batch) const { alignment_.check_covers(batch); }

  Visible visible(const ScoreTile& tile) const {
    const Index past = alignment_.first_query(tile);
    const Index first = tile.query_begin + past, last = tile.query_end - 1 + past;
    if (tile.key_begin >= last + size_ || tile.key_end - 1 <= first - size_) return Visible::none;
    return tile.key_end - 1 < first + size_ && tile.key_begin > last - size_ ? Visible::all : Visible::some;
  }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    const Index position = alignment_.first_query(tile) + tile.query_begin;
    detail::hide_outside_band(tile, position - size_ + 1, position + size_ - 1, scores);
  }

  friend bool operator==(const SlidingWindow&, const SlidingWindow&) = default;

 private:
  Index size_;
  Alignment alignment_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
