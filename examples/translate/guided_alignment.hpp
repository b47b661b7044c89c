// Options and input of `translate train --alignments`, which trains attention to follow links between tokens. The loss
// is in eigenformer/models/guided_loss.hpp.
#pragma once

#include <CLI/CLI.hpp>
#include <fstream>
#include <optional>
#include <string>

#include "eigenformer/core/lines.hpp"
#include "eigenformer/text/alignment.hpp"
#include "eigenformer/text/alignment_labels.hpp"
#include "eigenformer/train/parameter_hash.hpp"
#include "translate/program.hpp"

namespace translate {

/// Adds the options to the command.
void add_alignment_options(CLI::App* command, TrainArguments& arguments);

/// Throws if the options on alignments contradict each other or other options.
void check_alignment_options(const TrainArguments& arguments);

/// Chooses the layer and the head of a Transformer that learn the links. Does nothing without links. Throws if the
/// model has no such layer or head.
void choose_alignment_head(const TrainArguments& arguments, ef::TransformerOptions& options);

/// Reads the links of a corpus, pair by pair, beside its sentences.
class LinkReader {
 public:
  /// Opens a file in Pharaoh's format, with one line per pair. path: empty if there are no links. pairs: the number of
  /// pairs. Throws if the file cannot be opened, or if a language has subwords.
  LinkReader(const std::string& path, const Model& sides, ef::Index pairs);
  LinkReader(const LinkReader&) = delete;
  LinkReader& operator=(const LinkReader&) = delete;

  /// Returns whether there are links.
  bool is_open() const { return reader_.has_value(); }
  /// Reads the line of the next pair. Does nothing if there are no links. Throws if the line is missing or does not
  /// hold links.
  void next();
  /// The links of the current pair.
  const ef::WordAlignment& links() const { return links_; }
  /// The file and the line of the current pair, for messages.
  std::string where() const { return reader_->where(); }
  /// Throws if a line is left. Call it after the last pair.
  void check_end();

 private:
  std::string path_;
  ef::Index pairs_;
  std::ifstream file_;
  std::optional<ef::LineReader> reader_;
  ef::WordAlignment links_;
};

/// Adds all links to a hash.
void add_links(ef::Fnv1a& hash, const ef::StoredAlignments& alignments);

/// Returns the number of links of all pairs.
ef::Index count_links(const ef::StoredAlignments& alignments);

}  // namespace translate
