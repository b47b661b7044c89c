// Loops over the lines of tensors: all entries along one dimension.
#pragma once

#include <functional>
#include <type_traits>
#include <utility>

#include "eigenformer/tensors/detail/runs.hpp"
#include "eigenformer/tensors/elementwise.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A tensor, a view or an expression to read from memory: an expression is computed once.
template <TensorLike X>
class Evaluated {
 public:
  using Scalar = ScalarOf<X>;

  explicit Evaluated(const std::remove_reference_t<X>& x) : own_(evaluate(x)), view_(view_of(x)) {}
  Evaluated(const Evaluated&) = delete;
  Evaluated& operator=(const Evaluated&) = delete;

  const TensorView<const Scalar>& view() const { return view_; }

 private:
  static constexpr bool is_lazy = LazyTensor<std::remove_cvref_t<X>>;

  template <class Y>
  static Tensor<Scalar> evaluate([[maybe_unused]] const Y& x) {
    if constexpr (is_lazy)
      return Tensor<Scalar>(x);
    else
      return Tensor<Scalar>();
  }
  template <class Y>
  TensorView<const Scalar> view_of(const Y& x) const {
    if constexpr (is_lazy)
      return own_.view();
    else if constexpr (requires { x.view(); })
      return x.view();
    else
      return x;
  }

  Tensor<Scalar> own_;
  TensorView<const Scalar> view_;
};
template <class X>
Evaluated(X&&) -> Evaluated<X>;

/// Whether entries of this type can be indices: integers, but not bool, because a tensor of bool is a mask.
template <class Scalar>
inline constexpr bool is_index = std::is_integral_v<Scalar> && !std::is_same_v<Scalar, bool>;

/// Returns the place of an index of any integer type in a dimension of n entries: see checked_index.
template <class Integer>
Index place_of(const char* where, Integer given, Index n) {
  check(std::in_range<Index>(+given), where, ": index ", given, " of a dimension of ", n, " entries");
  return checked_index(where, static_cast<Index>(given), n);
}

/// Calls body(offsets) for each line along a dimension, for operands that agree in all other dimensions. offsets[k] is
/// where the line of operand k begins.
template <std::size_t operands, class Body>
void for_each_line(Sizes shape, std::array<Sizes, operands> strides, int dimension, Body body) {
  shape.erase(dimension);
  for (Sizes& own : strides) own.erase(dimension);
  for_each_run(StridedLoop<operands>(shape, strides), [&](const auto& run) {
    for (Index i = 0; i < run.size; ++i) body(run.part(i, 1).offsets);
  });
}

/// Whether a comes before b in ascending order. NaN is larger than all numbers, as in NumPy and PyTorch.
template <class Scalar>
bool comes_before(const Scalar& a, const Scalar& b) {
  if constexpr (!std::is_integral_v<Scalar>) {
    if (a != a) return false;
    if (b != b) return true;
  }
  return a < b;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
