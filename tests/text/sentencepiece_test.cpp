#include "eigenformer/text/sentencepiece.hpp"

#include <cmath>
#include <map>

#include "eigenformer/text/corpus.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/message_of.hpp"
#include "text/normalized_lines.hpp"

namespace ef = eigenformer;
using ef::SubwordType;
using ef::testing::message_of;
using ef::testing::NormalizedLine;
using Strings = std::vector<std::string>;
using Subwords = std::shared_ptr<const ef::SubwordModel>;

namespace {

Strings raw_lines(const std::vector<NormalizedLine>& lines) {
  Strings raw;
  for (const NormalizedLine& line : lines) raw.push_back(line.raw);
  return raw;
}

/// Lines of few words with few letters, which have many common pieces.
Strings simple_lines(std::uint64_t seed) {
  ef::Rng rng(seed);
  Strings lines;
  for (int i = 0; i < 300; ++i) {
    std::string line;
    for (ef::Index word = 3 + rng.randint(6); word > 0; --word) {
      for (ef::Index syllable = 1 + rng.randint(3); syllable > 0; --syllable) {
        line += "bdkmn"[rng.randint(5)];
        line += "aei"[rng.randint(3)];
      }
      line += ' ';
    }
    lines.push_back(line);
  }
  return lines;
}

/// A model that SentencePiece trains with arguments that SentencePieceOptions lacks.
Subwords train_with(const Strings& lines, std::unordered_map<std::string, std::string> arguments) {
  arguments.insert({{"minloglevel", "3"}, {"hard_vocab_limit", "false"}});
  ef::detail::LineIterator iterator(lines);
  std::string bytes;
  const auto status = sentencepiece::SentencePieceTrainer::Train(arguments, &iterator, &bytes);
  INFO(status.ToString());
  REQUIRE(status.ok());
  return ef::read_sentencepiece(bytes, "trained");
}

std::unique_ptr<const sentencepiece::SentencePieceProcessor> processor_of(const ef::SubwordModel& model) {
  auto processor = std::make_unique<sentencepiece::SentencePieceProcessor>();
  REQUIRE(processor->LoadFromSerializedProto(model.bytes()).ok());
  return processor;
}

/// Models of both types, with bytes for unknown characters and without, and with pieces of our own.
std::vector<Subwords> kinds_of_models(const Strings& lines, ef::Index size) {
  std::vector<Subwords> models;
  for (const SubwordType type : ef::values_of<SubwordType>()) {
    for (const bool byte_fallback : {false, true})
      models.push_back(
          ef::train_sentencepiece(lines, {.vocabulary_size = size, .type = type, .byte_fallback = byte_fallback}));
    models.push_back(train_with(lines, {{"model_type", std::string(ef::to_string(type))},
                                        {"vocab_size", std::to_string(size)},
                                        {"user_defined_symbols", "ka,kam,<sep>"}}));
  }
  return models;
}

using Counts = std::map<Strings, double>;

constexpr int draws = 5000;

/// Checks that counts of draws fit expected counts, by Pearson's chi-square test. Rare events are counted together. The
/// bound is 4.5 standard deviations above the mean. If the expected counts are draws too, their variance is as large.
void check_chi_square(const Counts& drawn, const Counts& expected, bool expected_are_draws = false) {
  double square = 0, rare_drawn = 0, rare_expected = 0;
  int cells = 0;
  const auto add = [&](double observed, double mean) {
    square += (observed - mean) * (observed - mean) / mean / (expected_are_draws ? 2 : 1);
    ++cells;
  };
  for (const auto& [pieces, mean] : expected) {
    const auto found = drawn.find(pieces);
    const double observed = found == drawn.end() ? 0 : found->second;
    if (mean < 10) {
      rare_drawn += observed;
      rare_expected += mean;
    } else {
      add(observed, mean);
    }
  }
  for (const auto& [pieces, count] : drawn)
    if (expected.find(pieces) == expected.end()) rare_drawn += count;
  if (rare_expected >= 5)
    add(rare_drawn, rare_expected);
  else
    CHECK(rare_drawn <= rare_expected + 20);
  const double freedom = cells - 1;
  CAPTURE(cells, square, rare_drawn, rare_expected);
  REQUIRE(cells >= 1);
  CHECK(square <= freedom + 4.5 * std::sqrt(2 * freedom) + 1);
}

Counts counts_of_draws(const ef::SubwordModel& model, const std::string& line, const ef::SubwordSampling& sampling,
                       std::uint64_t seed) {
  ef::Rng rng(seed);
  Counts counts;
  for (int i = 0; i < draws; ++i) ++counts[model.sample(line, sampling, rng)];
  return counts;
}

}  // namespace

TEST_CASE("decoding the pieces of any text gives it back normalised", "[text]") {
  const std::uint64_t seed = 20261129;
  CAPTURE(seed);
  const std::vector<NormalizedLine> lines = ef::testing::normalized_lines(1000, seed);
  Strings learnt = simple_lines(seed);
  for (const NormalizedLine& line : ef::testing::normalized_lines(300, seed + 1)) learnt.push_back(line.raw);
  ef::Rng rng(seed);
  int model_number = 0;
  for (const Subwords& model : kinds_of_models(learnt, 2500)) {
    CAPTURE(model_number++);
    for (const NormalizedLine& line : lines) {
      const Strings pieces = model->encode(line.raw);
      const Strings drawn = model->sample(line.raw, {.alpha = 0.2, .bpe_dropout = 0.2}, rng);
      if (model->decode(pieces) == line.normalized && model->decode(drawn) == line.normalized &&
          model->encode(line.normalized) == pieces)
        continue;
      CAPTURE(line.raw, pieces, drawn);
      CHECK(model->decode(pieces) == line.normalized);
      CHECK(model->decode(drawn) == line.normalized);
      CHECK(model->encode(line.normalized) == pieces);
    }
    CHECK(model->encode(" \t\xE3\x80\x80").empty());
    CHECK(model->decode(Strings{}).empty());
  }
}

TEST_CASE("without normalisation, only spaces change", "[text]") {
  const std::uint64_t seed = 20261130;
  CAPTURE(seed);
  const std::vector<NormalizedLine> lines = ef::testing::normalized_lines(300, seed);
  const Subwords model =
      ef::train_sentencepiece(raw_lines(lines), {.vocabulary_size = 3000, .normalization = "identity"});
  for (const NormalizedLine& line : lines) {
    if (line.raw.find("\xE2\x96\x81") != std::string::npos) continue;  // SentencePiece's own mark of a space
    std::string expected;
    for (const char c : line.raw)
      if (c != ' ' || (!expected.empty() && expected.back() != ' ')) expected += c;
    if (!expected.empty() && expected.back() == ' ') expected.pop_back();
    if (model->decode(model->encode(line.raw)) == expected) continue;
    CAPTURE(line.raw);
    CHECK(model->decode(model->encode(line.raw)) == expected);
  }
}

TEST_CASE("the sentences of two corpora come back", "[text]") {
  const std::filesystem::path folder = std::filesystem::path(TESTS_FOLDER) / "../../shared/corpora";
  if (!std::filesystem::exists(folder)) {
    WARN("skipped: there is no folder shared/corpora beside the project");
    return;
  }
  std::vector<Strings> corpora(3);
  for (const char* file : {"multi30k/train.bpe.en", "multi30k/train.bpe.de"})
    for (std::string& line : ef::read_lines(folder / file)) corpora[0].push_back(std::move(line));
  ef::for_each_pair(folder / "tatoeba-en-zh/train.tsv", [&](const std::string& english, const std::string& chinese) {
    corpora[1].push_back(english);
    corpora[2].push_back(chinese);
  });
  for (std::size_t i = 0; i < corpora.size(); ++i) {
    const SubwordType type = i == 1 ? SubwordType::bpe : SubwordType::unigram;
    const auto learnt = std::span(corpora[i]).first(5000);
    const Subwords model = ef::train_sentencepiece(learnt, {.vocabulary_size = 3000, .type = type});
    int wrong = 0;
    for (const std::string& line : corpora[i]) {
      const std::string expected = ef::testing::normalized(line);
      const std::string given = model->decode(model->encode(line));
      if (given == expected || ++wrong > 5) continue;
      CAPTURE(line);
      CHECK(given == expected);
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("a vocabulary has the numbers that SentencePiece gives the pieces", "[text]") {
  for (const Subwords& model : kinds_of_models(simple_lines(1), 300)) {
    const ef::Vocabulary vocabulary = ef::subword_vocabulary(*model);
    const auto processor = processor_of(*model);
    REQUIRE(vocabulary.size() == processor->GetPieceSize());
    for (ef::Index id = 0; id < vocabulary.size(); ++id)
      CHECK(vocabulary.token(static_cast<ef::Token>(id)) == processor->IdToPiece(static_cast<int>(id)));
    CHECK((model->type() == SubwordType::bpe) == (processor->NBestEncodeAsPieces("ba", 2).empty()));
  }
}

TEST_CASE("training gives the same model for the same lines", "[text]") {
  const Strings lines = simple_lines(2);
  for (const SubwordType type : ef::values_of<SubwordType>()) {
    const ef::SentencePieceOptions options{.vocabulary_size = 200, .type = type};
    const Subwords model = ef::train_sentencepiece(lines, options);
    CHECK(model->type() == type);
    CHECK(model->pieces().size() <= 197);
    CHECK(ef::train_sentencepiece(lines, options)->bytes() == model->bytes());
    CHECK(ef::read_sentencepiece(model->bytes(), "copy")->encode(lines.front()) == model->encode(lines.front()));
  }
}

TEST_CASE("draws depend on the seed and the line alone", "[text]") {
  for (const Subwords& model : kinds_of_models(simple_lines(3), 300)) {
    const std::string line = "bama kameda <sep> nika \xF0\x9F\x98\x80\xF0\x9F\x98\x81 dika";
    const auto drawn = [&](std::uint64_t seed) {
      ef::Rng rng(seed);
      return model->sample(line, {.alpha = 0.1, .bpe_dropout = 0.4}, rng);
    };
    const Strings first = drawn(5);
    sentencepiece::SetRandomGeneratorSeed(7);
    CHECK(drawn(5) == first);
    int others = 0;
    for (std::uint64_t seed = 6; seed < 16; ++seed) others += drawn(seed) != first ? 1 : 0;
    CHECK(others >= 5);
    // Without randomness, the pieces are those of encode().
    ef::Rng rng(1);
    CHECK(model->sample(line, {.n_best = 1, .bpe_dropout = 0}, rng) == model->encode(line));
    const bool draws_by_score = model->type() == SubwordType::unigram;
    for (const double alpha : {1e9, 1e300, 1e308})
      if (draws_by_score) CHECK(model->sample(line, {.alpha = alpha}, rng) == model->encode(line));
  }
}

TEST_CASE("unigram models draw each split in proportion to its probability to the power alpha", "[text][long]") {
  const std::uint64_t seed = 20261131;
  const Strings learnt = simple_lines(4);
  for (const Subwords& model : kinds_of_models(learnt, 300)) {
    if (model->type() != SubwordType::unigram) continue;
    const auto processor = processor_of(*model);
    for (const char* const line : {"kame di", "badikane", "na\xE2\x82\xAC\xE2\x82\xACmanibe"}) {
      const auto all = processor->NBestEncodeAsImmutableProto(line, 1024);  // SentencePiece enumerates them by A*
      REQUIRE(all.nbests_size() < 1024);
      REQUIRE(all.nbests_size() >= 8);
      for (const double alpha : {0.0, 0.3})
        for (const ef::Index n_best : {0, 3}) {
          Counts expected;
          double sum = 0;
          for (std::size_t i = 0; i < all.nbests_size() && (n_best == 0 || i < static_cast<std::size_t>(n_best)); ++i) {
            Strings pieces;
            for (const auto& piece : all.nbests(static_cast<int>(i)).pieces()) pieces.push_back(piece.piece());
            const double weight = std::exp(alpha * static_cast<double>(all.nbests(static_cast<int>(i)).score()));
            expected[pieces] += weight;
            sum += weight;
          }
          for (auto& [pieces, count] : expected) count *= draws / sum;
          CAPTURE(seed, line, alpha, n_best, all.nbests_size());
          check_chi_square(counts_of_draws(*model, line, {.alpha = alpha, .n_best = n_best}, seed), expected);
        }
    }
  }
}

TEST_CASE("BPE models skip joins as SentencePiece does", "[text][long]") {
  const std::uint64_t seed = 20261132;
  for (const Subwords& model : kinds_of_models(simple_lines(5), 300)) {
    if (model->type() != SubwordType::bpe) continue;
    const auto processor = processor_of(*model);
    for (const char* const line : {"kame badi <sep>", "na\xE2\x82\xAC\xE2\x82\xACmanibe"})
      for (const double dropout : {0.1, 0.6}) {
        CAPTURE(seed, line, dropout);
        Counts expected;
        for (int i = 0; i < draws; ++i)
          ++expected[processor->SampleEncodeAsPieces(line, -1, static_cast<float>(dropout))];
        check_chi_square(counts_of_draws(*model, line, {.bpe_dropout = dropout}, seed), expected, true);
      }
    ef::Rng rng(seed);
    CHECK(model->sample("bed", {.bpe_dropout = 1}, rng) == Strings{"\xE2\x96\x81", "b", "e", "d"});
  }
}

TEST_CASE("a damaged model is refused, or works", "[text]") {
  const std::uint64_t seed = 20261133;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const std::vector<NormalizedLine> lines = ef::testing::normalized_lines(5, seed);
  int refused = 0, worked = 0;
  const auto try_bytes = [&](const std::string& bytes) {
    try {
      const Subwords model = ef::read_sentencepiece(bytes, "source.spm");
      for (const NormalizedLine& line : lines) {
        model->decode(model->encode(line.raw));
        model->decode(model->sample(line.raw, {}, rng));
      }
      ++worked;
    } catch (const ef::Error& error) {
      const std::string message = error.what();
      CHECK(
          (message.find("source.spm: ") == 0 || message.find("SentencePiece: ") == 0 || message.find("sample: ") == 0));
      ++refused;
    }
  };
  for (const SubwordType type : ef::values_of<SubwordType>())
    for (const bool normalizes : {false, true}) {  // rules of normalisation make a large file
      const ef::SentencePieceOptions options{
          .vocabulary_size = 100, .type = type, .normalization = normalizes ? "nmt_nfkc" : "identity"};
      const std::string whole = ef::train_sentencepiece(simple_lines(6), options)->bytes();
      const int rounds = normalizes ? 40 : 300;
      refused = worked = 0;
      for (int i = 0; i < rounds; ++i)
        try_bytes(whole.substr(0, static_cast<std::size_t>(rng.randint(static_cast<ef::Index>(whole.size()) - 20))));
      CHECK(worked == 0);
      for (int i = 0; i < rounds; ++i) {
        std::string changed = whole;
        changed[static_cast<std::size_t>(rng.randint(static_cast<ef::Index>(whole.size())))] ^=
            static_cast<char>(1 << rng.randint(8));
        try_bytes(changed);
      }
      CHECK(refused > rounds);
    }
}

TEST_CASE("fields that SentencePiece reads in another way are refused", "[text]") {
  const std::string whole = ef::train_sentencepiece(simple_lines(9), {.vocabulary_size = 60})->bytes();
  const auto message = [&](const std::string& more) {
    return message_of([&] { ef::read_sentencepiece(whole + more, "a.spm"); });
  };
  const auto field = [](const std::string& tag, const std::string& text) {
    return tag + static_cast<char>(text.size()) + text;
  };
  // A trie of one unit that leads out of bounds, and a value.
  const std::string rules = field("\x12", std::string("\4\0\0\0\0\xFF\xFF\x7F", 8) + std::string("a\0", 2));
  CHECK(ef::testing::contains(message(field("\x1A", rules)), "a.spm: a trie leads to unit"));
  // Field 3 too, if only 32 bits of the tag are read.
  CHECK(message(field("\x9A\x80\x80\x80\x10", rules)) ==
        "a.spm: is no SentencePiece model, or damaged: a field has the number 536870915, expected less than 2^29");
  // The score NaN, and a score of another kind that hides it.
  CHECK(message(field("\x0A", std::string("\x0A\1b\x15\0\0\xC0\x7F\x10\1", 10))) ==
        "a.spm: is damaged: field 2 has wire type 0, expected 5");
}

TEST_CASE("the table of pieces takes memory linear in the file", "[text]") {
  ef::detail::SentencePieceFile file;
  constexpr std::size_t length = 4096;
  for (int i = 0; i < 50; ++i)  // their prefixes together have 400 MB
    file.pieces.push_back({std::string(length, static_cast<char>('0' + i)), -1});
  const ef::testing::AllocationCount long_texts(1024);
  const ef::detail::SubwordTable table(file);
  CHECK(long_texts.count() < 1000);
  CHECK(table.find(file.pieces[7].text) != nullptr);
  CHECK(table.find(file.pieces[7].text.substr(1)) == nullptr);
}

TEST_CASE("messages say which file is wrong and why", "[text]") {
  const auto message = [](const std::string& bytes) {
    return message_of([&] { ef::read_sentencepiece(bytes, "target.spm"); });
  };
  const auto says = [](const std::string& given, const std::string& part) {
    CAPTURE(given, part);
    CHECK(ef::testing::contains(given, part));
  };
  says(message(""), "target.spm: is no SentencePiece model, or damaged: it has no pieces");
  says(message("just a text\n"), "target.spm: is no SentencePiece model, or damaged");
  const std::string whole = ef::train_sentencepiece(simple_lines(7), {.vocabulary_size = 60})->bytes();
  says(message(whole.substr(0, whole.size() - 9)), "target.spm: is no SentencePiece model, or damaged: a field has");
  const auto with_piece = [](const std::string& text, char kind) {  // a model of one piece
    const std::string piece = std::string("\x0A") + static_cast<char>(text.size()) + text + "\x18" + kind;
    return std::string("\x0A") + static_cast<char>(piece.size()) + piece;
  };
  says(message(with_piece("a", 1)), "target.spm: is damaged: the options of training are missing");
  says(message(with_piece("a", 1) + std::string("\x12\0", 2)), "the options of normalisation are missing");
  const std::string no_options("\x12\0\x1A\0", 4);
  says(message(with_piece("a", 1) + no_options), "target.spm: unk is not defined");
  says(message(with_piece("", 2)), "target.spm: piece 0 has 0 bytes, expected 1 to 4096");
  says(message(with_piece("\xFF", 2)), "target.spm: piece 0 is not UTF-8, or has a zero byte");
  says(message(with_piece("a", 9)), "target.spm: piece 0 is of kind 9, expected 1 to 6");
  says(message(with_piece("a", 2) + with_piece("a", 1) + no_options), "target.spm: piece 1, \"a\", occurs twice");
  says(message(with_piece("a", 2) + no_options + "\x12\x02\x18\x03"),
       "target.spm: is a SentencePiece model of kind 3, expected 1");
  const auto trained = [](const Strings& lines, const ef::SentencePieceOptions& options) {
    return message_of([&] { ef::train_sentencepiece(lines, options); });
  };
  const Strings lines = simple_lines(8);
  CHECK(trained({"fine", "\xFF"}, {}) == "train_sentencepiece: line 2: invalid UTF-8 at byte 0");
  CHECK(trained({}, {}) == "train_sentencepiece: there is no text in 0 lines");
  for (const char* line : {"", " \t", "\x01\x7F", "\xE2\x80\x8B", "\xE2\x96\x85", "\xEF\xBF\xBD", "\xE2\x96\x81"})
    CHECK(trained({line}, {}) == "train_sentencepiece: there is no text in 1 lines");
  says(trained(lines, {.vocabulary_size = 3}), "train_sentencepiece: vocabulary_size is 3, expected 4 to");
  says(trained(lines, {.character_coverage = 0.5}), "train_sentencepiece: character_coverage is 0.5");
  says(trained(lines, {.vocabulary_size = 6}),
       "train_sentencepiece: Vocabulary size is smaller than required_chars. 6");
  says(trained(lines, {.normalization = ""}), "train_sentencepiece: normalization is empty");
  says(trained(lines, {.normalization = "nfd"}), "train_sentencepiece: No precompiled charsmap is found: nfd");
  for (const SubwordType type : ef::values_of<SubwordType>())  // too small for as many pieces
    CHECK(ef::train_sentencepiece(Strings{"a"}, {.type = type})->decode(Strings{"\xE2\x96\x81", "a"}) == "a");

  const Subwords model = ef::read_sentencepiece(whole, "model");
  ef::Rng rng(1);
  CHECK(message_of([&] { model->encode("a\xFF"); }) == "SentencePiece: invalid UTF-8 at byte 1");
  says(message_of([&] { model->sample("a", {.alpha = -1}, rng); }), "SubwordSampling: alpha is -1");
  says(message_of([&] { model->sample("a", {.n_best = -1}, rng); }), "SubwordSampling: n_best is -1");
  says(message_of([&] { model->sample("a", {.bpe_dropout = 1.5}, rng); }), "SubwordSampling: bpe_dropout is 1.5");
  says(message_of([] { ef::load_sentencepiece("nowhere.spm"); }), "nowhere.spm");
}
