// Additive attention (Bahdanau, Cho and Bengio 2015, "Neural Machine Translation by Jointly Learning to Align and
// Translate", section 3.1 and appendix A.1.2). A network with one hidden layer scores every query against every key:
//
//   e_ij = v . tanh(q_i + k_j)       a_i = softmax of e_i over the keys of i's sequence       y_i = sum_j a_ij values_j
//
// The paper's W s and U h are q and k here, with any bias already added. The caller computes U h once per sentence.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <span>

#include "eigenformer/core/workspace.hpp"
#include "eigenformer/kernels/detail/attention/additive_units.hpp"
#include "eigenformer/kernels/detail/attention/tile_reader.hpp"
#include "eigenformer/kernels/detail/tile_memory.hpp"
#include "eigenformer/kernels/softmax.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Options of additive attention.
struct AdditiveAttentionOptions {
  RowOffsets query_rows{};  // rows of each sequence; by default one sequence
  RowOffsets key_rows{};    // rows of k and values of each sequence; as many sequences as query_rows
  // The rows of k and values to read, if keys are not in order or several sequences share them (as the hypotheses of a
  // beam search share a sentence). Keys are numbered consecutively over all sequences of key_rows; key j is row
  // key_index[j]. By default all rows are keys; an empty list means no keys.
  // The backward does not support key_index.
  std::optional<std::span<const Index>> key_index{};
  // The pages that hold keys and values, as in AttentionOptions. The backward does not support key_pages.
  std::optional<KeyPages> key_pages{};
  Threads* threads = nullptr;
  Workspace* workspace = nullptr;  // memory for lists of tasks and pages; null: the heap
};

/// The inputs of additive attention.
template <class Scalar>
struct AdditiveAttentionInputs {
  ConstMatrixRef<Scalar> q;       // [queries x A]
  ConstMatrixRef<Scalar> k;       // [keys x A]
  ConstMatrixRef<Scalar> v;       // [1 x A]
  ConstMatrixRef<Scalar> values;  // [keys x E]
};

/// The outputs of additive attention.
template <class Scalar>
struct AdditiveAttentionOutputs {
  MatrixRef<Scalar> y;        // [queries x E]; zeros for a query whose sequence has no keys
  MatrixRef<Scalar> weights;  // [queries x keys of the longest sequence], for the backward: a_ij; zeros beyond the
                              // keys of a sequence
};

/// The outputs of the backward of additive attention.
template <class Scalar>
struct AdditiveAttentionGradients {
  MatrixRef<Scalar> d_q;       // [queries x A]
  MatrixRef<Scalar> d_k;       // [keys x A]
  MatrixRef<Scalar> d_v;       // [1 x A]
  MatrixRef<Scalar> d_values;  // [keys x E]
};

namespace detail {

/// Returns additive attention as an AttentionLayout with one head. Throws if shapes and offsets do not fit.
inline AttentionLayout additive_attention_layout(Shape q, Shape k, Shape v, Shape values,
                                                 const AdditiveAttentionOptions& options) {
  check(q.cols == k.cols, "additive_attention: q is ", q, ", k is ", k, ", expected equal numbers of columns");
  check_shape("additive_attention", "v", v, {1, q.cols});
  check(values.rows == k.rows, "additive_attention: k is ", k, ", values is ", values,
        ", expected equal numbers of rows");
  const bool indexed = options.key_index.has_value(), paged = options.key_pages.has_value();
  check(!paged || (options.key_pages->page_size > 0 && options.key_rows.given() && !indexed),
        "additive_attention: key_pages needs a page_size, key_rows and no key_index");
  const std::span<const Index> key_index = options.key_index.value_or(std::span<const Index>());
  for (const Index row : key_index)
    check(row >= 0 && row < k.rows, "additive_attention: key_index has ", row, ", k is ", k);
  const Index keys = indexed ? static_cast<Index>(key_index.size()) : k.rows;
  AttentionLayout layout{
      1,
      1,
      k.cols,
      values.cols,
      1,
      options.query_rows.for_rows(q.rows, "additive_attention", "q"),
      paged ? options.key_rows : options.key_rows.for_rows(keys, "additive_attention", indexed ? "key_index" : "k"),
      key_index,
      {}};
  check(layout.sequences() == layout.key_rows.sequences(),
        "additive_attention: sequences in query_rows: ", layout.sequences(),
        ", in key_rows: ", layout.key_rows.sequences(), ", expected equally many");
  if (paged) add_pages("additive_attention", layout, *options.key_pages, k.rows, options.workspace);
  return layout;
}

/// Returns the number of items per task, so that a task takes about 20 microseconds. An item is a sequence or a tile
/// with at most `queries` queries.
inline Index additive_grain(const AttentionLayout& layout, Index queries) {
  return std::max<Index>(1, 16384 / std::max<Index>(1, queries * layout.key_rows.max_length() * layout.key_width));
}

}  // namespace detail

/// Writes the additive attention of q over k and values. See AdditiveAttentionOutputs. Throws if shapes and offsets do
/// not fit, before it writes.
template <class Scalar>
void additive_attention_forward(const AdditiveAttentionInputs<Scalar>& in, const AdditiveAttentionOptions& options,
                                AdditiveAttentionOutputs<Scalar> to) {
  const ConstMatrixRef<Scalar>&q = in.q, &k = in.k, &v = in.v, &values = in.values;
  MatrixRef<Scalar>&y = to.y, &weights = to.weights;
  const detail::AttentionLayout layout =
      detail::additive_attention_layout(shape(q), shape(k), shape(v), shape(values), options);
  check_shape("additive_attention", "y", shape(y), {q.rows(), values.cols()});
  check_shape("additive_attention", "weights", shape(weights), {q.rows(), layout.key_rows.max_length()});
  const detail::HeadRows<const Scalar> key_rows{k.data(), 0, k.outerStride(), 1, k.cols()};
  const detail::HeadRows<const Scalar> value_rows{values.data(), 0, values.outerStride(), 1, values.cols()};

  // Queries per tile: few, so that threads share long sequences; not fewer, because each tile may copy all keys.
  constexpr Index max_queries = 16;
  Index tile_count = 0;
  for (Index s = 0; s < layout.sequences(); ++s)
    tile_count += (layout.query_rows.length(s) + max_queries - 1) / max_queries;
  const std::shared_ptr<ScoreTile> memory_of_tiles = Workspace::allocate_from<ScoreTile>(options.workspace, tile_count);
  const std::span<ScoreTile> tiles(memory_of_tiles.get(), static_cast<std::size_t>(tile_count));
  auto next = tiles.begin();
  for (Index s = 0; s < layout.sequences(); ++s)
    for (Index begin = 0; begin < layout.query_rows.length(s); begin += max_queries) {
      ScoreTile tile;
      tile.sequence = s;
      tile.first_row = layout.query_rows.begin(s);
      tile.key_end = tile.keys = layout.key_rows.length(s);
      tile.query_begin = begin;
      tile.query_end = std::min<Index>(layout.query_rows.length(s), begin + max_queries);
      *next++ = tile;
    }
  const Index hidden = q.cols(), padded = detail::padded<Scalar>(hidden);
  const auto attend = [&](const ScoreTile& tile) {
    const Index first = tile.first_row + tile.query_begin, queries = tile.query_end - tile.query_begin;
    if (tile.keys == 0) {
      weights.middleRows(first, queries).setZero();
      y.middleRows(first, queries).setZero();
      return;
    }
    const detail::TileMemory<Scalar> memory(2 * padded);
    Scalar* const query = memory.data();
    Scalar* const minus_2v = query + padded;
    for (Index c = 0; c < padded; ++c) minus_2v[c] = c < hidden ? -2 * v(0, c) : Scalar(0);
    std::fill(query + hidden, query + padded, Scalar(0));
    detail::TileReader<Scalar> reader;
    const detail::Strided<Scalar> keys = reader.read_packets(key_rows, layout, 0, tile);
    for (Index i = first; i < first + queries; ++i) {
      std::copy_n(detail::row_begin(q, i), hidden, query);
      Scalar* const row = detail::row_begin(weights, i);
      detail::additive_scores<Scalar>(tile.keys, padded / simd::lanes<Scalar>, query, keys, minus_2v, row);
      detail::softmax_row<Scalar>(row, row, tile.keys);
      std::fill(row + tile.keys, row + weights.cols(), Scalar(0));
    }
    const detail::Strided<Scalar> of_keys = reader.read_packets(value_rows, layout, 0, tile);
    detail::multiply_panel<Scalar>({.rows = queries,
                                    .cols = values.cols(),
                                    .depth = tile.keys,
                                    .a = {detail::row_begin(weights, first), weights.outerStride(), 1},
                                    .b = {of_keys.data, of_keys.row_stride},
                                    .start = {},
                                    .c = {detail::row_begin(y, first), y.outerStride()}});
  };
  const Index per_tile = std::min<Index>(max_queries, layout.query_rows.max_length());
  parallel_for(options.threads, tile_count, detail::additive_grain(layout, per_tile), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) attend(tiles[static_cast<std::size_t>(t)]);
  });
}

/// Writes the gradients of additive_attention_forward. weights: written by the forward; d_y: [queries x E].
///
/// d_a = d_y values^T is the gradient of the weights, and the gradient of softmax turns it into d_e. For each hidden
/// unit, where tanh stands for tanh(q_i + k_j):
///
///   d_q_i = v sum_j d_e_ij (1 - tanh^2)      d_k_j = v sum_i d_e_ij (1 - tanh^2)      d_v = sum_ij d_e_ij tanh
///
/// Hidden units are independent, so threads divide them, a cache line at a time. Throws if shapes and offsets do not
/// fit, or if options has key_index or key_pages, before it writes.
template <class Scalar>
void additive_attention_backward(const AdditiveAttentionInputs<Scalar>& in, const AdditiveAttentionOptions& options,
                                 const ConstMatrixRef<Scalar>& weights, const ConstMatrixRef<Scalar>& d_y,
                                 AdditiveAttentionGradients<Scalar> to) {
  const ConstMatrixRef<Scalar>&q = in.q, &k = in.k, &v = in.v, &values = in.values;
  MatrixRef<Scalar>&d_q = to.d_q, &d_k = to.d_k, &d_v = to.d_v, &d_values = to.d_values;
  check(!options.key_index.has_value() && !options.key_pages.has_value(),
        "additive_attention: key_index and key_pages have no backward");
  const detail::AttentionLayout layout =
      detail::additive_attention_layout(shape(q), shape(k), shape(v), shape(values), options);
  const RowOffsets &query_rows = layout.query_rows, &key_rows = layout.key_rows;
  check_shape("additive_attention", "weights", shape(weights), {q.rows(), key_rows.max_length()});
  check_shape("additive_attention", "d_y", shape(d_y), {q.rows(), values.cols()});
  check_shape("additive_attention", "d_q", shape(d_q), shape(q));
  check_shape("additive_attention", "d_k", shape(d_k), shape(k));
  check_shape("additive_attention", "d_v", shape(d_v), shape(v));
  check_shape("additive_attention", "d_values", shape(d_values), shape(values));

  Matrix<Scalar> d_scores(weights.rows(), weights.cols());
  const Index sequences = layout.sequences();
  const auto differentiate_softmax = [&](Index s) {
    const Index queries = query_rows.length(s), keys = key_rows.length(s), i = query_rows.begin(s);
    if (keys == 0) return;
    if (queries == 0) return void(d_values.middleRows(key_rows.begin(s), keys).setZero());
    const detail::Strided<Scalar> d_y_rows{detail::row_begin(d_y, i), d_y.outerStride(), 1};
    const detail::Strided<Scalar> value_rows{detail::row_begin(values, key_rows.begin(s)), values.outerStride(), 1};
    detail::multiply_block<Scalar>({.rows = queries,
                                    .cols = keys,
                                    .depth = values.cols(),
                                    .a = d_y_rows,
                                    .b = detail::transposed(value_rows),
                                    .start = {},
                                    .c = {detail::row_begin(d_scores, i), d_scores.outerStride()}});
    for (Index row = i; row < i + queries; ++row) {
      Scalar* const d_row = detail::row_begin(d_scores, row);
      detail::softmax_row_backward<Scalar>(detail::row_begin(weights, row), d_row, d_row, keys);
    }
    detail::multiply_block<Scalar>({.rows = keys,
                                    .cols = values.cols(),
                                    .depth = queries,
                                    .a = {detail::row_begin(weights, i), 1, weights.outerStride()},
                                    .b = d_y_rows,
                                    .start = {},
                                    .c = {detail::row_begin(d_values, key_rows.begin(s)), d_values.outerStride()}});
  };
  parallel_for(options.threads, sequences, detail::additive_grain(layout, query_rows.max_length()),
               [&](Index begin, Index end) {
                 for (Index s = begin; s < end; ++s) differentiate_softmax(s);
               });

  constexpr Index lanes = simd::lanes<Scalar>;
  const auto differentiate_units = [&](Index c, Index count) {
    const auto v_part = detail::load_part(v.data() + c, count);
    const auto slope_v = simd::multiply(v_part, simd::broadcast(Scalar(4)));
    const detail::TileMemory<Scalar> memory(2 * key_rows.max_length() * lanes);
    Scalar* const key_panel = memory.data();
    Scalar* const d_keys = key_panel + key_rows.max_length() * lanes;
    auto d_v_sum = simd::broadcast(Scalar(0));
    for (Index s = 0; s < sequences; ++s) {
      const Index keys = key_rows.length(s), first = key_rows.begin(s);
      for (Index j = 0; j < keys; ++j)
        simd::store(key_panel + j * lanes, detail::load_part(detail::row_begin(k, first + j) + c, count));
      std::fill_n(d_keys, keys * lanes, Scalar(0));
      // Sum per query, then per sequence, then over the batch, so that no sum has many terms.
      auto d_v_of_sequence = simd::broadcast(Scalar(0));
      for (Index i = query_rows.begin(s); i < query_rows.end(s); ++i) {
        const auto query = detail::load_part(detail::row_begin(q, i) + c, count);
        const auto [d_query, d_v_of_query] =
            detail::add_additive_gradients<Scalar>(keys, query, key_panel, detail::row_begin(d_scores, i), d_keys);
        detail::store_part(detail::row_begin(d_q, i) + c, count, simd::multiply(d_query, slope_v));
        d_v_of_sequence = simd::add(d_v_of_sequence, d_v_of_query);
      }
      d_v_sum = simd::add(d_v_sum, d_v_of_sequence);
      for (Index j = 0; j < keys; ++j)
        detail::store_part(detail::row_begin(d_k, first + j) + c, count,
                           simd::multiply(simd::load(d_keys + j * lanes), slope_v));
    }
    // d_v_sum is sum d_e r, with r of TanhParts. As tanh = 1 - 2 r, and the d_e of each query sum to 0, d_v = -2 sum
    // d_e r.
    detail::store_part(d_v.data() + c, count, simd::multiply(d_v_sum, simd::broadcast(Scalar(-2))));
  };
  parallel_for(options.threads, q.cols(), detail::piece_size<Scalar>, [&](Index begin, Index end) {
    for (Index c = begin; c < end; c += lanes) differentiate_units(c, std::min<Index>(lanes, end - c));
  });
}

/// Returns the additive attention of q over k and values: [queries x E]. Takes any Eigen matrices or expressions with
/// the same scalar type. Throws if shapes and offsets do not fit.
template <class Q, class K, class V, class Values>
Matrix<typename Q::Scalar> additive_attention(const Eigen::MatrixBase<Q>& q, const Eigen::MatrixBase<K>& k,
                                              const Eigen::MatrixBase<V>& v, const Eigen::MatrixBase<Values>& values,
                                              const AdditiveAttentionOptions& options = {}) {
  using Scalar = typename Q::Scalar;
  const detail::AttentionLayout layout =
      detail::additive_attention_layout(shape(q), shape(k), shape(v), shape(values), options);
  Matrix<Scalar> y(q.rows(), values.cols());
  Matrix<Scalar> weights(q.rows(), layout.key_rows.max_length());
  additive_attention_forward<Scalar>({q.derived(), k.derived(), v.derived(), values.derived()}, options, {y, weights});
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
