// Differentiable arithmetic.
#pragma once

#include "eigenformer/autograd/context.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns a + b. Throws if their shapes differ.
template <class Scalar>
Variable<Scalar> add(const Context<Scalar>& context, const Variable<Scalar>& a, const Variable<Scalar>& b) {
  check(shape(a) == shape(b), "add: a is ", shape(a), ", b is ", shape(b));
  Variable<Scalar> y = context.new_matrix(a.rows(), a.cols());
  y.writable() = a.value() + b.value();
  return context.record(std::move(y), {a, b}, [a, b](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(a, d_y);
    tape.add_gradient(b, d_y);
  });
}

/// Returns a - b. Throws if their shapes differ.
template <class Scalar>
Variable<Scalar> subtract(const Context<Scalar>& context, const Variable<Scalar>& a, const Variable<Scalar>& b) {
  check(shape(a) == shape(b), "subtract: a is ", shape(a), ", b is ", shape(b));
  Variable<Scalar> y = context.new_matrix(a.rows(), a.cols());
  y.writable() = a.value() - b.value();
  return context.record(std::move(y), {a, b}, [a, b](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(a, d_y);
    tape.add_gradient(b, [&](MatrixMap<Scalar> d_b) { d_b = -d_y.value(); });
  });
}

/// Returns a * b, entry by entry. Throws if their shapes differ.
template <class Scalar>
Variable<Scalar> multiply(const Context<Scalar>& context, const Variable<Scalar>& a, const Variable<Scalar>& b) {
  check(shape(a) == shape(b), "multiply: a is ", shape(a), ", b is ", shape(b));
  Variable<Scalar> y = context.new_matrix(a.rows(), a.cols());
  y.writable() = a.value().cwiseProduct(b.value());
  return context.record(std::move(y), {a, b}, [a, b](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(a, [&](MatrixMap<Scalar> d_a) { d_a = d_y.value().cwiseProduct(b.value()); });
    tape.add_gradient(b, [&](MatrixMap<Scalar> d_b) { d_b = d_y.value().cwiseProduct(a.value()); });
  });
}

/// Returns factor * x.
template <class Scalar>
Variable<Scalar> scale(const Context<Scalar>& context, const Variable<Scalar>& x, std::type_identity_t<Scalar> factor) {
  Variable<Scalar> y = context.new_matrix(x.rows(), x.cols());
  y.writable() = factor * x.value();
  return context.record(std::move(y), {x}, [x, factor](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) { d_x = factor * d_y.value(); });
  });
}

/// Returns the entries of x in row-major order as a [rows x cols] matrix, without a copy. Throws if the sizes differ.
template <class Scalar>
Variable<Scalar> reshape(const Context<Scalar>& context, const Variable<Scalar>& x, Index rows, Index cols) {
  check(rows * cols == x.size(), "reshape: x is ", shape(x), ", given ", Shape{rows, cols});
  return context.record(x.reshaped(rows, cols), {x}, [x](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(x, d_y.reshaped(x.rows(), x.cols()));
  });
}

/// Returns the sum of all entries: [1 x 1].
template <class Scalar>
Variable<Scalar> sum(const Context<Scalar>& context, const Variable<Scalar>& x) {
  Variable<Scalar> y = context.new_matrix(1, 1);
  y.writable()(0, 0) = x.value().sum();
  return context.record(std::move(y), {x}, [x](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) { d_x.setConstant(d_y.scalar()); });
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
