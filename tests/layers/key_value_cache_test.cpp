#include "eigenformer/layers/key_value_cache.hpp"

#include <array>

#include "eigenformer/kernels/attention.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::testing::message_of;
using ef::testing::random_matrix;

namespace {

/// Returns the rows of a sequence in the buffer of a layer.
Matrix<double> rows_of(const ef::KeyValueCache<double>& cache, const ef::Variable<double>& buffer, Index sequence) {
  const ef::KeyPages pages = cache.table().key_pages();
  std::size_t page = 0;
  for (Index s = 0; s < sequence; ++s)
    page += static_cast<std::size_t>((cache.length(s) + pages.page_size - 1) / pages.page_size);
  Matrix<double> rows(cache.length(sequence), buffer.cols());
  for (Index t = 0; t < rows.rows(); ++t)
    rows.row(t) = buffer.value().row(
        pages.pages[page + static_cast<std::size_t>(t / pages.page_size)] * pages.page_size + t % pages.page_size);
  return rows;
}

Matrix<double> with_row(const Matrix<double>& rows, const Matrix<double>& added) {
  Matrix<double> all(rows.rows() + added.rows(), added.cols());
  all << rows, added;
  return all;
}

}  // namespace

TEST_CASE("a cache keeps the keys and values of each layer and sequence, however sequences part", "[layers]") {
  const std::uint64_t seed = GENERATE(1U, 2U);
  const Index page_size = GENERATE(1, 3, 16);
  CAPTURE(seed, page_size);
  ef::Rng rng(seed);
  ef::KeyValueCache<double> cache({.layers = 2, .page_size = page_size});
  struct Rows {
    Matrix<double> keys = Matrix<double>(0, 3), values = Matrix<double>(0, 2);
  };
  std::vector<std::array<Rows, 2>> expected(2);
  cache.add(2);
  for (int step = 0; step < 60; ++step) {
    std::vector<Index> parents(static_cast<std::size_t>(1 + rng.randint(6)));
    std::vector<std::array<Rows, 2>> next;
    for (Index& parent : parents) {
      parent = rng.randint(static_cast<Index>(expected.size()));
      next.push_back(expected[static_cast<std::size_t>(parent)]);
    }
    cache.branch(parents);
    cache.extend();
    expected = next;
    for (Index layer = 0; layer < 2; ++layer) {
      const auto keys = random_matrix<double>(cache.sequences(), 3, rng);
      const auto values = random_matrix<double>(cache.sequences(), 2, rng);
      cache.write(layer, keys, values);
      for (std::size_t s = 0; s < expected.size(); ++s) {
        Rows& rows = expected[s][static_cast<std::size_t>(layer)];
        rows.keys = with_row(rows.keys, keys.row(static_cast<Index>(s)));
        rows.values = with_row(rows.values, values.row(static_cast<Index>(s)));
      }
    }
    for (Index layer = 0; layer < 2; ++layer)
      for (std::size_t s = 0; s < expected.size(); ++s) {
        const Rows& rows = expected[s][static_cast<std::size_t>(layer)];
        REQUIRE(rows_of(cache, cache.keys(layer), static_cast<Index>(s)) == rows.keys);
        REQUIRE(rows_of(cache, cache.values(layer), static_cast<Index>(s)) == rows.values);
      }
  }
  cache.branch({});
  CHECK(cache.table().used_pages() == 0);
}

TEST_CASE("attention through a cache is that over rows in order", "[layers]") {
  const std::uint64_t seed = 3;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto prompt = random_matrix<float>(37, 8, rng), tokens = random_matrix<float>(16, 8, rng),
             q = random_matrix<float>(16, 8, rng);
  ef::KeyValueCache<float> cache({.page_size = 8});
  cache.add(1);
  cache.extend(std::vector<Index>{37});
  cache.write(0, prompt, 2 * prompt);
  cache.branch(std::vector<Index>(16, 0));
  cache.extend();
  cache.write(0, tokens, 2 * tokens);
  CHECK(cache.table().used_pages() == 4 + 16);
  const Matrix<float> y = ef::attention(q, cache.keys(0).value(), cache.values(0).value(), cache.options({.heads = 2}));
  for (Index s = 0; s < 16; ++s) {
    Matrix<float> all(38, 8);
    all << prompt, tokens.row(s);
    CHECK(y.row(s) == ef::attention(q.row(s), all, 2 * all, {.heads = 2}));
  }
}

TEST_CASE("a cache that has been as large before allocates nothing", "[layers]") {
  ef::KeyValueCache<float> cache({.layers = 3});
  const Matrix<float> keys = Matrix<float>::Ones(10, 32), values = Matrix<float>::Ones(10, 16);
  std::vector<Index> parents{1, 0, 0, 3, 2, 5, 5, 6, 6, 6};
  const auto run = [&](bool branches) {
    cache.branch({});
    cache.add(10);
    for (int step = 0; step < 70; ++step) {
      if (branches) cache.branch(parents);
      cache.extend();
      for (Index layer = 0; layer < 3; ++layer) cache.write(layer, keys, values);
    }
  };
  run(false);  // as many pages as there can be
  run(true);
  const ef::testing::AllocationCount allocations(1);
  run(true);
  CHECK(allocations.count() == 0);
  if (!ef::testing::can_count_allocations()) WARN("allocations are not counted in this build");
}

TEST_CASE("what does not fit a cache is named", "[layers]") {
  CHECK(message_of([] { ef::KeyValueCache<float>({.layers = -1}); }) ==
        "KeyValueCache: layers is -1, expected 0 or more");
  ef::KeyValueCache<float> cache({.layers = 2, .page_size = 4});
  cache.add(2);
  cache.extend();
  const Matrix<float> two = Matrix<float>::Ones(2, 3), wide = Matrix<float>::Ones(2, 5),
                      three = Matrix<float>::Ones(3, 3);
  CHECK(message_of([&] { cache.write(2, two, two); }) == "KeyValueCache: layer 2 does not exist, there are 2");
  CHECK(message_of([&] { cache.keys(-1); }) == "KeyValueCache: layer -1 does not exist, there are 2");
  CHECK(message_of([&] { cache.write(0, three, two); }) ==
        "KeyValueCache: keys are [3 x 3], values are [2 x 3], expected 2 rows, one per new token");
  const std::string unwritten = " lacks the tokens that the last extend() added, expected a write() after it";
  CHECK(message_of([&] { cache.keys(0); }) == "KeyValueCache: layer 0" + unwritten);
  cache.write(0, two, wide);
  CHECK(message_of([&] { cache.write(0, two, two); }) ==
        "KeyValueCache: keys are [2 x 3], values are [2 x 3], expected 3 and 5 columns");
  CHECK(message_of([&] { cache.branch(std::vector<Index>{2}); }) == "PageTable: parent 2 does not exist, there are 2");
  CHECK(cache.values(0).cols() == 5);
  CHECK(cache.sequences() == 2);
  // The page has room for the new tokens, so only a count tells that they were not written.
  cache.write(1, two, two);
  cache.extend();
  cache.write(0, two, wide);
  CHECK(cache.keys(0).rows() == 8);
  CHECK(message_of([&] { cache.keys(1); }) == "KeyValueCache: layer 1" + unwritten);
  CHECK(message_of([&] { cache.values(1); }) == "KeyValueCache: layer 1" + unwritten);
  cache.write(1, two, two);
  cache.extend(std::vector<Index>{0, 0});
  CHECK(cache.keys(1).rows() == 8);
  // A later write() does not make up for tokens that were never written.
  cache.extend();
  cache.write(0, two, wide);
  cache.extend();
  cache.write(0, two, wide);
  CHECK(message_of([&] { cache.write(1, two, two); }) ==
        "KeyValueCache: layer 1 lacks the tokens of an earlier extend(), expected a write() after each");
  // Without tokens, no layer lacks any, and a view has no more rows than the layer has stored.
  cache.extend(std::vector<Index>{100, 100});
  cache.write(0, Matrix<float>::Ones(200, 3), Matrix<float>::Ones(200, 5));
  cache.branch({});
  CHECK(cache.keys(0).rows() >= 200);
  CHECK(cache.keys(1).rows() < 200);
  cache.add(2);
  cache.extend();
  cache.write(1, two, two);
  CHECK(cache.keys(1).rows() >= 4);
}
