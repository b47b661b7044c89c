// Tables of results, for the terminal and the page.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace questions {

struct Table {
  std::string caption;                         // describes the numbers
  std::vector<std::string> header;             // one cell per column
  std::vector<std::vector<std::string>> rows;  // each with as many cells as the header
};

/// Prints the table with its first column left-aligned and the others, which hold numbers, right-aligned. Throws if a
/// row and the header have different numbers of cells.
void print(std::ostream& out, const Table& table);

/// Returns the table as an HTML `table` element. Throws if a row and the header have different numbers of cells.
std::string html(const Table& table);

}  // namespace questions
