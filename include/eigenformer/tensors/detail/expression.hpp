// Expressions of tensors: what `map` and the operators on tensors return.
#pragma once

#include <array>
#include <tuple>
#include <type_traits>
#include <utility>

#include "eigenformer/core/tensor.hpp"
#include "eigenformer/tensors/detail/runs.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

template <class Function, class... Operands>
class TensorExpression;

namespace detail {

/// An operand that is a view.
template <class Value>
class ViewOperand {
 public:
  using value_type = Value;
  static constexpr std::size_t leaves = 1;

  explicit ViewOperand(const TensorView<const Value>& view) : view_(view) {}
  const TensorView<const Value>& view() const { return view_; }
  const Sizes& shape() const { return view_.shape(); }
  template <class Visit>
  void for_each_leaf(Visit visit) const {
    visit(view_);
  }
  /// The entries of a run, as an Eigen array. A leaf is an operand in memory; `first` is the number of this one in the
  /// run.
  template <std::size_t first, std::size_t count>
  auto entries(const Run<count>& run) const {
    return run_entries(view_.data() + run.offsets[first], run.strides[first], run.size);
  }

 private:
  TensorView<const Value> view_;
};

/// An operand that was a temporary tensor, which the expression keeps.
template <class Value>
class OwnedOperand {
 public:
  using value_type = Value;
  static constexpr std::size_t leaves = 1;

  explicit OwnedOperand(Tensor<Value> tensor) : tensor_(std::move(tensor)) {}
  TensorView<const Value> view() const { return tensor_; }
  const Sizes& shape() const { return tensor_.shape(); }
  template <class Visit>
  void for_each_leaf(Visit visit) const {
    visit(tensor_.view());
  }
  template <std::size_t first, std::size_t count>
  auto entries(const Run<count>& run) const {
    return run_entries(tensor_.data() + run.offsets[first], run.strides[first], run.size);
  }

 private:
  Tensor<Value> tensor_;
};

/// An operand that is one number.
template <class Value>
class NumberOperand {
 public:
  using value_type = Value;
  static constexpr std::size_t leaves = 0;

  explicit NumberOperand(Value value) : value_(value) {}
  Sizes shape() const { return {}; }
  template <class Visit>
  void for_each_leaf(Visit) const {}
  template <std::size_t, std::size_t count>
  auto entries(const Run<count>& run) const {
    return RunArray<Value>::Constant(run.size, value_);
  }

 private:
  Value value_;
};

template <class Scalar>
ViewOperand<std::remove_const_t<Scalar>> operand_of(const TensorView<Scalar>& x) {
  return ViewOperand<std::remove_const_t<Scalar>>(x);
}
template <class Scalar>
ViewOperand<std::remove_const_t<Scalar>> operand_of(const TensorArray<Scalar>& x) {
  return ViewOperand<std::remove_const_t<Scalar>>(x.view());
}
template <class Scalar>
ViewOperand<Scalar> operand_of(const Tensor<Scalar>& x) {
  return ViewOperand<Scalar>(x.view());
}
template <class Scalar>
OwnedOperand<Scalar> operand_of(Tensor<Scalar>&& x) {
  return OwnedOperand<Scalar>(std::move(x));
}
template <class Scalar>
OwnedOperand<Scalar> operand_of(const Tensor<Scalar>&& x) {
  return OwnedOperand<Scalar>(x);
}
template <class Function, class... Operands>
TensorExpression<Function, Operands...> operand_of(const TensorExpression<Function, Operands...>& x) {
  return x;
}
template <class Function, class... Operands>
TensorExpression<Function, Operands...> operand_of(TensorExpression<Function, Operands...>&& x) {
  return std::move(x);
}
template <Number Value>
NumberOperand<Value> operand_of(const Value& x) {
  return NumberOperand<Value>(x);
}

template <class T>
using OperandOf = decltype(operand_of(std::declval<T>()));

// Operands that are only copied share one loop.
template <class Value>
void write_entries(const ViewOperand<Value>& operand, const TensorView<Value>& to) {
  copy_entries(operand.view().expand(broadcast_shapes(operand.shape(), to.shape())), to);
}
template <class Value>
void write_entries(const OwnedOperand<Value>& operand, const TensorView<Value>& to) {
  copy_entries(operand.view().expand(broadcast_shapes(operand.shape(), to.shape())), to);
}

}  // namespace detail

/// A function applied to operands, entry by entry. Made by `map` and by the operators and functions on tensors. It
/// refers to tensors and views, which must outlive it; it keeps temporary tensors.
template <class Function, class... Operands>
class TensorExpression {
  /// The number of the first leaf of operand i.
  static constexpr std::size_t first_leaf(std::size_t i) {
    constexpr std::array<std::size_t, sizeof...(Operands)> counts{Operands::leaves...};
    std::size_t before = 0;
    for (std::size_t k = 0; k < i; ++k) before += counts[k];
    return before;
  }
  template <class Operand>
  using EntriesOf = decltype(std::declval<const Operand&>().template entries<0>(detail::Run<Operand::leaves>()));
  using Result = std::remove_cvref_t<std::invoke_result_t<const Function&, EntriesOf<Operands>...>>;
  // An array would not outlive the expression that refers to it.
  static_assert(!std::is_base_of_v<Eigen::PlainObjectBase<Result>, Result>,
                "a function of entries returns an expression of Eigen arrays: leave out eval()");

 public:
  static constexpr std::size_t leaves = (std::size_t{0} + ... + Operands::leaves);

  explicit TensorExpression(Function function, Operands... operands)
      : function_(std::move(function)), operands_(std::move(operands)...) {
    std::apply([&](const auto&... x) { ((shape_ = detail::broadcast_shapes(shape_, x.shape())), ...); }, operands_);
  }

  using value_type = std::remove_cvref_t<typename Result::Scalar>;

  /// The entries of a run, as an expression of Eigen arrays. The leaves begin at number `first` of the run.
  template <std::size_t first, std::size_t count>
  auto entries(const detail::Run<count>& run) const {
    return [&]<std::size_t... i>(std::index_sequence<i...>) {
      return function_(std::get<i>(operands_).template entries<first + first_leaf(i)>(run)...);
    }
    (std::index_sequence_for<Operands...>());
  }

  const Sizes& shape() const { return shape_; }
  template <class Visit>
  void for_each_leaf(Visit visit) const {
    std::apply([&](const auto&... x) { (x.for_each_leaf(visit), ...); }, operands_);
  }

  /// Computes the entries and writes them to a view, of the same shape or of one to which this shape broadcasts. The
  /// operands may share memory with it.
  void write_to(const TensorView<value_type>& to) const { detail::write_entries(*this, to); }

 private:
  Function function_;
  std::tuple<Operands...> operands_;
  Sizes shape_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
