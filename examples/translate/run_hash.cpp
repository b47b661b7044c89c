#include "translate/run_hash.hpp"

#include <cstdio>

#include "eigenformer/train/parameter_hash.hpp"

namespace translate {

std::string hex(std::uint64_t hash) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

std::string run_hash(const TrainArguments& arguments, const TrainingData& data, const Model& initial) {
  ef::Fnv1a hash;
  const auto add = [&](std::uint64_t part) { hash.add_numbers(std::span<const std::uint64_t>(&part, 1)); };
  add(data.hash());
  for (const std::vector<std::string>* lines : {&data.validation.source, &data.validation.target}) {
    add(lines->size());
    for (const std::string& line : *lines) hash.add_numbers(std::span<const char>(line.c_str(), line.size() + 1));
  }
  if (arguments.precision != "float32")  // so that older runs keep their hash
    add(static_cast<std::uint64_t>(ef::value_of<ef::Precision>(arguments.precision)));
  if (!arguments.init.empty()) add(ef::parameter_hash(initial.network));
  return hex(hash.value());
}

}  // namespace translate
