// Draws heat maps: block characters for a terminal, rectangles for SVG.
#include "translate/heat_map.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <ostream>
#include <vector>

#include "eigenformer/text/utf8.hpp"
#include "translate/svg.hpp"

namespace translate {
namespace {

using eigenformer::Index;
using eigenformer::Matrix;
using Labels = std::span<const std::string>;

struct Range {
  char32_t first, last;
};

/// Unicode blocks with East Asian Width W or F.
constexpr Range wide[] = {{0x1100, 0x115F},   {0x2E80, 0x303E},  {0x3041, 0xA4CF},   {0xA960, 0xA97F},
                          {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},  {0xFE10, 0xFE19},   {0xFE30, 0xFE6F},
                          {0xFF01, 0xFF60},   {0xFFE0, 0xFFE6},  {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF},
                          {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
/// Combining and invisible characters.
constexpr Range without_width[] = {{0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD}, {0x064B, 0x065F},
                                   {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x200B, 0x200F}, {0x20D0, 0x20FF},
                                   {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}};

bool is_in(std::span<const Range> ranges, char32_t c) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const Range& r) { return r.first <= c && c <= r.last; });
}

std::vector<std::string> printable_labels(Labels labels) {
  std::vector<std::string> texts;
  for (const std::string& label : labels) texts.push_back(printable(label, "heat map label"));
  return texts;
}

Index largest_width(Labels labels) {
  Index width = 0;
  for (const std::string& label : labels) width = std::max(width, display_width(label));
  return width;
}

void check_weights(const char* where, const Matrix<float>& weights, Labels row_labels, Labels col_labels) {
  const eigenformer::Shape labels{static_cast<Index>(row_labels.size()), static_cast<Index>(col_labels.size())};
  eigenformer::check_shape(where, "weights", eigenformer::shape(weights), labels);
  constexpr float rounding = 1e-3F;
  eigenformer::check((weights.array() >= -rounding && weights.array() <= 1 + rounding).all(), where,
                     ": a weight is not in 0 to 1");
}

constexpr float least_shown = 0.05F;

Index percent(float weight) {
  return std::lround(100 * weight);
}

std::string spaces(Index count) {
  return std::string(static_cast<std::size_t>(std::max<Index>(count, 0)), ' ');
}

std::string_view shade(float weight) {
  return weight < least_shown ? "  " : weight < 0.25F ? "░░" : weight < 0.5F ? "▒▒" : weight < 0.75F ? "▓▓" : "██";
}

/// Returns the shade and, if asked for, the percentage, right-aligned in three columns.
std::string cell(float weight, bool with_number) {
  std::string text(shade(weight));
  if (!with_number) return text;
  const std::string number = weight < least_shown ? "" : std::to_string(percent(weight));
  return text + spaces(3 - static_cast<Index>(number.size())) + number;
}

}  // namespace

Index display_width(std::string_view text) {
  Index width = 0;
  for (const eigenformer::CodePoint& c : eigenformer::CodePoints(text, "display_width"))
    width += is_in(wide, c.value) ? 2 : is_in(without_width, c.value) ? 0 : 1;
  return width;
}

void print_heat_map(std::ostream& out, const Matrix<float>& weights, Labels row_labels, Labels col_labels,
                    bool colour) {
  check_weights("print_heat_map", weights, row_labels, col_labels);
  const std::vector<std::string> rows = printable_labels(row_labels);
  const std::vector<std::string> cols = printable_labels(col_labels);
  const Index margin = largest_width(rows) + 2;
  const bool with_numbers = margin + 6 * weights.cols() <= 80;
  const std::string stem = "│" + spaces(with_numbers ? 5 : 2);

  std::string stems = spaces(margin);
  for (const std::string& label : cols) {
    out << stems << label << '\n';
    stems += stem;
  }
  for (Index r = 0; r < weights.rows(); ++r) {
    const std::string& label = rows[static_cast<std::size_t>(r)];
    std::string line = label + spaces(margin - display_width(label));
    for (Index c = 0; c < weights.cols(); ++c) {
      const float weight = weights(r, c);
      const std::string text = cell(weight, with_numbers);
      const bool largest = weight == weights.row(r).maxCoeff();
      if (colour && weight >= least_shown)
        line += (largest ? "\x1b[1;34m" : "\x1b[34m") + text + "\x1b[0m ";
      else
        line += text + ' ';
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  }
}

namespace {

std::string rectangle(Index x, Index y, Index width, Index height, std::string_view attributes) {
  return concatenate({"<rect", attribute("x", x), attribute("y", y), attribute("width", width),
                      attribute("height", height), attributes, "/>\n"});
}

/// Returns the fill of a cell: from almost white through clear blue to dark blue.
std::string fill_of(float weight) {
  constexpr float stops[3][3] = {{241, 245, 251}, {98, 152, 216}, {16, 50, 110}};
  const float position = 2 * std::clamp(weight, 0.0F, 1.0F);
  const int i = position < 1 ? 0 : 1;
  const float share = position - static_cast<float>(i);
  std::string fill = " fill=\"#";
  for (int channel = 0; channel < 3; ++channel) {
    const auto byte = std::lround((1 - share) * stops[i][channel] + share * stops[i + 1][channel]);
    fill += "0123456789abcdef"[byte / 16];
    fill += "0123456789abcdef"[byte % 16];
  }
  return fill + '"';
}

/// Returns the percentage with one decimal: "87.3".
std::string precise_percent(float weight) {
  const long tenths = std::lround(1000 * std::clamp(weight, 0.0F, 1.0F));
  return std::to_string(tenths / 10) + '.' + std::to_string(tenths % 10);
}

constexpr std::string_view heat_map_style = R"(<style>
text { font: 14px 'Helvetica Neue', Arial, 'Noto Sans', 'PingFang SC', 'Hiragino Sans GB', 'Microsoft YaHei',
  'Noto Sans CJK SC', 'Source Han Sans SC', sans-serif; fill: #1f2937; }
text.title { font-size: 17px; font-weight: bold; }
text.row { text-anchor: end; }
text.number { font-size: 12px; text-anchor: middle; }
text.on-dark { fill: #ffffff; }
text.scale { font-size: 12px; fill: #6b7280; }
g.cell:hover rect { stroke: #f59e0b; stroke-width: 2; }
</style>
)";

// In pixels.
constexpr Index padding = 20, gap = 10, cell_width = 46, cell_height = 36;
constexpr Index scale_width = 120, scale_step = 5;
constexpr Index label_column = 8;  // per unit of display_width; slightly wider than the letters of most fonts
constexpr Index title_column = 11;

std::string svg_cell(Index x, Index y, float weight, std::string_view row, std::string_view col) {
  const std::string tip = concatenate({row, " ← ", col, ": ", precise_percent(weight), " %"});
  std::string cell = concatenate({"<g class=\"cell\"><title>", escaped(tip), "</title>\n"});
  cell += rectangle(x + 1, y + 1, cell_width - 2, cell_height - 2, " rx=\"4\"" + fill_of(weight));
  if (weight >= least_shown) {
    const std::string_view style_class = weight > 0.6F ? "number on-dark" : "number";
    cell += svg_text(x + cell_width / 2, y + cell_height / 2 + 4, style_class, std::to_string(percent(weight)));
  }
  return cell + "</g>\n";
}

std::string svg_scale(Index x, Index y) {
  std::string scale = svg_text(x - gap, y + 10, "row scale", "0");
  for (Index i = 0; i < scale_width; i += scale_step) {
    const float weight = static_cast<float>(i) / static_cast<float>(scale_width - scale_step);
    scale += rectangle(x + i, y, scale_step + 1, 10, fill_of(weight));  // the overlap hides seams
  }
  return scale + svg_text(x + scale_width + gap, y + 10, "scale", "100 %");
}

}  // namespace

std::string svg_heat_map(const Matrix<float>& weights, Labels row_labels, Labels col_labels, std::string_view title) {
  check_weights("svg_heat_map", weights, row_labels, col_labels);
  const std::vector<std::string> rows = printable_labels(row_labels);
  const std::vector<std::string> cols = printable_labels(col_labels);
  const std::string heading = printable(title, "heat map label");

  const Index slant =
      largest_width(cols) * label_column * 71 / 100 + 12;  // the extent of labels at 45 degrees, in x and in y
  const Index left = padding + largest_width(rows) * label_column + gap;
  const Index top = padding + (heading.empty() ? 0 : 32) + slant;
  const Index bottom = top + weights.rows() * cell_height;
  const Index last_label = left + weights.cols() * cell_width - cell_width / 2 + slant;
  const Index scale_end = left + scale_width + 50;
  const Index title_end = padding + display_width(heading) * title_column;
  const Index width = std::max({last_label, scale_end, title_end}) + padding;
  const Index height = bottom + 3 * gap + padding;

  std::string svg = svg_begin(width, height, heading, heat_map_style);
  svg += rectangle(0, 0, width, height, " fill=\"#ffffff\"");
  svg += svg_text(padding, padding + 16, "title", heading);
  for (Index c = 0; c < weights.cols(); ++c)
    svg +=
        svg_text(left + c * cell_width + cell_width / 2, top - gap, "column", cols[static_cast<std::size_t>(c)], -45);
  for (Index r = 0; r < weights.rows(); ++r) {
    const std::string& row = rows[static_cast<std::size_t>(r)];
    const Index y = top + r * cell_height;
    svg += svg_text(left - gap, y + cell_height / 2 + 5, "row", row);
    for (Index c = 0; c < weights.cols(); ++c)
      svg += svg_cell(left + c * cell_width, y, weights(r, c), row, cols[static_cast<std::size_t>(c)]);
  }
  return svg + svg_scale(left, bottom + gap + 4) + "</svg>\n";
}

}  // namespace translate
