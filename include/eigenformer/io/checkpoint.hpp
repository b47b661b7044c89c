// Checkpoints: everything that a run needs to continue exactly, saved between two updates.
//
//   run/update-000001200/
//     model.safetensors        the parameters
//     optimizer.safetensors    the moments of the optimiser
//     state.json               the number of updates, the caller's state, and checksums of all three files
//
// A checkpoint is a folder. It gets its name in one atomic rename, when its files are complete and synced. After a
// killed program or a power cut, the older checkpoints remain, and the new one is either complete or missing. A second
// checkpoint of an update is "update-000001200.2"; it removes the first once it is complete.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eigenformer/core/folders.hpp"
#include "eigenformer/io/detail/crc32.hpp"
#include "eigenformer/io/options.hpp"
#include "eigenformer/io/parameters.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct CheckpointOptions {
  Index keep = 3;  // number of checkpoints to keep: the new one and the newest before it; 0: all
};

/// The name and number of a checkpoint in a folder.
struct CheckpointEntry {
  std::filesystem::path path;
  Index update = 0;    // updates done when it was saved
  Index revision = 1;  // higher for a checkpoint that replaces another of the same update
};

namespace detail {

inline constexpr std::string_view checkpoint_begin = "update-";
inline constexpr const char* removed_checkpoint = ".removed-checkpoint-";

/// Returns a name such as "update-000001200", or "update-000001200.2" for revision 2.
inline std::string checkpoint_name(Index update, Index revision) {
  const std::string digits = std::to_string(update);
  const std::string name =
      std::string(checkpoint_begin) + std::string(9 - std::min<std::size_t>(9, digits.size()), '0') + digits;
  return revision == 1 ? name : name + '.' + std::to_string(revision);
}

/// Returns the number that the text is, or -1 if it is not a number of 1 to 18 digits.
inline Index number_in(std::string_view text) {
  const bool is_number = !text.empty() && text.size() <= 18 &&
                         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  return is_number ? static_cast<Index>(std::stoll(std::string(text))) : -1;
}

inline std::uint32_t checksum_of(std::string_view bytes) {
  return crc32(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

/// Removes a checkpoint. Renames it first, so that a killed program leaves no partial checkpoint under its name.
inline void remove_checkpoint(const std::filesystem::path& path, Disk& disk) {
  const TemporaryPath removed(folder_of(path), removed_checkpoint);  // removes this path at the end of the scope
  check_error(disk.rename(path, removed.path()), "save_checkpoint", path);
}

/// Writes the files of a checkpoint and renames their folder to `name`.
inline void write_checkpoint(const std::filesystem::path& folder, const std::string& name, Json contents,
                             const std::function<void(const std::filesystem::path&)>& write_tensors, Disk& disk) {
  constexpr const char* where = "save_checkpoint";
  FolderToWrite real(where, folder);
  for (const std::filesystem::path& entry : entries_of(where, real.path()))
    if (std::error_code ignored; path_text(entry.filename()).starts_with(removed_checkpoint))
      std::filesystem::remove_all(entry, ignored);  // a killed program left it
  const UnfinishedFiles unfinished(where, real.path());
  write_tensors(unfinished.path());
  for (const char* const file : {"model.safetensors", "optimizer.safetensors"})
    contents["checksums"][file] = checksum_of(read_file(unfinished.path() / file));
  contents["checksums"]["state.json"] = checksum_of(contents.dump());
  eigenformer::write_file(unfinished.path() / "state.json", contents.dump(2) + '\n');
  copy_owner_and_mode(real.path(), unfinished.path());
  check_error(sync_path(disk, unfinished.path()), where, unfinished.path());

  const std::filesystem::path path = real.path() / name;
  check_error(disk.rename(unfinished.path(), path), where, path);
  check_error(sync_path(disk, real.path()), where, real.path());
  check_error(real.keep(disk), where, real.path());
}

}  // namespace detail

/// Returns the checkpoints of a folder, the newest first. Looks only at names; newest_checkpoint also checks the files.
/// A folder that does not exist has none.
inline std::vector<CheckpointEntry> checkpoints_in(const std::filesystem::path& folder) {
  std::vector<CheckpointEntry> found;
  if (!std::filesystem::exists(detail::known_status("checkpoints_in", folder))) return found;
  for (const std::filesystem::path& entry : detail::entries_of("checkpoints_in", folder)) {
    const std::string name = path_text(entry.filename());
    if (!name.starts_with(detail::checkpoint_begin)) continue;
    const std::size_t dot = std::min<std::size_t>(name.find('.'), name.size());
    const Index update =
        detail::number_in(name.substr(detail::checkpoint_begin.size(), dot - detail::checkpoint_begin.size()));
    const Index revision = dot == name.size() ? 1 : detail::number_in(name.substr(dot + 1));
    if (update >= 0 && revision >= 1) found.push_back({entry, update, revision});
  }
  std::sort(found.begin(), found.end(), [](const CheckpointEntry& a, const CheckpointEntry& b) {
    return a.update != b.update ? a.update > b.update : a.revision > b.revision;
  });
  return found;
}

/// Saves a checkpoint in a folder, which is created if it is missing. Replaces a checkpoint of the same update. Then
/// removes old checkpoints, as options.keep says; checkpoints of later updates stay.
///
///   model       its parameters are saved: a layer, a model, or a variant of models
///   optimizer   an optimiser with updates(), restore(model, updates) and `visit`, such as Adam
///   state       a struct with a function visit_options (see options_to_json), such as TrainingState
///
/// A killed program or a power cut leaves either no new checkpoint or all of it. Not safe for several writers at once.
/// Throws if a file cannot be written, or if a text of the state is not UTF-8.
template <class Model, class Optimizer, class State>
void save_checkpoint(const std::filesystem::path& folder, const Model& model, const Optimizer& optimizer,
                     const State& state, const CheckpointOptions& options = {}) {
  check(options.keep >= 0, "save_checkpoint: keep is ", options.keep, ", expected 0 or more");
  const Index update = optimizer.updates();
  detail::Disk disk;
  const auto write_tensors = [&](const std::filesystem::path& temporary) {
    save_parameters(temporary / "model.safetensors", model);
    save_parameters(temporary / "optimizer.safetensors", optimizer);
  };
  const Json contents{
      {"format", 1}, {"update", update}, {"state", options_to_json(state, "save_checkpoint", NumbersInJson::all)}};
  Index revision = 1;
  for (const CheckpointEntry& entry : checkpoints_in(folder))
    if (entry.update == update) revision = std::max<Index>(revision, entry.revision + 1);
  detail::write_checkpoint(folder, detail::checkpoint_name(update, revision), contents, write_tensors, disk);
  Index kept = 0;
  for (const CheckpointEntry& entry : checkpoints_in(folder)) {
    const bool is_replaced = entry.update == update && entry.revision < revision;
    const bool is_old = !is_replaced && entry.update <= update && options.keep > 0 && ++kept > options.keep;
    if (is_replaced || is_old) detail::remove_checkpoint(entry.path, disk);
  }
}

/// Removes a checkpoint. A killed program leaves either all of it or nothing under its name.
inline void remove_checkpoint(const CheckpointEntry& entry) {
  detail::Disk disk;
  detail::remove_checkpoint(entry.path, disk);
}

/// Removes the checkpoints of all other updates. A new run calls it after its first save, because an earlier run may
/// have left checkpoints in the folder.
inline void remove_checkpoints_except(const std::filesystem::path& folder, Index update) {
  for (const CheckpointEntry& entry : checkpoints_in(folder))
    if (entry.update != update) remove_checkpoint(entry);
}

/// A complete checkpoint, in memory.
class Checkpoint {
 public:
  /// Reads a checkpoint and compares its files with their checksums. Throws if a file is missing or damaged; the
  /// message names the file.
  explicit Checkpoint(const std::filesystem::path& path)
      : path_(path),
        contents_(read_contents(path)),
        model_(read_tensors("model.safetensors")),
        optimizer_(read_tensors("optimizer.safetensors")) {}

  const std::filesystem::path& path() const { return path_; }
  /// Returns the number of updates done when the checkpoint was saved.
  Index update() const { return contents_["update"].get<Index>(); }
  /// Returns the file of the parameters.
  const SafetensorsFile& model() const { return model_; }

  /// Returns the state that was saved. Throws if it is not of this type.
  template <class State>
  State state() const {
    return options_from_json<State>(contents_["state"], path_text(path_ / "state.json") + ": \"state\"",
                                    NumbersInJson::all);
  }

  /// Restores the parameters and the optimiser. The model must have the shapes of the saved model, and the optimiser
  /// the options of the saved optimiser. Throws, and changes nothing, if the tensors do not fit.
  template <class Model, class Optimizer>
  void restore(Model& model, Optimizer& optimizer) const {
    restore(model, model, optimizer);
  }

  /// Restores a model, and an optimiser that trains only some of its parameters. trained: these parameters, such as a
  /// ParameterList of the model. Throws, and changes nothing, if the tensors do not fit.
  template <class Model, class Trained, class Optimizer>
  void restore(Model& model, const Trained& trained, Optimizer& optimizer) const {
    Optimizer restored = optimizer;
    restored.restore(trained, update());
    if (update() > 0) load_parameters(optimizer_, restored);  // before the first update there are no moments
    load_parameters(model_, model);
    optimizer = std::move(restored);
  }

 private:
  static Json read_contents(const std::filesystem::path& path) {
    const std::string where = path_text(path / "state.json");
    Json contents = parse_json(read_file(path / "state.json"), where);
    const auto checksum = [&](const char* name) -> const Json& {
      static const Json none;
      if (!contents.is_object() || !contents.contains("checksums") || !contents["checksums"].is_object()) return none;
      const Json& checksums = contents["checksums"];
      return checksums.contains(name) ? checksums[name] : none;
    };
    for (const char* const name : {"state.json", "model.safetensors", "optimizer.safetensors"})
      check(checksum(name).is_number_unsigned(), where, ": has no checksum of ", name);
    const auto expected = checksum("state.json").get<std::uint64_t>();
    contents["checksums"].erase("state.json");
    check(detail::checksum_of(contents.dump()) == expected, where, ": is damaged: its checksum differs");
    check(contents.contains("format") && contents["format"] == 1, where, ": is of another format, expected format 1");
    check(contents.contains("update") && contents.contains("state"), where, ": has no \"update\" or no \"state\"");
    Index update = 0;
    detail::option_from_json(contents["update"], {where + ": \"update\""}, update);
    return contents;
  }
  SafetensorsFile read_tensors(const char* name) const {
    std::string bytes = read_file(path_ / name);
    check(detail::checksum_of(bytes) == contents_["checksums"][name].get<std::uint64_t>(), path_text(path_ / name),
          ": is damaged: its checksum differs from the one in state.json");
    return SafetensorsFile(std::move(bytes), path_text(path_ / name));
  }

  std::filesystem::path path_;
  Json contents_;
  SafetensorsFile model_, optimizer_;
};

/// The newest complete checkpoint of a folder.
struct NewestCheckpoint {
  std::optional<Checkpoint> checkpoint;  // empty: there is none
  std::vector<std::string> skipped;      // why newer ones cannot be used, one message each
};

/// Finds the newest complete checkpoint of a folder. Skips damaged checkpoints, and checkpoints after more than
/// `max_update` updates. Without exceptions, a damaged checkpoint ends the program: see EIGENFORMER_THROW.
inline NewestCheckpoint newest_checkpoint(const std::filesystem::path& folder,
                                          Index max_update = (std::numeric_limits<Index>::max)()) {
  NewestCheckpoint found;
  for (const CheckpointEntry& entry : checkpoints_in(folder)) {
    if (entry.update > max_update) continue;
#if defined(__cpp_exceptions)
    try {
      found.checkpoint.emplace(entry.path);
    } catch (const Error& error) {
      found.checkpoint.reset();
      found.skipped.emplace_back(error.what());
    }
#else
    found.checkpoint.emplace(entry.path);
#endif
    if (found.checkpoint) return found;
  }
  return found;
}

/// Restores a run from the newest complete checkpoint of a folder. Returns the checkpoint and the reasons why newer
/// ones were skipped. Changes nothing if there is no checkpoint. A run then continues exactly:
///
///   ef::BatchOrder order(sources, targets, {.seed = state.seed});
///   ef::load_checkpoint("run", model, adam, state);
///   order.seek(state.next);
///   ef::train(model, adam, [&] { return ef::translation_batch(sources, targets, order.next()); }, loss,
///             [&](const ef::TrainingProgress& progress) {
///               state.next = order.position();
///               if (progress.update % 1000 == 0) ef::save_checkpoint("run", model, adam, state);
///               return true;
///             },
///             {.seed = state.seed});
template <class Model, class Optimizer, class State>
NewestCheckpoint load_checkpoint(const std::filesystem::path& folder, Model& model, Optimizer& optimizer,
                                 State& state) {
  NewestCheckpoint found = newest_checkpoint(folder);
  if (!found.checkpoint) return found;
  State restored = found.checkpoint->template state<State>();
  found.checkpoint->restore(model, optimizer);
  state = std::move(restored);
  return found;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
