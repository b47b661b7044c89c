#include "eigenformer/kernels/rows.hpp"

#include <array>
#include <cstdint>
#include <span>

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Token;
using namespace ef::testing;

namespace {

template <class Id>
std::vector<Id> random_ids(Index count, Index vocabulary_size, ef::Rng& rng) {
  std::vector<Id> ids;
  for (Index i = 0; i < count; ++i) ids.push_back(static_cast<Id>(rng.randint(vocabulary_size)));
  return ids;
}

}  // namespace

TEMPLATE_TEST_CASE("rows are gathered, and gradients go back", "[kernels][threads]", float, double) {
  const auto seed = GENERATE(171U, 172U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Index count : {0, 1, 7, 1000})
    for (const Index features : {1, 3, 64, 200}) {
      CAPTURE(count, features);
      const Index vocabulary_size = 11;  // so that ids come many times
      const auto table = random_matrix<TestType>(vocabulary_size, features, rng);
      const auto ids = random_ids<Token>(count, vocabulary_size, rng);
      const auto y = run_every_way<TestType>({table}, {{count, features}}, [&](auto& in, auto& out, auto* threads) {
        ef::gather_rows_forward<TestType>(in[0], ids, out[0], threads);
      })[0];
      for (Index i = 0; i < count; ++i)
        REQUIRE((y.row(i).array() == table.row(ids[static_cast<std::size_t>(i)]).array()).all());

      const auto d_y = random_matrix<TestType>(count, features, rng);
      const auto before = random_matrix<TestType>(vocabulary_size, features, rng);
      const auto d_table =
          run_every_way<TestType>({d_y}, {{vocabulary_size, features}}, [&](auto& in, auto& out, auto* threads) {
            out[0] = before;
            ef::scatter_add_rows<TestType>(ids, in[0], out[0], threads);
          })[0];
      Matrix<double> expected = before.template cast<double>();
      for (Index i = 0; i < count; ++i)
        for (Index j = 0; j < features; ++j)
          expected(ids[static_cast<std::size_t>(i)], j) += static_cast<double>(d_y(i, j));
      CHECK(max_error(d_table, expected) < tolerance<TestType>(64));
    }
}

TEST_CASE("ids may be tokens or indices, and the table any Eigen matrix", "[kernels]") {
  ef::Rng rng(181);
  const auto table = random_matrix<float>(5, 3, rng);
  const std::vector<Token> tokens{4, 0, 0, 2};
  const std::vector<Index> indices{4, 0, 0, 2};
  Matrix<float> expected(4, 3);
  expected << table.row(4), table.row(0), table.row(0), table.row(2);
  CHECK(identical<float>(ef::gather_rows(table, tokens), expected));
  CHECK(identical<float>(ef::gather_rows(table, indices), expected));
  std::array<std::int16_t, 4> narrow{4, 0, 0, 2};
  CHECK(identical<float>(ef::gather_rows(table, narrow), expected));
  CHECK(identical<float>(ef::gather_rows(table, std::span(narrow)), expected));
  const Eigen::MatrixXf by_columns = table;
  CHECK(identical<float>(ef::gather_rows(by_columns, tokens), expected));
  CHECK(identical<float>(ef::gather_rows(2 * by_columns, tokens), 2 * expected));

  Matrix<float> by_tokens = Matrix<float>::Zero(5, 3);
  Matrix<float> by_indices = Matrix<float>::Zero(5, 3);
  ef::scatter_add_rows<float>(tokens, expected, by_tokens);
  ef::scatter_add_rows<float>(indices, expected, by_indices);
  CHECK(identical<float>(by_tokens, by_indices));
  CHECK(identical<float>(by_tokens.row(0), 2 * table.row(0)));
}

TEST_CASE("an id beyond the table is named before anything is written", "[kernels]") {
  const Matrix<float> table = Matrix<float>::Ones(5, 3);
  const std::vector<Token> too_large{0, 1, 5};
  const std::vector<Index> negative{0, -1};
  Matrix<float> y = Matrix<float>::Zero(3, 3);
  CHECK(message_of([&] { ef::gather_rows_forward<float>(table, too_large, y); }) ==
        "gather_rows: id 5 at 2, the table has 5 rows");
  CHECK((y.array() == 0).all());
  CHECK(message_of([&] { ef::gather_rows(table, negative); }) == "gather_rows: id -1 at 1, the table has 5 rows");
  Matrix<float> d_table = Matrix<float>::Zero(5, 3);
  CHECK(message_of([&] { ef::scatter_add_rows<float>(too_large, Matrix<float>::Ones(3, 3), d_table); }) ==
        "scatter_add_rows: id 5 at 2, the table has 5 rows");
  CHECK((d_table.array() == 0).all());

  const std::vector<Token> ids{0, 1};
  CHECK(message_of([&] { ef::gather_rows_forward<float>(table, ids, y); }) ==
        "gather_rows: y is [3 x 3], expected [2 x 3]");
  CHECK(message_of([&] { ef::scatter_add_rows<float>(ids, y, d_table); }) ==
        "scatter_add_rows: d_y is [3 x 3], expected [2 x 3]");
}
