// Random shapes, views with random strides over guarded memory, and naive loops over their entries: what the tests of
// tensors compare with.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/core/rng.hpp"
#include "eigenformer/core/tensor.hpp"

namespace eigenformer::testing {

inline constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
inline constexpr double infinite = std::numeric_limits<double>::infinity();

/// Calls body(index) for each index of a shape, in the order of contiguous memory.
inline void for_each_index(const Sizes& shape, FunctionRef<void(const Sizes&)> body) {
  for (const Index n : shape)
    if (n == 0) return;
  Sizes index = Sizes::of_rank(shape.rank());
  for (;;) {
    body(index);
    int d = shape.rank() - 1;
    for (; d >= 0 && index[d] + 1 == shape[d]; --d) index[d] = 0;
    if (d < 0) return;
    ++index[d];
  }
}

/// Returns how far an entry lies behind the view's data.
inline Index offset_of(const Sizes& strides, const Sizes& index) {
  Index offset = 0;
  for (int d = 0; d < index.rank(); ++d) offset += index[d] * strides[d];
  return offset;
}

/// Returns the entry at an index.
template <class Scalar>
Scalar& entry(const TensorView<Scalar>& x, const Sizes& index) {
  return x.data()[offset_of(x.strides(), index)];
}
template <class Scalar>
const Scalar& entry(const Tensor<Scalar>& x, const Sizes& index) {
  return entry(x.view(), index);
}

/// Returns the index at which x, broadcast to a larger shape, has its entry for `index` of that shape.
inline Sizes broadcast_index(const Sizes& shape, const Sizes& index) {
  Sizes own = Sizes::of_rank(shape.rank());
  for (int d = 0; d < shape.rank(); ++d) own[d] = shape[d] == 1 ? 0 : index[d + index.rank() - shape.rank()];
  return own;
}

/// Returns the entry that x, broadcast to a larger shape, has at an index of that shape.
template <class Scalar>
Scalar& broadcast_entry(const TensorView<Scalar>& x, const Sizes& index) {
  return entry(x, broadcast_index(x.shape(), index));
}
template <class Scalar>
const Scalar& broadcast_entry(const Tensor<Scalar>& x, const Sizes& index) {
  return broadcast_entry(x.view(), index);
}

/// Returns 0 for equal numbers and for two NaNs, else |a - b| / max(1, |b|), or infinity if one of them is not finite.
inline double difference(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double error = std::abs(a - b) / std::max(1.0, std::abs(b));
  return error >= 0 ? error : infinite;
}

/// Returns the largest difference between x and expected(index), or infinity if x has another shape.
template <class Scalar>
double largest_difference(const TensorView<const Scalar>& x, const Sizes& shape,
                          FunctionRef<double(const Sizes&)> expected) {
  if (x.shape() != shape) return infinite;
  double largest = 0;
  for_each_index(shape, [&](const Sizes& index) {
    largest = std::max(largest, difference(static_cast<double>(entry(x, index)), expected(index)));
  });
  return largest;
}
template <class Scalar>
double largest_difference(const Tensor<Scalar>& x, const Sizes& shape, FunctionRef<double(const Sizes&)> expected) {
  return largest_difference(x.view(), shape, expected);
}

/// Returns the entries in the order of their indices.
template <class Scalar>
std::vector<Scalar> entries_of(const TensorView<const Scalar>& x) {
  std::vector<Scalar> entries;
  for_each_index(x.shape(), [&](const Sizes& index) { entries.push_back(entry(x, index)); });
  return entries;
}
template <class Scalar>
std::vector<Scalar> entries_of(const Tensor<Scalar>& x) {
  return entries_of(x.view());
}

/// Returns a shape of the given rank, with sizes of 0 to 6; the higher the rank, the smaller. Few sizes are zero.
inline Sizes random_shape(int rank, Rng& rng) {
  const Index largest = rank <= 3 ? 6 : 9 - rank;
  Sizes shape;
  for (int d = 0; d < rank; ++d) shape.push_back(rng.randint(16) == 0 ? 0 : 1 + rng.randint(largest));
  return shape;
}
inline Sizes random_shape(Rng& rng) {
  return random_shape(static_cast<int>(rng.randint(6)), rng);
}

/// Returns a shape that broadcasts to the given one: some sizes are 1, and some of the first dimensions are missing.
inline Sizes random_broadcastable(const Sizes& shape, Rng& rng) {
  Sizes smaller;
  const int missing = rng.randint(3) == 0 ? static_cast<int>(rng.randint(shape.rank() + 1)) : 0;
  for (int d = missing; d < shape.rank(); ++d) smaller.push_back(rng.randint(3) == 0 ? 1 : shape[d]);
  return smaller;
}

/// Returns the numbers 0 .. count - 1 in random order.
inline Sizes random_order(int count, Rng& rng) {
  Sizes order;
  for (int i = 0; i < count; ++i) order.insert(static_cast<int>(rng.randint(i + 1)), i);
  return order;
}

/// Whether a view may have dimensions with stride zero, whose entries are repeated.
enum class Repeats { allowed, none };

/// Memory with a view of it. Dimensions lie in random order, with gaps, backwards or repeated. Entries are small
/// integers, which all scalar types represent.
template <class Scalar>
class GuardedView {
 public:
  GuardedView(const Sizes& shape, Rng& rng, Repeats repeats = Repeats::allowed) {
    Sizes strides = Sizes::of_rank(shape.rank());
    Index extent = 1, begin = 0;
    for (const Index place : random_order(shape.rank(), rng)) {
      const int d = static_cast<int>(place);
      const Index last = std::max<Index>(shape[d], 1) - 1;
      if (repeats == Repeats::allowed && rng.randint(8) == 0) continue;  // stride zero
      const Index step = rng.randint(4) == 0 ? 1 + rng.randint(3) : 1;
      strides[d] = step * extent;
      if (rng.randint(4) == 0) {
        begin += last * strides[d];
        strides[d] = -strides[d];
      }
      extent *= last * step + 1 + (rng.randint(5) == 0 ? 1 : 0);
    }
    constexpr Index guard = 5;
    for (Index i = 0; i < extent + 2 * guard; ++i) memory_.push_back(Number{static_cast<Scalar>(rng.randint(19) - 9)});
    before_ = memory_;
    view_ = TensorView<Scalar>(&memory_.data()->value + guard + begin, shape, strides);
  }
  GuardedView(const GuardedView&) = delete;
  GuardedView& operator=(const GuardedView&) = delete;

  const TensorView<Scalar>& view() const { return view_; }
  TensorView<const Scalar> constant() const { return view_; }
  /// The entries when the memory was made.
  TensorView<const Scalar> before() const {
    return {&before_.data()->value + (view_.data() - &memory_.data()->value), view_.shape(), view_.strides()};
  }
  /// Whether all memory but the view's entries is as it was.
  bool is_untouched_outside() const {
    std::vector<Number> expected = before_;
    for_each_index(view_.shape(), [&](const Sizes& index) {
      const std::ptrdiff_t place = &entry(view_, index) - &memory_.data()->value;
      expected[static_cast<std::size_t>(place)] = memory_[static_cast<std::size_t>(place)];
    });
    for (std::size_t i = 0; i < memory_.size(); ++i)
      if (!(expected[i].value == memory_[i].value)) return false;
    return true;
  }

 private:
  struct Number {  // because a vector of bool has no memory of bool
    Scalar value;
  };
  std::vector<Number> memory_, before_;
  TensorView<Scalar> view_;
};

}  // namespace eigenformer::testing
