#include "questions/support/program.hpp"

#include <CLI/CLI.hpp>
#include <chrono>
#include <exception>
#include <iostream>
#include <limits>
#include <new>

#include "eigenformer/core/standard_streams.hpp"
#include "translate/validators.hpp"

#ifdef _WIN32
extern "C" __declspec(dllimport) int __stdcall SetConsoleOutputCP(unsigned int);
#endif

namespace questions {

namespace ef = eigenformer;

int run(int argc, char** argv, const Question& question, const std::function<Answer(const Settings&)>& measure) {
#ifdef _WIN32
  SetConsoleOutputCP(65001);  // UTF-8
#endif
  Settings settings;
  std::string out = "questions";
  CLI::App app("Question " + std::string(1, question.letter) + ": " + question.question);
  app.add_option("--seed", settings.seed, "seed of all random draws")
      ->check(translate::whole_in(0, std::numeric_limits<std::uint64_t>::max()))
      ->capture_default_str();
  app.add_option("--out", out, "folder for the report")->capture_default_str();
  app.add_flag("--quick", settings.quick, "smoke test, too short for an answer")->disable_flag_override();
  try {
    ef::occupy_closed_streams();
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      if (error.get_exit_code() != 0) ef::fail(error.what(), " (see --help)");
      app.exit(error);  // --help
      ef::flush_standard_output();
      return 0;
    }
    make_report_folder(out);
    const auto begin = std::chrono::steady_clock::now();
    Answer answer = measure(settings);
    if (settings.quick) answer.sentence += " (A quick run, too short for an answer.)";
    write_report(out, question, answer);
    print(std::cout, question, answer);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    std::cout << "\nWritten to " << out << "/index.html after " << std::lround(seconds.count()) << " seconds\n\n";
    ef::flush_standard_output();
    return 0;
  } catch (const std::bad_alloc&) {
    std::cerr << "question " << question.letter << ": out of memory\n";
  } catch (const std::exception& error) {
    std::cerr << "question " << question.letter << ": " << error.what() << '\n';
  }
  return 1;
}

}  // namespace questions
