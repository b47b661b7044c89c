#include "eigenformer/io/npz.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "eigenformer/tensors/comparison.hpp"
#include "eigenformer/tensors/creation.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/contains.hpp"
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;
using ef::AnyTensor;
using ef::load_npz;
using ef::parse_npz;
using ef::save_npz;
using ef::Tensor;
using ef::testing::contains;
using ef::testing::message_of;
using ef::testing::TemporaryFolder;
using NamedTensors = std::map<std::string, AnyTensor>;

namespace {

std::string little_endian_text(std::uint64_t number, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(static_cast<unsigned char>(number >> (8 * i)));
  return text;
}
void overwrite(std::string& text, std::size_t at, const std::string& by) {
  text.replace(at, by.size(), by);
}

/// An .npy file of two bytes, 1 and 2, and its CRC-32, as Python's zlib.crc32 gives it.
std::string small_npy() {
  const std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,)}";
  return std::string("\x93NUMPY\1\0", 8) + little_endian_text(header.size(), 2) + header + "\1\2";
}
constexpr std::uint32_t small_crc = 0x160076F6;

/// What a test changes in an archive of one entry.
struct Archive {
  std::string name = "a.npy";
  std::string local_name = "a.npy";
  std::string bytes = small_npy();
  std::uint64_t crc = small_crc;
  std::uint64_t flags = 0, method = 0;
  std::string local_extra{}, extra{}, comment{};
  std::uint64_t size = bytes.size(), stored = size, offset = 0, entries = 1;

  /// Puts the archive together by hand.
  std::string file() const {
    const std::string common = little_endian_text(flags, 2) + little_endian_text(method, 2) + little_endian_text(0, 4) +
                               little_endian_text(crc, 4) + little_endian_text(stored, 4) + little_endian_text(size, 4);
    const std::string local = little_endian_text(0x04034B50, 4) + little_endian_text(20, 2) + common +
                              little_endian_text(local_name.size(), 2) + little_endian_text(local_extra.size(), 2) +
                              local_name + local_extra + bytes;
    const std::string directory = little_endian_text(0x02014B50, 4) + little_endian_text(20, 2) +
                                  little_endian_text(20, 2) + common + little_endian_text(name.size(), 2) +
                                  little_endian_text(extra.size(), 2) + little_endian_text(0, 2) +
                                  little_endian_text(0, 2) + little_endian_text(0, 2) + little_endian_text(0, 4) +
                                  little_endian_text(offset, 4) + name + extra;
    return local + directory + little_endian_text(0x06054B50, 4) + little_endian_text(0, 4) +
           little_endian_text(entries, 2) + little_endian_text(entries, 2) + little_endian_text(directory.size(), 4) +
           little_endian_text(local.size(), 4) + little_endian_text(comment.size(), 2) + comment;
  }
};
std::string npz_error(const std::string& file) {
  return message_of([&] { parse_npz(file, "x.npz"); });
}
std::string npz_error(const Archive& archive) {
  return npz_error(archive.file());
}

}  // namespace

TEST_CASE("the CRC-32 of the published check is right, in pieces too", "[io]") {
  const auto crc = [](const std::string& text, std::uint32_t before = 0) {
    return ef::detail::crc32(std::as_bytes(std::span(text)), before);
  };
  CHECK(crc("123456789") == 0xCBF43926);
  CHECK(crc("") == 0);
  const std::string text = "The quick brown fox jumps over the lazy dog";
  for (std::size_t i = 0; i <= text.size(); ++i) CHECK(crc(text.substr(i), crc(text.substr(0, i))) == 0x414FA339);
}

TEST_CASE("an archive put together by hand is read", "[io]") {
  const Tensor<std::uint8_t> expected = ef::tensor<std::uint8_t>({1, 2});
  const auto reads = [&](const Archive& archive) {
    const NamedTensors tensors = parse_npz(archive.file(), "x.npz");
    return tensors.size() == 1 && ef::equal(tensors.at("a").to<std::uint8_t>(), expected);
  };
  CHECK(reads({}));
  CHECK(reads({.local_extra = "abcd", .comment = "a comment"}));
  CHECK(reads({.flags = 0x800, .extra = little_endian_text(7, 2) + little_endian_text(3, 2) + "xyz"}));
  // The sizes and the place in the 64-bit field, behind another field.
  const std::uint64_t size = small_npy().size(), unknown = 0xFFFFFFFF;
  const std::string numbers = little_endian_text(size, 8) + little_endian_text(size, 8) + little_endian_text(0, 8);
  CHECK(reads({.extra = little_endian_text(7, 2) + little_endian_text(0, 2) + little_endian_text(1, 2) +
                        little_endian_text(24, 2) + numbers,
               .size = unknown,
               .stored = unknown,
               .offset = unknown}));
  CHECK(parse_npz(little_endian_text(0x06054B50, 4) + std::string(18, '\0'), "x.npz").empty());
}

TEST_CASE("what is saved as .npz is read back", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "x.npz";
  ef::Rng rng(5);
  const Tensor<float> w = ef::randn<float>({3, 5}, rng);
  const Tensor<std::int64_t> ids = ef::tensor<std::int64_t>({{1, -2}, {3, 4}});
  save_npz(path, {{"w", w},
                  {"encoder/ids", ids},
                  {"\xC3\xA9", ef::tensor<bool>({true, false})},
                  {"", ef::full<double>({}, 3)},
                  {"none", Tensor<float>({0, 4})},
                  {"turned", w.transpose()}});
  const NamedTensors tensors = load_npz(path);
  CHECK(tensors.size() == 6);
  CHECK(ef::equal(tensors.at("w").to<float>(), w));
  CHECK(ef::equal(tensors.at("encoder/ids").to<std::int64_t>(), ids));
  CHECK(ef::equal(tensors.at("\xC3\xA9").to<bool>(), ef::tensor<bool>({true, false})));
  CHECK(tensors.at("").to<double>().item() == 3);
  CHECK(tensors.at("none").shape() == ef::Sizes{0, 4});
  CHECK(ef::equal(tensors.at("turned").to<float>(), w.transpose()));
  CHECK(ef::testing::names_in(folder.path()) == std::vector<std::string>{"x.npz"});
  const std::string bytes = ef::read_file(path);
  save_npz(path, tensors);
  CHECK(ef::read_file(path) == bytes);
  save_npz(path, {});
  CHECK(load_npz(path).empty());

  CHECK(contains(message_of([&] { save_npz(path, {{"\xFF", w}}); }), "a name: invalid UTF-8 at byte 0"));
  CHECK(contains(message_of([&] {
                   save_npz(path, {{std::string(65532, 'a'), w}});
                 }),
                 "a name has 65532 bytes, expected at most 65531"));
  CHECK(contains(message_of([&] {
                   save_npz(path, {{"b", w.cast<Eigen::bfloat16>()}});
                 }),
                 "\"b\": the tensor is of bfloat16, which NumPy lacks"));
}

TEST_CASE("archives with 64-bit fields are written and read", "[io]") {
  // Real ones have more than 4 GB or 65,534 entries. Here the limits are smaller, and entries lie on both sides.
  const std::string npy = small_npy(), twice = npy + npy;
  std::vector<ef::detail::ZipSource> sources;
  for (const std::string* const bytes : {&npy, &twice, &npy})
    sources.push_back({"entry " + std::to_string(sources.size()), {std::as_bytes(std::span(*bytes))}});
  for (const ef::detail::ZipLimits limits : {ef::detail::ZipLimits{}, ef::detail::ZipLimits{.size = 100},
                                             ef::detail::ZipLimits{.entries = 2}, ef::detail::ZipLimits{.size = 1}}) {
    CAPTURE(limits.size, limits.entries);
    const ef::detail::ZipWriter writer(sources, limits);
    std::string file;
    for (const auto& piece : writer.pieces(sources))
      file.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    CHECK(contains(file, little_endian_text(0x06064B50, 4)) == (limits.size < 1000 || limits.entries < 10));
    const auto entries = ef::detail::ZipReader(file, "x").entries();
    REQUIRE(entries.size() == 3);
    CHECK(entries[0].name == "entry 0");
    CHECK(entries[0].bytes == npy);
    CHECK(entries[1].bytes == twice);
    CHECK(entries[2].bytes == npy);
  }
}

TEST_CASE("a malformed archive gives one clear error", "[io]") {
  const std::string entry = "load_npz: x.npz: entry \"a.npy\"";
  CHECK(npz_error("") == "load_npz: x.npz: is not a zip archive, or its end is missing");
  CHECK(npz_error(small_npy()) == "load_npz: x.npz: is not a zip archive, or its end is missing");
  CHECK(npz_error(Archive().file() + "x") == "load_npz: x.npz: is not a zip archive, or its end is missing");
  CHECK(npz_error(Archive{.method = 8}) ==
        entry + " is compressed: write the file with np.savez instead of np.savez_compressed");
  CHECK(npz_error(Archive{.flags = 1}) == entry + " is encrypted");
  CHECK(npz_error(Archive{.crc = 7}) == entry + " is damaged: its CRC-32 differs");
  CHECK(npz_error(Archive{.name = "b.npy"}) == "load_npz: x.npz: entry \"b.npy\": has another name at byte 0");
  CHECK(npz_error(Archive{.name = "a.txt", .local_name = "a.txt"}) ==
        "load_npz: x.npz: entry \"a.txt\" is not named like an .npy file");
  CHECK(npz_error(Archive{.offset = 1}) == entry + ": does not begin at byte 1 of the file");
  CHECK(npz_error(Archive{.offset = 1U << 30}) == entry + ": does not begin at byte 1073741824 of the file");
  CHECK(npz_error(Archive{.stored = 5}) == entry + ": has 5 bytes, expected " + std::to_string(small_npy().size()));
  CHECK(npz_error(Archive{.size = 1U << 30}) ==
        entry + ": has 1073741824 bytes, which go beyond the directory's start at byte 102");
  CHECK(npz_error(Archive{.size = 0xFFFFFFFF}) ==
        entry + ": has 4294967295 bytes, which go beyond the directory's start at byte 102");
  const std::string far_off = little_endian_text(1, 2) + little_endian_text(24, 2) +
                              little_endian_text(small_npy().size(), 8) + little_endian_text(small_npy().size(), 8) +
                              little_endian_text(~std::uint64_t{0}, 8);
  CHECK(npz_error(Archive{.extra = far_off, .size = 0xFFFFFFFF, .stored = 0xFFFFFFFF, .offset = 0xFFFFFFFF}) ==
        entry + ": does not begin at byte 18446744073709551615 of the file");
  CHECK(npz_error(Archive{.entries = 2}) == "load_npz: x.npz: announces 2 entries in a directory of 51 bytes");
  CHECK(npz_error(Archive{.entries = 0}) == "load_npz: x.npz: its directory has 51 bytes behind the last entry");
  Archive broken;
  broken.bytes[0] = 'x';
  broken.crc = ef::detail::crc32(std::as_bytes(std::span(broken.bytes)));
  CHECK(npz_error(broken) == entry + ": does not begin with the signature of an .npy file");

  const std::string good = Archive().file();
  const std::size_t end = good.size() - 22;
  std::string file = good;
  overwrite(file, end + 16, little_endian_text(101, 4));
  CHECK(npz_error(file) ==
        "load_npz: x.npz: its directory of 51 bytes begins at byte 101, expected it to end at byte " +
            std::to_string(end));
  file = good;
  overwrite(file, end + 4, little_endian_text(1, 2));
  CHECK(npz_error(file) == "load_npz: x.npz: is a part of an archive of several files");
  file = good;
  overwrite(file, 102, "XX");
  CHECK(npz_error(file) == "load_npz: x.npz: there is no directory entry at byte 102");
  file = good;
  overwrite(file, 102 + 32, little_endian_text(1000, 2));
  CHECK(npz_error(file) == "load_npz: x.npz: the directory ends inside its entry at byte 102");

  // Two entries of the directory for the same bytes: small files could announce any amount.
  file = good.substr(0, end) + good.substr(102, 51) + good.substr(end);
  overwrite(file, file.size() - 14, little_endian_text(2, 2) + little_endian_text(2, 2) + little_endian_text(102, 4));
  CHECK(npz_error(file) == "load_npz: x.npz: two entries overlap at byte 0");
  // Two entries of one name.
  file = good.substr(0, 102) + good.substr(0, 102) + good.substr(102, 51) + good.substr(102, 51) + good.substr(end);
  overwrite(file, 204 + 51 + 42, little_endian_text(102, 4));
  overwrite(
      file, file.size() - 14,
      little_endian_text(2, 2) + little_endian_text(2, 2) + little_endian_text(102, 4) + little_endian_text(204, 4));
  CHECK(npz_error(file) == entry + " occurs twice");
}

TEST_CASE("a locator that leads astray is an error", "[io]") {
  const std::string good = Archive().file();
  const std::size_t end = good.size() - 22;
  const auto with_locator = [&](std::uint64_t place) {
    std::string file = good.substr(0, end) + little_endian_text(0x06064B50, 4) + std::string(52, '\0') +
                       little_endian_text(0x07064B50, 4) + little_endian_text(0, 4) + little_endian_text(place, 8) +
                       little_endian_text(1, 4) + good.substr(end);
    overwrite(file, file.size() - 14, little_endian_text(0xFFFF, 2) + little_endian_text(0xFFFF, 2));
    return file;
  };
  for (const std::uint64_t place : {std::uint64_t{0}, std::uint64_t{end} + 1, ~std::uint64_t{0}})
    CHECK(npz_error(with_locator(place)) ==
          "load_npz: x.npz: the 64-bit end of its directory is not at byte " + std::to_string(place));
  CHECK(npz_error(with_locator(end)) ==
        "load_npz: x.npz: its directory of 0 bytes begins at byte 0, expected it to end at byte " +
            std::to_string(end));
}

TEST_CASE("truncated and randomly changed archives give an error or tensors", "[io]") {
  const auto seed = GENERATE(1U, 2U, 3U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto below = [&](std::size_t n) {
    return std::min<std::size_t>(n - 1, static_cast<std::size_t>(rng.uniform() * static_cast<double>(n)));
  };
  const TemporaryFolder folder;
  save_npz(folder / "x.npz", {{"w", Tensor<float>({2, 3})}, {"b", ef::full<bool>({}, true)}, {"i", Tensor<int>({4})}});
  std::vector<std::string> good{ef::read_file(folder / "x.npz"), Archive().file()};
  std::vector<ef::detail::ZipSource> sources{{"a.npy", {}}, {"b.npy", {}}};
  const std::string npy = small_npy();
  for (auto& source : sources) source.pieces.push_back(std::as_bytes(std::span(npy)));
  const ef::detail::ZipWriter large_archive(sources, {.size = 1});
  good.emplace_back();
  for (const auto& piece : large_archive.pieces(sources))
    good.back().append(reinterpret_cast<const char*>(piece.data()), piece.size());
  for (const std::string& file : good) {
    CHECK_FALSE(parse_npz(file, "good").empty());
    for (std::size_t size = 0; size < file.size(); ++size)
      CHECK_THROWS_AS(parse_npz(file.substr(0, size), "truncated"), ef::Error);
  }
  int errors = 0, read = 0;
  const ef::testing::AllocationCount large(1 << 20);
  for (int trial = 0; trial < 20000; ++trial) {
    std::string file = good[below(good.size())];
    for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
      const std::size_t at = below(file.size());
      const std::string number =
          below(2) == 0 ? little_endian_text(below(file.size()), 4) : little_endian_text(0xFFFFFFFF, 4);
      switch (below(5)) {
        case 0:
          file[at] = static_cast<char>(below(256));
          break;
        case 1:
          overwrite(file, at, number.substr(0, std::min<std::size_t>(1 + below(4), file.size() - at)));
          break;
        case 2:
          file.insert(at, file.substr(below(file.size()), below(60)));
          break;
        case 3:
          file.erase(at, 1 + below(3));
          break;
        default:
          file[at] = static_cast<char>(file[at] + 1);
      }
      if (file.empty()) file = "x";
    }
    try {
      read += parse_npz(file, "changed").empty() ? 1 : 1;
    } catch (const ef::Error& error) {
      errors += std::string(error.what()).starts_with("load_npz: changed: ") ? 1 : 0;
    }
  }
  CHECK(large.count() == 0);
  CHECK(errors + read == 20000);
  CHECK(errors > 10000);
  CHECK(read > 200);
}
