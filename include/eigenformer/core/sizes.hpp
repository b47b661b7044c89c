// Shapes: the sizes of a tensor's dimensions, at most eight, and how dimensions and ranges of them are given.
#pragma once

#include <algorithm>
#include <array>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A short list of integers: the sizes or the strides of a tensor's dimensions, or the numbers of some dimensions.
/// Messages print it as "[2 x 3 x 4]".
class Sizes {
 public:
  static constexpr int max_rank = 8;

  /// The sizes of a tensor of rank 0, which has one entry.
  Sizes() = default;
  /// Throws if there are more than eight.
  Sizes(std::initializer_list<Index> sizes) : Sizes(std::span<const Index>(sizes.begin(), sizes.size())) {}
  explicit Sizes(std::span<const Index> sizes) : rank_(static_cast<int>(sizes.size())) {
    check(sizes.size() <= max_rank, "Sizes: a tensor of ", sizes.size(), " dimensions, expected at most ", max_rank);
    std::copy(sizes.begin(), sizes.end(), values_.begin());
  }
  /// Returns `rank` equal numbers.
  static Sizes of_rank(int rank, Index value = 0) {
    check(rank >= 0 && rank <= max_rank, "Sizes: a tensor of ", rank, " dimensions, expected 0 to ", max_rank);
    Sizes sizes;
    sizes.rank_ = rank;
    std::fill_n(sizes.values_.begin(), rank, value);
    return sizes;
  }

  int rank() const { return rank_; }
  Index operator[](int i) const { return values_[static_cast<std::size_t>(i)]; }
  Index& operator[](int i) { return values_[static_cast<std::size_t>(i)]; }

  // A contiguous range, for loops and for std::span.
  const Index* data() const { return values_.data(); }
  Index* data() { return values_.data(); }
  std::size_t size() const { return static_cast<std::size_t>(rank_); }
  const Index* begin() const { return data(); }
  const Index* end() const { return data() + rank_; }

  /// Puts a number before place `i`. Throws if there are eight already.
  void insert(int i, Index value) {
    check(rank_ < max_rank, "Sizes: a tensor of ", rank_ + 1, " dimensions, expected at most ", max_rank);
    std::copy_backward(data() + i, data() + rank_, data() + rank_ + 1);
    ++rank_;
    (*this)[i] = value;
  }
  void push_back(Index value) { insert(rank_, value); }
  void erase(int i) {
    std::copy(data() + i + 1, data() + rank_, data() + i);
    --rank_;
  }
  void pop_back() { --rank_; }

  friend bool operator==(const Sizes& a, const Sizes& b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

 private:
  std::array<Index, max_rank> values_{};
  int rank_ = 0;
};

/// A range of one dimension, as Python's [begin:end:step]. Negative places count from the end, places beyond an end are
/// moved to it, and a negative step goes backwards. {.step = -1} reverses a dimension.
struct Slice {
  std::optional<Index> begin{};  // by default the first, or the last if step is negative
  std::optional<Index> end{};    // exclusive; by default behind the last, or before the first
  Index step = 1;
};

/// Returns the number of entries of a tensor of this shape. Throws if a size is negative, or if the entries are too
/// many for an Index.
inline Index count_of(const Sizes& shape) {
  Index count = 1;
  bool empty = false, too_many = false;
  for (const Index n : shape) {
    check(n >= 0, "Tensor: the shape is ", shape, ", expected sizes of 0 or more");
    empty = empty || n == 0;
    too_many = too_many || (n > 0 && count > (std::numeric_limits<Index>::max)() / n);
    if (n > 0 && !too_many) count *= n;
  }
  check(empty || !too_many, "Tensor: the shape is ", shape, ", which has too many entries to count");
  return empty ? 0 : count;
}

/// Returns the strides of contiguous memory in row-major order.
inline Sizes contiguous_strides(const Sizes& shape) {
  Sizes strides = Sizes::of_rank(shape.rank());
  std::size_t stride = 1;  // unsigned, since it may overflow if another size is 0
  for (int i = shape.rank(); i-- > 0; stride *= static_cast<std::size_t>(shape[i]))
    strides[i] = static_cast<Index>(stride);
  return strides;
}

/// Returns a dimension's index, 0 to rank - 1. Negative ones count from the end: -1 is the last. Throws if there is
/// none; `where` begins the message.
inline int dimension_number(const char* where, Index dimension, int rank) {
  check(rank > 0, where, ": dimension ", dimension, " of a tensor of rank 0, which has none");
  check(dimension >= -rank && dimension < rank, where, ": dimension ", dimension, " of a tensor of rank ", rank,
        ", expected ", -rank, " to ", rank - 1);
  return static_cast<int>(dimension < 0 ? dimension + rank : dimension);
}

/// Returns the number that a new dimension gets in a tensor of this shape, 0 to its rank. Negative ones count from
/// behind the last: -1 is the rank. Throws if there is no such place; `where` begins the message.
inline int new_dimension_number(const char* where, Index dimension, const Sizes& shape) {
  const int rank = shape.rank();
  check(dimension >= -rank - 1 && dimension <= rank, where, ": the new dimension is ", dimension, ", the tensor is ",
        shape, ", expected ", -rank - 1, " to ", rank);
  return static_cast<int>(dimension < 0 ? dimension + rank + 1 : dimension);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
