#include "eigenformer/io/npy.hpp"

#include <cstdint>
#include <limits>
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
using ef::DType;
using ef::Index;
using ef::load_npy;
using ef::parse_npy;
using ef::save_npy;
using ef::Tensor;
using ef::testing::contains;
using ef::testing::message_of;
using ef::testing::TemporaryFolder;
using Eigen::half;

namespace {

/// A file's bytes, put together by hand.
std::string npy_of(const std::string& header, const std::string& data, int major = 1) {
  std::string bytes = "\x93NUMPY";
  bytes += static_cast<char>(major);
  bytes += '\0';
  for (std::size_t i = 0; i < (major == 1 ? 2U : 4U); ++i)
    bytes += static_cast<char>(static_cast<unsigned char>(header.size() >> (8 * i)));
  return bytes + header + data;
}
std::string npy_header_of(const std::string& descr, const std::string& shape, bool fortran_order = false) {
  return "{'descr': '" + descr + "', 'fortran_order': " + (fortran_order ? "True" : "False") + ", 'shape': " + shape +
         ", }\n";
}
std::string npy_error(const std::string& bytes) {
  return message_of([&] { parse_npy(bytes, "x.npy"); });
}
std::string npy_header_error(const std::string& header) {
  return npy_error(npy_of(header, std::string(8, '\0')));
}

/// Returns the numbers 1 and 2 as bytes. `one` and `other` have the least significant byte first; big_endian reverses
/// them.
std::string two_numbers(const std::string& one, const std::string& other, bool big_endian) {
  std::string first = one, second = other;
  if (big_endian) {
    std::reverse(first.begin(), first.end());
    std::reverse(second.begin(), second.end());
  }
  return first + second;
}

template <class Scalar>
void check_npy_type(const std::string& letters, const std::string& one, const std::string& other) {
  CAPTURE(letters);
  const Tensor<Scalar> expected = ef::tensor<Scalar>({Scalar(1), Scalar(2)});
  for (const char order : {'<', '>', '=', '|'}) {
    CAPTURE(order);
    const std::string file = npy_of(npy_header_of(order + letters, "(2,)"), two_numbers(one, other, order == '>'));
    const AnyTensor x = parse_npy(file, "x.npy");
    CHECK(x.dtype() == ef::stored_dtype<Scalar>());
    CHECK(ef::equal(x.to<Scalar>(), expected));
  }
  const TemporaryFolder folder;
  save_npy(folder / "x.npy", expected);
  CHECK(ef::equal(load_npy<Scalar>(folder / "x.npy"), expected));
  const std::string order = one.size() == 1 ? "|" : "<";
  const std::string written = ef::read_file(folder / "x.npy");
  CHECK(written.size() == 128 + 2 * one.size());
  CHECK(contains(written, "{'descr': '" + order + letters + "', 'fortran_order': False, 'shape': (2,), }"));
  CHECK(written.substr(128) == one + other);
}

}  // namespace

TEST_CASE("numbers of every type and byte order are read and written", "[io]") {
  const auto bytes = [](std::initializer_list<int> values) {
    std::string text;
    for (const int value : values) text += static_cast<char>(static_cast<unsigned char>(value));
    return text;
  };
  check_npy_type<half>("f2", bytes({0, 0x3C}), bytes({0, 0x40}));
  check_npy_type<float>("f4", bytes({0, 0, 0x80, 0x3F}), bytes({0, 0, 0, 0x40}));
  check_npy_type<double>("f8", bytes({0, 0, 0, 0, 0, 0, 0xF0, 0x3F}), bytes({0, 0, 0, 0, 0, 0, 0, 0x40}));
  check_npy_type<std::int8_t>("i1", bytes({1}), bytes({2}));
  check_npy_type<std::uint8_t>("u1", bytes({1}), bytes({2}));
  check_npy_type<std::int16_t>("i2", bytes({1, 0}), bytes({2, 0}));
  check_npy_type<std::uint16_t>("u2", bytes({1, 0}), bytes({2, 0}));
  check_npy_type<std::int32_t>("i4", bytes({1, 0, 0, 0}), bytes({2, 0, 0, 0}));
  check_npy_type<std::uint32_t>("u4", bytes({1, 0, 0, 0}), bytes({2, 0, 0, 0}));
  check_npy_type<std::int64_t>("i8", bytes({1, 0, 0, 0, 0, 0, 0, 0}), bytes({2, 0, 0, 0, 0, 0, 0, 0}));
  check_npy_type<std::uint64_t>("u8", bytes({1, 0, 0, 0, 0, 0, 0, 0}), bytes({2, 0, 0, 0, 0, 0, 0, 0}));
  check_npy_type<long long>("i8", bytes({1, 0, 0, 0, 0, 0, 0, 0}), bytes({2, 0, 0, 0, 0, 0, 0, 0}));

  // Any byte but 0 is true, as in NumPy; a bool of C++ may hold 0 and 1 only.
  const AnyTensor truth = parse_npy(npy_of(npy_header_of("|b1", "(3,)"), bytes({0, 1, 200})), "x.npy");
  CHECK(ef::equal(truth.to<bool>(), ef::tensor<bool>({false, true, true})));
  CHECK(ef::equal(parse_npy(npy_of(npy_header_of(">i2", "(2,)"), bytes({0xFF, 0xFE, 1, 0})), "x").to<int>(),
                  ef::tensor<int>({-2, 256})));
}

TEST_CASE("entries are read in C's and in Fortran's order", "[io]") {
  std::string data;
  for (int i = 0; i < 24; ++i) data += static_cast<char>(i);
  const Tensor<std::uint8_t> rows = parse_npy(npy_of(npy_header_of("|u1", "(2, 3, 4)"), data), "x").to<std::uint8_t>();
  const Tensor<std::uint8_t> cols =
      parse_npy(npy_of(npy_header_of("|u1", "(2, 3, 4)", true), data), "x").to<std::uint8_t>();
  CHECK(rows.shape() == ef::Sizes{2, 3, 4});
  CHECK(cols.shape() == ef::Sizes{2, 3, 4});
  for (Index i = 0; i < 2; ++i)
    for (Index j = 0; j < 3; ++j)
      for (Index k = 0; k < 4; ++k) {
        CHECK(rows(i, j, k) == 12 * i + 4 * j + k);
        CHECK(cols(i, j, k) == i + 2 * j + 6 * k);
      }
}

TEST_CASE("headers are read however they are written", "[io]") {
  const std::string data(8, '\0');
  for (const std::string& header :
       {std::string("{'descr':'<f4','fortran_order':False,'shape':(2,)}"),
        std::string("  { \"shape\" : ( 2 , ) , \"descr\" : \"<f4\" ,\n \"fortran_order\" : False , }   \n"),
        std::string("{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }")})
    CHECK(parse_npy(npy_of(header, data), "x").shape() == ef::Sizes{2});
  for (const int version : {1, 2, 3})
    CHECK(parse_npy(npy_of(npy_header_of("<f4", "(1, 2)"), data, version), "x").shape() == ef::Sizes{1, 2});
  CHECK(parse_npy(npy_of(npy_header_of("<f8", "()"), data), "x").shape() == ef::Sizes{});
  CHECK(parse_npy(npy_of(npy_header_of("<f8", "(1, 1, 1, 1, 1, 1, 1, 1)"), data), "x").shape().rank() == 8);
  CHECK(parse_npy(npy_of(npy_header_of("<f8", "(3, 0, 5)"), ""), "x").shape() == ef::Sizes{3, 0, 5});
  CHECK(parse_npy(npy_of(npy_header_of("<f8", "(3, 0, 5)", true), ""), "x").shape() == ef::Sizes{3, 0, 5});
  CHECK(parse_npy(npy_of(npy_header_of("<f8", "(0,)"), ""), "x").shape() == ef::Sizes{0});
}

TEST_CASE("what is saved is read back, whatever the strides", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "x.npy";
  ef::Rng rng(5);
  Tensor<float> x = ef::randn<float>({2, 3, 4}, rng);
  const auto check = [&](const auto& saved, bool fortran_order) {
    save_npy(path, saved);
    CHECK(ef::equal(load_npy<float>(path), saved));
    CHECK(contains(ef::read_file(path), "'fortran_order': True") == fortran_order);
  };
  check(x, false);
  check(x.view(), false);
  check(ef::TensorView<const float>(x), false);
  check(x.permute({2, 1, 0}), true);
  check(x.transpose(), false);
  check(x.slice(2, {.begin = 1}), false);
  check(x.slice(0, {.step = -1}), false);
  check(x.unsqueeze(0).expand({5, 2, 3, 4}), false);
  check(x.slice(1, {.end = 0}), false);
  check(x * 2.0F, false);
  check(x.array(), false);
  check(ef::full<float>({}, 3), false);
  save_npy(path, AnyTensor(x));
  CHECK(ef::equal(load_npy(path).to<float>(), x));
  const Eigen::MatrixXf matrix = Eigen::MatrixXf::Random(3, 5);
  save_npy(path, ef::strided_view(matrix));
  CHECK(load_npy<float>(path).matrix() == matrix);
  CHECK(ef::testing::names_in(folder.path()) == std::vector<std::string>{"x.npy"});

  const Tensor<double> special = ef::tensor<double>({-0.0, 5e-324, std::numeric_limits<double>::infinity()});
  save_npy(path, special);
  CHECK(std::signbit(load_npy<double>(path)(0)));
  CHECK(ef::equal(load_npy<double>(path), special));
}

TEST_CASE("a file of another type is converted only without loss", "[io]") {
  const TemporaryFolder folder;
  const auto path = folder / "x.npy";
  save_npy(path, ef::tensor<std::int16_t>({-300, 300}));
  CHECK(ef::equal(load_npy<float>(path), ef::tensor<float>({-300, 300})));
  CHECK(ef::equal(load_npy<Index>(path), ef::tensor<Index>({-300, 300})));
  CHECK(message_of([&] { load_npy<half>(path); }) ==
        "load_npy: " + ef::path_text(path) +
            ": the tensor is of int16, which float16 does not hold exactly: read it as int16 and cast it");
  CHECK(message_of([&] { save_npy(path, AnyTensor(ef::tensor<Eigen::bfloat16>({Eigen::bfloat16(1)}))); }) ==
        "save_npy: " + ef::path_text(path) + ": the tensor is of bfloat16, which NumPy lacks: save its cast<float>()");
  CHECK(contains(message_of([&] { load_npy(folder / "none.npy"); }), "none.npy: there is no such file"));
}

TEST_CASE("a malformed file gives one clear error", "[io]") {
  CHECK(npy_error("") == "load_npy: x.npy: does not begin with the signature of an .npy file");
  CHECK(npy_error("PK\3\4") == "load_npy: x.npy: does not begin with the signature of an .npy file");
  CHECK(npy_error(std::string("\x93NUMPY\1\0", 8)) == "load_npy: x.npy: has 8 bytes and ends in its header");
  CHECK(npy_error(std::string("\x93NUMPY\2\0\1\0", 10)) == "load_npy: x.npy: has 10 bytes and ends in its header");
  CHECK(npy_error(npy_of("{}", "", 4)) == "load_npy: x.npy: is of format version 4.0, expected 1.0, 2.0 or 3.0");
  CHECK(npy_error(std::string("\x93NUMPY\1\0\x50\0{}", 12)) ==
        "load_npy: x.npy: the header's length is 80, expected at most 2");
  CHECK(npy_error(npy_of(std::string(70000, ' '), "", 2)) ==
        "load_npy: x.npy: the header's length is 70000, expected at most 65535");
  CHECK(npy_error(npy_of(npy_header_of("<f4", "(2,)"), "1234567")) ==
        "load_npy: x.npy: has 7 bytes after its header, expected 8 for [2] of 4 bytes");
  CHECK(npy_error(npy_of(npy_header_of("<f4", "(2,)"), "123456789")) ==
        "load_npy: x.npy: has 9 bytes after its header, expected 8 for [2] of 4 bytes");

  CHECK(npy_header_error("") == "load_npy: x.npy: the header has \"\" at character 0, expected '{'");
  CHECK(npy_header_error("{") == "load_npy: x.npy: the header has \"\" at character 1, expected a key in quotes");
  CHECK(npy_header_error("{}") == "load_npy: x.npy: the header lacks one of descr, fortran_order and shape");
  CHECK(npy_header_error("{'descr") ==
        "load_npy: x.npy: the header has \"'descr\" at character 1, expected an end of the quotes");
  CHECK(npy_header_error("{'descr' '<f4'}") ==
        "load_npy: x.npy: the header has \"'<f4'}\" at character 9, expected ':'");
  CHECK(npy_header_error("{'descr': '<f4' 'shape': (2,)}") ==
        "load_npy: x.npy: the header has \"'shape': (2,)}\" at character 16, expected '}'");
  CHECK(npy_header_error("{'descr': '<f4', 'shape': (2,)}") ==
        "load_npy: x.npy: the header lacks one of descr, fortran_order and shape");
  CHECK(npy_header_error("{'descr': '<f4', 'descr': '<f4'}") ==
        "load_npy: x.npy: the header has the key 'descr' twice");
  CHECK(npy_header_error("{'a\x01\xFF': 1}") ==
        "load_npy: x.npy: the header has the key 'a?\?', expected descr, fortran_order and shape");
  CHECK(npy_header_error("{'fortran_order': 1}") ==
        "load_npy: x.npy: the header has \"1}\" at character 18, expected True or False");
  CHECK(npy_header_error("{'shape': [2]}") == "load_npy: x.npy: the header has \"[2]}\" at character 10, expected '('");
  CHECK(npy_header_error("{'shape': (-2,)}") ==
        "load_npy: x.npy: the header has \"-2,)}\" at character 11, expected a size");
  CHECK(npy_header_error("{'shape': (2 3)}") ==
        "load_npy: x.npy: the header has \"3)}\" at character 13, expected ')'");
  CHECK(npy_header_error("{'shape': (99999999999999999999,)}") ==
        "load_npy: x.npy: the header has \"99999999999999999999,)}\" at character 11, expected a size that this "
        "machine can count");
  CHECK(npy_header_error("{'shape': (1,1,1,1,1,1,1,1,1)}") == "load_npy: x.npy: the array has more than 8 dimensions");
  CHECK(npy_header_error(npy_header_of("<f8", "(1,)") + "x") ==
        "load_npy: x.npy: the header goes on after its dictionary");
  CHECK(npy_header_error(npy_header_of("<f8", "(1,)") + '\0') ==
        "load_npy: x.npy: the header goes on after its dictionary");
  CHECK(npy_header_error("{'descr': [('a', '<f4')]}") ==
        "load_npy: x.npy: the type of the array is a structure, expected one number per entry");
  for (const char* const descr : {"|O", "<c8", "<f16", "<U4", "|S8", "<b4", "<f", "f4", "xf4", "<M8[ns]", ""})
    CHECK(npy_header_error(npy_header_of(descr, "(2,)")) ==
          "load_npy: x.npy: the type of the array is '" + std::string(descr) +
              "', expected float16 to float64, int8 to int64, uint8 to uint64 or bool");
}

TEST_CASE("a header that announces too much is refused before memory is allocated", "[io]") {
  const Index most = (std::numeric_limits<Index>::max)();
  CHECK(npy_header_error(npy_header_of("<f8", "(" + std::to_string(most) + ",)")) ==
        "load_npy: x.npy: the shape is [" + std::to_string(most) + "], more bytes than a machine can address");
  CHECK(contains(npy_header_error(npy_header_of("<f8", "(1000000000, 1000000000, 1000000000)")), "more bytes than"));
  CHECK(contains(npy_header_error(npy_header_of("<f8", "(0, 1000000000, 1000000000, 1000000000)")), "more bytes than"));
  CHECK(npy_header_error(npy_header_of("<f8", "(1000, 1000000000)")) ==
        "load_npy: x.npy: has 8 bytes after its header, expected 8000000000000 for [1000 x 1000000000] of 8 bytes");
}

TEST_CASE("truncated and randomly changed files give an error or a tensor", "[io]") {
  const auto seed = GENERATE(1U, 2U, 3U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto below = [&](std::size_t n) {
    return std::min<std::size_t>(n - 1, static_cast<std::size_t>(rng.uniform() * static_cast<double>(n)));
  };
  const std::vector<std::string> good{
      npy_of(npy_header_of("<f4", "(2, 3)"), std::string(24, 'x')),
      npy_of(npy_header_of(">i8", "(3, 1, 2)", true), std::string(48, 'x'), 2),
      npy_of(npy_header_of("|b1", "()"), "x", 3),
      npy_of("{'shape': (0, 7L), 'fortran_order': True, 'descr': '<f2'}", ""),
  };
  for (const std::string& file : good) {
    parse_npy(file, "good");
    for (std::size_t size = 0; size < file.size(); ++size)
      CHECK_THROWS_AS(parse_npy(file.substr(0, size), "truncated"), ef::Error);
  }
  const std::string likely = "{}()[]'\",:<>=|0123456789LTFbiuf \n";
  int errors = 0, tensors = 0;
  const ef::testing::AllocationCount large(1 << 20);
  for (int trial = 0; trial < 20000; ++trial) {
    std::string file = good[below(good.size())];
    for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
      const std::size_t at = below(file.size());
      const char c = below(2) == 0 ? likely[below(likely.size())] : static_cast<char>(below(256));
      switch (below(4)) {
        case 0:
          file[at] = c;
          break;
        case 1:
          file.insert(at, 1 + below(3), c);
          break;
        case 2:
          file.erase(at, 1 + below(3));
          break;
        default:
          file.insert(at, file.substr(below(file.size()), below(20)));
      }
      if (file.empty()) file = "x";
    }
    try {
      const AnyTensor x = parse_npy(file, "changed");
      tensors += x.shape().rank() >= 0 ? 1 : 0;
    } catch (const ef::Error& error) {
      errors += std::string(error.what()).starts_with("load_npy: changed: ") ? 1 : 0;
    }
  }
  CHECK(large.count() == 0);
  CHECK(errors + tensors == 20000);
  CHECK(errors > 10000);
  CHECK(tensors > 200);
}
