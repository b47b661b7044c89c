#include "eigenformer/train/adam.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
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

struct Pair {
  ef::Parameter<double> a, b;
  static void visit(auto& self, auto&& visitor) {
    visitor("a", self.a);
    visitor("b", self.b);
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

TEST_CASE("an update is the same for any number of threads", "[train][threads]") {
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

TEST_CASE("Adam alone refuses what is not finite, and changes nothing then", "[train]") {
  const double infinity = std::numeric_limits<double>::infinity();
  Model model;
  ef::Adam<double> adam;
  const auto message = [&](double first, double second, double rate = 0.1, double factor = 1) {
    ef::Matrix<double> g = ef::Matrix<double>::Constant(2, 3, first),
                       of_frozen = ef::Matrix<double>::Constant(1, 1, second);
    ef::Gradients<double> gradients;
    gradients.add(model.x, {g.data(), 2, 3});
    gradients.add(model.frozen, {of_frozen.data(), 1, 1});
    return ef::testing::message_of([&] { adam.update(model, gradients, rate, factor); });
  };
  CHECK(message(1, infinity) == "Adam: the gradient of frozen in update 1 is not finite");
  CHECK(adam.updates() == 0);
  CHECK(message(1, 2) == "nothing was thrown");
  const Model before = model;
  std::vector<ef::Matrix<double>> moments;
  ef::for_each_parameter(adam, [&](const std::string&, const ef::Parameter<double>& m) { moments.push_back(m.value); });
  CHECK(message(1, -infinity) == "Adam: the gradient of frozen in update 2 is not finite");
  CHECK(message(std::numeric_limits<double>::quiet_NaN(), 1) == "Adam: the gradient of x in update 2 is not finite");
  CHECK(message(infinity, 1, 0.1, 0) == "Adam: the gradient of x in update 2 is not finite");
  CHECK(message(1, 1e200) == "Adam: the gradient of frozen in update 2 is too large to be squared");
  CHECK(message(1, 1, infinity) == "Adam: the rate of update 2 is inf, expected a finite number of 0 or more");
  CHECK(message(1, 1, -1e-3) == "Adam: the rate of update 2 is -0.001, expected a finite number of 0 or more");
  CHECK(message(1, 1, 0.1, -infinity) == "Adam: the gradients' factor of update 2 is -inf, expected a finite number");
  CHECK(adam.updates() == 1);
  CHECK(model.x.value == before.x.value);
  CHECK(model.frozen.value == before.frozen.value);
  std::size_t i = 0;
  ef::for_each_parameter(adam,
                         [&](const std::string&, const ef::Parameter<double>& m) { CHECK(m.value == moments[i++]); });
  CHECK(message(1, 1e200, 0.1, 1e-200) == "nothing was thrown");
  // A rate may be finite in double, but not in float, or only before the correction of the first updates.
  for (const double rate : {1e39, 2e38}) {
    ef::Parameter<float> x(ef::Matrix<float>::Ones(2, 2));
    const ef::Matrix<float> zero = ef::Matrix<float>::Zero(2, 2);
    ef::Gradients<float> gradients;
    gradients.add(x, {zero.data(), 2, 2});
    ef::Adam<float> floats;
    CAPTURE(rate);
    CHECK_THROWS_AS(floats.update(x, gradients, rate), ef::Error);
    CHECK((floats.updates() == 0 && x.value == ef::Matrix<float>::Ones(2, 2)));
  }
}

TEST_CASE("a model of another shape is refused before any of it is changed", "[train]") {
  const ef::Matrix<double> ones = ef::Matrix<double>::Ones(3, 3);
  ef::Adam<double> adam;
  const auto update = [&](Pair& pair) {
    ef::Gradients<double> gradients;
    gradients.add(pair.a, {ones.data(), 2, 2});
    if (!pair.b.empty()) gradients.add(pair.b, {ones.data(), pair.b.value.rows(), pair.b.value.cols()});
    return ef::testing::message_of([&] { adam.update(pair, gradients, 0.1); });
  };
  Pair pair{ef::Parameter<double>(2, 2), ef::Parameter<double>(2, 2)};
  CHECK(update(pair) == "nothing was thrown");
  Pair larger{ef::Parameter<double>(2, 2), ef::Parameter<double>(3, 3)}, smaller{ef::Parameter<double>(2, 2), {}};
  CHECK(update(larger) == "Adam: parameter b is [3 x 3], its moments are [2 x 2]");
  CHECK(update(smaller) == "Adam: the model has 1 parameters, expected 2 as before");
  CHECK(larger.a.value.isZero(0));
  CHECK(smaller.a.value.isZero(0));
  CHECK(adam.updates() == 1);
}

TEST_CASE("options by which Adam would divide by 0 are refused", "[train]") {
  using ef::testing::message_of;
  CHECK(message_of([] { ef::Adam<double>({.epsilon = 0}); }) == "Adam: epsilon is 0, expected a finite number above 0");
  CHECK(message_of([] { ef::Adam<double>({.beta1 = 1}); }) ==
        "Adam: beta1 is 1, expected at least 0 and below 1 (as double)");
}

TEST_CASE("options by which Adam would learn nothing, or NaN, are refused", "[train]") {
  using ef::testing::message_of;
  const auto refusal = [](const ef::AdamOptions& options) { return message_of([&] { ef::Adam<float>{options}; }); };
  CHECK(refusal({.beta1 = 1 - 1e-9}).find("Adam: beta1 is ") == 0);  // 1 as a float
  CHECK(refusal({.beta2 = 1 - 1e-9}) == "Adam: beta2 is 1, expected at least 0 and below 1 (as float)");
  CHECK(message_of([] { ef::Adam<double>({.beta2 = 1 - 1e-9}); }) == "nothing was thrown");
  CHECK(refusal({.epsilon = std::numeric_limits<double>::infinity()}) ==
        "Adam: epsilon is inf, expected a finite number above 0");
  CHECK(refusal({.weight_decay = -0.1}) == "Adam: weight_decay is -0.1, expected a finite number of 0 or more");
  CHECK(refusal({.weight_decay = std::numeric_limits<double>::quiet_NaN()}).find("Adam: weight_decay is ") == 0);
  CHECK(refusal({.weight_decay = std::numeric_limits<double>::infinity()}).find("Adam: weight_decay is ") == 0);
  CHECK(refusal({.weight_decay = 1e39}).find("Adam: weight_decay is ") == 0);  // infinite as a float
}
