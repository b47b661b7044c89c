#include "eigenformer/kernels/scores/block_mask.hpp"

#include <vector>

#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/kernels/scores.hpp"
#include "kernels/attention_cases.hpp"
#include "kernels/scores/score_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

// Documents of these lengths, one after the other: a query sees its own document's keys up to itself.
struct Documents {
  std::vector<int> of_token;
  bool operator()(const ef::ScorePosition& at) const {
    return of_token[static_cast<std::size_t>(at.query)] == of_token[static_cast<std::size_t>(at.key)] &&
           at.key <= at.query;
  }
};

Documents documents(Index n, ef::Rng& rng) {
  Documents all;
  for (int d = 0; static_cast<Index>(all.of_token.size()) < n; ++d)
    all.of_token.insert(all.of_token.end(), static_cast<std::size_t>(1 + rng.randint(n)), d);
  return all;
}

}  // namespace

TEMPLATE_TEST_CASE("a block mask hides what its function hides on every tile", "[kernels]", float, double) {
  ef::Rng rng(1);
  for (const Index block : {1, 3, 8})
    for (const Index n : {1, 7, 10}) {
      CAPTURE(block, n);
      const Documents own = documents(n, rng);
      const auto score = ef::block_mask({.queries = n, .keys = n, .block = block}, own);
      check_all_tiles<TestType>(score, sequence(n, n, 4), [&](Index i, Index j) {
        ef::ScorePosition at;
        at.query = static_cast<std::int32_t>(i);
        at.key = static_cast<std::int32_t>(j);
        return own(at);
      });
      // Whole blocks: nothing is left to ask.
      const Index blocks = (n - 1) / block + 1;
      const Matrix<bool> visible = Matrix<bool>::NullaryExpr(blocks, blocks, [&] { return rng.randint(2) == 0; });
      check_all_tiles<TestType>(ef::BlockMask<>(visible, block), sequence(n, n, 4),
                                [&](Index i, Index j) { return visible(i / block, j / block); });
    }
}

TEMPLATE_TEST_CASE("packed documents attend as documents of their own, at every size", "[kernels]", float, double) {
  ef::Rng rng(2);
  for (Index n = 1; n <= 40; ++n) {
    CAPTURE(n);
    const AttentionCase<TestType> c({2, 1, 5, 3, {n}, {n}}, rng);
    const Documents own = documents(n, rng);
    const auto score = ef::block_mask({.queries = n, .keys = n, .block = 8}, own);
    const auto plain = ef::mask(own);
    const auto run = [&](const auto& s) {
      Matrix<TestType> out(n, 6), sums(n, 2), d_q(n, 10), d_k(n, 5), d_v(n, 3);
      ef::attention_forward<TestType>({c.q, c.k, c.v}, s, c.options, {out, sums});
      ef::attention_backward<TestType>({c.q, c.k, c.v}, s, c.options, {out, sums}, c.d_out, {d_q, d_k, d_v});
      return std::array{out, d_q, d_k, d_v};
    };
    const auto given = run(score), expected = run(plain);
    for (std::size_t i = 0; i < 4; ++i) CHECK(max_error(given[i], expected[i]) < tolerance<TestType>(64));
    const NaiveAttention naive = c.naive([&](const QueryAndKey& at, double s) {
      ef::ScorePosition place;
      place.query = static_cast<std::int32_t>(at.query);
      place.key = static_cast<std::int32_t>(at.key);
      return own(place) ? s : naive_hidden;
    });
    CHECK(max_error(given[0], naive.out) < tolerance<TestType>(64));
  }
}

TEST_CASE("a block mask may differ between sequences and heads, and says what it does not cover", "[kernels]") {
  ef::Rng rng(3);
  const AttentionCase<float> c({4, 2, 5, 3, {20, 9}, {18, 9}}, rng);
  const auto function = [](const ef::ScorePosition& at) {
    return (at.query / 5 + at.key / 4 + at.head + 2 * at.sequence) % 3 != 0;
  };
  const ef::BlockMaskOptions options{.queries = 20, .keys = 18, .block = 4, .sequences = 2, .heads = 4};
  CHECK(max_error(ef::attention(c.q, c.k, c.v, ef::block_mask(options, function), c.options),
                  ef::attention(c.q, c.k, c.v, ef::mask(function), c.options)) < rounding<float>(64));
  CHECK(message_of([&] {
          ef::attention(c.q, c.k, c.v, ef::block_mask({.queries = 20, .keys = 17, .block = 4}, function), c.options);
        }) ==
        "attention: the block mask covers 20 queries, 17 keys, 1 sequences and 1 heads, expected 20, 18, 2 and 4");
  const auto message_for = [&](const ef::BlockMaskOptions& larger) {
    return message_of([&] { ef::attention(c.q, c.k, c.v, ef::block_mask(larger, function), c.options); });
  };
  CHECK(message_for({.queries = 30, .keys = 30, .block = 4, .sequences = 2, .heads = 4}) == "nothing was thrown");
  CHECK(message_for({.queries = 20, .keys = 18, .block = 4, .sequences = 3}) ==
        "attention: the block mask covers 20 queries, 18 keys, 3 sequences and 1 heads, expected 20, 18, 2 and 4");
  CHECK(message_for({.queries = 20, .keys = 18, .block = 4, .heads = 5}) ==
        "attention: the block mask covers 20 queries, 18 keys, 1 sequences and 5 heads, expected 20, 18, 2 and 4");
  CHECK(message_of([&] { ef::block_mask({.queries = 20}, function); }) ==
        "BlockMask: 20 queries, 0 keys, blocks of 128, 1 sequences and 1 heads, expected 1 or more of each");
  constexpr Index many = Index{1} << 31;
  CHECK(message_of([&] { ef::block_mask({.queries = many, .keys = 1, .block = many}, function); }) ==
        "BlockMask: 2147483648 queries and 1 keys, expected at most 2147483647 of each");
  constexpr Index most = many - 1;
  CHECK(message_of([&] { ef::block_mask({.queries = most, .keys = most, .block = 1, .heads = 4}, function); }) ==
        "BlockMask: 2147483647 x 2147483647 blocks for 1 sequences and 4 heads do not fit in memory");
  constexpr Index largest = std::numeric_limits<Index>::max();
  CHECK(message_of([&] { ef::BlockMask<>(Matrix<bool>::Constant(3, 1, true), largest / 2); }) ==
        "BlockMask: " + std::to_string(largest) + " queries and " + std::to_string(largest / 2) +
            " keys, expected at most 2147483647 of each");
}
