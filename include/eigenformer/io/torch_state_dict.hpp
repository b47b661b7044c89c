// PyTorch's weights: reads and writes the state dict of a PyTorch module as a safetensors file.
//
// In Python, write the file with the package safetensors. Files that torch.save() wrote (.pt, .pth) are not read; the
// error says how to convert them.
//
//   safetensors.torch.save_file(module.state_dict(), "layer.safetensors")
//
// In C++, make the layer with the module's options, which a state dict does not hold, and read it:
//
//   ef::EncoderLayer<float> layer({.width = 256, .heads = 8, .dim_feedforward = 1024}, rng);
//   ef::load_torch_state_dict("layer.safetensors", layer);
//
// The layers and their modules:
//
//   MultiHeadAttention            torch.nn.MultiheadAttention
//   EncoderLayer, DecoderLayer    torch.nn.TransformerEncoderLayer, TransformerDecoderLayer
//   Encoder, Decoder              torch.nn.TransformerEncoder, TransformerDecoder
//   EncoderDecoder                torch.nn.Transformer, with final_norm = FinalNorm::always
//   Recurrent                     torch.nn.RNN, GRU, LSTM
//   Convolution                   torch.nn.Conv1d
//   Linear, Embedding             torch.nn.Linear, Embedding
//   LayerNorm, RmsNorm            torch.nn.LayerNorm, RMSNorm
//
// A struct of your own may hold such layers. Its `visit` gives them the names that the module gives them.
//
// These options of PyTorch's modules are not supported:
//
//   add_bias_kv, proj_size, groups   reading throws, with the option's name
//   add_zero_attn                    the results differ, because a state dict does not show this option. Its equal here
//                                    is a sink of 0 for each head: see AttentionOptions::sinks
//
// Decoders are causal here. If your code calls torch.nn.Transformer without tgt_mask, pass Unmasked{} as target_score.
// PyTorch's bias=False of a Transformer or its layers is bias = false and norm_bias = false here.
#pragma once

#include <cstddef>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "eigenformer/autograd/gradients.hpp"
#include "eigenformer/io/detail/torch_tensors.hpp"
#include "eigenformer/io/safetensors.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Returns why layers have no tensor of this name, or "" if the reason is not known.
inline std::string torch_reason(const std::string& name) {
  const std::string last = name.substr(name.rfind('.') + 1);  // npos + 1 is 0
  if (last == "bias_k" || last == "bias_v") return ": attention with add_bias_kv is not supported";
  if (last.starts_with("weight_hr_l")) return ": LSTM with proj_size is not supported";
  return "";
}

/// Returns why the shape of a tensor differs from the layer's, or "" if the reason is not known.
inline std::string torch_shape_reason(const std::vector<Index>& given, const std::vector<Index>& expected) {
  const bool grouped = given.size() == 3 && expected.size() == 3 && given[0] == expected[0] &&
                       given[2] == expected[2] && given[1] > 0 && given[1] < expected[1] && expected[1] % given[1] == 0;
  return grouped ? ": Conv1d with groups = " + std::to_string(expected[1] / given[1]) + " is not supported" : "";
}

/// Throws if torch.save() wrote the file: its bytes are a zip archive or, before PyTorch 1.6, a pickle.
inline void check_not_torch_save(std::string_view bytes, const std::filesystem::path& path) {
  const bool is_zip = bytes.starts_with("PK\x03\x04"), is_pickle = bytes.starts_with("\x80\x02");
  if (!(is_zip || is_pickle) || (bytes.size() > 8 && bytes[8] == '{')) return;  // { begins the header of safetensors
  const std::string from = path_text(path),
                    to = path_text(std::filesystem::path(path).replace_extension("safetensors"));
  fail("load_torch_state_dict: ", from,
       " was written by torch.save(), expected a safetensors file. In Python, convert it: "
       "import torch, safetensors.torch; safetensors.torch.save_file(torch.load(r\"",
       from, "\", map_location=\"cpu\", weights_only=True), r\"", to, "\")");
}

/// Returns whether a tensor of the file has the shape that a layer expects. [n] fits [1 x n].
inline bool fits_torch_shape(const std::vector<Index>& given, const std::vector<Index>& expected) {
  return given == expected ||
         (given.size() == 1 && expected.size() == 2 && expected[0] == 1 && given[0] == expected[1]);
}

/// The name and the shape of a tensor that a layer expects.
struct ExpectedTensor {
  std::string name;
  std::vector<Index> shape;
};

/// Throws one error if tensors are missing, unknown or of another shape. Lists the first ten, and counts the others.
inline void check_torch_state_dict(const SafetensorsFile& file, const std::vector<ExpectedTensor>& expected,
                                   const std::string& prefix) {
  constexpr std::size_t max_listed = 10;
  std::vector<std::string> problems;
  std::set<std::string> names;
  for (const auto& [name, shape] : expected) {
    names.insert(name);
    if (!file.contains(name))
      problems.push_back('"' + name + "\" is missing, expected " + dimensions_text(shape));
    else if (!fits_torch_shape(file.shape(name), shape))
      problems.push_back('"' + name + "\" is " + dimensions_text(file.shape(name)) + ", expected " +
                         dimensions_text(shape) + torch_shape_reason(file.shape(name), shape));
  }
  for (const std::string& name : file.names())
    if (name.starts_with(prefix) && !names.contains(name))
      problems.push_back('"' + printable_name(name) + "\" is " + dimensions_text(file.shape(name)) +
                         ", expected no such tensor" + torch_reason(name));
  if (problems.empty()) return;
  std::string list;
  for (std::size_t i = 0; i < problems.size() && i < max_listed; ++i) list += (i == 0 ? "" : "; ") + problems[i];
  if (problems.size() > max_listed) list += "; and " + std::to_string(problems.size() - max_listed) + " more";
  fail("load_torch_state_dict: ", file.name(), " does not fit the layer: ", list);
}

/// Returns a tensor's numbers. Unlike SafetensorsFile::values, it also converts whole numbers to Scalar.
template <class Scalar>
std::vector<Scalar> torch_numbers(const SafetensorsFile& file, const std::string& name) {
  return visit_dtype(file.dtype(name), [&](auto zero) {
    using Stored = decltype(zero);
    if constexpr (std::is_integral_v<Stored>) {
      const std::vector<Stored> whole = file.values<Stored>(name);
      return std::vector<Scalar>(whole.begin(), whole.end());
    } else {
      return file.values<Scalar>(name);
    }
  });
}

/// Writes a state dict. `matrix_of(parameter)` returns the matrix to write for a parameter.
template <class Model, class MatrixOf>
void write_torch_state_dict(const std::filesystem::path& path, const Model& model, const std::string& prefix,
                            const MatrixOf& matrix_of) {
  std::vector<std::vector<std::byte>> memory;
  std::vector<NamedTensor> tensors;
  for_each_torch_tensor(model, prefix, [&]<class P>(const TorchTensor<P>& tensor) {
    using Scalar = typename decltype(P::value)::Scalar;
    std::vector<Scalar> numbers;
    for (const P* part : tensor.parts) append_torch_numbers<Scalar>(matrix_of(*part), tensor.kernel, numbers);
    const std::span<const std::byte> bytes = std::as_bytes(std::span(numbers));
    const std::vector<std::byte>& kept = memory.emplace_back(bytes.begin(), bytes.end());
    tensors.push_back({tensor.name, dtype_of<Scalar>(), tensor.shape, kept});
  });
  write_safetensors(path, std::move(tensors), {{"format", "pt"}});
}

}  // namespace detail

/// Reads a module's state dict into a layer or model with the same options. Every type that safetensors files hold is
/// converted to the layer's scalar.
///
/// prefix: reads only the tensors whose names begin with it. The layer's names follow it:
///
///   ef::load_torch_state_dict(file, model.encoder, "transformer.encoder.");
///
/// Throws one error, and leaves the model unchanged, if tensors are missing, unknown or of another shape. It names up
/// to ten of them, with expected and given shapes. Also throws if PyTorch has no such layer: attention with key_heads,
/// head_width, qk_norm or relative positions, or the cell gru_reset_first.
template <class Model>
void load_torch_state_dict(const SafetensorsFile& file, Model& model, const std::string& prefix = "") {
  std::vector<detail::ExpectedTensor> expected;
  detail::for_each_torch_tensor(std::as_const(model), prefix, [&](const auto& tensor) {
    expected.push_back({tensor.name, tensor.shape});
  });
  detail::check_torch_state_dict(file, expected, prefix);
  detail::for_each_torch_tensor(model, prefix, [&]<class P>(const detail::TorchTensor<P>& tensor) {
    using Scalar = typename decltype(P::value)::Scalar;
    detail::set_torch_numbers<Scalar>(tensor, detail::torch_numbers<Scalar>(file, tensor.name));
  });
}

/// Reads the state dict in the file `path` into a layer or model with the module's options. Throws as
/// load_torch_state_dict of a SafetensorsFile does, and if the file cannot be read or violates the format. If
/// torch.save() wrote the file, the message has a line of Python that converts it.
template <class Model>
void load_torch_state_dict(const std::filesystem::path& path, Model& model, const std::string& prefix = "") {
  std::string bytes = read_file(path);
  detail::check_not_torch_save(bytes, path);
  load_torch_state_dict(SafetensorsFile(std::move(bytes), path_text(path)), model, prefix);
}

/// Writes a layer or model as the state dict of PyTorch's module, for
/// module.load_state_dict(safetensors.torch.load_file(path)). Types are those of the layer.
///
/// prefix: begins all names.
///
/// A parameter [1 x n] becomes [n] if its name begins with "bias" or if it is the gain of a norm. Throws if PyTorch has
/// no such layer (see load_torch_state_dict), and as write_safetensors does. A state dict holds no options: masks,
/// windows, ALiBi, rotary positions and residual connections are up to the program that loads it.
template <class Model>
void save_torch_state_dict(const std::filesystem::path& path, const Model& model, const std::string& prefix = "") {
  detail::write_torch_state_dict(
      path, model, prefix, [](const auto& parameter) -> const auto& { return parameter.value; });
}

/// Writes the gradients of a layer's or model's parameters under the names, and in the shapes, of its state dict. In
/// Python they compare with {name: p.grad for name, p in module.named_parameters()}.
///
/// gradients: tape.gradients() after backward; a parameter without a gradient gets zeros.
///
/// Throws as save_torch_state_dict does.
template <class Model, class Scalar>
void save_torch_gradients(const std::filesystem::path& path, const Model& model, const Gradients<Scalar>& gradients,
                          const std::string& prefix = "") {
  detail::write_torch_state_dict(path, model, prefix,
                                 [&](const Parameter<Scalar>& parameter) { return gradients[parameter]; });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
