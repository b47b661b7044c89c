// Saving and loading of a translation model, as a folder of files that other programs can read too.
//
//   config.json              the model's options, and the tokenization of each language
//   model.safetensors        its parameters
//   source_vocabulary.txt    one token per line; its number is the line number, from 0
//   target_vocabulary.txt    one token per line, numbered in the same way
#pragma once

#include <array>
#include <filesystem>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "eigenformer/core/folders.hpp"
#include "eigenformer/core/lines.hpp"
#include "eigenformer/io/parameters.hpp"
#include "eigenformer/io/recurrent_seq2seq_config.hpp"
#include "eigenformer/io/transformer_config.hpp"
#include "eigenformer/models/translation_model.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

inline constexpr std::array<const char*, 4> model_files{"config.json", "model.safetensors", "source_vocabulary.txt",
                                                        "target_vocabulary.txt"};

inline std::string vocabulary_text(const Vocabulary& vocabulary) {
  std::string text;
  for (const std::string& token : vocabulary.tokens()) {
    check(token.find('\n') == std::string::npos && token.back() != '\r', "save: the token \"", token,
          "\" has a line break, expected none: vocabularies have one token a line");
    text.append(token).append(1, '\n');
  }
  return text;
}

inline Vocabulary read_vocabulary(const std::filesystem::path& path) {
  std::istringstream text(read_file(path));
  LineReader reader(text, path_text(path));
  std::vector<std::string> tokens;
  for (std::string token; reader.next(token);) {
    check_utf8(token, reader.where());
    tokens.push_back(token);
  }
  check(!tokens.empty() && reader.has_end(), path_text(path), ": is empty or does not end with a line break");
  return Vocabulary(std::move(tokens));
}

/// Returns the "model_type" of a Transformer in config.json.
template <class Scalar>
const char* model_type(const Transformer<Scalar>&) {
  return "transformer";
}
/// Returns the "model_type" of a RecurrentSeq2Seq in config.json.
template <class Scalar>
const char* model_type(const RecurrentSeq2Seq<Scalar>&) {
  return "recurrent_seq2seq";
}

/// Makes a model with these options and reads its parameters. Allocates the model only after checking that the file has
/// all of its tensors with the expected shapes. Throws otherwise.
template <class Network, class Options>
Network load_network(const std::filesystem::path& folder, const Options& options) {
  const SafetensorsFile file(newest_file(folder, "model.safetensors"));
  const std::string where = "load: " + file.name() + " does not fit " + path_text(folder / "config.json");
  visit_tensors(options, [&](const std::string& name, const Shape& shape) { check_tensor(file, name, shape, where); });
  Rng rng(0);  // initial weights are overwritten below
  Network network(options, rng);
  load_parameters(file, network);
  return network;
}

}  // namespace detail

/// Throws if save() could not write to the folder. Call it before a long training. Changes nothing, except that it
/// removes unfinished files that killed programs left behind.
inline void check_saving(const std::filesystem::path& folder) {
  check_folder_writable(folder, detail::model_files);
}

/// Writes the four files atomically: after a full disk, a killed program or a power cut, the folder holds either the
/// previous model or this one, complete (see write_folder). Leaves other files in the folder alone.
template <class Scalar>
void save(const std::filesystem::path& folder, const TranslationModel<Scalar>& model) {
  Json config{{"source_tokens", std::string(to_string(model.source.tokenization))},
              {"target_tokens", std::string(to_string(model.target.tokenization))}};
  std::visit(
      [&](const auto& network) {
        config["model_type"] = detail::model_type(network);
        config["options"] = options_to_json(network.options);
      },
      model.network);
  write_folder(folder, [&](const std::filesystem::path& temporary) {
    write_file(temporary / "config.json", config.dump(2) + '\n');
    save_parameters(temporary / "model.safetensors", model.network);
    write_file(temporary / "source_vocabulary.txt", detail::vocabulary_text(model.source.vocabulary));
    write_file(temporary / "target_vocabulary.txt", detail::vocabulary_text(model.target.vocabulary));
  });
}

/// Loads a model written by save(). Throws if a file is missing, truncated or inconsistent with the others; the message
/// names the file. Also throws if another model is saved to the folder during loading.
template <class Scalar>
TranslationModel<Scalar> load_translation_model(const std::filesystem::path& folder) {
  const auto written = last_writes(folder, detail::model_files);
  const std::filesystem::path config_path = newest_file(folder, "config.json");
  const std::string where = path_text(config_path);
  const Json config = parse_json(read_file(config_path), where);
  if (!config.is_object()) fail(where, ": is of type ", config.type_name(), ", expected an object");
  check(config.contains("model_type"), where, ": has no \"model_type\"");
  const std::string& type = detail::option_text(config["model_type"], where + ": \"model_type\"");
  const Transformer<Scalar> transformer;
  const RecurrentSeq2Seq<Scalar> recurrent;
  check(type == detail::model_type(transformer) || type == detail::model_type(recurrent), where,
        ": \"model_type\" is \"", type, "\", expected \"", detail::model_type(transformer), "\" or \"",
        detail::model_type(recurrent), '"');
  for (const char* key : {"source_tokens", "target_tokens", "options"})
    check(config.contains(key), where, ": has no \"", key, '"');

  const auto side = [&](const char* tokens_key, const char* vocabulary_file) {
    return TranslationSide{
        detail::read_vocabulary(newest_file(folder, vocabulary_file)),
        value_of<Tokenization>(detail::option_text(config[tokens_key], where + ": \"" + tokens_key + '"'), where)};
  };
  TranslationSide source = side("source_tokens", "source_vocabulary.txt");
  TranslationSide target = side("target_tokens", "target_vocabulary.txt");
  const auto load = [&]<class Network>(const Network&) {
    const auto options = options_from_json<decltype(Network::options)>(config["options"], where + ": \"options\"");
    check(options.source_vocabulary_size == source.vocabulary.size() &&
              options.target_vocabulary_size == target.vocabulary.size(),
          where, ": the model's vocabularies have ", options.source_vocabulary_size, " and ",
          options.target_vocabulary_size, " tokens, the files beside it ", source.vocabulary.size(), " and ",
          target.vocabulary.size());
    return detail::load_network<Network>(folder, options);
  };
  Seq2Seq<Scalar> network;
  if (type == detail::model_type(transformer))
    network = load(transformer);
  else
    network = load(recurrent);
  check(last_writes(folder, detail::model_files) == written, "load: ", path_text(folder),
        ": a model was saved there while it was being read; expected none, read it again");
  return {std::move(network), std::move(source), std::move(target)};
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
