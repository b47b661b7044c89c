// The cells of recurrent layers, and the widths of their gates and states.
#pragma once

#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/kernels/detail/recurrence/cells.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// The function that a recurrent layer applies to its input x and its state. W and U are the weights of the input and
/// of the state, and s is the logistic function. Each product has its own bias, as in PyTorch:
///
///   rnn, rnn_relu:    h' = tanh(W x + U h), or h' = relu(W x + U h) (Elman 1990)
///   gru:              r = s(W_r x + U_r h)   z = s(W_z x + U_z h)   n = tanh(W_n x + r * (U_n h))
///                     h' = (1 - z) * n + z * h        PyTorch's; ONNX's with linear_before_reset
///   gru_reset_first:  as gru, but n = tanh(W_n x + U_n (r * h))       Cho et al. 2014, arXiv 1406.1078, equations 5 to
///                     8; ONNX's default
///   lstm:             i, f, o = s(W x + U h) each   g = tanh(W_g x + U_g h)
///                     c' = f * c + i * g   h' = o * tanh(c')      Hochreiter and Schmidhuber 1997, Gers et al. 2000
///
/// Gates are stored side by side: r z n for gru, i f g o for lstm. The state is h; for lstm it is h, then c.
enum class RecurrentCell { rnn, rnn_relu, gru, gru_reset_first, lstm };

constexpr auto enum_names(RecurrentCell) {
  return std::to_array<EnumName<RecurrentCell>>({{RecurrentCell::rnn, "rnn"},
                                                 {RecurrentCell::rnn_relu, "rnn_relu"},
                                                 {RecurrentCell::gru, "gru"},
                                                 {RecurrentCell::gru_reset_first, "gru_reset_first"},
                                                 {RecurrentCell::lstm, "lstm"}});
}

namespace detail {

/// Returns body(c), where c has the cell's type.
template <class Body>
decltype(auto) with_cell(RecurrentCell cell, Body&& body) {
  switch (cell) {
    case RecurrentCell::rnn:
      return body(RnnCell<false>{});
    case RecurrentCell::rnn_relu:
      return body(RnnCell<true>{});
    case RecurrentCell::gru:
      return body(GruCell<false>{});
    case RecurrentCell::gru_reset_first:
      return body(GruCell<true>{});
    case RecurrentCell::lstm:
      break;
  }
  return body(LstmCell{});
}

}  // namespace detail

/// The width of the gates in units of `hidden`: 1, 3 or 4.
inline Index gate_count(RecurrentCell cell) {
  return detail::with_cell(cell, [](auto c) { return decltype(c)::gates; });
}
/// The width of the state in units of `hidden`: 1, or 2 for lstm (h and c).
inline Index state_count(RecurrentCell cell) {
  return detail::with_cell(cell, [](auto c) { return decltype(c)::states; });
}
/// The width of what the forward saves for the backward, in units of `hidden`.
inline Index saved_count(RecurrentCell cell) {
  return detail::with_cell(cell, [](auto c) { return decltype(c)::saved; });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
