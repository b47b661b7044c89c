#include "translate/guided_alignment.hpp"

#include <algorithm>
#include <array>

#include "translate/subwords.hpp"
#include "translate/validators.hpp"

namespace translate {

namespace {

void check_no_subwords(bool has_subwords) {
  ef::check(!has_subwords, "--alignments: links are between words, but this model has subwords");
}

}  // namespace

void add_alignment_options(CLI::App* command, TrainArguments& arguments) {
  TrainArguments::GuidedAlignment& guided = arguments.guided_alignment;
  command->add_option("--alignments", guided.links,
                      "file of links between the corpus's tokens, one line per pair (\"0-0 1-2\"): trains attention to "
                      "follow them");
  command
      ->add_option("--guided-alignment-weight", guided.weight,
                   "weight of the alignment loss beside the translation loss")
      ->check(number_in(0, 1000, "from 0 to 1000"))
      ->capture_default_str();
  command
      ->add_option("--alignment-layer", guided.layer,
                   "decoder layer of a Transformer that learns the links, from 1 (default: the second to last)")
      ->check(whole_in(1, 10'000));
  command->add_option("--alignment-head", guided.head, "head of that layer, from 1 (default: the first)")
      ->check(whole_in(1, 10'000));
}

void check_alignment_options(const TrainArguments& arguments) {
  const TrainArguments::GuidedAlignment& guided = arguments.guided_alignment;
  if (guided.links.empty()) {
    ef::check(guided.layer == 0 && guided.head == 0,
              "--alignment-layer and --alignment-head: need --alignments, the links to learn");
    return;
  }
  check_no_subwords(source_subwords(arguments).is_given() || target_subwords(arguments).is_given());
  if (arguments.model != "recurrent") return;
  ef::check(arguments.context == "attention", "--alignments: needs attention, but --context is ", arguments.context);
  ef::check(guided.layer <= 1 && guided.head <= 1, "--alignment-layer and --alignment-head: are ", guided.layer,
            " and ", guided.head, ", but a recurrent model has one of each");
}

void choose_alignment_head(const TrainArguments& arguments, ef::TransformerOptions& options) {
  const TrainArguments::GuidedAlignment& guided = arguments.guided_alignment;
  if (guided.links.empty()) return;
  const ef::Index layers = options.num_decoder_layers, heads = options.layer.heads;
  ef::check(guided.layer <= layers, "--alignment-layer: is ", guided.layer, ", the decoder has ", layers, " layers");
  ef::check(guided.head <= heads, "--alignment-head: is ", guided.head, ", a layer has ", heads, " heads");
  options.alignment_layer = guided.layer > 0 ? guided.layer : std::max<ef::Index>(layers - 1, 1);
  options.alignment_head = std::max<ef::Index>(guided.head, 1);
}

LinkReader::LinkReader(const std::string& path, const Model& sides, ef::Index pairs) : path_(path), pairs_(pairs) {
  if (path.empty()) return;
  check_no_subwords(sides.source.subwords != nullptr || sides.target.subwords != nullptr);
  file_ = ef::open_for_reading(path);
  reader_.emplace(file_, path);
}

void LinkReader::next() {
  if (!is_open()) return;
  std::string line;
  ef::check(reader_->next(line), path_, ": has ", reader_->number(), " lines, expected ", pairs_,
            ", one per sentence pair");
  links_ = ef::parse_alignment(line, reader_->where());
}

void LinkReader::check_end() {
  std::string line;
  if (is_open() && reader_->next(line))
    ef::fail(path_, ": has more than ", pairs_, " lines, expected one per sentence pair");
}

void add_links(ef::Fnv1a& hash, const ef::StoredAlignments& alignments) {
  for (ef::Index i = 0; i < alignments.size(); ++i) {
    const auto count = static_cast<ef::Index>(alignments[i].size());
    hash.add_numbers(std::span<const ef::Index>(&count, 1));
    for (const ef::StoredAlignments::Link& link : alignments[i]) {
      const std::array<std::int32_t, 2> both{link.source, link.target};
      hash.add_numbers(std::span<const std::int32_t>(both));
    }
  }
}

ef::Index count_links(const ef::StoredAlignments& alignments) {
  ef::Index links = 0;
  for (ef::Index i = 0; i < alignments.size(); ++i) links += static_cast<ef::Index>(alignments[i].size());
  return links;
}

}  // namespace translate
