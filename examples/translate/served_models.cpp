#include "translate/served_models.hpp"

#include <algorithm>

#include "eigenformer/core/folders.hpp"
#include "eigenformer/text/utf8.hpp"
#include "translate/serve_fields.hpp"

namespace translate {

namespace {

namespace fs = std::filesystem;

std::string utf8_name(const fs::path& folder) {
  const std::u8string name = folder.filename().u8string();
  return {name.begin(), name.end()};
}

bool is_utf8(const std::string& text) {
  try {
    ef::check_utf8(text, "name");
    return true;
  } catch (const ef::Error&) {
    return false;
  }
}

bool is_model_folder(const fs::path& folder) {
  std::error_code ignored;
  try {
    for (const char* const name : {"config.json", "model.safetensors"})
      // The first test also succeeds while the newer file is being renamed over the old one.
      if (!fs::is_regular_file(folder / name, ignored) && !fs::is_regular_file(ef::newest_file(folder, name), ignored))
        return false;
    return true;
  } catch (const ef::Error&) {  // the folder cannot be read
    return false;
  }
}

/// Returns the folder's path with its own name at the end, also for "." and "model/".
fs::path named(const fs::path& folder) {
  fs::path path = fs::absolute(folder).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

}  // namespace

ServedModels::ServedModels(const fs::path& first, ef::Threads* threads, const DecodingArguments& decoding,
                           ef::Index max_loaded)
    : directory_(named(first).parent_path()),
      default_name_(utf8_name(named(first))),
      threads_(threads),
      decoding_(decoding),
      max_loaded_(static_cast<std::size_t>(max_loaded)) {
  get(default_name_);
}

std::vector<std::string> ServedModels::names() const {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = utf8_name(entry->path());
    if (name != default_name_ && !name.starts_with('.') && is_utf8(name) && is_model_folder(entry->path()))
      names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  names.insert(names.begin(), default_name_);
  return names;
}

std::string ServedModels::find(const std::string& name) const {
  if (name.empty() || name == default_name_) return default_name_;
  const std::vector<std::string> all = names();
  if (std::find(all.begin(), all.end(), name) != all.end()) return name;
  std::string expected;
  for (const std::string& each : all) expected += (expected.empty() ? "" : ", ") + each;
  throw RequestError(400, "model: is " + short_text(name) + ", expected one of " + expected);
}

const ServedModel& ServedModels::get(const std::string& name) {
  const auto found = std::find_if(loaded_.begin(), loaded_.end(), [&](const auto& each) { return each->name == name; });
  if (found != loaded_.end()) {
    loaded_.splice(loaded_.begin(), loaded_, found);
    return *loaded_.front();
  }
  while (loaded_.size() >= max_loaded_) loaded_.pop_back();  // first, so that memory suffices
  const fs::path folder = directory_ / fs::path(std::u8string(name.begin(), name.end()));
  loaded_.push_front(std::make_unique<ServedModel>(name, load_model(folder), threads_, decoding_));
  return *loaded_.front();
}

}  // namespace translate
