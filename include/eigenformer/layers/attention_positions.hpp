// Telling self-attention how far apart tokens stand: what all layers of a stack share of it.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "eigenformer/core/detail/compiled.hpp"
#include "eigenformer/layers/initialize.hpp"
#include "eigenformer/layers/positions.hpp"
#include "eigenformer/ops/position_score.hpp"
#include "eigenformer/ops/rotary.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct AttentionPositionsOptions {
  PositionEncoding encoding = PositionEncoding::none;
  Index heads = 8;
  Index head_width = 64;
  RelativeBuckets buckets{};     // bucketed: bidirectional in an encoder, not in a decoder
  double deviation = 0.05;       // bucketed: of the numbers at first; T5 has 1 / sqrt(model width)
  double rotary_base = 10000;    // rotary: the slowest pair turns about once in 2 pi times as many positions
  Index rotary_positions = 512;  // rotary: whose angles are kept; those of later ones are computed when needed
};

/// With i the query's position, j the key's, and s_ij = q_i . k_j / sqrt(d) the score of a head of width d:
///
///   alibi      s_ij - slope_h |i - j|                   Press et al. 2021, arXiv 2108.12409; slopes: see class Alibi
///   bucketed   s_ij + weight(bucket(i - j), h)          Raffel et al. 2020, arXiv 1910.10683; see RelativeBuckets.
///              (T5 itself has no 1 / sqrt(d): its weights begin the smaller.) Layers of a stack share the weights.
///   rotary     (R_i q_i) . (R_j k_j) / sqrt(d)          Su et al. 2021, arXiv 2104.09864: R_p turns features c and
///              c + d / 2 by the angle p / base^(2c / d), so that the product depends on i - j alone
///
/// All go on beyond the lengths of training. They belong to self-attention, not to attention to a memory. The other
/// encodings do nothing here: `relative` keeps its vectors in each layer, see MultiHeadAttention, and those that are
/// added to embeddings are Positions.
template <class Scalar>
struct AttentionPositions {
  AttentionPositionsOptions options;
  Parameter<Scalar> weight;                          // bucketed: [buckets x heads]
  std::shared_ptr<const RotaryTable<Scalar>> table;  // rotary; copies share it

  AttentionPositions() = default;
  /// Throws if the options do not fit together.
  AttentionPositions(const AttentionPositionsOptions& options, Rng& rng);

  /// rotary: queries or keys x [tokens x heads * width], turned by their positions; else x as it is.
  Variable<Scalar> apply_rotary(const Context<Scalar>& context, const Variable<Scalar>& x, Index heads,
                                const RowOffsets& x_rows, const RowOffsets& key_rows) const;

  /// alibi, bucketed: the score; else none.
  std::optional<PositionScore<Scalar>> score(const Context<Scalar>& context, Index heads, const AnyMask& mask) const;

  static void visit(auto& self, auto&& visitor) { visitor("weight", self.weight); }
};

template <class Scalar>
AttentionPositions<Scalar>::AttentionPositions(const AttentionPositionsOptions& chosen, Rng& rng) : options(chosen) {
  if (options.encoding == PositionEncoding::bucketed) {
    weight = normal<Scalar>(options.buckets.buckets, options.heads, options.deviation, rng);
    RelativeBias<Scalar>(strided_view(weight.value), options.buckets);  // throws if they make no sense
  }
  if (options.encoding == PositionEncoding::rotary) {
    check(options.head_width % 2 == 0, "AttentionPositions: rotary turns pairs of features, head_width is ",
          options.head_width, ", expected an even one");
    check(options.rotary_base > 0, "AttentionPositions: rotary_base is ", options.rotary_base, ", expected above 0");
    table = std::make_shared<const RotaryTable<Scalar>>(
        rotary_table<Scalar>(options.rotary_positions, options.head_width, options.rotary_base));
  }
}

template <class Scalar>
Variable<Scalar> AttentionPositions<Scalar>::apply_rotary(const Context<Scalar>& context, const Variable<Scalar>& x,
                                                          Index heads, const RowOffsets& x_rows,
                                                          const RowOffsets& key_rows) const {
  if (options.encoding != PositionEncoding::rotary) return x;
  check(x_rows.sequences() == key_rows.sequences() && x_rows.rows() == x.rows(), "AttentionPositions: x is ", shape(x),
        ", its offsets are of ", x_rows.sequences(), " sequences and ", x_rows.rows(), " rows, the keys' of ",
        key_rows.sequences(), " sequences");
  std::vector<Index> positions;  // x stands at the end of its sequence's keys
  Index first = 0, end = 0;
  for (Index s = 0; s < x_rows.sequences(); ++s) {
    const Index begin = key_rows.length(s) - x_rows.length(s);
    for (Index i = 0; i < x_rows.length(s); ++i) positions.push_back(begin + i);
    if (x_rows.length(s) == 0) continue;
    first = end == 0 ? begin : std::min<Index>(first, begin);
    end = std::max<Index>(end, key_rows.length(s));
  }
  if (first >= 0 && end <= table->positions()) return rotary(context, x, table, std::move(positions), {.heads = heads});
  for (Index& position : positions) position -= first;
  const auto longer = std::make_shared<const RotaryTable<Scalar>>(
      rotary_table<Scalar>(end - first, table->width(), options.rotary_base, first));
  return rotary<Scalar>(context, x, longer, std::move(positions), {.heads = heads});
}

template <class Scalar>
std::optional<PositionScore<Scalar>> AttentionPositions<Scalar>::score(const Context<Scalar>& context, Index heads,
                                                                       const AnyMask& mask) const {
  if (options.encoding == PositionEncoding::alibi) return PositionScore<Scalar>::alibi(Alibi(heads), mask);
  if (options.encoding == PositionEncoding::bucketed)
    return PositionScore<Scalar>::bucketed(options.buckets, context.use(weight), mask);
  return std::nullopt;
}

EIGENFORMER_TEMPLATE(struct AttentionPositions);

}  // namespace eigenformer::inline EIGENFORMER_ABI
