// Attention weights as a picture: which source word was looked at when each target word was produced.
#pragma once

#include <iosfwd>
#include <span>
#include <string>
#include <string_view>

#include "eigenformer/core/types.hpp"

namespace translate {

/// How many columns a text takes in a terminal: two for a Chinese character, none for a combining mark. Throws if it is
/// not UTF-8.
eigenformer::Index display_width(std::string_view text);

/// Draws the weights in UTF-8 for a terminal, a line for each row: cells of ░ (from 5 %), ▒ (25 %), ▓ (50 %) and
/// █ (75 %), with the percentages if that leaves the lines within 80 columns. A column's label stands above the others'
/// to its right, with a line down to its cells, so that it may be of any length. In colour, cells are blue and the
/// largest of each row is bold; without it there are no escape sequences.
///
/// weights: [row_labels x col_labels], the target words by the source words, each from 0 to 1. Throws if the sizes do
/// not match, a weight is outside 0 to 1, or a label is not UTF-8.
void print_heat_map(std::ostream& out, const eigenformer::Matrix<float>& weights,
                    std::span<const std::string> row_labels, std::span<const std::string> col_labels,
                    bool colour = false);

/// The same as an SVG document that needs nothing else. A cell tells its labels and weight when pointed at, and shows
/// weights from 5 % as a number.
std::string svg_heat_map(const eigenformer::Matrix<float>& weights, std::span<const std::string> row_labels,
                         std::span<const std::string> col_labels, std::string_view title);

}  // namespace translate
