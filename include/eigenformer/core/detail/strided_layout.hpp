// The arithmetic of views: shapes and strides, without memory. It does not depend on a scalar type, so it is compiled
// once for all tensors.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>

#include "eigenformer/core/sizes.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Where a view's entries lie: entry (i, j, ..) is `offset` + i * strides[0] + j * strides[1] .. from the data.
struct StridedLayout {
  Sizes shape;
  Sizes strides;
  Index offset = 0;
};

/// Returns numbers as a text for messages, such as "(2, 0, 1)". Shapes are printed as "[2 x 3]" without this.
EIGENFORMER_COLD inline std::string list_of(const Sizes& numbers) {
  std::string list;
  for (const Index number : numbers) list += (list.empty() ? "(" : ", ") + std::to_string(number);
  return list.empty() ? "()" : list + ")";
}

/// Returns the place of an index in a dimension of n entries. Negative indices count from the end.
inline Index checked_index(const char* where, Index index, Index n) {
  check(n > 0, where, ": index ", index, " of a dimension of 0 entries");
  check(index >= -n && index < n, where, ": index ", index, " of a dimension of ", n, " entries, expected ", -n, " to ",
        n - 1);
  return index < 0 ? index + n : index;
}

/// Removes a dimension by choosing one of its entries.
inline StridedLayout select(StridedLayout x, Index dimension, Index index) {
  const int d = dimension_number("select", dimension, x.shape.rank());
  x.offset += checked_index("select", index, x.shape[d]) * x.strides[d];
  x.shape.erase(d);
  x.strides.erase(d);
  return x;
}

/// Keeps the entries of a dimension that lie in a range.
inline StridedLayout slice(StridedLayout x, Index dimension, const Slice& range) {
  const int d = dimension_number("slice", dimension, x.shape.rank());
  check(range.step != 0, "slice: the step is 0, expected a number above or below 0");
  const Index n = x.shape[d], step = range.step;
  // Backwards, places go from n - 1 down to -1.
  const Index lowest = step > 0 ? 0 : -1, highest = step > 0 ? n : n - 1;
  const auto place = [&](const std::optional<Index>& given, Index otherwise) {
    if (!given.has_value()) return otherwise;
    return std::clamp<Index>(*given < 0 ? *given + n : *given, lowest, highest);
  };
  const Index begin = place(range.begin, step > 0 ? lowest : highest);
  const Index end = place(range.end, step > 0 ? highest : lowest);
  const Index distance = step > 0 ? end - begin : begin - end;
  const Index count = distance <= 0 ? 0 : std::abs((distance - 1) / step) + 1;
  if (count > 0) x.offset += begin * x.strides[d];
  x.shape[d] = count;
  x.strides[d] = count > 1 ? x.strides[d] * step : x.strides[d];
  return x;
}

/// Reorders dimensions: dimension i of the result is dimension order[i].
inline StridedLayout permute(const StridedLayout& x, const Sizes& order) {
  const int rank = x.shape.rank();
  const auto check_order = [&](bool fits) {
    if (!fits)
      fail("permute: the order is ", list_of(order), ", expected each dimension of a tensor ", x.shape, " once");
  };
  check_order(order.rank() == rank);
  StridedLayout y = x;
  Sizes seen = Sizes::of_rank(rank);
  for (int i = 0; i < rank; ++i) {
    const int d = dimension_number("permute", order[i], rank);
    check_order(seen[d]++ == 0);
    y.shape[i] = x.shape[d];
    y.strides[i] = x.strides[d];
  }
  return y;
}

/// Exchanges two dimensions.
inline StridedLayout transpose(StridedLayout x, Index a, Index b) {
  const int i = dimension_number("transpose", a, x.shape.rank()), j = dimension_number("transpose", b, x.shape.rank());
  std::swap(x.shape[i], x.shape[j]);
  std::swap(x.strides[i], x.strides[j]);
  return x;
}

/// Adds a dimension of one entry before `dimension`; negative numbers count from behind the last.
inline StridedLayout unsqueeze(StridedLayout x, Index dimension) {
  const int d = new_dimension_number("unsqueeze", dimension, x.shape);
  x.shape.insert(d, 1);
  x.strides.insert(d, d + 1 < x.shape.rank() ? x.shape[d + 1] * x.strides[d] : 1);
  return x;
}

/// Removes a dimension if it has one entry.
inline StridedLayout squeeze(StridedLayout x, Index dimension) {
  const int d = dimension_number("squeeze", dimension, x.shape.rank());
  if (x.shape[d] != 1) return x;
  x.shape.erase(d);
  x.strides.erase(d);
  return x;
}

/// Removes all dimensions of one entry.
inline StridedLayout squeeze(StridedLayout x) {
  for (int d = x.shape.rank(); d-- > 0;) x = squeeze(x, d);
  return x;
}

/// Repeats entries: dimensions of one entry get any size, and new dimensions may come before the first. -1 keeps a
/// size.
inline StridedLayout expand(const StridedLayout& x, const Sizes& shape) {
  const int added = shape.rank() - x.shape.rank();
  check(added >= 0, "expand: a tensor ", x.shape, " does not broadcast to ", shape);
  StridedLayout y{shape, Sizes::of_rank(shape.rank()), x.offset};
  for (int i = 0; i < shape.rank(); ++i) {
    const Index size = i < added ? 1 : x.shape[i - added];
    if (shape[i] == -1 && i >= added) y.shape[i] = size;
    check(y.shape[i] >= 0 && (size == 1 || size == y.shape[i]), "expand: a tensor ", x.shape, " does not broadcast to ",
          shape);
    y.strides[i] = i < added || (size == 1 && y.shape[i] != 1) ? 0 : x.strides[i - added];
  }
  return y;
}

/// Takes the entries at which two dimensions have the same index, as a new last dimension.
inline StridedLayout diagonal(StridedLayout x, Index a, Index b) {
  const int i = dimension_number("diagonal", a, x.shape.rank()), j = dimension_number("diagonal", b, x.shape.rank());
  check(i != j, "diagonal: dimension ", i, " is named twice");
  const Index size = std::min<Index>(x.shape[i], x.shape[j]), stride = x.strides[i] + x.strides[j];
  for (const int d : {std::max<int>(i, j), std::min<int>(i, j)}) {
    x.shape.erase(d);
    x.strides.erase(d);
  }
  x.shape.push_back(size);
  x.strides.push_back(stride);
  return x;
}

/// Returns `shape` with its -1, if any, replaced so that it has as many entries as `from`. Throws if that cannot be.
inline Sizes completed_shape(Sizes shape, const Sizes& from) {
  const Index count = count_of(from);
  int unknown = -1;
  for (int i = 0; i < shape.rank(); ++i)
    if (shape[i] == -1) {
      check(unknown < 0, "reshape: a tensor ", from, " to ", shape, ", which leaves two sizes open");
      unknown = i;
    } else {
      check(shape[i] >= 0, "reshape: a tensor ", from, " has no shape ", shape);
    }
  if (unknown >= 0) {
    Sizes others = shape;
    others.erase(unknown);
    const Index known = count_of(others);
    check(known > 0 && count % known == 0, "reshape: a tensor ", from, " has no shape ", shape);
    shape[unknown] = count / known;
  }
  check(count_of(shape) == count, "reshape: a tensor ", from, " has no shape ", shape);
  return shape;
}

/// Returns the dimensions with more than one entry. Neighbours that one stride can walk over are merged.
inline StridedLayout merged(const StridedLayout& x) {
  StridedLayout y{{}, {}, x.offset};
  for (int i = 0; i < x.shape.rank(); ++i) {
    if (x.shape[i] == 1) continue;
    const int last = y.shape.rank() - 1;
    if (last >= 0 && y.strides[last] == x.shape[i] * x.strides[i]) {
      y.shape[last] *= x.shape[i];
      y.strides[last] = x.strides[i];
    } else {
      y.shape.push_back(x.shape[i]);
      y.strides.push_back(x.strides[i]);
    }
  }
  return y;
}

/// Gives the entries, in the order of their indices, another shape. Returns nothing if no strides can do that.
inline std::optional<StridedLayout> reshaped(const StridedLayout& x, const Sizes& given) {
  const Sizes shape = completed_shape(given, x.shape);
  StridedLayout y{shape, contiguous_strides(shape), x.offset};
  if (count_of(shape) == 0) return y;
  // Split each merged dimension of x into sizes of the new shape, from the last on.
  const StridedLayout from = merged(x);
  int d = from.shape.rank() - 1;
  Index left = d >= 0 ? from.shape[d] : 1, stride = d >= 0 ? from.strides[d] : 1;
  for (int i = shape.rank(); i-- > 0;) {
    if (shape[i] != 1 && left == 1 && d > 0) {
      --d;
      left = from.shape[d];
      stride = from.strides[d];
    }
    if (left % shape[i] != 0) return std::nullopt;
    y.strides[i] = stride;
    stride *= shape[i];
    left /= shape[i];
  }
  return y;
}

inline StridedLayout reshape(const StridedLayout& x, const Sizes& shape) {
  const std::optional<StridedLayout> y = reshaped(x, shape);
  check(y.has_value(), "reshape: a tensor ", x.shape, " with strides ", x.strides, " to ", shape,
        " needs a copy: call contiguous() first");
  return *y;
}

/// Returns the shape in which dimensions `first` to `last` are one.
inline Sizes flattened_shape(const Sizes& shape, Index first, Index last) {
  if (shape.rank() == 0) return {1};
  const int i = dimension_number("flatten", first, shape.rank()), j = dimension_number("flatten", last, shape.rank());
  check(i <= j, "flatten: dimensions ", first, " to ", last, " of a tensor ", shape,
        ", expected the first before the last");
  Sizes flat, joined;
  for (int d = 0; d < shape.rank(); ++d) {
    (d < i || d > j ? flat : joined).push_back(shape[d]);
    if (d == j) flat.push_back(count_of(joined));
  }
  return flat;
}

/// Whether the entries fill their memory without gaps, in the order of their indices.
inline bool is_contiguous(const StridedLayout& x) {
  if (count_of(x.shape) == 0) return true;
  const StridedLayout flat = merged(x);
  return flat.shape.rank() == 0 || (flat.shape.rank() == 1 && flat.strides[0] == 1);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
