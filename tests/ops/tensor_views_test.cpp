#include "eigenformer/ops/tensor_views.hpp"

#include "eigenformer/ops/reductions.hpp"
#include "eigenformer/tensors/comparison.hpp"
#include "ops/tensor_ops.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::testing::check_tensor_op;
using Context = ef::Context<double>;
using Inputs = std::vector<ef::Variable<double>>;

TEST_CASE("views of tensors have the values of the tensor's views, and their gradients", "[ops]") {
  ef::Rng rng(1);
  const Context none{};
  const ef::Variable<double> x = ef::testing::random_tensor({2, 3, 4}, rng);
  const auto t = x.tensor();
  CHECK(ef::equal(ef::reshape(none, x, {4, -1}).tensor(), t.reshape({4, 6})));
  CHECK(ef::equal(ef::permute(none, x, {2, 0, 1}).tensor(), t.permute({2, 0, 1})));
  CHECK(ef::equal(ef::transpose(none, x, 0, 1).tensor(), t.transpose(0, 1)));
  CHECK(ef::equal(ef::select(none, x, 1, -1).tensor(), t.select(1, 2)));
  CHECK(ef::equal(ef::slice(none, x, 2, {.begin = 3, .step = -2}).tensor(), t.slice(2, {.begin = 3, .step = -2})));
  CHECK(ef::equal(ef::unsqueeze(none, x, 1).tensor(), t.unsqueeze(1)));
  CHECK(ef::equal(ef::expand(none, ef::unsqueeze(none, x, 0), {5, 2, 3, 4}).tensor(), t.expand({5, 2, 3, 4})));
  const ef::Tensor<double> joined = ef::concat(1, t, t);
  CHECK(ef::equal(ef::concat(none, Inputs{x, x}, 1).tensor(), joined));
  const ef::Variable<double> square = ef::testing::random_tensor({3, 3}, rng);
  CHECK(ef::equal(ef::diagonal(none, square).tensor(), square.tensor().diagonal()));

  const auto check = [&](const std::vector<ef::Sizes>& shapes, const auto& op) { check_tensor_op(shapes, rng, op); };
  const ef::Sizes shape{2, 3, 4};
  check({shape}, [](const Context& c, const Inputs& in) { return ef::reshape(c, in[0], {3, -1}); });
  check({shape}, [](const Context& c, const Inputs& in) { return ef::permute(c, in[0], {2, 0, 1}); });
  check({shape}, [](const Context& c, const Inputs& in) { return ef::transpose(c, in[0]); });
  check({shape}, [](const Context& c, const Inputs& in) { return ef::select(c, in[0], 1, -1); });
  check({shape}, [](const Context& c, const Inputs& in) { return ef::slice(c, in[0], 2, {.begin = 3, .step = -2}); });
  check({shape}, [](const Context& c, const Inputs& in) { return ef::squeeze(c, ef::unsqueeze(c, in[0], 1), 1); });
  check({{2, 1, 4}}, [](const Context& c, const Inputs& in) { return ef::expand(c, in[0], {5, 2, 3, 4}); });
  check({{3, 4, 3}}, [](const Context& c, const Inputs& in) { return ef::diagonal(c, in[0], 0, 2); });
  check({shape, {2, 1, 4}}, [](const Context& c, const Inputs& in) { return ef::concat(c, {in[0], in[1], in[0]}, 1); });
}

TEST_CASE("a Variable may have any rank over its rows", "[ops]") {
  ef::Tape<double> tape;
  const Context context{.tape = &tape};
  const ef::Tensor<double> values({2, 3, 4}, 1.5);
  const ef::Variable<double> x = tape.variable(values);
  CHECK(x.sizes() == ef::Sizes{2, 3, 4});
  CHECK(x.rows() == 6);
  CHECK(x.cols() == 4);
  CHECK(ef::equal(x.tensor(), values));
  tape.backward(ef::sum(context, ef::multiply(context, x, x)));
  CHECK(tape.gradient_tensor(x).shape() == ef::Sizes{2, 3, 4});
  CHECK(ef::all_close(tape.gradient_tensor(x), 2.0 * values));
  CHECK(ef::Variable<double>(ef::Tensor<double>(ef::Sizes{}, 2.0)).scalar() == 2);
  CHECK(ef::Variable<double>(ef::Tensor<double>({5})).sizes() == ef::Sizes{5});
  CHECK(ef::testing::message_of([&] {
          x.reshaped(ef::Sizes{5, 5});
        }) == "Variable::reshaped: the value is [2 x 3 x 4], given [5 x 5]");
}

TEST_CASE("operands of different shapes broadcast, and so do their gradients", "[ops]") {
  ef::Rng rng(2);
  const std::vector<std::vector<ef::Sizes>> shapes{{{2, 3, 4}, {4}}, {{2, 3, 4}, {3, 1}}, {{2, 1, 4}, {3, 1}},
                                                   {{3, 4}, {1, 4}}, {{3, 4}, {2, 1, 1}}, {{4}, {4}}};
  for (const std::vector<ef::Sizes>& pair : shapes) {
    CAPTURE(pair[0].rank(), pair[1].rank());
    const Context none{};
    const ef::Variable<double> a = ef::testing::random_tensor(pair[0], rng),
                               b = ef::testing::random_tensor(pair[1], rng);
    CHECK(ef::all_close(ef::add(none, a, b).tensor(), a.tensor() + b.tensor()));
    CHECK(ef::all_close(ef::divide(none, a, b).tensor(), a.tensor() / b.tensor()));
    check_tensor_op(pair, rng, [](const Context& c, const Inputs& in) { return ef::add(c, in[0], in[1]); });
    check_tensor_op(pair, rng, [](const Context& c, const Inputs& in) { return ef::subtract(c, in[0], in[1]); });
    check_tensor_op(pair, rng, [](const Context& c, const Inputs& in) { return ef::multiply(c, in[0], in[1]); });
    check_tensor_op(pair, rng, [](const Context& c, const Inputs& in) {
      return ef::divide(c, in[0],
                        ef::add(c, ef::multiply(c, in[1], in[1]), ef::Variable<double>(Eigen::MatrixXd::Ones(1, 1))));
    });
  }
}

TEST_CASE("operations take Variables of rank 0, and matrices beside tensors", "[ops]") {
  ef::Tape<double> tape;
  const Context context{.tape = &tape};
  const ef::Variable<double> x = tape.variable(ef::Tensor<double>(ef::Sizes{}, 3.0));
  const ef::Variable<double> y = ef::add(context, ef::scale(context, x, 2), ef::multiply(context, x, x));
  CHECK(y.sizes() == ef::Sizes{});
  CHECK(y.scalar() == 15);
  tape.backward(y);
  CHECK(tape.gradient_tensor(x).item() == 8);

  ef::Rng rng(5);
  const Context none{};
  const auto tensor = ef::testing::random_tensor({2, 3, 4}, rng), rows = ef::testing::random_tensor({6, 4}, rng);
  CHECK(ef::add(none, tensor, rows).sizes() == ef::Sizes{2, 3, 4});  // NumPy would refuse
  CHECK(ef::divide(none, rows, tensor).sizes() == ef::Sizes{2, 3, 4});
  CHECK(ef::divide(none, rows, tensor).value().isApprox(rows.value().cwiseQuotient(tensor.reshaped(6, 4).value())));
  const auto one = ef::testing::random_tensor({2, 1, 3}, rng), two = ef::testing::random_tensor({2, 3}, rng);
  for (const auto& sum : {ef::add(none, one, two), ef::subtract(none, one, two), ef::divide(none, one, two)})
    CHECK(sum.sizes() == ef::Sizes{2, 2, 3});  // NumPy's shape
  check_tensor_op({{2, 3, 4}, {6, 4}}, rng,
                  [](const Context& c, const Inputs& in) { return ef::divide(c, in[0], ef::exp(c, in[1])); });
}
