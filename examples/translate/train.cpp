// translate train: the model and the settings of a run. corpus.cpp reads the corpus, train_run.cpp trains.
#include <algorithm>
#include <array>
#include <string_view>
#include <variant>

#include "eigenformer/io/recurrent_seq2seq_config.hpp"
#include "eigenformer/io/transformer_config.hpp"
#include "translate/guided_alignment.hpp"
#include "translate/train.hpp"

namespace translate {

namespace {

void check_heads(ef::Index width, ef::Index heads) {
  ef::check(width % heads == 0, "--width, --heads: the width is ", width,
            ", expected a multiple of the number of heads, ", heads);
}

ef::Seq2Seq<float> make_transformer(const TrainArguments& arguments, ef::Index sources, ef::Index targets,
                                    ef::Rng& rng) {
  ef::TransformerOptions options =
      arguments.preset == "base" ? ef::TransformerOptions::base() : ef::TransformerOptions::tiny();
  options.source_vocabulary_size = sources;
  options.target_vocabulary_size = targets;
  if (arguments.width > 0) {
    options.layer.dim_feedforward = options.layer.dim_feedforward * arguments.width / options.layer.width;
    options.layer.width = arguments.width;
  }
  if (arguments.layers > 0) options.num_encoder_layers = options.num_decoder_layers = arguments.layers;
  if (arguments.heads > 0) options.layer.heads = arguments.heads;
  if (arguments.feed_forward > 0) options.layer.dim_feedforward = arguments.feed_forward;
  check_heads(options.layer.width, options.layer.heads);
  options.positions = ef::value_of<ef::PositionEncoding>(arguments.positions);
  options.share_embeddings = arguments.joint_vocabulary;
  options.layer.norm_first = arguments.norm_first;
  options.max_length = 2 * arguments.max_length;
  if (arguments.dropout >= 0) options.layer.dropout = arguments.dropout;
  options.layer.embedding_dropout = arguments.embedding_dropout;
  options.layer.attention_dropout = arguments.attention_dropout;
  options.layer.activation_dropout = arguments.activation_dropout;
  choose_alignment_head(arguments, options);
  return ef::Transformer<float>(options, rng);
}

ef::Seq2Seq<float> make_recurrent(const TrainArguments& arguments, ef::Index sources, ef::Index targets, ef::Rng& rng) {
  const bool base = arguments.preset == "base";
  ef::RecurrentSeq2SeqOptions options;
  options.source_vocabulary_size = sources;
  options.target_vocabulary_size = targets;
  options.width = options.hidden = arguments.width > 0 ? arguments.width : base ? 512 : 256;
  options.num_encoder_layers = options.num_decoder_layers = arguments.layers > 0 ? arguments.layers : base ? 2 : 1;
  options.context = ef::value_of<ef::SourceContext>(arguments.context);
  options.score = ef::value_of<ef::AlignmentScore>(arguments.score);
  options.encoder = ef::value_of<ef::SourceEncoder>(arguments.encoder);
  options.cell = ef::value_of<ef::RecurrentCell>(arguments.cell);
  options.input_feeding = arguments.input_feeding;
  if (arguments.heads > 0) options.heads = arguments.heads;
  if (options.encoder == ef::SourceEncoder::self_attention) check_heads(options.hidden, options.heads);
  options.share_embeddings = arguments.joint_vocabulary;
  options.max_length = 2 * arguments.max_length;
  if (arguments.dropout >= 0) options.dropout = arguments.dropout;
  return ef::RecurrentSeq2Seq<float>(options, rng);
}

}  // namespace

Model make_model(const TrainArguments& arguments, ef::TranslationSide source, ef::TranslationSide target) {
  ef::Rng rng(arguments.seed);
  const auto make = arguments.model == "recurrent" ? make_recurrent : make_transformer;
  ef::Seq2Seq<float> network = make(arguments, source.vocabulary.size(), target.vocabulary.size(), rng);
  if (!arguments.init.empty())
    ef::load_parameters(ef::SafetensorsFile(ef::newest_file(arguments.init, "model.safetensors")), network);
  return {std::move(network), std::move(source), std::move(target)};
}

void check_initial(const TrainArguments& arguments, const Model& model) {
  if (arguments.init.empty()) return;
  constexpr std::array<std::string_view, 7> free{"dropout",           "attention_dropout", "activation_dropout",
                                                 "embedding_dropout", "max_length",        "alignment_layer",
                                                 "alignment_head"};
  const auto options_of = [](const Model& of) {
    return std::visit([](const auto& network) { return ef::options_to_json(network.options); }, of.network);
  };
  const ef::Json initial = options_of(load_model(arguments.init)), given = options_of(model);
  for (const auto& [name, value] : given.items()) {
    const ef::Json before = initial.value(name, ef::Json());
    if (std::find(free.begin(), free.end(), name) == free.end() && value != before)
      ef::fail("--init: ", arguments.init, " has \"", name, "\": ", before.dump(),
               ", but the options of this run give ", value.dump());
  }
}

TrainingSettings settings_of(const TrainArguments& arguments, ef::Threads* threads) {
  TrainingSettings settings;
  settings.budget = {arguments.minutes, arguments.epochs, arguments.updates};
  settings.batch_tokens = arguments.batch_tokens;
  settings.rate = arguments.rate > 0 ? arguments.rate : arguments.preset == "base" ? 7e-4 : 3e-3;
  settings.warmup = arguments.warmup > 0 ? arguments.warmup : arguments.preset == "base" ? 4000 : 1000;
  settings.shortens_warmup = arguments.warmup == 0;
  settings.schedule = arguments.schedule;
  if (!arguments.guided_alignment.links.empty()) settings.guided_alignment_weight = arguments.guided_alignment.weight;
  settings.accumulate = arguments.accumulate;
  settings.checkpoint_activations = arguments.checkpoint_activations;
  settings.label_smoothing = arguments.label_smoothing;
  settings.validate_every = arguments.validate_every;
  settings.freeze = arguments.freeze;
  settings.seed = arguments.seed + 1;
  settings.threads = threads;
  settings.precision = ef::value_of<ef::Precision>(arguments.precision);
  settings.checkpoint_every = arguments.checkpoint_every;
  return settings;
}

TrainingRun begin_run(const TrainArguments& arguments) {
  const double decay = arguments.weight_decay;
  if (arguments.optimizer == "muon")
    return {RunOptimizer(ef::MuonOptions{.weight_decay = std::max(decay, 0.0)}, arguments.ema), {}};
  ef::AdamOptions options{.weight_decay = std::max(decay, 0.0)};
  if (arguments.optimizer == "adamw") {
    options.decoupled = true;
    if (decay < 0) options.weight_decay = 0.01;  // as torch.optim.AdamW
  }
  return {RunOptimizer(options, arguments.ema), {}};
}

}  // namespace translate
