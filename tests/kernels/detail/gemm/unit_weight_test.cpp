#include "eigenformer/kernels/detail/gemm/unit_weight.hpp"

#include <typeinfo>

#include "eigenformer/kernels/matmul.hpp"
#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

/// Calls body with each unit for values of a type that this process may use.
template <class Value, class Body>
void for_each_unit_of(Body&& body) {
  const auto visit = [&](auto one) {
    using Unit = decltype(one);
    if constexpr (requires { Unit::is_permitted(); })
      if (!Unit::is_permitted()) return;
    body(one);
  };
  [&]<class... Units>(ef::matrix_unit::UnitList<Units...>) { (visit(Units()), ...); }(ef::matrix_unit::units<Value>);
}

}  // namespace

TEMPLATE_TEST_CASE("every unit gives a row the same result in every batch", "[kernels]", Eigen::bfloat16, std::int8_t) {
  const std::uint64_t seed = 411;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::NoEpilogue no_epilogue;
  for (const Index inputs : {1, 40, 700, 1100})
    for (const Index outputs : {1, 16, 40, 100, 200}) {
      const auto x = random_matrix<float>(70, inputs, rng), bias = random_matrix<float>(1, outputs, rng);
      const ef::detail::UnitWeight<TestType> weight(random_matrix<float>(outputs, inputs, rng));
      Matrix<float> reference(70, outputs);
      weight.multiply_on(ef::matrix_unit::Portable<TestType>(), {x, bias, reference}, nullptr, no_epilogue);
      for_each_unit_of<TestType>([&](auto unit) {
        CAPTURE(typeid(unit).name(), inputs, outputs);
        Matrix<float> y(70, outputs);
        weight.multiply_on(unit, {x, bias, y}, nullptr, no_epilogue);
        if (std::is_same_v<TestType, std::int8_t>)
          CHECK(identical<float>(y, reference));
        else
          CHECK(max_error(y, reference) < rounding<float>(4 * static_cast<double>(inputs)));
        for (const Index rows : {1, 2, 3, 4, 5, 8, 17})
          for (Index i = 0; i + rows <= 70; i += rows) {
            Matrix<float> part(rows, outputs);
            weight.multiply_on(unit, {x.middleRows(i, rows), bias, part}, nullptr, no_epilogue);
            CHECK(identical<float>(part, y.middleRows(i, rows)));
          }
      });
    }
}
