#include "eigenformer/core/detail/compiled.hpp"

#include <string>

#include "support/catch.hpp"
#include "support/macro_text.hpp"

// A class as headers write it. The tests link the compiled library, which has none of this one: the lines below the
// macro stand for it.
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

TEST_CASE("what the compiled library holds is only declared") {
  CHECK(CompiledProbe<float>().half(3) == 1.5f);
  CHECK(CompiledProbe<double>().half(3) == 1.5);
  const std::string text = EIGENFORMER_TEST_TEXT(EIGENFORMER_TEMPLATE(struct Layer));
  CHECK(text == "extern template struct Layer<float>; extern template struct Layer<double>");
}
