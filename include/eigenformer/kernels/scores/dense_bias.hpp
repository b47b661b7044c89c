// A dense bias: the caller's number for every query and key, added to their score.
#pragma once

#include "eigenformer/core/tensor.hpp"
#include "eigenformer/kernels/detail/attention/distance_bias.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Adds the bias of its head, query and key to each score. A bias of -inf hides the key, whatever its score. Holds
/// views: the tensors must outlive it. The bias is one of these, with any strides:
/// - [query rows x keys] or [heads x query rows x keys], where rows are those of the batch and heads may be 1, for all;
/// - [batch x heads x queries x keys], where queries are counted within their sequence. A dimension of size 1 is
///   repeated.
/// Keys are counted within their sequence. The bias may have more queries and keys than the call. Its numbers of
/// sequences and heads must be 1 or those of the call; otherwise attention throws.
template <class Scalar>
class DenseBias {
 public:
  static constexpr ScoreStage stage = ScoreStage::bias;
  static constexpr bool heads_share_gradient = true, sequences_share_gradient = true;  // if it is repeated
  static constexpr bool reads_rows_of_keys = true;

  /// If d_bias is given, it has the shape of bias and the backward adds to it. Throws if the rank is not 2 to 4, or if
  /// the shapes differ.
  ///
  /// The gradient of a repeated entry is the sum over all its uses, in an order that does not depend on the threads. So
  /// if the bias is repeated along batch, queries or keys, one thread per key head computes the backward. If it is also
  /// repeated along heads, one thread computes all of it.
  explicit DenseBias(const TensorView<const Scalar>& bias, const TensorView<Scalar>& d_bias = {})
      : by_sequence_(bias.rank() == 4),
        bias_(by_heads(bias)),
        d_bias_(d_bias.data() == nullptr ? d_bias : by_heads(d_bias)) {
    if (d_bias.data() == nullptr) return;
    check(d_bias.shape() == bias.shape(), "DenseBias: d_bias is ", d_bias.shape(), ", bias is ", bias.shape());
    detail::check_writable(d_bias);
  }

  SharedGradients shared_gradients() const {
    if (d_bias_.data() == nullptr) return {};
    const Sizes& shape = d_bias_.shape();
    return {shape[1] == 1, by_sequence_ && (shape[0] == 1 || shape[2] == 1 || shape[3] == 1)};
  }

  void check_covers(const ScoreTile& batch) const {
    const Sizes& shape = bias_.shape();
    if (!by_sequence_) {
      check((shape[1] == 1 || shape[1] == batch.head + 1) && batch.query_end <= shape[2] && batch.key_end <= shape[3],
            "attention: the dense bias has ", shape[1], " matrices of ", Shape{shape[2], shape[3]}, ", expected 1 or ",
            batch.head + 1, " matrices of at least ", Shape{batch.query_end, batch.key_end});
      return;
    }
    detail::check_sizes_cover("dense bias", shape, batch);
  }

  Visible visible(const ScoreTile&) const { return Visible::some; }  // a bias may be -inf

  void apply(const ScoreTile& tile, ScoreBlock<Scalar> scores) const {
    for_each_square(
        bias_, tile, scores,
        [](const Scalar* bias, Index bias_stride, Scalar* score, Index score_stride) {
          simd::for_each_column(bias, bias_stride, lanes, [&](Index i, const simd::Packet<Scalar>& column) {
            Scalar* const scores_of_key = score + i * score_stride;
            simd::store(scores_of_key, detail::biased<Scalar>(simd::load(scores_of_key), column));
          });
        },
        [](const Scalar& bias_entry, Scalar& score) { detail::add_bias(bias_entry, score); });
  }

  void apply_backward(const ScoreTile& tile, ScoreBlock<Scalar> d_scores) const {
    if (d_bias_.data() == nullptr) return;
    if (by_sequence_ && (d_bias_.shape()[2] == 1 || d_bias_.shape()[3] == 1)) return add_sums(tile, d_scores);
    for_each_square(
        d_bias_, tile, d_scores,
        [](Scalar* d_bias, Index bias_stride, Scalar* d_score, Index score_stride) {
          add_transpose(d_score, score_stride, d_bias, bias_stride);
        },
        [](Scalar& d_bias, Scalar& d_score) { d_bias += d_score; });
  }

 private:
  static constexpr Index lanes = simd::lanes<Scalar>;

  /// Adds the transpose of a square [lanes x lanes] to another square.
  static void add_transpose(const Scalar* from, Index from_stride, Scalar* to, Index to_stride) {
    simd::for_each_column(from, from_stride, lanes, [&](Index i, const simd::Packet<Scalar>& column) {
      simd::store(to + i * to_stride, simd::add(simd::load(to + i * to_stride), column));
    });
  }

  /// Adds a tile's gradients to d_bias if the bias is repeated along queries or keys. Sums the tile first, so that long
  /// sums round less.
  void add_sums(const ScoreTile& tile, ScoreBlock<Scalar> d_scores) const {
    const Index queries = d_scores.rows(), keys = d_scores.cols();
    Scalar* const first = first_entry(d_bias_, tile);
    const Index row_stride = d_bias_.strides()[2], key_stride = d_bias_.strides()[3];
    if (d_bias_.shape()[2] == 1) {
      Scalar sum = 0;
      for (Index j = 0; j < keys; ++j) {
        const Scalar of_key = sum_of(queries, d_scores.data() + j * d_scores.outerStride());
        if (key_stride == 0)
          sum += of_key;
        else
          first[j * key_stride] += of_key;
      }
      if (key_stride == 0) *first += sum;
      return;
    }
    const detail::TileMemory<Scalar> sums(queries);
    std::fill_n(sums.data(), queries, Scalar(0));
    for (Index j = 0; j < keys; ++j)
      detail::add_entries<Scalar>(queries, d_scores.data() + j * d_scores.outerStride(), sums.data());
    for (Index i = 0; i < queries; ++i) first[i * row_stride] += sums.data()[i];
  }
  /// Returns the sum of `count` entries, in an order that depends on the count alone.
  static Scalar sum_of(Index count, const Scalar* from) {
    simd::Packet<Scalar> packets = simd::broadcast(Scalar(0));
    Index i = 0;
    for (; i + lanes <= count; i += lanes) packets = simd::add(packets, simd::load(from + i));
    Scalar sum = simd::sum_of_lanes<Scalar>(packets);
    for (; i < count; ++i) sum += from[i];
    return sum;
  }

  /// Returns the address of the bias of a tile's first query and key.
  template <class Entry>
  Entry* first_entry(const TensorView<Entry>& bias, const ScoreTile& tile) const {
    const Sizes& strides = bias.strides();
    const Index first_row = by_sequence_ ? tile.query_begin : tile.first_row + tile.query_begin;
    return bias.data() + (by_sequence_ ? tile.sequence * strides[0] : 0) + tile.head * strides[1] +
           first_row * strides[2] + tile.key_begin * strides[3];
  }

  /// Returns the bias as [batch x heads x queries x keys]; dimensions of size 1 have a stride of 0.
  template <class Entry>
  static TensorView<Entry> by_heads(const TensorView<Entry>& bias) {
    check(bias.rank() >= 2 && bias.rank() <= 4, "DenseBias: a tensor ", bias.shape(),
          ", expected [queries x keys], [heads x queries x keys] or [batch x heads x queries x keys]");
    TensorView<Entry> x = bias;
    while (x.rank() < 4) x = x.unsqueeze(0);
    Sizes strides = x.strides();
    for (int d = 0; d < 4; ++d)
      if (x.shape()[d] == 1 && (d < 2 || bias.rank() == 4)) strides[d] = 0;
    return {x.data(), x.shape(), strides};
  }

  /// Calls square(bias, its stride, score, its stride) for squares [lanes x lanes] if the rows of the bias are
  /// contiguous, and entry(bias, score) for the rest. Squares are transposed because the scores of one key are
  /// contiguous, but the bias is contiguous along the keys of one query.
  template <class Entry, class Square, class Single>
  void for_each_square(const TensorView<Entry>& bias, const ScoreTile& tile, ScoreBlock<Scalar> scores, Square square,
                       Single entry) const {
    const Sizes& strides = bias.strides();
    const Index row_stride = strides[2], key_stride = strides[3], score_stride = scores.outerStride();
    Entry* const first = first_entry(bias, tile);
    const Index whole_rows = key_stride == 1 ? scores.rows() / lanes * lanes : 0;
    const Index whole_cols = scores.cols() / lanes * lanes;
    // Prefetches the rows of short tiles, such as those of the backward, because they end before the hardware
    // prefetcher starts. Two variants gain nothing or lose: prefetching into L1, where rows fall into the same cache
    // sets, and prefetching the longer rows of the forward. A row of the square fills a cache line with AVX-512 only;
    // other cases were not measured.
    // Measured: Xeon, n = 2048, d = 64, bias with gradient: 0.71 of the plain kernel's speed, 0.68 without prefetching.
    constexpr Index short_row = 128, ahead = 4 * lanes;
    constexpr bool row_is_line = lanes * sizeof(Scalar) == 64;
    const Index asked_for = row_is_line && whole_cols <= short_row ? bias.shape()[3] - tile.key_begin - ahead : 0;
    for (Index i = 0; i < whole_rows; i += lanes)
      for (Index j = 0; j < whole_cols; j += lanes) {
        Entry* const rows = first + i * row_stride + j;
        for (Index row = 0; j < asked_for && row < lanes; ++row)
          simd::prefetch_to_second(rows + row * row_stride + ahead);
        square(rows, row_stride, scores.data() + j * score_stride + i, score_stride);
      }
    for (Index j = 0; j < scores.cols(); ++j)
      for (Index i = j < whole_cols ? whole_rows : 0; i < scores.rows(); ++i)
        entry(first[i * row_stride + j * key_stride], scores.coeffRef(i, j));
  }

  bool by_sequence_;
  TensorView<const Scalar> bias_;  // [batch x heads x queries x keys], as for d_bias_
  TensorView<Scalar> d_bias_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
