// translate run: stdin to stdout, line by line.
#include <iostream>

#include "eigenformer/core/thread_pool.hpp"
#include "translate/translator.hpp"

namespace translate {

void run(const RunArguments& arguments) {
  const Model model = load_model(arguments.model);
  ef::ThreadPool pool(arguments.threads);
  const Translator translator(model, &pool);
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);
  std::string line;
  // Lines that have already arrived are translated together; somebody who types gets an answer to each.
  constexpr std::size_t most_lines = 256;
  for (std::size_t done = 0; interrupted == 0;) {
    std::vector<std::string> lines;
    while (lines.size() < most_lines && (lines.empty() || std::cin.rdbuf()->in_avail() > 0) &&
           std::getline(std::cin, line)) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      ef::check_utf8(line, "standard input:" + std::to_string(done + lines.size() + 1));
      lines.push_back(line);
    }
    if (lines.empty()) break;
    for (const std::string& translation : translator.translate(lines, "standard input"))
      std::cout << translation << '\n';
    std::cout.flush();
    done += lines.size();
  }
}

}  // namespace translate
