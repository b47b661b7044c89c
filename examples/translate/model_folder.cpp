#include "eigenformer/io/translation_model.hpp"
#include "translate/program.hpp"
#include "translate/subwords.hpp"

namespace translate {

namespace {

constexpr const char* training_file = "training.json";

}  // namespace

Model load_model(const std::filesystem::path& folder) {
  return ef::load_translation_model<float>(folder, {}, read_subwords);
}

void check_saving(const std::filesystem::path& folder) {
  ef::check_saving(folder);
  constexpr const char* also[] = {training_file, quality_file};
  ef::check_folder_writable(folder, also);
}

void save_model(const std::filesystem::path& folder, const Model& model, const std::string& training_json,
                const std::string& quality_json) {
  const ef::ExtraFile extra[] = {{training_file, training_json}, {quality_file, quality_json}};
  ef::save(folder, model, ef::WeightType::float32, extra);
}

}  // namespace translate
