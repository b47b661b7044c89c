// A table of results, for the terminal and for the page.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace questions {

struct Table {
  std::string caption;                         // what its numbers are
  std::vector<std::string> header;             // of each column
  std::vector<std::vector<std::string>> rows;  // each as many cells as the header
};

/// In columns: the first from the left, the others, which are numbers, from the right. Throws if a row has not as many
/// cells as the header.
void print(std::ostream& out, const Table& table);

/// An HTML `table` element.
std::string html(const Table& table);

}  // namespace questions
