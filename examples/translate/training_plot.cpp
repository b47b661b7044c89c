// Draws the course of a training run as SVG, a panel for each quantity.
#include "translate/training_plot.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <utility>

#include "translate/svg.hpp"

namespace translate {

using eigenformer::Index;

void LossCurve::add(Index update, double loss, double rate) {
  if (losses.empty() && unfinished == 0) begin = update - 1;
  unfinished_loss += loss;
  if (++unfinished < updates_per_point) return;
  losses.push_back(unfinished_loss / static_cast<double>(unfinished));
  rates.push_back(rate);
  unfinished_loss = 0;
  unfinished = 0;
  if (losses.size() < max_points) return;
  for (std::size_t i = 0; i < max_points / 2; ++i) {
    losses[i] = (losses[2 * i] + losses[2 * i + 1]) / 2;
    rates[i] = rates[2 * i + 1];
  }
  losses.resize(max_points / 2);
  rates.resize(max_points / 2);
  updates_per_point *= 2;
}

namespace {

/// A point of a curve: x is an update.
struct CurvePoint {
  double x, y;
};

/// Returns digits with a decimal point after the first `whole`, and no zeros at the end after the point: "4.5" for
/// "4500" and 1.
std::string with_point(std::string digits, std::size_t whole) {
  if (digits.size() <= whole) return digits + std::string(whole - digits.size(), '0');
  digits.insert(whole, 1, '.');
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.back() == '.') digits.pop_back();
  return digits;
}

/// A labelled value of an axis. It is digits * 10^exponent, so its label is exact.
struct Tick {
  Index digits;
  int exponent;

  double value() const { return static_cast<double>(digits) * std::pow(10.0, exponent); }
  /// Returns the decimal exponent of the first digit: 0 for 7, 2 for 450, -7 for 4.5e-7.
  int magnitude() const { return static_cast<int>(std::to_string(std::abs(digits)).size()) - 1 + exponent; }
  /// Returns whether the label needs an exponent: for values below 1e-5 and from 1e7 on.
  bool is_scientific() const { return digits != 0 && (magnitude() < -5 || magnitude() > 6); }
  std::string label(bool scientific) const {
    if (digits == 0) return "0";
    const std::string sign = digits < 0 ? "-" : "", text = std::to_string(std::abs(digits));
    if (scientific) return sign + with_point(text, 1) + "e" + std::to_string(magnitude());
    if (magnitude() >= 0) return sign + with_point(text, static_cast<std::size_t>(magnitude()) + 1);
    return sign + with_point(std::string(static_cast<std::size_t>(-magnitude()), '0') + text, 1);
  }
};

struct Axis {
  double low = 0, high = 1;
  bool logarithmic = false;
  std::vector<Tick> ticks{};

  /// Returns the label of a tick. On a linear axis either all labels have an exponent, or none has.
  std::string label(const Tick& tick) const {
    if (logarithmic) return tick.label(tick.is_scientific());
    const auto largest = std::max_element(ticks.begin(), ticks.end(), [](const Tick& a, const Tick& b) {
      return std::abs(a.value()) < std::abs(b.value());
    });
    return tick.label(largest->is_scientific());
  }
  /// Returns the place of a value, from 0 at the low end to 1 at the high end.
  double place(double value) const {
    if (logarithmic) return std::log(value / low) / std::log(high / low);
    return (value - low) / (high - low);
  }
};

/// Returns a linear axis that contains both values, with about `wanted` steps of 1, 2 or 5 times a power of ten.
Axis linear_axis(double low, double high, int wanted) {
  if (!(high > low)) {
    low = std::min(low, 0.0);
    high = high > low ? high : low + 1;
  }
  const double step = (high - low) / wanted;
  auto exponent = static_cast<int>(std::floor(std::log10(step)));
  const double mantissa = step / std::pow(10.0, exponent);
  Index factor = mantissa <= 1.5 ? 1 : mantissa <= 3 ? 2 : mantissa <= 7 ? 5 : 10;
  if (factor == 10) {
    factor = 1;
    ++exponent;
  }
  const double unit = static_cast<double>(factor) * std::pow(10.0, exponent);
  const auto first = static_cast<Index>(std::floor(low / unit + 1e-9));
  const auto last = static_cast<Index>(std::ceil(high / unit - 1e-9));
  Axis axis{static_cast<double>(first) * unit, static_cast<double>(last) * unit};
  for (Index i = first; i <= last; ++i) axis.ticks.push_back({i * factor, exponent});
  return axis;
}

/// Returns a logarithmic axis between two powers of ten that contains both values. Both must be above 0.
Axis logarithmic_axis(double low, double high) {
  const auto first = static_cast<int>(std::floor(std::log10(low) + 1e-9));
  const auto last = std::max(static_cast<int>(std::ceil(std::log10(high) - 1e-9)), first + 1);
  Axis axis{std::pow(10.0, first), std::pow(10.0, last), true};
  const int stride = (last - first + 3) / 4;
  for (int e = first; e <= last; e += stride) axis.ticks.push_back({1, e});
  return axis;
}

/// Returns a number with this many decimals, or "> 1e9" if it is larger.
std::string fixed(double value, int decimals) {
  if (!(std::abs(value) < 1e9)) return "> 1e9";
  Index factor = 1;
  for (int i = 0; i < decimals; ++i) factor *= 10;
  const Index scaled = std::llround(std::abs(value) * static_cast<double>(factor));
  std::string text = std::to_string(scaled / factor);
  if (decimals > 0) {
    const std::string rest = std::to_string(scaled % factor);
    text += '.' + std::string(static_cast<std::size_t>(decimals) - rest.size(), '0') + rest;
  }
  return value < 0 && scaled > 0 ? '-' + text : text;
}

/// Returns a number with three significant digits, such as "0.00071" or "4.5e-7".
std::string significant(double value) {
  if (!(value > 0)) return "0";
  const auto exponent = static_cast<int>(std::floor(std::log10(value)));
  const Tick rounded{std::llround(value * std::pow(10.0, 2 - exponent)), exponent - 2};
  return rounded.label(rounded.is_scientific());
}

/// Returns a coordinate with one decimal.
std::string coordinate(double value) {
  return fixed(value, 1);
}

constexpr std::string_view plot_style = R"(<style>
text { font: 12px 'Helvetica Neue', Arial, 'Noto Sans', sans-serif; fill: #4b5563; }
text.title { font-size: 17px; font-weight: bold; fill: #1f2937; }
text.name { font-size: 14px; font-weight: bold; fill: #1f2937; }
text.right { text-anchor: end; }
text.middle { text-anchor: middle; }
rect.page { fill: #ffffff; }
line.grid { stroke: #e5e7eb; }
line.axis { stroke: #9ca3af; }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.loss { stroke: #2563eb; } .perplexity { stroke: #b45309; } .bleu { stroke: #047857; } .rate { stroke: #7c3aed; }
circle { fill: #ffffff; stroke-width: 2; }
circle.perplexity.best { fill: #b45309; } circle.bleu.best { fill: #047857; }
@media (prefers-color-scheme: dark) {
  text { fill: #9ca3af; }
  text.title, text.name { fill: #f3f4f6; }
  rect.page, circle { fill: #111827; }
  line.grid { stroke: #283142; }
  line.axis { stroke: #6b7280; }
  .loss { stroke: #60a5fa; } .perplexity { stroke: #fbbf24; } .bleu { stroke: #34d399; } .rate { stroke: #c4b5fd; }
  circle.perplexity.best { fill: #fbbf24; } circle.bleu.best { fill: #34d399; }
}
</style>
)";

// In pixels.
constexpr Index plot_width = 760, left_edge = 76, right_edge = 736, panel_height = 110, panel_step = 160;
constexpr Index first_panel = 84, circle_radius = 3;

/// One quantity over updates.
struct Panel {
  std::string_view name, style_class;
  std::string summary;               // at the right of the name
  std::vector<CurvePoint> points{};  // by x
  Axis axis{};
  bool has_circles = false;     // marks each point
  std::size_t best = SIZE_MAX;  // the point that is marked as the best
  int decimals = 2;             // of the values in tooltips
};

/// Returns a line element. from and to: x and y of its ends.
std::string svg_line(std::string_view style_class, std::pair<double, double> from, std::pair<double, double> to) {
  return concatenate({"<line class=\"", style_class, "\" x1=\"", coordinate(from.first), "\" y1=\"",
                      coordinate(from.second), "\" x2=\"", coordinate(to.first), "\" y2=\"", coordinate(to.second),
                      "\"/>\n"});
}

double x_of(const Axis& updates, double x) {
  return static_cast<double>(left_edge) + updates.place(x) * static_cast<double>(right_edge - left_edge);
}

/// Draws a panel whose upper edge is at y = top.
std::string svg_panel(const Panel& panel, const Axis& updates, Index top) {
  const Index bottom = top + panel_height;
  const auto y_of = [&](double y) {
    return static_cast<double>(bottom) - panel.axis.place(y) * static_cast<double>(panel_height);
  };
  std::string svg = svg_text(left_edge, top - 12, "name", panel.name);
  svg += svg_text(right_edge, top - 12, "right", panel.summary);
  for (const Tick& tick : updates.ticks) {
    const double x = x_of(updates, tick.value());
    svg += svg_line("grid", {x, top}, {x, bottom});
    svg += svg_text(std::lround(x), bottom + 16, "middle", updates.label(tick));
  }
  if (panel.points.empty()) {
    svg += svg_line("axis", {left_edge, bottom}, {right_edge, bottom});
    return svg + svg_text((left_edge + right_edge) / 2, top + panel_height / 2, "middle", "none yet");
  }
  for (const Tick& tick : panel.axis.ticks) {
    const double y = y_of(tick.value());
    svg += svg_line("grid", {left_edge, y}, {right_edge, y});
    svg += svg_text(left_edge - 8, std::lround(y) + 4, "right", panel.axis.label(tick));
  }
  svg += svg_line("axis", {left_edge, bottom}, {right_edge, bottom});
  svg += concatenate({"<polyline class=\"", panel.style_class, "\" points=\""});
  for (const CurvePoint& point : panel.points)
    svg += concatenate({coordinate(x_of(updates, point.x)), ",", coordinate(y_of(point.y)), " "});
  svg += "\"/>\n";
  for (std::size_t i = 0; panel.has_circles && i < panel.points.size(); ++i) {
    const CurvePoint& point = panel.points[i];
    const bool is_best = i == panel.best;
    svg += concatenate({"<circle class=\"", panel.style_class, is_best ? " best" : "", "\" cx=\"",
                        coordinate(x_of(updates, point.x)), "\" cy=\"", coordinate(y_of(point.y)), "\" r=\"",
                        std::to_string(circle_radius + (is_best ? 2 : 0)), "\"><title>update ", fixed(point.x, 0), ": ",
                        fixed(point.y, panel.decimals), "</title></circle>\n"});
  }
  return svg;
}

/// Returns the smallest and the largest y of one or more points.
std::pair<double, double> range_of(const std::vector<CurvePoint>& points) {
  const auto [low, high] = std::minmax_element(points.begin(), points.end(),
                                               [](const CurvePoint& a, const CurvePoint& b) { return a.y < b.y; });
  return {low->y, high->y};
}

std::string at_update(std::string_view what, double value, int decimals, Index update) {
  return concatenate({what, " ", fixed(value, decimals), " at update ", std::to_string(update)});
}

constexpr int steps_of_y = 3;

Panel loss_panel(const LossCurve& curve) {
  Panel panel{"training loss", "loss", ""};
  for (std::size_t i = 0; i < curve.losses.size(); ++i)
    panel.points.push_back({static_cast<double>(curve.update_of(i)), curve.losses[i]});
  if (panel.points.empty()) return panel;
  const auto [low, high] = range_of(panel.points);
  panel.axis = linear_axis(low, high, steps_of_y);
  panel.summary = at_update("last", curve.losses.back(), 3, curve.update_of(curve.losses.size() - 1));
  if (curve.updates_per_point > 1)
    panel.summary = "means of " + std::to_string(curve.updates_per_point) + " updates; " + panel.summary;
  return panel;
}

Panel rate_panel(const LossCurve& curve) {
  Panel panel{"learning rate", "rate", ""};
  for (std::size_t i = 0; i < curve.rates.size(); ++i)
    panel.points.push_back({static_cast<double>(curve.update_of(i)), curve.rates[i]});
  if (panel.points.empty()) return panel;
  panel.axis = linear_axis(0, range_of(panel.points).second, steps_of_y);
  panel.summary = "last " + significant(curve.rates.back());
  return panel;
}

Panel perplexity_panel(const std::vector<ValidationPoint>& validations) {
  Panel panel{"validation perplexity", "perplexity", ""};
  panel.has_circles = true;
  for (const ValidationPoint& point : validations)
    panel.points.push_back({static_cast<double>(point.update), std::clamp(point.perplexity, 1.0, 1e12)});
  if (panel.points.empty()) return panel;
  const auto [low, high] = range_of(panel.points);
  panel.axis = high > 10 * low ? logarithmic_axis(low, high) : linear_axis(low, high, steps_of_y);
  const auto best =
      std::min_element(validations.begin(), validations.end(),
                       [](const ValidationPoint& a, const ValidationPoint& b) { return a.perplexity < b.perplexity; });
  panel.best = static_cast<std::size_t>(best - validations.begin());
  panel.summary = at_update("lowest", best->perplexity, 2, best->update);
  return panel;
}

Panel bleu_panel(const std::vector<ValidationPoint>& validations) {
  Panel panel{"validation BLEU", "bleu", ""};
  panel.has_circles = true;
  for (const ValidationPoint& point : validations)
    panel.points.push_back({static_cast<double>(point.update), point.bleu});
  if (panel.points.empty()) return panel;
  const auto [low, high] = range_of(panel.points);
  panel.axis = linear_axis(low, high, steps_of_y);
  const auto best =
      std::max_element(validations.begin(), validations.end(),
                       [](const ValidationPoint& a, const ValidationPoint& b) { return a.bleu < b.bleu; });
  panel.best = static_cast<std::size_t>(best - validations.begin());
  panel.summary = at_update("best", best->bleu, 2, best->update);
  return panel;
}

}  // namespace

std::string svg_training_plot(const TrainingCurves& curves, std::string_view title) {
  const LossCurve& curve = curves.training;
  Index last = curve.losses.empty() ? 1 : curve.update_of(curve.losses.size() - 1);
  for (const ValidationPoint& point : curves.validations) last = std::max(last, point.update);
  const Axis updates = linear_axis(0, static_cast<double>(last), 6);
  const Panel panels[] = {loss_panel(curve), perplexity_panel(curves.validations), bleu_panel(curves.validations),
                          rate_panel(curve)};

  const Index height = first_panel + static_cast<Index>(std::size(panels)) * panel_step - 4;
  std::string svg = svg_begin(plot_width, height, title, plot_style);
  svg += concatenate({"<rect class=\"page\"", attribute("width", plot_width), attribute("height", height), "/>\n"});
  svg += svg_text(24, 34, "title", title);
  Index top = first_panel;
  for (const Panel& panel : panels) {
    svg += svg_panel(panel, updates, top);
    top += panel_step;
  }
  return svg + svg_text((left_edge + right_edge) / 2, height - 10, "middle", "updates") + "</svg>\n";
}

}  // namespace translate
