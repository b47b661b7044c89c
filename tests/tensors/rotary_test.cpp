#include "eigenformer/tensors/rotary.hpp"

#include <vector>

#include "support/message_of.hpp"
#include "tensors/tensor_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::RotaryPairs;
using ef::Tensor;
using Eigen::half;
using namespace ef::testing;

namespace {

constexpr auto tokens_first = ef::AttentionDimensions::batch_tokens_heads;

/// Rotates the first `rotated` features of [batch x heads x tokens x width] in double, pair by pair.
Tensor<double> naive(const Tensor<double>& x, Index rotated, const Tensor<Index>& positions, RotaryPairs pairs) {
  Tensor<double> y = x;
  for (Index b = 0; b < x.dimension(0); ++b)
    for (Index h = 0; h < x.dimension(1); ++h)
      for (Index t = 0; t < x.dimension(2); ++t)
        for (Index i = 0; i < rotated / 2; ++i) {
          const Index first = pairs == RotaryPairs::halves ? i : 2 * i;
          const Index second = pairs == RotaryPairs::halves ? i + rotated / 2 : 2 * i + 1;
          const double angle = static_cast<double>(positions(b, t)) *
                               std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(rotated));
          const double u = x(b, h, t, first), v = x(b, h, t, second);
          y(b, h, t, first) = u * std::cos(angle) - v * std::sin(angle);
          y(b, h, t, second) = u * std::sin(angle) + v * std::cos(angle);
        }
  return y;
}

}  // namespace

TEMPLATE_TEST_CASE("rotary of tensors agrees with its definition and with the matrix function", "[tensors][threads]",
                   float, double) {
  ef::ThreadPool pool(3);
  const Tensor<Index> positions = ef::tensor<Index>({{0, 1, 2, 3, 4}, {9, 7, 5, 3, 0}});
  const Tensor<TestType> x = random_tensor<TestType>({2, 3, 5, 8}, 1);
  const Tensor<TestType> by_tokens = x.transpose(1, 2).contiguous();
  for (const RotaryPairs pairs : {RotaryPairs::halves, RotaryPairs::interleaved})
    for (const Index rotated : {8, 6, 0}) {
      CAPTURE(rotated);
      const auto table = ef::rotary_table<TestType>(10, rotated);
      const Tensor<TestType> y = ef::rotary(x, table, positions, {.pairs = pairs});
      CHECK(error_of(y, naive(x.template cast<double>(), rotated, positions, pairs)) < tolerance<TestType>(8));

      // With tokens before heads, the rows are those of the matrix function.
      const Tensor<TestType> z = ef::rotary(by_tokens, table, positions, {.pairs = pairs, .dimensions = tokens_first});
      CHECK(ef::equal(z.transpose(1, 2), y));
      const std::vector<Index> all(positions.data(), positions.data() + positions.size());
      const ef::Matrix<TestType> rows = by_tokens.reshape({10, 24}).matrix();
      CHECK(identical<TestType>(z.reshape({10, 24}).matrix(),
                                ef::rotary(rows, table, all, {.heads = 3, .pairs = pairs})));

      // Any strides, threads, types of positions and temporaries.
      CHECK(ef::equal(ef::rotary(by_tokens.transpose(1, 2), table, positions, {.pairs = pairs}), y));
      CHECK(
          ef::equal(ef::rotary(x.transpose(1, 2), table, positions, {.pairs = pairs, .dimensions = tokens_first}), z));
      CHECK(ef::equal(ef::rotary(x, table, positions.cast<ef::Token>(), {.pairs = pairs}, &pool), y));
      CHECK(ef::equal(ef::rotary(x + TestType(0), table, positions, {.pairs = pairs}), y));
      const Tensor<TestType> head = x.select(1, 2).unsqueeze(1).contiguous();
      CHECK(ef::equal(ef::rotary(head, table, positions, {.pairs = pairs}), y.select(1, 2).unsqueeze(1)));
    }
}

TEST_CASE("positions are those of every sequence, or of each", "[tensors]") {
  const auto table = ef::rotary_table<float>(20, 4);
  const Tensor<float> x = random_tensor<float>({2, 3, 5, 4}, 2);
  const std::vector<Index> numbers{3, 4, 5, 6, 7};
  const Tensor<Index> shared = ef::arange<Index>(3, 8), each = ef::tensor<Index>({{3, 4, 5, 6, 7}, {3, 4, 5, 6, 7}});
  const Tensor<float> y = ef::rotary(x, table, each);
  CHECK(ef::equal(ef::rotary(x, table, shared), y));
  CHECK(ef::equal(ef::rotary(x, table, shared.unsqueeze(0)), y));
  CHECK(ef::equal(ef::rotary(x, table, std::span<const Index>(numbers)), y));
  CHECK(ef::equal(ef::rotary(x, table, numbers), y));
  CHECK(ef::equal(ef::rotary(x.select(0, 0), table, shared), y.select(0, 0)));  // without a batch
  CHECK(ef::equal(ef::rotary(x.unsqueeze(0), table, shared), y.unsqueeze(0)));
  CHECK(ef::rotary(Tensor<float>({2, 3, 0, 4}), table, Tensor<Index>({0})).shape() == ef::Sizes{2, 3, 0, 4});
  const Tensor<half> narrow = x.cast<half>();
  CHECK(ef::equal(ef::rotary(narrow, table, shared), ef::rotary(narrow.cast<float>(), table, shared).cast<half>()));
}

TEST_CASE("the derivative of rotary agrees with differences", "[tensors]") {
  const auto table = ef::rotary_table<double>(6, 4);
  const Tensor<double> x = random_tensor<double>({2, 2, 3, 6}, 3), d_y = random_tensor<double>(x.shape(), 4);
  const Tensor<Index> positions = ef::tensor<Index>({{5, 0, 2}, {1, 3, 4}});
  for (const RotaryPairs pairs : {RotaryPairs::halves, RotaryPairs::interleaved}) {
    const ef::RotaryTensorOptions options{.pairs = pairs};
    CHECK(error_of(ef::rotary_backward(d_y, table, positions, options), numeric(x, [&](const auto& v) {
                     return inner(ef::rotary(v, table, positions, options), d_y);
                   })) < gradient_tolerance);
    CHECK(error_of(ef::rotary_backward(ef::rotary(x, table, positions, options), table, positions, options), x) <
          1e-14);
  }
  const std::vector<Index> numbers{1, 2, 3};
  CHECK(ef::equal(ef::rotary_backward(d_y, table, numbers), ef::rotary_backward(d_y, table, ef::arange<Index>(1, 4))));
}

TEST_CASE("rotary names what does not fit", "[tensors]") {
  const auto table = ef::rotary_table<float>(4, 4);
  const Tensor<float> x({2, 3, 5, 4});
  CHECK(message_of([&] { ef::rotary(x.select(0, 0).select(0, 0), table, ef::arange<Index>(5)); }) ==
        "rotary: x is [5 x 4], expected [batch x heads x tokens x width]");
  CHECK(message_of([&] { ef::rotary(x, table, ef::arange<Index>(3)); }) ==
        "rotary: x is [2 x 3 x 5 x 4], positions is [3], expected [2 x 5] or what broadcasts to it");
  CHECK(message_of([&] { ef::rotary(x, table, ef::arange<Index>(3), {.dimensions = tokens_first}); }) ==
        "nothing was thrown");
  CHECK(message_of([&] {
          ef::rotary(x, table, Tensor<Index>({1, 2, 5}));
        }) == "rotary: x is [2 x 3 x 5 x 4], positions is [1 x 2 x 5], expected [2 x 5] or what broadcasts to it");
  CHECK(message_of([&] { ef::rotary(x, table, ef::arange<Index>(5)); }) == "rotary: id 4 at 4, the table has 4 rows");
  const Tensor<float> narrow({2, 3, 5, 2});
  CHECK(message_of([&] { ef::rotary(narrow, table, Tensor<Index>({5})); }) ==
        "rotary: x is [30 x 2], expected 1 heads of at least 4 columns");
}
