#include "eigenformer/tensors/normalization.hpp"

#include <functional>
#include <vector>

#include "support/allocations.hpp"
#include "support/message_of.hpp"
#include "tensors/tensor_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Tensor;
using ef::TensorView;
using Eigen::half;
using namespace ef::testing;

namespace {

/// Applies `line` to each line of x along some dimensions, in double, one entry after the other.
Tensor<double> naive_lines(const Tensor<double>& x, std::vector<Index> dimensions,
                           const std::function<void(std::vector<double>&)>& line) {
  for (Index& d : dimensions) d = d < 0 ? d + x.rank() : d;
  const auto is_in_line = [&](int d) { return std::find(dimensions.begin(), dimensions.end(), d) != dimensions.end(); };
  Tensor<double> y = x;
  // For each entry, collect its line, whose first entry it may or may not be.
  for (Index start = 0; start < y.size(); ++start) {
    std::vector<Index> at;
    Index rest = start;
    for (int d = 0; d < x.rank(); ++d) {
      at.push_back(rest / y.strides()[d]);
      rest %= y.strides()[d];
    }
    bool first = true;
    for (int d = 0; d < x.rank(); ++d) first = first && (!is_in_line(d) || at[static_cast<std::size_t>(d)] == 0);
    if (!first) continue;
    std::vector<Index> offsets{start};
    for (int d = 0; d < x.rank(); ++d) {
      if (!is_in_line(d)) continue;
      std::vector<Index> longer;
      for (const Index offset : offsets)
        for (Index i = 0; i < x.shape()[d]; ++i) longer.push_back(offset + i * y.strides()[d]);
      offsets = longer;
    }
    std::vector<double> values;
    for (const Index offset : offsets) values.push_back(y.data()[offset]);
    line(values);
    for (std::size_t i = 0; i < offsets.size(); ++i) y.data()[offsets[i]] = values[i];
  }
  return y;
}

void naive_softmax(std::vector<double>& x, bool logarithm) {
  double sum = 0;
  for (const double v : x) sum += std::exp(v);
  for (double& v : x) v = logarithm ? v - std::log(sum) : std::exp(v) / sum;
}

const std::vector<std::vector<Index>> some_dimensions{{0}, {1}, {2}, {-1}, {0, 1}, {1, 2}, {2, 0}, {0, 1, 2}};

ef::Sizes sizes_at(const ef::Sizes& shape, std::vector<Index> dimensions) {
  for (Index& d : dimensions) d = d < 0 ? d + shape.rank() : d;
  std::sort(dimensions.begin(), dimensions.end());
  ef::Sizes sizes;
  for (const Index d : dimensions) sizes.push_back(shape[static_cast<int>(d)]);
  return sizes;
}

}  // namespace

TEMPLATE_TEST_CASE("softmax of the last dimension has the bits of the kernel", "[tensors]", float, double) {
  for (const Index width : {1, 2, 7, 8, 16, 33}) {
    CAPTURE(width);
    const Tensor<TestType> x = random_tensor<TestType>({3, 4, width}, 5), d_y = random_tensor<TestType>(x.shape(), 6);
    const Tensor<TestType> y = ef::softmax(x), log_y = ef::log_softmax(x, 2);
    CHECK(same(y, ef::softmax(rows_of(x))));
    CHECK(same(log_y, ef::log_softmax(rows_of(x))));
    Matrix<TestType> d_x(12, width);
    ef::softmax_backward<TestType>(rows_of(y), rows_of(d_y), d_x);
    CHECK(same(ef::softmax_backward(y, d_y), d_x));
    ef::log_softmax_backward<TestType>(rows_of(log_y), rows_of(d_y), d_x);
    CHECK(same(ef::log_softmax_backward(log_y, d_y, -1), d_x));
  }
}

TEMPLATE_TEST_CASE("softmax reads any strides", "[tensors]", float, double) {
  Tensor<TestType> x = random_tensor<TestType>({4, 5, 9}, 7);
  const auto check = [](const auto& view) {
    const Tensor<TestType> copy(view);
    CHECK(ef::equal(ef::softmax(view), ef::softmax(copy)));
    CHECK(ef::equal(ef::softmax(view, 0), ef::softmax(copy, 0)));
    CHECK(ef::equal(ef::softmax_backward(view, view), ef::softmax_backward(copy, copy)));
    CHECK(ef::equal(ef::softmax_backward(view, view, 1), ef::softmax_backward(copy, copy, 1)));
  };
  check(x.view());
  check(x.slice(2, {.begin = 2, .end = 8}));
  check(x.slice(1, {.step = 2}));
  check(x.slice(1, {.step = -1}));
  check(x.slice(2, {.step = 3}));
  check(x.transpose());
  check(x.permute({1, 0, 2}));
  check(x.select(0, 1).unsqueeze(0).expand({3, 5, 9}));
  check(x.slice(2, {.end = 1}).expand({4, 5, 6}));
  check(x.slice(0, {.end = 1}));
  check(x.select(0, 1).slice(0, {.step = -1}).unsqueeze(0));               // rows at a negative distance
  check(x.select(0, 1).slice(0, {.end = 1}).expand({5, 9}).unsqueeze(1));  // rows at no distance
  check(TensorView<const TestType>(x.data(), {2, 3, 9}, {9, 3, 1}));       // rows that overlap
  check(x.slice(1, {.end = 0}));
  check(x * TestType(2));
  CHECK(ef::equal(ef::softmax(x.array()), ef::softmax(x)));
}

TEMPLATE_TEST_CASE("softmax of any dimension agrees with its definition", "[tensors]", float, double) {
  const Tensor<TestType> x = random_tensor<TestType>({3, 5, 4}, 8);
  for (const Index d : {0, 1, 2, -1, -2, -3}) {
    CAPTURE(d);
    for (const bool logarithm : {false, true}) {
      const Tensor<double> expected =
          naive_lines(x.template cast<double>(), {d}, [&](auto& line) { naive_softmax(line, logarithm); });
      CHECK(error_of(logarithm ? ef::log_softmax(x, d) : ef::softmax(x, d), expected) < tolerance<TestType>(8));
    }
  }
}

TEST_CASE("temporaries are overwritten, and contiguous tensors are not copied", "[tensors]") {
  Tensor<float> x = random_tensor<float>({100, 3, 400}, 9);
  const Tensor<float> expected = ef::softmax(x);
  Tensor<float> again = x;
  const float* const data = again.data();
  const Tensor<float> y = ef::softmax(std::move(again));
  CHECK(y.data() == data);
  CHECK(ef::equal(y, expected));
  if (can_count_allocations()) {
    const AllocationCount large(400000);
    CHECK(ef::softmax(x).size() == x.size());
    CHECK(large.count() == 1);
    CHECK(ef::softmax(x.slice(2, {.begin = 1})).size() < x.size());
    CHECK(large.count() == 2);
    CHECK(ef::softmax(x + 1.0F).size() == x.size());
    CHECK(large.count() == 3);
    CHECK(ef::softmax(x, 1).size() == x.size());
    CHECK(large.count() == 5);
  }
}

TEMPLATE_TEST_CASE("norms of the last dimension have the bits of the kernels", "[tensors]", float, double) {
  const Index width = 19;
  const Tensor<TestType> x = random_tensor<TestType>({2, 3, width}, 1), d_y = random_tensor<TestType>(x.shape(), 2);
  const Tensor<TestType> gain = random_tensor<TestType>({width}, 3), bias = random_tensor<TestType>({width}, 4);
  const Matrix<TestType> rows = rows_of(x);
  Matrix<TestType> y(6, width), d_x(6, width), mean(6, 1), rstd(6, 1), d_gain(1, width), d_bias(1, width);
  ef::layer_norm_forward<TestType>({rows, rows_of(gain), rows_of(bias)}, 1e-5, {y, mean, rstd});
  ef::layer_norm_backward<TestType>({rows, rows_of(gain), mean, rstd}, rows_of(d_y), {d_x, d_gain, d_bias});
  const auto result = ef::layer_norm_forward(x, gain, bias);
  CHECK(same(ef::layer_norm(x, gain, bias), y));
  CHECK(same(result.y, y));
  CHECK(result.moments.mean.shape() == ef::Sizes{2, 3, 1});
  CHECK(same(result.moments.mean, mean));
  CHECK(same(result.moments.rstd, rstd));
  const auto gradients = ef::layer_norm_backward(x, gain, result.moments, d_y);
  CHECK(same(gradients.d_x, d_x));
  CHECK(same(gradients.d_gain, d_gain));
  CHECK(same(gradients.d_bias, d_bias));

  ef::rms_norm_forward<TestType>(rows, rows_of(gain), 1e-5, y, rstd);
  ef::rms_norm_backward<TestType>({rows, rows_of(gain), rstd}, rows_of(d_y), {d_x, d_gain});
  const auto rms = ef::rms_norm_forward(x, gain);
  CHECK(same(ef::rms_norm(x, gain), y));
  CHECK(same(rms.y, y));
  CHECK(same(rms.rrms, rstd));
  const auto rms_gradients = ef::rms_norm_backward(x, gain, rms.rrms, d_y);
  CHECK(same(rms_gradients.d_x, d_x));
  CHECK(same(rms_gradients.d_gain, d_gain));

  // A norm over the two last dimensions is one over their product.
  const Tensor<TestType> flat = x.view().reshape({2, 3 * width}).contiguous();
  const Tensor<TestType> wide_gain = random_tensor<TestType>({3, width}, 5);
  CHECK(ef::equal(ef::rms_norm(x, wide_gain, {.dimensions = {1, 2}}).reshape({2, 3 * width}),
                  ef::rms_norm(flat, wide_gain.flatten())));
}

TEMPLATE_TEST_CASE("norms of any dimensions agree with their definition", "[tensors]", float, double) {
  const Tensor<TestType> x = random_tensor<TestType>({3, 5, 4}, 11);
  for (const std::vector<Index>& dimensions : some_dimensions) {
    const ef::Sizes numbers(dimensions);
    CAPTURE(dimensions);
    const ef::Sizes sizes = sizes_at(x.shape(), dimensions);
    const Tensor<TestType> gain = random_tensor<TestType>(sizes, 12), bias = random_tensor<TestType>(sizes, 13);
    std::vector<Index> in_order = dimensions;
    for (Index& d : in_order) d = d < 0 ? d + 3 : d;
    std::sort(in_order.begin(), in_order.end());
    const double epsilon = 0.25;
    const auto naive = [&](bool centred, double added) {
      return naive_lines(x.template cast<double>(), in_order, [&](auto& line) {
        const auto n = static_cast<double>(line.size());
        double mean = 0, square = 0;
        for (const double v : line) mean += v / n;
        if (!centred) mean = 0;
        for (const double v : line) square += (v - mean) * (v - mean) / n;
        for (std::size_t i = 0; i < line.size(); ++i)
          line[i] = (line[i] - mean) / std::sqrt(square + added) * static_cast<double>(gain.data()[i]) +
                    (centred ? static_cast<double>(bias.data()[i]) : 0);
      });
    };
    CHECK(error_of(ef::layer_norm(x, gain, bias, {.dimensions = numbers, .epsilon = epsilon}), naive(true, epsilon)) <
          tolerance<TestType>(16));
    CHECK(error_of(ef::rms_norm(x, gain, {.dimensions = numbers, .epsilon = epsilon}), naive(false, epsilon)) <
          tolerance<TestType>(16));
    CHECK(error_of(ef::layer_norm(x, gain, bias, {.dimensions = numbers}), naive(true, 1e-5)) <
          tolerance<TestType>(32));
    CHECK(error_of(ef::rms_norm(x, gain, {.dimensions = numbers}), naive(false, 1e-5)) < tolerance<TestType>(32));
  }
}

TEST_CASE("the derivatives along any dimension agree with differences", "[tensors]") {
  const Tensor<double> x = random_tensor<double>({3, 2, 4}, 21), d_y = random_tensor<double>(x.shape(), 22);
  for (const Index d : {0, 1, 2}) {
    CAPTURE(d);
    CHECK(error_of(ef::softmax_backward(ef::softmax(x, d), d_y, d),
                   numeric(x, [&](const auto& v) { return inner(ef::softmax(v, d), d_y); })) < gradient_tolerance);
    CHECK(error_of(ef::log_softmax_backward(ef::log_softmax(x, d), d_y, d),
                   numeric(x, [&](const auto& v) { return inner(ef::log_softmax(v, d), d_y); })) < gradient_tolerance);
  }
  for (const std::vector<Index>& dimensions : some_dimensions) {
    CAPTURE(dimensions);
    const ef::Sizes numbers(dimensions), sizes = sizes_at(x.shape(), dimensions);
    const Tensor<double> gain = random_tensor<double>(sizes, 23), bias = random_tensor<double>(sizes, 24);
    const ef::LayerNormOptions options{.dimensions = numbers, .epsilon = 0.1};
    const auto result = ef::layer_norm_forward(x, gain, bias, options);
    const auto gradients = ef::layer_norm_backward(x, gain, result.moments, d_y, options);
    CHECK(error_of(gradients.d_x, numeric(x, [&](const auto& v) {
                     return inner(ef::layer_norm(v, gain, bias, options), d_y);
                   })) < gradient_tolerance);
    CHECK(error_of(gradients.d_gain, numeric(gain, [&](const auto& v) {
                     return inner(ef::layer_norm(x, v, bias, options), d_y);
                   })) < gradient_tolerance);
    CHECK(error_of(gradients.d_bias, numeric(bias, [&](const auto& v) {
                     return inner(ef::layer_norm(x, gain, v, options), d_y);
                   })) < gradient_tolerance);
    const ef::RmsNormOptions rms_options{.dimensions = numbers, .epsilon = 0.1};
    const auto rms = ef::rms_norm_forward(x, gain, rms_options);
    const auto rms_gradients = ef::rms_norm_backward(x, gain, rms.rrms, d_y, rms_options);
    CHECK(error_of(rms_gradients.d_x, numeric(x, [&](const auto& v) {
                     return inner(ef::rms_norm(v, gain, rms_options), d_y);
                   })) < gradient_tolerance);
    CHECK(error_of(rms_gradients.d_gain, numeric(gain, [&](const auto& v) {
                     return inner(ef::rms_norm(x, v, rms_options), d_y);
                   })) < gradient_tolerance);
  }
}

TEST_CASE("threads change no bit, and 16-bit entries are computed as float", "[tensors][threads]") {
  ef::ThreadPool pool(3);
  const Tensor<float> x = random_tensor<float>({60, 20, 50}, 31), d_y = random_tensor<float>(x.shape(), 32);
  for (const Index d : {0, 2}) {
    const Tensor<float> gain = random_tensor<float>({x.dimension(d)}, 33);
    CHECK(ef::equal(ef::softmax(x, d, &pool), ef::softmax(x, d)));
    CHECK(ef::equal(ef::log_softmax(x, d, &pool), ef::log_softmax(x, d)));
    CHECK(ef::equal(ef::softmax_backward(x, d_y, d, &pool), ef::softmax_backward(x, d_y, d)));
    CHECK(ef::equal(ef::log_softmax_backward(x, d_y, d, &pool), ef::log_softmax_backward(x, d_y, d)));
    const auto one = ef::layer_norm_forward(x, gain, gain, {.dimensions = d});
    CHECK(ef::equal(ef::layer_norm(x, gain, gain, {.dimensions = d}, &pool), one.y));
    const auto a = ef::layer_norm_backward(x, gain, one.moments, d_y, {.dimensions = d});
    const auto b = ef::layer_norm_backward(x, gain, one.moments, d_y, {.dimensions = d}, &pool);
    CHECK(ef::equal(a.d_x, b.d_x));
    CHECK(ef::equal(a.d_gain, b.d_gain));
    const auto rms = ef::rms_norm_forward(x, gain, {.dimensions = d}, &pool);
    CHECK(ef::equal(ef::rms_norm(x, gain, {.dimensions = d}), rms.y));
    CHECK(ef::equal(ef::rms_norm_backward(x, gain, rms.rrms, d_y, {.dimensions = d}).d_gain,
                    ef::rms_norm_backward(x, gain, rms.rrms, d_y, {.dimensions = d}, &pool).d_gain));
  }
  const Tensor<half> narrow = x.slice(0, {.end = 2}).cast<half>(), gain = random_tensor<half>({50}, 34);
  const Tensor<float> wide = narrow.cast<float>(), wide_gain = gain.cast<float>();
  CHECK(ef::equal(ef::softmax(narrow), ef::softmax(wide).cast<half>()));
  CHECK(ef::equal(ef::softmax(narrow, 1), ef::softmax(wide, 1).cast<half>()));
  CHECK(ef::equal(ef::layer_norm(narrow, gain, gain), ef::layer_norm(wide, wide_gain, wide_gain).cast<half>()));
  const auto rms = ef::rms_norm_forward(narrow, gain);
  static_assert(std::is_same_v<decltype(rms.rrms), Tensor<float>>);
  CHECK(ef::equal(ef::rms_norm_backward(narrow, gain, rms.rrms, narrow).d_gain,
                  ef::rms_norm_backward(wide, wide_gain, rms.rrms, wide).d_gain.cast<half>()));
}

TEST_CASE("softmax and norms name what does not fit", "[tensors]") {
  const Tensor<float> x({2, 3}), gain({3}), wrong({2});
  const auto moments = ef::layer_norm_forward(x, gain, gain).moments;
  CHECK(message_of([&] { ef::softmax(x, 2); }) == "softmax: dimension 2 of a tensor of rank 2, expected -2 to 1");
  CHECK(message_of([&] { ef::softmax_backward(x, gain); }) == "softmax_backward: d_y is [3], expected [2 x 3]");
  CHECK(message_of([&] { ef::log_softmax_backward(x, gain); }) == "log_softmax_backward: d_y is [3], expected [2 x 3]");
  CHECK(message_of([&] { ef::layer_norm(x, wrong, gain); }) == "layer_norm: gain is [2], expected [3]");
  CHECK(message_of([&] { ef::layer_norm(x, gain, wrong); }) == "layer_norm: bias is [2], expected [3]");
  CHECK(message_of([&] { ef::layer_norm(x, gain, gain, {.epsilon = -1}); }) ==
        "layer_norm: epsilon is -1, expected 0 or more");
  CHECK(message_of([&] {
          ef::layer_norm(x, gain, gain, {.dimensions = {1, -1}});
        }) == "layer_norm: dimension 1 is named twice");
  CHECK(message_of([&] { ef::layer_norm_backward(x, gain, moments, gain); }) ==
        "layer_norm_backward: d_y is [3], expected [2 x 3]");
  CHECK(message_of([&] { ef::layer_norm_backward(x, gain, moments, x, {.dimensions = 0}); }) ==
        "layer_norm_backward: mean is [2 x 1], expected [1 x 3]");
  CHECK(message_of([&] { ef::rms_norm(x, wrong); }) == "rms_norm: gain is [2], expected [3]");
  CHECK(message_of([&] { ef::rms_norm_backward(x, gain, gain, x); }) ==
        "rms_norm_backward: rrms is [3], expected [2 x 1]");
}
