// translate train: trains a model on a parallel corpus.
#include <cstdio>
#include <numeric>

#include "eigenformer/core/standard_streams.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/text/bleu.hpp"
#include "translate/training.hpp"
#include "translate/translator.hpp"

namespace translate {

namespace {

ef::ParallelCorpus read(const std::string& pairs, const std::string& source, const std::string& target) {
  return pairs.empty() ? ef::read_parallel(source, target) : ef::read_tsv(pairs);
}

/// Indices of sentence pairs.
struct Split {
  std::vector<ef::Index> held_out;
  std::vector<ef::Index> kept;
};

/// Holds out 2 % of the pairs, at most 500, at random.
Split hold_out(ef::Index pairs, std::uint64_t seed) {
  std::vector<ef::Index> order(static_cast<std::size_t>(pairs));
  std::iota(order.begin(), order.end(), ef::Index{0});
  ef::Rng rng(seed);
  rng.shuffle(std::span(order));
  const auto middle = order.begin() + std::min<ef::Index>(500, pairs / 50);
  return {{order.begin(), middle}, {middle, order.end()}};
}

ef::ParallelCorpus copy_of(const ef::ParallelCorpus& corpus, std::span<const ef::Index> pairs) {
  ef::ParallelCorpus copy;
  for (const ef::Index i : pairs) {
    copy.source.push_back(corpus.source[static_cast<std::size_t>(i)]);
    copy.target.push_back(corpus.target[static_cast<std::size_t>(i)]);
  }
  return copy;
}

ef::TranslationSide make_side(const std::vector<std::string>& lines, const std::string& chosen, ef::Index min_count,
                              const char* name) {
  ef::TranslationSide side;
  side.tokenization = chosen.empty() ? ef::guess_tokenization(lines) : ef::value_of<ef::Tokenization>(chosen);
  ef::TokenCounts counts;
  for (const std::string& line : lines) counts.add(ef::tokenize(line, side.tokenization));
  side.vocabulary = ef::Vocabulary::of(counts, {.min_count = min_count});
  std::printf("%s: %s, vocabulary size %lld\n", name, std::string(ef::to_string(side.tokenization)).c_str(),
              static_cast<long long>(side.vocabulary.size()));
  return side;
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
  options.positions = ef::value_of<ef::PositionEncoding>(arguments.positions);
  options.share_embeddings = false;
  options.layer.norm_first = true;
  options.max_length = 2 * arguments.max_length;
  if (arguments.dropout >= 0) options.layer.dropout = arguments.dropout;
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
  options.max_length = 2 * arguments.max_length;
  if (arguments.dropout >= 0) options.dropout = arguments.dropout;
  return ef::RecurrentSeq2Seq<float>(options, rng);
}

Model make_model(const TrainArguments& arguments, ef::TranslationSide source, ef::TranslationSide target) {
  ef::Rng rng(arguments.seed);
  const auto make = arguments.model == "recurrent" ? make_recurrent : make_transformer;
  ef::Seq2Seq<float> network = make(arguments, source.vocabulary.size(), target.vocabulary.size(), rng);
  return {std::move(network), std::move(source), std::move(target)};
}

/// The quality of a model on the validation sentences.
struct Quality {
  double bleu = -1;
  double perplexity = 0;

  /// Compares BLEU, then perplexity: early in training BLEU may stay 0 for long.
  bool is_better_than(const Quality& other) const {
    return bleu != other.bleu ? bleu > other.bleu : perplexity < other.perplexity;
  }
};

const std::string& or_else(const std::string& a, const std::string& b) {
  return a.empty() ? b : a;
}

}  // namespace

void train(const TrainArguments& arguments) {
  check_saving(arguments.out);
  const std::string name = or_else(arguments.pairs, arguments.source);
  ef::ParallelCorpus corpus = read(arguments.pairs, arguments.source, arguments.target);
  const bool has_validation = !arguments.valid_pairs.empty() || !arguments.valid_source.empty();
  const auto tokens = [&](const std::string& side) { return or_else(side, arguments.tokens); };

  Model blank{{},
              make_side(corpus.source, tokens(arguments.source_tokens), arguments.min_count, "source"),
              make_side(corpus.target, tokens(arguments.target_tokens), arguments.min_count, "target")};
  const std::string validation_name = has_validation ? or_else(arguments.valid_pairs, arguments.valid_source) : name;
  ef::ParallelCorpus validation;
  EncodedPairs encoded, validation_encoded;
  if (has_validation) {
    encoded = encode(blank, std::move(corpus), arguments.max_length, name);
    validation = read(arguments.valid_pairs, arguments.valid_source, arguments.valid_target);
    validation_encoded = encode(blank, validation, arguments.max_length, validation_name);
  } else {
    const Split split = hold_out(corpus.size(), arguments.seed);
    validation = copy_of(corpus, split.held_out);
    const EncodedPairs all = encode(blank, std::move(corpus), arguments.max_length, name);
    ef::check(!split.held_out.empty(), name, ": too few pairs to hold some out for validation; use --valid-pairs");
    validation_encoded = all.choose(split.held_out);
    encoded = all.choose(split.kept);
  }
  const ef::Index longest = std::max(encoded.source.rows.max_length(), encoded.target.rows.max_length()) + 1;
  ef::check(longest <= arguments.batch_tokens, "--batch-tokens: is ", arguments.batch_tokens, ", expected at least ",
            longest, ", the longest sentence with its end token");

  Model model = make_model(arguments, std::move(blank.source), std::move(blank.target));
  ef::ThreadPool pool(arguments.threads);
  std::printf("%lld training pairs, %lld validation pairs; %lld parameters; %d threads\n",
              static_cast<long long>(encoded.size()), static_cast<long long>(validation.size()),
              static_cast<long long>(ef::parameter_count(model.network)), pool.size());
  ef::flush_standard_output();

  const bool by_character = model.target.tokenization == ef::Tokenization::characters;
  const ef::BleuTokenizer bleu_tokenizer = by_character ? ef::BleuTokenizer::character : ef::BleuTokenizer::v13a;

  Quality best;
  TrainingSettings settings;
  settings.budget = {arguments.minutes, arguments.epochs, arguments.updates};
  settings.batch_tokens = arguments.batch_tokens;
  settings.rate = arguments.rate > 0 ? arguments.rate : arguments.preset == "base" ? 7e-4 : 3e-3;
  settings.warmup = arguments.preset == "base" ? 4000 : 1000;
  settings.seed = arguments.seed + 1;
  settings.threads = &pool;
  settings.validate = [&](const Model& trained) {
    const std::vector<std::string> translations =
        Translator(trained, &pool).translate(validation.source, validation_name);
    const ef::Bleu bleu = ef::bleu(translations, validation.target, bleu_tokenizer);
    const Quality quality{bleu.score, perplexity(trained, validation_encoded, &pool)};
    const bool is_best = quality.is_better_than(best);
    if (is_best) {
      best = quality;
      save_model(arguments.out, trained);
    }
    std::printf("validation: perplexity %.2f  BLEU %.2f (%s)%s\n", quality.perplexity, quality.bleu,
                std::string(ef::to_string(bleu_tokenizer)).c_str(), is_best ? "  best so far, saved" : "");
    ef::flush_standard_output();
  };
  train_model(model, encoded, settings);
  if (interrupted != 0) std::printf("stopped by Ctrl-C; ");
  std::printf("the best model, BLEU %.2f, is in %s\n", best.bleu, arguments.out.c_str());
}

}  // namespace translate
