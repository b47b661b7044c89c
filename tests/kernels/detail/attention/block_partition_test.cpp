#include "eigenformer/kernels/detail/attention/block_partition.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
namespace simd = eigenformer::simd;
using ef::Index;

TEMPLATE_TEST_CASE("blocks of queries follow each other, and the last has not one packet alone", "[kernels]", float,
                   double) {
  constexpr Index n = detail::block_queries<TestType>, lanes = simd::lanes<TestType>;
  for (Index queries = 0; queries <= 5 * n; ++queries) {
    const Index blocks = detail::query_blocks<TestType>(queries);
    CAPTURE(queries, blocks);
    CHECK(blocks == (queries + n - 1) / n);
    CHECK(detail::query_block_begin<TestType>(queries, 0) == 0);
    CHECK(detail::query_block_begin<TestType>(queries, blocks) == queries);
    for (Index block = 0; block < blocks; ++block) {
      const Index begin = detail::query_block_begin<TestType>(queries, block);
      const Index size = detail::query_block_begin<TestType>(queries, block + 1) - begin;
      CAPTURE(block, begin, size);
      CHECK(begin % lanes == 0);
      CHECK(size > 0);
      CHECK(size <= n);
      CHECK((size == n || block >= blocks - 2));
      CHECK((size > lanes || blocks == 1));
      // A block is told from where it begins, and the one before it from where that ends.
      CHECK(detail::query_blocks<TestType>(begin) == block);
    }
  }
}
