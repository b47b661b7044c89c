// Relative positions on the keys: adds a number for each query, head and clipped distance to the score (Shaw et al.
// 2018, arXiv 1803.02155, equation 5).
#pragma once

#include "eigenformer/core/tensor.hpp"
#include "eigenformer/kernels/detail/attention/distance_bias.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Adds terms(query's row, head, k + clip(position of the key - position of the query)) to each score, where clip(x) =
/// max(-k, min(x, k)). In the paper a term is q_i . aK_clip(j - i) / sqrt(d): the query times the vector of the
/// distance, scaled like the scores. Holds views: the terms must outlive it. Attention throws if there are fewer rows
/// of terms than queries, or if the numbers of heads differ.
template <class Scalar>
class RelativeKeys {
 public:
  static constexpr ScoreStage stage = ScoreStage::bias;
  static constexpr bool sequences_share_gradient = true;  // all keys of a query add to its few terms

  /// terms: [query rows x heads x 2k + 1]. If d_terms is given, it has the shape of terms and the backward adds to it.
  /// Throws if the rank is not 3, if the last dimension is not 2k + 1 for some k >= 1, or if the shapes differ.
  explicit RelativeKeys(const TensorView<const Scalar>& terms, const TensorView<Scalar>& d_terms = {})
      : terms_(terms), d_terms_(d_terms) {
    check(terms.rank() == 3, "RelativeKeys: terms are ", terms.shape(), ", expected [queries x heads x distances]");
    check(terms.dimension(2) >= 3 && terms.dimension(2) % 2 == 1, "RelativeKeys: terms have ", terms.dimension(2),
          " distances, expected 2k + 1 for a k of 1 or more");
    if (d_terms.data() != nullptr) detail::check_writable(d_terms);
    check(d_terms.data() == nullptr || d_terms.shape() == terms.shape(), "RelativeKeys: d_terms are ", d_terms.shape(),
          ", terms are ", terms.shape());
  }

  /// Returns a copy that aligns the last query with the last key, for keys that include earlier tokens (a cache).
  RelativeKeys after_past() const {
    RelativeKeys copy = *this;
    copy.alignment_ = Alignment::after_past();
    return copy;
  }
  /// Returns a copy that aligns the first query of sequence s with key offsets[s]. The offsets must outlive the score.
  RelativeKeys with_offsets(std::span<const Index> offsets) const {
    RelativeKeys copy = *this;
    copy.alignment_ = Alignment::with_offsets(offsets);
    return copy;
  }

  void check_covers(const ScoreTile& batch) const {
    alignment_.check_covers(batch);
    check(batch.query_end <= terms_.dimension(0) && batch.head + 1 == terms_.dimension(1),
          "attention: RelativeKeys has terms for ", terms_.dimension(0), " queries and ", terms_.dimension(1),
          " heads, expected ", batch.query_end, " and ", batch.head + 1);
  }

  Visible visible(const ScoreTile&) const { return Visible::all; }

  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    const Index n = scores.rows(), last = terms_.shape()[2] - 1;
    const detail::TileMemory<Scalar, 4096> before(n), after(n);  // small: the kernels need most of the stack
    for (Index i = 0; i < n; ++i) {
      before.data()[i] = at(terms_, tile, i, 0);
      after.data()[i] = at(terms_, tile, i, last);
    }
    for (Index j = 0; j < scores.cols(); ++j) {
      Scalar* column = scores.data() + j * scores.outerStride();
      const Parts part = parts(tile, j);
      detail::add_biases<Scalar>(part.after_end, after.data(), column);
      for (Index i = part.after_end; i < part.before_begin; ++i)
        detail::add_bias(at(terms_, tile, i, part.first - i), column[i]);
      detail::add_biases<Scalar>(n - part.before_begin, before.data() + part.before_begin, column + part.before_begin);
    }
  }

  void apply_backward(const ScoreTile& tile, ScoreBlock<Scalar> d_scores) const {
    if (d_terms_.data() == nullptr) return;
    const Index n = d_scores.rows(), last = terms_.shape()[2] - 1;
    const detail::TileMemory<Scalar, 4096> before(n), after(n);  // small: the kernels need most of the stack
    std::fill_n(before.data(), n, Scalar(0));
    std::fill_n(after.data(), n, Scalar(0));
    for (Index j = 0; j < d_scores.cols(); ++j) {
      const Scalar* column = d_scores.data() + j * d_scores.outerStride();
      const Parts part = parts(tile, j);
      detail::add_entries<Scalar>(part.after_end, column, after.data());
      for (Index i = part.after_end; i < part.before_begin; ++i) at(d_terms_, tile, i, part.first - i) += column[i];
      detail::add_entries<Scalar>(n - part.before_begin, column + part.before_begin, before.data() + part.before_begin);
    }
    for (Index i = 0; i < n; ++i) {
      at(d_terms_, tile, i, 0) += before.data()[i];
      at(d_terms_, tile, i, last) += after.data()[i];
    }
  }

 private:
  /// How far a key is from the queries of the tile:
  /// - queries 0 .. after_end - 1: the key is k or more after them
  /// - queries before_begin and later: the key is k or more before them
  /// - queries i between: the term has number first - i
  struct Parts {
    Index after_end, before_begin, first;
  };
  Parts parts(const ScoreTile& tile, Index j) const {
    const Index k = terms_.shape()[2] / 2, n = tile.query_end - tile.query_begin;
    const Index distance = tile.key_begin + j - alignment_.first_query(tile) - tile.query_begin;  // from query 0
    return {std::clamp<Index>(distance - k + 1, 0, n), std::clamp<Index>(distance + k, 0, n), distance + k};
  }

  template <class Entry>
  static Entry& at(const TensorView<Entry>& terms, const ScoreTile& tile, Index i, Index number) {
    return terms.data()[(tile.first_row + tile.query_begin + i) * terms.strides()[0] + tile.head * terms.strides()[1] +
                        number * terms.strides()[2]];
  }

  TensorView<const Scalar> terms_;
  TensorView<Scalar> d_terms_;
  Alignment alignment_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
