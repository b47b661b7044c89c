#include "questions/support/report.hpp"

#include <sstream>

#include "eigenformer/core/files.hpp"
#include "examples/well_formed.hpp"
#include "questions/support/chart.hpp"
#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;
using ef::testing::contains;
using questions::Answer;
using questions::Question;

namespace {

const Question is_it{'c', "Is a < b?", "Yes & always.", "By looking."};

std::string a_drawing(int width) {
  return "<svg width=\"" + std::to_string(width) + "\" height=\"1\"/>\n";
}

Answer an_answer(std::optional<bool> as_noted) {
  return {{{"Counts", {"n"}, {{"1"}}}}, as_noted, "a is 1 < b", {a_drawing(1), a_drawing(2)}};
}

}  // namespace

TEST_CASE("a verdict says whether the measurement is what the notes say", "[examples]") {
  CHECK(verdict(an_answer(true)) == "As the notes say: a is 1 < b");
  CHECK(verdict(an_answer(false)) == "Not what the notes say: a is 1 < b");
  CHECK(verdict(an_answer(std::nullopt)) == "The notes leave this open: a is 1 < b");
  std::ostringstream out;
  print(out, is_it, an_answer(true));
  CHECK(contains(out.str(), "c) Is a < b?"));
  CHECK(contains(out.str(), "Counts\nn\n-\n1\n"));
  CHECK(contains(out.str(), "\nAs the notes say: a is 1 < b\n"));
}

TEST_CASE("a report is a section, a plot, and the page of all sections that are there", "[examples]") {
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path out = folder.path() / "deep" / "out";
  write_report(out, is_it, an_answer(true));
  CHECK(ef::read_file(out / "c.svg") == questions::svg_grid(an_answer(true).drawings));
  const std::string section = ef::read_file(out / "c.html");
  CHECK(questions::testing::xml_fault(section).empty());
  CHECK(contains(section, "<section id=\"c\">"));
  CHECK(contains(section, "Is a &lt; b?"));
  CHECK(contains(section, "<p class=\"verdict\">As the notes say: a is 1 &lt; b</p>"));
  CHECK(contains(section, "<div class=\"drawings\">\n<figure>\n" + a_drawing(1) + "</figure>\n<figure>\n" +
                              a_drawing(2) + "</figure>\n</div>\n"));

  Question first = is_it;
  first.letter = 'a';
  write_report(out, first, an_answer(false));
  const std::string page = ef::read_file(out / "index.html");
  CHECK(contains(page, section));
  CHECK(contains(page, "<p class=\"verdict contradicts\">Not what the notes say"));
  CHECK(contains(page, ".drawings { display: flex; flex-wrap: wrap;"));
  CHECK(contains(page, ".drawings svg { display: block; max-width: 100%; height: auto; }"));
  CHECK(page.find("<section id=\"a\">") < page.find("<section id=\"c\">"));
  CHECK(questions::testing::occurrences(page, "<section ") == 2);

  write_report(out, first, an_answer(true));  // replaces the section of the first call
  CHECK(questions::testing::occurrences(ef::read_file(out / "index.html"), "<section ") == 2);
  CHECK(std::distance(std::filesystem::directory_iterator(out), std::filesystem::directory_iterator()) == 5);
}

TEST_CASE("a report that cannot be written is an error", "[examples]") {
  const ef::testing::TemporaryFolder folder;
  ef::write_file(folder.path() / "file", "x");
  CHECK_THROWS_AS(write_report(folder.path() / "file", is_it, an_answer(true)), ef::Error);
  Question odd = is_it;
  odd.letter = '/';
  CHECK_THROWS_AS(write_report(folder.path(), odd, an_answer(true)), ef::Error);
}
