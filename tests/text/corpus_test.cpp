#include "eigenformer/text/corpus.hpp"

#include <fstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;
using ef::testing::message_of;
using ef::testing::TemporaryFolder;
using Strings = std::vector<std::string>;

namespace {

class Files {
 public:
  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  std::string name(const std::string& name) const { return ef::path_text(folder_ / name); }

 private:
  TemporaryFolder folder_;
};

const std::string mark = "\xEF\xBB\xBF";

}  // namespace

TEST_CASE("lines are read whatever their ends", "[text]") {
  const Files files;
  const auto lines = [&](const std::string& bytes) { return ef::read_lines(files.write("lines", bytes)); };
  CHECK(lines("one\ntwo\n") == Strings{"one", "two"});
  CHECK(lines("one\ntwo") == Strings{"one", "two"});
  CHECK(lines("one\r\ntwo\r\n") == Strings{"one", "two"});
  CHECK(lines(mark + "one\r\ntwo") == Strings{"one", "two"});
  CHECK(lines("one\n\n two \n") == Strings{"one", "", " two "});
  CHECK(lines("\n") == Strings{""});
  CHECK(lines("a\rb\n") == Strings{"a\rb"});
  CHECK(lines("one\n" + mark + "two\n") == Strings{"one", mark + "two"});
  const std::string long_line(100'000, 'x');
  CHECK(lines(long_line + "\n" + long_line) == Strings{long_line, long_line});
}

TEST_CASE("files whose names are not ASCII are read", "[text]") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / std::filesystem::path(u8"gr\u00FC\u00DFe-\u4F60");
  std::ofstream(path, std::ios::binary) << "one\nno tab\n";
  CHECK(ef::read_lines(path) == Strings{"one", "no tab"});
  CHECK(message_of([&] { ef::read_tsv(path); })
            .find("gr\xC3\xBC\xC3\x9F"
                  "e-\xE4\xBD\xA0:1: expected") != std::string::npos);
}

TEST_CASE("files that cannot be read are named", "[text]") {
  const Files files;
  const auto message = [](const std::filesystem::path& path) { return message_of([&] { ef::read_lines(path); }); };
  CHECK(message(files.name("missing")) ==
        files.name("missing") + ": cannot be opened: there is no such file or folder");
  CHECK(message(files.write("empty", "")) == files.name("empty") + ": has no lines");
  CHECK(message(files.write("empty", mark)) == files.name("empty") + ": has no lines");
  CHECK(message(files.write("latin",
                            "fine\ngr\xFC\xDF"
                            "e\n")) == files.name("latin") + ":2: invalid UTF-8 at byte 2");
  CHECK(message(files.write("utf16",
                            "\xFF\xFE"
                            "a")) == files.name("utf16") + ":1: invalid UTF-8 at byte 0");
  const TemporaryFolder folder;
  CHECK(message(folder.path()) == ef::path_text(folder.path()) + ": cannot be opened: it is a folder");
}

TEST_CASE("a parallel corpus is read from one file", "[text]") {
  const Files files;
  const auto read = [&](const std::string& bytes) { return ef::read_tsv(files.write("corpus.tsv", bytes)); };
  const ef::ParallelCorpus corpus = read(mark + "a man\tein Mann\r\na dog\tein Hund\tfrom somewhere\tand more\r\n");
  CHECK(corpus.size() == 2);
  CHECK(corpus.source == Strings{"a man", "a dog"});
  CHECK(corpus.target == Strings{"ein Mann", "ein Hund"});

  const auto message = [&](const std::string& bytes) { return message_of([&] { read(bytes); }); };
  const std::string name = files.name("corpus.tsv");
  CHECK(message("a\tb\na b\n") == name + ":2: expected source and target separated by a tab");
  CHECK(message("a\tb\n\na\tb\n") == name + ":2: expected source and target separated by a tab");
  CHECK(message("\tb\n") == name + ":1: source is empty");
  CHECK(message("a\tb\na\t\n") == name + ":2: target is empty");
  CHECK(message("a\t\tc\n") == name + ":1: target is empty");
  CHECK(message("a\tb\n \xE3\x80\x80\tb\n") == name + ":2: source is empty");
  CHECK(message("a\tb\na\t\xC0\n") == name + ":2: invalid UTF-8 at byte 2");
  CHECK(message("") == name + ": has no lines");
}

TEST_CASE("a parallel corpus is read from two files", "[text]") {
  const Files files;
  const auto read = [&](const std::string& source, const std::string& target) {
    return ef::read_parallel(files.write("en", source), files.write("de", target));
  };
  const ef::ParallelCorpus corpus = read("a man\na\tdog", "ein Mann\r\nein Hund\r\n");
  CHECK(corpus.size() == 2);
  CHECK(corpus.source == Strings{"a man", "a\tdog"});
  CHECK(corpus.target == Strings{"ein Mann", "ein Hund"});

  const auto message = [&](const std::string& source, const std::string& target) {
    return message_of([&] { read(source, target); });
  };
  CHECK(message("a\nb\n", "a\nb\nc\n") == files.name("en") + " has 2 lines, " + files.name("de") + " has 3");
  CHECK(message("a\n\n", "a\nb\n") == files.name("en") + ":2: source is empty");
  CHECK(message("a\nb\n", " \nb\n") == files.name("de") + ":1: target is empty");
  CHECK(message("a\n", "\xC3\n") == files.name("de") + ":1: invalid UTF-8 at byte 0");
  CHECK(message("a\n", "") == files.name("de") + ": has no lines");
}
