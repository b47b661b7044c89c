// The answer to a question and its report.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "questions/support/table.hpp"

namespace questions {

struct Question {
  char letter = 'a';
  std::string question;
  std::string notes;     // the answer to check, from the study notes that ask the questions
  std::string measured;  // the experiment, in a few sentences
};

struct Answer {
  std::vector<Table> tables;
  std::optional<bool> as_noted = false;  // whether the measurement shows what the notes say; empty: they do not say
  std::string sentence;                  // the answer, with the numbers that were measured
  std::vector<std::string> drawings;     // SVG documents, in the order in which they are shown
};

/// Returns the sentence, preceded by whether it confirms the notes, or that they leave the question open.
std::string verdict(const Answer& answer);

/// Prints question, tables and verdict as text.
void print(std::ostream& out, const Question& question, const Answer& answer);

/// Makes the folder if it does not exist. Throws if it cannot be made or written to.
void make_report_folder(const std::filesystem::path& folder);

/// Writes the report of one question into the folder, which is made if it does not exist. For question c:
///   c.svg       all drawings in one document
///   c.html      a section of the page; its drawings wrap at any window width
///   index.html  the page: the sections of all questions that the folder holds
/// Each file is replaced as a whole. Throws if the letter is not a to z or a file cannot be written.
void write_report(const std::filesystem::path& folder, const Question& question, const Answer& answer);

}  // namespace questions
