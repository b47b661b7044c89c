// Masks stored by blocks of queries and keys. Attention skips hidden blocks, and calls the mask's function only in
// blocks that are visible in part (as FlexAttention's block mask: Dong et al. 2024, arXiv 2412.05496).
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "eigenformer/kernels/scores/score_function.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// What a block mask covers. Queries and keys are counted within their sequence. Attention throws if the mask covers
/// fewer queries or keys than the call has. Its numbers of sequences and heads must be 1 or those of the call.
struct BlockMaskOptions {
  Index queries = 0;    // of the longest sequence
  Index keys = 0;       // of the longest sequence
  Index block = 128;    // queries and keys of a block
  Index sequences = 1;  // 1: all sequences have one mask
  Index heads = 1;      // 1: all heads have one mask
};

/// Stands for the function of a mask whose blocks are visible or hidden as a whole.
struct WholeBlocks {
  bool operator()(const ScorePosition&) const { return true; }
};

/// A mask that stores for each block whether all, none or some of its pairs are visible. Calls its function only in
/// blocks where some are. Skips hidden blocks. Copies share storage.
template <class Function = WholeBlocks>
class BlockMask {
 public:
  static constexpr ScoreStage stage = ScoreStage::mask;

  /// Calls the function for every query and key. Throws if the options are not positive, or if there are more than
  /// 2^31 - 1 queries or keys.
  BlockMask(const BlockMaskOptions& options, const Function& function)
      : BlockMask(options, function, [&](const ScorePosition& first) {
          Index seen = 0, all = 0;
          ScorePosition at = first;
          for (at.query = first.query; at.query < end(first.query, options.queries); ++at.query)
            for (at.key = first.key; at.key < end(first.key, options.keys); ++at.key) {
              seen += function(at) ? 1 : 0;
              ++all;
            }
          return seen == 0 ? Visible::none : (seen == all ? Visible::all : Visible::some);
        }) {}
  /// blocks: [query blocks x key blocks], true where the block is visible; for all sequences and heads. Throws if there
  /// are no blocks, if block < 1, or if they cover more than 2^31 - 1 queries or keys.
  BlockMask(const Matrix<bool>& blocks, Index block) requires(std::is_same_v<Function, WholeBlocks>)
      : BlockMask({.queries = covered(blocks.rows(), block), .keys = covered(blocks.cols(), block), .block = block},
                  Function(), [&](const ScorePosition& first) {
                    return blocks(first.query / block, first.key / block) ? Visible::all : Visible::none;
                  }) {}

  void check_covers(const ScoreTile& batch) const {
    check(batch.queries <= options_.queries && batch.key_end <= options_.keys &&
              (options_.sequences == 1 || options_.sequences == batch.sequence + 1) &&
              (options_.heads == 1 || options_.heads == batch.head + 1),
          "attention: the block mask covers ", options_.queries, " queries, ", options_.keys, " keys, ",
          options_.sequences, " sequences and ", options_.heads, " heads, expected ", batch.queries, ", ",
          batch.key_end, ", ", batch.sequence + 1, " and ", batch.head + 1);
  }

  Visible visible(const ScoreTile& tile) const {
    if (tile.query_begin == tile.query_end || tile.key_begin == tile.key_end) return Visible::all;
    const Index r = tile.query_begin / options_.block, r_end = (tile.query_end - 1) / options_.block + 1;
    const Index c = tile.key_begin / options_.block, c_end = (tile.key_end - 1) / options_.block + 1;
    const Counts counts = counts_in(tile, r, r_end, c, c_end);
    if (counts.seen == 0) return Visible::none;
    return counts.whole == (r_end - r) * (c_end - c) ? Visible::all : Visible::some;
  }

  template <class Scalar>
  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    const Index block = options_.block;
    for (Index q = tile.query_begin; q < tile.query_end; q = end(q, tile.query_end))
      for (Index k = tile.key_begin; k < tile.key_end; k = end(k, tile.key_end)) {
        const Counts counts = counts_in(tile, q / block, q / block + 1, k / block, k / block + 1);
        if (counts.whole == 1) continue;
        ScoreTile part = tile;
        part.query_begin = q;
        part.query_end = end(q, tile.query_end);
        part.key_begin = k;
        part.key_end = end(k, tile.key_end);
        ScoreBlock<Scalar> own(&scores(q - tile.query_begin, k - tile.key_begin), part.query_end - q, part.key_end - k,
                               Eigen::OuterStride<>(scores.outerStride()));
        if (counts.seen == 0)
          own.setConstant(hidden_score<Scalar>);
        else
          detail::change_scores(part, own, [&](Scalar score, const ScorePosition& place) {
            return function_(place) ? score : hidden_score<Scalar>;
          });
      }
  }

 private:
  /// Blocks that are visible at least in part (seen), and as a whole (whole).
  struct Counts {
    Index seen = 0, whole = 0;
  };

  template <class BlockVisible>
  BlockMask(const BlockMaskOptions& options, const Function& function, BlockVisible visible_block)
      : options_(options), function_(function) {
    check(options.queries > 0 && options.keys > 0 && options.block > 0 && options.sequences > 0 && options.heads > 0,
          "BlockMask: ", options.queries, " queries, ", options.keys, " keys, blocks of ", options.block, ", ",
          options.sequences, " sequences and ", options.heads, " heads, expected 1 or more of each");
    constexpr Index most = (std::numeric_limits<std::int32_t>::max)();  // of ScorePosition
    check(options.queries <= most && options.keys <= most, "BlockMask: ", options.queries, " queries and ",
          options.keys, " keys, expected at most ", most, " of each");
    rows_ = (options.queries - 1) / options.block + 1;
    cols_ = (options.keys - 1) / options.block + 1;
    constexpr Index fitting = (std::numeric_limits<Index>::max)() / static_cast<Index>(sizeof(Counts));
    check(rows_ + 1 <= fitting / (cols_ + 1) / options.sequences / options.heads, "BlockMask: ", rows_, " x ", cols_,
          " blocks for ", options.sequences, " sequences and ", options.heads, " heads do not fit in memory");
    // A summed-area table, so that counts_in reads only four entries.
    std::vector<Counts> sums(static_cast<std::size_t>(options.sequences * options.heads * (rows_ + 1) * (cols_ + 1)));
    const auto narrow = [](Index i) { return static_cast<std::int32_t>(i); };
    for (Index m = 0; m < options.sequences * options.heads; ++m)
      for (Index r = 0; r < rows_; ++r)
        for (Index c = 0; c < cols_; ++c) {
          const Visible visible = visible_block(ScorePosition{narrow(r * options.block), narrow(c * options.block),
                                                              narrow(m % options.heads), narrow(m / options.heads),
                                                              narrow(options.queries), narrow(options.keys)});
          const Counts &above = sums[place(m, r, c + 1)], &left = sums[place(m, r + 1, c)],
                       &corner = sums[place(m, r, c)];
          sums[place(m, r + 1, c + 1)] = {above.seen + left.seen - corner.seen + (visible != Visible::none ? 1 : 0),
                                          above.whole + left.whole - corner.whole + (visible == Visible::all ? 1 : 0)};
        }
    sums_ = std::make_shared<const std::vector<Counts>>(std::move(sums));
  }

  /// Returns the number of queries or keys that the blocks cover, but at most the largest Index.
  static Index covered(Index blocks, Index block) {
    constexpr Index most = (std::numeric_limits<Index>::max)();
    return block > 0 && blocks > most / block ? most : blocks * block;
  }
  /// Returns the end of the block that contains `at`, but at most `last`.
  Index end(Index at, Index last) const { return std::min<Index>((at / options_.block + 1) * options_.block, last); }
  std::size_t place(Index m, Index r, Index c) const {
    return static_cast<std::size_t>((m * (rows_ + 1) + r) * (cols_ + 1) + c);
  }
  Counts counts_in(const ScoreTile& tile, Index r, Index r_end, Index c, Index c_end) const {
    const Index m =
        (options_.sequences == 1 ? 0 : tile.sequence) * options_.heads + (options_.heads == 1 ? 0 : tile.head);
    const std::vector<Counts>& sums = *sums_;
    const Counts &whole = sums[place(m, r_end, c_end)], &above = sums[place(m, r, c_end)],
                 &left = sums[place(m, r_end, c)], &corner = sums[place(m, r, c)];
    return {whole.seen - above.seen - left.seen + corner.seen, whole.whole - above.whole - left.whole + corner.whole};
  }

  BlockMaskOptions options_;
  Function function_;
  Index rows_ = 0, cols_ = 0;
  std::shared_ptr<const std::vector<Counts>> sums_;
};

/// Returns the block mask of a function that takes a position and returns whether the query may attend to the key. The
/// function is called for every pair now, and later only in blocks that it hides in part. Documents packed into one
/// sequence:
///
///   block_mask({.queries = n, .keys = n}, [&](const ScorePosition& at) {
///     return document[at.query] == document[at.key] && at.key <= at.query;
///   })
///
/// What the function refers to must outlive the mask. `queries` and `keys` of its position are those of the options
/// when blocks are made, and those of the sequence later.
template <class Function>
auto block_mask(const BlockMaskOptions& options, const Function& function) {
  constexpr bool is_mask = detail::is_mask_function<Function>();
  static_assert(is_mask, "the function of a block mask takes a position and gives a bool");
  return BlockMask<std::decay_t<const Function&>>(options, function);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
