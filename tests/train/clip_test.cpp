#include "eigenformer/train/clip.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;

namespace {
struct TwoMatrices {
  ef::Parameter<double> a{1, 2}, b{2, 1};
  static void visit(auto& self, auto&& visitor) {
    visitor("a", self.a);
    visitor("b", self.b);
  }
};
}  // namespace

TEST_CASE("the global norm is that of all gradients together", "[train]") {
  const TwoMatrices pair;
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

TEST_CASE("the global norm does not depend on the number of threads", "[train][threads]") {
  ef::Rng rng(3);
  ef::ThreadPool pool(3);
  const TwoMatrices pair;
  const auto x = ef::testing::random_matrix<double>(700, 211, rng);
  ef::Gradients<double> alone, shared;
  for (int i = 0; i < 2; ++i) {  // copied, then added
    alone.add(pair.a, {x.data(), 700, 211});
    shared.add(pair.a, {x.data(), 700, 211}, &pool);
  }
  CHECK(shared[pair.a] == 2 * x);
  CHECK(ef::global_norm(pair, shared, &pool) == ef::global_norm(pair, alone));
}

TEST_CASE("a norm is finite, or names the parameter whose gradient is not", "[train]") {
  const TwoMatrices pair;
  const auto with = [&](double a, double b, auto use) {
    const ef::Matrix<double> x = ef::Matrix<double>::Constant(1, 2, a), y = ef::Matrix<double>::Constant(2, 1, b);
    ef::Gradients<double> gradients;
    gradients.add(pair.a, {x.data(), 1, 2});
    gradients.add(pair.b, {y.data(), 2, 1});
    return use(gradients);
  };
  const auto norm = [&](const auto& gradients) { return ef::global_norm(pair, gradients); };
  CHECK(std::abs(with(3e200, 4e200, norm) / 1e200 - std::sqrt(50.0)) < 1e-13);  // whose squares are not
  const auto message = [&](const auto& gradients) { return ef::testing::message_of([&] { norm(gradients); }); };
  const auto inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {inf, -inf, nan}) {
    CHECK(with(1, bad, message) == "global_norm: the gradient of b is not finite");
    CHECK(with(bad, 1, [&](const auto& gradients) {
            return ef::testing::message_of([&] { ef::check_finite(pair, gradients, 7); });
          }) == "train: the gradient of a in update 7 is not finite");
  }
  CHECK(ef::testing::message_of([&] { ef::clip_factor(inf, 1); }) ==
        "clip_factor: the norm is inf, expected a finite number");
  CHECK_THROWS_AS(ef::clip_factor(nan, 0), ef::Error);
  CHECK(ef::testing::message_of([&] { ef::clip_factor(5, -1); }) == "clip_factor: max_norm is -1, expected 0 or more");
  CHECK_THROWS_AS(ef::clip_factor(5, nan), ef::Error);
  // Squares that underflow.
  CHECK(std::abs(with(3e-200, 4e-200, norm) / 1e-200 - std::sqrt(50.0)) < 1e-13);
  CHECK(std::abs(with(3e-160, 4e-160, norm) / 1e-160 - std::sqrt(50.0)) < 1e-13);
  CHECK(with(0, 0, norm) == 0);
}
