// One step of each recurrent cell, entry by entry: what stands between the products of a recurrent layer.
#pragma once

#include "eigenformer/kernels/detail/rows/activation_functions.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// What a cell's step reads and writes of one sequence: rows of the matrices that have these names in recurrence.hpp.
template <class Scalar>
struct RecurrentStep {
  Index hidden;
  const Scalar* gates;     // W x
  const Scalar* products;  // U h
  const Scalar* previous;  // the state before
  Scalar* state;
  Scalar* kept;
};

/// What a cell's step backward reads and writes of one sequence.
template <class Scalar>
struct RecurrentStepBackward {
  Index hidden;
  const Scalar* kept;
  const Scalar* previous;
  const Scalar* state;
  const Scalar* d_state;
  Scalar* d_gates;
  Scalar* d_products;
  Scalar* d_previous;  // what does not go through U
};

/// The logistic function of some entries.
template <class Scalar>
Lanes<Scalar> logistic(const Lanes<Scalar>& x) {
  return Logistic<Scalar>(x).value;
}
/// The derivative of the logistic function and of tanh, given their values.
template <class Scalar>
Lanes<Scalar> logistic_slope(const Lanes<Scalar>& y) {
  return y * (Scalar(1) - y);
}
template <class Scalar>
Lanes<Scalar> tanh_slope(const Lanes<Scalar>& y) {
  return Scalar(1) - y.square();
}

// A cell has
//   gates, states, kept         how many times `hidden` columns W x, a state, and what the backward needs have
//   products_differ             whether the gradient of U h is another than that of W x
//   reset_first                 whether its last gate's product is of r * h
//   forward(step, j, count)     for `count` entries from j on
//   backward(step, j, count)

template <bool rectified>
struct RnnCell {
  static constexpr Index gates = 1, states = 1, kept = 0;
  static constexpr bool products_differ = false, reset_first = false;

  template <class Scalar, class Count>
  static void forward(const RecurrentStep<Scalar>& step, Index j, Count count) {
    const Lanes<Scalar> sum = load(step.gates + j, count) + load(step.products + j, count);
    store<Scalar>(step.state + j, count,
                  rectified ? Lanes<Scalar>(maximum(sum, Scalar(0))) : Lanes<Scalar>(sum.tanh()));
  }
  template <class Scalar, class Count>
  static void backward(const RecurrentStepBackward<Scalar>& step, Index j, Count count) {
    const Lanes<Scalar> h = load(step.state + j, count);
    const Lanes<Scalar> slope = rectified ? detail::step<Scalar>(h) : tanh_slope(h);
    store<Scalar>(step.d_gates + j, count, load(step.d_state + j, count) * slope);
    store<Scalar>(step.d_previous + j, count, Lanes<Scalar>::Zero());
  }
};

/// Keeps r, z, n and, of the usual kind, U_n h.
template <bool resets_first>
struct GruCell {
  static constexpr Index gates = 3, states = 1, kept = resets_first ? 3 : 4;
  static constexpr bool products_differ = !resets_first, reset_first = resets_first;

  /// r, for the cell that needs it before its last product.
  template <class Scalar, class Count>
  static Lanes<Scalar> reset_gate(const RecurrentStep<Scalar>& step, Index j, Count count) {
    return logistic<Scalar>(load(step.gates + j, count) + load(step.products + j, count));
  }

  template <class Scalar, class Count>
  static void forward(const RecurrentStep<Scalar>& step, Index j, Count count) {
    const auto gate = [&](Index g) { return load(step.gates + g * step.hidden + j, count); };
    const auto product = [&](Index g) { return load(step.products + g * step.hidden + j, count); };
    const auto keep = [&](Index g, const Lanes<Scalar>& x) {
      store<Scalar>(step.kept + g * step.hidden + j, count, x);
    };
    const Lanes<Scalar> r = reset_gate(step, j, count);
    const Lanes<Scalar> z = logistic<Scalar>(gate(1) + product(1));
    const Lanes<Scalar> of_state = product(2);
    const Lanes<Scalar> sum = resets_first ? Lanes<Scalar>(gate(2) + of_state) : Lanes<Scalar>(gate(2) + r * of_state);
    const Lanes<Scalar> n = sum.tanh();
    keep(0, r);
    keep(1, z);
    keep(2, n);
    if constexpr (!resets_first) keep(3, of_state);
    store<Scalar>(step.state + j, count, n + z * (load(step.previous + j, count) - n));
  }

  /// Of the kind that resets first, d_gates' r is still to come: it goes through U_n.
  template <class Scalar, class Count>
  static void backward(const RecurrentStepBackward<Scalar>& step, Index j, Count count) {
    const auto kept_of = [&](Index g) { return load(step.kept + g * step.hidden + j, count); };
    const Lanes<Scalar> r = kept_of(0), z = kept_of(1), n = kept_of(2);
    const Lanes<Scalar> d_h = load(step.d_state + j, count);
    const Lanes<Scalar> d_n = d_h * (Scalar(1) - z) * tanh_slope(n);
    const Lanes<Scalar> d_z = d_h * (load(step.previous + j, count) - n) * logistic_slope(z);
    store<Scalar>(step.d_gates + step.hidden + j, count, d_z);
    store<Scalar>(step.d_gates + 2 * step.hidden + j, count, d_n);
    store<Scalar>(step.d_previous + j, count, d_h * z);
    if constexpr (!resets_first) {
      const Lanes<Scalar> d_r = d_n * kept_of(3) * logistic_slope(r);
      store<Scalar>(step.d_gates + j, count, d_r);
      store<Scalar>(step.d_products + j, count, d_r);
      store<Scalar>(step.d_products + step.hidden + j, count, d_z);
      store<Scalar>(step.d_products + 2 * step.hidden + j, count, d_n * r);
    }
  }
};

/// Keeps i, f, g, o and tanh(c').
struct LstmCell {
  static constexpr Index gates = 4, states = 2, kept = 5;
  static constexpr bool products_differ = false, reset_first = false;

  template <class Scalar, class Count>
  static void forward(const RecurrentStep<Scalar>& step, Index j, Count count) {
    const auto sum = [&](Index g) -> Lanes<Scalar> {
      return load(step.gates + g * step.hidden + j, count) + load(step.products + g * step.hidden + j, count);
    };
    const auto keep = [&](Index g, const Lanes<Scalar>& x) {
      store<Scalar>(step.kept + g * step.hidden + j, count, x);
    };
    const Lanes<Scalar> i = logistic<Scalar>(sum(0)), f = logistic<Scalar>(sum(1)), g = sum(2).tanh(),
                        o = logistic<Scalar>(sum(3));
    const Lanes<Scalar> c = f * load(step.previous + step.hidden + j, count) + i * g;
    const Lanes<Scalar> tanh_c = c.tanh();
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
    const auto kept_of = [&](Index g) { return load(step.kept + g * step.hidden + j, count); };
    const auto give = [&](Index g, const Lanes<Scalar>& x) {
      store<Scalar>(step.d_gates + g * step.hidden + j, count, x);
    };
    const Lanes<Scalar> i = kept_of(0), f = kept_of(1), g = kept_of(2), o = kept_of(3), tanh_c = kept_of(4);
    const Lanes<Scalar> d_h = load(step.d_state + j, count);
    const Lanes<Scalar> d_c = load(step.d_state + step.hidden + j, count) + d_h * o * tanh_slope(tanh_c);
    give(0, d_c * g * logistic_slope(i));
    give(1, d_c * load(step.previous + step.hidden + j, count) * logistic_slope(f));
    give(2, d_c * i * tanh_slope(g));
    give(3, d_h * tanh_c * logistic_slope(o));
    store<Scalar>(step.d_previous + j, count, Lanes<Scalar>::Zero());
    store<Scalar>(step.d_previous + step.hidden + j, count, d_c * f);
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
