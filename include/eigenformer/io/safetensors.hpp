// Reading and writing of safetensors files (github.com/huggingface/safetensors). A file consists of
//
// - eight bytes with the length of the header,
// - a JSON header with each tensor's type, shape and offsets,
// - the tensors' bytes.
//
// Files are not trusted: everything in them is validated before use.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/files.hpp"
#include "eigenformer/io/detail/printable.hpp"
#include "eigenformer/io/dtype.hpp"
#include "eigenformer/io/json.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Header entry of one tensor.
struct SafetensorsEntry {
  DType dtype = DType::f32;
  std::vector<Index> shape;
  std::size_t begin = 0;  // offset of its first byte, counted from the end of the header
  std::size_t end = 0;    // offset past its last byte
};

namespace detail {

inline constexpr std::size_t max_safetensors_header = 100'000'000;  // the format's own limit

inline std::string dimensions_text(std::span<const Index> shape) {
  std::string text = "[";
  for (const Index n : shape) text += (text.size() > 1 ? " x " : "") + std::to_string(n);
  return text + ']';
}

/// Returns the size in bytes of a tensor. Throws if a dimension is negative or the size overflows.
inline std::size_t tensor_bytes(DType dtype, std::span<const Index> shape, std::string_view where) {
  std::size_t bytes = dtype_bytes(dtype);
  for (const Index n : shape) {
    if (n < 0) fail(where, ": shape is ", dimensions_text(shape), ", expected no dimension below 0");
    if (n > 0 && bytes > static_cast<std::size_t>((std::numeric_limits<Index>::max)() / n))
      fail(where, ": shape is ", dimensions_text(shape), ", more bytes than a machine can address");
    bytes *= static_cast<std::size_t>(n);
  }
  return bytes;
}

/// Returns a list of non-negative integers from the header. Throws if it is anything else.
inline std::vector<Index> index_list(const Json& list, std::string_view where, std::string_view key) {
  if (!list.is_array()) fail(where, ": ", key, " is of type ", list.type_name(), ", expected a list");
  std::vector<Index> numbers;
  for (const Json& number : list) {
    if (!number.is_number_unsigned() ||
        number.get<std::uint64_t>() > std::uint64_t{(std::numeric_limits<Index>::max)()})
      fail(where, ": ", key, " has an entry that is not a whole number from 0 to ",
           (std::numeric_limits<Index>::max)());
    numbers.push_back(number.get<Index>());
  }
  return numbers;
}

inline SafetensorsEntry parse_safetensors_entry(const Json& tensor, std::size_t data_bytes, std::string_view where) {
  if (!tensor.is_object()) fail(where, ": is of type ", tensor.type_name(), ", expected an object");
  for (const char* key : {"dtype", "shape", "data_offsets"}) check(tensor.contains(key), where, ": has no ", key);
  check(tensor.size() == 3, where, ": has ", tensor.size(), " keys, expected dtype, shape and data_offsets");

  SafetensorsEntry entry;
  const Json& name = tensor["dtype"];
  if (!name.is_string()) fail(where, ": dtype is of type ", name.type_name(), ", expected a string");
  const std::optional<DType> dtype = dtype_named(name.get_ref<const std::string&>());
  if (!dtype)
    fail(where, ": dtype is ", printable(name.get_ref<const std::string&>()),
         ", expected F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8 or BOOL");
  entry.dtype = *dtype;
  entry.shape = index_list(tensor["shape"], where, "shape");

  const std::vector<Index> offsets = index_list(tensor["data_offsets"], where, "data_offsets");
  check(offsets.size() == 2, where, ": data_offsets has ", offsets.size(), " entries, expected 2");
  entry.begin = static_cast<std::size_t>(offsets[0]);
  entry.end = static_cast<std::size_t>(offsets[1]);
  check(entry.begin <= entry.end && entry.end <= data_bytes, where, ": data_offsets are ", entry.begin, " and ",
        entry.end, ", expected a range within the ", data_bytes, " bytes after the header");
  const std::size_t bytes = tensor_bytes(entry.dtype, entry.shape, where);
  if (entry.end - entry.begin != bytes)
    fail(where, ": data_offsets span ", entry.end - entry.begin, " bytes, expected ", bytes, " for ",
         dimensions_text(entry.shape), " of ", dtype_name(entry.dtype));
  return entry;
}

}  // namespace detail

/// A validated safetensors file in memory. Immutable; copies share the bytes.
class SafetensorsFile {
 public:
  /// Reads and validates a file. Throws if it cannot be read or violates the format; the message names the file, the
  /// tensor, what was expected and what was given.
  explicit SafetensorsFile(const std::filesystem::path& path) : SafetensorsFile(read_file(path), path_text(path)) {}

  /// Validates a safetensors file that is already in memory. name: name of the file in messages. Throws if the bytes
  /// violate the format.
  SafetensorsFile(std::string bytes, std::string name)
      : name_(std::move(name)), bytes_(std::make_shared<const std::string>(std::move(bytes))) {
    const std::string where = "safetensors: " + name_;
    std::uint64_t header_bytes = 0;
    check(bytes_->size() >= sizeof(header_bytes), where, ": has ", bytes_->size(),
          " bytes, expected 8 for the length of the header");
    std::memcpy(&header_bytes, bytes_->data(), sizeof(header_bytes));
    const std::size_t rest = bytes_->size() - sizeof(header_bytes);
    check(header_bytes <= std::min<std::size_t>(rest, detail::max_safetensors_header), where,
          ": the header's length is ", header_bytes, ", expected at most ",
          std::min<std::size_t>(rest, detail::max_safetensors_header));
    const auto length = static_cast<Index>(header_bytes);  // at most `rest`
    data_begin_ = sizeof(header_bytes) + static_cast<std::size_t>(length);
    const std::string_view header(bytes_->data() + sizeof(header_bytes), static_cast<std::size_t>(length));
    check(header.starts_with('{'), where, ": the header does not begin with {");
    parse_header(parse_json(header, where + ": header"), where);
    check_cover(where);
  }

  /// Returns the name of the file that messages use.
  const std::string& name() const { return name_; }

  /// Returns the names of all tensors, in file order.
  const std::vector<std::string>& names() const& { return names_; }
  /// Returns a copy of a temporary's names, for a loop over SafetensorsFile(path).names().
  std::vector<std::string> names() const&& { return names_; }
  bool contains(std::string_view tensor) const { return entries_.find(tensor) != entries_.end(); }

  /// Returns the file's free-form metadata.
  const std::map<std::string, std::string>& metadata() const& { return metadata_; }
  /// Returns a copy of a temporary's metadata.
  std::map<std::string, std::string> metadata() const&& { return metadata_; }

  // All functions below throw an Error if the file has no such tensor.
  DType dtype(std::string_view tensor) const { return entry(tensor).dtype; }
  const std::vector<Index>& shape(std::string_view tensor) const& { return entry(tensor).shape; }
  /// Returns a copy of a temporary's shape.
  std::vector<Index> shape(std::string_view tensor) const&& { return entry(tensor).shape; }

  /// Returns the tensor's bytes, row-major and possibly unaligned. They live as long as any copy of this file.
  std::span<const std::byte> bytes(std::string_view tensor) const {
    const SafetensorsEntry& e = entry(tensor);
    return std::as_bytes(std::span(*bytes_)).subspan(data_begin_ + e.begin, e.end - e.begin);
  }

  /// Returns all numbers of a tensor of any rank, row-major. Floating types convert to float or double; integer types
  /// and BOOL convert to any integer type. Throws on conversions between floating and integer types, and if an integer
  /// is out of range.
  template <class Number>
  std::vector<Number> values(std::string_view tensor) const {
    std::vector<Number> numbers(bytes(tensor).size() / dtype_bytes(dtype(tensor)));
    convert_numbers(dtype(tensor), bytes(tensor), std::span(numbers), where(tensor));
    return numbers;
  }

  /// Returns a tensor of rank 2 as a matrix, of rank 1 as one row, of rank 0 as [1 x 1]. Converts numbers as `values`
  /// does. Throws if the rank is greater than 2 or the conversion fails.
  template <class Scalar>
  Matrix<Scalar> matrix(std::string_view tensor) const {
    const std::vector<Index>& dimensions = shape(tensor);
    if (dimensions.size() > 2)
      fail(where(tensor), ": shape is ", detail::dimensions_text(dimensions), ", expected at most two dimensions");
    Matrix<Scalar> numbers(dimensions.size() == 2 ? dimensions[0] : 1, dimensions.empty() ? 1 : dimensions.back());
    convert_numbers(dtype(tensor), bytes(tensor), std::span(numbers.data(), static_cast<std::size_t>(numbers.size())),
                    where(tensor));
    return numbers;
  }

 private:
  std::string where(std::string_view tensor) const {
    return "safetensors: " + name_ + ": tensor \"" + detail::printable_name(tensor) + '"';
  }

  const SafetensorsEntry& entry(std::string_view tensor) const {
    const auto found = entries_.find(tensor);
    if (found == entries_.end()) fail(where(tensor), " is not in the file");
    return found->second;
  }

  void parse_header(const Json& header, const std::string& where_file) {
    for (const auto& [key, value] : header.items()) {
      if (key != "__metadata__") {
        entries_.emplace(key, detail::parse_safetensors_entry(value, bytes_->size() - data_begin_, where(key)));
        names_.push_back(key);
        continue;
      }
      if (!value.is_object()) fail(where_file, ": __metadata__ is of type ", value.type_name(), ", expected an object");
      for (const auto& [note, text] : value.items()) {
        if (!text.is_string())
          fail(where_file, ": __metadata__ \"", detail::printable(note), "\" is of type ", text.type_name(),
               ", expected a string");
        metadata_.emplace(note, text.template get<std::string>());
      }
    }
  }

  /// Throws unless the tensors cover all bytes after the header without gaps or overlaps.
  void check_cover(const std::string& where_file) {
    const auto place = [&](const std::string& tensor) {
      const SafetensorsEntry& e = entry(tensor);
      return std::pair(e.begin, e.end);
    };
    std::stable_sort(names_.begin(), names_.end(),
                     [&](const std::string& a, const std::string& b) { return place(a) < place(b); });
    std::size_t end = 0;
    for (const std::string& tensor : names_) {
      if (place(tensor).first != end)
        fail(where(tensor), ": data_offsets begin at ", place(tensor).first, ", expected ", end,
             ", where the tensor before ends");
      end = place(tensor).second;
    }
    check(end == bytes_->size() - data_begin_, where_file, ": the tensors end at byte ", end,
          " after the header, expected ", bytes_->size() - data_begin_, ", where the file ends");
  }

  std::string name_;
  std::shared_ptr<const std::string> bytes_;
  std::size_t data_begin_ = 0;
  std::map<std::string, SafetensorsEntry, std::less<>> entries_;
  std::vector<std::string> names_;
  std::map<std::string, std::string> metadata_;
};

/// A tensor to be written. Does not own `bytes`.
struct NamedTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<Index> shape;
  std::span<const std::byte> bytes;
};

/// Returns a view of a matrix under a name. The matrix must outlive the result.
template <class Scalar>
NamedTensor named_tensor(std::string name, const Matrix<Scalar>& matrix) {
  const std::span<const Scalar> numbers(matrix.data(), static_cast<std::size_t>(matrix.size()));
  return {std::move(name), dtype_of<Scalar>(), {matrix.rows(), matrix.cols()}, std::as_bytes(numbers)};
}
template <class Scalar>
NamedTensor named_tensor(std::string name, const Matrix<Scalar>&& matrix) = delete;

/// Writes the tensors as a safetensors file. Types with wider numbers come first, so that all tensors are aligned.
///
/// Throws if a name is duplicate, is "__metadata__" or is not UTF-8; if metadata are not UTF-8; if the number of bytes
/// does not match the shape; and as write_file does.
inline void write_safetensors(const std::filesystem::path& path, std::vector<NamedTensor> tensors,
                              const std::map<std::string, std::string>& metadata = {}) {
  const std::string where_file = "write_safetensors: " + path_text(path);
  const auto check_utf8 = [&](const std::string& text) {
    const std::string json = Json(text).dump(-1, ' ', false, Json::error_handler_t::ignore);
    check(Json::parse(json).get_ref<const std::string&>() == text, where_file, ": \"", text, "\" is not UTF-8");
  };

  Json header = Json::object();
  for (const auto& [key, value] : metadata) {
    check_utf8(key);
    check_utf8(value);
    header["__metadata__"][key] = value;
  }
  std::stable_sort(tensors.begin(), tensors.end(), [](const NamedTensor& a, const NamedTensor& b) {
    return dtype_bytes(a.dtype) > dtype_bytes(b.dtype);
  });
  std::vector<std::span<const std::byte>> pieces(2);
  std::size_t end = 0;
  for (const NamedTensor& tensor : tensors) {
    const std::string where = where_file + ": tensor \"" + tensor.name + '"';
    check_utf8(tensor.name);
    check(tensor.name != "__metadata__", where, ": the format keeps this name for itself");
    check(!header.contains(tensor.name), where, ": the name stands twice");
    const std::size_t bytes = detail::tensor_bytes(tensor.dtype, tensor.shape, where);
    if (tensor.bytes.size() != bytes)
      fail(where, ": has ", tensor.bytes.size(), " bytes, expected ", bytes, " for ",
           detail::dimensions_text(tensor.shape), " of ", dtype_name(tensor.dtype));
    header[tensor.name] = {
        {"dtype", dtype_name(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
    pieces.push_back(tensor.bytes);
  }

  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  check(text.size() <= detail::max_safetensors_header, where_file, ": the header has ", text.size(),
        " bytes, expected at most ", detail::max_safetensors_header);
  const std::uint64_t length = text.size();
  pieces[0] = std::as_bytes(std::span(&length, 1));
  pieces[1] = std::as_bytes(std::span(text));
  write_file(path, pieces);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
