// Saving and loading of a model without vocabularies, as a folder of two files that other programs can read too.
//
//   config.json          the model's type and options
//   model.safetensors    its parameters
//
// translation_model.hpp adds the vocabularies.
#pragma once

#include <array>
#include <concepts>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "eigenformer/core/folders.hpp"
#include "eigenformer/io/parameters.hpp"
#include "eigenformer/io/recurrent_seq2seq_config.hpp"
#include "eigenformer/io/transformer_config.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

inline constexpr std::array<const char*, 2> network_files{"config.json", "model.safetensors"};

}  // namespace detail

/// The "model_type" of a model in config.json; empty if folders do not hold such a model.
template <class Model>
inline constexpr std::string_view model_type;
template <class Scalar>
inline constexpr std::string_view model_type<Transformer<Scalar>> = "transformer";
template <class Scalar>
inline constexpr std::string_view model_type<RecurrentSeq2Seq<Scalar>> = "recurrent_seq2seq";

/// A model that a folder holds: Transformer<Scalar> or RecurrentSeq2Seq<Scalar>.
template <class Model>
concept FolderModel = !model_type<Model>.empty();

namespace detail {

template <FolderModel Model>
Json network_config(const Model& model) {
  return {{"model_type", std::string(model_type<Model>)}, {"options", options_to_json(model.options, "save")}};
}

/// Calls body(name, attention, score) for each attention of a Transformer: its name in files, its layer, and the score
/// that the options describe.
template <class Scalar, class Body>
void for_each_attention(const Transformer<Scalar>& model, Body body) {
  const auto call = [&](const std::string& stack, std::size_t i, const char* name,
                        const MultiHeadAttention<Scalar>& attention, const LayerScores& scores) {
    body(stack + ".layers." + std::to_string(i) + '.' + name, attention, score_of_layer(scores, static_cast<Index>(i)));
  };
  const auto& encoder = model.encoder.layers;
  for (std::size_t i = 0; i < encoder.size(); ++i)
    call("encoder", i, "self_attn", encoder[i].self_attn, model.options.encoder_scores);
  const auto& decoder = model.decoder.layers;
  for (std::size_t i = 0; i < decoder.size(); ++i) {
    call("decoder", i, "self_attn", decoder[i].self_attn, model.options.decoder_scores);
    call("decoder", i, "multihead_attn", decoder[i].multihead_attn, model.options.memory_scores);
  }
}

/// Visits the tensors that the model's options describe. The options hold only the name of a user's score. Its
/// parameters are taken from the first layer that names it.
template <class Scalar>
void visit_described(const Transformer<Scalar>& model, const TensorVisitor& visitor) {
  NamedScores<Scalar> scores;
  for_each_attention(model,
                     [&](const std::string&, const MultiHeadAttention<Scalar>& attention, const LayerScore& described) {
                       if (!described.user_score.empty()) scores.try_emplace(described.user_score, attention.score);
                     });
  visit_tensors(model.options, visitor, scores);
}
template <class Scalar>
void visit_described(const RecurrentSeq2Seq<Scalar>& model, const TensorVisitor& visitor) {
  visit_tensors(model.options, visitor);
}

/// Returns a description as a message shows it: `{window: 4, user_score: "decay"}`, or `none`.
inline std::string description_text(const ScoreDescription& score) {
  if (score == ScoreDescription{}) return "none";
  std::string text;
  const auto add = [&](const char* name, const std::string& value) {
    text += (text.empty() ? "{" : ", ") + std::string(name) + ": " + value;
  };
  if (score.window != 0) add("window", std::to_string(score.window));
  if (score.soft_cap != 0) add("soft_cap", Json(score.soft_cap).dump());
  if (!score.user_score.empty()) add("user_score", '"' + score.user_score + '"');
  return text + '}';
}

/// Throws unless the scores of all layers are those that the options describe. Otherwise load() would build others.
template <class Scalar>
void check_scores(const Transformer<Scalar>& model) {
  for_each_attention(
      model, [](const std::string& name, const MultiHeadAttention<Scalar>& attention, const LayerScore& described) {
        const std::optional<ScoreDescription>& given = attention.score.description();
        if (given != described.description())
          fail("save: the score of \"", name, "\" is ", given.has_value() ? description_text(*given) : "set by hand",
               ", expected ", description_text(described.description()), " by the model's options");
      });
}
template <class Scalar>
void check_scores(const RecurrentSeq2Seq<Scalar>&) {}

/// Throws unless the model has exactly the parameters and scores that its options describe. Otherwise load() would
/// refuse the folder or build another model.
template <FolderModel Model>
void check_described(const Model& model) {
  std::map<std::string, Shape> left;
  for_each_parameter(
      model, [&](const std::string& name, const auto& parameter) { left.emplace(name, shape(parameter.value)); });
  visit_described(model, [&](const std::string& name, const Shape& expected) {
    const auto found = left.find(name);
    check(found != left.end(), "save: the model has no parameter \"", name, "\"; by its options it has one of ",
          expected);
    check(found->second == expected, "save: the parameter \"", name, "\" is ", found->second, ", expected ", expected,
          " by the model's options");
    left.erase(found);
  });
  if (!left.empty())
    fail("save: the parameter \"", left.begin()->first, "\" is ", left.begin()->second,
         ", expected none of this name by the model's options");
  check_scores(model);
}

/// The config.json of a model folder.
struct ModelConfig {
  std::string where;  // its path
  Json json;          // an object with a "model_type"
  std::string type;   // the value of "model_type"
};

/// Reads the config.json of a model folder. Throws if it is not an object with a "model_type".
inline ModelConfig read_model_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = newest_file(folder, "config.json");
  ModelConfig config{path_text(path), {}, {}};
  config.json = parse_json(read_file(path), config.where);
  if (!config.json.is_object()) fail(config.where, ": is of type ", config.json.type_name(), ", expected an object");
  check(config.json.contains("model_type"), config.where, ": has no \"model_type\"");
  config.type = option_text(config.json["model_type"], config.where + ": \"model_type\"");
  return config;
}

/// Returns the options in config.json. Throws if it is of a model of another type.
template <FolderModel Model>
auto read_model_options(const ModelConfig& config) {
  check(config.type == model_type<Model>, config.where, ": \"model_type\" is \"", printable(config.type),
        "\", expected \"", model_type<Model>, '"');
  check(config.json.contains("options"), config.where, ": has no \"options\"");
  return options_from_json<decltype(Model::options)>(config.json["options"], config.where + ": \"options\"");
}

/// Makes a model with these options and reads its parameters. Allocates the model only after checking that the file has
/// all of its tensors with the expected shapes. Throws otherwise. scores: the NamedScores of a Transformer, or nothing.
template <FolderModel Model, class... Scores>
Model load_network(const std::filesystem::path& folder, const decltype(Model::options)& options,
                   const Scores&... scores) {
  const SafetensorsFile file(newest_file(folder, "model.safetensors"));
  const std::string where = "load: " + file.name() + " does not fit " + path_text(folder / "config.json");
  visit_tensors(
      options, [&](const std::string& name, const Shape& shape) { check_tensor(file, name, shape, where); }, scores...);
  Rng rng(0);  // initial weights are overwritten below
  Model model(options, rng, scores...);
  load_parameters(file, model);
  return model;
}

/// Returns read(), and tries twice: while a model is saved, its files move, so a reader may miss one. Throws if both
/// attempts fail, because read() throws or because a named file is written meanwhile. Without exceptions it tries once.
template <class Read>
auto read_unchanged(const std::filesystem::path& folder, std::span<const char* const> names, Read&& read) {
  const auto read_once = [&] {
    const auto written = last_writes(folder, names);
    auto result = read();
    check(last_writes(folder, names) == written, "load: ", path_text(folder),
          ": a model was saved there while it was being read; load it again");
    return result;
  };
#if defined(__cpp_exceptions)
  try {
    return read_once();
  } catch (const Error&) {
  }
#endif
  return read_once();
}

}  // namespace detail

/// Writes a model's options and parameters to a folder, without vocabularies:
///
///   ef::save("model/", transformer);
///   ef::save("small_model/", transformer, ef::WeightType::int8);
///
/// weights: the type in which matrices are stored (see save_parameters). float32 keeps the model's scalars, so a model
/// of doubles is stored as doubles.
///
/// Writes the two files atomically: after a full disk, a killed program or a power cut, the folder holds either the
/// previous model or this one, complete (see write_folder). Leaves other files in the folder alone. Throws, and leaves
/// the folder as it is, if the parameters and scores are not those that the options describe: sinks or a score were set
/// by hand, or the model was made without options. Name a score in the options instead: see NamedScores.
template <FolderModel Model>
void save(const std::filesystem::path& folder, const Model& model, WeightType weights = WeightType::float32) {
  detail::check_described(model);
  write_folder(folder, [&](const std::filesystem::path& temporary) {
    write_file(temporary / "config.json", detail::network_config(model).dump(2) + '\n');
    save_parameters(temporary / "model.safetensors", model, {}, weights);
  });
}

/// Loads a model that save() wrote, with vocabularies or without:
///
///   auto transformer = ef::load<ef::Transformer<float>>("model/");
///
/// Converts parameters from any stored type to the model's scalar. Throws if a file is missing, damaged or
/// inconsistent with the other, or if the folder holds a model of another type; the message names the file. Reads again
/// if another model is saved to the folder meanwhile, and throws if that happens twice.
template <FolderModel Model>
Model load(const std::filesystem::path& folder) {
  return detail::read_unchanged(folder, detail::network_files, [&] {
    return detail::load_network<Model>(folder, detail::read_model_options<Model>(detail::read_model_config(folder)));
  });
}

/// Loads a model whose options name scores (see LayerScore::user_score), as load() without scores does. A folder holds
/// the names of the scores and their parameters, not the functions:
///
///   const ef::NamedScores<float> scores{{"decay", ef::score([](auto s, const ef::ScorePosition& at) { return .. })}};
///   auto transformer = ef::load<ef::Transformer<float>>("model/", scores);
///
/// Throws if `scores` lacks a name, if a score has other parameters than the saved one, and as load() without scores
/// does.
template <FolderModel Model, class Scalar>
Model load(const std::filesystem::path& folder, const NamedScores<Scalar>& scores) {
  return detail::read_unchanged(folder, detail::network_files, [&] {
    return detail::load_network<Model>(folder, detail::read_model_options<Model>(detail::read_model_config(folder)),
                                       scores);
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
