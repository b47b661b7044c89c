// The options of a call of attention, checked against the shapes of its operands.
#pragma once

#include <cmath>
#include <memory>
#include <span>

#include "eigenformer/core/detail/fast_math.hpp"
#include "eigenformer/kernels/attention_options.hpp"
#include "eigenformer/kernels/detail/attention/score_calls.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// The options of a call, checked against q, k and v.
struct AttentionLayout {
  Index heads;
  Index key_heads;
  Index key_width;    // of one head
  Index value_width;  // of one head
  double scale;
  RowOffsets query_rows;
  RowOffsets key_rows;
  std::span<const Index> key_index;     // empty if keys lie in order, or if there are none
  std::span<const double> sinks;        // of each head, or empty
  KeyPages pages{};                     // page_size 0: keys do not lie in pages
  std::shared_ptr<Index> first_page{};  // index in pages.pages of each sequence's first page

  /// Returns the number of query heads that share a key head.
  Index group() const { return heads / key_heads; }
  /// Returns the key head that a query head reads.
  Index key_head(Index head) const { return head / group(); }
  Index sequences() const { return query_rows.sequences(); }

  /// Returns the row of k and v of a sequence's key.
  Index key_row(Index sequence, Index key) const {
    if (pages.page_size > 0) {
      const Index page = first_page.get()[sequence] + key / pages.page_size;
      return pages.pages[static_cast<std::size_t>(page)] * pages.page_size + key % pages.page_size;
    }
    const Index number = key_rows.begin(sequence) + key;
    return key_index.empty() ? number : key_index[static_cast<std::size_t>(number)];
  }
  /// Returns whether the rows of keys begin to end - 1 of a sequence are one after another in memory.
  bool has_adjacent_rows(Index sequence, Index begin, Index end) const {
    if (!key_index.empty()) return false;
    if (pages.page_size == 0) return true;
    for (Index key = begin; key < end; key = (key / pages.page_size + 1) * pages.page_size)
      if (key_row(sequence, key) != key_row(sequence, begin) + key - begin) return false;
    return true;
  }
};

/// Iterates over the rows of k and v that hold a sequence's keys. Unlike AttentionLayout::key_row, it divides by the
/// page size only once.
class KeyRowCursor {
 public:
  /// Starts at `key`. If that is beyond the last key, row() must not be called.
  KeyRowCursor(const AttentionLayout& layout, Index sequence, Index key)
      : index_(layout.key_index), pages_(layout.pages), place_(layout.key_rows.begin(sequence) + key) {
    if (pages_.page_size == 0) return;
    page_ = layout.first_page.get()[sequence] + key / pages_.page_size;
    place_ = key % pages_.page_size;
  }

  Index row() const {
    if (pages_.page_size > 0) return pages_.pages[static_cast<std::size_t>(page_)] * pages_.page_size + place_;
    return index_.empty() ? place_ : index_[static_cast<std::size_t>(place_)];
  }
  /// Moves to the next key.
  void advance() {
    if (++place_ != pages_.page_size) return;
    place_ = 0;
    ++page_;
  }

 private:
  std::span<const Index> index_;
  KeyPages pages_;
  Index page_ = 0;  // in pages_.pages
  Index place_;     // row in the page; without pages: index among all keys
};

/// Adds the pages that hold the keys. where: begins error messages; rows: number of rows of k and v; workspace: memory
/// for the layout. Throws if there are too few pages, or if one is not in k and v.
inline void add_pages(const char* where, AttentionLayout& layout, const KeyPages& given, Index rows,
                      Workspace* workspace = nullptr) {
  layout.pages = given;
  layout.first_page = Workspace::allocate_from<Index>(workspace, layout.sequences());
  Index pages = 0;
  for (Index s = 0; s < layout.sequences(); ++s) {
    layout.first_page.get()[s] = pages;
    const Index keys = layout.key_rows.length(s);
    pages += keys / given.page_size + (keys % given.page_size == 0 ? 0 : 1);  // sums with the size could overflow
  }
  check(static_cast<Index>(given.pages.size()) == pages, where, ": key_pages has ", given.pages.size(),
        " pages, expected ", pages, " of ", given.page_size, " rows for ", layout.key_rows.rows(), " keys");
  for (const Index page : given.pages)
    check(page >= 0 && page < rows / given.page_size, where, ": key_pages has page ", page, ", k has ",
          rows / given.page_size, " pages of ", given.page_size, " rows");
}

/// Throws if pairs of a query and a key would share draws of dropout: see AttentionDropout::blocks_of.
inline void check_draws(const AttentionLayout& layout) {
  constexpr Index most_keys = Index(1) << 24, most_queries = Index(1) << 30, most_heads = Index(1) << 14;
  const Index keys = layout.key_rows.max_length(), queries = layout.query_rows.rows();
  check(keys <= most_keys && queries <= most_queries && layout.heads <= most_heads, "attention: dropout with ", keys,
        " keys in a sequence, ", queries, " queries and ", layout.heads, " heads, expected at most ", most_keys, ", ",
        most_queries, " and ", most_heads);
}

/// Returns the layout of a call with operands of shapes q, k and v. Throws if they or the options do not fit.
inline AttentionLayout attention_layout(Shape q, Shape k, Shape v, const AttentionOptions& options) {
  const Index heads = options.heads;
  const Index key_heads = options.key_heads == 0 ? heads : options.key_heads;
  check(heads >= 1 && key_heads >= 1, "attention: ", heads, " heads and ", key_heads,
        " key heads, expected at least 1 of each");
  check(heads % key_heads == 0, "attention: ", heads, " heads cannot share ", key_heads,
        " key heads, expected a multiple");
  check(q.cols >= heads, "attention: q is ", q, ", expected at least 1 column for each of ", heads, " heads");
  check(q.cols % heads == 0, "attention: q is ", q, ", expected a width that ", heads, " heads divide");
  const Index key_width = q.cols / heads;
  check(k.cols == key_heads * key_width, "attention: q is ", q, ", k is ", k, ", expected ", key_heads * key_width,
        " columns in k (heads ", heads, ", key_heads ", key_heads, ")");
  check(v.cols % key_heads == 0, "attention: v is ", v, ", expected a width that ", key_heads, " key heads divide");
  check(k.rows == v.rows, "attention: k is ", k, ", v is ", v, ", expected equal numbers of rows");
  check(options.dropout >= 0 && options.dropout < 1, "attention: dropout is ", options.dropout,
        ", expected 0 or more and less than 1");
  check(!options.scale.has_value() || is_finite(*options.scale), "attention: scale is ", options.scale.value_or(0),
        ", expected a finite number");
  const bool indexed = options.key_index.has_value(), paged = options.key_pages.has_value();
  check(!paged || (options.key_pages->page_size > 0 && options.key_rows.given() && !indexed),
        "attention: key_pages with a page_size of ", paged ? options.key_pages->page_size : 0,
        options.key_rows.given() ? ", with key_rows" : ", without key_rows",
        indexed ? " and with a key_index" : " and without key_index",
        ", expected a page_size of 1 or more, key_rows and no key_index");
  const std::span<const Index> key_index = options.key_index.value_or(std::span<const Index>());
  for (const Index row : key_index) check(row >= 0 && row < k.rows, "attention: key_index has ", row, ", k is ", k);
  AttentionLayout layout{heads,
                         key_heads,
                         key_width,
                         v.cols / key_heads,
                         options.scale.value_or(1 / std::sqrt(static_cast<double>(key_width))),
                         options.query_rows.for_rows(q.rows, "attention", "q"),
                         paged ? options.key_rows
                               : options.key_rows.for_rows(indexed ? static_cast<Index>(key_index.size()) : k.rows,
                                                           "attention", indexed ? "key_index" : "k"),
                         key_index,
                         options.sinks};
  check(options.sinks.empty() || static_cast<Index>(options.sinks.size()) == heads, "attention: ", options.sinks.size(),
        " sinks, expected one for each of ", heads, " heads");
  check(layout.query_rows.sequences() == layout.key_rows.sequences(),
        "attention: sequences in query_rows: ", layout.query_rows.sequences(),
        ", in key_rows: ", layout.key_rows.sequences(), ", expected equally many");
  if (options.dropout > 0) check_draws(layout);
  if (paged) add_pages("attention", layout, *options.key_pages, k.rows, options.workspace);
  return layout;
}

/// Returns the tile that a score with a size of its own must cover: the last sequence and head, all query rows of the
/// batch, and the keys of the longest sequence.
inline ScoreTile whole_batch(const AttentionLayout& layout) {
  ScoreTile batch;
  batch.head = layout.heads - 1;
  batch.sequence = layout.sequences() - 1;
  batch.queries = layout.query_rows.max_length();
  batch.query_end = layout.query_rows.rows();
  batch.keys = batch.key_end = layout.key_rows.max_length();
  return batch;
}

/// Throws if the score has a size of its own that does not cover the batch.
template <Score S>
void check_covers(const S& score, const AttentionLayout& layout) {
  check_covers(score, whole_batch(layout), layout.query_rows, layout.key_rows);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
