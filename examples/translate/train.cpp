// translate train: the corpus, the model and the settings of a run. train_run.cpp trains.
#include <cstdio>
#include <filesystem>
#include <numeric>

#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/train/parameter_hash.hpp"
#include "translate/guided_alignment.hpp"
#include "translate/subwords.hpp"
#include "translate/train.hpp"

namespace translate {

namespace {

ef::ParallelCorpus read(const std::string& pairs, const std::string& source, const std::string& target) {
  return pairs.empty() ? ef::read_parallel(source, target) : ef::read_tsv(pairs);
}

/// Sentence pairs that can be visited several times. Files are read anew each time, so their text is never in memory as
/// a whole. A pipe can be read only once, so its pairs are kept.
class Pairs {
 public:
  Pairs(std::string pairs, std::string source, std::string target)
      : pairs_(std::move(pairs)), source_(std::move(source)), target_(std::move(target)) {
    const auto is_file = [](const std::string& path) {  // some systems do not read /dev/stdin from the beginning again
      return std::filesystem::is_regular_file(path) && !path.starts_with("/dev/");
    };
    are_files_ = pairs_.empty() ? is_file(source_) && is_file(target_) : is_file(pairs_);
    if (!are_files_) kept_ = read(pairs_, source_, target_);
  }

  /// Calls visit(source, target) for each pair. Throws like ef::for_each_pair.
  void for_each(ef::FunctionRef<void(const std::string&, const std::string&)> visit) const {
    if (!are_files_)
      for (std::size_t i = 0; i < kept_.source.size(); ++i) visit(kept_.source[i], kept_.target[i]);
    else if (pairs_.empty())
      ef::for_each_pair(source_, target_, visit);
    else
      ef::for_each_pair(pairs_, visit);
  }

  /// Returns the number of pairs. Throws like for_each.
  ef::Index count() const {
    ef::Index pairs = 0;
    for_each([&](const std::string&, const std::string&) { ++pairs; });
    return pairs;
  }

 private:
  std::string pairs_, source_, target_;
  bool are_files_ = false;
  ef::ParallelCorpus kept_;
};

/// Returns, for each pair, whether it is held out. Chooses 2 % of the pairs at random, but at most 500.
std::vector<bool> hold_out(ef::Index pairs, std::uint64_t seed) {
  std::vector<ef::Index> order(static_cast<std::size_t>(pairs));
  std::iota(order.begin(), order.end(), ef::Index{0});
  ef::Rng rng(seed);
  rng.shuffle(std::span(order));
  std::vector<bool> held_out(order.size());
  for (std::size_t i = 0; i < std::min<std::size_t>(500, order.size() / 50); ++i)
    held_out[static_cast<std::size_t>(order[i])] = true;
  return held_out;
}

/// What is known about one side of a corpus before its sentences are encoded.
struct Side {
  ef::TranslationSide side;
  ef::Index tokens = 0;  // of all sentences; 0: not known
};
struct Sides {
  Side source, target;
};

/// Calls visit(source, target) for each pair that is not held out. held_out: whether each pair is held out.
void for_each_training_pair(const Pairs& pairs, const std::vector<bool>& held_out,
                            ef::FunctionRef<void(const std::string&, const std::string&)> visit) {
  std::size_t i = 0;
  pairs.for_each([&](const std::string& source, const std::string& target) {
    const std::size_t pair = i++;
    if (pair >= held_out.size() || !held_out[pair]) visit(source, target);
  });
}

/// Learns or reads the subword models that the arguments ask for, and makes their vocabularies.
void make_subwords(const Pairs& pairs, const std::vector<bool>& held_out, const TrainArguments& arguments,
                   Sides& sides) {
  const SubwordChoice source = source_subwords(arguments), target = target_subwords(arguments);
  std::vector<std::string> source_lines, target_lines;
  if (source.size > 0 || target.size > 0)
    for_each_training_pair(pairs, held_out, [&](const std::string& of_source, const std::string& of_target) {
      if (source.size > 0) source_lines.push_back(of_source);
      if (target.size > 0) target_lines.push_back(of_target);
    });
  if (arguments.joint_vocabulary) source_lines.insert(source_lines.end(), target_lines.begin(), target_lines.end());
  const auto make = [&](const SubwordChoice& choice, const std::vector<std::string>& lines, ef::TranslationSide& side) {
    if (!choice.is_given()) return;
    side.subwords = make_subwords(choice, arguments.subword_type, lines);
    side.vocabulary = ef::subword_vocabulary(*side.subwords);
  };
  make(source, source_lines, sides.source.side);
  if (arguments.joint_vocabulary)
    sides.target.side = sides.source.side;
  else
    make(target, target_lines, sides.target.side);
}

/// Makes the vocabularies of both sides from the pairs that are not held out, in up to three passes over the pairs.
Sides make_sides(const Pairs& pairs, const std::vector<bool>& held_out, const TrainArguments& arguments) {
  const auto chosen = [&](const std::string& of_side) { return of_side.empty() ? arguments.tokens : of_side; };
  const std::string of_source = chosen(arguments.source_tokens), of_target = chosen(arguments.target_tokens);
  Sides sides;
  make_subwords(pairs, held_out, arguments, sides);
  const bool source_is_split = sides.source.side.subwords != nullptr;
  const bool target_is_split = sides.target.side.subwords != nullptr;
  ef::TokenizationGuess source_guess, target_guess;
  if ((of_source.empty() && !source_is_split) || (of_target.empty() && !target_is_split))
    for_each_training_pair(pairs, held_out, [&](const std::string& source, const std::string& target) {
      source_guess.add(source);
      target_guess.add(target);
    });
  const auto tokenization = [](const std::string& name, const ef::TokenizationGuess& guess) {
    return name.empty() ? guess.tokenization() : ef::value_of<ef::Tokenization>(name);
  };
  sides.source.side.tokenization = tokenization(of_source, source_guess);
  sides.target.side.tokenization = tokenization(of_target, target_guess);
  ef::TokenCounts source_counts, target_counts, joint_counts;
  for_each_training_pair(pairs, held_out, [&](const std::string& source, const std::string& target) {
    const auto add = [&](const Side& side, const std::string& sentence, ef::TokenCounts& counts) {
      if (side.side.subwords != nullptr) return;
      const std::vector<std::string> tokens = side.side.tokenize(sentence);
      counts.add(tokens);
      if (arguments.joint_vocabulary) joint_counts.add(tokens);
    };
    add(sides.source, source, source_counts);
    add(sides.target, target, target_counts);
  });
  const auto finish = [&](Side& side, const ef::TokenCounts& counts) {
    const bool is_split = side.side.subwords != nullptr;
    if (!is_split)
      side.side.vocabulary =
          ef::Vocabulary::of(arguments.joint_vocabulary ? joint_counts : counts, {.min_count = arguments.min_count});
    side.tokens = counts.total();
  };
  finish(sides.source, source_counts);
  finish(sides.target, target_counts);
  return sides;
}

/// Returns the tokens and vocabularies of a model.
Sides sides_of(Model&& model) {
  Sides sides;
  sides.source.side = std::move(model.source);
  sides.target.side = std::move(model.target);
  return sides;
}

/// Prints the tokens and the vocabulary size of one language.
void print(const ef::TranslationSide& side, const char* name) {
  const std::string tokens = side.subwords != nullptr ? std::string(ef::to_string(side.subwords->type())) + " subwords"
                                                      : std::string(ef::to_string(side.tokenization));
  std::printf("%s: %s, vocabulary size %lld\n", name, tokens.c_str(), static_cast<long long>(side.vocabulary.size()));
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
  ef::check(options.layer.width % options.layer.heads == 0, "--heads: is ", options.layer.heads,
            ", expected a divisor of the width, ", options.layer.width);
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
  ef::check(options.encoder != ef::SourceEncoder::self_attention || options.hidden % options.heads == 0, "--heads: is ",
            options.heads, ", expected a divisor of the width, ", options.hidden);
  options.share_embeddings = arguments.joint_vocabulary;
  options.max_length = 2 * arguments.max_length;
  if (arguments.dropout >= 0) options.dropout = arguments.dropout;
  return ef::RecurrentSeq2Seq<float>(options, rng);
}

/// Returns a function that encodes the training pairs with subwords split at random; empty if the arguments ask for no
/// random splits. A split depends on the seed, the epoch and the pair's line.
EncodeEpoch random_splits(const TrainArguments& arguments, const Model& blank, const Pairs& pairs,
                          const std::vector<bool>& held_out, const std::string& name) {
  if (!samples_subwords(arguments, blank)) return {};
  ef::Rng keys(arguments.seed + 2);
  return [arguments, pairs, held_out, name, key = keys.split(),
          sides = Model{{}, blank.source, blank.target}](ef::Index epoch) {
    PairEncoder encoder(sides, arguments.max_length);
    encoder.sample(subword_sampling(arguments), std::min(arguments.max_length, arguments.batch_tokens - 1),
                   {key.key, key.stream + static_cast<std::uint64_t>(epoch) * held_out.size()});
    ef::Index line = 0;
    pairs.for_each([&](const std::string& source, const std::string& target) {
      ef::check(line < static_cast<ef::Index>(held_out.size()), name, ": has grown while it was read");
      if (!held_out[static_cast<std::size_t>(line++)]) encoder.add(source, target, line);
    });
    return std::move(encoder).finish();
  };
}

const std::string& or_else(const std::string& a, const std::string& b) {
  return a.empty() ? b : a;
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

TrainingData read_training_data(const TrainArguments& arguments) {
  const std::string name = or_else(arguments.pairs, arguments.source);
  const Pairs pairs(arguments.pairs, arguments.source, arguments.target);
  const bool has_validation = !arguments.valid_pairs.empty() || !arguments.valid_source.empty();
  const ef::Index pair_count = pairs.count();
  const std::vector<bool> held_out =
      has_validation ? std::vector<bool>(static_cast<std::size_t>(pair_count)) : hold_out(pair_count, arguments.seed);
  Sides sides = arguments.init.empty() ? make_sides(pairs, held_out, arguments) : sides_of(load_model(arguments.init));
  print(sides.source.side, "source");
  print(sides.target.side, "target");
  if (!arguments.init.empty()) std::printf("tokens and vocabularies are those of %s\n", arguments.init.c_str());
  Model blank{{}, std::move(sides.source.side), std::move(sides.target.side)};

  const std::string validation_name = has_validation ? or_else(arguments.valid_pairs, arguments.valid_source) : name;
  ef::ParallelCorpus validation;
  PairEncoder training(blank, arguments.max_length), validating(blank, arguments.max_length);
  const auto validate_with = [&](const std::string& source, const std::string& target, ef::Index line) {
    if (!validating.add(source, target, line)) return;
    validation.source.push_back(source);
    validation.target.push_back(target);
  };
  if (has_validation) {
    const ef::ParallelCorpus given = read(arguments.valid_pairs, arguments.valid_source, arguments.valid_target);
    for (std::size_t i = 0; i < given.source.size(); ++i)
      validate_with(given.source[i], given.target[i], static_cast<ef::Index>(i) + 1);
  }
  training.reserve(sides.source.tokens, sides.target.tokens);
  LinkReader links(arguments.guided_alignment.links, blank, pair_count);
  ef::Index line = 0;
  pairs.for_each([&](const std::string& source, const std::string& target) {
    ef::check(line < pair_count, name, ": has grown while it was read");
    links.next();
    if (held_out[static_cast<std::size_t>(line++)])
      validate_with(source, target, line);
    else if (training.add(source, target, line) && links.is_open())
      training.link(links.links(), links.where());
  });
  links.check_end();
  if (training.skipped() + validating.skipped() > 0)
    std::printf("skipped pairs with more than %lld tokens (--max-length): %lld of training, %lld of validation\n",
                static_cast<long long>(arguments.max_length), static_cast<long long>(training.skipped()),
                static_cast<long long>(validating.skipped()));
  ef::check(training.skipped() == 0 || training.size() > 0, name, ": no training pair has at most ",
            arguments.max_length, " tokens (--max-length)");
  ef::check(validation.size() > 0, name, ": has ", pair_count,
            " pairs, expected 50 or more, of which 2 % are held out for validation; or use --valid-pairs");
  EncodeEpoch encode_epoch = random_splits(arguments, blank, pairs, held_out, name);
  TrainingData data{.source = std::move(blank.source),
                    .target = std::move(blank.target),
                    .pairs = std::move(training).finish(),
                    .validation = std::move(validation),
                    .encoded_validation = std::move(validating).finish(),
                    .validation_name = validation_name,
                    .encode_epoch = std::move(encode_epoch)};
  if (links.is_open())
    std::printf("alignments: %lld links in the training pairs\n",
                static_cast<long long>(count_links(data.pairs.alignments)));
  const ef::Index longest = std::max(data.pairs.source.rows.max_length(), data.pairs.target.rows.max_length()) + 1;
  ef::check(longest <= arguments.batch_tokens, "--batch-tokens: is ", arguments.batch_tokens, ", expected at least ",
            longest, ", the longest sentence with its end token");
  return data;
}

std::uint64_t TrainingData::hash() const {
  ef::Fnv1a hash;
  for (const ef::TranslationSide* side : {&source, &target})
    for (const std::string& token : side->vocabulary.tokens())
      hash.add_numbers(std::span<const char>(token.c_str(), token.size() + 1));
  for (const ef::Tokens* tokens : {&pairs.source, &pairs.target}) {
    hash.add_numbers(std::span<const ef::Token>(tokens->ids));
    for (ef::Index i = 0; i < tokens->sequences(); ++i) {
      const ef::Index length = tokens->rows.length(i);
      hash.add_numbers(std::span<const ef::Index>(&length, 1));
    }
  }
  add_links(hash, pairs.alignments);
  return hash.value();
}

TrainingSettings settings_of(const TrainArguments& arguments, ef::Threads* threads) {
  TrainingSettings settings;
  settings.budget = {arguments.minutes, arguments.epochs, arguments.updates};
  settings.batch_tokens = arguments.batch_tokens;
  settings.rate = arguments.rate > 0 ? arguments.rate : arguments.preset == "base" ? 7e-4 : 3e-3;
  settings.warmup = arguments.warmup > 0 ? arguments.warmup : arguments.preset == "base" ? 4000 : 1000;
  settings.schedule = arguments.schedule;
  settings.guided_alignment_weight = arguments.guided_alignment.weight;
  settings.accumulate = arguments.accumulate;
  settings.label_smoothing = arguments.label_smoothing;
  settings.validate_every = arguments.validate_every;
  settings.freeze = arguments.freeze;
  settings.seed = arguments.seed + 1;
  settings.threads = threads;
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
