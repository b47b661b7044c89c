// Draws charts as self-contained SVG documents.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace questions {

enum class Mark { lines, points, bars };

struct Series {
  std::string name;       // for the legend; a single series without a name has no legend
  std::vector<double> x;  // bars: unused; bar n belongs to category n
  std::vector<double> y;
};

struct Axis {
  std::string label{};
  bool logarithmic = false;
  std::vector<double> includes{};  // values that the axis always includes
  std::vector<double> ticks{};     // empty: round numbers
};

struct Chart {
  std::string title{};
  Axis x{};
  Axis y{};
  std::vector<Series> series{};
  Mark mark = Mark::lines;
  std::vector<std::string> categories{};  // bars: their labels
};

/// Returns the chart as an SVG document.
///   values   those that are not finite, or not above 0 on a logarithmic axis, are skipped and leave a gap in a line
///   series   differ in colour and in mark
///   theme    text, grid and background follow the reader's preference for light or dark
///   bars     begin at 0
/// Throws if a series has different numbers of x (bars: categories) and y, if a text is not UTF-8, or if bars have a
/// logarithmic axis.
std::string svg_chart(const Chart& chart);

/// Returns one SVG document that shows all drawings in rows of `columns`. Throws if `columns` is below 1 or a drawing
/// does not begin with an svg element whose width and height are whole pixels.
std::string svg_grid(std::span<const std::string> drawings, int columns = 2);

}  // namespace questions
