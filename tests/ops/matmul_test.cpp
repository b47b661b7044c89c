#include "eigenformer/ops/matmul.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::testing::check_op;
using ef::testing::random_matrix;
using Context = ef::Context<double>;
using Inputs = std::vector<ef::Variable<double>>;

TEST_CASE("gradients of dense products", "[ops]") {
  const std::uint64_t seed = 12;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto x = random_matrix<double>(7, 5, rng), w = random_matrix<double>(4, 5, rng);
  const auto bias = random_matrix<double>(1, 4, rng), b = random_matrix<double>(5, 6, rng);
  check_op({x, b}, [](const Context& c, const Inputs& in) { return ef::matmul(c, in[0], in[1]); });
  check_op({x, w, bias}, [](const Context& c, const Inputs& in) { return ef::linear(c, in[0], in[1], in[2]); });
  check_op({x, w}, [](const Context& c, const Inputs& in) { return ef::linear(c, in[0], in[1]); });

  const Context none{};
  const ef::Matrix<double> y =
      ef::linear(none, ef::Variable<double>(x), ef::Variable<double>(w), ef::Variable<double>(bias)).value();
  CHECK(y.isApprox((x * w.transpose()).rowwise() + bias.row(0), 1e-14));
}
