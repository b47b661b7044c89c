// Errors that the caller can cause: one exception, whose message says what, where, what was expected and what was
// given.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Thrown for a wrong shape, size, option, text or file. `assert` is left for the library's own mistakes.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A matrix's size as it stands in messages: "[7 x 512]".
struct Shape {
  Index rows;
  Index cols;
  friend bool operator==(const Shape&, const Shape&) = default;
};

template <class Derived>
Shape shape(const Eigen::EigenBase<Derived>& matrix) {
  return {matrix.rows(), matrix.cols()};
}

namespace detail {

inline void append(std::string& message, std::string_view text) {
  message += text;
}
inline void append(std::string& message, char c) {
  message += c;
}
inline void append(std::string& message, const Shape& s) {
  message += '[' + std::to_string(s.rows) + " x " + std::to_string(s.cols) + ']';
}
template <class Number, std::enable_if_t<std::is_arithmetic_v<Number>, int> = 0>
void append(std::string& message, Number number) {
  message += std::to_string(number);
}

}  // namespace detail

/// Throws an Error whose message is the parts in turn: texts, numbers and Shapes.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::string message;
  (detail::append(message, parts), ...);
  EIGENFORMER_THROW(Error(message));
}

/// Throws an Error unless `condition` holds. The message is put together only then:
/// `check(x.cols() == weight.cols(), "matmul: x is ", shape(x), ", weight is ", shape(weight));`
template <class... Parts>
void check(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]]
    fail(parts...);
}

/// Throws unless `given` has the shape `expected`: "softmax: y is [2 x 3], expected [2 x 4]".
inline void check_shape(const char* where, const char* name, Shape given, Shape expected) {
  check(given == expected, where, ": ", name, " is ", given, ", expected ", expected);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
