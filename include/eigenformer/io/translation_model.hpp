// Saving and loading of a translation model, as a folder of files that other programs can read too.
//
//   config.json              the model's options, and the tokenization of each language
//   model.safetensors        its parameters
//   source_vocabulary.txt    one token per line; its number is the line number, from 0
//   target_vocabulary.txt    one token per line, numbered in the same way
//   source.spm, target.spm   SentencePiece models of the languages that have subwords. Each piece is looked up in the
//                            vocabulary by its text.
#pragma once

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eigenformer/core/folders.hpp"
#include "eigenformer/core/lines.hpp"
#include "eigenformer/io/model_folder.hpp"
#include "eigenformer/models/translation_model.hpp"
#include "eigenformer/text/lower_case.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A file of the caller that is saved to a model folder.
struct ExtraFile {
  std::string name;  // without a folder
  std::string bytes{};
};

namespace detail {

inline constexpr std::array<const char*, 6> model_files{
    "config.json", "model.safetensors", "source_vocabulary.txt", "target_vocabulary.txt", "source.spm", "target.spm"};

/// In config.json, the tokenization of a language with a subword model.
inline constexpr const char* subword_tokens = "subwords";

/// Throws if a vocabulary's file could not hold one of its tokens. where: begins the message.
inline void check_tokens(const Vocabulary& vocabulary, std::string_view where) {
  for (const std::string& token : vocabulary.tokens()) {
    const auto quoted = [&] { return Json(token).dump(-1, ' ', false, Json::error_handler_t::replace); };
    if (token.find('\n') != std::string::npos || token.back() == '\r')
      fail(where, ": the token ", quoted(), " has a line break, expected none: vocabularies have one token a line");
    if (find_invalid_utf8(token) != std::string_view::npos) fail(where, ": the token ", quoted(), " is not UTF-8");
  }
}

/// Throws unless the vocabularies have the sizes that the model's options name.
template <class Options>
void check_vocabulary_sizes(const Options& options, const TranslationSide& source, const TranslationSide& target,
                            std::string_view where) {
  check(options.source_vocabulary_size == source.vocabulary.size() &&
            options.target_vocabulary_size == target.vocabulary.size(),
        where, ": the vocabularies have ", source.vocabulary.size(), " and ", target.vocabulary.size(),
        " tokens, expected ", options.source_vocabulary_size, " and ", options.target_vocabulary_size,
        " by the model's options");
}

inline std::string vocabulary_text(const Vocabulary& vocabulary) {
  std::string text;
  for (const std::string& token : vocabulary.tokens()) text.append(token).append(1, '\n');
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
  return Vocabulary(std::move(tokens), path_text(path));
}

/// Throws if most tokens of the vocabulary are not pieces of the model.
inline void check_pieces(const SubwordModel& subwords, const Vocabulary& vocabulary, std::string_view where) {
  constexpr Index special_tokens = 3;
  Index known = 0;
  for (const std::string& piece : subwords.pieces()) known += vocabulary.contains(piece) ? 1 : 0;
  check(2 * known > vocabulary.size() - special_tokens, where, ": has ", known, " of the ", vocabulary.size(),
        " tokens of its vocabulary, expected most of them");
}

/// Reads a language's subword model. Throws if `read` is empty, or if most tokens of the vocabulary are not pieces of
/// the model.
inline std::shared_ptr<const SubwordModel> read_subwords(const std::filesystem::path& path, const SubwordReader& read,
                                                         const Vocabulary& vocabulary) {
  const std::string where = path_text(path);
  std::string bytes = read_file(path);
  check(read != nullptr, where, ": needs the library SentencePiece, which this program does not use; install it ",
        "(Debian: libsentencepiece-dev), link eigenformer::sentencepiece, and pass read_sentencepiece ",
        "(text/sentencepiece.hpp) to load_translation_model");
  std::shared_ptr<const SubwordModel> subwords = read(std::move(bytes), where);
  check_pieces(*subwords, vocabulary, where);
  return subwords;
}

/// Reads one language's vocabulary, tokenization and subword model. name: "source" or "target".
inline TranslationSide read_side(const std::filesystem::path& folder, const std::string& name,
                                 const ModelConfig& config, const SubwordReader& subwords) {
  const std::string key = name + "_tokens";
  check(config.json.contains(key), config.where, ": has no \"", key, "\", expected a model with vocabularies");
  const std::string& tokens = option_text(config.json[key], config.where + ": \"" + key + '"');
  TranslationSide side;
  side.vocabulary = read_vocabulary(newest_file(folder, name + "_vocabulary.txt"));
  if (tokens == subword_tokens)
    side.subwords = read_subwords(newest_file(folder, name + ".spm"), subwords, side.vocabulary);
  else
    side.tokenization = value_of<Tokenization>(tokens, config.where);
  return side;
}

/// Returns a file's name in lower case, because some file systems ignore the case.
inline std::string name_in_lower_case(const std::string& name) {
  if (find_invalid_utf8(name) == std::string_view::npos) return lower_case(name);
  std::string lower = name;
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

/// Throws unless an extra file of save() has a plain name that neither the model's files nor write_folder's have.
inline void check_extra_name(const std::string& name) {
  const std::filesystem::path path(name);
  // A zero byte would end the name early.
  check(path.has_filename() && path == path.filename() && name != "." && name != ".." &&
            name.find('\0') == std::string::npos,
        "save: an extra file is named \"", name, "\", expected the name of a file, without a folder");
  const std::string lower = name_in_lower_case(name);
  const bool is_ours = std::find(model_files.begin(), model_files.end(), lower) != model_files.end();
  check(!is_ours && lower != newer_files && !lower.starts_with(unfinished_files), "save: an extra file is named \"",
        name, "\", expected a name that the model's folder does not use itself");
}

/// Throws unless all extra files of save() have different names, none of them used by the model's folder.
inline void check_extra_names(std::span<const ExtraFile> extra) {
  std::map<std::string, const ExtraFile*> seen;
  for (const ExtraFile& file : extra) {
    check_extra_name(file.name);
    const auto [place, is_new] = seen.emplace(name_in_lower_case(file.name), &file);
    check(is_new, "save: two extra files are named \"", place->second->name, "\" and \"", file.name,
          "\", expected names that differ by more than their case");
  }
}

}  // namespace detail

/// Throws if save() could not write to the folder. Call it before a long training. Changes nothing, except that it
/// removes unfinished files that killed programs left behind.
inline void check_saving(const std::filesystem::path& folder) {
  check_folder_writable(folder, detail::model_files);
}

/// Throws if save() would refuse a vocabulary because a token has a line break or is not UTF-8. Call it before a long
/// training run. where: begins the message.
inline void check_saving(const Vocabulary& vocabulary, std::string_view where) {
  detail::check_tokens(vocabulary, where);
}

/// Writes a translation model to a folder, atomically. After a full disk, a killed program or a power cut, the folder
/// holds either the previous model or this one, complete (see write_folder). Other files in the folder stay as they
/// are. weights: the type in which matrices are stored (see save_parameters). extra: files that are replaced together
/// with the model's, such as a record of its training. Throws, and leaves the folder as it is, if the model could not
/// be loaded again:
/// - a token has a line break or is not UTF-8
/// - a vocabulary has another size than the options name
/// - a subword model lacks most tokens of its vocabulary
/// - an option could not be read back (see options_to_json)
/// - the parameters or the scores of layers are not those that the options describe
/// - an extra file has a folder in its name
/// - an extra file has the name of one of the model's own files or of another extra file; case is ignored
template <class Scalar>
void save(const std::filesystem::path& folder, const TranslationModel<Scalar>& model,
          WeightType weights = WeightType::float32, std::span<const ExtraFile> extra = {}) {
  Json config = std::visit([](const auto& network) { return detail::network_config(network); }, model.network);
  const auto tokens = [](const TranslationSide& side) {
    return std::string(side.subwords != nullptr ? detail::subword_tokens : to_string(side.tokenization));
  };
  config["source_tokens"] = tokens(model.source);
  config["target_tokens"] = tokens(model.target);
  for (const TranslationSide* const side : {&model.source, &model.target}) {
    detail::check_tokens(side->vocabulary, "save");
    if (side->subwords != nullptr)
      detail::check_pieces(*side->subwords, side->vocabulary,
                           side == &model.source ? "save: the source subword model" : "save: the target subword model");
  }
  std::visit(
      [&](const auto& network) {
        detail::check_vocabulary_sizes(network.options, model.source, model.target, "save");
        detail::check_described(network);
      },
      model.network);
  detail::check_extra_names(extra);
  write_folder(folder, [&](const std::filesystem::path& temporary) {
    write_file(temporary / "config.json", config.dump(2) + '\n');
    save_parameters(temporary / "model.safetensors", model.network, {}, weights);
    write_file(temporary / "source_vocabulary.txt", detail::vocabulary_text(model.source.vocabulary));
    write_file(temporary / "target_vocabulary.txt", detail::vocabulary_text(model.target.vocabulary));
    if (model.source.subwords != nullptr) write_file(temporary / "source.spm", model.source.subwords->bytes());
    if (model.target.subwords != nullptr) write_file(temporary / "target.spm", model.target.subwords->bytes());
    for (const ExtraFile& file : extra) write_file(temporary / file.name, file.bytes);
  });
}

/// Loads a model written by save(). Throws if a file is missing, truncated or inconsistent with the others; the message
/// names the file. Also throws if another model is saved to the folder during loading, or if `scores` lacks a score
/// that the options name. A model with subwords needs a reader of subword models:
///
///   auto model = ef::load_translation_model<float>("model/", {}, ef::read_sentencepiece);
template <class Scalar>
TranslationModel<Scalar> load_translation_model(const std::filesystem::path& folder,
                                                const NamedScores<Scalar>& scores = {},
                                                const SubwordReader& subwords = {}) {
  return detail::read_unchanged(folder, detail::model_files, [&] {
    const detail::ModelConfig config = detail::read_model_config(folder);
    const std::string& where = config.where;
    constexpr std::string_view transformer = model_type<Transformer<Scalar>>;
    constexpr std::string_view recurrent = model_type<RecurrentSeq2Seq<Scalar>>;
    check(config.type == transformer || config.type == recurrent, where, ": \"model_type\" is \"",
          detail::printable(config.type), "\", expected \"", transformer, "\" or \"", recurrent, '"');
    TranslationSide source = detail::read_side(folder, "source", config, subwords);
    TranslationSide target = detail::read_side(folder, "target", config, subwords);
    const auto load_as = [&]<class Network>(const Network*) {
      const auto options = detail::read_model_options<Network>(config);
      detail::check_vocabulary_sizes(options, source, target, where);
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
