// translate align: shows the source words that each target word attends to or depends on.
#include <cstdio>
#include <iostream>

#include "eigenformer/core/standard_streams.hpp"
#include "translate/heat_map.hpp"
#include "translate/readings.hpp"

namespace translate {

namespace {

/// Prints the values as a tab-separated table: a column per source token, a row per target token.
void print_matrix(const Reading& reading) {
  for (const std::string& token : reading.source) std::cout << '\t' << token;
  std::cout << '\n';
  for (ef::Index i = 0; i < reading.values.rows(); ++i) {
    std::cout << reading.target[static_cast<std::size_t>(i)];
    for (ef::Index j = 0; j < reading.values.cols(); ++j) {
      char number[32];
      std::snprintf(number, sizeof(number), "\t%.4f", static_cast<double>(reading.values(i, j)));
      std::cout << number;
    }
    std::cout << '\n';
  }
}

}  // namespace

void align(const AlignArguments& arguments) {
  const bool of_attention = arguments.reading == "attention";
  ef::check(of_attention || arguments.layer == 0, "--layer: needs --reading attention");
  ef::check(of_attention || arguments.head == 0, "--head: needs --reading attention");
  if (!arguments.svg.empty()) ef::check_writable(arguments.svg);
  const Model model = load_model(arguments.model);
  const TokenPair pair = tokenize_pair(model, arguments.source, arguments.target);
  check_sentence_length(pair.source.size(), model, "--source");
  check_sentence_length(pair.target.size(), model, "--target");
  const Reading reading =
      of_attention ? attention_between(model, pair, arguments.layer, arguments.head) : influence_between(model, pair);
  if (arguments.view == "matrix")
    print_matrix(reading);
  else if (arguments.view == "pharaoh")
    std::cout << ef::to_string(links_of(reading)) << '\n';
  else
    print_heat_map(std::cout, reading.shades, reading.target, reading.source);
  if (arguments.svg.empty()) return;
  ef::flush_standard_output();  // because --svg may name standard output
  ef::write_file(arguments.svg, svg_heat_map(reading.shades, reading.target, reading.source,
                                             arguments.source + " → " + arguments.target));
  std::cerr << "written to " << arguments.svg << '\n';
}

}  // namespace translate
