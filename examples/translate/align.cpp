// translate align: what each target word attended to.
#include <iostream>

#include "eigenformer/io/files.hpp"
#include "translate/heat_map.hpp"
#include "translate/translator.hpp"

namespace translate {

void align(const AlignArguments& arguments) {
  const Model model = load_model(arguments.model);
  const Alignment alignment =
      attention_between(model, arguments.source, arguments.target, arguments.layer, arguments.head);
  print_heat_map(std::cout, alignment.weights, alignment.target, alignment.source);
  if (arguments.svg.empty()) return;
  ef::write_file(arguments.svg, svg_heat_map(alignment.weights, alignment.target, alignment.source,
                                             arguments.source + " → " + arguments.target));
  std::cout << "written to " << arguments.svg << '\n';
}

}  // namespace translate
