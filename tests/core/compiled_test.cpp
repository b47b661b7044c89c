#include "eigenformer/core/compiled.hpp"

#include <string>

#include "support/catch.hpp"
#include "support/macro_text.hpp"

// A class as headers write it. What its files declare, a library defines: here the lines below the macro.
template <class Scalar>
struct CompiledProbe {
  Scalar half(Scalar x) const;
};
template <class Scalar>
Scalar CompiledProbe<Scalar>::half(Scalar x) const {
  return x / 2;
}
EIGENFORMER_TEMPLATE(struct CompiledProbe);
template struct CompiledProbe<float>;
template struct CompiledProbe<double>;

TEST_CASE("what is compiled already is declared, for the scalars that the library has") {
  CHECK(CompiledProbe<float>().half(3) == 1.5f);
  CHECK(CompiledProbe<double>().half(3) == 1.5);
  const std::string text = EIGENFORMER_TEST_TEXT(EIGENFORMER_TEMPLATE(struct Layer));
#if defined(EIGENFORMER_COMPILED_FLOAT) && defined(EIGENFORMER_COMPILED_DOUBLE)
  CHECK(text == "extern template struct Layer<float>; extern template struct Layer<double>");
#else
  CHECK(text == "static_assert(true); static_assert(true)");
#endif
}
