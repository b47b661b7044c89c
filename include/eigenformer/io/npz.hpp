// Reads and writes NumPy's .npz files: zip archives of .npy files, not compressed.
//
//   std::map<std::string, AnyTensor> tensors = load_npz("x.npz");     // np.savez("x.npz", w=w, ids=ids)
//   Tensor<float> w = tensors.at("w").to<float>();
//   save_npz("y.npz", {{"w", w}, {"ids", ids}});                      // np.load("y.npz")["w"]
//
// Files are not trusted: everything in them is validated before memory is allocated. Needs Eigen alone.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "eigenformer/io/detail/zip.hpp"
#include "eigenformer/io/npy.hpp"
#include "eigenformer/text/utf8.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

inline constexpr std::string_view npy_ending = ".npy";

}  // namespace detail

/// Returns the tensors of an .npz file that is already in memory, by name. name: of the file, in messages. Throws if
/// the bytes violate the format of zip or .npy, if an entry is compressed, damaged or no .npy file, or if a name occurs
/// twice.
inline std::map<std::string, AnyTensor> parse_npz(std::string_view bytes, std::string_view name) {
  const std::string where = "load_npz: " + std::string(name);
  std::map<std::string, AnyTensor> tensors;
  for (const detail::ZipEntry& entry : detail::ZipReader(bytes, where).entries()) {
    const std::string where_entry = where + ": entry \"" + detail::printable(entry.name) + '"';
    check(entry.name.ends_with(detail::npy_ending), where_entry, " is not named like an .npy file");
    const std::string_view tensor = entry.name.substr(0, entry.name.size() - detail::npy_ending.size());
    check(tensors.emplace(tensor, detail::read_npy(entry.bytes, where_entry)).second, where_entry, " occurs twice");
  }
  return tensors;
}

/// Returns the tensors of an .npz file by name, as np.savez writes them. Throws as read_file and parse_npz do.
inline std::map<std::string, AnyTensor> load_npz(const std::filesystem::path& path) {
  return parse_npz(read_file(path), path_text(path));
}

/// Writes tensors of any types as an .npz file, as np.savez does. A braced list copies its tensors. To avoid that,
/// build the map first: tensors.emplace("w", std::move(w)). Throws if a name is not UTF-8 or has more than 65531 bytes,
/// if a tensor is of bfloat16, and as write_file does.
inline void save_npz(const std::filesystem::path& path, const std::map<std::string, AnyTensor>& tensors) {
  const std::string where = "save_npz: " + path_text(path);
  std::vector<detail::NpyFile> files;
  std::vector<detail::ZipSource> entries;
  files.reserve(tensors.size());  // entries refer to their elements
  for (const auto& [name, tensor] : tensors) {
    check_utf8(name, where + ": a name");
    check(name.size() + detail::npy_ending.size() <= 65535, where, ": a name has ", name.size(),
          " bytes, expected at most ", 65535 - detail::npy_ending.size());
    detail::visit_npy(where + ": \"" + name + '"', tensor,
                      [&](const auto& x) { files.push_back(detail::npy_file(x.view())); });
    entries.push_back(
        {name + std::string(detail::npy_ending), {std::as_bytes(std::span(files.back().header)), files.back().data}});
  }
  const detail::ZipWriter archive(entries);
  write_file(path, archive.pieces(entries));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
