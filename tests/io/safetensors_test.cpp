#include "eigenformer/io/safetensors.hpp"

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;
using ef::DType;
using ef::SafetensorsFile;
using ef::testing::message_of;
using ef::testing::TemporaryFolder;
using Names = std::vector<std::string>;
using Dimensions = std::vector<ef::Index>;

namespace {

/// A file's bytes, put together by hand.
std::string file_of(const std::string& header, const std::string& data) {
  std::string bytes;
  for (std::size_t i = 0; i < 8; ++i) bytes += static_cast<char>((header.size() >> (8 * i)) & 255);
  return bytes + header + data;
}

std::string safetensors_error(const std::string& bytes) {
  try {
    const SafetensorsFile file(bytes, "broken");
  } catch (const ef::Error& error) {
    return error.what();
  }
  return {};
}

/// A small good file: three tensors, one of them empty, and metadata.
const char* const good_header =
    R"({"__metadata__":{"made":"by hand"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
    R"("none":{"dtype":"I64","shape":[0,3],"data_offsets":[8,8]},"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}})";
const std::string good_data("\0\0\x80?\0\0\0\xC0\1\2\xFF", 11);  // 1 and -2; 1, 2 and 255

}  // namespace

TEST_CASE("what a temporary file returns outlives it", "[io]") {
  const auto file = [] { return SafetensorsFile(file_of(std::string(good_header) + "    ", good_data), "by hand"); };
  static_assert(std::is_same_v<decltype(file().names()), Names>);
  static_assert(std::is_same_v<decltype(file().shape("a")), Dimensions>);
  static_assert(std::is_same_v<decltype(file().metadata()), std::map<std::string, std::string>>);
  Names names;
  for (const std::string& name : file().names()) names.push_back(name);
  CHECK(names == Names{"a", "none", "b"});
  const Dimensions& shape = file().shape("none");
  CHECK(shape == Dimensions{0, 3});
  CHECK(file().metadata().at("made") == "by hand");
}

TEST_CASE("a file written by hand is read", "[io]") {
  const SafetensorsFile file(file_of(std::string(good_header) + "    ", good_data), "by hand");
  CHECK(file.names() == Names{"a", "none", "b"});
  CHECK(file.metadata() == std::map<std::string, std::string>{{"made", "by hand"}});
  CHECK(file.matrix<float>("a") == (ef::Matrix<float>(2, 1) << 1, -2).finished());
  CHECK(file.values<double>("a") == std::vector<double>{1, -2});
  CHECK(file.matrix<std::int64_t>("b") == (ef::Matrix<std::int64_t>(1, 3) << 1, 2, 255).finished());
  CHECK(file.dtype("none") == DType::i64);
  CHECK(file.shape("none") == Dimensions{0, 3});
  CHECK(file.values<int>("none").empty());
  CHECK(file.bytes("b").size() == 3);
  CHECK(file.contains("a"));
  CHECK_FALSE(file.contains("c"));
  CHECK_FALSE(file.contains("__metadata__"));
  CHECK(SafetensorsFile(file_of("{}", ""), "empty").names().empty());
}

TEST_CASE("what is written is read back, whatever the shapes", "[io]") {
  const std::uint64_t seed = 7;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const TemporaryFolder folder;
  const ef::Matrix<float> wide = ef::testing::random_matrix<float>(3, 17, rng);
  const ef::Matrix<double> tall = ef::testing::random_matrix<double>(31, 1, rng);
  const ef::Matrix<Eigen::half> half = wide.cast<Eigen::half>();
  const ef::Matrix<Eigen::bfloat16> brain = wide.cast<Eigen::bfloat16>();
  const ef::Matrix<float> no_rows(0, 5);
  const ef::Matrix<float> no_cols(4, 0);
  const std::vector<std::int16_t> cube{1, -2, 3, -4, 5, -6};
  const std::vector<std::uint8_t> bits{1, 0, 1};
  const double scalar = -0.5;

  const std::vector<ef::NamedTensor> tensors{
      {"bits", DType::boolean, {3}, std::as_bytes(std::span(bits))},
      ef::named_tensor("half", half),
      ef::named_tensor("encoder.layers.0.\"odd\" \xC3\xA9", wide),
      ef::named_tensor("no_rows", no_rows),
      ef::named_tensor("no_cols", no_cols),
      {"cube", DType::i16, {3, 1, 2}, std::as_bytes(std::span(cube))},
      ef::named_tensor("brain", brain),
      ef::named_tensor("tall", tall),
      {"scalar", DType::f64, {}, std::as_bytes(std::span(&scalar, 1))},
      ef::named_tensor("", wide),
  };
  const std::map<std::string, std::string> metadata{{"format", "pt"}, {"", "\xE6\x96\x87 \n"}};
  ef::write_safetensors(folder / "model.safetensors", tensors, metadata);
  const SafetensorsFile file(folder / "model.safetensors");

  CHECK(file.name() == ef::path_text(folder / "model.safetensors"));
  CHECK(file.names().size() == tensors.size());
  CHECK(file.metadata() == metadata);
  CHECK(file.matrix<float>("encoder.layers.0.\"odd\" \xC3\xA9") == wide);
  CHECK(file.matrix<float>("") == wide);
  CHECK(file.matrix<double>("tall") == tall);
  CHECK(file.matrix<float>("tall") == tall.cast<float>());
  CHECK(file.matrix<float>("half") == half.cast<float>());
  CHECK(file.matrix<double>("brain") == brain.cast<float>().cast<double>());
  CHECK(ef::testing::max_error(file.matrix<float>("half"), wide) < 1e-3);
  CHECK(ef::testing::max_error(file.matrix<float>("brain"), wide) < 1e-2);
  CHECK(ef::shape(file.matrix<float>("no_rows")) == ef::Shape{0, 5});
  CHECK(ef::shape(file.matrix<float>("no_cols")) == ef::Shape{4, 0});
  CHECK(file.shape("cube") == Dimensions{3, 1, 2});
  CHECK(file.values<std::int16_t>("cube") == cube);
  CHECK(file.values<ef::Token>("cube") == std::vector<ef::Token>{1, -2, 3, -4, 5, -6});
  CHECK(file.matrix<std::uint8_t>("bits") == (ef::Matrix<std::uint8_t>(1, 3) << 1, 0, 1).finished());
  CHECK(file.shape("scalar").empty());
  CHECK(file.matrix<double>("scalar") == ef::Matrix<double>::Constant(1, 1, -0.5));

  SECTION("tensors are aligned, the header by spaces and the others by their order") {
    const std::string bytes = ef::read_file(folder / "model.safetensors");
    const auto header_bytes = static_cast<std::size_t>(static_cast<unsigned char>(bytes[0])) +
                              256 * static_cast<std::size_t>(static_cast<unsigned char>(bytes[1]));
    CHECK(header_bytes % 8 == 0);
    CHECK(bytes[8] == '{');
    for (const std::string& tensor : file.names()) {
      CAPTURE(tensor);
      const auto offset = static_cast<std::size_t>(file.bytes(tensor).data() - file.bytes("tall").data());
      CHECK(offset % ef::dtype_bytes(file.dtype(tensor)) == 0);
    }
  }
  SECTION("a file without tensors or metadata") {
    ef::write_safetensors(folder / "empty", {});
    CHECK(ef::read_file(folder / "empty") == file_of("{}      ", ""));
    CHECK(SafetensorsFile(folder / "empty").names().empty());
  }
  SECTION("the bytes outlive the file object that gave them while a copy lives") {
    auto first = std::make_unique<SafetensorsFile>(folder / "model.safetensors");
    const SafetensorsFile second = *first;
    const std::span<const std::byte> view = first->bytes("tall");
    first.reset();
    CHECK(std::memcmp(view.data(), tall.data(), view.size()) == 0);
  }
}

TEST_CASE("asking a file for what it has not", "[io]") {
  const std::string cube = R"({"cube":{"dtype":"F32","shape":[1,1,1],"data_offsets":[0,4]}})";
  const SafetensorsFile file(file_of(cube, std::string(4, '\0')), "the file");
  REQUIRE_THROWS_AS(file.matrix<float>("cube"), ef::Error);
  CHECK(message_of([&] { file.matrix<float>("cube"); }) ==
        "safetensors: the file: tensor \"cube\": shape is [1 x 1 x 1], expected at most two dimensions");
  CHECK(message_of([&] { file.values<int>("cube"); }) ==
        "safetensors: the file: tensor \"cube\": is F32, expected whole numbers or BOOL");
  for (const std::string& message :
       {message_of([&] { file.shape("tube"); }), message_of([&] { file.dtype("tube"); }),
        message_of([&] { file.bytes("tube"); }), message_of([&] { file.matrix<float>("tube"); })})
    CHECK(message == "safetensors: the file: tensor \"tube\" is not in the file");
  REQUIRE_THROWS_AS(SafetensorsFile("no/such/file"), ef::Error);
}

TEST_CASE("names in messages are short, and no terminal obeys them", "[io]") {
  const std::string escape =
      R"({"\u001b]0;owned\u0007\nsecond line":{"dtype":"F32","shape":[3],"data_offsets":[0,4]}})";
  CHECK(message_of([&] {
          SafetensorsFile(file_of(escape, "1234"), "x");
        }).starts_with("safetensors: x: tensor \"?]0;owned??second line\": "));
  const std::string endless =
      R"({")" + std::string(100'000, 'a') + R"(":{"dtype":"F32","shape":[3],"data_offsets":[0,4]}})";
  CHECK(message_of([&] { SafetensorsFile(file_of(endless, "1234"), "x"); }).size() < 500);
}

TEST_CASE("what cannot be written is an error, and no file appears", "[io]") {
  const TemporaryFolder folder;
  const std::vector<float> two{1, 2};
  const auto error = [&](const std::vector<ef::NamedTensor>& tensors,
                         const std::map<std::string, std::string>& metadata = {}) {
    const std::string message = message_of([&] { ef::write_safetensors(folder / "file", tensors, metadata); });
    CHECK(ef::testing::names_in(folder.path()).empty());
    return message.substr(message.find("file") + 4);
  };
  const auto tensor = [&](const std::string& name, const Dimensions& shape) {
    return ef::NamedTensor{name, DType::f32, shape, std::as_bytes(std::span(two))};
  };
  CHECK(error({tensor("a", {3})}) == ": tensor \"a\": has 8 bytes, expected 12 for [3] of F32");
  CHECK(error({tensor("a", {1, 1})}) == ": tensor \"a\": has 8 bytes, expected 4 for [1 x 1] of F32");
  CHECK(error({tensor("a", {-1, -2})}) == ": tensor \"a\": shape is [-1 x -2], expected no dimension below 0");
  CHECK(error({tensor("a", {2}), tensor("b", {2}), tensor("a", {1, 2})}) == ": tensor \"a\": the name stands twice");
  CHECK(error({tensor("__metadata__", {2})}).find("keeps this name") != std::string::npos);
  CHECK(error({tensor("a\xFF", {2})}).find("is not UTF-8") != std::string::npos);
  CHECK(error({}, {{"key", "\xC3"}}).find("is not UTF-8") != std::string::npos);
  CHECK(message_of([&] { ef::write_safetensors(folder / "no" / "file", {}); }).find("no such file or folder") !=
        std::string::npos);
}

TEST_CASE("a malformed file is an error that names the file, the tensor and what is wrong", "[io]") {
  const std::string data(16, 'x');
  const auto one = [&](const std::string& tensor) {
    return safetensors_error(file_of("{\"t\":" + tensor + "}", data));
  };
  const std::string in_t = "safetensors: broken: tensor \"t\": ";
  const auto starts_with = [](const std::string& message, const std::string& start) {
    CAPTURE(message);
    CHECK(message.substr(0, start.size()) == start);
  };
  REQUIRE_THROWS_AS(SafetensorsFile("", "broken"), ef::Error);
  REQUIRE(one(R"({"dtype":"F32","shape":[2,2],"data_offsets":[0,16]})").empty());

  SECTION("shorter than the header's length") {
    starts_with(safetensors_error("1234567"),
                "safetensors: broken: has 7 bytes, expected 8 for the length of the header");
  }
  SECTION("a header longer than the file") {
    starts_with(safetensors_error(std::string("\x03\0\0\0\0\0\0\0{}", 10)),
                "safetensors: broken: the header's length is 3, expected at most 2");
  }
  SECTION("a header whose length would overflow") {
    starts_with(safetensors_error(std::string(8, '\xFF') + "{}"),
                "safetensors: broken: the header's length is 1844674407370955");
  }
  SECTION("no header") {
    starts_with(safetensors_error(file_of("", "")), "safetensors: broken: the header does not begin with {");
  }
  SECTION("a header that is a list") {
    starts_with(safetensors_error(file_of("[]", "")), "safetensors: broken: the header does not begin with {");
  }
  SECTION("a header after white space") {
    starts_with(safetensors_error(file_of(" {}", "")), "safetensors: broken: the header does not begin with {");
  }
  SECTION("a header that is not JSON") {
    starts_with(safetensors_error(file_of("{\"t\":}", "")),
                "safetensors: broken: header: line 1, column 6: not valid JSON");
  }
  SECTION("a header padded with zeros") {
    starts_with(safetensors_error(file_of(std::string("{}\0\0", 4), "")),
                "safetensors: broken: header: not valid JSON");
  }
  SECTION("a name that stands twice") {
    const std::string empty = R"("t":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
    starts_with(safetensors_error(file_of("{" + empty + "," + empty + "}", "")),
                "safetensors: broken: header: the key \"t\" stands twice");
  }
  SECTION("a tensor that is no object") {
    starts_with(one("[1]"), in_t + "is of type array, expected an object");
  }
  SECTION("a missing dtype") {
    starts_with(one(R"({"shape":[16],"data_offsets":[0,16]})"), in_t + "has no dtype");
  }
  SECTION("a missing shape") {
    starts_with(one(R"({"dtype":"U8","data_offsets":[0,16]})"), in_t + "has no shape");
  }
  SECTION("missing offsets") {
    starts_with(one(R"({"dtype":"U8","shape":[16]})"), in_t + "has no data_offsets");
  }
  SECTION("a key too many") {
    starts_with(one(R"({"dtype":"U8","shape":[16],"data_offsets":[0,16],"x":1})"), in_t + "has 4 keys, expected dtype");
  }
  SECTION("an unknown dtype") {
    starts_with(one(R"({"dtype":"F8_E4M3","shape":[16],"data_offsets":[0,16]})"),
                in_t + "dtype is F8_E4M3, expected F64");
  }
  SECTION("a dtype that is no string") {
    starts_with(one(R"({"dtype":4,"shape":[16],"data_offsets":[0,16]})"), in_t + "dtype is of type number, expected");
  }
  SECTION("a shape that is no list") {
    starts_with(one(R"({"dtype":"U8","shape":16,"data_offsets":[0,16]})"), in_t + "shape is of type number, expected");
  }
  SECTION("dimensions that are no counts") {
    for (const char* n : {"-16", "16.0", "\"16\"", "null", "true", "[16]", "9223372036854775808", "1e30", "-0"}) {
      CAPTURE(n);
      starts_with(one(std::string(R"({"dtype":"U8","shape":[)") + n + R"(],"data_offsets":[0,16]})"),
                  in_t + "shape has an entry that is not a whole number from 0 to 9223372036854775807");
    }
  }
  SECTION("a shape whose product overflows") {
    // 2^66 bytes are 0 modulo 2^64, 2^64 + 16 are 16.
    starts_with(one(R"({"dtype":"F32","shape":[8589934592,2147483648],"data_offsets":[0,16]})"),
                in_t + "shape is [8589934592 x 2147483648], more bytes than a machine can address");
    starts_with(one(R"({"dtype":"F32","shape":[4611686018427387908],"data_offsets":[0,16]})"),
                in_t + "shape is [4611686018427387908], more bytes");
  }
  SECTION("too few or too many offsets") {
    starts_with(one(R"({"dtype":"U8","shape":[16],"data_offsets":[0]})"),
                in_t + "data_offsets has 1 entries, expected 2");
    starts_with(one(R"({"dtype":"U8","shape":[16],"data_offsets":[0,8,16]})"), in_t + "data_offsets has 3 entries");
  }
  SECTION("offsets that are no counts") {
    starts_with(one(R"({"dtype":"U8","shape":[16],"data_offsets":[-1,15]})"),
                in_t + "data_offsets has an entry that is");
  }
  SECTION("offsets that run backwards or past the end") {
    starts_with(one(R"({"dtype":"U8","shape":[16],"data_offsets":[16,0]})"),
                in_t + "data_offsets are 16 and 0, expected");
    starts_with(one(R"({"dtype":"U8","shape":[17],"data_offsets":[0,17]})"),
                in_t + "data_offsets are 0 and 17, expected a range within the 16 bytes after the header");
  }
  SECTION("offsets that do not match the shape") {
    starts_with(one(R"({"dtype":"F32","shape":[2,1],"data_offsets":[0,16]})"),
                in_t + "data_offsets span 16 bytes, expected 8 for [2 x 1] of F32");
    starts_with(one(R"({"dtype":"BF16","shape":[],"data_offsets":[0,16]})"),
                in_t + "data_offsets span 16 bytes, expected 2 for [] of BF16");
  }

  const auto two = [&](const std::string& first, const std::string& second) {
    return safetensors_error(
        file_of(R"({"a":{"dtype":"U8",)" + first + R"(},"t":{"dtype":"U8",)" + second + "}}", data));
  };
  SECTION("a hole") {
    starts_with(two(R"("shape":[4],"data_offsets":[0,4])", R"("shape":[8],"data_offsets":[8,16])"),
                in_t + "data_offsets begin at 8, expected 4, where the tensor before ends");
  }
  SECTION("a hole at the beginning") {
    starts_with(one(R"({"dtype":"U8","shape":[8],"data_offsets":[8,16]})"),
                in_t + "data_offsets begin at 8, expected 0");
  }
  SECTION("an overlap") {
    starts_with(two(R"("shape":[8],"data_offsets":[0,8])", R"("shape":[12],"data_offsets":[4,16])"),
                in_t + "data_offsets begin at 4, expected 8, where the tensor before ends");
    starts_with(two(R"("shape":[16],"data_offsets":[0,16])", R"("shape":[16],"data_offsets":[0,16])"),
                in_t + "data_offsets begin at 0, expected 16");
  }
  SECTION("an empty tensor inside another") {
    starts_with(two(R"("shape":[16],"data_offsets":[0,16])", R"("shape":[0],"data_offsets":[8,8])"),
                in_t + "data_offsets begin at 8, expected 16");
  }
  SECTION("bytes that belong to no tensor") {
    starts_with(one(R"({"dtype":"U8","shape":[8],"data_offsets":[0,8]})"),
                "safetensors: broken: the tensors end at byte 8 after the header, expected 16, where the file ends");
    starts_with(safetensors_error(file_of("{}", "x")), "safetensors: broken: the tensors end at byte 0");
  }
  SECTION("metadata that is not strings") {
    starts_with(safetensors_error(file_of(R"({"__metadata__":"x"})", "")),
                "safetensors: broken: __metadata__ is of type string");
    starts_with(safetensors_error(file_of(R"({"__metadata__":{"a":1}})", "")),
                "safetensors: broken: __metadata__ \"a\" is of type number, expected a string");
  }
}

TEST_CASE("a file cut short anywhere is an error", "[io]") {
  const std::string good = file_of(good_header, good_data);
  REQUIRE(safetensors_error(good).empty());
  for (std::size_t length = 0; length < good.size(); ++length) {
    CAPTURE(length);
    CHECK(safetensors_error(good.substr(0, length)).find("safetensors: broken: ") == 0);
  }
}

TEST_CASE("a damaged header is an error or a header that makes sense", "[io]") {
  const std::uint64_t seed = 11;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const std::string good = file_of(good_header, good_data);
  int errors = 0;
  const int files = 20'000;
  for (int i = 0; i < files; ++i) {
    std::string bytes = good;
    for (ef::Index flips = 1 + rng.randint(3); flips > 0; --flips) {
      const auto place =
          static_cast<std::size_t>(rng.randint(static_cast<ef::Index>(8 + std::string(good_header).size())));
      bytes[place] = static_cast<char>(bytes[place] ^ (1 << rng.randint(8)));
    }
    try {
      const SafetensorsFile file(bytes, "damaged");
      for (const std::string& tensor : file.names()) {
        const DType dtype = file.dtype(tensor);
        const bool floating = dtype == DType::f64 || dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
        if (floating) file.values<float>(tensor);
        if (!floating) file.values<std::int64_t>(tensor);
      }
    } catch (const ef::Error&) {
      ++errors;
    }
  }
  CHECK(errors > files / 2);
  CHECK(errors < files);
}
