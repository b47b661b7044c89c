#include "eigenformer/train/clip.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;

namespace {
struct Pair {
  ef::Parameter<double> a{1, 2}, b{2, 1};
  static void visit(auto& self, auto&& visitor) {
    visitor("a", self.a);
    visitor("b", self.b);
  }
};
}  // namespace

TEST_CASE("the global norm is that of all gradients together", "[train]") {
  const Pair pair;
  ef::Gradients<double> gradients;
  CHECK(ef::global_norm(pair, gradients) == 0);
  const ef::Matrix<double> x = ef::Matrix<double>::Constant(1, 2, 3), y = ef::Matrix<double>::Constant(2, 1, 4);
  gradients.add(pair.a, {x.data(), 1, 2});
  gradients.add(pair.b, {y.data(), 2, 1});
  const double norm = ef::global_norm(pair, gradients);
  CHECK(std::abs(norm - std::sqrt(50.0)) < 1e-14);
  CHECK(std::abs(norm * ef::clip_factor(norm, 1) - 1) < 1e-14);
  CHECK(ef::clip_factor(norm, 100) == 1);
  CHECK(ef::clip_factor(norm, 0) == 1);
}
