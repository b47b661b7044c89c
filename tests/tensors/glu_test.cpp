#include "eigenformer/tensors/glu.hpp"

#include "support/message_of.hpp"
#include "tensors/tensor_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Sizes;
using ef::Tensor;
using Eigen::half;
using namespace ef::testing;

namespace {

/// Calls entry(y, a, b) with the places of each entry of the result and of its two operands in x.
template <class Entry>
void for_each_entry(const Sizes& x, int dimension, Entry entry) {
  Index inner = 1;
  for (int d = dimension + 1; d < x.rank(); ++d) inner *= x[d];
  const Index block = x[dimension] / 2 * inner;
  for (Index i = 0; i < ef::count_of(x) / 2; ++i) {
    const Index a = i / block * 2 * block + i % block;
    entry(i, a, a + block);
  }
}
double gate(double x) {
  return 1 / (1 + std::exp(-x));
}

/// The shapes and the dimension that is halved: every place, sizes around those of SIMD registers, and none.
const std::vector<std::pair<Sizes, int>> cases{
    {{2}, 0},       {{14}, 0},          {{1, 2}, 1},        {{10, 7}, 0},        {{3, 34}, 1},
    {{2, 6, 5}, 1}, {{3, 4, 17, 2}, 1}, {{3, 4, 5, 66}, 3}, {{2, 3, 130, 7}, 2}, {{6, 1, 31}, 0},
    {{0, 4}, 1},    {{3, 4, 0}, 1},     {{3, 0}, 1}};

}  // namespace

TEMPLATE_TEST_CASE("the gated linear unit of tensors agrees with its definition", "[tensors][threads]", float, double) {
  const std::uint64_t seed = 71;
  CAPTURE(seed);
  ef::ThreadPool pool(3);
  for (const auto& [shape, dimension] : cases) {
    CAPTURE(shape.rank(), dimension);
    const auto x = random_tensor<TestType>(shape, seed);
    Sizes halved = shape;
    halved[dimension] /= 2;
    const auto d_y = random_tensor<TestType>(halved, seed + 1);
    Tensor<double> expected(halved), d_expected(shape);
    for_each_entry(shape, dimension, [&](Index y, Index a, Index b) {
      const auto linear = static_cast<double>(x.data()[a]), d = static_cast<double>(d_y.data()[y]);
      const double g = gate(static_cast<double>(x.data()[b]));
      expected.data()[y] = linear * g;
      d_expected.data()[a] = d * g;
      d_expected.data()[b] = d * linear * g * (1 - g);
    });
    const auto y = ef::glu(x, dimension), d_x = ef::glu_backward(x, d_y, dimension);
    CHECK(y.shape() == halved);
    CHECK(d_x.shape() == shape);
    CHECK(ef::equal(ef::glu(x, dimension - shape.rank(), &pool), y));
    CHECK(ef::equal(ef::glu_backward(x, d_y, dimension - shape.rank(), &pool), d_x));
    if (x.size() == 0) continue;
    CHECK(error_of(y, expected) < tolerance<TestType>(8));
    CHECK(error_of(d_x, d_expected) < tolerance<TestType>(8));
  }
}

TEMPLATE_TEST_CASE("the gated linear unit reads any strides, expressions and temporaries", "[tensors]", float, double) {
  const auto x = random_tensor<TestType>({4, 6, 8}, 3), d_y = random_tensor<TestType>({4, 3, 8}, 4);
  const auto y = ef::glu(x, 1), d_x = ef::glu_backward(x, d_y, 1);
  CHECK(ef::equal(ef::glu(x.transpose(), 2), y.transpose()));
  CHECK(ef::equal(ef::glu(x.permute({1, 2, 0}), 0), y.permute({1, 2, 0})));
  CHECK(ef::equal(ef::glu(x.slice(2, {.begin = 1, .step = 2}), 1), y.slice(2, {.begin = 1, .step = 2})));
  CHECK(ef::equal(ef::glu(x.slice(0, {.step = -1}), 1), y.slice(0, {.step = -1})));
  CHECK(ef::equal(ef::glu(x.slice(1, {.begin = 2, .end = 4}), 1),
                  ef::glu(Tensor<TestType>(x.slice(1, {.begin = 2, .end = 4})), 1)));
  CHECK(ef::equal(ef::glu(x.select(0, 0).unsqueeze(0).expand({3, 6, 8}), 1),
                  y.select(0, 0).unsqueeze(0).expand({3, 3, 8})));
  CHECK(ef::equal(ef::glu(x + TestType(0), 1), y));
  CHECK(ef::equal(ef::glu(Tensor<TestType>(x), 1), y));
  CHECK(ef::equal(ef::glu_backward(x.transpose(), d_y.transpose(), 2), d_x.transpose()));
  CHECK(ef::equal(ef::glu_backward(x + TestType(0), d_y + TestType(0), 1), d_x));
}

TEST_CASE("the gated linear unit of tensors has the bits of that of matrices, and takes 16-bit entries", "[tensors]") {
  const Tensor<float> x = random_tensor<float>({3, 5, 40}, 7), d_y = random_tensor<float>({3, 5, 20}, 8);
  CHECK(same<float>(ef::glu(x), ef::glu(rows_of(x))));
  const Tensor<half> narrow = x.cast<half>(), d_narrow = d_y.cast<half>();
  CHECK(ef::equal(ef::glu(narrow), ef::glu(narrow.cast<float>()).cast<half>()));
  CHECK(ef::equal(ef::glu_backward(narrow, d_narrow),
                  ef::glu_backward(narrow.cast<float>(), d_narrow.cast<float>()).cast<half>()));
}

TEST_CASE("a gated linear unit of tensors that cannot be is refused", "[tensors]") {
  const Tensor<float> x({2, 5, 4});
  CHECK(message_of([&] { ef::glu(x, 1); }) == "glu: x is [2 x 5 x 4], expected an even size of dimension 1");
  CHECK(message_of([&] { ef::glu(x, 3); }) == "glu: dimension 3 of a tensor of rank 3, expected -3 to 2");
  CHECK(message_of([&] { ef::glu(Tensor<float>(Sizes{})); }) ==
        "glu: dimension -1 of a tensor of rank 0, which has none");
  CHECK(message_of([&] { ef::glu_backward(x, x); }) == "glu_backward: d_y is [2 x 5 x 4], expected [2 x 5 x 2]");
}
