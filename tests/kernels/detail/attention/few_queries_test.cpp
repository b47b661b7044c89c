#include "eigenformer/kernels/detail/attention/few_queries.hpp"

#include "kernels/attention_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEMPLATE_TEST_CASE("few queries, of one head or of several that share keys, attend as their definition says",
                   "[kernels][threads]", float, double) {
  const std::uint64_t seed = 11;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  for (const auto& [heads, key_heads] : {std::pair<Index, Index>{1, 1}, {2, 1}, {8, 1}, {6, 2}, {9, 1}})
    for (const Index queries : {1, 2, 4, 8, 9})
      for (const Index keys : {1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 257, 511, 512, 513, 1100})
        for (const Index width : {1, 8, 17, 64}) {
          if (queries > 1 && keys > 100 && width > 8) continue;
          if (keys > 300 && heads * queries > 1) continue;
          CAPTURE(heads, key_heads, queries, keys, width);
          const AttentionCase<TestType> c({heads, key_heads, width, width + queries % 2, {queries}, {keys}}, rng);
          check_definition(c, rng, pool);
        }
}

TEMPLATE_TEST_CASE("few queries are no more rows that share a key head than half of the lanes", "[kernels]", float,
                   double) {
  const auto few = [](Index heads, Index key_heads, Index queries) {
    const Index d = 4;
    const auto layout = ef::detail::attention_layout({queries, heads * d}, {5, key_heads * d}, {5, key_heads * d},
                                                     {.heads = heads, .key_heads = key_heads});
    return ef::detail::has_few_queries<TestType>(layout, 0);
  };
  constexpr Index most = ef::simd::lanes<TestType> / 2;
  CHECK_FALSE(few(1, 1, most + 1));
  if (most == 0) return;  // nothing is vectorised
  CHECK(few(1, 1, most));
  CHECK(few(8, 8, most));
  CHECK(few(most, 1, 1));
  CHECK_FALSE(few(most, 1, 2));
  CHECK(few(2 * most, 2, 1));
  CHECK_FALSE(few(most + 1, 1, 1));
}
