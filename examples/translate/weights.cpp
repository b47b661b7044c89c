#include "translate/weights.hpp"

#include <cstdio>
#include <string>

namespace translate {

void add_weights(CLI::App* command, std::optional<ef::WeightType>& weights) {
  std::vector<std::string> names;
  for (const ef::WeightType type : ef::values_of<ef::WeightType>()) names.emplace_back(ef::to_string(type));
  command
      ->add_option_function<std::string>(
          "--weights", [&weights](const std::string& given) { weights = ef::value_of<ef::WeightType>(given); },
          "type of the weights in products; bfloat16 and int8 are faster and less exact (default: float32)")
      ->check(CLI::IsMember(names))
      ->group("Decoding");
}

void report_weights(const Model& model, const ef::PackedWeights<float>& packed) {
  const double floats =
      std::visit([](const auto& network) { return static_cast<double>(ef::parameter_count(network)) * sizeof(float); },
                 model.network);
  std::fprintf(stderr, "weights: %.1f MB packed as %s, beside the model's %.1f MB of float32\n",
               static_cast<double>(packed.bytes()) / 1e6, std::string(ef::to_string(packed.type())).c_str(),
               floats / 1e6);
}

}  // namespace translate
