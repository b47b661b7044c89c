#include "translate/guided_alignment.hpp"

#include <algorithm>

#include "translate/subwords.hpp"
#include "translate/validators.hpp"

namespace translate {

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

void check_no_subwords(bool has_subwords) {
  ef::check(!has_subwords, "--alignments: links are between words, but this model has subwords");
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

}  // namespace translate
