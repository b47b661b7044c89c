#include "eigenformer/kernels/detail/attention/score_matrix.hpp"

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

TEMPLATE_TEST_CASE("each sequence and head has a matrix of its scores", "[kernels]", float, double) {
  ef::Rng rng(12);
  const auto q = random_matrix<TestType>(5, 6, rng), k = random_matrix<TestType>(7, 6, rng);
  const ef::AttentionOptions options{.heads = 2, .query_rows = {0, 2, 2, 5}, .key_rows = {0, 3, 4, 7}};
  const auto layout = detail::attention_layout(ef::shape(q), ef::shape(k), ef::shape(k), options);
  Index count = 0;
  detail::for_each_score_matrix<TestType>(layout, ef::strided_view(q), ef::strided_view(k),
                                          detail::ErasedScore<TestType>(ef::Unmasked{}, std::false_type{}), nullptr,
                                          [&](const ef::ScoreTile& tile, const auto& scores) {
                                            ++count;
                                            const Index first = layout.key_rows.begin(tile.sequence);
                                            const Matrix<TestType> expected =
                                                q.block(tile.first_row, 3 * tile.head, tile.queries, 3) *
                                                k.block(first, 3 * tile.head, tile.keys, 3).transpose() /
                                                std::sqrt(TestType(3));
                                            CHECK(max_error(scores, expected) <= rounding<TestType>(64));
                                          });
  CHECK(count == 4);  // the sequence without queries has none
}

TEMPLATE_TEST_CASE("each query's weights are its scores' softmax", "[kernels]", float, double) {
  const TestType hidden = ef::hidden_score<TestType>;
  detail::ScoreMatrix<TestType> scores(3, 2);
  scores << 1, 1, hidden, 5, hidden, hidden;
  detail::softmax_of_queries(scores);
  CHECK(scores == (detail::ScoreMatrix<TestType>(3, 2) << TestType(0.5), TestType(0.5), 0, 1, 0, 0).finished());
}
