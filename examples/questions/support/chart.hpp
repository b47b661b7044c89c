// Charts as SVG documents that need nothing else.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace questions {

enum class Mark { lines, points, bars };

struct Series {
  std::string name;       // for the legend, which is left out if there is but one series without a name
  std::vector<double> x;  // bars: not used, the n-th bar stands over the n-th category
  std::vector<double> y;
};

struct Axis {
  std::string label{};
  bool logarithmic = false;
  std::vector<double> includes{};  // values that are on the axis whatever the data
  std::vector<double> ticks{};     // by default round numbers
};

struct Chart {
  std::string title{};
  Axis x{};
  Axis y{};
  std::vector<Series> series{};
  Mark mark = Mark::lines;
  std::vector<std::string> categories{};  // bars: the names under them
};

/// Draws the chart. What cannot be drawn, because it is not finite or not above 0 on a logarithmic axis, is left out: a
/// gap in a line. Colours follow the reader's preference for light or dark; series differ in their marks too. Bars
/// begin at 0. Throws if a series has not as many x (bars: categories) as y, a text is not UTF-8, or bars are asked for
/// on a logarithmic axis.
std::string svg_chart(const Chart& chart);

/// Several SVG documents as one: beside each other, `columns` in a row. Throws if one does not begin with an svg
/// element that has width and height in whole pixels.
std::string svg_beside(std::span<const std::string> drawings, int columns = 2);

}  // namespace questions
