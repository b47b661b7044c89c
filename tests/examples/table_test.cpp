#include "questions/support/table.hpp"

#include <sstream>

#include "examples/well_formed.hpp"
#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/message_of.hpp"

using eigenformer::testing::contains;
using eigenformer::testing::message_of;

TEST_CASE("a table is printed in columns as a terminal shows them", "[examples]") {
  std::ostringstream out;
  print(out, questions::Table{"Words", {"word", "n"}, {{"自然", "1"}, {"be", "1234"}, {"", "5"}}});
  CHECK(out.str() ==
        "Words\n"
        "word     n\n"
        "----------\n"
        "自然     1\n"
        "be    1234\n"
        "         5\n");
}

TEST_CASE("a table as HTML is well-formed and escaped", "[examples]") {
  const std::string html = questions::html({"<b>", {"a&b", "c"}, {{"</td>", "1"}, {"2", "3"}}});
  CHECK(questions::testing::xml_fault(html).empty());
  CHECK(questions::testing::occurrences(html, "<tr>") == 3);
  CHECK(questions::testing::occurrences(html, "<td>") == 4);
  CHECK(contains(html, "&lt;b&gt;"));
  CHECK(contains(html, "a&amp;b"));
  CHECK(contains(html, "<td>&lt;/td&gt;</td>"));
}

TEST_CASE("a table whose rows are not all as long as its header is an error", "[examples]") {
  const questions::Table table{"T", {"a", "b"}, {{"1", "2"}, {"3"}}};
  std::ostringstream out;
  CHECK(message_of([&] { print(out, table); }) == "print: row 1 of \"T\" has 1 cells, the header has 2");
  CHECK(message_of([&] { questions::html(table); }) == "html: row 1 of \"T\" has 1 cells, the header has 2");
  CHECK(out.str().empty());
}
