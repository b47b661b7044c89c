// tanh for SIMD packets.
#pragma once

#include <iterator>

#include "eigenformer/core/simd.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::simd {

namespace detail {

/// The minimax rational approximation tanh x = x P(x^2) / Q(x^2) for |x| <= bound. Beyond the bound, tanh x is 1 to
/// within a rounding. The coefficients, highest degree first, were found by Remez' iteration. All are positive, so
/// nothing cancels. Largest relative error, with rounded coefficients: 4.4e-8 for float, 1e-16 for double.
template <class Scalar>
struct TanhFraction {
  static constexpr double bound = 18.5;
  static constexpr double numerator[] = {2.6897225889238369e-23, 7.8063858433218279e-19, 3.1733376424750652e-15,
                                         4.2674037296963206e-12, 2.4749891387696041e-09, 6.8852116302951683e-07,
                                         9.398288021719483e-05,  0.0059847776473084105,  0.15187263401714075,
                                         0.99999999999999996};
  static constexpr double denominator[] = {6.6181027783945951e-21, 5.8781363096835378e-17,
                                           1.307182271811296e-13,  1.1313864275045929e-10,
                                           4.5112422957697718e-08, 8.8044414904567651e-06,
                                           0.00083036345645172112, 0.034386766764133989,
                                           0.48520596735047359,    1.0};
};
template <>
struct TanhFraction<float> {
  static constexpr float bound = 8.5F;
  static constexpr float numerator[] = {1.4269186379694152e-8F, 2.1251010775941676e-5F, 0.0035340246782175749F,
                                        0.13413245046810129F, 0.99999998817619543F};
  static constexpr float denominator[] = {8.1451053405720413e-7F, 0.00033488613362984728F, 0.026022742917402764F,
                                          0.46746567779262254F, 1.0F};
};

}  // namespace detail

/// Returns tanh x within 5 rounding errors. Where tanh x is 1, the result may exceed 1 by 3 roundings. NaN stays NaN.
template <class Scalar>
EIGEN_ALWAYS_INLINE Packet<Scalar> tanh(const Packet<Scalar>& x) {
  using Fraction = detail::TanhFraction<Scalar>;
  const auto within = maximum(minimum(x, broadcast(Fraction::bound)), broadcast(-Fraction::bound));
  const auto square = multiply(within, within);
  auto p = broadcast(Fraction::numerator[0]), q = broadcast(Fraction::denominator[0]);
  constexpr int terms = static_cast<int>(std::size(Fraction::numerator));
  EIGENFORMER_UNROLL
  for (int i = 1; i < terms; ++i) {
    p = multiply_add(p, square, broadcast(Fraction::numerator[i]));
    q = multiply_add(q, square, broadcast(Fraction::denominator[i]));
  }
  return divide(multiply(within, p), q);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::simd
