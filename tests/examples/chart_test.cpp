#include "questions/support/chart.hpp"

#include <cmath>
#include <limits>

#include "examples/well_formed.hpp"
#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/message_of.hpp"

using eigenformer::testing::contains;
using eigenformer::testing::message_of;
using questions::Chart;
using questions::Mark;
using questions::svg_chart;
using questions::svg_grid;
using questions::testing::occurrences;
using questions::testing::xml_fault;

namespace {

/// Returns the numbers of an attribute, in document order.
std::vector<double> attributes_of(const std::string& svg, const std::string& element, const std::string& name) {
  std::vector<double> numbers;
  for (std::size_t at = svg.find('<' + element + ' '); at != std::string::npos;
       at = svg.find('<' + element + ' ', at + 1)) {
    const std::string tag = svg.substr(at, svg.find('>', at) - at);
    const std::size_t begin = tag.find(' ' + name + "=\"");
    if (begin != std::string::npos) numbers.push_back(std::stod(tag.substr(begin + name.size() + 3)));
  }
  return numbers;
}

Chart one_series(std::vector<double> x, std::vector<double> y, Mark mark = Mark::lines) {
  return {.title = "t", .series = {{"", std::move(x), std::move(y)}}, .mark = mark};
}

}  // namespace

TEST_CASE("charts of every kind are well-formed", "[examples]") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  for (const Mark mark : {Mark::lines, Mark::points, Mark::bars})
    for (const std::vector<double>& y : std::vector<std::vector<double>>{
             {}, {1}, {0, 0, 0}, {-1e-9, 2e-9, 0}, {1e12, -5, nan}, {infinity, nan, -infinity}})
      for (const bool logarithmic : {false, true}) {
        CAPTURE(static_cast<int>(mark), y.size(), logarithmic);
        Chart chart = one_series(std::vector<double>(y.size(), 2), y, mark);
        chart.series.push_back({"second <&\"> series", chart.series[0].x, y});
        chart.x = {.label = "<x>", .logarithmic = logarithmic};
        chart.y = {.label = "y & z", .logarithmic = logarithmic && mark != Mark::bars};
        chart.categories.resize(y.size(), "<c>");
        const std::string svg = svg_chart(chart);
        CHECK(xml_fault(svg).empty());
        CHECK_FALSE(contains(svg, "nan"));
        CHECK_FALSE(contains(svg, "inf"));
        CHECK_FALSE(contains(svg, "=\"-\""));
      }
}

TEST_CASE("a chart's points stand where their values are", "[examples]") {
  const std::string svg = svg_chart(one_series({0, 1, 3}, {10, 20, 40}, Mark::points));
  const std::vector<double> x = attributes_of(svg, "circle", "cx"), y = attributes_of(svg, "circle", "cy");
  REQUIRE(x.size() == 3);
  CHECK(std::abs((x[2] - x[0]) - 3 * (x[1] - x[0])) < 0.5);
  CHECK(std::abs((y[2] - y[0]) - 3 * (y[1] - y[0])) < 0.5);
  CHECK(x[1] > x[0]);
  CHECK(y[1] < y[0]);  // in SVG, y grows downwards
  CHECK(contains(svg, "<title>3.000, 40.00</title>"));
}

TEST_CASE("on a logarithmic axis equal ratios are equal distances", "[examples]") {
  Chart chart = one_series({1, 10, 100}, {2, 8, 32}, Mark::points);
  chart.x.logarithmic = chart.y.logarithmic = true;
  const std::string svg = svg_chart(chart);
  const std::vector<double> x = attributes_of(svg, "circle", "cx"), y = attributes_of(svg, "circle", "cy");
  REQUIRE(x.size() == 3);
  CHECK(std::abs((x[1] - x[0]) - (x[2] - x[1])) < 0.3);
  CHECK(std::abs((y[1] - y[0]) - (y[2] - y[1])) < 0.3);
  for (const std::string label : {"1", "10", "100"}) CHECK(contains(svg, ">" + label + "</text>"));
}

TEST_CASE("ticks are round numbers, or those given, and on the chart", "[examples]") {
  const std::string svg = svg_chart(one_series({0, 1}, {0, 1}));
  for (const std::string label : {"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"})
    CHECK(contains(svg, ">" + label + "</text>"));
  Chart chart = one_series({4, 1024}, {0, 1});
  chart.x = {.logarithmic = true, .ticks = {4, 64, 1024}};
  const std::string given = svg_chart(chart);
  for (const std::string label : {"4", "64", "1024"}) CHECK(contains(given, ">" + label + "</text>"));
  for (const double x : attributes_of(given, "line", "x1")) CHECK((x >= 0 && x <= 560));
}

TEST_CASE("a line has a gap where a value cannot be drawn", "[examples]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string svg = svg_chart(one_series({0, 1, 2, 3, 4}, {1, 2, nan, 3, 4}));
  const std::size_t path = svg.find(" d=\"");
  CHECK(occurrences(svg.substr(path, svg.find('/', path) - path), "M") == 2);
  CHECK(occurrences(svg, "<circle") == 4);
  Chart logarithmic = one_series({1, 2, 3}, {0, -1, 5});
  logarithmic.y.logarithmic = true;
  CHECK(occurrences(svg_chart(logarithmic), "<circle") == 1);
}

TEST_CASE("bars are as long as their values, from zero, either way", "[examples]") {
  Chart chart = one_series({}, {1, 2, -1}, Mark::bars);
  chart.categories = {"a", "b", "c"};
  const std::string svg = svg_chart(chart);
  std::vector<double> heights = attributes_of(svg.substr(svg.find("<g>")), "rect", "height");
  REQUIRE(heights.size() == 3);
  CHECK(std::abs(heights[1] - 2 * heights[0]) < 0.3);
  CHECK(std::abs(heights[2] - heights[0]) < 0.3);
  const std::vector<double> tops = attributes_of(svg.substr(svg.find("<g>")), "rect", "y");
  CHECK(std::abs(tops[0] + heights[0] - tops[2]) < 0.3);  // the third begins where the first ends, at zero
}

TEST_CASE("a legend names several series, and not one without a name", "[examples]") {
  Chart chart = one_series({0, 1}, {0, 1});
  CHECK_FALSE(contains(svg_chart(chart), "class=\"from\""));
  chart.series[0].name = "first";
  chart.series.push_back({"second", {0, 1}, {1, 0}});
  CHECK(occurrences(svg_chart(chart), "class=\"from\"") == 2);
  const std::vector<double> low = attributes_of(svg_chart(chart), "svg", "height");
  for (int i = 0; i < 6; ++i) chart.series.push_back({"a name of some length " + std::to_string(i), {0, 1}, {0, 1}});
  CHECK(attributes_of(svg_chart(chart), "svg", "height")[0] > low[0] + 20);
}

TEST_CASE("a chart's colours are for light and for dark", "[examples]") {
  CHECK(contains(svg_chart(one_series({0}, {0})), "@media (prefers-color-scheme: dark)"));
}

TEST_CASE("a chart that cannot be drawn is an error", "[examples]") {
  CHECK(message_of([] {
          svg_chart(one_series({1, 2}, {1}));
        }) == "svg_chart: series \"\" has 2 x and 1 y, expected equal numbers");
  CHECK(message_of([] { svg_chart(one_series({}, {1}, Mark::bars)); }) ==
        "svg_chart: series \"\" has 0 categories and 1 y, expected equal numbers");
  Chart bars = one_series({}, {}, Mark::bars);
  bars.y.logarithmic = true;
  CHECK(message_of([&] { svg_chart(bars); }) == "svg_chart: bars need a linear axis, y is logarithmic");
}

TEST_CASE("svg_grid shows drawings in rows of so many columns", "[examples]") {
  const auto drawing = [](int width, int height) {
    return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + std::to_string(width) + "\" height=\"" +
           std::to_string(height) + "\"></svg>";
  };
  const std::string svg = svg_grid(std::vector{drawing(100, 50), drawing(200, 80), drawing(30, 20)}, 2);
  CHECK(xml_fault(svg).empty());
  CHECK(attributes_of(svg, "svg", "width") == std::vector<double>{312, 100, 200, 30});
  CHECK(attributes_of(svg, "svg", "height") == std::vector<double>{112, 50, 80, 20});
  CHECK(attributes_of(svg, "svg", "x") == std::vector<double>{0, 112, 0});
  CHECK(attributes_of(svg, "svg", "y") == std::vector<double>{0, 0, 92});
  CHECK(message_of([] { svg_grid(std::vector<std::string>{"<g width=\"1\" height=\"1\"/>"}); }) ==
        "svg_grid: a drawing does not begin with an svg element that has width in whole pixels");
  CHECK_THROWS_AS(svg_grid(std::vector<std::string>{"<svg width=\"10%\" height=\"1\"/>"}), eigenformer::Error);
  CHECK_THROWS_AS(svg_grid(std::vector<std::string>{""}), eigenformer::Error);
  CHECK_THROWS_AS(svg_grid(std::vector{drawing(1, 1)}, 0), eigenformer::Error);
}
