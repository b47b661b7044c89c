// Functions of tensors, entry by entry, with NumPy's broadcasting. An expression is computed when it is assigned, in
// one pass, by Eigen, without temporaries.
//
//   Tensor<float> y = (x - mean) * scale + 1.0F;      // operators and functions: see tensors/arithmetic.hpp
//   y.array() += x;                                   // writes entries in place
//   Tensor<float> z = map([](const auto& a, const auto& b) { return (a - b).square(); }, x, y);
//
// Shapes are aligned at their last dimensions; sizes are equal, or one of them is 1 and is repeated.
#pragma once

#include "eigenformer/tensors/detail/expression.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Returns the expression function(a, b, ..): for each run of entries, `function` takes Eigen arrays and returns an
/// expression of Eigen arrays. Operands are tensors, views, expressions and numbers.
///
///   Tensor<float> z = map([](const auto& a, const auto& b) { return (a - b).square(); }, x, y);
template <class Function, class... Operands>
requires(... || TensorLike<Operands>) auto map(Function function, Operands&&... operands) {
  return TensorExpression<Function, detail::OperandOf<Operands>...>(
      std::move(function), detail::operand_of(std::forward<Operands>(operands))...);
}

/// The entries of a tensor or view, to be written. `x.array() = y` writes y to the entries of x; y is a tensor, a view,
/// an expression or a number. In contrast, `view = y` makes the view show other entries. Throws if y does not broadcast
/// to the shape of x. y may share memory with x. For /= of integers see operator/ in tensors/arithmetic.hpp.
template <class Scalar>
class TensorArray {
  static constexpr bool is_writable = !std::is_const_v<Scalar>;

 public:
  using value_type = std::remove_const_t<Scalar>;

  explicit TensorArray(const TensorView<Scalar>& view) : view_(view) {}
  TensorArray(const TensorArray&) = default;
  const TensorView<Scalar>& view() const { return view_; }

  const TensorArray& operator=(const TensorArray& y) const requires is_writable { return assign(y); }
  template <class Y>
  requires is_writable const TensorArray& operator=(Y&& y) const { return assign(std::forward<Y>(y)); }
  template <class Y>
  requires is_writable const TensorArray& operator+=(Y&& y) const {
    return update([](const auto& a, const auto& b) { return a + b; }, std::forward<Y>(y));
  }
  template <class Y>
  requires is_writable const TensorArray& operator-=(Y&& y) const {
    static_assert(!std::is_same_v<Scalar, bool>, "a tensor of bool has no minus: write a != b");
    return update([](const auto& a, const auto& b) { return a - b; }, std::forward<Y>(y));
  }
  template <class Y>
  requires is_writable const TensorArray& operator*=(Y&& y) const {
    return update([](const auto& a, const auto& b) { return a * b; }, std::forward<Y>(y));
  }
  template <class Y>
  requires is_writable const TensorArray& operator/=(Y&& y) const {
    detail::check_divisor<Scalar>(y);
    return update([](const auto& a, const auto& b) { return a / b; }, std::forward<Y>(y));
  }

 private:
  template <class Y>
  static decltype(auto) of_scalar(Y&& y) {
    if constexpr (Number<std::remove_cvref_t<Y>>) {
      return detail::converted_number<Scalar>(y);
    } else {
      static_assert(TensorLike<Y>,
                    "what is written to a tensor's entries is a tensor, a view, an expression or a number");
      static_assert(std::is_same_v<ScalarOf<Y>, Scalar>, "tensors of different types: write cast<T>() of one of them");
      return std::forward<Y>(y);
    }
  }
  template <class Y>
  const TensorArray& assign(Y&& y) const {
    detail::write_entries(detail::operand_of(of_scalar(std::forward<Y>(y))), view_);
    return *this;
  }
  template <class Function, class Y>
  const TensorArray& update(Function function, Y&& y) const {
    map(function, view_, of_scalar(std::forward<Y>(y))).write_to(view_);
    return *this;
  }

  TensorView<Scalar> view_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
