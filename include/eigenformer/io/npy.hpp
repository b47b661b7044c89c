// Reads and writes NumPy's .npy files.
//
//   Tensor<float> x = load_npy<float>("x.npy");       // np.save("x.npy", x)
//   save_npy("y.npy", x.transpose());                 // y = np.load("y.npy")
//
// Reads format versions 1.0 to 3.0 in either byte order and either order of the entries. Files are not trusted:
// everything in them is validated before memory is allocated. Needs Eigen alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "eigenformer/core/files.hpp"
#include "eigenformer/io/any_tensor.hpp"
#include "eigenformer/io/detail/npy_header.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Copies a file's entries into the tensor's memory.
template <class Scalar>
void copy_npy_entries(const char* from, bool big_endian, Tensor<Scalar>& to) {
  const auto count = static_cast<std::size_t>(to.size());
  if constexpr (std::is_same_v<Scalar, bool>) {
    for (std::size_t i = 0; i < count; ++i) to.data()[i] = from[i] != 0;
  } else {
    if (count > 0) std::memcpy(static_cast<void*>(to.data()), from, count * sizeof(Scalar));
    if (!big_endian || sizeof(Scalar) == 1) return;
    auto* bytes = reinterpret_cast<unsigned char*>(to.data());
    for (std::size_t i = 0; i < count; ++i, bytes += sizeof(Scalar)) std::reverse(bytes, bytes + sizeof(Scalar));
  }
}

inline Sizes reversed(const Sizes& sizes) {
  Sizes backwards = sizes;
  std::reverse(backwards.data(), backwards.data() + backwards.rank());
  return backwards;
}
inline Sizes reversed_dimensions(int rank) {
  Sizes order = Sizes::of_rank(rank);
  for (int i = 0; i < rank; ++i) order[i] = rank - 1 - i;
  return order;
}

inline AnyTensor read_npy(std::string_view file, const std::string& where) {
  const NpyHeader header = parse_npy_header(file, where);
  AnyTensor result;
  const auto read = [&]<class Scalar>(Scalar) {
    const char* const data = file.data() + header.data_begin;
    Tensor<Scalar> x = Tensor<Scalar>::uninitialized(header.fortran_order ? reversed(header.shape) : header.shape);
    copy_npy_entries(data, header.big_endian, x);
    if (header.fortran_order) x = Tensor<Scalar>(x.permute(reversed_dimensions(x.rank())));
    result = std::move(x);
  };
  if (header.dtype == DType::boolean)
    read(bool{});
  else
    visit_dtype(header.dtype, read);
  return result;
}

/// An .npy file to be written: a header, and entries that lie elsewhere or in `copy`.
struct NpyFile {
  std::string header;
  std::span<const std::byte> data;
  AnyTensor copy;
};

/// Returns the file of a view, which must outlive the result. Contiguous entries are not copied. Contiguous
/// column-major entries are written in Fortran order.
template <class Scalar>
NpyFile npy_file(const TensorView<const Scalar>& x) {
  static_assert(!std::is_same_v<Scalar, Eigen::bfloat16>,
                "NumPy has no bfloat16: save x.cast<float>(), which holds the same numbers");
  using Stored = StoredType<Scalar>;
  NpyFile file;
  const bool rows = x.is_contiguous();
  const bool columns = !rows && x.permute(reversed_dimensions(x.rank())).is_contiguous();
  if (!rows && !columns) {
    file.copy = Tensor<Stored>(x.template cast<Stored>());
    const auto& copy = std::get<Tensor<Stored>>(file.copy.variant());
    file.data = std::as_bytes(std::span(copy.data(), static_cast<std::size_t>(copy.size())));
  } else {
    file.data = std::as_bytes(std::span(x.data(), static_cast<std::size_t>(x.size())));
  }
  file.header = npy_header(stored_dtype<Scalar>(), columns, x.shape());
  return file;
}

/// Calls visit with the tensor. Throws if it is of bfloat16.
template <class Visit>
void visit_npy(std::string_view where, const AnyTensor& x, Visit visit) {
  std::visit(
      [&](const auto& tensor) {
        if constexpr (std::is_same_v<ScalarOf<decltype(tensor)>, Eigen::bfloat16>)
          fail(where, ": the tensor is of bfloat16, which NumPy lacks: save its cast<float>()");
        else
          visit(tensor);
      },
      x.variant());
}

}  // namespace detail

/// Returns the tensor of an .npy file that is already in memory. name: of the file, in messages. Throws if the bytes
/// violate the format, or if their type is none of bool, float16 to float64, int8 to int64 and uint8 to uint64.
inline AnyTensor parse_npy(std::string_view bytes, std::string_view name) {
  return detail::read_npy(bytes, "load_npy: " + std::string(name));
}

/// Returns the tensor of an .npy file, with whatever type it has. Throws as read_file and parse_npy do.
inline AnyTensor load_npy(const std::filesystem::path& path) {
  return parse_npy(read_file(path), path_text(path));
}
/// Returns the tensor of an .npy file with entries of type Scalar: load_npy<float>(path). Converts the file's type only
/// if Scalar holds all its numbers exactly, and otherwise throws an Error that names both types. Throws as read_file
/// and parse_npy do.
template <Number Scalar>
Tensor<Scalar> load_npy(const std::filesystem::path& path) {
  return load_npy(path).template to<Scalar>("load_npy: " + path_text(path));
}

/// Writes a tensor, a view or an expression as an .npy file. Writes contiguous entries from where they lie,
/// column-major ones in Fortran order. An Eigen matrix is saved as strided_view(matrix). Throws as write_file does.
template <TensorLike X>
void save_npy(const std::filesystem::path& path, const X& x) {
  if constexpr (LazyTensor<X>) {
    save_npy(path, Tensor<ScalarOf<X>>(x));
  } else if constexpr (requires { x.view(); }) {
    save_npy(path, TensorView<const ScalarOf<X>>(x.view()));
  } else {
    const detail::NpyFile file = detail::npy_file(TensorView<const ScalarOf<X>>(x));
    const std::array<std::span<const std::byte>, 2> pieces{std::as_bytes(std::span(file.header)), file.data};
    write_file(path, pieces);
  }
}
/// Writes a tensor of any type as an .npy file. Throws if it is of bfloat16, which NumPy lacks, and as write_file does.
inline void save_npy(const std::filesystem::path& path, const AnyTensor& x) {
  detail::visit_npy("save_npy: " + path_text(path), x, [&](const auto& tensor) { save_npy(path, tensor); });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
