#include "translate/checkpoint_average.hpp"

#include <algorithm>
#include <set>

#include "eigenformer/train/parameter_average.hpp"
#include "eigenformer/train/parameter_hash.hpp"
#include "translate/run_hash.hpp"

namespace translate {

namespace {

std::filesystem::path folder_of_best(const std::filesystem::path& checkpoints) {
  return checkpoints / "best";
}

/// Returns the path of a kept model's file. The hash in its name keeps runs in one folder from overwriting each other's
/// files.
std::filesystem::path file_of(const std::filesystem::path& checkpoints, const KeptModel& kept) {
  return folder_of_best(checkpoints) /
         ("update-" + std::to_string(kept.update) + '-' + kept.parameters + ".safetensors");
}

/// Returns a member of a checkpoint's state; null if there is none. Also null if the state cannot be read; then a run
/// cannot continue from the checkpoint either.
ef::Json member_of_state(const std::filesystem::path& checkpoint, const char* member) {
  try {
    const std::filesystem::path path = checkpoint / "state.json";
    const ef::Json contents = ef::parse_json(ef::read_file(path), ef::path_text(path));
    if (!contents.is_object() || !contents.contains("state")) return {};
    const ef::Json& state = contents["state"];
    return state.is_object() && state.contains(member) ? state[member] : ef::Json();
  } catch (const ef::Error&) {
    return {};
  }
}

/// Returns the kept models that the state of a checkpoint lists; none if its state cannot be read.
std::vector<KeptModel> listed_in(const std::filesystem::path& checkpoint) {
  const ef::Json models = member_of_state(checkpoint, "best_models");
  if (!models.is_array()) return {};
  try {
    std::vector<KeptModel> kept;
    for (const ef::Json& each : models)
      kept.push_back(ef::options_from_json<KeptModel>(each, ef::path_text(checkpoint), ef::NumbersInJson::all));
    return kept;
  } catch (const ef::Error&) {
    return {};
  }
}

bool is_interruption(const std::filesystem::path& checkpoint) {
  return member_of_state(checkpoint, "is_interruption") == true;
}

}  // namespace

void keep_if_best(std::vector<KeptModel>& best, ef::Index count, const std::filesystem::path& checkpoints,
                  const Model& model, const Quality& quality, ef::Index update) {
  const auto place = std::find_if(best.begin(), best.end(),
                                  [&](const KeptModel& other) { return quality.is_better_than(other.quality); });
  if (place - best.begin() >= count) return;
  const KeptModel kept{update, quality, hex(ef::parameter_hash(model.network))};
  std::filesystem::create_directories(folder_of_best(checkpoints));
  ef::save_parameters(file_of(checkpoints, kept), model.network);
  best.insert(place, kept);
  if (static_cast<ef::Index>(best.size()) > count) best.pop_back();
}

void remove_unlisted_models(const std::filesystem::path& checkpoints) {
  const std::filesystem::path folder = folder_of_best(checkpoints);
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) return;
  std::set<std::filesystem::path> listed;
  for (const ef::CheckpointEntry& entry : ef::checkpoints_in(checkpoints))
    for (const KeptModel& kept : listed_in(entry.path)) listed.insert(file_of(checkpoints, kept));
  std::vector<std::filesystem::path> unlisted;
  for (const std::filesystem::directory_entry& file : std::filesystem::directory_iterator(folder))
    if (listed.count(file.path()) == 0) unlisted.push_back(file.path());
  for (const std::filesystem::path& file : unlisted) std::filesystem::remove(file);
  if (listed.empty()) std::filesystem::remove(folder, error);
}

std::vector<ef::CheckpointEntry> interruptions_before(const std::filesystem::path& checkpoints, ef::Index update) {
  std::vector<ef::CheckpointEntry> found;
  for (const ef::CheckpointEntry& entry : ef::checkpoints_in(checkpoints))
    if (entry.update < update && is_interruption(entry.path)) found.push_back(entry);
  return found;
}

ModelMean mean_of_last(const Model& model, const std::filesystem::path& checkpoints, ef::Index updates,
                       ef::Index count) {
  ModelMean result{model};
  ef::ParameterMean mean;
  while (result.count < count) {
    const ef::NewestCheckpoint found = ef::newest_checkpoint(checkpoints, updates);
    if (!found.checkpoint) break;
    updates = found.checkpoint->update() - 1;
    if (result.count > 0 && is_interruption(found.checkpoint->path())) continue;
    ef::load_parameters(found.checkpoint->model(), result.model.network);
    mean.add(result.model.network);
    ++result.count;
  }
  if (result.count > 0) mean.copy_to(result.model.network);
  return result;
}

ModelMean mean_of_best(const Model& model, const std::filesystem::path& checkpoints,
                       const std::vector<KeptModel>& best) {
  ModelMean result{model};
  ef::ParameterMean mean;
  for (const KeptModel& kept : best) {
    const std::filesystem::path path = file_of(checkpoints, kept);
    ef::load_parameters(ef::SafetensorsFile(path), result.model.network);
    ef::check(hex(ef::parameter_hash(result.model.network)) == kept.parameters, ef::path_text(path),
              ": is damaged: its parameters are not those that were saved");
    mean.add(result.model.network);
    ++result.count;
  }
  if (result.count > 0) mean.copy_to(result.model.network);
  return result;
}

}  // namespace translate
