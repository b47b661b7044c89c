#include "eigenformer/kernels/detail/attention/backward_tile.hpp"

#include <algorithm>
#include <cmath>

#include "eigenformer/kernels/scores.hpp"
#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

struct Gradients {
  Matrix<double> q, k, v;
};

// By the formulas of attention_backward.hpp, a matrix each. Query i sees the keys up to i + past.
struct Written {
  Matrix<double> weights, out, log_sum_exp;
  Gradients d;

  Written(const Matrix<double>& q, const Matrix<double>& k, const Matrix<double>& v, const Matrix<double>& d_out,
          double scale, Index past) {
    weights = (scale * q * k.transpose()).array().exp();
    for (Index i = 0; i < q.rows(); ++i)
      for (Index j = std::max<Index>(0, i + past + 1); j < k.rows(); ++j) weights(i, j) = 0;
    const Matrix<double> sums = weights.rowwise().sum();
    log_sum_exp = sums.array().log();
    for (Index i = 0; i < q.rows(); ++i)
      if (sums(i, 0) > 0) weights.row(i) /= sums(i, 0);
    out = weights * v;
    const Matrix<double> d_weights = d_out * v.transpose();
    const Eigen::VectorXd delta = (out.array() * d_out.array()).rowwise().sum();
    const Matrix<double> d_scores = weights.array() * (d_weights.colwise() - delta).array();
    d = {scale * d_scores * k, scale * d_scores.transpose() * q, weights.transpose() * d_out};
  }
};

}  // namespace

TEMPLATE_TEST_CASE("a tile of queries gives the gradients of its formulas, over keys in any pieces", "[kernels]", float,
                   double) {
  using Tile = detail::BackwardTile<TestType, true, 0>;
  ef::Rng rng(1);
  struct Sizes {
    Index max_queries, keys, d, e;
  };
  const Sizes sizes[] = {{1, 1, 1, 1}, {3, 5, 7, 2}, {48, 64, 64, 64}, {17, 40, 9, 33}, {48, 10, 300, 5}};
  for (const Sizes& s : sizes)
    for (const bool causal : {false, true}) {
      const Index keys = s.keys, d = s.d, e = s.e;
      CAPTURE(s.max_queries, keys, d, e, causal);
      const detail::AttentionLayout layout =
          detail::attention_layout({s.max_queries, d}, {keys, d}, {keys, e}, {.heads = 1});
      Tile tile(layout);
      REQUIRE(tile.capacity() >= 1);
      REQUIRE(keys <= Tile::key_capacity);
      const Index queries = std::min(s.max_queries, tile.capacity());
      const double scale = 1 / std::sqrt(static_cast<double>(d));
      const Index past = causal ? 2 - queries / 2 : keys;  // so that some queries see nothing
      const auto q = random_matrix<TestType>(queries, d, rng), k = random_matrix<TestType>(keys, d, rng),
                 v = random_matrix<TestType>(keys, e, rng), d_out = random_matrix<TestType>(queries, e, rng);
      const Written expected(q.template cast<double>(), k.template cast<double>(), v.template cast<double>(),
                             d_out.template cast<double>(), scale, past);
      const Matrix<TestType> out = expected.out.template cast<TestType>();
      const Matrix<TestType> log_sum_exp = expected.log_sum_exp.template cast<TestType>();
      Matrix<TestType> d_q = Matrix<TestType>::Ones(queries, d), d_k = Matrix<TestType>::Ones(keys, d),
                       d_v = Matrix<TestType>::Ones(keys, e);  // what is there is added to

      const auto head = [](auto& m) { return detail::head_columns(ef::strided_view(m), 1); };
      ef::MatrixRef<TestType> d_q_ref = d_q, d_k_ref = d_k, d_v_ref = d_v;
      const detail::BackwardRows<TestType> rows{head(q),
                                                head(k),
                                                head(v),
                                                head(out),
                                                head(d_out),
                                                head(log_sum_exp),
                                                {},
                                                detail::head_columns(d_q_ref, 1),
                                                detail::head_columns(d_k_ref, 1),
                                                detail::head_columns(d_v_ref, 1)};
      ef::ScoreTile all;
      all.queries = all.query_end = queries;
      all.keys = keys;
      tile.load(rows, all, scale);
      tile.clear_d_q();
      const auto mask = ef::mask([past](const ef::ScorePosition& at) { return at.key <= at.query + past; });
      for (all.key_begin = 0; all.key_begin < keys; all.key_begin = all.key_end) {
        all.key_end = std::min(keys, all.key_begin + 23);
        const auto add = [&](const auto& score) {
          using Call = detail::BackwardCall<TestType, std::remove_cvref_t<decltype(score)>>;
          const detail::TilePart part{all, causal ? ef::Visible::some : ef::Visible::all, 0, 0, 0, 0};
          tile.add(Call{layout, score, detail::AttentionDropout(0, {}), rows}, part, 0,
                   {rows.k.from(0, all.key_begin),
                    rows.v.from(0, all.key_begin),
                    {&d_k(all.key_begin, 0), d},
                    {&d_v(all.key_begin, 0), e}});
        };
        if (causal)
          add(mask);
        else
          add(ef::Unmasked{});
      }
      tile.add_d_q({d_q.data(), d});
      CHECK(max_error(d_q, (expected.d.q.array() + 1).matrix()) < rounding<TestType>(256));
      CHECK(max_error(d_k, (expected.d.k.array() + 1).matrix()) < rounding<TestType>(256));
      CHECK(max_error(d_v, (expected.d.v.array() + 1).matrix()) < rounding<TestType>(256));
    }
}
