// A Transformer's options as JSON: what config.json in a model folder says.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>

#include "eigenformer/io/json.hpp"
#include "eigenformer/models/transformer.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Every option with its name in the file: the one list that reading and writing go through.
void visit_options(auto& options, auto&& visitor) {
  visitor("source_vocabulary_size", options.source_vocabulary_size);
  visitor("target_vocabulary_size", options.target_vocabulary_size);
  visitor("width", options.width);
  visitor("heads", options.heads);
  visitor("key_heads", options.key_heads);
  visitor("head_width", options.head_width);
  visitor("num_encoder_layers", options.num_encoder_layers);
  visitor("num_decoder_layers", options.num_decoder_layers);
  visitor("dim_feedforward", options.dim_feedforward);
  visitor("dropout", options.dropout);
  visitor("activation", options.activation);
  visitor("layer_norm_eps", options.layer_norm_eps);
  visitor("norm_first", options.norm_first);
  visitor("residual", options.residual);
  visitor("bias", options.bias);
  visitor("positions", options.positions);
  visitor("max_length", options.max_length);
  visitor("share_embeddings", options.share_embeddings);
  visitor("tie_output", options.tie_output);
}

inline Json option_to_json(Index value) {
  return value;
}
inline Json option_to_json(double value) {
  return value;
}
inline Json option_to_json(bool value) {
  return value;
}
inline Json option_to_json(Activation value) {
  return std::string(to_string(value));
}
inline Json option_to_json(PositionEncoding value) {
  return std::string(to_string(value));
}

inline void option_from_json(const Json& json, const std::string& where, Index& value) {
  if (!json.is_number_integer() || json.get<std::int64_t>() < 0 || json.get<std::int64_t>() > (std::int64_t{1} << 31))
    fail(where, " is ", json.dump(), ", expected a whole number from 0 to 2^31");
  value = json.get<Index>();
}
inline void option_from_json(const Json& json, const std::string& where, double& value) {
  if (!json.is_number()) fail(where, " is ", json.dump(), ", expected a number");
  value = json.get<double>();
}
inline void option_from_json(const Json& json, const std::string& where, bool& value) {
  if (!json.is_boolean()) fail(where, " is ", json.dump(), ", expected true or false");
  value = json.get<bool>();
}
inline const std::string& option_text(const Json& json, const std::string& where) {
  if (!json.is_string()) fail(where, " is ", json.dump(), ", expected a text");
  return json.get_ref<const std::string&>();
}
inline void option_from_json(const Json& json, const std::string& where, Activation& value) {
  value = parse_activation(option_text(json, where));
}
inline void option_from_json(const Json& json, const std::string& where, PositionEncoding& value) {
  value = parse_position_encoding(option_text(json, where));
}

}  // namespace detail

inline Json to_json(const TransformerOptions& options) {
  Json json = Json::object();
  detail::visit_options(options,
                        [&](const char* name, const auto& value) { json[name] = detail::option_to_json(value); });
  return json;
}

/// Reads what to_json gives. Throws, beginning with `where`, if an option is missing, unknown or of another type.
inline TransformerOptions transformer_options(const Json& json, const std::string& where) {
  if (!json.is_object()) fail(where, ": is of type ", json.type_name(), ", expected an object");
  TransformerOptions options;
  std::size_t known = 0;
  detail::visit_options(options, [&](const char* name, auto& value) {
    check(json.contains(name), where, ": has no \"", name, '"');
    detail::option_from_json(json[name], where + ": \"" + name + '"', value);
    ++known;
  });
  if (json.size() == known) return options;
  const Json expected = to_json(options);
  for (const auto& [name, value] : json.items())
    check(expected.contains(name), where, ": has \"", name, "\", which is not an option");
  return options;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
