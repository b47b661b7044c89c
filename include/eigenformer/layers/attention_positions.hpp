// Position encodings that act in self-attention; all layers of a stack share one instance.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <span>
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
  RelativeBuckets buckets{};     // bucketed: set bidirectional in an encoder, clear it in a decoder
  double deviation = 0.05;       // bucketed: standard deviation of the initial weights; T5 uses 1 / sqrt(model width)
  double rotary_base = 10000;    // rotary: the slowest pair has a wavelength of about 2 pi rotary_base positions
  Index rotary_positions = 512;  // rotary: rows of the precomputed table; later angles are computed on demand
  RotaryScaling rope_scaling{};  // rotary: for sequences longer than in training
};

/// Makes the scores of self-attention depend on the positions i of the query and j of the key. Head h of width d has
/// the score s_ij = q_i . k_j / sqrt(d); the encodings change it to:
///
///   alibi      s_ij - slope_h |i - j|             Press et al. 2021, arXiv 2108.12409. Slopes: see class Alibi.
///   bucketed   s_ij + weight(bucket(i - j), h)    Raffel et al. 2020, arXiv 1910.10683. See RelativeBuckets.
///              All layers share the weights. T5 itself omits 1 / sqrt(d) and draws a smaller initial W_q.
///   rotary     (R_i q_i) . (R_j k_j) / sqrt(d)    Su et al. 2021, arXiv 2104.09864. R_p rotates features c and
///              c + d / 2 by the angle p / base^(2c / d), so the product depends only on i - j. See RotaryScaling
///              for longer sequences.
///
/// All three work at positions beyond the training lengths. Use them in self-attention, not in attention to a memory.
/// All other encodings have no effect here: MultiHeadAttention implements `relative`, with vectors of its own in each
/// layer, and Positions implements the encodings that are added to embeddings.
template <class Scalar>
struct AttentionPositions {
  AttentionPositionsOptions options;
  Parameter<Scalar> weight;                          // bucketed: [buckets x heads]
  std::shared_ptr<const RotaryTable<Scalar>> table;  // rotary; shared by copies

  AttentionPositions() = default;
  /// Throws if rotary has a head_width that is odd, negative or above 65536, negative rotary_positions, a base that is
  /// not positive or an invalid scaling, or if bucketed has invalid buckets.
  AttentionPositions(const AttentionPositionsOptions& options, Rng& rng);

  /// Applies rotary position embeddings to queries or keys x: [tokens x heads * width]; other encodings return x
  /// unchanged. Sequence s has key_rows.length(s) tokens; x holds the last x_rows.length(s) of them. Throws if x,
  /// x_rows and key_rows disagree on the number of rows or sequences.
  Variable<Scalar> apply_rotary(const Context<Scalar>& context, const Variable<Scalar>& x, Index heads,
                                const RowOffsets& x_rows, const RowOffsets& key_rows) const;

  /// Applies rotary position embeddings to queries or keys x: [tokens x heads * width]; other encodings return x
  /// unchanged. positions: one per row of x; may be negative. Throws unless there is one for each row.
  Variable<Scalar> apply_rotary_at(const Context<Scalar>& context, const Variable<Scalar>& x, Index heads,
                                   std::span<const Index> positions) const;

  /// Returns the score of alibi or bucketed, combined with `other`; for other encodings returns `other`.
  VariableScore<Scalar> score(const Context<Scalar>& context, Index heads, const VariableScore<Scalar>& other) const;

  static void visit(auto& self, auto&& visitor) { visitor("weight", self.weight); }
};

template <class Scalar>
AttentionPositions<Scalar>::AttentionPositions(const AttentionPositionsOptions& chosen, Rng& rng) : options(chosen) {
  if (options.encoding == PositionEncoding::bucketed) {
    weight = normal<Scalar>(options.buckets.buckets, options.heads, options.deviation, rng);
    RelativeBias<Scalar>(strided_view(weight.value), options.buckets);  // throws if they are invalid
  }
  if (options.encoding == PositionEncoding::rotary) {
    check(options.head_width >= 0 && options.head_width <= 65536 && options.head_width % 2 == 0,
          "AttentionPositions: rotary turns pairs of features, head_width is ", options.head_width,
          ", expected an even number, 0 to 65536");
    check(options.rotary_positions >= 0, "AttentionPositions: rotary_positions is ", options.rotary_positions,
          ", expected 0 or more");
    table = std::make_shared<const RotaryTable<Scalar>>(rotary_table<Scalar>(
        options.rotary_positions, options.head_width, options.rotary_base, 0, options.rope_scaling));
  }
}

template <class Scalar>
Variable<Scalar> AttentionPositions<Scalar>::apply_rotary(const Context<Scalar>& context, const Variable<Scalar>& x,
                                                          Index heads, const RowOffsets& x_rows,
                                                          const RowOffsets& key_rows) const {
  if (options.encoding != PositionEncoding::rotary) return x;
  check(x_rows.sequences() == key_rows.sequences() && x_rows.rows() == x.rows(), "AttentionPositions: x is ", shape(x),
        ", its offsets have ", x_rows.sequences(), " sequences and ", x_rows.rows(),
        " rows, the offsets of the keys have ", key_rows.sequences(), " sequences");
  std::vector<Index> positions;  // x holds the last tokens of each sequence's keys
  for (Index s = 0; s < x_rows.sequences(); ++s)
    for (Index i = 0; i < x_rows.length(s); ++i) positions.push_back(key_rows.length(s) - x_rows.length(s) + i);
  return apply_rotary_at(context, x, heads, positions);
}

template <class Scalar>
Variable<Scalar> AttentionPositions<Scalar>::apply_rotary_at(const Context<Scalar>& context, const Variable<Scalar>& x,
                                                             Index heads, std::span<const Index> positions) const {
  if (options.encoding != PositionEncoding::rotary) return x;
  const auto [lowest, highest] = std::minmax_element(positions.begin(), positions.end());
  if (positions.empty() || (*lowest >= 0 && *highest < table->positions()))
    return rotary(context, x, table, positions, {.heads = heads});
  const Index tokens = static_cast<Index>(positions.size());
  std::shared_ptr<const RotaryTable<Scalar>> longer;
  std::vector<Index> rows(positions.begin(), positions.end());  // each token's row of the longer table
  if (static_cast<double>(*highest) - static_cast<double>(*lowest) < 4.0 * static_cast<double>(tokens) + 1024) {
    const Index first = *lowest;
    longer = std::make_shared<const RotaryTable<Scalar>>(
        rotary_table<Scalar>(*highest + 1 - first, table->width(), options.rotary_base, first, options.rope_scaling));
    for (Index& row : rows) row -= first;
  } else {  // a row for each token: a table of all positions in between could need too much memory
    const auto of_tokens = std::make_shared<RotaryTable<Scalar>>(
        RotaryTable<Scalar>{Matrix<Scalar>(tokens, table->width() / 2), Matrix<Scalar>(tokens, table->width() / 2)});
    const std::vector<double> frequencies =
        rotary_frequencies(table->width(), options.rotary_base, options.rope_scaling);
    const double factor = rotary_attention_factor(options.rope_scaling);
    for (Index i = 0; i < tokens; ++i)
      for (Index pair = 0; pair < table->width() / 2; ++pair) {
        const double angle =
            static_cast<double>(rows[static_cast<std::size_t>(i)]) * frequencies[static_cast<std::size_t>(pair)];
        of_tokens->cos(i, pair) = static_cast<Scalar>(factor * std::cos(angle));
        of_tokens->sin(i, pair) = static_cast<Scalar>(factor * std::sin(angle));
      }
    longer = of_tokens;
    std::iota(rows.begin(), rows.end(), Index(0));
  }
  return rotary<Scalar>(context, x, longer, rows, {.heads = heads});
}

template <class Scalar>
VariableScore<Scalar> AttentionPositions<Scalar>::score(const Context<Scalar>& context, Index heads,
                                                        const VariableScore<Scalar>& other) const {
  if (options.encoding == PositionEncoding::alibi) return PositionScore<Scalar>::alibi(Alibi(heads), other);
  if (options.encoding == PositionEncoding::bucketed)
    return PositionScore<Scalar>::bucketed(options.buckets, context.use(weight), other);
  return other;
}

EIGENFORMER_TEMPLATE(struct AttentionPositions);

}  // namespace eigenformer::inline EIGENFORMER_ABI
