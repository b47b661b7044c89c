// Draws attention weights as heat maps: how much each target word attends to each source word.
#pragma once

#include <iosfwd>
#include <span>
#include <string>
#include <string_view>

#include "eigenformer/core/types.hpp"

namespace translate {

/// Returns the number of terminal columns of a text: two for a Chinese character, none for a combining mark. Throws if
/// the text is not UTF-8.
eigenformer::Index display_width(std::string_view text);

/// Draws the weights for a terminal, in UTF-8, with one line per row.
///   cells          ░ from 5 %, ▒ from 25 %, ▓ from 50 %, █ from 75 %; with percentages if the lines fit 80 columns
///   column labels  one per line, the leftmost first; a stem joins each to its cells, so labels may have any length
///   colour         blue cells, the largest of each row bold; if false, there are no escape sequences
///
/// weights: [row_labels x col_labels], target words by source words, each from 0 to 1. Throws if the sizes do not
/// match, a weight is outside 0 to 1, or a label is not UTF-8.
void print_heat_map(std::ostream& out, const eigenformer::Matrix<float>& weights,
                    std::span<const std::string> row_labels, std::span<const std::string> col_labels,
                    bool colour = false);

/// Returns the weights as a self-contained SVG document. Cells show weights from 5 % as a number and have a tooltip
/// with their labels and weight. weights: [row_labels x col_labels], target words by source words, each from 0 to 1.
/// Throws if the sizes do not match, a weight is outside 0 to 1, or a label is not UTF-8.
std::string svg_heat_map(const eigenformer::Matrix<float>& weights, std::span<const std::string> row_labels,
                         std::span<const std::string> col_labels, std::string_view title);

}  // namespace translate
