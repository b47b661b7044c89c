#include "eigenformer/kernels/detail/attention/grouped_heads.hpp"

#include "kernels/attention_cases.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

// Of each head that shares a key head, the number; and its queries, so that all fit into a block and are not few.
struct Group {
  Index heads, queries;
};
template <class Scalar>
std::vector<Group> groups() {
  constexpr Index n = detail::block_queries<Scalar>, least = ef::simd::lanes<Scalar> / 2 + 1;
  std::vector<Group> groups;
  for (const Group& g : {Group{2, n / 2}, {3, n / 3}, {3, 2}, {n, 1}, {n - 1, 1}, {least, 1}})
    if (g.heads > 1 && g.heads * g.queries >= least && g.heads * g.queries <= n) groups.push_back(g);
  return groups;
}

template <class Scalar>
bool are_side_by_side(const AttentionCase<Scalar>& c) {
  const detail::AttentionLayout layout =
      detail::attention_layout(ef::shape(c.q), ef::shape(c.k), ef::shape(c.v), c.options);
  return !detail::has_few_queries<Scalar>(layout, 0) && detail::heads_fit_a_block<Scalar>(layout, 0);
}

// The same with keys and values of its own for every head.
template <class Scalar>
AttentionCase<Scalar> apart(const AttentionCase<Scalar>& c) {
  AttentionCase<Scalar> own = c;
  own.options.key_heads = 0;
  own.k = c.k.replicate(1, c.options.heads);
  own.v = c.v.replicate(1, c.options.heads);
  return own;
}

// Hides everything from every second head: what is seen of a tile may differ among heads that share its keys.
struct EvenHeads {
  static constexpr ef::ScoreStage stage = ef::ScoreStage::mask;
  ef::Visible visible(const ef::ScoreTile& tile) const {
    return tile.head % 2 == 0 ? ef::Visible::all : ef::Visible::none;
  }
  template <class Scalar>
  void apply(const ef::ScoreTile&, ef::ScoreBlock<Scalar>) const {}
};

}  // namespace

TEMPLATE_TEST_CASE("heads that share keys attend side by side as their definition says", "[kernels][threads]", float,
                   double) {
  const std::uint64_t seed = 21;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  for (const auto& [heads, queries] : groups<TestType>())
    for (const Index keys : {1, 17, 128, 129, 300}) {
      CAPTURE(heads, queries, keys);
      const AttentionCase<TestType> c({heads, 1, 1 + rng.randint(40), 1 + rng.randint(40), {queries}, {keys}}, rng);
      REQUIRE(are_side_by_side(c));
      check_definition(c, rng, pool);
    }
}

TEMPLATE_TEST_CASE("what depends on the head does so where heads lie side by side", "[kernels]", float, double) {
  ef::Rng rng(22);
  for (const auto& [heads, queries] : groups<TestType>()) {
    CAPTURE(heads, queries);
    AttentionCase<TestType> c({heads, 1, 9, 7, {queries}, {140}}, rng);
    REQUIRE(are_side_by_side(c));
    std::vector<double> slopes;
    for (Index h = 0; h < heads; ++h) slopes.push_back(0.5 / static_cast<double>(h + 1));
    const ef::Alibi alibi(slopes);
    CHECK(max_error(attend(c, alibi).out, attend(apart(c), alibi).out) < rounding<TestType>(64));
    c.options.dropout = 0.25;
    c.options.dropout_key = ef::RandomKey{5, 6};
    CHECK(max_error(attend(c, ef::Causal{}).out, attend(apart(c), ef::Causal{}).out) < rounding<TestType>(64));
  }
}

TEMPLATE_TEST_CASE("of heads that share keys, some may see nothing of them", "[kernels]", float, double) {
  ef::Rng rng(23);
  for (const auto& [heads, queries] : {Group{2, 1}, groups<TestType>().front(), groups<TestType>().back()}) {
    CAPTURE(heads, queries);
    const AttentionCase<TestType> c({heads, 1, 20, 9, {queries}, {130}}, rng);
    const Matrix<TestType> all = ef::attention(c.q, c.k, c.v, c.options);
    const Matrix<TestType> even = ef::attention(c.q, c.k, c.v, EvenHeads{}, c.options);
    for (Index head = 0; head < heads; ++head) {
      CAPTURE(head);
      if (head % 2 == 0) CHECK(identical<TestType>(even.middleCols(head * 9, 9), all.middleCols(head * 9, 9)));
      if (head % 2 == 1) CHECK((even.middleCols(head * 9, 9).array() == 0).all());
    }
  }
}

TEMPLATE_TEST_CASE("NaN in keys that are hidden reaches no head beside another", "[kernels]", float, double) {
  ef::Rng rng(24);
  for (const auto& [heads, queries] : groups<TestType>()) {
    CAPTURE(heads, queries);
    AttentionCase<TestType> c({heads, 1, 5, 3, {queries}, {150}}, rng);
    Matrix<bool> visible = Matrix<bool>::NullaryExpr(queries, 150, [&] { return rng.randint(3) > 0; });
    for (const Index key : {0, 40, 149}) visible.col(key).setConstant(false);
    const ef::DenseMask mask(visible);
    const Attended<TestType> expected = attend(c, mask);
    for (const Index key : {0, 40, 149}) {
      c.k.row(key).setConstant(std::numeric_limits<TestType>::quiet_NaN());
      c.v.row(key).setConstant(std::numeric_limits<TestType>::infinity());
    }
    const Attended<TestType> given = attend(c, mask);
    CHECK(identical<TestType>(given.out, expected.out));
    CHECK(identical<TestType>(given.log_sum_exp, expected.log_sum_exp));
  }
}

TEMPLATE_TEST_CASE("heads that share keys go side by side if all their queries fit a block", "[kernels]", float,
                   double) {
  const auto fit = [](Index heads, Index key_heads, Index queries) {
    const auto layout = detail::attention_layout({queries, heads * 4}, {5, key_heads * 4}, {5, key_heads * 4},
                                                 {.heads = heads, .key_heads = key_heads});
    return detail::heads_fit_a_block<TestType>(layout, 0);
  };
  constexpr Index n = detail::block_queries<TestType>;
  CHECK(fit(n, 1, 1));
  CHECK_FALSE(fit(n + 1, 1, 1));
  CHECK(fit(2, 1, n / 2));
  CHECK_FALSE(fit(2, 1, n / 2 + 1));
  CHECK(fit(4, 2, n / 2));
  CHECK_FALSE(fit(3, 3, 1));
}
