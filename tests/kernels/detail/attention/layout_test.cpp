#include "eigenformer/kernels/detail/attention/layout.hpp"

#include <numeric>
#include <vector>

#include "eigenformer/kernels/detail/attention/head_rows.hpp"
#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::AttentionOptions;
using ef::Index;
using ef::Matrix;
using ef::Shape;
using namespace ef::testing;

namespace {

std::string message(Shape q, Shape k, Shape v, const AttentionOptions& options) {
  return message_of([&] { detail::attention_layout(q, k, v, options); });
}

}  // namespace

TEST_CASE("a layout has the widths of one head, and every option's default", "[kernels]") {
  const detail::AttentionLayout plain = detail::attention_layout({5, 12}, {7, 12}, {7, 9}, {.heads = 3});
  CHECK(plain.heads == 3);
  CHECK(plain.key_heads == 3);
  CHECK(plain.key_width == 4);
  CHECK(plain.value_width == 3);
  CHECK(plain.scale == 0.5);
  CHECK(plain.query_rows == ef::RowOffsets{0, 5});
  CHECK(plain.key_rows == ef::RowOffsets{0, 7});
  CHECK(plain.sequences() == 1);
  for (Index h = 0; h < 3; ++h) CHECK(plain.key_head(h) == h);

  const std::vector<Index> index{6, 6, 0, 1};
  const detail::AttentionLayout grouped = detail::attention_layout(
      {5, 24}, {7, 8}, {7, 10},
      {.heads = 6, .key_heads = 2, .scale = 2.5, .query_rows = {0, 1, 5}, .key_rows = {0, 3, 4}, .key_index = index});
  CHECK(grouped.key_heads == 2);
  CHECK(grouped.key_width == 4);
  CHECK(grouped.value_width == 5);
  CHECK(grouped.scale == 2.5);
  CHECK(grouped.sequences() == 2);
  CHECK(grouped.key_rows == ef::RowOffsets{0, 3, 4});
  CHECK(grouped.key_index.data() == index.data());
  const Index key_heads[] = {0, 0, 0, 1, 1, 1};
  for (Index h = 0; h < 6; ++h) CHECK(grouped.key_head(h) == key_heads[h]);
}

TEST_CASE("a layout without rows fits", "[kernels]") {
  CHECK(message({0, 4}, {0, 4}, {0, 4}, {}) == "nothing was thrown");
  CHECK(message({0, 4}, {7, 4}, {7, 0}, {}) == "nothing was thrown");
  CHECK(message({0, 4}, {0, 4}, {0, 4}, {.query_rows = {0}, .key_rows = {0}}) == "nothing was thrown");
  CHECK(message({5, 4}, {0, 4}, {0, 4}, {.query_rows = {0, 5}, .key_rows = {0, 0}}) == "nothing was thrown");
}

TEST_CASE("what does not fit is named, with its shapes", "[kernels]") {
  const Shape q{5, 12}, k{7, 12}, v{7, 9};
  CHECK(message(q, k, v, {.heads = 0}) == "attention: 0 heads and 0 key heads, expected at least 1 of each");
  CHECK(message(q, k, v, {.heads = -3}) == "attention: -3 heads and -3 key heads, expected at least 1 of each");
  CHECK(message(q, k, v, {.heads = 3, .key_heads = 2}) ==
        "attention: 3 heads cannot share 2 key heads, expected a multiple");
  CHECK(message(q, k, v, {.heads = 3, .key_heads = 6}) ==
        "attention: 3 heads cannot share 6 key heads, expected a multiple");
  CHECK(message(q, k, v, {.heads = 3, .key_heads = -3}) ==
        "attention: 3 heads and -3 key heads, expected at least 1 of each");
  CHECK(message(q, k, v, {.heads = 5}) == "attention: q is [5 x 12], expected a width that 5 heads divide");
  CHECK(message({5, 0}, {7, 0}, v, {}) == "attention: q is [5 x 0], expected at least 1 column for each of 1 heads");
  CHECK(message(q, {7, 8}, v, {.heads = 3}) ==
        "attention: q is [5 x 12], k is [7 x 8], expected 12 columns in k (heads 3, key_heads 3)");
  CHECK(message(q, k, v, {.heads = 3, .key_heads = 1}) ==
        "attention: q is [5 x 12], k is [7 x 12], expected 4 columns in k (heads 3, key_heads 1)");
  CHECK(message(q, k, {7, 8}, {.heads = 3}) == "attention: v is [7 x 8], expected a width that 3 key heads divide");
  CHECK(message(q, k, {6, 9}, {.heads = 3}) ==
        "attention: k is [7 x 12], v is [6 x 9], expected equal numbers of rows");
  for (const double rate : {-0.25, 1.0, 1.5, std::numeric_limits<double>::quiet_NaN()}) {
    const std::string m = message(q, k, v, {.heads = 3, .dropout = rate});
    CHECK(m.find("attention: dropout is ") == 0);
    CHECK(m.find(", expected 0 or more and less than 1") != std::string::npos);
  }
  CHECK(message(q, k, v, {.heads = 3, .scale = std::numeric_limits<double>::infinity()}) ==
        "attention: scale is inf, expected a finite number");
  CHECK(message(q, k, v, {.heads = 3, .query_rows = {0, 4}, .key_rows = {0, 7}}) ==
        "attention: q has 5 rows, its offsets end at 4");
  CHECK(message(q, k, v, {.heads = 3, .query_rows = {0, 5}, .key_rows = {0, 8}}) ==
        "attention: k has 7 rows, its offsets end at 8");
  CHECK(message(q, k, v, {.heads = 3, .query_rows = {0, 2, 5}, .key_rows = {0, 7}}) ==
        "attention: sequences in query_rows: 2, in key_rows: 1, expected equally many");
  CHECK(message(q, k, v, {.heads = 3, .query_rows = {0, 2, 5}}) ==
        "attention: sequences in query_rows: 2, in key_rows: 1, expected equally many");
  const std::vector<Index> beyond{0, 7}, negative{0, -1}, fits{6, 0, 6};
  CHECK(message(q, k, v, {.heads = 3, .key_index = beyond}) == "attention: key_index has 7, k is [7 x 12]");
  CHECK(message(q, k, v, {.heads = 3, .key_index = negative}) == "attention: key_index has -1, k is [7 x 12]");
  CHECK(message(q, k, v, {.heads = 3, .key_rows = {0, 7}, .key_index = fits}) ==
        "attention: key_index has 3 rows, its offsets end at 7");
}

TEST_CASE("dropout needs a draw for every pair", "[kernels]") {
  constexpr Index keys = Index{1} << 24;
  const ef::AttentionOptions options{.dropout = 0.5};
  CHECK(message({5, 4}, {keys, 4}, {keys, 4}, options) == "nothing was thrown");
  CHECK(message({5, 4}, {keys + 1, 4}, {keys + 1, 4}, {}) == "nothing was thrown");
  CHECK(message({5, 4}, {keys + 1, 4}, {keys + 1, 4}, options) ==
        "attention: dropout with 16777217 keys in a sequence, 5 queries and 1 heads, expected at most 16777216, "
        "1073741824 and 16384");
  CHECK(message({5, 4}, {2 * keys, 4}, {2 * keys, 4},
                {.query_rows = {0, 2, 5}, .key_rows = {0, keys, 2 * keys}, .dropout = 0.5}) == "nothing was thrown");
  CHECK(message({5, 16385}, {7, 16385}, {7, 16385}, {.heads = 16385, .dropout = 0.5}) != "nothing was thrown");
  CHECK(message({(Index{1} << 30) + 1, 4}, {7, 4}, {7, 4}, options) != "nothing was thrown");
}

TEST_CASE("an empty key_index names no keys", "[kernels]") {
  const std::vector<Index> none;
  const detail::AttentionLayout layout =
      detail::attention_layout({5, 12}, {7, 12}, {7, 9}, {.heads = 3, .key_index = none});
  CHECK(layout.key_rows == ef::RowOffsets{0, 0});
  CHECK(message({0, 4}, {7, 4}, {7, 4}, {.query_rows = {0}, .key_rows = {0}, .key_index = none}) ==
        "nothing was thrown");
  CHECK(message({5, 4}, {7, 4}, {7, 4}, {.key_rows = {0, 7}, .key_index = none}) ==
        "attention: key_index has 0 rows, its offsets end at 7");
}

TEST_CASE("heads are column blocks, through any strides", "[kernels]") {
  std::vector<float> memory(200);
  std::iota(memory.begin(), memory.end(), 0.0F);
  for (const ef::Sizes& strides : {ef::Sizes{12, 1}, {1, 5}, {26, 2}}) {
    const ef::TensorView<float> matrix(memory.data(), {5, 12}, strides);
    const detail::HeadRows<float> rows = detail::head_columns(matrix, 3);
    CHECK(rows.width == 4);
    for (Index h = 0; h < 3; ++h)
      for (Index i = 0; i < 5; ++i) {
        CHECK(rows.row(h, i) == &matrix(i, h * 4));
        const detail::Strided<float> from = rows.from(h, i);
        for (Index j = 0; j < 4; ++j) CHECK(from.data + j * from.col_stride == &matrix(i, h * 4 + j));
        if (i < 4) CHECK(from.data + from.row_stride == &matrix(i + 1, h * 4));
        const detail::Strided<float> across = detail::transposed(from);
        CHECK(across.row_stride == from.col_stride);
        CHECK(across.col_stride == from.row_stride);
      }
  }
  Matrix<float> wide(5, 20);
  ef::MatrixRef<float> part = wide.middleCols(3, 12);
  const detail::HeadRows<float> written = detail::head_columns(part, 3);
  CHECK(written.row(2, 4) == &wide(4, 3 + 8));
  CHECK(written.col_stride == 1);
}
