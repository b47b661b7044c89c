#include "eigenformer/kernels/detail/attention/key_chunk.hpp"

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

// Two heads of keys and values, of different widths, in matrices whose rows are `stride` apart; two sequences, the
// second of `count` keys.
template <class Scalar>
struct Chunk {
  static constexpr Index before = 3, k_width = 20, v_width = 5, head = 1;
  Index rows, count;
  Matrix<Scalar> k, v, d_k, d_v;
  ef::AttentionOptions options;

  Chunk(Index keys, Index stride, ef::Rng& rng)
      : rows(before + keys),
        count(keys),
        k(random_matrix<Scalar>(rows, stride, rng)),
        v(random_matrix<Scalar>(rows, stride, rng)),
        d_k(Matrix<Scalar>::Constant(rows, stride, 77)),
        d_v(d_k),
        options{.heads = 2, .query_rows = {0, 1, 2}, .key_rows = {0, before, rows}} {}

  template <class Check>
  void work_on(Index queries, Index begin, Index end, Check check_chunk) {
    const auto layout = detail::attention_layout({2, 2 * k_width}, {rows, 2 * k_width}, {rows, 2 * v_width}, options);
    const auto read = [](const auto& m, Index width) {
      return detail::head_columns(ef::strided_view(m.leftCols(2 * width)), 2);
    };
    ef::MatrixRef<Scalar> k_gradient = d_k.leftCols(2 * k_width), v_gradient = d_v.leftCols(2 * v_width);
    const detail::BackwardRows<Scalar> all{read(k, k_width),
                                           read(k, k_width),
                                           read(v, v_width),
                                           read(v, v_width),
                                           read(v, v_width),
                                           {},
                                           {},
                                           detail::head_columns(k_gradient, 2),
                                           detail::head_columns(k_gradient, 2),
                                           detail::head_columns(v_gradient, 2)};
    ef::ScoreTile tile;
    tile.sequence = 1;
    tile.queries = queries;
    tile.keys = count;
    tile.key_begin = begin;
    tile.key_end = end;
    check_chunk(detail::KeyChunk<Scalar>(layout, all, head, tile));
  }
};

}  // namespace

TEMPLATE_TEST_CASE("a chunk has the rows of keys and values, and brings its gradients to where they belong",
                   "[kernels]", float, double) {
  ef::Rng rng(4);
  const Index together = 4096 / static_cast<Index>(sizeof(TestType));
  struct Case {
    Index stride, queries;
    bool collide;
  };
  for (const auto& [stride, queries, collide] : {Case{40, 200, false},
                                                 {together, 1, true},
                                                 {together + 1, 200, false},
                                                 {together / 2, 128, false},
                                                 {together / 2, 129, true}})
    for (const auto& [begin, end] : {std::pair<Index, Index>{0, 1}, {2, 18}, {1, 18}, {7, 300}}) {
      CAPTURE(stride, queries, begin, end);
      Chunk<TestType> c(300, stride, rng);
      using C = Chunk<TestType>;
      const Index first = C::before + begin, keys = end - begin;
      const auto sums_k = random_matrix<TestType>(keys, C::k_width, rng);
      const auto sums_v = random_matrix<TestType>(keys, C::v_width, rng);
      c.work_on(
          queries, begin, end, [&, begin = begin, end = end, collide = collide](detail::KeyChunk<TestType> chunk) {
            const detail::KeyRows<TestType> rows = chunk.rows(true);
            CHECK(rows.are_finite);
            CAPTURE(begin, end);
            const auto k = c.k.block(first, C::k_width, keys, C::k_width);
            const auto v = c.v.block(first, C::v_width, keys, C::v_width);
            CHECK(identical<TestType>(
                Matrix<TestType>::NullaryExpr(keys, C::k_width, [&](Index i, Index j) { return rows.keys(i, j); }), k));
            CHECK(identical<TestType>(
                Matrix<TestType>::NullaryExpr(keys, C::v_width, [&](Index i, Index j) { return rows.values(i, j); }),
                v));
            CHECK((rows.keys.data == k.data()) != collide);
            CHECK((rows.values.data == v.data()) != collide);
            CHECK((rows.d_k.data == &c.d_k(first, C::k_width)) != (collide && keys > 16));
            CHECK((rows.d_v.data == &c.d_v(first, C::v_width)) != (collide && keys > 16));
            for (Index i = 0; i < keys; ++i) {
              for (Index j = 0; j < C::k_width; ++j) CHECK(rows.d_k.row(i)[j] == 0);
              for (Index j = 0; j < C::v_width; ++j) CHECK(rows.d_v.row(i)[j] == 0);
            }
            // All of one before the other, which shows if their memories overlap.
            for (Index i = 0; i < keys; ++i) std::copy_n(sums_k.row(i).data(), C::k_width, rows.d_k.row(i));
            for (Index i = 0; i < keys; ++i) std::copy_n(sums_v.row(i).data(), C::v_width, rows.d_v.row(i));
            chunk.finish();
            CHECK(rows.keys(keys - 1, C::k_width - 1) == k(keys - 1, C::k_width - 1));
            CHECK(rows.values(keys - 1, C::v_width - 1) == v(keys - 1, C::v_width - 1));
          });
      auto d_k = c.d_k.block(first, C::k_width, keys, C::k_width);
      auto d_v = c.d_v.block(first, C::v_width, keys, C::v_width);
      CHECK(identical<TestType>(d_k, sums_k));
      CHECK(identical<TestType>(d_v, sums_v));
      d_k.setConstant(77);
      d_v.setConstant(77);
      CHECK((c.d_k.array() == TestType(77)).all());
      CHECK((c.d_v.array() == TestType(77)).all());
    }
}
