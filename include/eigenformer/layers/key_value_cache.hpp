// Cache of the keys and values of attention layers, for decoding step by step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "eigenformer/autograd/variable.hpp"
#include "eigenformer/layers/page_table.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct KeyValueCacheOptions {
  Index layers = 1;
  // Tokens in a page. Attention reads a sequence in place if it fits into one page, if its pages are adjacent, or if it
  // has a single query and no two heads share a key head. Otherwise it copies the sequence tile by tile. Large pages
  // waste memory at the end of each sequence, and cost more to copy when sequences diverge.
  Index page_size = 16;
};

/// Stores the projected keys and values of sequences, for all layers of a decoder. They lie in pages, and sequences
/// share the pages of common prefixes: see PageTable. All layers use the same page numbers.
///
/// This makes sixteen continuations of one prompt, which is stored once:
///
///   KeyValueCache<float> cache({.layers = 12});
///   cache.add(1);
///   cache.extend(std::vector<Index>{prompt.rows()});
///   for (Index layer = 0; layer < 12; ++layer) cache.write(layer, prompt_keys(layer), prompt_values(layer));
///   cache.branch(std::vector<Index>(16, 0));
///   cache.extend();                                  // a token for each
///   cache.write(layer, keys, values);                // [16 x width]
///   y = attention(q, cache.keys(layer).value(), cache.values(layer).value(), cache.options({.heads = 8}));
///
/// MultiHeadAttention::append_to_cache and attend_to_cache do the last two lines for a layer.
///
/// The buffers double when all pages are used, which copies the rows. Otherwise rows stay where they are, and only a
/// longer page table allocates memory.
template <class Scalar>
class KeyValueCache {
 public:
  /// Throws if layers is negative or page_size below 1.
  explicit KeyValueCache(const KeyValueCacheOptions& options = {})
      : table_(options.page_size), layers_(static_cast<std::size_t>(std::max<Index>(options.layers, 0))) {
    check(options.layers >= 0, "KeyValueCache: layers is ", options.layers, ", expected 0 or more");
  }

  /// The pages of the sequences, and what the last extend() added.
  const PageTable& table() const { return table_; }
  Index layers() const { return static_cast<Index>(layers_.size()); }
  Index sequences() const { return table_.sequences(); }
  Index length(Index sequence) const { return table_.length(sequence); }

  /// Adds `count` sequences without tokens after the others. Throws if count is negative.
  void add(Index count) { table_.add(count); }
  /// Replaces sequence i by the former sequence parents[i]. Drops sequences that are not among the parents. Throws,
  /// before it changes anything, if a parent does not exist.
  void branch(std::span<const Index> parents) {
    table_.branch(parents);
    if (table_.used_pages() == 0)  // no tokens are left, so no layer lacks any
      for (Layer& layer : layers_) layer.extensions = extensions_;
  }
  /// Makes room for tokens[s] more tokens of sequence s. write() then stores their keys and values. Throws, before it
  /// changes anything, unless there is one number for each sequence, 0 or more.
  void extend(std::span<const Index> tokens) {
    table_.extend(tokens);
    after_extend();
  }
  /// Makes room for one more token of every sequence.
  void extend() {
    table_.extend();
    after_extend();
  }

  /// Stores a layer's keys and values of the tokens that the last extend() added, sequence by sequence. Throws if the
  /// layer does not exist, if it lacks the tokens of an earlier extend(), if there is not one row per new token, or if
  /// widths differ from those of earlier rows.
  /// keys: [new tokens x key width], values: [new tokens x value width].
  template <class Keys, class Values>
  void write(Index layer, const Eigen::MatrixBase<Keys>& keys, const Eigen::MatrixBase<Values>& values) {
    Layer& to = layers_[checked(layer)];
    const auto rows = static_cast<Index>(table_.new_rows().size());
    check(extensions_ - to.extensions <= (rows > 0 ? 1U : 0U), "KeyValueCache: layer ", layer,
          " lacks the tokens of an earlier extend(), expected a write() after each");
    check(keys.rows() == rows && values.rows() == rows, "KeyValueCache: keys are ", shape(keys), ", values are ",
          shape(values), ", expected ", rows, " rows, one per new token");
    const bool is_first = to.keys.cols() == 0 && to.values.cols() == 0;
    check(is_first || (keys.cols() == to.keys.cols() && values.cols() == to.values.cols()), "KeyValueCache: keys are ",
          shape(keys), ", values are ", shape(values), ", expected ", to.keys.cols(), " and ", to.values.cols(),
          " columns");
    grow(to.keys, keys.cols());
    grow(to.values, values.cols());
    for (Index i = 0; i < rows; ++i) {
      const Index row = table_.new_rows()[static_cast<std::size_t>(i)];
      to.keys.row(row) = keys.row(i);
      to.values.row(row) = values.row(i);
    }
    to.extensions = extensions_;
  }

  /// Returns a layer's keys: [rows x key width]. The rows are numbered as in table(). Valid until the next extend().
  /// Throws if the layer does not exist, or if write() has not stored the tokens that the last extend() added.
  Variable<Scalar> keys(Index layer) const { return rows_of(layer, layers_[checked(layer)].keys); }
  /// Returns a layer's values: [rows x value width]; otherwise like keys().
  Variable<Scalar> values(Index layer) const { return rows_of(layer, layers_[checked(layer)].values); }

  /// Returns `given` for attention to keys() and values(), with the lengths and pages of each sequence's keys. If
  /// given.query_rows is not set, the queries are the tokens that the last extend() added. Valid until the sequences
  /// change.
  AttentionOptions options(AttentionOptions given) const {
    if (!given.query_rows.given()) given.query_rows = table_.new_tokens();
    given.key_rows = table_.key_rows();
    given.key_pages = table_.key_pages();
    return given;
  }

 private:
  struct Layer {
    Matrix<Scalar> keys, values;
    std::uint64_t extensions = 0;  // value of extensions_ at the last write()
  };

  std::size_t checked(Index layer) const {
    check(layer >= 0 && layer < layers(), "KeyValueCache: layer ", layer, " does not exist, there are ", layers());
    return static_cast<std::size_t>(layer);
  }
  Variable<Scalar> rows_of(Index layer, const Matrix<Scalar>& buffer) const {
    check(layers_[checked(layer)].extensions == extensions_, "KeyValueCache: layer ", layer,
          " lacks the tokens that the last extend() added, expected a write() after it");
    // A layer that lacks no tokens may still have a smaller buffer, if no tokens are left.
    const Index rows = std::min<Index>(table_.pages() * table_.page_size(), buffer.rows());
    return Variable<Scalar>::view(buffer.data(), rows, buffer.cols());
  }
  void grow(Matrix<Scalar>& buffer, Index width) const {
    const Index rows = table_.pages() * table_.page_size();
    if (buffer.rows() < rows || buffer.cols() != width)
      buffer.conservativeResize(buffer.rows() < rows ? std::max<Index>(2 * buffer.rows(), rows) : buffer.rows(), width);
  }
  // Counts an extension that added tokens, and copies the pages that sequences no longer share.
  void after_extend() {
    if (!table_.new_rows().empty()) ++extensions_;
    for (Layer& layer : layers_)
      for (Matrix<Scalar>* buffer : {&layer.keys, &layer.values}) {
        if (table_.copies().empty() || buffer->cols() == 0) continue;
        grow(*buffer, buffer->cols());
        for (const PageCopy& copy : table_.copies())
          buffer->middleRows(copy.to * table_.page_size(), copy.rows) =
              buffer->middleRows(copy.from * table_.page_size(), copy.rows);
      }
  }

  PageTable table_;
  std::vector<Layer> layers_;
  std::uint64_t extensions_ = 0;  // number of calls of extend() that added tokens
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
