#include "eigenformer/train/parameter_average.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/train/early_stopping.hpp"
#include "eigenformer/train/parameter_list.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;

namespace {

template <class Scalar>
struct AveragedPair {
  ef::Parameter<Scalar> first, second;
  AveragedPair() = default;
  explicit AveragedPair(ef::Rng& rng, ef::Index cols = 3)
      : first(ef::testing::random_matrix<Scalar>(2, cols, rng)),
        second(ef::testing::random_matrix<Scalar>(1, 2, rng)) {}
  static void visit(auto& self, auto&& visitor) {
    visitor("first", self.first);
    visitor("second", self.second);
  }
};

}  // namespace

TEST_CASE("the average of models is the mean of each entry", "[train]") {
  ef::Rng rng(31);
  for (const std::size_t count : {1U, 2U, 7U}) {
    std::vector<AveragedPair<float>> models;
    for (std::size_t i = 0; i < count; ++i) models.emplace_back(rng);
    const AveragedPair<float> mean = ef::average(std::span<const AveragedPair<float>>(models));
    for (ef::Index r = 0; r < 2; ++r)
      for (ef::Index c = 0; c < 3; ++c) {
        double sum = 0;
        for (const AveragedPair<float>& model : models) sum += static_cast<double>(model.first.value(r, c));
        CHECK(mean.first.value(r, c) == static_cast<float>(sum / static_cast<double>(count)));
      }
    if (count == 1) CHECK(mean.second.value == models[0].second.value);
  }
  ef::ParameterMean mean;
  AveragedPair<float> model(rng), wide(rng, 4);
  CHECK_THROWS_AS(mean.copy_to(model), ef::Error);
  mean.add(model);
  CHECK(ef::testing::message_of([&] { mean.add(wide); }) ==
        "ParameterMean: parameter first is [2 x 4], expected [2 x 3] as in the models before");
  CHECK_THROWS_AS(ef::average(std::span<const AveragedPair<float>>()), ef::Error);
}

TEST_CASE("the exponential average follows its formula and is restored", "[train]") {
  ef::Rng rng(32);
  for (const double decay : {0.0, 0.5, 0.999}) {
    ef::ExponentialAverage<double> average(decay);
    double expected = 0;
    AveragedPair<double> model(rng), shown(rng);
    CHECK_THROWS_AS(average.copy_to(shown), ef::Error);
    for (ef::Index update = 1; update <= 30; ++update) {
      model = AveragedPair<double>(rng);
      average.add(model, update);
      const double t = static_cast<double>(update), d = std::min(decay, (1 + t) / (10 + t));
      expected = update == 1 ? model.first.value(1, 2) : d * expected + (1 - d) * model.first.value(1, 2);
      average.copy_to(shown);
      CHECK(std::abs(shown.first.value(1, 2) - expected) < 1e-13);
    }
    ef::ExponentialAverage<double> restored(decay);
    restored.restore(model);
    std::vector<ef::Matrix<double>> saved;
    ef::for_each_parameter(average, [&](const std::string&, const auto& x) { saved.push_back(x.value); });
    std::size_t i = 0;
    ef::for_each_parameter(restored, [&](const std::string&, auto& x) { x.value = saved[i++]; });
    restored.copy_to(model);
    CHECK(model.first.value == shown.first.value);
    CHECK(model.second.value == shown.second.value);
  }
  CHECK_THROWS_AS(ef::ExponentialAverage<float>(1), ef::Error);
  CHECK_THROWS_AS(ef::ExponentialAverage<float>(1 - 1e-9), ef::Error);  // 1 as a float
}

TEST_CASE("the exponential average does not depend on the number of threads", "[train][threads]") {
  ef::Rng rng(34);
  ef::ThreadPool pool(3);
  ef::Parameter<double> large(ef::testing::random_matrix<double>(301, 257, rng)), alone;
  ef::ParameterList<double> list{{{"large", &large}}};
  ef::ExponentialAverage<double> average, with_threads;
  for (ef::Index update = 1; update <= 3; ++update) {
    large.value *= -1.5;
    average.add(list, update);
    with_threads.add(list, update, &pool);
  }
  average.copy_to(list);
  alone = large;
  with_threads.copy_to(list);
  CHECK(large.value == alone.value);
}

TEST_CASE("the exponential average takes neither more nor fewer parameters than it holds", "[train]") {
  ef::Rng rng(33);
  AveragedPair<double> pair(rng), other(rng);
  const auto some = [](AveragedPair<double>& model, std::vector<std::size_t> which) {
    ef::ParameterList<double> all, list;
    ef::for_each_parameter(model, [&](const std::string& name, auto& x) { all.parameters.emplace_back(name, &x); });
    for (const std::size_t i : which) list.parameters.push_back(all.parameters[i]);
    return list;
  };
  ef::ExponentialAverage<double> average(0.5);
  const auto adding = [&](const ef::ParameterList<double>& list) {
    return ef::testing::message_of([&] { average.add(list, 2); });
  };
  average.add(some(pair, {0, 1}), 1);
  CHECK(adding(some(other, {0})) == "ExponentialAverage: the model has 1 parameters, expected 2 as in the average");
  CHECK(adding(some(other, {0, 1, 1})) ==
        "ExponentialAverage: the model has 3 parameters, expected 2 as in the average");
  CHECK(adding(some(other, {1, 0})).find("ExponentialAverage: parameter second is ") == 0);
  ef::ParameterList<double> fewer = some(other, {0});
  const ef::Matrix<double> unchanged = other.first.value;
  CHECK_THROWS_AS(average.copy_to(fewer), ef::Error);
  CHECK(other.first.value == unchanged);
  average.copy_to(other);  // what was refused changed nothing
  CHECK(other.first.value == pair.first.value);
  CHECK(other.second.value == pair.second.value);
  const auto adding_number = [&](ef::Index update) {
    return ef::testing::message_of([&] { ef::ExponentialAverage<double>().add(pair, update); });
  };
  CHECK(adding_number(0) == "ExponentialAverage: update is 0, expected 1 or more");
  CHECK(adding_number(-10) == "ExponentialAverage: update is -10, expected 1 or more");
}

TEST_CASE("training stops after `patience` validations without improvement", "[train]") {
  ef::EarlyStopping stopping{.patience = 2};
  const bool better[] = {true, false, true, false, false};
  for (int i = 0; i < 5; ++i) CHECK(stopping.add(better[i]) == (i == 4));
  ef::EarlyStopping never;
  for (int i = 0; i < 100; ++i) CHECK(!never.add(false));
}
