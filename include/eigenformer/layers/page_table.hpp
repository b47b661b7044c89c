// Sequences that grow token by token in pages, and share the pages of common prefixes (as in vLLM: Kwon et al. 2023,
// arXiv 2309.06180).
#pragma once

#include <algorithm>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "eigenformer/core/row_offsets.hpp"
#include "eigenformer/kernels/attention_options.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A copy to make before new rows are written: of the first `rows` rows of page `from`, to page `to`.
struct PageCopy {
  Index from;
  Index to;
  Index rows;
};

/// Maps the tokens of each sequence to pages. Page p is rows p * page_size to (p + 1) * page_size - 1 of buffers that
/// the caller owns, such as those of a KeyValueCache. Token t of a sequence lies in its page t / page_size.
///
/// Pages have reference counts. branch() shares pages, so it moves only integers. If other sequences share the page
/// that a sequence would write to, extend() gives the sequence a page of its own. A page that no sequence uses is free,
/// and is used again.
///
/// No call allocates memory once the lists have reached their final length.
class PageTable {
 public:
  /// Throws if page_size is below 1.
  explicit PageTable(Index page_size = 16) : page_size_(page_size) {
    check(page_size >= 1, "PageTable: page_size is ", page_size, ", expected 1 or more");
  }

  Index page_size() const { return page_size_; }
  Index sequences() const { return static_cast<Index>(now_.offsets.size()) - 1; }
  Index length(Index sequence) const { return key_rows().length(sequence); }
  /// Returns the number of pages that buffers must have.
  Index pages() const { return static_cast<Index>(references_.size()); }
  Index used_pages() const { return pages() - free_pages_; }

  /// Adds `count` sequences without tokens after the others. Throws if count is negative.
  void add(Index count) {
    check(count >= 0, "PageTable: ", count, " sequences are added, expected 0 or more");
    for (Index i = 0; i < count; ++i) now_.end_sequence(0);
  }

  /// Replaces sequence i by the former sequence parents[i]. Drops sequences that are not among the parents, and frees
  /// pages that no sequence uses any more. Throws, before it changes anything, if a parent does not exist.
  void branch(std::span<const Index> parents) {
    for (const Index parent : parents)
      check(parent >= 0 && parent < sequences(), "PageTable: parent ", parent, " does not exist, there are ",
            sequences());
    next_.clear();
    for (const Index parent : parents) {
      for (const Index page : now_.pages_of(parent)) {
        next_.pages.push_back(page);
        ++references_[static_cast<std::size_t>(page)];
      }
      next_.end_sequence(length(parent));
    }
    for (const Index page : now_.pages) release(page);
    std::swap(now_, next_);
    forget_new_tokens();
  }

  /// Adds tokens[s] tokens to sequence s. Throws, before it changes anything, unless there is one number for each
  /// sequence, 0 or more.
  void extend(std::span<const Index> tokens) {
    check(static_cast<Index>(tokens.size()) == sequences(), "PageTable: ", tokens.size(),
          " numbers of new tokens, expected ", sequences(), ", one per sequence");
    for (const Index count : tokens)
      check(count >= 0, "PageTable: ", count, " tokens are added to a sequence, expected 0 or more");
    extend_by([&](Index s) { return tokens[static_cast<std::size_t>(s)]; });
  }
  /// Adds one token to every sequence.
  void extend() {
    extend_by([](Index) { return Index{1}; });
  }

  /// Returns the lengths of all sequences as offsets, valid until the table changes.
  RowOffsets key_rows() const { return RowOffsets::view(now_.offsets); }
  /// Returns the pages of all sequences for AttentionOptions::key_pages, valid until the table changes.
  KeyPages key_pages() const { return {page_size_, now_.pages}; }

  // The functions below describe the tokens that the last extend() added, sequence by sequence. Their results are valid
  // until the table changes.

  /// Returns the numbers of new tokens of the sequences, as offsets.
  RowOffsets new_tokens() const { return RowOffsets::view(new_offsets_); }
  /// Returns the buffer row of each new token.
  std::span<const Index> new_rows() const { return new_rows_; }
  /// Returns the position of each new token in its sequence.
  std::span<const Index> new_positions() const { return new_positions_; }
  /// Returns the pages to copy before rows are written.
  std::span<const PageCopy> copies() const { return copies_; }

 private:
  // The pages and lengths of all sequences.
  struct Sequences {
    std::vector<Index> pages;          // of all sequences, one after another
    std::vector<Index> first_page{0};  // index in `pages` of each sequence's first page; ends with their number
    std::vector<Index> offsets{0};     // of the sequences' tokens

    void clear() {
      pages.clear();
      first_page.assign(1, 0);
      offsets.assign(1, 0);
    }
    // Ends a sequence of this length, whose pages have been added to `pages`.
    void end_sequence(Index length) {
      first_page.push_back(static_cast<Index>(pages.size()));
      offsets.push_back(offsets.back() + length);
    }
    std::span<const Index> pages_of(Index sequence) const {
      const auto s = static_cast<std::size_t>(sequence);
      return std::span(pages).subspan(static_cast<std::size_t>(first_page[s]),
                                      static_cast<std::size_t>(first_page[s + 1] - first_page[s]));
    }
  };

  template <class Count>
  void extend_by(Count count) {
    forget_new_tokens();
    next_.clear();
    for (Index s = 0; s < sequences(); ++s) {
      const std::span<const Index> pages = now_.pages_of(s);
      const Index before = length(s), after = before + count(s);
      next_.pages.insert(next_.pages.end(), pages.begin(), pages.end());
      if (after > before && before % page_size_ != 0) own_last_page(before % page_size_);
      const Index needed = after / page_size_ + (after % page_size_ == 0 ? 0 : 1);  // sums with the size could overflow
      add_pages(needed - static_cast<Index>(pages.size()));
      next_.end_sequence(after);
      for (Index position = before; position < after; ++position) {
        const Index page = next_.pages_of(s)[static_cast<std::size_t>(position / page_size_)];
        check(page < (std::numeric_limits<Index>::max)() / page_size_, "PageTable: page ", page, " of ", page_size_,
              " rows has rows beyond the largest Index");
        new_rows_.push_back(page * page_size_ + position % page_size_);
        new_positions_.push_back(position);
      }
      new_offsets_.push_back(static_cast<Index>(new_rows_.size()));
    }
    std::swap(now_, next_);
  }

  // Replaces the last page of `next_` by a copy if other sequences share it. rows: number of its rows in use.
  void own_last_page(Index rows) {
    const Index shared = next_.pages.back();
    if (references_[static_cast<std::size_t>(shared)] == 1) return;
    next_.pages.pop_back();
    add_pages(1);
    copies_.push_back({shared, next_.pages.back(), rows});
    release(shared);
  }

  // Adds `count` adjacent free pages to `next_`, because attention reads adjacent pages in place.
  void add_pages(Index count) {
    if (count == 0) return;
    Index first = first_free_, found = 0;
    while (found < count && first + found < pages()) {
      if (references_[static_cast<std::size_t>(first + found)] == 0) {
        ++found;
      } else {
        first += found + 1;
        found = 0;
      }
    }
    for (; found < count; ++found, ++free_pages_) references_.push_back(0);
    for (Index page = first; page < first + count; ++page) {
      references_[static_cast<std::size_t>(page)] = 1;
      next_.pages.push_back(page);
    }
    free_pages_ -= count;
    while (first_free_ < pages() && references_[static_cast<std::size_t>(first_free_)] != 0) ++first_free_;
  }

  void release(Index page) {
    if (--references_[static_cast<std::size_t>(page)] > 0) return;
    ++free_pages_;
    first_free_ = std::min<Index>(first_free_, page);
  }

  void forget_new_tokens() {
    new_rows_.clear();
    new_positions_.clear();
    new_offsets_.assign(1, 0);
    copies_.clear();
  }

  Index page_size_;
  Sequences now_, next_;
  std::vector<Index> references_;  // number of sequences that use each page
  Index free_pages_ = 0;
  Index first_free_ = 0;  // no page before it is free
  std::vector<Index> new_rows_, new_positions_, new_offsets_{0};
  std::vector<PageCopy> copies_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
