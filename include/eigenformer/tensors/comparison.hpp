// Whether two tensors are equal, or nearly.
#pragma once

#include "eigenformer/tensors/reductions.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Tolerances of all_close: |a - b| <= absolute + relative * |b|. NumPy's defaults.
struct CloseOptions {
  double relative = 1e-5;
  double absolute = 1e-8;
  bool equal_nan = false;  // whether NaN is close to NaN
};

/// Whether two tensors have the same shape and equal entries. NaN equals nothing.
template <TensorLike A, TensorLike B>
bool equal(A&& a, B&& b) {
  return detail::shape_of(a) == detail::shape_of(b) && all(a == b);
}

/// Whether two tensors, broadcast to one shape, differ by no more than the tolerances. Infinities are close if equal.
template <TensorLike A, TensorLike B>
bool all_close(A&& a, B&& b, const CloseOptions& options = {}) {
  return all(map(
      [options](const auto& x, const auto& y) {
        const auto close = [options](double u, double v) {
          if (u == v || (options.equal_nan && u != u && v != v)) return true;
          return std::isfinite(v) && std::abs(u - v) <= options.absolute + options.relative * std::abs(v);
        };
        using Op = std::remove_const_t<decltype(close)>;
        return x.template cast<double>().binaryExpr(y.template cast<double>(), Op(close)).template cast<bool>();
      },
      a, b));
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
