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
  bool as_noted = false;              // whether the measurement shows what the notes say
  std::string sentence;               // the answer, with the numbers that were measured
  std::vector<std::string> drawings;  // SVG documents, in the order in which they are shown
};

/// The sentence, and whether it is the notes'.
std::string verdict(const Answer& answer);

/// Question, tables and verdict as text.
void print(std::ostream& out, const Question& question, const Answer& answer);

/// Makes the folder unless it is there. Throws if it cannot be made, or no report be written into it.
void make_report_folder(const std::filesystem::path& folder);

/// Writes the report of one question into the folder, which is made if it does not exist. For question c:
///   c.svg       all drawings in one document
///   c.html      a section of the page; its drawings wrap at any window width
///   index.html  the page: the sections of all questions that the folder holds
/// Each file is replaced as a whole. Throws if the letter is not a to z or a file cannot be written.
void write_report(const std::filesystem::path& folder, const Question& question, const Answer& answer);

}  // namespace questions
