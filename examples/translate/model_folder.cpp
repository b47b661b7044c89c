#include "eigenformer/io/translation_model.hpp"
#include "translate/program.hpp"
#include "translate/subwords.hpp"

namespace translate {

Model load_model(const std::filesystem::path& folder) {
  return ef::load_translation_model<float>(folder, {}, read_subwords);
}

void check_saving(const std::filesystem::path& folder) {
  ef::check_saving(folder);
}

void save_model(const std::filesystem::path& folder, const Model& model) {
  ef::save(folder, model);
}

}  // namespace translate
