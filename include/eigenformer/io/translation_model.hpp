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
#include <string_view>
#include <utility>
#include <vector>

#include "eigenformer/core/folders.hpp"
#include "eigenformer/core/lines.hpp"
#include "eigenformer/io/model_folder.hpp"
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
  Json config = std::visit([](const auto& network) { return detail::network_config(network); }, model.network);
  config["source_tokens"] = std::string(to_string(model.source.tokenization));
  config["target_tokens"] = std::string(to_string(model.target.tokenization));
  write_folder(folder, [&](const std::filesystem::path& temporary) {
    write_file(temporary / "config.json", config.dump(2) + '\n');
    save_parameters(temporary / "model.safetensors", model.network);
    write_file(temporary / "source_vocabulary.txt", detail::vocabulary_text(model.source.vocabulary));
    write_file(temporary / "target_vocabulary.txt", detail::vocabulary_text(model.target.vocabulary));
  });
}

/// Loads a model written by save(). Throws if a file is missing, truncated or inconsistent with the others; the message
/// names the file. Also throws if another model is saved to the folder during loading, or if `scores` lacks a score
/// that the options name.
template <class Scalar>
TranslationModel<Scalar> load_translation_model(const std::filesystem::path& folder,
                                                const NamedScores<Scalar>& scores = {}) {
  return detail::read_unchanged(folder, detail::model_files, [&] {
    const detail::ModelConfig config = detail::read_model_config(folder);
    const std::string& where = config.where;
    constexpr std::string_view transformer = model_type<Transformer<Scalar>>;
    constexpr std::string_view recurrent = model_type<RecurrentSeq2Seq<Scalar>>;
    check(config.type == transformer || config.type == recurrent, where, ": \"model_type\" is \"", config.type,
          "\", expected \"", transformer, "\" or \"", recurrent, '"');
    const auto side = [&](const char* tokens_key, const char* vocabulary_file) {
      check(config.json.contains(tokens_key), where, ": has no \"", tokens_key,
            "\", expected a model with vocabularies");
      const std::string& tokens = detail::option_text(config.json[tokens_key], where + ": \"" + tokens_key + '"');
      return TranslationSide{detail::read_vocabulary(newest_file(folder, vocabulary_file)),
                             value_of<Tokenization>(tokens, where)};
    };
    TranslationSide source = side("source_tokens", "source_vocabulary.txt");
    TranslationSide target = side("target_tokens", "target_vocabulary.txt");
    const auto load_as = [&]<class Network>(const Network*) {
      const auto options = detail::read_model_options<Network>(config);
      check(options.source_vocabulary_size == source.vocabulary.size() &&
                options.target_vocabulary_size == target.vocabulary.size(),
            where, ": the model's vocabularies have ", options.source_vocabulary_size, " and ",
            options.target_vocabulary_size, " tokens, the files beside it ", source.vocabulary.size(), " and ",
            target.vocabulary.size());
      if constexpr (std::is_same_v<Network, Transformer<Scalar>>)
        return detail::load_network<Network>(folder, options, scores);
      else
        return detail::load_network<Network>(folder, options);
    };
    Seq2Seq<Scalar> network;
    if (config.type == transformer)
      network = load_as(static_cast<const Transformer<Scalar>*>(nullptr));
    else
      network = load_as(static_cast<const RecurrentSeq2Seq<Scalar>*>(nullptr));
    return TranslationModel<Scalar>{std::move(network), std::move(source), std::move(target)};
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
