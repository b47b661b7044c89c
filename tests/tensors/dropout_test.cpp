#include "eigenformer/tensors/dropout.hpp"

#include "support/message_of.hpp"
#include "tensors/tensor_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Tensor;
using Eigen::half;
using namespace ef::testing;

TEMPLATE_TEST_CASE("dropout of a tensor has the bits of dropout of its rows", "[tensors][threads]", float, double) {
  ef::ThreadPool pool(3);
  ef::Rng rng(3);
  const ef::RandomKey key = rng.split();
  for (const Index width : {1, 7, 64, 65, 200}) {
    CAPTURE(width);
    Tensor<TestType> x = random_tensor<TestType>({30, 20, width}, 1);
    const Tensor<TestType> y = ef::dropout(x, 0.3, key);
    CHECK(same(y, ef::dropout(rows_of(x), 0.3, key)));
    CHECK(ef::equal(ef::dropout(x, 0.3, key, &pool), y));
    CHECK(ef::equal(ef::dropout(x + TestType(0), 0.3, key), y));
    CHECK(ef::equal(ef::dropout(x, 0, key), x));
    // Strides do not matter, only the order of indices.
    const Tensor<TestType> turned = x.transpose().contiguous();
    CHECK(ef::equal(ef::dropout(turned.transpose(), 0.3, key), y));
    CHECK(ef::equal(ef::dropout(x.slice(0, {.end = 10}), 0.3, key), y.slice(0, {.end = 10})));
    Tensor<TestType> moved = x;
    CHECK(ef::equal(ef::dropout(std::move(moved), 0.3, key), y));
  }
}

TEST_CASE("dropout keeps the expectation, is its own derivative, and takes any rank", "[tensors]") {
  ef::Rng rng(4);
  const ef::RandomKey key = rng.split();
  const Tensor<double> ones = ef::ones<double>({100, 100, 10});
  const Tensor<double> y = ef::dropout(ones, 0.25, key);
  Index kept = 0;
  for (Index i = 0; i < y.size(); ++i) {
    CHECK_FALSE((y.data()[i] != 0 && std::abs(y.data()[i] - 1 / 0.75) > 1e-9));
    kept += y.data()[i] != 0 ? 1 : 0;
  }
  CHECK(std::abs(static_cast<double>(kept) / 100000 - 0.75) < 0.006);  // 4 standard deviations
  const Tensor<double> x = random_tensor<double>({3, 4}, 5), d_y = random_tensor<double>({3, 4}, 6);
  CHECK(error_of(ef::dropout(d_y, 0.5, key),
                 numeric(x, [&](const auto& v) { return inner(ef::dropout(v, 0.5, key), d_y); })) < gradient_tolerance);
  CHECK(ef::dropout(ef::full<double>({}, 3), 0, key).item() == 3);
  CHECK(ef::dropout(Tensor<float>({0, 4}), 0.5, key).shape() == ef::Sizes{0, 4});
  const Tensor<half> narrow = x.cast<half>();
  CHECK(ef::equal(ef::dropout(narrow, 0.5, key), ef::dropout(narrow.cast<float>(), 0.5, key).cast<half>()));
  CHECK(message_of([&] { ef::dropout(x, 1, key); }) == "dropout: rate is 1, expected at least 0 and less than 1");
}
