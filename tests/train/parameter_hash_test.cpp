#include "eigenformer/train/parameter_hash.hpp"

#include <set>

#include "support/catch.hpp"

namespace ef = eigenformer;

namespace {

struct TwoParameters {
  ef::Parameter<float> first{2, 3}, second{1, 2};
  const char* name = "first";
  static void visit(auto& self, auto&& visitor) {
    visitor(self.name, self.first);
    visitor("second", self.second);
  }
};

}  // namespace

TEST_CASE("the hash depends on every bit, on names and on shapes", "[train]") {
  std::set<std::uint64_t> hashes;
  const auto add = [&](const TwoParameters& pair) { hashes.insert(ef::parameter_hash(pair)); };
  const TwoParameters pair;
  add(pair);
  add(pair);
  CHECK(hashes.size() == 1);
  std::size_t changes = 1;
  for (const ef::Index i : {0, 5}) {
    TwoParameters changed = pair;
    changed.first.value.data()[i] = -0.0F;
    add(changed);
    ++changes;
  }
  TwoParameters renamed = pair;
  renamed.name = "third";
  add(renamed);
  TwoParameters turned = pair;
  turned.first.value.resize(3, 2);
  turned.first.value.setZero();
  add(turned);
  CHECK(hashes.size() == changes + 2);
}
