// The corpus of `train` and `replay`: vocabularies, validation pairs, and batches that stream from its files.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <mutex>
#include <numeric>

#include "eigenformer/core/fnv1a.hpp"
#include "eigenformer/io/translation_model.hpp"
#include "translate/corpus_files.hpp"
#include "translate/guided_alignment.hpp"
#include "translate/subwords.hpp"
#include "translate/train.hpp"

namespace translate {

namespace {

const std::string& or_else(const std::string& a, const std::string& b) {
  return a.empty() ? b : a;
}

/// Chooses 2 % of the pairs at random, but at most 500. Returns their numbers, in order.
std::vector<ef::Index> hold_out(ef::Index pairs, std::uint64_t seed) {
  std::vector<ef::Index> order(static_cast<std::size_t>(pairs));
  std::iota(order.begin(), order.end(), ef::Index{0});
  ef::Rng rng(seed);
  rng.shuffle(std::span(order));
  order.resize(std::min<std::size_t>(500, order.size() / 50));
  std::sort(order.begin(), order.end());
  order.shrink_to_fit();
  return order;
}

bool contains(const std::vector<ef::Index>& sorted, ef::Index number) {
  return std::binary_search(sorted.begin(), sorted.end(), number);
}

/// Counts the tokens of both languages.
struct SideCounts {
  ef::TokenCounts source, target;

  void add(const Model& sides, std::string_view source_sentence, std::string_view target_sentence) {
    if (sides.source.subwords == nullptr) source.add(sides.source.tokenize(source_sentence));
    if (sides.target.subwords == nullptr) target.add(sides.target.tokenize(target_sentence));
  }
  void add(const SideCounts& part) {
    source.add(part.source);
    target.add(part.target);
  }
  void remove(const SideCounts& part) {
    source.remove(part.source);
    target.remove(part.target);
  }
};

/// Learns or reads the subword models that the arguments ask for, and makes their vocabularies. Learns from the pairs
/// that are not held out, or from one buffer of them.
void make_subwords(const CorpusFiles& files, const std::vector<ef::Index>& held_out, const TrainArguments& arguments,
                   Model& sides) {
  const ef::LineBlocks& blocks = files.blocks();
  const SubwordChoice source = source_subwords(arguments), target = target_subwords(arguments);
  std::vector<std::string> source_lines, target_lines;
  if (source.size > 0 || target.size > 0) {
    std::vector<ef::Index> order(static_cast<std::size_t>(blocks.size()));
    std::iota(order.begin(), order.end(), ef::Index{0});
    if (blocks.size() > files.buffer_blocks()) {
      ef::Rng rng(arguments.seed + 3);
      rng.shuffle(std::span(order));
      order.resize(static_cast<std::size_t>(files.buffer_blocks()));
    }
    for (const ef::Index number : order) {
      const ef::LineBlock block = blocks.read(number);
      for (ef::Index i = 0; i < block.size(); ++i) {
        if (contains(held_out, block.first() + i)) continue;
        const ef::SentencePair pair = files.pair(block, i);
        if (source.size > 0) source_lines.emplace_back(pair.source);
        if (target.size > 0) target_lines.emplace_back(pair.target);
      }
    }
  }
  if (arguments.joint_vocabulary) source_lines.insert(source_lines.end(), target_lines.begin(), target_lines.end());
  const auto make = [&](const SubwordChoice& choice, const std::vector<std::string>& lines, ef::TranslationSide& side) {
    if (!choice.is_given()) return;
    side.subwords = make_subwords(choice, arguments.subword_type, lines);
    side.vocabulary = ef::subword_vocabulary(*side.subwords);
    ef::check_saving(side.vocabulary, or_else(choice.file, "subwords"));
  };
  make(source, source_lines, sides.source);
  if (arguments.joint_vocabulary && source.is_given())
    sides.target = sides.source;
  else
    make(target, target_lines, sides.target);
}

/// Returns a model without a network, whose vocabularies are made from the corpus in one pass. `held_out` receives the
/// pairs that are held out for validation; they do not count.
Model make_sides(CorpusFiles& files, const TrainArguments& arguments, std::vector<ef::Index>& held_out) {
  Model sides;
  const bool of_source = !source_subwords(arguments).is_given(), of_target = !target_subwords(arguments).is_given();
  const auto tokenization = [&](const std::string& of_side, bool is_source) {
    const std::string& chosen = or_else(of_side, arguments.tokens);
    return chosen.empty() ? files.guess_tokenization(is_source) : ef::value_of<ef::Tokenization>(chosen);
  };
  if (of_source) sides.source.tokenization = tokenization(arguments.source_tokens, true);
  if (of_target) sides.target.tokenization = tokenization(arguments.target_tokens, false);

  SideCounts counts;
  std::mutex mutex;
  files.blocks().scan([&](const ef::LineBlock& block) {
    SideCounts of_block;
    for (ef::Index i = 0; i < block.size(); ++i) {
      const ef::SentencePair pair = files.pair(block, i);
      std::vector<std::string> source, target;
      if (of_source) of_block.source.add(source = sides.source.tokenize(pair.source));
      if (of_target) of_block.target.add(target = sides.target.tokenize(pair.target));
      files.check_links(block, i, static_cast<ef::Index>(source.size()), static_cast<ef::Index>(target.size()));
    }
    const std::lock_guard lock(mutex);
    counts.add(of_block);
  });
  if (!has_validation(arguments)) held_out = hold_out(files.blocks().lines(), arguments.seed);
  make_subwords(files, held_out, arguments, sides);
  SideCounts of_held_out;
  const ef::ParallelCorpus pairs = files.pairs_with_numbers(held_out);
  for (std::size_t i = 0; i < pairs.source.size(); ++i) of_held_out.add(sides, pairs.source[i], pairs.target[i]);
  counts.remove(of_held_out);
  if (arguments.joint_vocabulary) {
    counts.source.add(counts.target);
    counts.target = counts.source;
  }
  if (of_source) sides.source.vocabulary = ef::Vocabulary::of(counts.source, {.min_count = arguments.min_count});
  if (of_target) sides.target.vocabulary = ef::Vocabulary::of(counts.target, {.min_count = arguments.min_count});
  return sides;
}

/// Returns the tokens and vocabularies of --init, without its network, and checks the corpus in one pass. Nothing is
/// counted.
Model sides_of_initial(CorpusFiles& files, const TrainArguments& arguments) {
  Model initial = load_model(arguments.init);
  Model sides{{}, std::move(initial.source), std::move(initial.target)};
  ef::check_saving(sides.source.vocabulary, arguments.init);
  ef::check_saving(sides.target.vocabulary, arguments.init);
  if (files.has_links()) check_no_subwords(sides.source.subwords != nullptr || sides.target.subwords != nullptr);
  const auto tokens = [](const ef::TranslationSide& side, std::string_view sentence) {
    return static_cast<ef::Index>(side.tokenize(sentence).size());
  };
  files.blocks().scan([&](const ef::LineBlock& block) {
    for (ef::Index i = 0; i < block.size(); ++i) {
      const ef::SentencePair pair = files.pair(block, i);
      if (files.has_links())
        files.check_links(block, i, tokens(sides.source, pair.source), tokens(sides.target, pair.target));
    }
  });
  return sides;
}

/// Prints the tokens and the vocabulary size of one language.
void print(const ef::TranslationSide& side, const char* name) {
  const std::string tokens = side.subwords != nullptr ? std::string(ef::to_string(side.subwords->type())) + " subwords"
                                                      : std::string(ef::to_string(side.tokenization));
  std::printf("%s: %s, vocabulary size %lld\n", name, tokens.c_str(), static_cast<long long>(side.vocabulary.size()));
}

/// Counts of a block; all 0 until it is encoded.
struct BlockCounts {
  ef::Index pairs = 0;    // that are not held out
  ef::Index skipped = 0;  // of these pairs: too long
  ef::Index links = 0;    // of the pairs that are not skipped
};

/// Encodes the blocks of the training pairs. Subwords may be split at random; a split depends on the seed, the epoch
/// and the pair's line.
struct BlockEncoder {
  TrainArguments arguments;
  CorpusFiles files;
  std::vector<ef::Index> held_out;
  Model sides;                      // without a network
  bool samples;                     // whether subwords are split at random
  std::vector<BlockCounts> counts;  // of each block; encoding it again replaces them

  /// Returns the counts of all blocks that were encoded.
  BlockCounts total() const {
    BlockCounts sum;
    for (const BlockCounts& block : counts) {
      sum.pairs += block.pairs;
      sum.skipped += block.skipped;
      sum.links += block.links;
    }
    return sum;
  }

  /// Returns the number of pairs that are not held out.
  ef::Index pairs() const { return files.blocks().lines() - static_cast<ef::Index>(held_out.size()); }

  /// Takes over the counts of the blocks that other ranks have encoded.
  void share_counts(ef::Ranks& ranks) {
    const std::size_t blocks = counts.size();
    std::vector<BlockCounts> all(blocks * static_cast<std::size_t>(ranks.size()));
    std::copy(counts.begin(), counts.end(), all.begin() + ranks.rank() * static_cast<ef::Index>(blocks));
    ef::all_gather(ranks, std::span(all), [&](ef::Index rank) { return rank * static_cast<ef::Index>(blocks); });
    for (std::size_t i = 0; i < all.size(); ++i)
      if (all[i].pairs > 0) counts[i % blocks] = all[i];
  }

  EncodedPairs encode(ef::Index epoch, ef::Index number) {
    PairEncoder encoder(sides, arguments.max_length);
    if (samples) {
      ef::Rng keys(arguments.seed + 2);
      const ef::RandomKey key = keys.split();
      encoder.sample(subword_sampling(arguments), std::min(arguments.max_length, arguments.batch_tokens - 1),
                     {key.key, key.stream + static_cast<std::uint64_t>(epoch * files.blocks().lines())});
    }
    const ef::LineBlock block = files.blocks().read(number);
    BlockCounts of_block;
    for (ef::Index i = 0; i < block.size(); ++i) {
      if (contains(held_out, block.first() + i)) continue;
      ++of_block.pairs;
      const ef::SentencePair pair = files.pair(block, i);
      if (encoder.add(pair.source, pair.target, block.first() + i + 1) && files.has_links())
        encoder.link(files.links(block, i), files.where_links(block, i));
    }
    of_block.skipped = encoder.skipped();
    EncodedPairs pairs = std::move(encoder).finish();
    of_block.links = pairs.alignments.links();
    counts[static_cast<std::size_t>(number)] = of_block;
    const ef::Index longest = std::max(pairs.source.rows.max_length(), pairs.target.rows.max_length()) + 1;
    ef::check(longest <= arguments.batch_tokens, "--batch-tokens: is ", arguments.batch_tokens, ", expected at least ",
              longest, ", the longest sentence with its end token; see ", block.where(0, 0), " and later lines");
    return pairs;
  }
};

/// Throws if --min-count leaves no token of a language in its vocabulary. name: of the language.
void check_vocabulary(const ef::TranslationSide& side, const char* name, ef::Index min_count) {
  ef::check(side.vocabulary.size() > ef::Vocabulary().size(), "--min-count: is ", min_count, ", but no token of the ",
            name, " occurs so often in the training pairs; expected a smaller number");
}

/// Moves to the first buffer with a pair that is not too long. If there is none, moves to the last buffer.
void find_pairs(ef::StreamedBatches& batches) {
  for (ef::Index buffer = 1; batches.buffered_pairs() == 0 && buffer < batches.buffers(); ++buffer)
    batches.seek({.epoch = 0, .batch = 0, .buffer = buffer});
}

/// Prints how many pairs were skipped because a sentence is too long, and the number of links. A stream may not have
/// read all pairs yet.
void print_counts(const BlockEncoder& encoder, ef::Index skipped_of_validation) {
  const BlockCounts total = encoder.total();
  const std::string of_read =
      total.pairs == encoder.pairs() ? "" : " (of the " + std::to_string(total.pairs) + " read so far)";
  if (total.skipped + skipped_of_validation > 0)
    std::printf("skipped pairs with more than %lld tokens (--max-length): %lld of training%s, %lld of validation\n",
                static_cast<long long>(encoder.arguments.max_length), static_cast<long long>(total.skipped),
                of_read.c_str(), static_cast<long long>(skipped_of_validation));
  if (encoder.files.has_links())
    std::printf("alignments: %lld links in the training pairs%s\n", static_cast<long long>(total.links),
                of_read.c_str());
}

}  // namespace

bool has_validation(const TrainArguments& arguments) {
  return !arguments.valid_pairs.empty() || !arguments.valid_source.empty();
}

TrainingData read_training_data(const TrainArguments& arguments, ef::Threads* threads, ef::Ranks* ranks) {
  const std::string& name = or_else(arguments.pairs, arguments.source);
  CorpusFiles files(arguments, threads);
  std::vector<ef::Index> held_out;
  Model sides;
  if (arguments.init.empty()) {
    sides = make_sides(files, arguments, held_out);
  } else {
    sides = sides_of_initial(files, arguments);
    if (!has_validation(arguments)) held_out = hold_out(files.blocks().lines(), arguments.seed);
  }
  print(sides.source, "source");
  print(sides.target, "target");
  if (!arguments.init.empty()) std::printf("tokens and vocabularies are those of %s\n", arguments.init.c_str());

  const ef::ParallelCorpus given = !has_validation(arguments) ? files.pairs_with_numbers(held_out)
                                   : arguments.valid_pairs.empty()
                                       ? ef::read_parallel(arguments.valid_source, arguments.valid_target)
                                       : ef::read_tsv(arguments.valid_pairs);
  ef::ParallelCorpus validation;
  PairEncoder validating(sides, arguments.max_length);
  for (std::size_t i = 0; i < given.source.size(); ++i) {
    if (!validating.add(given.source[i], given.target[i], static_cast<ef::Index>(i) + 1)) continue;
    validation.source.push_back(given.source[i]);
    validation.target.push_back(given.target[i]);
  }

  const auto block_count = static_cast<std::size_t>(files.blocks().size());
  const bool samples = samples_subwords(arguments, sides);
  const auto encoder = std::shared_ptr<BlockEncoder>(new BlockEncoder{.arguments = arguments,
                                                                      .files = std::move(files),
                                                                      .held_out = std::move(held_out),
                                                                      .sides = sides,
                                                                      .samples = samples,
                                                                      .counts = std::vector<BlockCounts>(block_count)});
  const ef::LineBlocks& blocks = encoder->files.blocks();
  const ef::Index in_buffer = encoder->files.buffer_blocks();
  const bool is_streamed = blocks.size() > in_buffer;
  ef::check(!(is_streamed || samples) || arguments.max_length < arguments.batch_tokens, "--batch-tokens: is ",
            arguments.batch_tokens, ", expected more than --max-length, ", arguments.max_length, ", because ",
            is_streamed ? "the corpus is larger than --shuffle-buffer" : "subwords are split at random");
  ef::StreamedBatches batches(blocks.size(),
                              [encoder](ef::Index epoch, ef::Index block) { return encoder->encode(epoch, block); },
                              {.max_tokens = arguments.batch_tokens,
                               .buffer_blocks = in_buffer,
                               .seed = settings_of(arguments, threads).seed,
                               .blocks_vary = samples,
                               .threads = threads,
                               .ranks = ranks});
  find_pairs(batches);
  if (ranks != nullptr) encoder->share_counts(*ranks);
  print_counts(*encoder, validating.skipped());
  const auto report_others = [encoder, ranks, skipped = validating.skipped(), reported = encoder->total().pairs] {
    if (ranks != nullptr) encoder->share_counts(*ranks);
    if (encoder->total().pairs > reported) print_counts(*encoder, skipped);
  };
  ef::check(encoder->total().skipped == 0 || batches.buffered_pairs() > 0, name, ": no training pair has at most ",
            arguments.max_length, " tokens (--max-length)");
  const std::string& validation_name =
      has_validation(arguments) ? or_else(arguments.valid_pairs, arguments.valid_source) : name;
  ef::check(validation.size() > 0 || validating.skipped() == 0, validation_name, ": no validation pair has at most ",
            arguments.max_length, " tokens (--max-length)");
  ef::check(validation.size() > 0, name, ": has ", blocks.lines(),
            " pairs, expected 50 or more, of which 2 % are held out for validation; or use --valid-pairs");
  if (arguments.init.empty()) {  // last, because other errors may be the cause
    check_vocabulary(sides.source, "source", arguments.min_count);
    check_vocabulary(sides.target, "target", arguments.min_count);
  }
  return {.source = std::move(sides.source),
          .target = std::move(sides.target),
          .pairs = is_streamed ? encoder->pairs() : batches.buffered_pairs(),
          .text_hash = blocks.hash(),
          .batches = std::move(batches),
          .validation = std::move(validation),
          .encoded_validation = std::move(validating).finish(),
          .validation_name = validation_name,
          .report_skipped = report_others};
}

std::uint64_t TrainingData::hash() const {
  ef::Fnv1a hash;
  for (const ef::TranslationSide* side : {&source, &target})
    for (const std::string& token : side->vocabulary.tokens())
      hash.add_numbers(std::span<const char>(token.c_str(), token.size() + 1));
  hash.add_numbers(std::span<const ef::Index>(&pairs, 1));
  hash.add_numbers(std::span<const std::uint64_t>(&text_hash, 1));
  return hash.value();
}

}  // namespace translate
