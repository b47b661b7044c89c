#include "eigenformer/text/line_blocks.hpp"

#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#ifndef _WIN32
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/text/corpus.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;

namespace {

using LinesOfFile = std::vector<std::string>;

std::filesystem::path write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

/// Returns the bytes of a file of random lines: long or empty, with either line end, perhaps with a byte order mark.
std::string random_text(std::mt19937& random, int lines) {
  std::string bytes = random() % 2 == 0 ? "\xEF\xBB\xBF" : "";
  for (int i = 0; i < lines; ++i) {
    bytes += std::string(random() % 9 == 0 ? 300'000 : random() % 20, static_cast<char>('a' + random() % 26));
    if (random() % 3 == 0) bytes += "\xC3\xA4";
    bytes += random() % 4 == 0 ? "\r\n" : "\n";
  }
  const bool is_last_empty = bytes.size() < 5 || bytes[bytes.size() - 2] == '\n';
  if (random() % 2 == 0 && !is_last_empty) bytes.pop_back();  // a last line may lack its end
  return bytes;
}

/// Returns all lines of a file, from blocks.
LinesOfFile lines_in(const std::vector<ef::LineBlock>& blocks, std::size_t file) {
  LinesOfFile lines;
  for (const ef::LineBlock& block : blocks) {
    CHECK(block.first() == static_cast<ef::Index>(lines.size()));
    for (ef::Index i = 0; i < block.size(); ++i) lines.emplace_back(block.line(file, i));
  }
  return lines;
}

/// Returns the message of a scan, or "" if it does not throw.
std::string scan_message(const std::vector<std::filesystem::path>& paths, const ef::LineBlocksOptions& options = {}) {
  return ef::testing::message_of([&] {
    ef::LineBlocks blocks(paths, options);
    blocks.scan([](const ef::LineBlock&) {});
  });
}

}  // namespace

TEST_CASE("blocks hold the lines of the files", "[text][threads]") {
  const unsigned seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const ef::testing::TemporaryFolder folder;
  ef::ThreadPool pool(3);
  for (const int lines : {1, 2, 7, 40}) {
    const std::vector<std::filesystem::path> paths{write_bytes(folder / "a", random_text(random, lines)),
                                                   write_bytes(folder / "b", random_text(random, lines))};
    const std::vector<LinesOfFile> expected{ef::read_lines(paths[0]), ef::read_lines(paths[1])};
    std::map<ef::Index, std::uint64_t> hashes;  // of each size of block
    for (const ef::Index block_lines : {1, 3, 7, 100})
      for (ef::Threads* const threads : {static_cast<ef::Threads*>(nullptr), static_cast<ef::Threads*>(&pool)}) {
        CAPTURE(lines, block_lines, threads != nullptr);
        ef::LineBlocks blocks(paths, {.block_lines = block_lines, .threads = threads});
        CHECK(std::string(blocks.head(0)[0]) == expected[0][0].substr(0, std::size_t{1} << 20));
        std::mutex mutex;
        std::map<ef::Index, LinesOfFile> seen;  // of the second file
        blocks.scan([&](const ef::LineBlock& block) {
          const std::lock_guard lock(mutex);
          for (ef::Index i = 0; i < block.size(); ++i) seen[block.first()].emplace_back(block.line(1, i));
        });
        REQUIRE(blocks.lines() == static_cast<ef::Index>(expected[0].size()));
        CHECK(blocks.size() == (blocks.lines() - 1) / block_lines + 1);
        CHECK(hashes.emplace(block_lines, blocks.hash()).first->second == blocks.hash());

        std::vector<ef::LineBlock> read;
        for (ef::Index i = blocks.size(); i-- > 0;) read.insert(read.begin(), blocks.read(i));
        for (const std::size_t file : {0U, 1U})
          CHECK((lines_in(read, file) == expected[file]));  // the lines may be too long to print
        LinesOfFile in_pass;
        for (const auto& [first, of_block] : seen) in_pass.insert(in_pass.end(), of_block.begin(), of_block.end());
        CHECK((in_pass == expected[1]));
        CHECK(read[0].where(1, 0) == ef::path_text(paths[1]) + ":1");
        CHECK_THROWS_AS(blocks.read(blocks.size()), ef::Error);
        CHECK_THROWS_AS(blocks.read(-1), ef::Error);
      }
  }
}

TEST_CASE("blocks of faulty files are refused, with any number of threads", "[text][threads]") {
  const ef::testing::TemporaryFolder folder;
  const auto write = [&](const char* name, const std::string& bytes) { return write_bytes(folder / name, bytes); };
  const auto name = [&](const char* file) { return ef::path_text(folder / file); };
  ef::ThreadPool pool(4);
  for (ef::Threads* const threads : {static_cast<ef::Threads*>(nullptr), static_cast<ef::Threads*>(&pool)}) {
    const ef::LineBlocksOptions options{.block_lines = 2, .threads = threads};
    std::string text;
    for (int i = 1; i <= 200; ++i) text += i >= 77 ? "b\xFF\n" : "good\n";
    CHECK(scan_message({write("bad", text)}, options) == name("bad") + ":77: invalid UTF-8 at byte 1");
    CHECK(scan_message({write("empty", "")}, options) == name("empty") + ": has no lines");
    CHECK(scan_message({write("mark", "\xEF\xBB\xBF")}, options) == name("mark") + ": has no lines");
    CHECK(scan_message({write("three", "a\nb\nc\n"), write("five", "a\nb\nc\nd\ne")}, options) ==
          name("three") + " has 3 lines, " + name("five") + " has 5");
    CHECK(scan_message({write("five", "a\nb\nc\nd\ne"), write("four", "a\nb\nc\nd\n")}, options) ==
          name("five") + " has 5 lines, " + name("four") + " has 4");
    CHECK(ef::testing::message_of([&] {
            ef::LineBlocks blocks({write("good", "1\n2\n3\n4\n5\n6\n7\n8\n")}, options);
            blocks.scan([](const ef::LineBlock& block) { ef::check(block.first() < 4, block.where(0, 0)); });
          }) == name("good") + ":5");
  }
  CHECK(scan_message({folder / "missing"}).starts_with(name("missing") + ": cannot be opened"));
  CHECK(scan_message({folder / ""}).find("it is a folder") != std::string::npos);
  const std::string too_long(5000, 'a');
  CHECK(scan_message({folder / too_long}).starts_with(name(too_long.c_str()) + ": cannot be opened"));
  CHECK_THROWS_AS(ef::LineBlocks({}), ef::Error);
  CHECK_THROWS_AS(ef::LineBlocks({folder / "good"}, {.block_lines = 0}), ef::Error);
}

TEST_CASE("a block of a file that has changed is refused", "[text]") {
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path path = write_bytes(folder / "text", "1\n2\n3\n4\n");
  ef::LineBlocks blocks({path}, {.block_lines = 2});
  blocks.scan([](const ef::LineBlock&) {});
  for (const char* const changed : {"1\n2\n3\n5\n", "1\n2\n3\n"}) {
    write_bytes(path, changed);
    CHECK(blocks.read(0).line(0, 1) == "2");
    CHECK(ef::testing::message_of([&] { blocks.read(1); }) ==
          ef::path_text(path) + ":3: the file has changed since it was first read");
  }
}

#ifndef _WIN32
TEST_CASE("the text of an open descriptor is kept, that of a file in /dev is not", "[text]") {
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path file = write_bytes(folder / "file", "1\n2\n3\n");
  const int descriptor = ::open(file.c_str(), O_RDONLY);
  REQUIRE(descriptor >= 0);
  std::filesystem::create_symlink("/dev/fd/" + std::to_string(descriptor), folder / "link");
  CHECK(scan_message({folder / "link"}, {.max_piped_lines = 3}) == "nothing was thrown");
  CHECK(scan_message({folder / "link"}, {.max_piped_lines = 2}).ends_with("can be read only once; save it as a file"));
  ::close(descriptor);
  const std::filesystem::path shared = "/dev/shm/eigenformer_test_" + std::to_string(::getpid());
  if (!std::filesystem::is_directory("/dev/shm")) return;
  write_bytes(shared, "1\n2\n3\n");
  CHECK(scan_message({shared}, {.max_piped_lines = 2}) == "nothing was thrown");
  std::filesystem::remove(shared);
}

TEST_CASE("the text of a pipe is kept", "[text][threads]") {
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path pipe = folder / "pipe", file = write_bytes(folder / "file", "1\n2\n3\n4\n5\n");
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  for (const ef::Index most : {4, 5}) {
    std::thread writer([&] { write_bytes(pipe, "a\nb\nc\nd\ne"); });
    const std::string message = ef::testing::message_of([&] {
      ef::LineBlocks blocks({file, pipe}, {.block_lines = 2, .max_piped_lines = most});
      CHECK(blocks.has_pipe());
      blocks.scan([](const ef::LineBlock&) {});
      CHECK(blocks.read(2).line(1, 0) == "e");
      CHECK(blocks.read(0).line(1, 1) == "b");
      CHECK(blocks.read(0).line(0, 1) == "2");
    });
    writer.join();
    CHECK(message ==
          (most == 5 ? "nothing was thrown"
                     : ef::path_text(pipe) + ": has more than 4 lines and can be read only once; save it as a file"));
  }
}
#endif

TEST_CASE("sentence pairs of blocks are those of the files", "[text]") {
  const ef::testing::TemporaryFolder folder;
  const std::filesystem::path tsv = write_bytes(folder / "pairs", "a b\tc\nd\te\tf\n");
  const auto first_pair = [&](const std::vector<std::filesystem::path>& paths, ef::Index i) {
    ef::LineBlocks blocks(paths);
    blocks.scan([](const ef::LineBlock&) {});
    const ef::LineBlock block = blocks.read(0);
    const ef::SentencePair pair = ef::sentence_pair(block, i);
    return std::pair(std::string(pair.source), std::string(pair.target));
  };
  CHECK(first_pair({tsv}, 0) == std::pair<std::string, std::string>("a b", "c"));
  CHECK(first_pair({tsv}, 1) == std::pair<std::string, std::string>("d", "e"));
  CHECK(first_pair({tsv, tsv}, 1) == std::pair<std::string, std::string>("d\te\tf", "d\te\tf"));
  const auto message = [&](const std::string& bytes) {
    const std::filesystem::path path = write_bytes(folder / "bad", bytes);
    return ef::testing::message_of([&] { first_pair({path}, 1); }).substr(ef::path_text(path).size());
  };
  // Pairs of one file beside a file of links.
  ef::LineBlocks blocks({tsv, tsv});
  blocks.scan([](const ef::LineBlock&) {});
  const ef::LineBlock both = blocks.read(0);
  const ef::SentencePair second = ef::sentence_pair(both, 1, 1);
  CHECK((second.source == "d" && second.target == "e"));
  CHECK(ef::sentence_pair(both, 1, 2).target == "d\te\tf");
  for (const std::size_t pair_files : {0U, 3U})
    CHECK(ef::testing::message_of([&] { ef::sentence_pair(both, 0, pair_files); }) ==
          "sentence_pair: expected pairs in 1 or 2 files, given " + std::to_string(pair_files) + " of 2");
  CHECK(message("a\tb\nc\n") == ":2: expected source and target separated by a tab");
  CHECK(message("a\tb\n \td\n") == ":2: source is empty");
  CHECK(message("a\tb\nc\t\xC2\xA0\n") == ":2: target is empty");
}
