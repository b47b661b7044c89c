#include "eigenformer/core/folders.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;
namespace fs = std::filesystem;
using ef::testing::contains;
using ef::testing::message_of;
using ef::testing::names_in;
using ef::testing::TemporaryFolder;
using Names = std::vector<std::string>;

namespace {

auto writes(const std::string& text) {
  return [text](const fs::path& folder) {
    ef::write_file(folder / "a", text + " a");
    std::ofstream(folder / "b") << text << " b";  // by any means
  };
}

std::string contents(const fs::path& folder) {
  return ef::read_file(ef::newest_file(folder, "a")) + ", " + ef::read_file(ef::newest_file(folder, "b"));
}

fs::path image_of(const fs::path& folder) {
  return folder.parent_path() / "image";
}

/// Looks at what the disk would hold if the power were cut at any sync or rename: files that were not synced are empty.
class PowerCuts : public ef::detail::Disk {
 public:
  explicit PowerCuts(const fs::path& folder) : folder_(folder) { add_all(); }

  std::error_code sync(int descriptor, const fs::path& path) override {
    cut();
    const std::error_code error = Disk::sync(descriptor, path);
    if (!fs::is_directory(path)) synced_[fs::file_size(path)].push_back(ef::read_file(path));
    calls_.push_back("sync " + path.filename().string());
    cut();
    return error;
  }
  std::error_code rename(const fs::path& from, const fs::path& to) override {
    cut();
    const std::error_code error = Disk::rename(from, to);
    calls_.push_back("rename to " + to.filename().string());
    cut();
    return error;
  }

  const std::vector<std::string>& found() const { return found_; }
  const std::vector<std::string>& calls() const { return calls_; }

 private:
  void add_all() {
    for (const auto& entry : fs::recursive_directory_iterator(folder_))
      if (entry.is_regular_file()) synced_[entry.file_size()].push_back(ef::read_file(entry.path()));
  }

  bool is_synced(const std::string& bytes) const {
    const auto same_size = synced_.find(bytes.size());
    return same_size != synced_.end() &&
           std::find(same_size->second.begin(), same_size->second.end(), bytes) != same_size->second.end();
  }

  /// What a reader finds in a copy, and what the next writer leaves of it.
  void cut() {
    const fs::path image = image_of(folder_);
    fs::remove_all(image);
    fs::copy(folder_, image, fs::copy_options::recursive);
    for (const auto& entry : fs::recursive_directory_iterator(image))
      if (entry.is_regular_file() && !is_synced(ef::read_file(entry.path()))) fs::resize_file(entry.path(), 0);
    found_.push_back(contents(image));
    CHECK(message_of([&] { ef::write_folder(image, [](const fs::path&) { ef::fail("out of luck"); }); }) ==
          "out of luck");
    CHECK(contents(image) == found_.back());
    CHECK(names_in(image) == Names{"a", "b"});
  }

  fs::path folder_;
  std::map<std::uintmax_t, std::vector<std::string>> synced_;  // contents by size
  std::vector<std::string> found_, calls_;
};

}  // namespace

TEST_CASE("files of a folder are written together or not at all", "[core]") {
  const TemporaryFolder parent;
  const fs::path model = parent / "model";
  ef::write_folder(model, writes("first"));
  CHECK(names_in(model) == Names{"a", "b"});
  CHECK(contents(model) == "first a, first b");

  SECTION("they are replaced") {
    ef::write_folder(model / "", writes("second"));  // "model/"
    CHECK(contents(model) == "second a, second b");
    CHECK(names_in(model) == Names{"a", "b"});
    CHECK(names_in(parent.path()) == Names{"model"});
  }
  SECTION("other files are left alone, also while they are being written") {
    std::ofstream log(model / "log");
    log << "one\n" << std::flush;
    fs::create_directory(model / "more");
    ef::write_file(model / "more" / "notes", "mine too");
    ef::write_folder(model, [&](const fs::path& folder) {
      log << "two\n" << std::flush;
      writes("second")(folder);
      CHECK(!fs::exists(folder / "log"));  // nor copied
    });
    log << "three\n" << std::flush;
    CHECK(names_in(model) == Names{"a", "b", "log", "more"});
    CHECK(ef::read_file(model / "log") == "one\ntwo\nthree\n");
    CHECK(ef::read_file(model / "more" / "notes") == "mine too");
  }
  SECTION("a failure between two files changes nothing") {
    const auto half = [](const fs::path& folder) {
      ef::write_file(folder / "a", "half");
      ef::fail("out of luck");
    };
    CHECK(message_of([&] { ef::write_folder(model, half); }) == "out of luck");
    CHECK(contents(model) == "first a, first b");
    CHECK(names_in(model) == Names{"a", "b"});
    CHECK(message_of([&] { ef::write_folder(parent / "new", half); }) == "out of luck");
    CHECK(names_in(parent.path()) == Names{"model"});
  }
  SECTION("what a killed program left unfinished goes") {
    const fs::path left = model / (std::string(ef::detail::unfinished_files) + "1.tmp");
    fs::create_directory(left);
    ef::write_file(left / "a", "half");
    CHECK(contents(model) == "first a, first b");
    ef::write_folder(model, writes("second"));
    CHECK(names_in(model) == Names{"a", "b"});
  }
  SECTION("what is in the way is not touched") {
    ef::write_file(parent / "file", "text");
    CHECK(contains(message_of([&] { ef::write_folder(parent / "file", writes("x")); }), "it is a file"));
    CHECK(ef::read_file(parent / "file") == "text");
    CHECK(contains(message_of([&] { ef::write_folder(parent / "no" / "model", writes("x")); }),
                   "no such file or folder"));
    CHECK(contains(message_of([&] { ef::write_folder("", writes("x")); }), "path is empty"));
    fs::remove(model / "b");
    fs::create_directory(model / "b");
    CHECK(contains(message_of([&] { ef::write_folder(model, writes("x")); }), "it is a folder"));
    CHECK(ef::read_file(model / "a") == "first a");
    CHECK(names_in(model) == Names{"a", "b"});
  }
}

TEST_CASE("a power cut leaves the older or the newer files, whole", "[core]") {
  const TemporaryFolder parent;
  const fs::path model = parent / "model";
  ef::write_folder(model, writes("first"));
  PowerCuts disk(model);
  ef::detail::write_folder(model, writes("second"), disk);

  const std::string older = "first a, first b", newer = "second a, second b";
  REQUIRE(disk.found().size() > 10);
  CHECK(disk.found().front() == older);
  CHECK(disk.found().back() == newer);
  bool is_newer = false;
  for (const std::string& found : disk.found()) {
    CHECK((found == newer || (found == older && !is_newer)));  // and never back
    is_newer = found == newer;
  }
  // The renames over the older files begin when it is on the disk that the newer count.
  const auto place = [&](const std::string& call) {
    return std::find(disk.calls().begin(), disk.calls().end(), call) - disk.calls().begin();
  };
  const auto counts = place(std::string("rename to ") + ef::detail::newer_files);
  CHECK(place("sync a") < counts);
  CHECK(place("sync b") < counts);
  const std::string after = disk.calls().at(static_cast<std::size_t>(counts) + 1);
  CHECK(after == "sync model");
  CHECK(place("rename to a") > counts + 1);
  CHECK(place("rename to b") > counts + 1);
}

TEST_CASE("files that were left behind are not moved through links", "[core]") {
  const TemporaryFolder parent;
  const fs::path model = parent / "model", elsewhere = parent / "elsewhere";
  ef::write_folder(model, writes("first"));
  fs::create_directory(elsewhere);
  ef::write_file(elsewhere / "a", "mine");
  const auto message = [&] { return message_of([&] { ef::write_folder(model, writes("second")); }); };
  std::error_code no_links;
  fs::create_directory_symlink(elsewhere, model / ef::detail::newer_files, no_links);
  if (no_links) return;  // as on Windows, for most users
  CHECK(contains(message(), ".newer-files: it is a link, expected a folder or nothing"));
  CHECK(contains(message_of([&] { ef::check_folder_writable(model); }), ".newer-files: it is a link"));
  CHECK(ef::newest_file(model, "a") == model / "a");
  fs::remove(model / ef::detail::newer_files);

  fs::create_directory(model / ef::detail::newer_files);
  ef::write_file(model / ef::detail::newer_files / "a", "theirs");
  fs::remove(model / "a");
  fs::create_symlink(elsewhere / "a", model / "a");
  CHECK(contains(message(), "a: it is a link, and an interrupted program left a new file for it in .newer-files"));
  CHECK(ef::read_file(elsewhere / "a") == "mine");
  fs::remove(model / ef::detail::newer_files / "a");
  ef::write_folder(model, writes("third"));  // one's own files follow links
  CHECK(contains(ef::read_file(elsewhere / "a"), "third"));
}

TEST_CASE("a reader can tell that files were replaced meanwhile", "[core]") {
  const TemporaryFolder parent;
  const std::array<const char*, 3> names{"a", "b", "not there"};
  ef::write_folder(parent / "model", writes("first"));
  fs::last_write_time(parent / "model" / "b", fs::file_time_type());  // long ago
  const auto before = ef::last_writes(parent / "model", names);
  CHECK(ef::last_writes(parent / "model", names) == before);
  ef::write_folder(parent / "model", writes("second"));
  CHECK(ef::last_writes(parent / "model", names) != before);
}

TEST_CASE("whether a folder can be written is known before, and nothing is changed", "[core]") {
  const TemporaryFolder parent;
  ef::check_folder_writable(parent / "new");
  CHECK(names_in(parent.path()).empty());
  fs::create_directory(parent / "old");
  fs::create_directory(parent / "old" / "a");
  ef::check_folder_writable(parent / "old");
  CHECK(names_in(parent / "old") == Names{"a"});
  const auto message = [&](const fs::path& folder) {
    return message_of([&] { ef::check_folder_writable(folder, std::vector<const char*>{"b", "a"}); });
  };
  CHECK(contains(message(parent / "old"), "it is a folder"));
  CHECK(contains(message(parent / "no" / "new"), "no such file or folder"));
  ef::write_file(parent / "file", "x");
  CHECK(contains(message(parent / "file"), "it is a file, expected a folder"));
  CHECK(names_in(parent.path()) == Names{"file", "old"});
}

TEST_CASE("a folder is locked by one writer at a time", "[core]") {
  const TemporaryFolder parent;
  const fs::path model = parent / "model";
  {
    const auto lock = ef::lock_folder(model);
    ef::write_folder(model, writes("first"));
    CHECK(contains(message_of([&] { std::ignore = ef::lock_folder(model / ""); }),
                   "a program is already writing into this folder"));
    CHECK(contents(model) == "first a, first b");
    const auto other = ef::lock_folder(parent / "new");
    CHECK(fs::exists(parent / "new"));
  }
  CHECK(names_in(parent.path()) == Names{"model"});  // the empty folder was removed
  std::ignore = ef::lock_folder(model);              // the lock ended with its scope
  CHECK(names_in(model) == Names{"a", "b"});
  CHECK(contains(message_of([&] { std::ignore = ef::lock_folder(parent / "no" / "new"); }), "no such file or folder"));
}

TEST_CASE("a new folder that many lock at once has one owner, and stays until the owner leaves it", "[core][threads]") {
  const TemporaryFolder parent;
  const fs::path model = parent / "model";
  std::atomic<int> owners = 0, wrong = 0, locked = 0;
  const auto run = [&] {
    for (int i = 0; i < 2000; ++i) {
      std::shared_ptr<const void> lock;
      const std::string message = message_of([&] { lock = ef::lock_folder(model); });
      if (lock == nullptr) {
        if (!contains(message, "a program is already writing into this folder")) ++wrong;
        continue;
      }
      ++locked;
      if (++owners != 1 || !fs::exists(model)) ++wrong;
      std::this_thread::yield();
      if (owners != 1 || !fs::exists(model)) ++wrong;
      --owners;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(run);
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(locked > 0);
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("a link to a folder is followed, and modes stay", "[core]") {
  const TemporaryFolder parent;
  fs::create_directory(parent / "real");
  fs::permissions(parent / "real", fs::perms(0700));
  fs::create_directory_symlink("real", parent / "link");
  ef::write_folder(parent / "link", writes("first"));
  fs::permissions(parent / "real" / "a", fs::perms(0600));
  ef::write_folder(parent / "link" / "", writes("second"));
  CHECK(fs::is_symlink(parent / "link"));
  CHECK(contents(parent / "real") == "second a, second b");
  CHECK(fs::status(parent / "real").permissions() == fs::perms(0700));
  CHECK(fs::status(parent / "real" / "a").permissions() == fs::perms(0600));

  // A link to a folder that is not there yet, and a file that is a link.
  fs::create_directory_symlink("later", parent / "dangling");
  ef::write_folder(parent / "dangling", writes("third"));
  CHECK(contents(parent / "later") == "third a, third b");
  fs::rename(parent / "later" / "a", parent / "elsewhere");
  fs::create_symlink("../elsewhere", parent / "later" / "a");
  ef::write_folder(parent / "later", writes("fourth"));
  CHECK(fs::is_symlink(parent / "later" / "a"));
  CHECK(ef::read_file(parent / "elsewhere") == "fourth a");
  CHECK(names_in(parent.path()) == Names{"dangling", "elsewhere", "later", "link", "real"});
}
#endif
