// Differentiable arithmetic.
#pragma once

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/ops/detail/tensor_gradients.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Whether entries at the same place in memory belong together, so that no broadcasting is needed:
/// - the shapes are equal; or
/// - one is a tensor, the other the matrix of its rows, and they do not broadcast to a third shape.
template <class Scalar>
bool have_equal_rows(const Variable<Scalar>& a, const Variable<Scalar>& b) {
  const Sizes x = a.sizes(), y = b.sizes();
  if (x == y) return true;
  if (a.rows() != b.rows() || a.cols() != b.cols() || a.is_tensor() == b.is_tensor()) return false;
  const Sizes& tensor = a.is_tensor() ? x : y;
  return !broadcasts(x, y) || broadcast_shapes(x, y) == tensor;
}

/// Throws unless the shapes broadcast; `where` begins the message.
template <class Scalar>
void check_broadcast(const char* where, const Variable<Scalar>& a, const Variable<Scalar>& b) {
  check(broadcasts(a.sizes(), b.sizes()), where, ": a is ", a.sizes(), ", b is ", b.sizes(),
        ", expected sizes that are equal or 1, from the last dimension on");
}

}  // namespace detail

// The operands of add, subtract, multiply and divide have the same shape, or broadcast to one as in NumPy: shapes are
// aligned at their last dimensions, and sizes are equal or 1.

/// Returns a + b. Throws if their shapes do not fit.
template <class Scalar>
Variable<Scalar> add(const Context<Scalar>& context, const Variable<Scalar>& a, const Variable<Scalar>& b) {
  if (!detail::have_equal_rows(a, b)) {
    detail::check_broadcast("add", a, b);
    const Variable<Scalar> y = detail::evaluated(context, a.tensor() + b.tensor());
    return context.record(y, {a, b}, [a, b, shape = y.sizes()](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
      detail::add_tensor_gradient(tape, a, detail::gradient_view(d_y, shape));
      detail::add_tensor_gradient(tape, b, detail::gradient_view(d_y, shape));
    });
  }
  Variable<Scalar> y = context.new_like(a.is_tensor() ? a : b);
  y.writable() = a.value() + b.value();
  return context.record(std::move(y), {a, b}, [a, b](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(a, d_y);
    tape.add_gradient(b, d_y);
  });
}

/// Returns a - b. Throws if their shapes do not fit.
template <class Scalar>
Variable<Scalar> subtract(const Context<Scalar>& context, const Variable<Scalar>& a, const Variable<Scalar>& b) {
  if (!detail::have_equal_rows(a, b)) {
    detail::check_broadcast("subtract", a, b);
    const Variable<Scalar> y = detail::evaluated(context, a.tensor() - b.tensor());
    return context.record(y, {a, b}, [a, b, shape = y.sizes()](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
      detail::add_tensor_gradient(tape, a, detail::gradient_view(d_y, shape));
      detail::add_tensor_gradient(tape, b, -detail::gradient_view(d_y, shape));
    });
  }
  Variable<Scalar> y = context.new_like(a.is_tensor() ? a : b);
  y.writable() = a.value() - b.value();
  return context.record(std::move(y), {a, b}, [a, b](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(a, d_y);
    tape.add_gradient(b, [&](MatrixMap<Scalar> d_b) { d_b = -d_y.value(); });
  });
}

/// Returns a * b, entry by entry. Throws if their shapes do not fit.
template <class Scalar>
Variable<Scalar> multiply(const Context<Scalar>& context, const Variable<Scalar>& a, const Variable<Scalar>& b) {
  if (!detail::have_equal_rows(a, b)) {
    detail::check_broadcast("multiply", a, b);
    const Variable<Scalar> y = detail::evaluated(context, a.tensor() * b.tensor());
    return context.record(y, {a, b}, [a, b, shape = y.sizes()](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
      detail::add_tensor_gradient(tape, a, detail::gradient_view(d_y, shape) * b.tensor());
      detail::add_tensor_gradient(tape, b, detail::gradient_view(d_y, shape) * a.tensor());
    });
  }
  Variable<Scalar> y = context.new_like(a.is_tensor() ? a : b);
  y.writable() = a.value().cwiseProduct(b.value());
  return context.record(std::move(y), {a, b}, [a, b](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(a, [&](MatrixMap<Scalar> d_a) { d_a = d_y.value().cwiseProduct(b.value()); });
    tape.add_gradient(b, [&](MatrixMap<Scalar> d_b) { d_b = d_y.value().cwiseProduct(a.value()); });
  });
}

/// Returns a / b, entry by entry. Throws if their shapes do not fit.
template <class Scalar>
Variable<Scalar> divide(const Context<Scalar>& context, const Variable<Scalar>& a, const Variable<Scalar>& b) {
  if (a.sizes() != b.sizes() && detail::have_equal_rows(a, b)) {
    const Sizes shape = (a.is_tensor() ? a : b).sizes();
    return divide(context, reshape(context, a, shape), reshape(context, b, shape));
  }
  detail::check_broadcast("divide", a, b);
  const Variable<Scalar> y = detail::evaluated(context, a.tensor() / b.tensor());
  return context.record(y, {a, b}, [a, b, y](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    const TensorView<const Scalar> d = detail::gradient_view(d_y, y.sizes());
    detail::add_tensor_gradient(tape, a, d / b.tensor());
    detail::add_tensor_gradient(tape, b, -d * y.tensor() / b.tensor());
  });
}

/// Returns factor * x.
template <class Scalar>
Variable<Scalar> scale(const Context<Scalar>& context, const Variable<Scalar>& x, std::type_identity_t<Scalar> factor) {
  Variable<Scalar> y = context.new_like(x);
  y.writable() = factor * x.value();
  return context.record(std::move(y), {x}, [x, factor](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) { d_x = factor * d_y.value(); });
  });
}

/// Returns the entries of x in row-major order as a [rows x cols] matrix, without a copy. Throws if the sizes differ or
/// are negative.
template <class Scalar>
Variable<Scalar> reshape(const Context<Scalar>& context, const Variable<Scalar>& x, Index rows, Index cols) {
  check(rows >= 0 && cols >= 0 && count_of({rows, cols}) == x.size(), "reshape: x is ", shape(x), ", given ",
        Shape{rows, cols});
  return context.record(x.reshaped(rows, cols), {x}, [x](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(x, d_y.reshaped(x.rows(), x.cols()));
  });
}

/// Reshapes x. One size may be -1 and is inferred. Throws if the counts of entries differ.
template <class Scalar>
Variable<Scalar> reshape(const Context<Scalar>& context, const Variable<Scalar>& x, const Sizes& shape) {
  return context.record(
      x.reshaped(x.tensor().reshape(shape).shape()), {x},
      [x](const Variable<Scalar>& d_y, Tape<Scalar>& tape) { tape.add_gradient(x, d_y.reshaped(x.rows(), x.cols())); });
}
/// Returns the sum of all entries, taken as in tensors/reductions.hpp: [1 x 1].
template <class Scalar>
Variable<Scalar> sum(const Context<Scalar>& context, const Variable<Scalar>& x) {
  Variable<Scalar> y = context.new_matrix(1, 1);
  y.writable()(0, 0) = sum(x.tensor()).item();
  return context.record(std::move(y), {x}, [x](const Variable<Scalar>& d_y, Tape<Scalar>& tape) {
    tape.add_gradient(x, [&](MatrixMap<Scalar> d_x) { d_x.setConstant(d_y.scalar()); });
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
