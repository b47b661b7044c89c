#include "eigenformer/io/parameters.hpp"

#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;
using ef::testing::random_matrix;

namespace {

template <class Scalar>
struct NamedPair {
  ef::Parameter<Scalar> a{2, 3}, b{1, 4};
  static void visit(auto& self, auto&& visitor) {
    visitor("a", self.a);
    visitor("b", self.b);
  }
};

struct OtherShape {
  ef::Parameter<float> a{3, 2}, b{1, 4};
  static void visit(auto& self, auto&& visitor) {
    visitor("a", self.a);
    visitor("b", self.b);
  }
};

struct More {
  ef::Parameter<float> a{2, 3}, b{1, 4}, c{1, 1};
  static void visit(auto& self, auto&& visitor) {
    visitor("a", self.a);
    visitor("b", self.b);
    visitor("c", self.c);
  }
};

}  // namespace

TEST_CASE("parameters come back as they were saved, and convert between float and double", "[io]") {
  const std::uint64_t seed = 81;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::testing::TemporaryFolder folder;
  NamedPair<float> saved, loaded;
  saved.a.value = random_matrix<float>(2, 3, rng);
  saved.b.value = random_matrix<float>(1, 4, rng);
  ef::save_parameters(folder.path() / "m.safetensors", saved, {{"made by", "a test"}});
  const ef::SafetensorsFile file(folder.path() / "m.safetensors");
  CHECK(file.metadata().at("made by") == "a test");
  ef::load_parameters(file, loaded);
  CHECK(loaded.a.value == saved.a.value);
  CHECK(loaded.b.value == saved.b.value);
  NamedPair<double> wide;
  ef::load_parameters(file, wide);
  CHECK(wide.a.value == saved.a.value.cast<double>());
}

TEST_CASE("a file that is not this model's is refused, and changes nothing", "[io]") {
  const ef::testing::TemporaryFolder folder;
  ef::save_parameters(folder.path() / "pair.safetensors", NamedPair<float>());
  const ef::SafetensorsFile pair(folder.path() / "pair.safetensors");
  OtherShape other;
  other.a.value.setConstant(7);
  CHECK_THROWS_AS(ef::load_parameters(pair, other), ef::Error);
  CHECK(other.a.value == ef::Matrix<float>::Constant(3, 2, 7));
  More more;
  CHECK_THROWS_AS(ef::load_parameters(pair, more), ef::Error);  // lacks c
  ef::save_parameters(folder.path() / "more.safetensors", more);
  NamedPair<float> fewer;
  CHECK_THROWS_AS(ef::load_parameters(ef::SafetensorsFile(folder.path() / "more.safetensors"), fewer), ef::Error);
}

TEST_CASE("matrices stored as bfloat16 or int8 are loaded as the rounded numbers", "[io]") {
  const std::uint64_t seed = 82;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::testing::TemporaryFolder folder;
  NamedPair<float> saved;
  saved.a.value = random_matrix<float>(2, 3, rng);
  saved.b.value = random_matrix<float>(1, 4, rng);

  const auto path = folder.path() / "m.safetensors";
  ef::save_parameters(path, saved, {}, ef::WeightType::bfloat16);
  const ef::SafetensorsFile brain(path);
  CHECK(brain.dtype("a") == ef::DType::bf16);
  CHECK(brain.dtype("b") == ef::DType::f32);
  NamedPair<float> loaded;
  ef::load_parameters(brain, loaded);
  CHECK(loaded.a.value == ef::Matrix<float>(saved.a.value.cast<Eigen::bfloat16>().cast<float>()));
  CHECK(loaded.b.value == saved.b.value);

  ef::save_parameters(path, saved, {}, ef::WeightType::int8);
  const ef::SafetensorsFile integers(path);
  CHECK(integers.dtype("a") == ef::DType::i8);
  CHECK(integers.dtype("a_scale") == ef::DType::f32);
  CHECK(integers.shape("a_scale") == std::vector<ef::Index>{2});
  CHECK(integers.dtype("b") == ef::DType::f32);
  ef::load_parameters(integers, loaded);
  const ef::QuantizedRows quantized = ef::quantize_rows(saved.a.value);
  for (ef::Index i = 0; i < 2; ++i)
    for (ef::Index j = 0; j < 3; ++j)
      CHECK(loaded.a.value(i, j) == static_cast<float>(quantized.values(i, j)) * quantized.scales(i, 0));
  CHECK(loaded.b.value == saved.b.value);
  // Packing what was loaded gives the integers that were stored.
  CHECK(ef::quantize_rows(loaded.a.value).values == quantized.values);
  CHECK(ef::quantize_rows(loaded.a.value).scales == quantized.scales);
  NamedPair<double> wide;
  ef::load_parameters(integers, wide);
  CHECK(wide.a.value == loaded.a.value.cast<double>());
}

TEST_CASE("8-bit integers without fitting scales are refused, and the message names the tensor", "[io]") {
  const ef::testing::TemporaryFolder folder;
  const auto path = folder.path() / "m.safetensors";
  const ef::Matrix<std::int8_t> a = ef::Matrix<std::int8_t>::Ones(2, 3);
  const ef::Matrix<float> b = ef::Matrix<float>::Ones(1, 4), scales = ef::Matrix<float>::Ones(1, 2);
  NamedPair<float> model;
  const auto message = [&](std::vector<ef::NamedTensor> tensors) {
    ef::write_safetensors(path, std::move(tensors));
    const std::string text = ef::testing::message_of([&] { ef::load_parameters(ef::SafetensorsFile(path), model); });
    return text.substr(std::min(text.size(), text.find("tensor \"")));
  };
  CHECK(message({ef::named_tensor("a", a), ef::named_tensor("b", b)}) ==
        "tensor \"a\" is of I8, expected F64, F32, F16 or BF16, or I8 with \"a_scale\"");
  CHECK(message({ef::named_tensor("a", a), ef::named_tensor("b", b), ef::named_tensor("a_scale", scales)}) ==
        "tensor \"a_scale\" is [1 x 2] of F32, expected [2] of F32");
  CHECK(message({ef::named_tensor("a", a), ef::named_tensor("b", b), ef::named_tensor("a_scale", a)}) ==
        "tensor \"a_scale\" is [2 x 3] of I8, expected [2] of F32");
  CHECK(message({ef::named_tensor("a", b), ef::named_tensor("b", b), ef::named_tensor("a_scale", scales)}) ==
        "tensor \"a\" is [1 x 4], expected [2 x 3]");
}
