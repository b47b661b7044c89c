// Loops over the entries of tensors with any strides, and copies between them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "eigenformer/core/detail/convert.hpp"
#include "eigenformer/core/tensor_view.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Visits the entries of operands of the same shape together, in runs that are as few and as long as possible. In a
/// run, each operand has one stride. Dimensions are visited in the order of one operand's memory, and adjacent
/// dimensions are merged where all operands allow it.
template <std::size_t operands>
class StridedLoop {
 public:
  using Offsets = std::array<Index, operands>;

  /// strides: of each operand, for each dimension of the shape; 0 repeats an entry. The memory of operand `leader`
  /// decides the order of dimensions.
  StridedLoop(const Sizes& shape, const std::array<Sizes, operands>& strides, std::size_t leader = 0)
      : empty_(count_of(shape) == 0) {
    std::array<int, Sizes::max_rank> order{};
    int dimensions = 0;
    const auto stride_of = [&](int d) { return std::abs(strides[leader][d]); };
    for (int d = 0; d < shape.rank() && !empty_; ++d) {
      if (shape[d] == 1) continue;
      int place = dimensions++;
      for (; place > 0 && stride_of(order[static_cast<std::size_t>(place - 1)]) < stride_of(d); --place)
        order[static_cast<std::size_t>(place)] = order[static_cast<std::size_t>(place - 1)];
      order[static_cast<std::size_t>(place)] = d;
    }
    for (int i = 0; i < dimensions; ++i) {
      const int d = order[static_cast<std::size_t>(i)], last = sizes_.rank() - 1;
      bool merge = last >= 0;
      for (std::size_t k = 0; k < operands; ++k) merge = merge && strides_[k][last] == shape[d] * strides[k][d];
      if (!merge) sizes_.push_back(shape[d]);
      for (std::size_t k = 0; k < operands; ++k)
        if (merge)
          strides_[k][last] = strides[k][d];
        else
          strides_[k].push_back(strides[k][d]);
      if (merge) sizes_[last] *= shape[d];
    }
    if (sizes_.rank() == 0) {
      sizes_.push_back(1);
      for (Sizes& own : strides_) own.push_back(1);
    }
  }

  /// The number of entries in a run.
  Index run_size() const { return sizes_[sizes_.rank() - 1]; }
  /// The distance between an operand's entries in a run.
  Index run_stride(std::size_t operand) const { return strides_[operand][sizes_.rank() - 1]; }

  /// Calls body(offsets) for each run; offsets[k] is where the run of operand k begins.
  template <class Body>
  void for_each_run(Body body) const {
    if (empty_) return;
    // The second-to-last dimension has a loop of its own, because counting all dimensions costs as much as a short run.
    const int inner = sizes_.rank() - 2;
    const Index count = inner < 0 ? 1 : sizes_[inner];
    Offsets offsets{}, step{};
    for (std::size_t k = 0; k < operands && inner >= 0; ++k) step[k] = strides_[k][inner];
    Sizes at = Sizes::of_rank(sizes_.rank());
    for (;;) {
      for (Index i = 0; i < count; ++i) {
        body(std::as_const(offsets));
        for (std::size_t k = 0; k < operands; ++k) offsets[k] += step[k];
      }
      for (std::size_t k = 0; k < operands; ++k) offsets[k] -= count * step[k];
      int d = inner - 1;
      for (; d >= 0; --d) {
        for (std::size_t k = 0; k < operands; ++k) offsets[k] += strides_[k][d];
        if (++at[d] < sizes_[d]) break;
        for (std::size_t k = 0; k < operands; ++k) offsets[k] -= sizes_[d] * strides_[k][d];
        at[d] = 0;
      }
      if (d < 0) return;
    }
  }

 private:
  Sizes sizes_;
  std::array<Sizes, operands> strides_;
  bool empty_;
};

/// Whether two shapes broadcast, by NumPy's rule: aligned at their last dimensions, sizes are equal, or one of them
/// is 1.
inline bool broadcasts(const Sizes& a, const Sizes& b) {
  for (int i = 1; i <= a.rank() && i <= b.rank(); ++i) {
    const Index m = a[a.rank() - i], n = b[b.rank() - i];
    if (m != n && m != 1 && n != 1) return false;
  }
  return true;
}

/// Returns the shape to which two shapes broadcast, by NumPy's rule: shapes are aligned at their last dimensions, and
/// sizes are equal, or one of them is 1. Throws if they do not fit.
inline Sizes broadcast_shapes(const Sizes& a, const Sizes& b) {
  const Sizes& longer = a.rank() >= b.rank() ? a : b;
  const Sizes& shorter = a.rank() >= b.rank() ? b : a;
  Sizes shape = longer;
  for (int i = 0; i < shorter.rank(); ++i) {
    Index& size = shape[longer.rank() - shorter.rank() + i];
    check(size == shorter[i] || size == 1 || shorter[i] == 1, "broadcast: the tensors are ", a, " and ", b,
          ", expected sizes that are equal or 1, from the last dimension on");
    if (size == 1) size = shorter[i];
  }
  return shape;
}

/// The first and the last address that a view can reach.
struct MemoryRange {
  std::uintptr_t first, last;
};
template <class Scalar>
MemoryRange memory_range(const TensorView<Scalar>& x) {
  Index lowest = 0, highest = 0;
  for (int d = 0; d < x.rank(); ++d) {
    const Index distance = (x.shape()[d] - 1) * x.strides()[d];
    (distance < 0 ? lowest : highest) += distance;
  }
  const auto address = [&](Index offset) {
    return reinterpret_cast<std::uintptr_t>(x.data()) + static_cast<std::uintptr_t>(offset) * sizeof(Scalar);
  };
  return {address(lowest), address(highest) + sizeof(Scalar) - 1};
}

/// Whether the address ranges of two views overlap. They may, even if no entry is shared.
template <class A, class B>
bool may_share_memory(const TensorView<A>& a, const TensorView<B>& b) {
  if (a.size() == 0 || b.size() == 0) return false;
  const MemoryRange of_a = memory_range(a), of_b = memory_range(b);
  return of_a.last >= of_b.first && of_b.last >= of_a.first;
}

/// Whether writing `to` may overwrite entries of `from` that are still to be read. Equal views do not interfere.
template <class From, class To>
bool interferes(const TensorView<From>& from, const TensorView<To>& to) {
  if (!may_share_memory(from, to)) return false;
  const bool same_entries = static_cast<const void*>(from.data()) == static_cast<const void*>(to.data()) &&
                            sizeof(From) == sizeof(To) && from.shape() == to.shape() && from.strides() == to.strides();
  return !same_entries;
}

/// Throws if a dimension of more than one entry has stride 0: a write would keep only one of its values. Does not
/// detect other overlaps.
template <class Scalar>
void check_writable(const TensorView<Scalar>& to) {
  bool repeated = false;
  for (int d = 0; d < to.rank(); ++d) repeated = repeated || (to.shape()[d] > 1 && to.strides()[d] == 0);
  check(!repeated || to.size() == 0, "a tensor ", to.shape(), " with strides ", to.strides(),
        " repeats entries and cannot be written");
}

/// Writes `from`, broadcast to the shape of `to`. The memory may overlap. Throws if the shapes do not fit.
template <class From, class To>
void copy_entries(const TensorView<const From>& from, const TensorView<To>& to) {
  check_writable(to);
  if (interferes(from, to)) {
    const Tensor<From> own(from);
    return copy_entries(TensorView<const From>(own), to);
  }
  const StridedLoop<2> loop(to.shape(), {to.strides(), from.expand(to.shape()).strides()});
  const Index n = loop.run_size(), to_stride = loop.run_stride(0), from_stride = loop.run_stride(1);
  loop.for_each_run([&](const auto& offsets) {
    To* const target = to.data() + offsets[0];
    const From* const source = from.data() + offsets[1];
    if (to_stride == 1 && from_stride == 1)
      convert(source, n, target);
    else if (to_stride == 1 && from_stride == 0)
      std::fill_n(target, n, static_cast<To>(*source));
    else
      for (Index i = 0; i < n; ++i) target[i * to_stride] = static_cast<To>(source[i * from_stride]);
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
