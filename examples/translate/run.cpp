// translate run: translates standard input to standard output, line by line.
#include <exception>
#include <iostream>

#include "eigenformer/core/lines.hpp"
#include "eigenformer/core/standard_streams.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "translate/translator.hpp"

namespace translate {

void run(const RunArguments& arguments) {
  const Model model = load_model(arguments.model);
  ef::ThreadPool pool(arguments.threads);
  const Translator translator(model, &pool);
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);
  ef::LineReader reader(std::cin, "standard input", stdin);
  std::string line;
  // Lines that have already arrived are translated as one batch; typed lines are answered one by one.
  constexpr std::size_t max_lines = 256;
  while (interrupted == 0) {
    std::vector<std::vector<ef::Token>> sentences;
    std::exception_ptr error;  // of a line; the lines before it are translated first
    try {
      while (sentences.size() < max_lines && (sentences.empty() || std::cin.rdbuf()->in_avail() > 0) &&
             reader.next(line))
        sentences.push_back(translator.encode(line, reader.where()));
    } catch (const ef::Error&) {
      error = std::current_exception();
    }
    for (const std::string& translation : translator.translate(sentences)) std::cout << translation << '\n';
    ef::flush_standard_output();
    if (error != nullptr) std::rethrow_exception(error);
    if (sentences.empty()) break;
  }
  ef::check_standard_input();
}

}  // namespace translate
