#include "eigenformer/text/tokenizer.hpp"

#include <string>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Tokenization;
using ef::testing::message_of;
using Strings = std::vector<std::string>;

namespace {

const std::string joiner = "\xEF\xBF\xAD";
const std::string space = "\xE2\x96\x81";

/// The tokens with J for the joiner mark and a space between them.
std::string shown(const Strings& tokens) {
  std::string line;
  for (std::string token : tokens) {
    for (std::size_t i; (i = token.find(joiner)) != std::string::npos;) token.replace(i, joiner.size(), "J");
    line += (line.empty() ? "" : " ") + token;
  }
  return line;
}

/// Runs of white space become one space, none is left at the ends.
std::string collapsed(const std::string& line) {
  std::string result;
  bool pending = false;
  for (const char32_t c : ef::decode_utf8(line)) {
    if (ef::is_white_space(c)) {
      pending = !result.empty();
      continue;
    }
    if (pending) result += ' ';
    pending = false;
    ef::append_utf8(result, c);
  }
  return result;
}

}  // namespace

TEST_CASE("punctuation at the edges of words is parted from them", "[text]") {
  const auto tokens = [](const std::string& line) { return shown(ef::tokenize(line, Tokenization::words)); };
  CHECK(tokens("Hello, world!") == "Hello J, world J!");
  CHECK(tokens("\"Hello,\" she (really) said.") == "\"J Hello J, J\" she (J really J) said J.");
  CHECK(tokens("Well... no?!") == "Well J. J. J. no J? J!");
  CHECK(tokens("... \"?\" ,") == "... \"?\" ,");
  CHECK(tokens("It's 1,000.5 e-mails, 'tis C++ [50%].") == "It's 1,000.5 e-mails J, 'J tis C++ [J 50% J] J.");
  CHECK(tokens("").empty());
  CHECK(tokens(" \t ").empty());
  // U+201C Ja U+201D U+2026 ; U+300C U+4F60 U+597D U+300D U+3002
  CHECK(tokens("\xE2\x80\x9CJa\xE2\x80\x9D\xE2\x80\xA6") == "\xE2\x80\x9CJ Ja J\xE2\x80\x9D J\xE2\x80\xA6");
  CHECK(tokens("\xE3\x80\x8C\xE4\xBD\xA0\xE5\xA5\xBD\xE3\x80\x8D\xE3\x80\x82") ==
        "\xE3\x80\x8CJ \xE4\xBD\xA0\xE5\xA5\xBD J\xE3\x80\x8D J\xE3\x80\x82");
  // Fullwidth comma, question mark, parentheses.
  CHECK(tokens("\xEF\xBC\x88"
               "a\xEF\xBC\x8C"
               "b\xEF\xBC\x9F\xEF\xBC\x89") ==
        "\xEF\xBC\x88J a\xEF\xBC\x8C"
        "b J\xEF\xBC\x9F J\xEF\xBC\x89");
}

TEST_CASE("text that is already tokenised passes unchanged", "[text]") {
  const auto unchanged = [](const std::string& line) {
    CHECK(shown(ef::tokenize(line, Tokenization::words)) == line);
    CHECK(ef::detokenize(ef::tokenize(line, Tokenization::words), Tokenization::words) == line);
  };
  unchanged("a man in a blue shirt , near some bu@@ sh@@ es .");
  unchanged("the ma@@ n ( and the dog ) ... said : &quot; on m@@ st. &quot; .@@ 5 &amp; &apos; &#91; ? !");
  const auto tokens = [](const std::string& line) { return shown(ef::tokenize(line, Tokenization::words)); };
  CHECK(tokens("m@@ st. st.") == "m@@ st. st J.");
  CHECK(tokens("Q&A; &; a&b;") == "Q&A J; & J; a&b J;");
}

TEST_CASE("characters are code points, and white space is one", "[text]") {
  CHECK(ef::tokenize(" a  b\xE4\xBD\xA0\xE3\x80\x80\t\xC3\xA9 ", Tokenization::characters) ==
        Strings{"a", space, "b", "\xE4\xBD\xA0", space, "\xC3\xA9"});
  CHECK(ef::tokenize("  ", Tokenization::characters).empty());
  CHECK(ef::detokenize(Strings{"a", space, "b"}, Tokenization::characters) == "a b");
  CHECK(ef::detokenize(Strings{}, Tokenization::characters).empty());
}

TEST_CASE("our own marks in a text are told from those we set", "[text]") {
  CHECK(ef::tokenize("a" + space + " b", Tokenization::characters) == Strings{"a", space + space, space, "b"});
  CHECK(ef::tokenize("a" + joiner + "b, " + joiner + ".", Tokenization::words) ==
        Strings{"a" + joiner + joiner + "b", joiner + ",", joiner + joiner, joiner + "."});
}

TEST_CASE("detokenize gives the line back, whatever is in it", "[text]") {
  Strings alphabet{"@@ ", "&amp;", "<unk>", joiner, joiner, space};
  for (const char c : std::string("ab1  \t@-!.,\"'()&;")) alphabet.emplace_back(1, c);
  // Unicode's spaces, letters, an emoji, typographic punctuation, a byte-order mark, a combining accent.
  const std::string others =
      "\xC2\xA0\xE3\x80\x80\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80\xE3\x80\x82\xE2\x80\x9C\xE2\x80\x9D\xE2\x80\xA6\xEF\xBB"
      "\xBF\xCC\x81";
  for (const std::string_view c : ef::split_code_points(others)) alphabet.emplace_back(c);
  constexpr int seed = 20260101;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (int round = 0; round < 20000; ++round) {
    std::string line;
    for (ef::Index i = rng.randint(12); i > 0; --i)
      line += alphabet[static_cast<std::size_t>(rng.randint(static_cast<ef::Index>(alphabet.size())))];
    for (const Tokenization tokenization : {Tokenization::words, Tokenization::characters}) {
      const Strings tokens = ef::tokenize(line, tokenization);
      if (ef::detokenize(tokens, tokenization) == collapsed(line)) continue;
      CAPTURE(round, line, tokens, ef::to_string(tokenization));
      CHECK(ef::detokenize(tokens, tokenization) == collapsed(line));
    }
  }
}

TEST_CASE("text that subword-nmt has split is joined again", "[text]") {
  const auto joined = [](const Strings& tokens) { return ef::detokenize(tokens, Tokenization::bpe_marks); };
  const Strings tokens{"a", "gi@@", "ant", "pul@@", "le@@", "y", "(", "st@@", ".", ")", "it,", "@"};
  CHECK(ef::tokenize(" a gi@@ ant  pul@@ le@@ y ( st@@ . ) it, @\t", Tokenization::bpe_marks) == tokens);
  CHECK(joined(tokens) == "a giant pulley ( st. ) it, @");
  CHECK(joined({"no", "marks"}) == "no marks");
  CHECK(joined({"the", "end@@"}) == "the end");
  CHECK(joined({"@@", "a", "<unk>", "@@", "b"}) == "a <unk> b");
  CHECK(joined({"<unk>", "x@@", "<unk>"}) == "<unk> x<unk>");
  CHECK(joined({}).empty());
}

TEST_CASE("tokens that no line has are put together all the same", "[text]") {
  const auto line = [](const Strings& tokens) { return ef::detokenize(tokens, Tokenization::words); };
  CHECK(line({joiner + ",", "a"}) == ", a");
  CHECK(line({"a", "(" + joiner}) == "a (");
  CHECK(line({"a", joiner, "b"}) == "a b");
  CHECK(line({"a", joiner + "-" + joiner, "b"}) == "a-b");
  CHECK(line({"a" + joiner + "b"}) == "a" + joiner + "b");
  CHECK(line({"<unk>", "", "<unk>"}) == "<unk>  <unk>");
  CHECK(line({}).empty());
}

TEST_CASE("Chinese and Japanese are guessed to be written in characters", "[text]") {
  const std::string chinese = "\xE4\xBD\xA0\xE5\xA5\xBD\xE3\x80\x82";           // three characters
  const std::string japanese = "\xE3\x81\x82\xE3\x82\xA2\xE3\x83\xBC!!!!!!!!";  // kana, much punctuation
  const std::string korean = "\xEC\x95\x88\xEB\x85\x95";                        // two syllables
  CHECK(ef::guess_tokenization(Strings{chinese}) == Tokenization::characters);
  CHECK(ef::guess_tokenization(Strings{japanese}) == Tokenization::characters);
  CHECK(ef::guess_tokenization(Strings{korean}) == Tokenization::words);
  CHECK(ef::guess_tokenization(Strings{"English", "text."}) == Tokenization::words);
  CHECK(ef::guess_tokenization(Strings{"a", chinese}) == Tokenization::characters);
  CHECK(ef::guess_tokenization(Strings{"ab", chinese}) == Tokenization::words);  // half is not most
  CHECK(ef::guess_tokenization(Strings{"...", " "}) == Tokenization::words);
  CHECK(ef::guess_tokenization(Strings{}) == Tokenization::words);
}

TEST_CASE("marks of subword-nmt are recognised, in any language", "[text]") {
  Strings lines(50, "two words");
  lines.emplace_back("a gi@@");
  CHECK(ef::guess_tokenization(lines) == Tokenization::words);  // 1 of 102 words: no more than 1 %
  lines.emplace_back("ant pul@@ ley");
  CHECK(ef::guess_tokenization(lines) == Tokenization::bpe_marks);
  CHECK(ef::guess_tokenization(Strings{"\xE4\xBD\xA0@@ \xE5\xA5\xBD"}) == Tokenization::bpe_marks);
  CHECK(ef::guess_tokenization(Strings{"mail me @ home@@work"}) == Tokenization::words);
}

TEST_CASE("tokenizations have names", "[text]") {
  for (const Tokenization tokenization : ef::values_of<Tokenization>())
    CHECK(ef::value_of<ef::Tokenization>(ef::to_string(tokenization)) == tokenization);
  CHECK(ef::to_string(Tokenization::words) == "words");
  CHECK(ef::to_string(Tokenization::characters) == "characters");
  CHECK(message_of([] { ef::value_of<ef::Tokenization>("letters"); }) ==
        "value_of: expected words, characters or bpe_marks, given \"letters\"");
}

TEST_CASE("text that is not UTF-8 is refused", "[text]") {
  CHECK(message_of([] { ef::tokenize("ab \xFF", Tokenization::words); }) == "tokenize: invalid UTF-8 at byte 3");
  CHECK(message_of([] { ef::tokenize("a\xC3", Tokenization::characters); }) == "tokenize: invalid UTF-8 at byte 1");
  CHECK(message_of([] {
          ef::guess_tokenization(Strings{"fine", "\x80"});
        }) == "guess_tokenization: invalid UTF-8 at byte 0");
}
