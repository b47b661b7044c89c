// The header of NumPy's .npy files: a signature, a version, a length, and a Python dictionary with the type of the
// numbers, the order of the entries and the shape. See numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
#pragma once

#include <array>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

#include "eigenformer/core/sizes.hpp"
#include "eigenformer/io/detail/printable.hpp"
#include "eigenformer/io/dtype.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

inline constexpr std::string_view npy_signature = "\x93NUMPY";
/// Headers are short. NumPy itself refuses to read those of more than 10,000 characters.
inline constexpr std::size_t max_npy_header = 65535;

/// What a header says.
struct NpyHeader {
  DType dtype = DType::f64;
  bool big_endian = false;
  bool fortran_order = false;
  Sizes shape;
  std::size_t data_begin = 0;  // where the entries begin in the file
};

/// NumPy's letters of a type without its byte order, such as "f4".
inline std::string_view npy_letters(DType dtype) {
  constexpr std::array<std::string_view, 13> letters{"f8", "f4", "f2", "",   "i8", "i4", "i2",
                                                     "i1", "u8", "u4", "u2", "u1", "b1"};
  return letters[static_cast<std::size_t>(dtype)];
}

/// Returns `count` bytes, the least significant first, as a number.
inline std::uint64_t little_endian(std::string_view bytes, std::size_t begin, std::size_t count) {
  std::uint64_t number = 0;
  for (std::size_t i = count; i-- > 0;) number = number << 8 | static_cast<unsigned char>(bytes[begin + i]);
  return number;
}
/// Converts to size_t. The caller has checked that the number fits.
inline std::size_t as_size(std::uint64_t number) {
  return static_cast<std::size_t>(static_cast<Index>(number));
}
/// Appends the `count` least significant bytes of a number, the least significant first.
inline void append_little_endian(std::string& bytes, std::uint64_t number, int count) {
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(static_cast<unsigned char>(number >> (8 * i)));
}

/// Reads the dictionary of a header.
class NpyDictionary {
 public:
  NpyDictionary(std::string_view text, std::string_view where) : text_(text), where_(where) {}

  /// Returns the header without `data_begin`. Throws unless the dictionary has exactly the three keys.
  NpyHeader read() {
    NpyHeader header;
    std::array<bool, 3> seen{};
    const auto first_time = [&](std::size_t key, const std::string& name) {
      check(!std::exchange(seen[key], true), where_, ": the header has the key '", name, "' twice");
    };
    expect('{');
    while (!accept('}')) {
      const std::string key = text("a key");
      expect(':');
      if (key == "descr") {
        first_time(0, key);
        read_type(header);
      } else if (key == "fortran_order") {
        first_time(1, key);
        header.fortran_order = boolean();
      } else if (key == "shape") {
        first_time(2, key);
        header.shape = sizes();
      } else {
        fail(where_, ": the header has the key '", printable(key), "', expected descr, fortran_order and shape");
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    check(peek() == '\0' && at_ == text_.size(), where_, ": the header goes on after its dictionary");
    check(seen[0] && seen[1] && seen[2], where_, ": the header lacks one of descr, fortran_order and shape");
    return header;
  }

 private:
  /// The next character that is not a space, or 0 at the end.
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    const bool found = peek() == c && at_ < text_.size();
    at_ += found ? 1 : 0;
    return found;
  }
  void expect(char c) {
    if (!accept(c)) fail_at(std::string("'") + c + '\'');
  }
  [[noreturn]] void fail_at(const std::string& expected) const {
    fail(where_, ": the header has \"", printable(text_.substr(at_)), "\" at character ", at_, ", expected ", expected);
  }

  std::string text(const char* what) {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail_at(std::string(what) + " in quotes");
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) fail_at("an end of the quotes");
    std::string inside(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return inside;
  }
  bool boolean() {
    peek();
    for (const bool value : {false, true}) {
      const std::string_view name = value ? "True" : "False";
      if (!text_.substr(at_).starts_with(name)) continue;
      at_ += name.size();
      return value;
    }
    fail_at("True or False");
  }
  Index size() {
    Index number = 0;
    const std::size_t begin = at_;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      const Index digit = text_[at_] - '0';
      if (number > ((std::numeric_limits<Index>::max)() - digit) / 10) {
        at_ = begin;
        fail_at("a size that this machine can count");
      }
      number = 10 * number + digit;
    }
    if (at_ == begin) fail_at("a size");
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // written by Python 2
    return number;
  }
  Sizes sizes() {
    Sizes shape;
    expect('(');
    while (!accept(')')) {
      peek();
      const Index n = size();
      check(shape.rank() < Sizes::max_rank, where_, ": the array has more than ", Sizes::max_rank, " dimensions");
      shape.push_back(n);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return shape;
  }
  void read_type(NpyHeader& header) {
    if (peek() == '[') fail(where_, ": the type of the array is a structure, expected one number per entry");
    const std::string descr = text("a type");
    for (int i = 0; i <= static_cast<int>(DType::boolean); ++i) {
      const auto dtype = static_cast<DType>(i);
      const std::string_view letters = npy_letters(dtype);
      if (letters.empty() || descr.size() != 3 || descr.substr(1) != letters) continue;
      if (std::string_view("<>=|").find(descr[0]) == std::string_view::npos) continue;
      header.dtype = dtype;
      header.big_endian = descr[0] == '>';
      return;
    }
    fail(where_, ": the type of the array is '", printable(descr),
         "', expected float16 to float64, int8 to int64, uint8 to uint64 or bool");
  }

  std::string_view text_;
  std::string_view where_;
  std::size_t at_ = 0;
};

/// Returns the size in bytes of the entries. Throws if they are too many to count. Sizes of 0 do not hide others that
/// are too large, because strides are products too.
inline std::size_t npy_data_bytes(const NpyHeader& header, std::string_view where) {
  auto bytes = static_cast<Index>(dtype_bytes(header.dtype));
  bool empty = false;
  for (const Index n : header.shape) {
    empty = empty || n == 0;
    if (n == 0) continue;
    check(bytes <= (std::numeric_limits<Index>::max)() / n, where, ": the shape is ", header.shape,
          ", more bytes than a machine can address");
    bytes *= n;
  }
  return empty ? 0 : static_cast<std::size_t>(bytes);
}

/// Reads the header of a file. Throws unless the file has exactly the bytes that the header announces.
inline NpyHeader parse_npy_header(std::string_view file, std::string_view where) {
  constexpr std::size_t begin = npy_signature.size() + 2;  // of the header's length
  check(file.starts_with(npy_signature), where, ": does not begin with the signature of an .npy file");
  check(file.size() >= begin + 2, where, ": has ", file.size(), " bytes and ends in its header");
  // version[0].version[1]. Some C libraries define the macros major and minor.
  const int version[] = {static_cast<unsigned char>(file[begin - 2]), static_cast<unsigned char>(file[begin - 1])};
  check(version[0] >= 1 && version[0] <= 3 && version[1] == 0, where, ": is of format version ", version[0], ".",
        version[1], ", expected 1.0, 2.0 or 3.0");
  const std::size_t length_bytes = version[0] == 1 ? 2 : 4;
  check(file.size() >= begin + length_bytes, where, ": has ", file.size(), " bytes and ends in its header");
  const std::uint64_t length = little_endian(file, begin, length_bytes);
  const std::size_t rest = file.size() - begin - length_bytes;
  check(length <= std::min<std::size_t>(rest, max_npy_header), where, ": the header's length is ", length,
        ", expected at most ", std::min<std::size_t>(rest, max_npy_header));
  const std::size_t header_bytes = as_size(length);
  NpyHeader header = NpyDictionary(file.substr(begin + length_bytes, header_bytes), where).read();
  header.data_begin = begin + length_bytes + header_bytes;
  const std::size_t bytes = npy_data_bytes(header, where);
  check(file.size() - header.data_begin == bytes, where, ": has ", file.size() - header.data_begin,
        " bytes after its header, expected ", bytes, " for ", header.shape, " of ", dtype_bytes(header.dtype),
        " bytes");
  return header;
}

/// Returns the header of a little-endian file. Its length is a multiple of 64 bytes, as NumPy writes it.
inline std::string npy_header(DType dtype, bool fortran_order, const Sizes& shape) {
  std::string text = "{'descr': '";
  text += dtype_bytes(dtype) == 1 ? '|' : '<';
  text += npy_letters(dtype);
  text += fortran_order ? "', 'fortran_order': True, 'shape': (" : "', 'fortran_order': False, 'shape': (";
  for (int i = 0; i < shape.rank(); ++i) {
    text += std::to_string(shape[i]);
    if (shape.rank() == 1 || i + 1 < shape.rank()) text += shape.rank() == 1 ? "," : ", ";
  }
  text += "), }";
  constexpr std::size_t before = npy_signature.size() + 4;
  text.resize((before + text.size() + 1 + 63) / 64 * 64 - before - 1, ' ');
  text += '\n';
  std::string header(npy_signature);
  append_little_endian(header, 1, 2);  // version 1.0
  append_little_endian(header, text.size(), 2);
  return header + text;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
