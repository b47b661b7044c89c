#include "eigenformer/train/muon.hpp"

#include <Eigen/SVD>
#include <limits>

#include "eigenformer/core/thread_pool.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;

namespace {

using Table = std::vector<std::vector<double>>;

Table table_of(const ef::Matrix<double>& x) {
  Table table(static_cast<std::size_t>(x.rows()));
  for (ef::Index r = 0; r < x.rows(); ++r)
    for (ef::Index c = 0; c < x.cols(); ++c) table[static_cast<std::size_t>(r)].push_back(x(r, c));
  return table;
}

/// x x' or its product with y, by loops.
Table times(const Table& x, const Table& y) {
  Table product(x.size(), std::vector<double>(y[0].size()));
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t j = 0; j < y[0].size(); ++j)
      for (std::size_t k = 0; k < y.size(); ++k) product[i][j] += x[i][k] * y[k][j];
  return product;
}
Table transposed(const Table& x) {
  Table result(x[0].size(), std::vector<double>(x.size()));
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t j = 0; j < x[0].size(); ++j) result[j][i] = x[i][j];
  return result;
}

/// The iteration of Jordan et al. 2024 as it is written there.
Table newton_schulz_naively(Table x, int steps) {
  double squares = 0;
  for (const auto& row : x)
    for (const double entry : row) squares += entry * entry;
  for (auto& row : x)
    for (double& entry : row) entry /= std::sqrt(squares);
  const bool is_tall = x.size() > x[0].size();
  if (is_tall) x = transposed(x);
  for (int step = 0; step < steps; ++step) {
    const Table a = times(x, transposed(x)), aa = times(a, a);
    Table b = a;
    for (std::size_t i = 0; i < a.size(); ++i)
      for (std::size_t j = 0; j < a.size(); ++j) b[i][j] = -4.7750 * a[i][j] + 2.0315 * aa[i][j];
    const Table bx = times(b, x);
    for (std::size_t i = 0; i < x.size(); ++i)
      for (std::size_t j = 0; j < x[0].size(); ++j) x[i][j] = 3.4445 * x[i][j] + bx[i][j];
  }
  return is_tall ? transposed(x) : x;
}

struct Net {
  ef::Parameter<double> embedding, wide, tall, bias;
  explicit Net(ef::Rng& rng)
      : embedding(ef::testing::random_matrix<double>(5, 3, rng)),
        wide(ef::testing::random_matrix<double>(3, 7, rng)),
        tall(ef::testing::random_matrix<double>(6, 2, rng)),
        bias(ef::testing::random_matrix<double>(1, 4, rng)) {}
  static void visit(auto& self, auto&& visitor) {
    visitor("embedding.weight", self.embedding);
    visitor("wide.weight", self.wide);
    visitor("tall.weight", self.tall);
    visitor("tall.bias", self.bias);
  }
};

/// Adds a random gradient to each parameter, and returns them.
std::vector<ef::Matrix<double>> add_gradients(const Net& net, ef::Gradients<double>& gradients, ef::Rng& rng) {
  std::vector<ef::Matrix<double>> added;
  ef::for_each_parameter(net, [&](const std::string&, const ef::Parameter<double>& x) {
    added.push_back(ef::testing::random_matrix<double>(x.value.rows(), x.value.cols(), rng));
    gradients.add(x, ef::ConstMatrixMap<double>(added.back().data(), x.value.rows(), x.value.cols()));
  });
  return added;
}

}  // namespace

TEST_CASE("Newton-Schulz equals its definition, and nearly makes matrices orthogonal", "[train][threads]") {
  ef::Rng rng(21);
  ef::ThreadPool pool(2);
  for (const ef::Index rows : {1, 2, 5, 16})
    for (const ef::Index cols : {1, 3, 5, 17}) {
      CAPTURE(rows, cols);
      const ef::Matrix<double> x = 1e-3 * ef::testing::random_matrix<double>(rows, cols, rng);
      const ef::Matrix<double> y = ef::newton_schulz<double>(x);
      const Table expected = newton_schulz_naively(table_of(x), 5);
      for (ef::Index r = 0; r < rows; ++r)
        for (ef::Index c = 0; c < cols; ++c)
          CHECK(std::abs(y(r, c) - expected[static_cast<std::size_t>(r)][static_cast<std::size_t>(c)]) < 1e-11);
      CHECK(y == ef::newton_schulz<double>(x, 5, &pool));
      if (std::max(rows, cols) < 2 * std::min(rows, cols)) continue;  // a square one may have tiny singular values
      const Eigen::VectorXd singular = Eigen::JacobiSVD<Eigen::MatrixXd>(y).singularValues();
      CHECK(singular.maxCoeff() < 1.3);
      CHECK(singular.minCoeff() > 0.6);
    }
  const ef::Matrix<float> zero = ef::Matrix<float>::Zero(3, 2);
  CHECK(ef::newton_schulz<float>(zero) == zero);
  for (const float scale : {1e-30F, 1e30F}) {
    const ef::Matrix<float> x = scale * ef::testing::random_matrix<float>(3, 4, rng);
    CHECK(ef::newton_schulz<float>(x).allFinite());
    CHECK(ef::newton_schulz<float>(x).norm() > 0.5F);
  }
}

TEST_CASE("Muon updates matrices by its formula and the rest by Adam", "[train]") {
  for (const bool nesterov : {true, false})
    for (const double rms : {0.2, 0.0}) {
      CAPTURE(nesterov, rms);
      ef::Rng rng(22);
      Net net(rng), by_adam = net;
      ef::Muon<double> muon({.nesterov = nesterov, .weight_decay = 0.1, .rms = rms});
      ef::Adam<double> adam;
      ef::Matrix<double> m_wide = ef::Matrix<double>::Zero(3, 7), m_tall = ef::Matrix<double>::Zero(6, 2);
      ef::Matrix<double> wide = net.wide.value, tall = net.tall.value;
      for (int update = 1; update <= 4; ++update) {
        const double rate = 0.01 * update, factor = 0.5;
        ef::Gradients<double> gradients, same;
        const std::vector<ef::Matrix<double>> g = add_gradients(net, gradients, rng);
        std::size_t next = 0;
        ef::for_each_parameter(by_adam, [&](const std::string&, const ef::Parameter<double>& x) {
          same.add(x, ef::ConstMatrixMap<double>(g[next].data(), x.value.rows(), x.value.cols()));
          ++next;
        });
        muon.update(net, gradients, rate, factor);
        adam.update(by_adam, same, rate, factor);
        const auto expect = [&](ef::Matrix<double>& x, ef::Matrix<double>& m, const ef::Matrix<double>& gradient,
                                double scale) {
          m = 0.95 * m + factor * gradient;
          const ef::Matrix<double> direction = nesterov ? ef::Matrix<double>(factor * gradient + 0.95 * m) : m;
          const Table orthogonal = newton_schulz_naively(table_of(direction), 5);
          for (ef::Index r = 0; r < x.rows(); ++r)
            for (ef::Index c = 0; c < x.cols(); ++c)
              x(r, c) = (1 - rate * 0.1) * x(r, c) -
                        rate * scale * orthogonal[static_cast<std::size_t>(r)][static_cast<std::size_t>(c)];
        };
        expect(wide, m_wide, g[1], rms > 0 ? 0.2 * std::sqrt(7.0) : 1);
        expect(tall, m_tall, g[2], rms > 0 ? 0.2 * std::sqrt(6.0) : std::sqrt(3.0));
        CHECK((net.wide.value - wide).cwiseAbs().maxCoeff() < 1e-12);
        CHECK((net.tall.value - tall).cwiseAbs().maxCoeff() < 1e-12);
        CHECK(net.embedding.value == by_adam.embedding.value);
        CHECK(net.bias.value == by_adam.bias.value);
        CHECK(muon.updates() == update);
      }
    }
}

TEST_CASE("Muon's moments are restored, and unusable gradients change nothing", "[train]") {
  ef::Rng rng(23);
  Net net(rng);
  ef::Muon<double> muon;
  ef::Gradients<double> gradients;
  add_gradients(net, gradients, rng);
  muon.update(net, gradients, 0.1);
  ef::Muon<double> restored;
  restored.restore(net, muon.updates());
  std::vector<ef::Matrix<double>> moments;
  ef::for_each_parameter(muon, [&](const std::string&, const ef::Parameter<double>& x) { moments.push_back(x.value); });
  CHECK(moments.size() == 6);  // two of momentum, twice two of Adam
  std::size_t i = 0;
  ef::for_each_parameter(restored, [&](const std::string&, ef::Parameter<double>& x) { x.value = moments[i++]; });
  Net other = net;
  ef::Gradients<double> same;
  ef::for_each_parameter(other, [&](const std::string&, const ef::Parameter<double>& x) {
    same.add(x, ef::ConstMatrixMap<double>(x.value.data(), x.value.rows(), x.value.cols()));
  });
  gradients.clear();
  ef::for_each_parameter(net, [&](const std::string&, const ef::Parameter<double>& x) {
    gradients.add(x, ef::ConstMatrixMap<double>(x.value.data(), x.value.rows(), x.value.cols()));
  });
  muon.update(net, gradients, 0.1);
  restored.update(other, same, 0.1);
  CHECK(net.wide.value == other.wide.value);
  CHECK(net.bias.value == other.bias.value);

  const Net before = net;
  CHECK(ef::testing::message_of([&] { muon.update(net, gradients, -0.1); }) ==
        "Muon: the rate of update 3 is -0.1, expected a finite number of 0 or more");
  gradients.find(net.tall)->coeffRef(1, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK(ef::testing::message_of([&] { muon.update(net, gradients, 0.1); }) ==
        "Muon: the gradient of tall.weight in update 3 is not finite");
  gradients.find(net.tall)->coeffRef(1, 1) = 1e200;  // the sum of several of these could overflow
  CHECK(ef::testing::message_of([&] { muon.update(net, gradients, 0.1); }) ==
        "Muon: the gradient of tall.weight in update 3 is too large to be squared");
  CHECK(net.wide.value == before.wide.value);
  CHECK(net.bias.value == before.bias.value);
  CHECK_THROWS_AS(ef::Muon<float>({.momentum = 1 - 1e-9}), ef::Error);  // 1 as a float
  CHECK_THROWS_AS(ef::Muon<double>({.momentum = 1}), ef::Error);
  const auto refusal = [](const ef::MuonOptions& options) {
    return ef::testing::message_of([&] { ef::Muon<double>{options}; });
  };
  CHECK(refusal({.steps = -1}) == "Muon: steps is -1, expected 0 or more");
  CHECK(refusal({.rms = -0.5}) == "Muon: rms is -0.5, expected 0 or more");
  CHECK(refusal({.rms = std::numeric_limits<double>::quiet_NaN()}).find("Muon: rms is ") == 0);
  CHECK(refusal({.weight_decay = -1}) == "Muon: weight_decay is -1, expected 0 or more");
  CHECK(refusal({.steps = 0, .rms = 0}) == "nothing was thrown");
}
