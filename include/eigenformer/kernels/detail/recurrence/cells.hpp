// One step of each recurrent cell, entry by entry. The recurrent layer computes the products between the steps.
#pragma once

#include "eigenformer/kernels/detail/rows/activation_functions.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// What a cell's step reads and writes for one sequence: rows of the matrices with these names in forward.hpp.
template <class Scalar>
struct RecurrentStep {
  Index hidden;
  const Scalar* gates;     // W x
  const Scalar* products;  // U h
  const Scalar* previous;  // the state before the step
  Scalar* state;
  Scalar* saved;
};

/// What the backward of a cell's step reads and writes for one sequence.
template <class Scalar>
struct RecurrentStepBackward {
  Index hidden;
  const Scalar* saved;
  const Scalar* previous;
  const Scalar* state;
  const Scalar* d_state;
  Scalar* d_gates;
  Scalar* d_products;
  Scalar* d_previous;  // gradient of `previous`, except the part through U
};

/// Returns the logistic function of x.
template <class Scalar>
RowPiece<Scalar> logistic(const RowPiece<Scalar>& x) {
  return Logistic<Scalar>(x).value;
}
/// Returns the derivative of the logistic function, given its value y.
template <class Scalar>
RowPiece<Scalar> logistic_slope(const RowPiece<Scalar>& y) {
  return y * (Scalar(1) - y);
}
/// Returns the derivative of tanh, given its value y.
template <class Scalar>
RowPiece<Scalar> tanh_slope(const RowPiece<Scalar>& y) {
  return Scalar(1) - y.square();
}

// A cell has
//   gates, states, saved        widths of W x, of the state and of what the forward saves, in units of `hidden`
//   products_differ             whether the gradients of U h and W x differ
//   reset_first                 whether its last gate uses U (r * h), not r * (U h)
//   forward(step, j, count)     computes `count` entries from j on
//   backward(step, j, count)    computes the gradients of `count` entries from j on

/// The Elman cell, with relu if `rectified`, else tanh. Saves nothing: the backward reads the state.
template <bool rectified>
struct RnnCell {
  static constexpr Index gates = 1, states = 1, saved = 0;
  static constexpr bool products_differ = false, reset_first = false;

  template <class Scalar, class Count>
  static void forward(const RecurrentStep<Scalar>& step, Index j, Count count) {
    const RowPiece<Scalar> sum = load(step.gates + j, count) + load(step.products + j, count);
    store<Scalar>(step.state + j, count,
                  rectified ? RowPiece<Scalar>(maximum(sum, Scalar(0))) : RowPiece<Scalar>(sum.tanh()));
  }
  template <class Scalar, class Count>
  static void backward(const RecurrentStepBackward<Scalar>& step, Index j, Count count) {
    const RowPiece<Scalar> h = load(step.state + j, count), d_h = load(step.d_state + j, count);
    store<Scalar>(step.d_gates + j, count, rectified ? where_positive(h, d_h) : RowPiece<Scalar>(d_h * tanh_slope(h)));
    store<Scalar>(step.d_previous + j, count, RowPiece<Scalar>::Zero());
  }
};

/// The GRU cell. Saves r, z and n; unless it resets first, also U_n h.
template <bool resets_first>
struct GruCell {
  static constexpr Index gates = 3, states = 1, saved = resets_first ? 3 : 4;
  static constexpr bool products_differ = !resets_first, reset_first = resets_first;

  /// Returns r, which a cell that resets first needs before its last product.
  template <class Scalar, class Count>
  static RowPiece<Scalar> reset_gate(const RecurrentStep<Scalar>& step, Index j, Count count) {
    return logistic<Scalar>(load(step.gates + j, count) + load(step.products + j, count));
  }

  template <class Scalar, class Count>
  static void forward(const RecurrentStep<Scalar>& step, Index j, Count count) {
    const auto gate = [&](Index g) { return load(step.gates + g * step.hidden + j, count); };
    const auto product = [&](Index g) { return load(step.products + g * step.hidden + j, count); };
    const auto keep = [&](Index g, const RowPiece<Scalar>& x) {
      store<Scalar>(step.saved + g * step.hidden + j, count, x);
    };
    const RowPiece<Scalar> r = reset_gate(step, j, count);
    const RowPiece<Scalar> z = logistic<Scalar>(gate(1) + product(1));
    const RowPiece<Scalar> of_state = product(2);
    const RowPiece<Scalar> sum =
        resets_first ? RowPiece<Scalar>(gate(2) + of_state) : RowPiece<Scalar>(gate(2) + r * of_state);
    const RowPiece<Scalar> n = sum.tanh();
    keep(0, r);
    keep(1, z);
    keep(2, n);
    if constexpr (!resets_first) keep(3, of_state);
    store<Scalar>(step.state + j, count, n + z * (load(step.previous + j, count) - n));
  }

  /// Writes the gradients. If the cell resets first, the caller writes the r part of d_gates, because that gradient
  /// passes through U_n.
  template <class Scalar, class Count>
  static void backward(const RecurrentStepBackward<Scalar>& step, Index j, Count count) {
    const auto saved_of = [&](Index g) { return load(step.saved + g * step.hidden + j, count); };
    const RowPiece<Scalar> r = saved_of(0), z = saved_of(1), n = saved_of(2);
    const RowPiece<Scalar> d_h = load(step.d_state + j, count);
    const RowPiece<Scalar> d_n = d_h * (Scalar(1) - z) * tanh_slope(n);
    const RowPiece<Scalar> d_z = d_h * (load(step.previous + j, count) - n) * logistic_slope(z);
    store<Scalar>(step.d_gates + step.hidden + j, count, d_z);
    store<Scalar>(step.d_gates + 2 * step.hidden + j, count, d_n);
    store<Scalar>(step.d_previous + j, count, d_h * z);
    if constexpr (!resets_first) {
      const RowPiece<Scalar> d_r = d_n * saved_of(3) * logistic_slope(r);
      store<Scalar>(step.d_gates + j, count, d_r);
      store<Scalar>(step.d_products + j, count, d_r);
      store<Scalar>(step.d_products + step.hidden + j, count, d_z);
      store<Scalar>(step.d_products + 2 * step.hidden + j, count, d_n * r);
    }
  }
};

/// The LSTM cell. Saves i, f, g, o and tanh(c').
struct LstmCell {
  static constexpr Index gates = 4, states = 2, saved = 5;
  static constexpr bool products_differ = false, reset_first = false;

  template <class Scalar, class Count>
  static void forward(const RecurrentStep<Scalar>& step, Index j, Count count) {
    const auto sum = [&](Index g) -> RowPiece<Scalar> {
      return load(step.gates + g * step.hidden + j, count) + load(step.products + g * step.hidden + j, count);
    };
    const auto keep = [&](Index g, const RowPiece<Scalar>& x) {
      store<Scalar>(step.saved + g * step.hidden + j, count, x);
    };
    const RowPiece<Scalar> i = logistic<Scalar>(sum(0)), f = logistic<Scalar>(sum(1)), g = sum(2).tanh(),
                           o = logistic<Scalar>(sum(3));
    const RowPiece<Scalar> c = f * load(step.previous + step.hidden + j, count) + i * g;
    const RowPiece<Scalar> tanh_c = c.tanh();
    keep(0, i);
    keep(1, f);
    keep(2, g);
    keep(3, o);
    keep(4, tanh_c);
    store<Scalar>(step.state + j, count, o * tanh_c);
    store<Scalar>(step.state + step.hidden + j, count, c);
  }

  template <class Scalar, class Count>
  static void backward(const RecurrentStepBackward<Scalar>& step, Index j, Count count) {
    const auto saved_of = [&](Index g) { return load(step.saved + g * step.hidden + j, count); };
    const auto give = [&](Index g, const RowPiece<Scalar>& x) {
      store<Scalar>(step.d_gates + g * step.hidden + j, count, x);
    };
    const RowPiece<Scalar> i = saved_of(0), f = saved_of(1), g = saved_of(2), o = saved_of(3), tanh_c = saved_of(4);
    const RowPiece<Scalar> d_h = load(step.d_state + j, count);
    const RowPiece<Scalar> d_c = load(step.d_state + step.hidden + j, count) + d_h * o * tanh_slope(tanh_c);
    give(0, d_c * g * logistic_slope(i));
    give(1, d_c * load(step.previous + step.hidden + j, count) * logistic_slope(f));
    give(2, d_c * i * tanh_slope(g));
    give(3, d_h * tanh_c * logistic_slope(o));
    store<Scalar>(step.d_previous + j, count, RowPiece<Scalar>::Zero());
    store<Scalar>(step.d_previous + step.hidden + j, count, d_c * f);
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
