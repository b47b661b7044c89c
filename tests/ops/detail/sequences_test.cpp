#include "eigenformer/ops/detail/sequences.hpp"

#include "eigenformer/ops/additive_attention.hpp"
#include "eigenformer/ops/convolution.hpp"
#include "eigenformer/ops/padding.hpp"
#include "eigenformer/ops/pooling.hpp"
#include "eigenformer/ops/positions.hpp"
#include "eigenformer/ops/recurrent.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Pooling;
using ef::Tensor;
using ef::Variable;
using ef::testing::message_of;

TEST_CASE("only a tensor of several matrices needs the offsets of its sequences", "[ops]") {
  const auto error = [](const ef::Sizes& shape, const ef::RowOffsets& rows = {}) {
    return message_of(
        [&] { ef::detail::check_has_sequences("here", "x", Variable<float>(Tensor<float>(shape)), rows); });
  };
  const std::string expected = ", expected the offsets of its sequences; unpad() gives the rows of a padded tensor";
  CHECK(error({2, 3, 4}) == "here: x is [2 x 3 x 4]" + expected);
  CHECK(error({2, 0, 4}) == "here: x is [2 x 0 x 4]" + expected);
  CHECK(error({0, 3, 4}) == "here: x is [0 x 3 x 4]" + expected);
  CHECK(error({1, 2, 3, 4}) == "here: x is [1 x 2 x 3 x 4]" + expected);
  CHECK(error({2, 3, 4}, {0, 3, 6}) == "nothing was thrown");
  for (const ef::Sizes& shape : {ef::Sizes{}, {4}, {3, 4}, {1, 3, 4}, {1, 1, 3, 4}})
    CHECK(error(shape) == "nothing was thrown");
}

TEST_CASE("no operation takes a padded tensor for one sequence", "[ops]") {
  const ef::Context<float> context;
  const Variable<float> x(Tensor<float>({2, 3, 4}, 1)), row(Matrix<float>::Ones(1, 4)),
      table(Matrix<float>::Ones(9, 4));
  const Variable<float> one = x.reshaped({1, 6, 4});
  const auto error = [&](auto call) {
    CHECK(message_of([&] { call(one); }) == "nothing was thrown");
    return message_of([&] { call(x); });
  };
  const std::string expected =
      " is [2 x 3 x 4], expected the offsets of its sequences; unpad() gives the rows of a padded tensor";
  const ef::Parameter<float> parameter(5, 12);
  CHECK(error([&](const auto& in) { convolution(context, in, context.use(parameter), {}, {.kernel = 3}); }) ==
        "convolution: x" + expected);
  CHECK(error([&](const auto& in) { convolution(context, in, parameter, {}, {.kernel = 3}); }) ==
        "convolution: x" + expected);
  CHECK(error([&](const auto& in) { add_positions(context, in, table); }) == "add_positions: x" + expected);
  CHECK(error([&](const auto& in) { pool_windows(context, Pooling::mean, in, {}); }) == "pooling: x" + expected);
  CHECK(error([&](const auto& in) { pool_sequences(context, Pooling::mean, in); }) == "pooling: x" + expected);
  CHECK(error([&](const auto& in) { pad(context, in, {}); }) == "pad: rows" + expected);
  CHECK(error([&](const auto& in) { additive_attention(context, in, one, row, one); }) ==
        "additive_attention: q" + expected);
  CHECK(error([&](const auto& in) { additive_attention(context, one, in, row, one); }) ==
        "additive_attention: k" + expected);
  CHECK(error([&](const auto& in) { additive_attention(context, one, one, row, in); }) ==
        "additive_attention: the values" + expected);
  CHECK(error([&](const auto& in) {
          recurrent(context, {in, Variable<float>(Matrix<float>::Ones(4, 4)), {}, {}}, {ef::RecurrentCell::rnn});
        }) == "recurrent: gates" + expected);
}
