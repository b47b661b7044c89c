#include "eigenformer/kernels/convolution.hpp"

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::ConvolutionPadding;
using ef::ConvolutionWindow;
using ef::Index;
using ef::Matrix;
using ef::RowOffsets;
using namespace ef::testing;

namespace {

/// The definition, entry by entry. The places that a tap may take are told apart by sequence number.
Matrix<double> naive(const Matrix<double>& x, const Matrix<double>& weight, const Matrix<double>& bias,
                     const RowOffsets& rows, const ConvolutionWindow& window) {
  const Index reach = window.dilation * (window.kernel - 1);
  const Index before = window.padding == ConvolutionPadding::causal ? reach : reach / 2;
  Matrix<double> y = Matrix<double>::Zero(x.rows(), weight.rows());
  for (Index s = 0; s < rows.sequences(); ++s)
    for (Index i = rows.begin(s); i < rows.end(s); ++i)
      for (Index o = 0; o < weight.rows(); ++o) {
        if (bias.size() > 0) y(i, o) = bias(0, o);
        for (Index j = rows.begin(s); j < rows.end(s); ++j)
          for (Index k = 0; k < window.kernel; ++k)
            if (j == i + k * window.dilation - before)
              for (Index c = 0; c < x.cols(); ++c) y(i, o) += weight(o, k * x.cols() + c) * x(j, c);
      }
  return y;
}

std::vector<ConvolutionWindow> windows() {
  std::vector<ConvolutionWindow> all;
  for (const auto padding : {ConvolutionPadding::same, ConvolutionPadding::causal})
    for (const auto& [kernel, dilation] : std::vector<std::pair<Index, Index>>{
             {1, 1}, {2, 1}, {3, 1}, {4, 1}, {7, 1}, {1, 3}, {2, 3}, {3, 2}, {5, 4}, {9, 100}})
      all.push_back({.kernel = kernel, .dilation = dilation, .padding = padding});
  return all;
}

const RowOffsets ragged{0, 0, 5, 5, 6, 8, 19, 19};

template <class Scalar>
Matrix<Scalar> forward(const Matrix<Scalar>& x, const Matrix<Scalar>& weight, const Matrix<Scalar>& bias,
                       const RowOffsets& rows, const ConvolutionWindow& window) {
  return run_every_way<Scalar>({x, weight, bias}, {{x.rows(), weight.rows()}},
                               [&](auto& in, auto& out, ef::Threads* threads) {
                                 ef::convolution_forward<Scalar>({in[0], in[1], in[2]}, rows, window, out[0], threads);
                               })[0];
}

/// d_x and d_weight.
template <class Scalar>
std::vector<Matrix<Scalar>> backward(const Matrix<Scalar>& x, const Matrix<Scalar>& weight, const Matrix<Scalar>& d_y,
                                     const RowOffsets& rows, const ConvolutionWindow& window) {
  return run_every_way<Scalar>({x, weight, d_y}, {ef::shape(x), ef::shape(weight)},
                               [&](auto& in, auto& out, ef::Threads* threads) {
                                 ef::convolution_backward_input<Scalar>(in[1], in[2], rows, window, out[0], threads);
                                 ef::convolution_backward_weight<Scalar>(in[0], in[2], rows, window, out[1], threads);
                               });
}

/// The gradient of dot(naive(x, weight), d_y), which is linear in each, by unit matrices.
Matrix<double> naive_gradient(const Matrix<double>& of, const std::function<Matrix<double>(const Matrix<double>&)>& y,
                              const Matrix<double>& d_y) {
  Matrix<double> gradient(of.rows(), of.cols());
  Matrix<double> unit = Matrix<double>::Zero(of.rows(), of.cols());
  for (Index i = 0; i < of.size(); ++i) {
    unit.data()[i] = 1;
    gradient.data()[i] = dot(y(unit), d_y);
    unit.data()[i] = 0;
  }
  return gradient;
}

}  // namespace

TEMPLATE_TEST_CASE("convolution agrees with its definition", "[kernels][threads]", float, double) {
  const std::uint64_t seed = 301;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const ConvolutionWindow& window : windows())
    for (const auto& [inputs, outputs] :
         std::vector<std::pair<Index, Index>>{{1, 1}, {3, 2}, {5, 17}, {16, 33}, {33, 150}, {300, 7}}) {
      CAPTURE(window.kernel, window.dilation, to_string(window.padding), inputs, outputs);
      const double scale = 1 / std::sqrt(static_cast<double>(inputs * window.kernel));
      const auto x = random_matrix<TestType>(ragged.rows(), inputs, rng);
      const auto weight = random_matrix<TestType>(outputs, inputs * window.kernel, rng, scale);
      const auto bias = random_matrix<TestType>(1, outputs, rng);
      const Matrix<TestType> y = forward<TestType>(x, weight, bias, ragged, window);
      const Matrix<double> expected = naive(x.template cast<double>(), weight.template cast<double>(),
                                            bias.template cast<double>(), ragged, window);
      CHECK(max_error(y, expected) < tolerance<TestType>(32));
      CHECK(identical<TestType>(ef::convolution(x, weight, bias, window, ragged), y));

      const Matrix<TestType> unbiased = forward<TestType>(x, weight, {}, ragged, window);
      CHECK(max_error(unbiased, expected.rowwise() - bias.template cast<double>().row(0)) < tolerance<TestType>(32));
      const ef::PackedWeight<TestType> packed(weight);
      Matrix<TestType> by_packed(x.rows(), outputs);
      ef::convolution_forward<TestType>({x, packed, bias}, ragged, window, by_packed);
      CHECK(identical<TestType>(by_packed, y));
    }
}

TEST_CASE("the derivatives of convolution agree with its definition", "[kernels][threads]") {
  const std::uint64_t seed = 302;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const ConvolutionWindow& window : windows())
    for (const auto& [inputs, outputs] : std::vector<std::pair<Index, Index>>{{1, 1}, {3, 5}, {9, 2}}) {
      CAPTURE(window.kernel, window.dilation, to_string(window.padding), inputs, outputs);
      const auto x = random_matrix<double>(ragged.rows(), inputs, rng);
      const auto weight = random_matrix<double>(outputs, inputs * window.kernel, rng);
      const auto d_y = random_matrix<double>(ragged.rows(), outputs, rng);
      const auto d = backward<double>(x, weight, d_y, ragged, window);
      CHECK(max_error(d[0], naive_gradient(
                                x, [&](const auto& v) { return naive(v, weight, {}, ragged, window); }, d_y)) < 1e-13);
      CHECK(max_error(d[1], naive_gradient(
                                weight, [&](const auto& v) { return naive(x, v, {}, ragged, window); }, d_y)) < 1e-13);
    }
}

TEMPLATE_TEST_CASE("convolution is the same every way at sizes that are cut into blocks", "[kernels][threads]", float,
                   double) {
  const std::uint64_t seed = 303;
  CAPTURE(seed);
  ef::Rng rng(seed);
  std::vector<Index> lengths;
  for (Index i = 0; i < 60; ++i) lengths.push_back(rng.randint(25));
  lengths.push_back(530);  // longer than a block
  const RowOffsets rows = RowOffsets::from_lengths(lengths);
  const Index tokens = rows.rows();
  for (const ConvolutionWindow& window : {ConvolutionWindow{.kernel = 3},
                                          {.kernel = 4, .dilation = 2},
                                          {.kernel = 5, .padding = ConvolutionPadding::causal}}) {
    CAPTURE(window.kernel);
    const Index inputs = 50, outputs = 270;
    const auto x = random_matrix<TestType>(tokens, inputs, rng);
    const auto weight = random_matrix<TestType>(outputs, inputs * window.kernel, rng, 0.08);
    const auto d_y = random_matrix<TestType>(tokens, outputs, rng);
    const Matrix<TestType> y = forward<TestType>(x, weight, {}, rows, window);
    const auto d = backward<TestType>(x, weight, d_y, rows, window);
    // Independent: the products of Eigen on rows unfolded by hand.
    Matrix<double> unfolded = Matrix<double>::Zero(tokens, inputs * window.kernel);
    for (Index s = 0; s < rows.sequences(); ++s)
      for (Index i = rows.begin(s); i < rows.end(s); ++i)
        for (Index k = 0; k < window.kernel; ++k) {
          const Index j = i + k * window.dilation - window.before();
          if (j >= rows.begin(s) && j < rows.end(s))
            unfolded.block(i, k * inputs, 1, inputs) = x.row(j).template cast<double>();
        }
    CHECK(max_error(y, unfolded * weight.template cast<double>().transpose()) < tolerance<TestType>(64));
    const Matrix<double> d_weight = d_y.template cast<double>().transpose() * unfolded;
    CHECK((d[1].template cast<double>() - d_weight).norm() < tolerance<TestType>(64) * d_weight.norm());

    // Each sequence alone gives the same bits.
    for (Index s = 0; s < rows.sequences(); ++s) {
      const Matrix<TestType> alone = x.middleRows(rows.begin(s), rows.length(s));
      const Matrix<TestType> d_alone = d_y.middleRows(rows.begin(s), rows.length(s));
      Matrix<TestType> d_x(alone.rows(), inputs);
      ef::convolution_backward_input<TestType>(weight, d_alone, {}, window, d_x);
      REQUIRE(identical<TestType>(ef::convolution(alone, weight, Matrix<TestType>(), window),
                                  y.middleRows(rows.begin(s), rows.length(s))));
      REQUIRE(identical<TestType>(d_x, d[0].middleRows(rows.begin(s), rows.length(s))));
    }
  }
}

TEST_CASE("a causal convolution sees no future, and none sees another sequence, not even a NaN", "[kernels]") {
  const std::uint64_t seed = 304;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const RowOffsets rows{0, 4, 14, 18};
  const auto weight = random_matrix<float>(6, 5 * 3, rng);
  const auto x = random_matrix<float>(18, 5, rng);
  const Matrix<float> none;
  const Index t = 9;
  Matrix<float> changed = x;
  changed.middleRows(t, 14 - t).setConstant(std::numeric_limits<float>::quiet_NaN());
  for (const Index dilation : {1, 2}) {
    const ConvolutionWindow causal{.dilation = dilation, .padding = ConvolutionPadding::causal};
    const auto y = ef::convolution(x, weight, none, causal, rows);
    const auto y_changed = ef::convolution(changed, weight, none, causal, rows);
    CHECK(identical<float>(y_changed.topRows(t), y.topRows(t)));
    CHECK(identical<float>(y_changed.bottomRows(4), y.bottomRows(4)));
    CHECK(y_changed.row(t).hasNaN());
    const ConvolutionWindow same{.dilation = dilation};
    const auto z = ef::convolution(changed, weight, none, same, rows);
    CHECK(z.row(t - dilation).hasNaN());
    CHECK_FALSE(z.topRows(t - dilation).hasNaN());
    CHECK_FALSE(z.bottomRows(4).hasNaN());
  }
}

TEST_CASE("convolution of nothing", "[kernels]") {
  const ConvolutionWindow window;
  const Matrix<float> no_rows(0, 4), weight = Matrix<float>::Ones(5, 12), bias = Matrix<float>::Ones(1, 5);
  CHECK(ef::convolution(no_rows, weight, bias, window).rows() == 0);
  CHECK(ef::convolution(no_rows, weight, bias, window, RowOffsets{0, 0, 0}).rows() == 0);
  Matrix<float> d_weight = Matrix<float>::Ones(5, 12), d_x(0, 4);
  ef::convolution_backward_weight<float>(no_rows, Matrix<float>(0, 5), {}, window, d_weight);
  CHECK(d_weight.isZero(0));
  ef::convolution_backward_input<float>(weight, Matrix<float>(0, 5), {}, window, d_x);
  CHECK((ef::convolution(Matrix<float>(3, 0), Matrix<float>(5, 0), bias, window).array() == 1).all());
  CHECK(ef::convolution(Matrix<float>::Ones(3, 4), Matrix<float>(0, 12), Matrix<float>(), window).cols() == 0);
  // Without inputs there is nothing to do for any of so many taps.
  const ConvolutionWindow many{.kernel = Index{1} << 60};
  CHECK((ef::convolution(Matrix<float>(3, 0), Matrix<float>(5, 0), bias, many).array() == 1).all());
}

TEST_CASE("a convolution that cannot be is refused before anything is written", "[kernels]") {
  const Matrix<float> x = Matrix<float>::Ones(6, 4), weight = Matrix<float>::Ones(5, 12), bias(1, 4);
  Matrix<float> y = Matrix<float>::Zero(6, 5), none;
  const auto message = [&](const Matrix<float>& b, const RowOffsets& rows, const ConvolutionWindow& window) {
    return message_of([&] { ef::convolution_forward<float>({x, weight, b}, rows, window, y); });
  };
  CHECK(message(none, {}, {.kernel = 0}) == "convolution: kernel is 0, dilation 1, expected 1 or more");
  CHECK(message(none, {}, {.dilation = 0}) == "convolution: kernel is 3, dilation 0, expected 1 or more");
  constexpr Index largest = std::numeric_limits<Index>::max();
  CHECK(message(none, {}, {.dilation = largest}) ==
        "convolution: kernel is 3, dilation " + std::to_string(largest) +
            ", x is [6 x 4], expected sizes whose products an Index can hold");
  CHECK(message(none, {}, {.kernel = largest}) ==
        "convolution: kernel is " + std::to_string(largest) +
            ", dilation 1, x is [6 x 4], expected sizes whose products an Index can hold");
  CHECK(message(none, {}, {.kernel = 4}) ==
        "convolution: weight is [5 x 12], x is [6 x 4], kernel is 4, expected 16 columns");
  CHECK(message(bias, {}, {}) == "convolution: bias is [1 x 4], weight is [5 x 12]");
  CHECK(message(none, RowOffsets{0, 5}, {}) == "convolution: x has 6 rows, its offsets end at 5");
  CHECK(y.isZero(0));
  Matrix<float> small(5, 5), d_weight = Matrix<float>::Zero(5, 12);
  CHECK(message_of([&] {
          ef::convolution_forward<float>({x, weight, none}, {}, {}, small);
        }) == "convolution: y is [5 x 5], expected [6 x 5]");
  CHECK(message_of([&] { ef::convolution_backward_weight<float>(x, small, {}, {}, d_weight); }) ==
        "convolution: d_y is [5 x 5], expected [6 x 5]");
  CHECK(message_of([&] {
          ef::convolution_backward_input<float>(weight, y, RowOffsets{0, 7}, {}, small);
        }) == "convolution: weight is [5 x 12], x is [5 x 5], kernel is 3, expected 15 columns");
}

TEST_CASE("taps far outside of every sequence read zeros", "[kernels]") {
  ef::Rng rng(21);
  const auto x = random_matrix<double>(6, 4, rng), weight = random_matrix<double>(5, 12, rng);
  const Matrix<double> none;
  const Matrix<double> middle = x * weight.middleCols(4, 4).transpose(), last = x * weight.rightCols(4).transpose();
  for (const Index dilation : {Index{100}, std::numeric_limits<Index>::max() / 8}) {
    CHECK(max_error(ef::convolution(x, weight, none, {.dilation = dilation}), middle) < rounding<double>(16));
    CHECK(max_error(ef::convolution(x, weight, none, {.dilation = dilation, .padding = ef::ConvolutionPadding::causal}),
                    last) < rounding<double>(16));
  }
}

TEST_CASE("paddings have names", "[kernels]") {
  for (const auto padding : {ConvolutionPadding::same, ConvolutionPadding::causal})
    CHECK(ef::value_of<ef::ConvolutionPadding>(ef::to_string(padding)) == padding);
  CHECK(message_of([] { ef::value_of<ef::ConvolutionPadding>("valid"); }) ==
        "value_of: expected same or causal, given \"valid\"");
}
