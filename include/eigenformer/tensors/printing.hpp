// Tensors as text, as NumPy prints them.
//
//   std::cout << x;    // Tensor [2 x 3]
//                      // [[1, 2, 3],
//                      //  [4, 5, 6]]
#pragma once

#include <algorithm>
#include <cstdio>
#include <ostream>
#include <string>
#include <vector>

#include "eigenformer/tensors/detail/lines.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// How tensors are printed.
struct PrintOptions {
  int precision = 4;       // significant digits, 1 to 17
  Index threshold = 1000;  // tensors of more entries are abridged
  Index edge = 3;          // entries at each end of an abridged dimension
};

namespace detail {

template <class Scalar>
std::string printed(const Scalar& value, int precision) {
  if constexpr (std::is_same_v<Scalar, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_integral_v<Scalar>) {
    return std::to_string(value);
  } else {
    if (value != value) return "nan";  // without the sign that some platforms print
    char text[40];
    std::snprintf(text, sizeof text, "%.*g", std::clamp(precision, 1, 17), static_cast<double>(value));
    return text;
  }
}

/// The indices of a dimension that are printed; -1 stands for those left out.
inline std::vector<Index> printed_places(Index n, bool abridged, Index edge) {
  std::vector<Index> places;
  const auto add = [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) places.push_back(i);
  };
  if (!abridged || edge >= n - edge) {
    add(0, n);
  } else {
    add(0, edge);
    places.push_back(-1);
    add(n - edge, n);
  }
  return places;
}

/// Prints a view right-aligned: finds the widest entry first, then appends all entries.
template <class Scalar>
class TensorPrinter {
 public:
  TensorPrinter(const TensorView<const Scalar>& x, const PrintOptions& options)
      : options_(options), abridged_(count(x.shape()) > static_cast<double>(options.threshold)) {
    check(options.edge >= 0, "to_string: edge is ", options.edge, ", expected 0 or more");
    measure(x);
    append(x, 0);
  }
  const std::string& text() const { return text_; }

 private:
  /// Returns the number of entries. In a tensor without entries, returns the number of empty brackets.
  static double count(const Sizes& shape) {
    double product = 1;
    for (const Index n : shape)
      if (n > 0) product *= static_cast<double>(n);
    return product;
  }
  void measure(const TensorView<const Scalar>& x) {
    if (x.rank() == 0) {
      width_ = std::max<std::size_t>(width_, printed(x(), options_.precision).size());
      return;
    }
    for (const Index i : printed_places(x.shape()[0], abridged_, options_.edge))
      if (i >= 0) measure(x.select(0, i));
  }
  void append(const TensorView<const Scalar>& x, int depth) {
    if (x.rank() == 0) {
      const std::string entry = printed(x(), options_.precision);
      text_ += std::string(width_ - entry.size(), ' ') + entry;
      return;
    }
    text_ += '[';
    const char* separator = "";
    const std::string between = x.rank() == 1 ? ", " : ",\n" + std::string(static_cast<std::size_t>(depth) + 1, ' ');
    for (const Index i : printed_places(x.shape()[0], abridged_, options_.edge)) {
      text_ += separator;
      separator = between.c_str();
      if (i >= 0)
        append(x.select(0, i), depth + 1);
      else
        text_ += "...";
    }
    text_ += ']';
  }

  const PrintOptions options_;
  const bool abridged_;
  std::size_t width_ = 0;
  std::string text_;
};

}  // namespace detail

/// Returns a tensor, a view or an expression as text: its shape, and its entries in nested brackets. Throws if
/// options.edge is negative.
template <TensorLike X>
std::string to_string(X&& x, const PrintOptions& options = {}) {
  const detail::Evaluated values(x);
  std::string text = "Tensor [";
  for (int d = 0; d < values.view().rank(); ++d)
    text += (d == 0 ? "" : " x ") + std::to_string(values.view().shape()[d]);
  return text + "]\n" + detail::TensorPrinter<ScalarOf<X>>(values.view(), options).text();
}

/// Writes to_string(x) to the stream.
template <TensorLike X>
std::ostream& operator<<(std::ostream& stream, X&& x) {
  return stream << to_string(x);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
