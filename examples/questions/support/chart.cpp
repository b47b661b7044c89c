// Draws axes, marks and legends as SVG.
#include "questions/support/chart.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include "eigenformer/core/check.hpp"
#include "questions/support/markup.hpp"
#include "translate/heat_map.hpp"

namespace questions {
namespace {

using eigenformer::check;

// In pixels.
constexpr double width = 560, height = 380;
constexpr double left = 76, right = 20, top = 48, bottom = 58;
constexpr double legend_line = 20, letter = 7.5;

constexpr std::array<std::string_view, 8> colours{"#2563eb", "#d97706", "#059669", "#dc2626",
                                                  "#8b5cf6", "#0891b2", "#db2777", "#65a30d"};
std::string_view colour(std::size_t series) {
  return colours[series % colours.size()];
}

// Every rule names svg.chart, because on a page the rules of one drawing apply to all others.
constexpr std::string_view style = R"(<style>
svg.chart text { font: 13px 'Helvetica Neue', Arial, 'Noto Sans', sans-serif; fill: #1f2937; text-anchor: middle; }
svg.chart text.heading { font-size: 15px; font-weight: bold; text-anchor: start; }
svg.chart text.from { text-anchor: start; }
svg.chart text.to { text-anchor: end; }
svg.chart .paper { fill: #ffffff; }
svg.chart .grid { stroke: #e5e7eb; }
svg.chart .frame { stroke: #6b7280; fill: none; }
svg.chart .curve { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  svg.chart text { fill: #e5e7eb; }
  svg.chart .paper { fill: #16181d; }
  svg.chart .grid { stroke: #353a45; }
  svg.chart .frame { stroke: #9ca3af; }
}
</style>
)";

std::string attribute(std::string_view name, double value) {
  return ' ' + std::string(name) + "=\"" + decimal(value, 1) + '"';
}

std::string text(double x, double y, std::string_view style_class, std::string_view words, bool upright = false) {
  std::string turn;
  if (upright) turn = " transform=\"rotate(-90 " + decimal(x, 1) + ' ' + decimal(y, 1) + ")\"";
  return "<text class=\"" + std::string(style_class) + '"' + attribute("x", x) + attribute("y", y) + turn + '>' +
         escaped(words) + "</text>\n";
}

std::string line(double x1, double y1, double x2, double y2, std::string_view style_class) {
  return "<line class=\"" + std::string(style_class) + '"' + attribute("x1", x1) + attribute("y1", y1) +
         attribute("x2", x2) + attribute("y2", y2) + "/>\n";
}

std::string rectangle(double x, double y, double w, double h, std::string_view attributes) {
  return "<rect" + attribute("x", x) + attribute("y", y) + attribute("width", w) + attribute("height", h) +
         std::string(attributes) + '>';
}

/// Returns a disc, square, triangle or diamond centred at a point.
std::string mark(std::size_t series, double x, double y) {
  const std::string fill = " fill=\"" + std::string(colour(series)) + '"';
  const auto polygon = [&](std::initializer_list<std::array<double, 2>> corners) {
    std::string points;
    for (const auto& [dx, dy] : corners) points += decimal(x + dx, 1) + ',' + decimal(y + dy, 1) + ' ';
    points.pop_back();
    return "<polygon points=\"" + points + '"' + fill + "/>";
  };
  switch (series % 4) {
    case 0:
      return "<circle" + attribute("cx", x) + attribute("cy", y) + " r=\"3.5\"" + fill + "/>";
    case 1:
      return polygon({{-3.2, -3.2}, {3.2, -3.2}, {3.2, 3.2}, {-3.2, 3.2}});
    case 2:
      return polygon({{0, -4.2}, {4, 3}, {-4, 3}});
    default:
      return polygon({{0, -4.6}, {4.6, 0}, {0, 4.6}, {-4.6, 0}});
  }
}

/// Maps values to pixels.
class Scale {
 public:
  Scale(const Axis& axis, std::vector<double> values, double begin, double end, double margin)
      : axis_(axis), begin_(begin), end_(end) {
    values.insert(values.end(), axis.includes.begin(), axis.includes.end());
    values.insert(values.end(), axis.ticks.begin(), axis.ticks.end());
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (const double value : values) {
      if (!shows(value)) continue;
      low = std::min(low, of(value));
      high = std::max(high, of(value));
    }
    if (low > high) low = 0, high = 1;
    if (low == high) low -= 0.5, high += 0.5;
    const double beyond = margin * (high - low);
    // No margin below 0 if no value is negative.
    low_ = !axis.logarithmic && low >= 0 && low - beyond < 0 ? std::min(low, 0.0) : low - beyond;
    high_ = high + beyond;
  }

  bool shows(double value) const { return std::isfinite(value) && (!axis_.logarithmic || value > 0); }
  double operator()(double value) const { return begin_ + (of(value) - low_) / (high_ - low_) * (end_ - begin_); }

  std::vector<double> ticks() const {
    if (!axis_.ticks.empty()) return axis_.ticks;
    return axis_.logarithmic ? powers() : round_numbers();
  }
  std::string label(double tick) const {
    if (axis_.logarithmic || !axis_.ticks.empty()) return trimmed(significant(tick, 5));
    return decimal(tick, std::max(0, static_cast<int>(std::ceil(-std::log10(step()) - 1e-9))));
  }

 private:
  double of(double value) const { return axis_.logarithmic ? std::log10(value) : value; }

  /// Returns the number without trailing zeros in its fraction: "0.1", "1e-5".
  static std::string trimmed(const std::string& number) {
    const std::size_t end = std::min(number.find('e'), number.size());
    std::string digits = number.substr(0, end);
    if (digits.find('.') != std::string::npos) {
      digits.erase(digits.find_last_not_of('0') + 1);
      if (digits.back() == '.') digits.pop_back();
    }
    return digits + number.substr(end);
  }

  /// Returns 1, 2 or 5 times a power of ten, for about five ticks.
  double step() const {
    const double rough = (high_ - low_) / 5;
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    const double leading = rough / power;
    return power * (leading < 1.5 ? 1 : leading < 3.5 ? 2 : leading < 7.5 ? 5 : 10);
  }
  std::vector<double> round_numbers() const {
    std::vector<double> values;
    const double by = step();
    for (double i = std::ceil(low_ / by - 1e-9); i * by <= high_ + 1e-9 * by; ++i) values.push_back(i * by);
    return values;
  }
  /// Returns about eight powers of ten at most. If the axis spans at most a factor of 100, also returns 2 and 5 times
  /// each power.
  std::vector<double> powers() const {
    std::vector<double> values;
    const double first = std::floor(low_), last = std::ceil(high_);
    const double by = std::max(1.0, std::ceil((last - first) / 8));
    for (double exponent = first; exponent <= last; exponent += by)
      for (const double leading : {1.0, 2.0, 5.0}) {
        if (leading > 1 && high_ - low_ > 2) break;
        const double value = leading * std::pow(10.0, exponent);
        if (of(value) >= low_ - 1e-9 && of(value) <= high_ + 1e-9) values.push_back(value);
      }
    return values;
  }

  const Axis& axis_;
  double begin_, end_;
  double low_ = 0, high_ = 1;
};

std::string points_and_lines(const Chart& chart, std::size_t s, const Scale& x, const Scale& y) {
  const Series& series = chart.series[s];
  std::string path, marks;
  bool pen_down = false;
  // Long lines have no marks, which would hide the line.
  const bool marked = chart.mark == Mark::points || series.x.size() <= 40;
  for (std::size_t i = 0; i < series.x.size(); ++i) {
    if (!x.shows(series.x[i]) || !y.shows(series.y[i])) {
      pen_down = false;
      continue;
    }
    const double px = x(series.x[i]), py = y(series.y[i]);
    path += (pen_down ? " L" : " M") + decimal(px, 1) + ' ' + decimal(py, 1);
    pen_down = true;
    if (!marked) continue;
    const std::string tip = (series.name.empty() ? "" : series.name + ": ") + significant(series.x[i], 4) + ", " +
                            significant(series.y[i], 4);
    marks += "<g><title>" + escaped(tip) + "</title>" + mark(s, px, py) + "</g>\n";
  }
  if (chart.mark == Mark::points || path.empty()) return marks;
  return "<path class=\"curve\" stroke=\"" + std::string(colour(s)) + "\" d=\"" + path.substr(1) + "\"/>\n" + marks;
}

std::string bars(const Chart& chart, std::size_t s, const Scale& x, const Scale& y) {
  const Series& series = chart.series[s];
  const double room = (x(1) - x(0)) * 0.8;
  const double bar = room / static_cast<double>(chart.series.size());
  std::string drawn;
  for (std::size_t i = 0; i < series.y.size(); ++i) {
    if (!y.shows(series.y[i])) continue;
    const double from = x(static_cast<double>(i)) - room / 2 + bar * static_cast<double>(s);
    const double end = y(series.y[i]), zero = y(0);
    const std::string tip =
        chart.categories[i] + (series.name.empty() ? "" : ", " + series.name) + ": " + significant(series.y[i], 4);
    drawn += "<g><title>" + escaped(tip) + "</title>" +
             rectangle(from + 1, std::min(end, zero), std::max(bar - 2, 1.0), std::abs(end - zero),
                       " fill=\"" + std::string(colour(s)) + "\"/") +
             "</g>\n";
    if (bar >= 30) drawn += text(from + bar / 2, std::min(end, zero) - 4, "value", significant(series.y[i], 3));
  }
  return drawn;
}

void check_chart(const Chart& chart) {
  const bool is_bars = chart.mark == Mark::bars;
  for (const Series& series : chart.series) {
    const std::size_t expected = is_bars ? chart.categories.size() : series.x.size();
    check(series.y.size() == expected, "svg_chart: series \"", series.name, "\" has ", expected,
          is_bars ? " categories and " : " x and ", series.y.size(), " y, expected equal numbers");
  }
  check(!is_bars || !chart.y.logarithmic, "svg_chart: bars need a linear axis, y is logarithmic");
}

/// Returns the place of each legend entry, the first at y = 0. A single series without a name has no entry.
std::vector<std::array<double, 2>> legend_places(const Chart& chart) {
  std::vector<std::array<double, 2>> places;
  if (chart.series.size() == 1 && chart.series[0].name.empty()) return places;
  double x = left, y = 0;
  for (const Series& series : chart.series) {
    const double entry = 26 + letter * static_cast<double>(translate::display_width(series.name));
    if (x > left && x + entry > width - right) x = left, y += legend_line;
    places.push_back({x, y});
    x += entry;
  }
  return places;
}

}  // namespace

std::string svg_chart(const Chart& chart) {
  check_chart(chart);
  const std::vector<std::array<double, 2>> legend = legend_places(chart);
  const double plot_bottom = height - bottom;
  const double full_height = height + (legend.empty() ? 0 : legend.back()[1] + legend_line);
  const bool is_bars = chart.mark == Mark::bars;
  std::vector<double> xs, ys;
  for (const Series& series : chart.series) {
    for (std::size_t i = 0; i < series.y.size(); ++i) {
      if (!is_bars) xs.push_back(series.x[i]);
      ys.push_back(series.y[i]);
    }
  }
  Axis x_axis = chart.x;
  if (is_bars) {
    x_axis.logarithmic = false;
    xs = {-0.6, static_cast<double>(chart.categories.size()) - 0.4};
    ys.push_back(0);
  }
  const Scale x(x_axis, xs, left, width - right, is_bars ? 0 : 0.03);
  const Scale y(chart.y, ys, plot_bottom, top, is_bars ? 0.08 : 0.05);

  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\" width=\"" +
                    decimal(width, 0) + "\" height=\"" + decimal(full_height, 0) + "\" viewBox=\"0 0 " +
                    decimal(width, 0) + ' ' + decimal(full_height, 0) + "\">\n<title>" + escaped(chart.title) +
                    "</title>\n" + std::string(style);
  svg += rectangle(0, 0, width, full_height, " class=\"paper\"/") + '\n';
  svg += text(14, 26, "heading", chart.title);
  for (const double tick : y.ticks()) {
    svg += line(left, y(tick), width - right, y(tick), "grid");
    svg += text(left - 8, y(tick) + 4, "to", y.label(tick));
  }
  if (is_bars) {
    for (std::size_t i = 0; i < chart.categories.size(); ++i)
      svg += text(x(static_cast<double>(i)), plot_bottom + 18, "tick", chart.categories[i]);
  } else {
    for (const double tick : x.ticks()) {
      svg += line(x(tick), top, x(tick), plot_bottom, "grid");
      svg += text(x(tick), plot_bottom + 18, "tick", x.label(tick));
    }
  }
  svg += rectangle(left, top, width - left - right, plot_bottom - top, " class=\"frame\"/") + '\n';
  svg += text((left + width - right) / 2, plot_bottom + 40, "label", chart.x.label);
  svg += text(20, (top + plot_bottom) / 2, "label", chart.y.label, true);
  for (std::size_t s = 0; s < chart.series.size(); ++s)
    svg += is_bars ? bars(chart, s, x, y) : points_and_lines(chart, s, x, y);
  for (std::size_t s = 0; s < legend.size(); ++s) {
    const double entry_y = height + 4 + legend[s][1];
    svg += mark(s, legend[s][0] + 6, entry_y - 4) + '\n';
    svg += text(legend[s][0] + 16, entry_y, "from", chart.series[s].name);
  }
  return svg + "</svg>\n";
}

namespace {

/// Returns an attribute of the first element as a whole number.
long pixels(const std::string& svg, std::string_view name) {
  const std::string tag = svg.substr(0, svg.find('>'));
  const std::string begin = ' ' + std::string(name) + "=\"";
  const std::size_t at = tag.find(begin);
  const std::size_t from = at + begin.size();
  const std::size_t end = at == std::string::npos ? from : tag.find_first_not_of("0123456789", from);
  const bool number = at != std::string::npos && end != std::string::npos && end > from && end - from < 7;
  check(number && tag.substr(0, 5) == "<svg " && tag[end] == '"',
        "svg_grid: a drawing does not begin with an svg element that has ", name, " in whole pixels");
  return std::stol(tag.substr(from, end - from));
}

}  // namespace

std::string svg_grid(std::span<const std::string> drawings, int columns) {
  check(columns >= 1, "svg_grid: columns is ", columns, ", expected at least 1");
  constexpr long gap = 12;
  long x = 0, y = 0, row_height = 0, whole_width = 0;
  std::string parts;
  for (std::size_t i = 0; i < drawings.size(); ++i) {
    const long part_width = pixels(drawings[i], "width"), part_height = pixels(drawings[i], "height");
    if (i > 0 && i % static_cast<std::size_t>(columns) == 0) {
      x = 0;
      y += row_height + gap;
      row_height = 0;
    }
    parts += "<svg x=\"" + std::to_string(x) + "\" y=\"" + std::to_string(y) + '"' + drawings[i].substr(4);
    x += part_width + gap;
    row_height = std::max(row_height, part_height);
    whole_width = std::max(whole_width, x - gap);
  }
  const std::string size_text = std::to_string(whole_width) + "\" height=\"" + std::to_string(y + row_height);
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + size_text + "\" viewBox=\"0 0 " +
         std::to_string(whole_width) + ' ' + std::to_string(y + row_height) + "\">\n" + parts + "</svg>\n";
}

}  // namespace questions
