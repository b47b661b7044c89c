// Errors caused by the caller. There is one exception type; its message says what is wrong, where, what was expected
// and what was given.
#pragma once

#include <array>
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

namespace eigenformer {

/// Thrown for a wrong shape, size, option, text or file. Bugs in the library itself, and element access out of range,
/// use `eigen_assert` instead. For builds without exceptions see EIGENFORMER_THROW in config.hpp. It is outside the
/// inline namespace, so that a program catches errors of a library compiled with other flags.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace eigenformer

namespace eigenformer::inline EIGENFORMER_ABI {

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
/// messages of the library share one formatting function instead of each instantiating its own. A part refers to
/// its text, Shape or sizes, which must outlive it.
class MessagePart {
 public:
  MessagePart(std::string_view text) : kind_(Kind::text), size_(text.size()) { value_.text = text.data(); }
  MessagePart(const char* text) : MessagePart(std::string_view(text)) {}
  MessagePart(const Shape& shape) : kind_(Kind::shape) { value_.shape = &shape; }
  MessagePart(std::span<const Index> sizes) : kind_(Kind::sizes), size_(sizes.size()) { value_.sizes = sizes.data(); }
  MessagePart(std::int64_t number) : kind_(Kind::whole) { value_.whole = number; }
  MessagePart(std::uint64_t number) : kind_(Kind::unsigned_whole) { value_.unsigned_whole = number; }
  MessagePart(double number) : kind_(Kind::real) { value_.real = number; }

  EIGENFORMER_COLD void append_to(std::string& message) const {
    switch (kind_) {
      case Kind::text:
        message.append(value_.text, size_);
        break;
      case Kind::shape:
        append_sizes(std::array{value_.shape->rows, value_.shape->cols}, message);
        break;
      case Kind::sizes:
        append_sizes({value_.sizes, size_}, message);
        break;
      case Kind::whole:
        message += std::to_string(value_.whole);
        break;
      case Kind::unsigned_whole:
        message += std::to_string(value_.unsigned_whole);
        break;
      case Kind::real:
        append_real(value_.real, message);
        break;
    }
  }

 private:
  enum class Kind : unsigned char { text, shape, sizes, whole, unsigned_whole, real };
  EIGENFORMER_COLD static void append_sizes(std::span<const Index> sizes, std::string& message) {
    message += "[";
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      if (i > 0) message += " x ";
      message += std::to_string(sizes[i]);
    }
    message += "]";
  }
  // Six digits, not six decimals: std::to_string would print 1e-9 as 0.
  EIGENFORMER_COLD static void append_real(double number, std::string& message) {
    char digits[32];
    std::snprintf(digits, sizeof(digits), "%g", number);
    message += digits;
  }

  Kind kind_;
  std::size_t size_ = 0;  // of texts and sizes
  union {
    const char* text;
    const Shape* shape;
    const Index* sizes;
    std::int64_t whole;
    std::uint64_t unsigned_whole;
    double real;
  } value_;
};

/// Converts an argument of `fail` to one of the few types that MessagePart takes. Strings and integers of all types
/// become a few types, so most errors share one instance of fail_with_arguments. Texts and Sizes are referred to, not
/// copied.
template <class Part>
auto message_argument(const Part& part) {
  if constexpr (std::is_same_v<Part, char>)
    return std::string_view(&part, 1);
  else if constexpr (std::is_floating_point_v<Part>)
    return static_cast<double>(part);
  else if constexpr (std::is_unsigned_v<Part>)
    return std::uint64_t{part};
  else if constexpr (std::is_arithmetic_v<Part>)
    return std::int64_t{part};
  else if constexpr (std::is_same_v<Part, Shape>)
    return part;
  else if constexpr (std::is_convertible_v<const Part&, const char*>)
    return static_cast<const char*>(part);
  else if constexpr (std::is_convertible_v<const Part&, std::string_view>)
    return std::string_view(part);
  else
    return std::span<const Index>(part);
}

/// Prints the message and aborts. EIGENFORMER_THROW calls it in builds without exceptions.
[[noreturn]] EIGENFORMER_COLD inline void abort_with(const Error& error) {
  std::fputs(error.what(), stderr);
  std::fputc('\n', stderr);
  std::abort();
}

/// Replaces control characters by "?". Text from files and requests ends up in messages, and a terminal would obey it.
EIGENFORMER_COLD inline void replace_control_characters(std::string& message) {
  for (std::size_t i = 0; i < message.size(); ++i) {
    const auto byte = [&](std::size_t k) { return k < message.size() ? static_cast<unsigned char>(message[k]) : 0U; };
    if (byte(i) < 0x20 || byte(i) == 0x7F) message[i] = '?';
    if (byte(i) == 0xC2 && byte(i + 1) >= 0x80 && byte(i + 1) < 0xA0) message.replace(i, 2, "?");  // U+0080 to U+009F
  }
}

[[noreturn]] EIGENFORMER_COLD inline void fail_with(std::initializer_list<MessagePart> parts) {
  std::string message;
  for (const MessagePart& part : parts) part.append_to(message);
  replace_control_characters(message);
  EIGENFORMER_THROW(Error(message));
}

template <class... Arguments>
[[noreturn]] EIGENFORMER_COLD void fail_with_arguments(Arguments... arguments) {
  fail_with({MessagePart(arguments)...});
}

}  // namespace detail

/// Throws an Error. Its message is the concatenation of the parts: texts, numbers, Shapes and Sizes.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  detail::fail_with_arguments(detail::message_argument(parts)...);
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
