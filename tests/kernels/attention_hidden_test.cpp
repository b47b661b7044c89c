// What attention must not look at, and numbers at the end of the range: forward and backward.
#include "eigenformer/kernels/attention_backward.hpp"
#include "kernels/attention_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

template <class Scalar>
bool all_finite(const Matrix<Scalar>& m) {
  return m.allFinite();
}

// A mask that hides some keys from all queries and some queries from all keys.
struct HiddenRows {
  std::vector<Index> queries, keys;
  Matrix<bool> mask;
};
HiddenRows hide_rows(Index queries, Index keys, ef::Rng& rng) {
  HiddenRows hidden;
  hidden.mask = Matrix<bool>::NullaryExpr(queries, keys, [&] { return rng.randint(4) > 0; });
  for (Index i = 0; i < queries; ++i)
    if (i % 7 == 2) {
      hidden.mask.row(i).setConstant(false);
      hidden.queries.push_back(i);
    }
  for (Index j = 0; j < keys; ++j)
    if (j % 5 == 1 || (j >= 64 && j < 128)) {  // one tile of them wholly
      hidden.mask.col(j).setConstant(false);
      hidden.keys.push_back(j);
    }
  return hidden;
}

// Results that must be the same whatever stands in rows that nobody may look at, to rounding: a tile with such rows is
// multiplied in another way.
template <class Scalar>
void check_unseen(const AttentionCase<Scalar>& clean, const AttentionCase<Scalar>& dirty,
                  const std::type_identity_t<TestedScore<Scalar>>& score) {
  const Attended<Scalar> expected = attend(clean, score), given = attend(dirty, score);
  CHECK(max_error(given.out, expected.out) < rounding<Scalar>(32));
  CHECK(max_error(given.log_sum_exp, expected.log_sum_exp) < rounding<Scalar>(32));
  const AttentionGradients<Scalar> d_expected = gradients(clean, score), d_given = gradients(dirty, score);
  CHECK(max_error(d_given.q, d_expected.q) < rounding<Scalar>(128));
  CHECK(max_error(d_given.k, d_expected.k) < rounding<Scalar>(128));
  CHECK(max_error(d_given.v, d_expected.v) < rounding<Scalar>(128));
  CHECK(all_finite(d_expected.q));
}

}  // namespace

TEMPLATE_TEST_CASE("hidden rows of NaN and infinity leak nowhere", "[kernels]", float, double) {
  ef::Rng rng(1);
  for (const ef::Shape& s : {ef::Shape{3, 5}, ef::Shape{16, 16}, ef::Shape{70, 140}})
    for (const TestType bad : bad_numbers<TestType>()) {
      CAPTURE(s.rows, s.cols, bad);
      const AttentionCase<TestType> clean({2, 1, 5, 3, {s.rows}, {s.cols}}, rng);
      const HiddenRows hidden = hide_rows(s.rows, s.cols, rng);
      AttentionCase<TestType> dirty = clean;
      for (const Index j : hidden.keys) {
        dirty.k.row(j).setConstant(bad);
        dirty.v.row(j).setConstant(bad);
      }
      check_unseen(clean, dirty, ef::DenseMask(hidden.mask));
      for (const Index i : hidden.queries) {  // what sees nothing, and its gradient
        dirty.q.row(i).setConstant(bad);
        dirty.d_out.row(i).setConstant(bad);
      }
      check_unseen(clean, dirty, ef::DenseMask(hidden.mask));
      const AttentionGradients<TestType> d = gradients(dirty, ef::DenseMask(hidden.mask));
      for (const Index i : hidden.queries) CHECK((d.q.row(i).array() == 0).all());
      for (const Index j : hidden.keys) {
        CHECK((d.k.row(j).array() == 0).all());
        CHECK((d.v.row(j).array() == 0).all());
      }
    }
}

TEMPLATE_TEST_CASE("keys after the last query are not looked at", "[kernels]", float, double) {
  ef::Rng rng(2);
  for (const TestType bad : bad_numbers<TestType>())
    for (const Index queries : {3, 64, 70}) {
      CAPTURE(queries, bad);
      const AttentionCase<TestType> clean({2, 2, 5, 3, {queries, 2}, {queries + 70, 9}}, rng);
      AttentionCase<TestType> dirty = clean;
      dirty.k.middleRows(queries, 70).setConstant(bad);
      dirty.v.middleRows(queries, 70).setConstant(bad);
      check_unseen(clean, dirty, ef::Causal{});
      check_unseen(clean, dirty, CappedScore{.cap = 2, .causal = true});
    }
}

TEMPLATE_TEST_CASE("a query of NaN spoils what it sees and no more", "[kernels]", float, double) {
  const TestType bad = std::numeric_limits<TestType>::quiet_NaN();
  ef::Rng rng(3);
  for (const Index size : {5, 70, 130})
    for (const Index at : {Index{0}, Index{2}, size - 2}) {
      CAPTURE(size, at);
      AttentionCase<TestType> c({1, 1, 5, 3, {size}, {size}}, rng);
      const Attended<TestType> expected = attend(c, ef::Causal{});
      const AttentionGradients<TestType> d_expected = gradients(c, ef::Causal{});
      c.q.row(at).setConstant(bad);
      const Attended<TestType> given = attend(c, ef::Causal{});
      const AttentionGradients<TestType> d = gradients(c, ef::Causal{});
      for (Index i = 0; i < size; ++i) {
        CAPTURE(i);
        if (i == at) {  // it must show: zeros would hide a model that has diverged
          CHECK(given.out.row(i).array().isNaN().all());
          CHECK(std::isnan(given.log_sum_exp(i, 0)));
        } else {
          CHECK(identical<TestType>(given.out.row(i), expected.out.row(i)));
          CHECK(max_error(d.q.row(i), d_expected.q.row(i)) < rounding<TestType>(128));
        }
        if (i > at) {  // keys that it did not see
          CHECK(max_error(d.k.row(i), d_expected.k.row(i)) < rounding<TestType>(128));
          CHECK(max_error(d.v.row(i), d_expected.v.row(i)) < rounding<TestType>(128));
        } else {
          CHECK(d.v.row(i).array().isNaN().all());
        }
      }
    }
}

TEMPLATE_TEST_CASE("what one query sees of NaN does not reach the keys that are hidden from it", "[kernels]", float,
                   double) {
  ef::Rng rng(5);
  for (const Index size : {6, 70, 300}) {  // up to several tiles of keys, of which only the last is undefined
    CAPTURE(size);
    AttentionCase<TestType> c({1, 1, 5, 3, {size}, {size}}, rng);
    Matrix<bool> visible = Matrix<bool>::Constant(size, size, true);
    visible.row(0).setConstant(false);
    visible.col(size - 1).setConstant(false);
    visible(0, 0) = visible(0, size - 1) = true;
    const ef::DenseMask score(visible);
    const AttentionGradients<TestType> expected = gradients(c, score);
    c.k.row(size - 1).setConstant(std::numeric_limits<TestType>::quiet_NaN());
    const AttentionGradients<TestType> given = gradients(c, score);
    CHECK(given.q.row(0).array().isNaN().all());
    CHECK(given.v.row(0).array().isNaN().all());
    const auto others = [size](const Matrix<TestType>& m) -> Matrix<TestType> { return m.middleRows(1, size - 2); };
    CHECK(max_error(others(given.q), others(expected.q)) < rounding<TestType>(128));
    CHECK(max_error(others(given.k), others(expected.k)) < rounding<TestType>(128));
    CHECK(max_error(others(given.v), others(expected.v)) < rounding<TestType>(128));
  }
}

TEMPLATE_TEST_CASE("a score that overflows spoils no gradient of what is hidden from its query", "[kernels]", float,
                   double) {
  const TestType large = sizeof(TestType) == 4 ? TestType(1e20) : TestType(1e200);
  ef::Rng rng(8);
  for (const Index size : {6, 70, 300}) {
    CAPTURE(size);
    AttentionCase<TestType> c({1, 1, 5, 3, {size}, {size}}, rng);
    Matrix<bool> visible = Matrix<bool>::Constant(size, size, true);
    visible.row(0).setConstant(false);
    visible.col(0).setConstant(false);
    visible(0, 0) = true;
    const ef::DenseMask score(visible);
    const AttentionGradients<TestType> expected = gradients(c, score);
    c.q.row(0).setConstant(large);
    c.k.row(0).setConstant(large);
    const AttentionGradients<TestType> given = gradients(c, score);
    CHECK(given.q.row(0).array().isNaN().all());
    const auto others = [size](const Matrix<TestType>& m) -> Matrix<TestType> { return m.bottomRows(size - 1); };
    CHECK(max_error(others(given.q), others(expected.q)) < rounding<TestType>(128));
    CHECK(max_error(others(given.k), others(expected.k)) < rounding<TestType>(128));
    CHECK(max_error(others(given.v), others(expected.v)) < rounding<TestType>(128));
  }
}

TEMPLATE_TEST_CASE("a visible key of NaN shows", "[kernels]", float, double) {
  ef::Rng rng(4);
  for (const Index keys : {1, 9, 130}) {
    AttentionCase<TestType> c({1, 1, 5, 3, {3}, {keys}}, rng);
    for (const Index at : {Index{0}, keys / 2, keys - 1}) {
      CAPTURE(keys, at);
      const Matrix<TestType> k = c.k;
      c.k(at, 2) = std::numeric_limits<TestType>::quiet_NaN();
      CHECK(attend(c, ef::Unmasked{}).out.array().isNaN().all());
      c.k = k;
    }
  }
}

TEMPLATE_TEST_CASE("scores of any size give no NaN", "[kernels]", float, double) {
  ef::Rng rng(5);
  for (const TestType size : {TestType(1e4), TestType(1e15)})
    for (const ef::Shape& s : {ef::Shape{1, 1}, ef::Shape{5, 9}, ef::Shape{70, 130}}) {
      CAPTURE(size, s.rows, s.cols);
      AttentionCase<TestType> c({1, 1, 4, 3, {s.rows}, {s.cols}}, rng);
      c.q.array() *= size;
      const auto check_score = [&](const TestedScore<TestType>& score, const NaiveScore& naive) {
        // A score's rounding is as large as the score: of 1e15 there is nothing left to compare, but NaN would show.
        const Attended<TestType> given = attend(c, score);
        CHECK(max_error(given.out, c.naive(naive).out) < (size < 1e5 ? 1e4 * rounding<TestType>(64) : 8.0));
        const AttentionGradients<TestType> d = gradients(c, score);
        CHECK(all_finite(given.out));
        CHECK(all_finite(d.q));
        CHECK(all_finite(d.k));
        CHECK(all_finite(d.v));
      };
      check_score(ef::Unmasked{}, naive_unmasked);
      check_score(ef::Causal{}, naive_causal);
    }
  // All keys alike, at either end: their mean.
  for (const TestType x : {TestType(1e18), TestType(-1e18), TestType(0)}) {
    const Matrix<TestType> q = Matrix<TestType>::Constant(2, 1, x),
                           k = Matrix<TestType>::Constant(130, 1, TestType(1e18));
    const Matrix<TestType> v = Matrix<TestType>::NullaryExpr(130, 1, [](Index i, Index) { return TestType(i % 2); });
    CHECK(max_error(ef::attention(q, k, v), Matrix<double>::Constant(2, 1, 0.5)) < rounding<TestType>(64));
  }
}

TEMPLATE_TEST_CASE("a very unlikely key has no part in what is exact without it", "[kernels]", float, double) {
  // The second key's weight is below the smallest number; a hidden third one's is nothing at all.
  const Matrix<TestType> q = Matrix<TestType>::Constant(1, 1, 1);
  const Matrix<TestType> k{{TestType(0)}, {TestType(-2000)}, {TestType(5000)}};
  const Matrix<TestType> v{{TestType(1)}, {TestType(1e6)}, {TestType(1e6)}};
  Matrix<bool> mask(1, 3);
  mask << true, true, false;
  CHECK(ef::attention(q, k, v, ef::DenseMask(mask))(0, 0) == 1);
}

TEST_CASE("what a function makes of a hidden score, and of its derivative, does not matter", "[kernels]") {
  ef::Rng rng(6);
  const AttentionCase<float> c({1, 1, 5, 3, {9}, {9}}, rng);
  const auto over_distance = [](Index at_hidden) {  // divided by 0, or by something else, where Causal hides
    return ef::combine(ef::Causal{}, ef::score([at_hidden](auto s, const ef::ScorePosition& at) {
                         const int distance = at.query - at.key;
                         return s / static_cast<float>(distance >= 0 ? distance + 1 : static_cast<int>(at_hidden));
                       }));
  };
  const auto d_of = [&](const auto& score) {
    Attended<float> y{c.d_out, Matrix<float>(9, 1)};
    AttentionGradients<float> d{c.q, c.k, c.v};
    const auto q = ef::strided_view(c.q), k = ef::strided_view(c.k), v = ef::strided_view(c.v);
    ef::attention_forward<float>({q, k, v}, score, {}, {y.out, y.log_sum_exp});
    ef::attention_backward<float>({q, k, v}, score, {}, {y.out, y.log_sum_exp}, c.d_out, {d.q, d.k, d.v});
    return d;
  };
  const AttentionGradients<float> d = d_of(over_distance(0));
  CHECK(all_finite(d.q));
  CHECK(identical(d, d_of(over_distance(3))));
}

TEMPLATE_TEST_CASE("what is hidden reaches no gradient of a bias, through no function", "[kernels]", float, double) {
  ef::Rng rng(7);
  const AttentionCase<TestType> c({1, 1, 5, 3, {9}, {12}}, rng);  // of whose keys three are hidden from all
  const auto weights = random_matrix<TestType>(32, 1, rng);
  const auto d_weights_with = [&](TestType at_hidden) {
    Matrix<TestType> k = c.k, d_weights = Matrix<TestType>::Zero(32, 1);
    k.bottomRows(3).setConstant(at_hidden);
    const auto squared = ef::score([](auto s, const ef::ScorePosition&) { return s * s; });
    const ef::RelativeBias<TestType> bias(ef::strided_view(weights), {},
                                          ef::TensorView<TestType>(d_weights.data(), {32, 1}));
    const auto score = ef::combine(bias, squared, ef::Causal{});
    Attended<TestType> y{c.d_out, Matrix<TestType>(9, 1)};
    AttentionGradients<TestType> d{c.q, c.k, c.v};
    const auto q_view = ef::strided_view(c.q), k_view = ef::strided_view(k), v_view = ef::strided_view(c.v);
    ef::attention_forward<TestType>({q_view, k_view, v_view}, score, {}, {y.out, y.log_sum_exp});
    ef::attention_backward<TestType>({q_view, k_view, v_view}, score, {}, {y.out, y.log_sum_exp}, c.d_out,
                                     {d.q, d.k, d.v});
    return d_weights;
  };
  const Matrix<TestType> expected = d_weights_with(1);
  CHECK_FALSE(expected.isZero());
  const auto inf = std::numeric_limits<TestType>::infinity();
  for (const TestType bad : {std::numeric_limits<TestType>::quiet_NaN(), inf, -inf})
    CHECK(identical<TestType>(d_weights_with(bad), expected));
}
