// Errors caused by the caller. There is one exception type; its message says what is wrong, where, what was expected
// and what was given.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Thrown for a wrong shape, size, option, text or file. Bugs in the library itself, and element access out of range,
/// use `eigen_assert` instead. For builds without exceptions see EIGENFORMER_THROW in config.hpp.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A matrix's size. Messages print it as "[7 x 512]".
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

/// A part of a message: a text, a number, a Shape or a list of sizes. All parts have one type, so that the many
/// messages of the library share one formatting function instead of each instantiating its own.
class MessagePart {
 public:
  MessagePart(std::string_view text) : kind_(Kind::text), text_(text) {}
  MessagePart(const char* text) : MessagePart(std::string_view(text)) {}
  MessagePart(const std::string& text) : MessagePart(std::string_view(text)) {}
  MessagePart(const char& character) : MessagePart(std::string_view(&character, 1)) {}
  MessagePart(const Shape& shape) : kind_(Kind::sizes), shape_{shape.rows, shape.cols}, sizes_(shape_) {}
  MessagePart(std::span<const Index> sizes) : kind_(Kind::sizes), sizes_(sizes) {}
  MessagePart(const MessagePart&) = delete;  // sizes_ may point into the object itself
  MessagePart& operator=(const MessagePart&) = delete;
  template <class Number, std::enable_if_t<std::is_arithmetic_v<Number>, int> = 0>
  MessagePart(Number number) : kind_(kind_of<Number>()) {
    if constexpr (std::is_floating_point_v<Number>)
      real_ = static_cast<double>(number);
    else
      whole_ = static_cast<std::int64_t>(number);
  }

  EIGENFORMER_COLD void append_to(std::string& message) const {
    switch (kind_) {
      case Kind::text:
        message += text_;
        break;
      case Kind::sizes:
        for (std::size_t i = 0; i < sizes_.size(); ++i) {
          message += i == 0 ? "[" : " x ";
          append(sizes_[i], message);
        }
        message += sizes_.empty() ? "[]" : "]";
        break;
      case Kind::whole:
        append(whole_, message);
        break;
      case Kind::unsigned_whole:
        message += std::to_string(static_cast<std::uint64_t>(whole_));
        break;
      case Kind::real:
        append_real(real_, message);
        break;
    }
  }

 private:
  enum class Kind { text, sizes, whole, unsigned_whole, real };
  EIGENFORMER_COLD static void append(std::int64_t number, std::string& message) { message += std::to_string(number); }
  // Six digits, not six decimals: std::to_string would print 1e-9 as 0.
  EIGENFORMER_COLD static void append_real(double number, std::string& message) {
    char digits[32];
    std::snprintf(digits, sizeof(digits), "%g", number);
    message += digits;
  }
  template <class Number>
  static constexpr Kind kind_of() {
    if (std::is_floating_point_v<Number>) return Kind::real;
    return std::is_unsigned_v<Number> ? Kind::unsigned_whole : Kind::whole;
  }

  Kind kind_;
  std::string_view text_{};
  Index shape_[2]{};
  std::span<const Index> sizes_{};
  std::int64_t whole_ = 0;
  double real_ = 0;
};

/// Prints the message and aborts. EIGENFORMER_THROW calls it in builds without exceptions.
[[noreturn]] EIGENFORMER_COLD inline void abort_with(const Error& error) {
  std::fputs(error.what(), stderr);
  std::fputc('\n', stderr);
  std::abort();
}

[[noreturn]] EIGENFORMER_COLD inline void fail_with(std::initializer_list<MessagePart> parts) {
  std::string message;
  for (const MessagePart& part : parts) part.append_to(message);
  EIGENFORMER_THROW(Error(message));
}

}  // namespace detail

/// Throws an Error. Its message is the concatenation of the parts: texts, numbers, Shapes and Sizes.
template <class... Parts>
[[noreturn]] EIGENFORMER_COLD void fail(const Parts&... parts) {
  detail::fail_with({detail::MessagePart(parts)...});
}

/// Throws an Error unless `condition` holds. The message is built only on failure:
///
///   check(x.cols() == weight.cols(), "matmul: x is ", shape(x), ", weight is ", shape(weight));
template <class... Parts>
void check(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]]
    fail(parts...);
}

/// Throws unless `given` equals `expected`, with a message like "softmax: y is [2 x 3], expected [2 x 4]".
inline void check_shape(const char* where, const char* name, Shape given, Shape expected) {
  check(given == expected, where, ": ", name, " is ", given, ", expected ", expected);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
