#include "questions/support/report.hpp"

#include <ostream>

#include "eigenformer/core/files.hpp"
#include "questions/support/chart.hpp"
#include "questions/support/markup.hpp"

namespace questions {
namespace {

namespace ef = eigenformer;

constexpr const char* page_begin = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Nine questions about attention, answered by measurement</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, 'Helvetica Neue', Arial, 'Noto Sans', sans-serif; max-width: 74rem; margin: 2rem auto;
  padding: 0 1rem; background: #ffffff; color: #1f2937; }
section { border-top: 1px solid #9ca3af; padding: 1rem 0; }
p { max-width: 46rem; }
.verdict { border-left: 4px solid #059669; padding-left: 0.8rem; font-weight: bold; }
.verdict.contradicts { border-color: #dc2626; }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; font-style: italic; padding-bottom: 0.3rem; }
th, td { text-align: right; padding: 0.15rem 0.8rem; border-bottom: 1px solid #9ca3af80; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.drawings { display: flex; flex-wrap: wrap; gap: 12px; margin: 1rem 0; }
.drawings figure { margin: 0; max-width: 100%; }
.drawings svg { display: block; max-width: 100%; height: auto; }
@media (prefers-color-scheme: dark) { body { background: #16181d; color: #e5e7eb; } }
</style>
</head>
<body>
<h1>Nine questions about attention, answered by measurement</h1>
<p>Each answer was measured by a program in examples/questions. "The notes" are the study notes from which the questions
come; each section compares their answer with the measurement.</p>
)";

std::string section(const Question& question, const Answer& answer) {
  const std::string letter(1, question.letter);
  std::string text = "<section id=\"" + letter + "\">\n<h2>" + letter + ") " + escaped(question.question) + "</h2>\n";
  text += "<p>The notes: " + escaped(question.notes) + "</p>\n";
  text += "<p>Measured: " + escaped(question.measured) + "</p>\n";
  for (const Table& table : answer.tables) text += html(table);
  text += std::string("<p class=\"verdict") + (answer.as_noted.value_or(true) ? "" : " contradicts") + "\">" +
          escaped(verdict(answer)) + "</p>\n";
  text += "<div class=\"drawings\">\n";
  for (const std::string& drawing : answer.drawings) text += "<figure>\n" + drawing + "</figure>\n";
  return text + "</div>\n</section>\n";
}

}  // namespace

std::string verdict(const Answer& answer) {
  if (!answer.as_noted.has_value()) return "The notes leave this open: " + answer.sentence;
  return (*answer.as_noted ? "As the notes say: " : "Not what the notes say: ") + answer.sentence;
}

void print(std::ostream& out, const Question& question, const Answer& answer) {
  out << question.letter << ") " << question.question << "\n   The notes: " << question.notes
      << "\n   Measured: " << question.measured << "\n";
  for (const Table& table : answer.tables) {
    out << '\n';
    print(out, table);
  }
  out << '\n' << verdict(answer) << "\n";
}

void make_report_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  ef::check(!error, "make_report_folder: the folder ", ef::path_text(folder), " cannot be made");
  ef::check_writable(folder / "index.html");
}

void write_report(const std::filesystem::path& folder, const Question& question, const Answer& answer) {
  ef::check(question.letter >= 'a' && question.letter <= 'z', "write_report: the question's letter is '",
            question.letter, "', expected a to z");
  make_report_folder(folder);
  const auto file = [&](char letter, const char* ending) { return folder / (std::string(1, letter) + ending); };
  ef::write_file(file(question.letter, ".svg"), svg_grid(answer.drawings));
  ef::write_file(file(question.letter, ".html"), section(question, answer));
  std::string page = page_begin;
  std::error_code error;
  for (char letter = 'a'; letter <= 'z'; ++letter)
    if (std::filesystem::exists(file(letter, ".html"), error)) page += ef::read_file(file(letter, ".html"));
  ef::write_file(folder / "index.html", page + "</body>\n</html>\n");
}

}  // namespace questions
