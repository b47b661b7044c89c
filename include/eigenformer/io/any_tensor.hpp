// A tensor whose type of entries is known only at run time, such as one that was read from a file.
//
//   AnyTensor x = load_npy("x.npy");
//   Tensor<float> y = x.to<float>();        // throws if float does not hold all numbers of x's type
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "eigenformer/core/tensor.hpp"
#include "eigenformer/io/dtype.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

template <Number Scalar>
constexpr auto stored_type() {
  if constexpr (!std::is_integral_v<Scalar> || std::is_same_v<Scalar, bool>)
    return std::type_identity<Scalar>();
  else if constexpr (sizeof(Scalar) == 1)
    return std::type_identity<std::conditional_t<std::is_signed_v<Scalar>, std::int8_t, std::uint8_t>>();
  else if constexpr (sizeof(Scalar) == 2)
    return std::type_identity<std::conditional_t<std::is_signed_v<Scalar>, std::int16_t, std::uint16_t>>();
  else if constexpr (sizeof(Scalar) == 4)
    return std::type_identity<std::conditional_t<std::is_signed_v<Scalar>, std::int32_t, std::uint32_t>>();
  else
    return std::type_identity<std::conditional_t<std::is_signed_v<Scalar>, std::int64_t, std::uint64_t>>();
}

/// The type in which files store Scalar. For whole numbers it is the type of fixed width, since `long` and `long long`
/// may be different types of one width. For other numbers it is Scalar itself.
template <Number Scalar>
using StoredType = typename decltype(stored_type<Scalar>())::type;

}  // namespace detail

/// Whether type To holds every number of type From exactly: float holds half and 16-bit integers; double holds float
/// and 32-bit integers. Any type holds bool.
template <Number To, Number From>
constexpr bool holds_exactly() {
  using std::numeric_limits;
  constexpr bool from_is_whole = std::is_integral_v<From>, to_is_whole = std::is_integral_v<To>;
  if (std::is_same_v<To, bool>) return std::is_same_v<From, bool>;
  if (to_is_whole && !from_is_whole) return false;
  if (to_is_whole && std::is_signed_v<From> && !std::is_signed_v<To>) return false;
  const int exponent = from_is_whole ? int{numeric_limits<From>::digits} : int{numeric_limits<From>::max_exponent};
  return int{numeric_limits<To>::digits} >= int{numeric_limits<From>::digits} &&
         (to_is_whole || int{numeric_limits<To>::max_exponent} >= exponent);
}

/// Returns the DType that stores a type's numbers.
template <Number Scalar>
constexpr DType stored_dtype() {
  if constexpr (std::is_same_v<Scalar, bool>)
    return DType::boolean;
  else
    return dtype_of<Scalar>();
}

/// Returns NumPy's name of a type, such as "float32". bfloat16 is the name that ml_dtypes and PyTorch use.
inline std::string_view numpy_name(DType dtype) {
  constexpr std::array<std::string_view, 13> names{"float64", "float32", "float16", "bfloat16", "int64",
                                                   "int32",   "int16",   "int8",    "uint64",   "uint32",
                                                   "uint16",  "uint8",   "bool"};
  return names[static_cast<std::size_t>(dtype)];
}

/// A tensor with entries of any type that files store.
class AnyTensor {
 public:
  /// One type for each DType, in their order.
  using Variant =
      std::variant<Tensor<double>, Tensor<float>, Tensor<Eigen::half>, Tensor<Eigen::bfloat16>, Tensor<std::int64_t>,
                   Tensor<std::int32_t>, Tensor<std::int16_t>, Tensor<std::int8_t>, Tensor<std::uint64_t>,
                   Tensor<std::uint32_t>, Tensor<std::uint16_t>, Tensor<std::uint8_t>, Tensor<bool>>;

  /// A float64 tensor of no entries, with the shape [0].
  AnyTensor() = default;
  /// Copies a tensor or a view, computes an expression, or takes a temporary tensor's memory.
  template <TensorLike X>
  AnyTensor(X&& x) {  // NOLINT: implicit; an AnyTensor is not TensorLike, so it is no copy constructor
    using Scalar = ScalarOf<X>;
    static_assert(!std::is_same_v<Scalar, long double>, "no file stores long double: write cast<double>()");
    using Stored = detail::StoredType<Scalar>;
    if constexpr (!std::is_same_v<Scalar, Stored>)
      variant_ = Tensor<Scalar>(std::forward<X>(x)).template cast<Stored>();
    else
      variant_ = Tensor<Stored>(std::forward<X>(x));
  }

  /// The type of the entries.
  DType dtype() const { return static_cast<DType>(variant_.index()); }
  const Sizes& shape() const {
    return std::visit([](const auto& x) -> const Sizes& { return x.shape(); }, variant_);
  }
  /// The tensor as one of the types of the variant, for std::visit and std::get_if.
  const Variant& variant() const { return variant_; }
  Variant& variant() { return variant_; }

  /// Returns the tensor with entries of another type. Throws, naming both types, unless the other type holds all
  /// numbers of this one exactly: see holds_exactly. where: prefix of the message.
  template <class Scalar>
  Tensor<Scalar> to(std::string_view where = "AnyTensor") const& {
    return std::visit([&](const auto& x) { return converted<Scalar>(x, where); }, variant_);
  }
  template <class Scalar>
  Tensor<Scalar> to(std::string_view where = "AnyTensor") && {
    return std::visit([&](auto& x) { return converted<Scalar>(std::move(x), where); }, variant_);
  }
  /// Whether to<Scalar>() succeeds.
  template <class Scalar>
  bool converts_to() const {
    return std::visit([](const auto& x) { return holds_exactly<Scalar, ScalarOf<decltype(x)>>(); }, variant_);
  }

 private:
  template <class Scalar, class X>
  static Tensor<Scalar> converted(X&& x, std::string_view where) {
    using Stored = ScalarOf<X>;
    if constexpr (std::is_same_v<Stored, Scalar>)
      return std::forward<X>(x);
    else if constexpr (holds_exactly<Scalar, Stored>())
      return x.template cast<Scalar>();
    else
      fail(where, ": the tensor is of ", numpy_name(stored_dtype<Stored>()), ", which ",
           numpy_name(stored_dtype<Scalar>()), " does not hold exactly: read it as ",
           numpy_name(stored_dtype<Stored>()), " and cast it");
  }

  Variant variant_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
