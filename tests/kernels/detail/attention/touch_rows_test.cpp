#include "eigenformer/kernels/detail/attention/touch_rows.hpp"

#include <numeric>
#include <vector>

#include "eigenformer/kernels/attention.hpp"
#include "kernels/attention_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

/// Rows of a matrix in reverse order. Its memory ends with its last number, so a sanitizer finds reads beyond it.
template <class Stored>
Matrix<Stored> reversed_rows(const Matrix<Stored>& x) {
  return x.colwise().reverse();
}

/// Checks that a batch whose keys exceed the caches gives each sequence the result that it has alone.
/// Keys and values are stored in order, in reverse order with an index, and in reverse order in pages of one row.
template <class Stored>
void check_large_batch(Index value_width, ef::Rng& rng) {
  const AttentionCase<float> c({8, 8, 64, value_width, {1, 2, 1, 0, 1, 1}, {150, 0, 7, 5, 900, 1}}, rng);
  const Matrix<Stored> k = c.k.cast<Stored>(), v = c.v.cast<Stored>();
  std::vector<Index> places(static_cast<std::size_t>(k.rows()));
  std::iota(places.rbegin(), places.rend(), Index{0});
  ef::AttentionOptions indexed = c.options, paged = c.options;
  indexed.key_index = places;
  paged.key_pages = ef::KeyPages{1, places};
  const Matrix<float> y = ef::attention(c.q, k, v, c.options);
  CHECK(identical<float>(ef::attention(c.q, reversed_rows(k), reversed_rows(v), indexed), y));
  CHECK(identical<float>(ef::attention(c.q, reversed_rows(k), reversed_rows(v), paged), y));
  for (Index s = 0; s < c.options.key_rows.sequences(); ++s) {
    const AttentionCase<float> one = c.alone(s);
    const Matrix<Stored> own_k = one.k.template cast<Stored>(), own_v = one.v.template cast<Stored>();
    const Matrix<float> rows = y.middleRows(c.options.query_rows.begin(s), c.options.query_rows.length(s));
    CAPTURE(s);
    CHECK(identical<float>(ef::attention(one.q, own_k, own_v, one.options), rows));
  }
}

}  // namespace

TEST_CASE("keys that exceed the caches give the bits of keys that do not", "[kernels]") {
  const std::uint64_t seed = 31;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Index value_width : {0, 17, 64}) {
    CAPTURE(value_width);
    check_large_batch<float>(value_width, rng);
    check_large_batch<Eigen::bfloat16>(value_width, rng);
  }
}
