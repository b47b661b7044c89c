#include "eigenformer/train/adam.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;

namespace {

struct Model {
  ef::Parameter<double> x{2, 3}, frozen{1, 1};
  static void visit(auto& self, auto&& visitor) {
    visitor("x", self.x);
    visitor("frozen", self.frozen);
  }
};

}  // namespace

TEST_CASE("Adam and AdamW are the algorithms of their papers", "[train]") {
  const std::uint64_t seed = 51;
  const bool decoupled = GENERATE(false, true);
  const double decay = GENERATE(0.0, 0.1);
  const bool correct = GENERATE(false, true);
  CAPTURE(seed, decoupled, decay, correct);
  ef::Rng rng(seed);
  Model model;
  model.x.value = ef::testing::random_matrix<double>(2, 3, rng);
  const ef::AdamOptions options{.beta1 = 0.8,
                                .beta2 = 0.95,
                                .epsilon = 1e-6,
                                .weight_decay = decay,
                                .decoupled = decoupled,
                                .bias_correction = correct};
  ef::Adam<double> adam(options);

  ef::Matrix<double> x = model.x.value, m = ef::Matrix<double>::Zero(2, 3), v = m;
  for (int t = 1; t <= 5; ++t) {
    const double rate = 0.1 / t;
    ef::Matrix<double> g = ef::testing::random_matrix<double>(2, 3, rng);
    ef::Gradients<double> gradients;
    gradients.add(model.x, {g.data(), 2, 3});
    adam.update(model, gradients, rate, 0.5);

    g *= 0.5;
    if (!decoupled) g += decay * x;
    m = 0.8 * m + 0.2 * g;
    v = 0.95 * v.array() + 0.05 * g.array().square();
    if (decoupled) x *= 1 - rate * decay;
    const double m_part = correct ? 1 - std::pow(0.8, t) : 1, v_part = correct ? 1 - std::pow(0.95, t) : 1;
    x.array() -= rate * (m.array() / m_part) / ((v.array() / v_part).sqrt() + 1e-6);
    CHECK((model.x.value - x).cwiseAbs().maxCoeff() < 1e-14);
  }
  CHECK(adam.updates() == 5);
  CHECK(model.frozen.value(0, 0) == 0);  // it had no gradient
}

TEST_CASE("an update is the same for any number of threads", "[train]") {
  ef::Rng rng(52);
  ef::Parameter<float> one(ef::testing::random_matrix<float>(300, 257, rng)), many = one;
  const auto g = ef::testing::random_matrix<float>(300, 257, rng);
  ef::ThreadPool pool(3);
  ef::Gradients<float> gradients;
  gradients.add(one, {g.data(), 300, 257});
  gradients.add(many, {g.data(), 300, 257});
  ef::Adam<float> a, b;
  a.update(one, gradients, 0.01);
  b.update(many, gradients, 0.01, 1, &pool);
  CHECK(one.value == many.value);
}

TEST_CASE("a model of another shape is refused", "[train]") {
  ef::Parameter<float> a(2, 2), b(3, 3);
  const ef::Matrix<float> g = ef::Matrix<float>::Ones(3, 3);
  ef::Gradients<float> gradients;
  ef::Adam<float> adam;
  adam.update(a, gradients, 0.1);
  CHECK_THROWS_AS(adam.update(b, gradients, 0.1), ef::Error);
}
