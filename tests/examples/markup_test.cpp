#include "questions/support/markup.hpp"

#include <limits>

#include "eigenformer/core/check.hpp"
#include "support/catch.hpp"

using questions::decimal;
using questions::escaped;
using questions::significant;

TEST_CASE("markup in a text is escaped", "[examples]") {
  CHECK(escaped("a < b && \"c\" > d") == "a &lt; b &amp;&amp; &quot;c&quot; &gt; d");
  CHECK(escaped("自然 é") == "自然 é");
  CHECK(escaped("a\x01\n\x7F") == "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  CHECK(escaped("").empty());
  CHECK_THROWS_AS(escaped("\xFF"), eigenformer::Error);
}

TEST_CASE("numbers have the decimals that are asked for", "[examples]") {
  CHECK(decimal(2.345, 1) == "2.3");
  CHECK(decimal(0.05, 1) == "0.1");
  CHECK(decimal(-0.04, 1) == "0.0");
  CHECK(decimal(-1.5, 2) == "-1.50");
  CHECK(decimal(1234.5, 0) == "1235");
  CHECK(decimal(0.005, 3) == "0.005");
  CHECK(decimal(1e12, 2) == "1000000000000.00");
  CHECK(decimal(1e30, 2) == "1.00000e30");
  CHECK(decimal(std::numeric_limits<double>::infinity(), 1) == "-");
  CHECK(decimal(std::numeric_limits<double>::quiet_NaN(), 1) == "-");
}

TEST_CASE("numbers have the digits that count", "[examples]") {
  CHECK(significant(0) == "0");
  CHECK(significant(1234) == "1230");
  CHECK(significant(12.34) == "12.3");
  CHECK(significant(0.01234) == "0.0123");
  CHECK(significant(9.996) == "10.0");
  CHECK(significant(99.96) == "100");
  CHECK(significant(0.0009999) == "0.00100");
  CHECK(significant(-1.5) == "-1.50");
  CHECK(significant(1.234e-9) == "1.23e-9");
  CHECK(significant(9.999e-9) == "1.00e-8");
  CHECK(significant(3.2e12, 2) == "3.2e12");
  CHECK(significant(1024, 5) == "1024.0");
  CHECK(significant(-std::numeric_limits<double>::infinity()) == "-");
  CHECK(questions::percent(0.8731) == "87.3 %");
  CHECK(questions::percent(1, 0) == "100 %");
}
