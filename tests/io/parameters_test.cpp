#include "eigenformer/io/parameters.hpp"

#include "support/catch.hpp"
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
