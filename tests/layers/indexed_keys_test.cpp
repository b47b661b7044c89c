#include "eigenformer/layers/indexed_keys.hpp"

#include "eigenformer/layers/multi_head_attention.hpp"
#include "support/approx.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::testing::random_matrix;

TEST_CASE("indexed keys are those rows of the cache, one under another", "[layers]") {
  const std::uint64_t seed = 381;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::MultiHeadAttention<double> layer({.width = 8, .heads = 2}, rng);
  const auto seen = random_matrix<double>(5, 8, rng), query = random_matrix<double>(2, 8, rng);
  ef::KeyValueCache<double> cache;
  layer.append_to_cache({}, seen, cache);
  const std::vector<ef::Index> index{0, 1, 4, 3, 1};  // both hypotheses see row 1
  const ef::IndexedKeys keys{.query_rows = {0, 1, 2}, .key_rows = {0, 3, 5}, .key_index = index};
  ef::Matrix<double> gathered(5, 8);
  for (std::size_t i = 0; i < index.size(); ++i) gathered.row(static_cast<ef::Index>(i)) = seen.row(index[i]);
  const ef::Matrix<double> expected =
      layer({}, query, gathered, gathered, {.query_rows = keys.query_rows, .key_rows = keys.key_rows}).value();
  CHECK(ef::testing::max_error(layer.attend_to_cache({}, query, cache, keys).value(), expected) < 1e-12);
}
