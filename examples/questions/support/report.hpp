// What a question's program finds out, and the pages that say it.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

#include "questions/support/table.hpp"

namespace questions {

struct Question {
  char letter = 'a';
  std::string question;
  std::string notes;     // the study notes' answer
  std::string measured;  // how it is put to the test, in a sentence or two
};

struct Answer {
  std::vector<Table> tables;
  bool as_noted = false;  // whether the measurement shows what the notes say
  std::string sentence;   // the answer, with the numbers that were measured
  std::string svg;        // the plot
};

/// The sentence, and whether it is the notes'.
std::string verdict(const Answer& answer);

/// Question, tables and verdict as text.
void print(std::ostream& out, const Question& question, const Answer& answer);

/// Makes the folder unless it is there. Throws if it cannot be made, or no report be written into it.
void make_report_folder(const std::filesystem::path& folder);

/// Writes, for question c, `folder/c.svg` and `folder/c.html`, a section of a page; and then `folder/index.html` from
/// all the questions' sections that are there. Makes the folder. Each file is replaced whole.
void write_report(const std::filesystem::path& folder, const Question& question, const Answer& answer);

}  // namespace questions
