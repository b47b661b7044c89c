#include "eigenformer/train/trainer.hpp"

#include <atomic>

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/ops/arithmetic.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/message_of.hpp"
#include "support/recurrent_models.hpp"
#include "support/thread_ranks.hpp"

namespace ef = eigenformer;

namespace {

struct Number {
  ef::Parameter<double> x{1, 1};
  static void visit(auto& self, auto&& visitor) { visitor("x", self.x); }
};

/// The sum over a batch of (x - target)^2.
auto squared_distance(const Number& model) {
  return [&model](const ef::Context<double>& context, const std::vector<double>& batch) {
    ef::Variable<double> total;
    for (const double target : batch) {
      const ef::Variable<double> error =
          ef::subtract(context, context.use(model.x), ef::Variable<double>(Eigen::MatrixXd::Constant(1, 1, target)));
      const ef::Variable<double> square = ef::multiply(context, error, error);
      total = total.size() == 0 ? square : ef::add(context, total, square);
    }
    return ef::BatchLoss<double>{total, static_cast<ef::Index>(batch.size())};
  };
}

}  // namespace

TEST_CASE("training finds the minimum, and stops where it is told to", "[train]") {
  Number model;
  ef::Adam<double> adam;
  const auto batch = [] { return std::vector<double>{1, 2, 6}; };
  ef::Index reports = 0;
  ef::train(model, adam, batch, squared_distance(model),
            [&](const ef::TrainingProgress& progress) {
              CHECK(progress.update == ++reports);
              CHECK(progress.items == 3);
              CHECK(progress.total_items == 3 * reports);
              return true;
            },
            {.max_updates = 500, .schedule = [](ef::Index) { return 0.05; }});
  CHECK(reports == 500);
  CHECK(std::abs(model.x.value(0, 0) - 3) < 1e-3);

  reports = 0;
  ef::train(model, adam, batch, squared_distance(model), [&](const ef::TrainingProgress&) { return ++reports < 4; });
  CHECK(reports == 4);
}

TEST_CASE("training refuses a loss that uses a copy of the model", "[train][threads]") {
  Number model, copy;
  ef::Adam<double> adam;
  const std::string message = ef::testing::message_of([&] {
    ef::train(
        model, adam,
        [] {
          return std::vector<double>{1, 2, 6};
        },
        squared_distance(copy), [](const ef::TrainingProgress&) { return true; }, {.max_updates = 3});
  });
  CHECK(message ==
        "train: no parameter of the model has a gradient, expected a loss that uses the model itself, not a copy");
  CHECK(adam.updates() == 0);
  std::atomic<int> refusals = 0;
  ef::testing::run_ranks(2, [&](ef::Ranks& ranks) {
    Number of_rank, other;
    ef::Adam<double> optimizer;
    const std::string of_both = ef::testing::message_of([&] {
      ef::train(
          of_rank, optimizer,
          [] {
            return std::vector<double>{1, 2, 6};
          },
          squared_distance(other), [](const ef::TrainingProgress&) { return true; },
          {.max_updates = 3, .accumulate = 2, .seed = 1, .ranks = &ranks});
    });
    if (of_both == message) ++refusals;
  });
  CHECK(refusals == 2);
}

TEST_CASE("accumulated batches give the update of one large batch, whatever their sizes", "[train]") {
  const auto after_one_update = [](std::vector<std::vector<double>> batches) {
    Number model;
    ef::Adam<double> adam({.epsilon = 1});  // a large epsilon, so that the size of the gradient shows
    std::size_t next = 0;
    double loss = 0;
    ef::train(
        model, adam, [&] { return batches[next++]; }, squared_distance(model),
        [&](const ef::TrainingProgress& progress) {
          loss = progress.loss;
          return true;
        },
        {.max_updates = 1,
         .accumulate = static_cast<ef::Index>(batches.size()),
         .max_norm = 0,
         .schedule = [](ef::Index) { return 0.1; }});
    return std::pair(model.x.value(0, 0), loss);
  };
  const auto [at_once, loss] = after_one_update({{1, 2, 6}});
  const auto [in_parts, loss_in_parts] = after_one_update({{1}, {2, 6}});
  CHECK(std::abs(at_once - in_parts) < 1e-15);
  CHECK(std::abs(loss - loss_in_parts) < 1e-13);
  CHECK(at_once != 0);
}

TEST_CASE("a loss that is not finite stops training before it reaches the weights", "[train]") {
  Number model;
  ef::Adam<double> adam;
  const auto batch = [] { return std::vector<double>{std::numeric_limits<double>::infinity()}; };
  CHECK_THROWS_WITH(
      ef::train(model, adam, batch, squared_distance(model), [](const ef::TrainingProgress&) { return true; }),
      "train: the loss of update 1 is not finite; the gradient of x is not finite");
  CHECK(model.x.value(0, 0) == 0);
}

namespace {

/// x, whose gradient is said to be `slope`.
template <class Scalar>
ef::Variable<Scalar> with_slope(const ef::Context<Scalar>& context, const ef::Variable<Scalar>& x, Scalar slope) {
  return context.record(ef::Variable<Scalar>(x.value()), {x},
                        [x, slope](const ef::Variable<Scalar>& d_y, ef::Tape<Scalar>& tape) {
                          tape.add_gradient(x, ef::Variable<Scalar>(ef::Matrix<Scalar>(d_y.value() * slope)));
                        });
}

struct TwoNumbers {
  ef::Parameter<float> first{1, 1}, second{1, 1};
  static void visit(auto& self, auto&& visitor) {
    visitor("first", self.first);
    visitor("second", self.second);
  }
};

}  // namespace

TEST_CASE("a gradient that is not finite stops training before anything has changed", "[train]") {
  for (const float slope : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
    for (const double max_norm : {0.0, 1.0}) {
      CAPTURE(slope, max_norm);
      TwoNumbers model;
      ef::Adam<float> adam;
      TwoNumbers before;
      float slope_now = 1;
      const auto loss = [&](const ef::Context<float>& context, int) {
        return ef::BatchLoss<float>{
            ef::add(context, context.use(model.first), with_slope(context, context.use(model.second), slope_now)), 1};
      };
      const auto report = [&](const ef::TrainingProgress& progress) {
        before = model;
        if (progress.update == 2) slope_now = slope;
        return true;
      };
      CHECK(ef::testing::message_of([&] {
              ef::train(model, adam, [] { return 0; }, loss, report, {.max_norm = max_norm});
            }) == "train: the gradient of second in update 3 is not finite");
      CHECK(adam.updates() == 2);
      CHECK(model.first.value == before.first.value);
      CHECK(model.second.value == before.second.value);
    }
}

TEST_CASE("large gradients whose squares overflow are clipped like others", "[train]") {
  TwoNumbers model;
  ef::Adam<float> adam;
  const auto loss = [&](const ef::Context<float>& context, int) {
    return ef::BatchLoss<float>{with_slope(context, context.use(model.first), 1e30F), 1};
  };
  ef::train(
      model, adam, [] { return 0; }, loss,
      [](const ef::TrainingProgress& progress) {
        CHECK(std::abs(progress.gradient_norm - 1e30) < 1e24);
        return true;
      },
      {.max_updates = 3, .schedule = [](ef::Index) { return 0.5; }});
  CHECK(std::abs(model.first.value(0, 0) + 1.5F) < 1e-5F);
  CHECK(ef::testing::message_of([&] {
          ef::train(
              model, adam, [] { return 0; }, loss, [](const ef::TrainingProgress&) { return true; }, {.max_norm = 0});
        }) == "Adam: the gradient of first in update 4 is too large to be squared");
}

TEST_CASE("a schedule is given the update's number, also when training goes on", "[train]") {
  Number model;
  ef::Adam<double> adam;
  std::vector<ef::Index> updates;
  const auto schedule = [&](ef::Index update) {
    updates.push_back(update);
    return 0.1;
  };
  double last_seconds = 0;
  const auto report = [&](const ef::TrainingProgress& progress) {
    CHECK(progress.update == updates.back());
    CHECK(progress.seconds >= last_seconds);
    last_seconds = progress.seconds;
    return true;
  };
  const auto batch = [] { return std::vector<double>{1}; };
  ef::train(model, adam, batch, squared_distance(model), report, {.max_updates = 2, .schedule = schedule});
  last_seconds = 0;
  ef::train(model, adam, batch, squared_distance(model), report, {.max_updates = 3, .schedule = schedule});
  CHECK(updates == std::vector<ef::Index>{1, 2, 3});
}

TEST_CASE("training refuses a negative limit of the gradient, and an update of no batches", "[train]") {
  Number model;
  ef::Adam<double> adam;
  const auto message = [&](const ef::TrainingOptions& options) {
    return ef::testing::message_of([&] {
      ef::train(
          model, adam, [] { return std::vector<double>{1}; }, squared_distance(model),
          [](const ef::TrainingProgress&) { return true; }, options);
    });
  };
  CHECK(message({.max_norm = -1}) == "train: max_norm is -1, expected 0 or more");
  CHECK(message({.max_updates = -1}) == "train: max_updates is -1, expected 0 or more");
  CHECK(message({.max_loss = -1}) == "train: max_loss is -1, expected 0 or more");
  CHECK(message({.max_norm = std::numeric_limits<double>::quiet_NaN()}) ==
        "train: max_norm is nan, expected 0 or more");
  CHECK(message({.accumulate = 0}) == "train: accumulate is 0, expected at least 1");
  CHECK(adam.updates() == 0);
}

TEST_CASE("an unusable loss is reported with its parameter and its batch", "[train]") {
  Number model;
  ef::Adam<double> adam;
  const double infinity = std::numeric_limits<double>::infinity();
  double target = 1;
  const auto batch = [&] { return std::vector<double>{target}; };
  const auto message = [&](const ef::TrainingOptions& options) {
    return ef::testing::message_of([&] {
      ef::train(
          model, adam, batch, squared_distance(model), [](const ef::TrainingProgress&) { return true; }, options);
    });
  };
  const auto name = [] { return std::string("epoch 2, batch 5"); };
  CHECK(message({.max_updates = 1, .max_loss = 0.5, .batch_name = name}) ==
        "train: training diverges: the mean loss of update 1 is 1.000000, the limit is 0.500000; batch: epoch 2, batch "
        "5");
  CHECK(adam.updates() == 0);
  target = infinity;
  CHECK(message({.batch_name = name}) ==
        "train: the loss of update 1 is not finite; the gradient of x is not finite; batch: epoch 2, batch 5");
  target = 1;
  model.x.value(0, 0) = infinity;
  CHECK(message({}) == "train: the loss of update 1 is not finite; the parameter x is not finite");
  ef::Rng rng(1);
  CHECK(message({.rng = &rng, .seed = 1}) == "train: there are both an rng and a seed, expected one of them");
}

TEST_CASE("a learning rate that is not finite stops training", "[train]") {
  Number model;
  ef::Adam<double> adam;
  const auto batch = [] { return std::vector<double>{1}; };
  CHECK(ef::testing::message_of([&] {
          ef::train(model, adam, batch, squared_distance(model), [](const ef::TrainingProgress&) { return true; },
                    {.schedule = [](ef::Index) { return std::numeric_limits<double>::quiet_NaN(); }});
        }) == "Adam: the rate of update 1 is nan, expected a finite number of 0 or more");
  CHECK(model.x.value(0, 0) == 0);
}

TEST_CASE("a recurrent model's parameter is named too", "[train]") {
  ef::Rng rng(53);
  ef::RecurrentSeq2Seq<float> model(ef::testing::small_recurrent(), rng);
  const ef::TranslationBatch batch = ef::testing::copy_batch({3, 2}, rng);
  const ef::RecurrentSeq2Seq<float> before = model;
  ef::Adam<float> adam;
  const auto loss = [&](const ef::Context<float>& context, const ef::TranslationBatch& given) {
    const ef::Variable<float> mean = ef::testing::loss_of(model, context, given);
    return ef::BatchLoss<float>{
        ef::add(context, mean,
                with_slope(context, ef::columns(context, context.use(model.generator.bias), 0, 1),
                           std::numeric_limits<float>::infinity())),
        1};
  };
  CHECK(ef::testing::message_of([&] {
          ef::train(
              model, adam, [&] { return batch; }, loss, [](const ef::TrainingProgress&) { return true; });
        }) == "train: the gradient of generator.bias in update 1 is not finite");
  CHECK(model.generator.bias.value == before.generator.bias.value);
  CHECK(model.source_embedding.weight.value == before.source_embedding.weight.value);
}

TEST_CASE("the loss works with the loop's tape and the options' generator and threads", "[train][threads]") {
  Number model;
  ef::Adam<double> adam;
  ef::Rng rng(1);
  ef::ThreadPool pool(2);
  const auto batch = [] { return std::vector<double>{1}; };
  const auto stop = [](const ef::TrainingProgress&) { return false; };
  bool as_told = false;
  const auto loss = [&](const ef::Context<double>& context, const std::vector<double>& targets) {
    as_told = context.tape != nullptr && context.rng == &rng && context.threads == &pool;
    return squared_distance(model)(context, targets);
  };
  ef::train(model, adam, batch, loss, stop, {.rng = &rng, .threads = &pool});
  CHECK(as_told);
  ef::train(model, adam, batch, loss, stop);
  CHECK(!as_told);  // neither is there
}
