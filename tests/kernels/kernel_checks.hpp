// Shared by the tests of kernels: results must not depend on strides or on the number of threads, and derivatives must
// agree with differences.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

namespace eigenformer::testing {

/// A matrix, or a block of a larger matrix.
template <class Scalar>
using Placed = Eigen::Map<Matrix<Scalar>, Eigen::Unaligned, Eigen::OuterStride<>>;

/// A matrix with these values, as a block of a larger matrix filled with 77.
template <class Scalar>
class Surrounded {
 public:
  explicit Surrounded(const Matrix<Scalar>& values)
      : all_(Matrix<Scalar>::Constant(values.rows() + 2, values.cols() + 3, 77)),
        inside_(all_.data() + all_.cols() + 1, values.rows(), values.cols(), Eigen::OuterStride<>(all_.cols())) {
    inside_ = values;
  }
  Surrounded(const Surrounded&) = delete;
  Surrounded& operator=(const Surrounded&) = delete;

  Placed<Scalar>& inside() { return inside_; }
  bool rest_is_untouched() {
    inside_.setConstant(77);
    return (all_.array() == Scalar(77)).all();
  }

 private:
  Matrix<Scalar> all_;
  Placed<Scalar> inside_;
};

/// Returns whether all entries are equal. The signs of zeros may differ.
template <class Scalar>
bool identical(const Matrix<Scalar>& a, const Matrix<Scalar>& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() && (a.array() == b.array()).all();
}

/// Runs kernel(inputs, outputs, threads) on contiguous matrices, on blocks of larger matrices, and with a pool of three
/// threads. Checks that the results are identical and returns them.
template <class Scalar>
std::vector<Matrix<Scalar>> run_every_way(
    const std::vector<Matrix<Scalar>>& inputs, const std::vector<Shape>& outputs,
    const std::function<void(std::vector<Placed<Scalar>>&, std::vector<Placed<Scalar>>&, Threads*)>& kernel) {
  const auto run = [&](Threads* threads) {
    std::vector<Placed<Scalar>> in;
    std::vector<Placed<Scalar>> out;
    std::vector<Matrix<Scalar>> input_values = inputs;
    std::vector<Matrix<Scalar>> output_values;
    for (const Shape& s : outputs)
      output_values.push_back(Matrix<Scalar>::Constant(s.rows, s.cols, std::numeric_limits<Scalar>::quiet_NaN()));
    for (Matrix<Scalar>& m : input_values)
      in.emplace_back(m.data(), m.rows(), m.cols(), Eigen::OuterStride<>(m.cols()));
    for (Matrix<Scalar>& m : output_values)
      out.emplace_back(m.data(), m.rows(), m.cols(), Eigen::OuterStride<>(m.cols()));
    kernel(in, out, threads);
    return output_values;
  };
  const std::vector<Matrix<Scalar>> expected = run(nullptr);

  ThreadPool pool(3);
  const std::vector<Matrix<Scalar>> with_pool = run(&pool);

  std::vector<std::unique_ptr<Surrounded<Scalar>>> around;
  std::vector<Placed<Scalar>> in;
  std::vector<Placed<Scalar>> out;
  for (const Matrix<Scalar>& m : inputs) {
    around.push_back(std::make_unique<Surrounded<Scalar>>(m));
    in.push_back(around.back()->inside());
  }
  for (const Shape& s : outputs) {
    around.push_back(std::make_unique<Surrounded<Scalar>>(Matrix<Scalar>::Zero(s.rows, s.cols)));
    out.push_back(around.back()->inside());
  }
  kernel(in, out, nullptr);

  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    CHECK(identical<Scalar>(with_pool[i], expected[i]));
    CHECK(identical<Scalar>(out[i], expected[i]));
  }
  for (const auto& a : around) CHECK(a->rest_is_untouched());
  return expected;
}

/// Returns `units` rounding errors of this Scalar, but at least 1e-13, the accuracy of a reference in double.
template <class Scalar>
double tolerance(double units) {
  return std::max(rounding<Scalar>(units), 1e-13);
}

/// Returns shapes whose columns leave every remainder of a packet, and two shapes that are cut into several tasks.
inline std::vector<Shape> odd_shapes() {
  std::vector<Shape> shapes;
  for (const Index cols : {1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 64, 100}) shapes.push_back({5, cols});
  shapes.push_back({700, 50});
  shapes.push_back({3, 20000});
  return shapes;
}

/// Returns the derivative of f with respect to x, by central differences.
inline Matrix<double> numeric_gradient(const Matrix<double>& x, const std::function<double(const Matrix<double>&)>& f) {
  Matrix<double> gradient(x.rows(), x.cols());
  Matrix<double> moved = x;
  for (Index i = 0; i < x.rows(); ++i)
    for (Index j = 0; j < x.cols(); ++j) {
      const double h = 1e-5 * std::max(1.0, std::abs(x(i, j)));
      moved(i, j) = x(i, j) + h;
      const double above = f(moved);
      moved(i, j) = x(i, j) - h;
      const double below = f(moved);
      moved(i, j) = x(i, j);
      gradient(i, j) = (above - below) / (2 * h);
    }
  return gradient;
}
inline constexpr double gradient_tolerance = 1e-6;

/// Returns the sum of a * b: a loss whose gradient with respect to a is b.
inline double dot(const Matrix<double>& a, const Matrix<double>& b) {
  return (a.array() * b.array()).sum();
}

/// Returns x with `rows` constant rows above it, for kernels whose rows must not affect each other.
template <class Scalar>
Matrix<Scalar> with_rows_before(const Matrix<Scalar>& x, Index rows) {
  Matrix<Scalar> moved(rows + x.rows(), x.cols());
  moved.topRows(rows).setConstant(Scalar(0.5));
  moved.bottomRows(x.rows()) = x;
  return moved;
}

}  // namespace eigenformer::testing
