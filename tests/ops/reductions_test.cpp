#include "eigenformer/ops/reductions.hpp"

#include <limits>

#include "eigenformer/tensors/comparison.hpp"
#include "ops/tensor_ops.hpp"

namespace ef = eigenformer;
using ef::testing::check_tensor_op;
using Context = ef::Context<double>;
using Inputs = std::vector<ef::Variable<double>>;

TEST_CASE("sums and means over dimensions, and functions of entries, have gradients", "[ops]") {
  ef::Rng rng(1);
  const ef::Sizes shape{2, 3, 4};
  const ef::Variable<double> x = ef::testing::random_tensor(shape, rng);
  CHECK(ef::all_close(ef::sum<double>({}, x, {0, 2}).tensor(), ef::sum(x.tensor(), {0, 2})));
  CHECK(ef::mean<double>({}, x, -1, {.keep_dims = true}).sizes() == ef::Sizes{2, 3, 1});
  const auto check = [&](const auto& op) { check_tensor_op({shape}, rng, op); };
  check([](const Context& c, const Inputs& in) { return ef::sum(c, in[0], {0, 2}); });
  check([](const Context& c, const Inputs& in) { return ef::sum(c, in[0], 1, {.keep_dims = true}); });
  check([](const Context& c, const Inputs& in) { return ef::mean(c, in[0], {-1, 0}); });
  check([](const Context& c, const Inputs& in) { return ef::mean(c, in[0], 1, {.keep_dims = true}); });
  check([](const Context& c, const Inputs& in) { return ef::exp(c, in[0]); });
  check([](const Context& c, const Inputs& in) { return ef::square(c, in[0]); });
  check([](const Context& c, const Inputs& in) { return ef::log(c, ef::exp(c, in[0])); });
  check([](const Context& c, const Inputs& in) { return ef::sqrt(c, ef::exp(c, in[0])); });
  check([](const Context& c, const Inputs& in) {
    ef::Tensor<bool> mask({3, 1});
    mask(1, 0) = true;
    return ef::masked_fill(c, in[0], mask, -7);
  });
  // A layer norm, written with tensors.
  check([](const Context& c, const Inputs& in) {
    const auto centred = ef::subtract(c, in[0], ef::mean(c, in[0], -1, {.keep_dims = true}));
    const auto variance = ef::mean(c, ef::square(c, centred), -1, {.keep_dims = true});
    return ef::divide(c, centred,
                      ef::sqrt(c, ef::add(c, variance, ef::Variable<double>(Eigen::MatrixXd::Constant(1, 1, 1e-2)))));
  });
}

TEST_CASE("exp and sqrt of Variables are those of tensors at infinity", "[ops]") {
  const auto check_type = [](auto zero) {
    using Scalar = decltype(zero);
    constexpr Scalar infinity = std::numeric_limits<Scalar>::infinity();
    const ef::Index count = 33;  // whole packets and a rest
    ef::Tape<Scalar> tape;
    const ef::Context<Scalar> context{.tape = &tape};
    const auto lowest = tape.variable(ef::Tensor<Scalar>({count}, -infinity));
    const auto highest = tape.variable(ef::Tensor<Scalar>({count}, infinity));
    const auto powers = ef::exp(context, lowest), roots = ef::sqrt(context, highest);
    tape.backward(ef::add(context, ef::sum(context, powers), ef::sum(context, roots)));
    for (ef::Index i = 0; i < count; ++i) {
      CHECK(powers.tensor()(i) == 0);
      CHECK(roots.tensor()(i) == infinity);
      CHECK(tape.gradient_tensor(lowest)(i) == 0);
      CHECK(tape.gradient_tensor(highest)(i) == 0);
    }
  };
  check_type(0.0F);
  check_type(0.0);
}
