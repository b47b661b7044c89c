// The models of one directory, loaded when a client asks for them.
#pragma once

#include <filesystem>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "translate/translator.hpp"

namespace translate {

/// A model in memory.
struct ServedModel {
  std::string name;  // of its folder
  Model model;
  Translator translator;  // refers to the model

  ServedModel(std::string folder, Model loaded, ef::Threads* threads, const DecodingArguments& decoding)
      : name(std::move(folder)), model(std::move(loaded)), translator(model, threads, decoding) {}
};

/// The model folders beside one folder. Clients choose among their names, so no request reaches other files.
class ServedModels {
 public:
  /// first: the folder of the model that is used by default. decoding: its weights hold for all models.
  /// max_loaded: the number of models in memory; the one used least recently makes room.
  ServedModels(const std::filesystem::path& first, ef::Threads* threads, const DecodingArguments& decoding,
               ef::Index max_loaded);

  const std::string& default_name() const { return default_name_; }
  /// Returns the names of all model folders, the default's first. Any thread may call it.
  std::vector<std::string> names() const;
  /// Returns the given name, or the default for an empty one. Throws a RequestError of status 400 if there is no such
  /// model. Any thread may call it.
  std::string find(const std::string& name) const;

  /// Returns a model, and loads it if necessary. It stays until the next call. One thread may call it.
  const ServedModel& get(const std::string& name);

 private:
  std::filesystem::path directory_;
  std::string default_name_;
  ef::Threads* threads_;
  DecodingArguments decoding_;
  std::size_t max_loaded_;
  std::list<std::unique_ptr<ServedModel>> loaded_;  // the one used most recently first
};

}  // namespace translate
