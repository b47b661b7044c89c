// Keys in pages: the same bits as keys in order, wherever the pages lie.
#include <vector>

#include "eigenformer/kernels/attention_backward.hpp"
#include "kernels/attention_cases.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEMPLATE_TEST_CASE("keys in pages give the bits of keys in order", "[kernels]", float, double) {
  ef::Rng rng(1);
  for (const Index page_size : {1, 3, 16, 128})
    for (const Index queries : {1, 3, 40}) {
      CAPTURE(page_size, queries);
      const AttentionCase<TestType> c({4, 2, 16, 5, {queries, 1, 2}, {301, 0, 17}}, rng);
      const ef::RowOffsets& keys = c.options.key_rows;
      // Pages in a random order, among others that no sequence has.
      std::vector<Index> free(400), pages;
      std::iota(free.begin(), free.end(), Index{0});
      rng.shuffle(std::span(free));
      Matrix<TestType> k = Matrix<TestType>::Constant(400 * page_size, c.k.cols(),
                                                      std::numeric_limits<TestType>::quiet_NaN()),
                       v = Matrix<TestType>::Constant(400 * page_size, c.v.cols(),
                                                      std::numeric_limits<TestType>::quiet_NaN());
      for (Index s = 0; s < keys.sequences(); ++s)
        for (Index first = 0; first < keys.length(s); first += page_size) {
          const Index page = free[pages.size()], count = std::min(page_size, keys.length(s) - first);
          pages.push_back(page);
          k.middleRows(page * page_size, count) = c.k.middleRows(keys.begin(s) + first, count);
          v.middleRows(page * page_size, count) = c.v.middleRows(keys.begin(s) + first, count);
        }
      ef::AttentionOptions options = c.options;
      options.key_pages = ef::KeyPages{page_size, pages};
      CHECK(identical<TestType>(ef::attention(c.q, k, v, ef::Causal::after_past(), options),
                                ef::attention(c.q, c.k, c.v, ef::Causal::after_past(), c.options)));
      const Matrix<Eigen::bfloat16> k_16 = k.template cast<Eigen::bfloat16>(),
                                    v_16 = v.template cast<Eigen::bfloat16>();
      const Matrix<Eigen::bfloat16> k_in_order = c.k.template cast<Eigen::bfloat16>(),
                                    v_in_order = c.v.template cast<Eigen::bfloat16>();
      if constexpr (std::is_same_v<TestType, float>)
        CHECK(identical<float>(ef::attention(c.q, k_16, v_16, options),
                               ef::attention(c.q, k_in_order, v_in_order, c.options)));
    }
}

TEST_CASE("sequences share the pages of a common prefix", "[kernels]") {
  ef::Rng rng(2);
  const Index page_size = 8;
  const Matrix<float> q = random_matrix<float>(3, 16, rng);
  const Matrix<float> k = random_matrix<float>(40, 16, rng), v = random_matrix<float>(40, 16, rng);
  // Pages 0 and 1 are the prefix; sequence s goes on in page 2 + s, with s + 1 keys.
  const std::vector<Index> pages{0, 1, 2, 0, 1, 3, 0, 1, 4};
  const auto rows = ef::RowOffsets::from_lengths({1, 1, 1}), keys = ef::RowOffsets::from_lengths({17, 18, 19});
  const Matrix<float> y = ef::attention(
      q, k, v, {.heads = 2, .query_rows = rows, .key_rows = keys, .key_pages = ef::KeyPages{page_size, pages}});
  for (Index s = 0; s < 3; ++s) {
    Matrix<float> own_k(17 + s, 16), own_v(17 + s, 16);
    own_k << k.topRows(16), k.middleRows(16 + 8 * s, s + 1);
    own_v << v.topRows(16), v.middleRows(16 + 8 * s, s + 1);
    CHECK(identical<float>(ef::attention(q.row(s), own_k, own_v, {.heads = 2}), y.row(s)));
  }
}

TEST_CASE("pages that do not fit are named", "[kernels]") {
  const Matrix<float> q = Matrix<float>::Ones(2, 4), k = Matrix<float>::Ones(12, 4);
  const auto message = [&](std::vector<Index> pages, Index size, const ef::RowOffsets& keys) {
    return message_of([&] {
      ef::attention(q, k, k, {.query_rows = {0, 1, 2}, .key_rows = keys, .key_pages = ef::KeyPages{size, pages}});
    });
  };
  CHECK(message({0, 1, 2}, 4, {0, 5, 8}) == "nothing was thrown");
  CHECK(message({0, 1}, 4, {0, 5, 8}) == "attention: key_pages has 2 pages, expected 3 of 4 rows for 8 keys");
  CHECK(message({0, 1, 3}, 4, {0, 5, 8}) == "attention: key_pages has page 3, k has 3 pages of 4 rows");
  const std::string expected = ", expected a page_size of 1 or more, key_rows and no key_index";
  CHECK(message({0, 1, 2}, 0, {0, 5, 8}) ==
        "attention: key_pages with a page_size of 0, with key_rows and without key_index" + expected);
  const Index largest = (std::numeric_limits<Index>::max)();
  CHECK(message({}, largest, {0, 5, 8}) ==
        "attention: key_pages has 0 pages, expected 2 of " + std::to_string(largest) + " rows for 8 keys");
  CHECK(message({0, 1, 2}, 4, {}) ==
        "attention: key_pages with a page_size of 4, without key_rows and without key_index" + expected);
  Matrix<float> out(2, 4), sums(2, 1), d(2, 4), d_k(12, 4);
  const std::vector<Index> pages{0, 1};
  CHECK(message_of([&] {
          ef::attention_backward<float>(
              {q, k, k}, ef::Unmasked{},
              {.query_rows = {0, 1, 2}, .key_rows = {0, 4, 8}, .key_pages = ef::KeyPages{4, pages}}, {out, sums}, out,
              {d, d_k, d_k});
        }) == "attention: key_index and key_pages have no backward");
}
