#include "eigenformer/ops/padding.hpp"

#include "eigenformer/layers/encoder.hpp"
#include "eigenformer/tensors/comparison.hpp"
#include "ops/tensor_ops.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using Context = ef::Context<double>;
using Inputs = std::vector<ef::Variable<double>>;

TEST_CASE("rows are padded and unpadded with their gradients", "[ops]") {
  ef::Rng rng(1);
  const std::vector<Index> lengths{2, 0, 3};
  const auto rows = ef::RowOffsets::from_lengths(lengths);
  ef::testing::check_tensor_op(
      {{3, 4, 2}}, rng, [&](const Context& c, const Inputs& in) { return ef::unpad<double>(c, in[0], lengths); });
  ef::testing::check_tensor_op({{5, 2}}, rng,
                               [&](const Context& c, const Inputs& in) { return ef::pad(c, in[0], rows, -1, 4); });
  CHECK(ef::testing::message_of([&] { ef::pad<double>({}, Eigen::MatrixXd::Zero(5, 2).eval(), rows, 0, 2); }) ==
        "pad: longest is 2, a sequence has 3 rows");
}

TEST_CASE("a layer gives a padded batch the bits of ragged rows, forward and backward", "[ops]") {
  ef::Rng rng(2);
  const ef::Encoder<float> encoder({.width = 8, .heads = 2, .dim_feedforward = 16, .dropout = 0}, 2, rng);
  const std::vector<Index> lengths{3, 5, 1};
  const auto rows = ef::RowOffsets::from_lengths(lengths);
  ef::Tensor<float> padded({3, 6, 8});
  for (Index i = 0; i < padded.size(); ++i) padded.data()[i] = static_cast<float>(rng.normal());
  const auto run = [&](bool is_padded, ef::Matrix<float>& d_x) {
    ef::Tape<float> tape;
    const ef::Context<float> context{.tape = &tape};
    if (is_padded) {
      const auto x = tape.variable(padded);
      const auto y = ef::call_padded(context, encoder, x, lengths);
      CHECK(y.sizes() == ef::Sizes{3, 6, 8});
      tape.backward(ef::sum(context, ef::multiply(context, y, y)));
      d_x = ef::unpad(tape.gradient_tensor(x), lengths);
      return ef::unpad(y.tensor(), lengths);
    }
    const auto x = tape.variable(ef::unpad(padded, lengths));
    const auto y = encoder(context, x, rows);
    tape.backward(ef::sum(context, ef::multiply(context, y, y)));
    d_x = tape.gradient(x);
    return ef::Matrix<float>(y.value());
  };
  ef::Matrix<float> d_padded, d_ragged;
  CHECK(run(true, d_padded) == run(false, d_ragged));
  CHECK(d_padded == d_ragged);
}

TEST_CASE("call_padded names itself in messages", "[ops]") {
  ef::Rng rng(4);
  const ef::Encoder<float> encoder({.width = 8, .heads = 2, .dim_feedforward = 8}, 1, rng);
  const ef::Variable<float> x(ef::Tensor<float>({2, 3, 8}));
  const std::vector<ef::Index> one{3}, too_long{1, 4};
  CHECK_THROWS_WITH(ef::call_padded({}, encoder, x, one),
                    "call_padded: the number of lengths is 1, the tensor is [2 x 3 x 8], expected 2");
  CHECK_THROWS_WITH(ef::call_padded({}, encoder, x, too_long),
                    "call_padded: a sequence has 4 rows, the tensor is [2 x 3 x 8], expected at most 3 rows");
}

TEST_CASE("layers that work on rows keep the dimensions of a tensor", "[ops]") {
  ef::Rng rng(3);
  const ef::Linear<float> linear(4, 5, rng);
  const ef::Variable<float> x(ef::Tensor<float>({2, 3, 4}, 1.0F));
  CHECK(linear({}, x).sizes() == ef::Sizes{2, 3, 5});
  CHECK(linear({}, x).value() == linear({}, x.reshaped(6, 4)).value());
}
