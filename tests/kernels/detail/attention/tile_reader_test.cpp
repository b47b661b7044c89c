#include "eigenformer/kernels/detail/attention/tile_reader.hpp"

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

template <class Stored>
detail::HeadRows<const Stored> heads_of(const Matrix<Stored>& rows, Index heads) {
  return detail::head_columns(ef::strided_view(rows), heads);
}
ef::ScoreTile second_sequence(Index begin, Index end) {
  ef::ScoreTile tile;
  tile.sequence = 1;
  tile.key_begin = begin;
  tile.key_end = end;
  return tile;
}
template <class Scalar>
Matrix<Scalar> values_of(const detail::Strided<Scalar>& m, Index rows, Index cols) {
  return Matrix<Scalar>::NullaryExpr(rows, cols, [&](Index i, Index j) { return m(i, j); });
}

}  // namespace

TEMPLATE_TEST_CASE("a tile is read where it lies, unless it is to be of whole packets", "[kernels]", float, double) {
  ef::Rng rng(1);
  constexpr Index lanes = ef::simd::lanes<TestType>;
  for (const Index columns : {Index{10}, 4 * lanes}) {
    const auto m = random_matrix<TestType>(30, columns, rng);
    const ef::AttentionOptions options{.heads = 2, .query_rows = {0, 1, 2}, .key_rows = {0, 5, 30}};
    const auto layout = detail::attention_layout({2, columns}, {30, columns}, {30, columns}, options);
    const Index width = columns / 2;
    const Matrix<TestType> expected = m.block(5 + 3, width, 9, width);
    detail::TileReader<TestType> reader, packet_reader;
    const auto read = reader.read(heads_of(m, 2), layout, 1, second_sequence(3, 12));
    CHECK(identical<TestType>(values_of(read, 9, width), expected));
    CHECK(read.data == &m(8, width));
    const auto packets = packet_reader.read_packets(heads_of(m, 2), layout, 1, second_sequence(3, 12));
    CHECK(identical<TestType>(values_of(packets, 9, width), expected));
    CHECK((packets.data == &m(8, width)) == (width % lanes == 0));
    if (width % lanes != 0)  // filled up with zeros
      CHECK(
          (values_of(packets, 9, detail::padded<TestType>(width)).rightCols(lanes - width % lanes).array() == 0).all());
  }
}

TEMPLATE_TEST_CASE("a tile of colliding rows is copied, and of many every other of which collides", "[kernels]", float,
                   double) {
  ef::Rng rng(3);
  const Index together = 4096 / static_cast<Index>(sizeof(TestType));
  const Index large = detail::TileReader<TestType>::capacity / 40 + 30;  // more than there is room for on the stack
  for (const Index keys : {Index{256}, Index{257}, large})
    for (const Index stride : {together, together + 1, 3 * together, together / 2, 3 * together / 2, together / 4}) {
      CAPTURE(keys, stride);
      const auto m = random_matrix<TestType>(1 + keys, stride, rng);
      const auto head = m.middleCols(3, 2 * 40);
      const auto heads = detail::head_columns(ef::strided_view(head), 2);
      const ef::AttentionOptions options{.heads = 2, .query_rows = {0, 1, 2}, .key_rows = {0, 1, 1 + keys}};
      const auto layout = detail::attention_layout({2, 80}, {1 + keys, 80}, {1 + keys, 80}, options);
      using Reader = detail::TileReader<TestType>;
      const bool copies = stride % together == 0 || (stride % (together / 2) == 0 && keys > 256);
      CHECK(Reader::copies(heads, layout, 129, keys) == copies);
      CHECK(Reader::copies(heads, layout, 128, keys) == (stride % together == 0));
      Reader reader;
      for (const auto& [begin, end] : {std::pair<Index, Index>{0, 7}, {5, 29}, {0, keys}, {keys - 1, keys}}) {
        ef::ScoreTile tile = second_sequence(begin, end);
        tile.queries = 129;
        tile.keys = keys;
        const auto read = reader.read(heads, layout, 1, tile);
        CHECK(identical<TestType>(values_of(read, end - begin, 40), m.block(1 + begin, 43, end - begin, 40)));
        CHECK((read.data == &m(1 + begin, 43)) != copies);
      }
    }
}

TEST_CASE("a tile of 16 bits is read as float, also through an index", "[kernels]") {
  ef::Rng rng(2);
  const Matrix<float> exact = random_matrix<float>(30, 12, rng);
  const std::vector<Index> index{3, 29, 0, 7, 7};
  const auto check_stored = [&](auto stored) {
    using Stored = decltype(stored);
    const Matrix<Stored> m = exact.template cast<Stored>();
    const Matrix<float> rounded = m.template cast<float>();
    const ef::AttentionOptions options{.heads = 3, .query_rows = {0, 1, 2}, .key_rows = {0, 1, 30}};
    const auto layout = detail::attention_layout({2, 12}, {30, 12}, {30, 12}, options);
    detail::TileReader<float> reader;
    CHECK(identical<float>(values_of(reader.read(heads_of(m, 3), layout, 2, second_sequence(4, 9)), 5, 4),
                           rounded.block(5, 8, 5, 4)));
    const ef::AttentionOptions indexed{.heads = 3, .query_rows = {0, 1, 2}, .key_rows = {0, 1, 5}, .key_index = index};
    const auto by_index = detail::attention_layout({2, 12}, {30, 12}, {30, 12}, indexed);
    const auto picked = values_of(reader.read(heads_of(m, 3), by_index, 0, second_sequence(0, 4)), 4, 4);
    for (Index i = 0; i < 4; ++i)
      CHECK(identical<float>(picked.row(i), rounded.row(index[static_cast<std::size_t>(i + 1)]).head(4)));
  };
  check_stored(Eigen::half());
  check_stored(Eigen::bfloat16());
  check_stored(float());
}
