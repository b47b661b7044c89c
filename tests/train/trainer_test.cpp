#include "eigenformer/train/trainer.hpp"

#include "eigenformer/ops/arithmetic.hpp"
#include "support/catch.hpp"

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
  ef::train(model, adam, ef::Context<double>{}, batch, squared_distance(model),
            [&](const ef::TrainingProgress& progress) {
              CHECK(progress.update == ++reports);
              CHECK(progress.items == 3);
              CHECK(progress.total_items == 3 * reports);
              return true;
            },
            {.most_updates = 500, .schedule = [](ef::Index) { return 0.05; }});
  CHECK(reports == 500);
  CHECK(std::abs(model.x.value(0, 0) - 3) < 1e-3);

  reports = 0;
  ef::train(model, adam, ef::Context<double>{}, batch, squared_distance(model),
            [&](const ef::TrainingProgress&) { return ++reports < 4; });
  CHECK(reports == 4);
}

TEST_CASE("accumulated batches give the update of one large batch, whatever their sizes", "[train]") {
  const auto after_one_update = [](std::vector<std::vector<double>> batches) {
    Number model;
    ef::Adam<double> adam({.epsilon = 1});  // a large epsilon, so that the size of the gradient shows
    std::size_t next = 0;
    double loss = 0;
    ef::train(
        model, adam, ef::Context<double>{}, [&] { return batches[next++]; }, squared_distance(model),
        [&](const ef::TrainingProgress& progress) {
          loss = progress.loss;
          return true;
        },
        {.most_updates = 1,
         .accumulate = static_cast<ef::Index>(batches.size()),
         .largest_norm = 0,
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
  CHECK_THROWS_WITH(ef::train(model, adam, ef::Context<double>{}, batch, squared_distance(model),
                              [](const ef::TrainingProgress&) { return true; }),
                    "train: the loss of update 1 is not finite");
  CHECK(model.x.value(0, 0) == 0);
}
