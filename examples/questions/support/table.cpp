#include "questions/support/table.hpp"

#include <algorithm>
#include <ostream>

#include "eigenformer/core/check.hpp"
#include "questions/support/markup.hpp"
#include "translate/heat_map.hpp"

namespace questions {
namespace {

using eigenformer::Index;

void check_rows(const char* where, const Table& table) {
  for (std::size_t r = 0; r < table.rows.size(); ++r)
    eigenformer::check(table.rows[r].size() == table.header.size(), where, ": row ", r, " of \"", table.caption,
                       "\" has ", table.rows[r].size(), " cells, the header has ", table.header.size());
}

}  // namespace

void print(std::ostream& out, const Table& table) {
  check_rows("print", table);
  std::vector<Index> widths;
  for (std::size_t c = 0; c < table.header.size(); ++c) {
    Index width = translate::display_width(table.header[c]);
    for (const auto& row : table.rows) width = std::max(width, translate::display_width(row[c]));
    widths.push_back(width);
  }
  const auto print_row = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t c = 0; c < cells.size(); ++c) {
      const auto missing = static_cast<std::size_t>(widths[c] - translate::display_width(cells[c]));
      line += c == 0 ? cells[c] + std::string(missing, ' ') : "  " + std::string(missing, ' ') + cells[c];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  };
  out << table.caption << '\n';
  print_row(table.header);
  Index rule = 0;
  for (const Index width : widths) rule += width + 2;
  out << std::string(static_cast<std::size_t>(std::max<Index>(rule - 2, 0)), '-') << '\n';
  for (const auto& row : table.rows) print_row(row);
}

std::string html(const Table& table) {
  check_rows("html", table);
  std::string text = "<table>\n<caption>" + escaped(table.caption) + "</caption>\n<thead><tr>";
  for (const std::string& cell : table.header) text += "<th>" + escaped(cell) + "</th>";
  text += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    text += "<tr>";
    for (const std::string& cell : row) text += "<td>" + escaped(cell) + "</td>";
    text += "</tr>\n";
  }
  return text + "</tbody>\n</table>\n";
}

}  // namespace questions
