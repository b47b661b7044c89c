#include "eigenformer/kernels/attention_dropout.hpp"

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::detail::AttentionDropout;
using namespace ef::testing;

namespace {

// The factors of weights of one: queries and keys of a sequence that begins at first_row.
template <class Scalar>
Matrix<Scalar> factors(const AttentionDropout& dropout, Index head, Index first_row, Index query_begin, Index queries,
                       Index key_begin, Index keys) {
  ef::ScoreTile tile;
  tile.head = head;
  tile.first_row = first_row;
  tile.query_begin = query_begin;
  tile.query_end = query_begin + queries;
  tile.key_begin = key_begin;
  tile.key_end = key_begin + keys;
  Matrix<Scalar> weights = Matrix<Scalar>::Ones(queries, keys);
  dropout.apply(tile, weights.data(), keys, 1);
  return weights;
}

// How far the number of kept ones is from what chance gives, in deviations.
template <class Derived>
double deviations(const Eigen::MatrixBase<Derived>& m, double kept) {
  const double size = static_cast<double>(m.size());
  const double count = static_cast<double>((m.array() != 0).count());
  return std::abs(count - size * kept) / std::sqrt(size * kept * (1 - kept));
}

// Whether two masks agree no more and no less often than independent ones.
template <class A, class B>
bool independent(const Eigen::MatrixBase<A>& a, const Eigen::MatrixBase<B>& b, double kept) {
  const Eigen::MatrixXd agree = ((a.array() != 0) == (b.array() != 0)).template cast<double>();
  return deviations(agree, kept * kept + (1 - kept) * (1 - kept)) < 4.5;
}

}  // namespace

TEMPLATE_TEST_CASE("weights are dropped at their rate, and keep their expectation", "[kernels]", float, double) {
  const auto seed = GENERATE(1U, 2U);
  CAPTURE(seed);
  for (const double rate : {0.1, 0.25, 0.5, 0.9, 0.999}) {
    CAPTURE(rate);
    const AttentionDropout dropout(rate, {seed, 0});
    CHECK(dropout.active());
    const double kept = 1 - std::min(std::round(rate * 256), 255.0) / 256;
    CHECK(std::abs(kept - (1 - rate)) <= 0.5 / 256 + 1 / 256.0 * (rate > 0.99));
    const Matrix<TestType> m = factors<TestType>(dropout, 1, 7, 0, 300, 0, 320);
    CHECK(deviations(m, kept) < 4.5);
    for (Index place = 0; place < 16; ++place) {  // of a key within its block of draws
      CAPTURE(place);
      Matrix<TestType> at(300, 20);
      for (Index block = 0; block < 20; ++block) at.col(block) = m.col(16 * block + place);
      CHECK(deviations(at, kept) < 4.5);
    }
    // What is kept is scaled so that the expectation is that of no dropout.
    const auto scaled = static_cast<TestType>(1 / kept);
    CHECK(
        ((m.array() == 0) || ((m.array() - scaled).abs() <= scaled * std::numeric_limits<TestType>::epsilon())).all());
  }
}

TEST_CASE("weights other than one are scaled alike", "[kernels]") {
  const AttentionDropout dropout(0.5, {5, 6});
  ef::ScoreTile tile;
  tile.query_end = 4;
  tile.key_end = 33;
  ef::Rng rng(1);
  const auto weights = random_matrix<double>(4, 33, rng);
  Matrix<double> dropped = weights;
  dropout.apply(tile, dropped.data(), 33, 1);
  CHECK(identical<double>(dropped, weights.cwiseProduct(factors<double>(dropout, 0, 0, 0, 4, 0, 33))));
  Matrix<double> around = Matrix<double>::Ones(6, 40);
  auto inside = around.block(1, 2, 4, 33);
  dropout.apply(tile, inside.data(), 40, 1);
  CHECK(identical<double>(inside, factors<double>(dropout, 0, 0, 0, 4, 0, 33)));
  inside.setOnes();
  CHECK((around.array() == 1).all());
}

TEST_CASE("no dropout, or next to none, drops nothing", "[kernels]") {
  for (const double rate : {0.0, 0.001}) {
    const AttentionDropout dropout(rate, {1, 2});
    CHECK_FALSE(dropout.active());
    CHECK((factors<float>(dropout, 0, 0, 0, 20, 0, 20).array() == 1).all());
  }
}

TEST_CASE("a weight's draw is the same in whatever tile it lies", "[kernels]") {
  const AttentionDropout dropout(0.4, {123, 456});
  const Index queries = 70, keys = 150, first_row = 11;
  const Matrix<float> all = factors<float>(dropout, 2, first_row, 0, queries, 0, keys);
  for (const Index rows : {1, 7, 64})
    for (const Index cols : {16, 48, 64})  // tiles begin at multiples of 16 keys
      for (Index i = 0; i < queries; i += rows)
        for (Index j = 0; j < keys; j += cols) {
          CAPTURE(rows, cols, i, j);
          const Index n = std::min(rows, queries - i), m = std::min(cols, keys - j);
          CHECK(identical<float>(factors<float>(dropout, 2, first_row, i, n, j, m), all.block(i, j, n, m)));
        }
  // A row is the batch's, however it is counted.
  CHECK(identical<float>(factors<float>(dropout, 2, first_row + 5, 0, 60, 0, keys), all.middleRows(5, 60)));
  CHECK(identical<float>(factors<float>(dropout, 2, 0, first_row, 60, 0, keys), all.topRows(60)));
  CHECK(identical<double>(factors<double>(dropout, 2, first_row, 0, queries, 0, keys).cwiseSign(),
                          all.cast<double>().cwiseSign()));
}

TEST_CASE("heads, rows, keys and draws of other sources are independent", "[kernels]") {
  const auto seed = GENERATE(1U, 2U, 3U);
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::RandomKey key = rng.split(), other = rng.split();
  const double rate = 0.25, kept = 0.75;
  const AttentionDropout dropout(rate, key);
  const Matrix<float> m = factors<float>(dropout, 0, 0, 0, 100, 0, 160);
  CHECK(independent(m, factors<float>(dropout, 1, 0, 0, 100, 0, 160), kept));
  CHECK(independent(m, factors<float>(dropout, 8, 0, 0, 100, 0, 160), kept));
  CHECK(independent(m, factors<float>(dropout, 0, 100, 0, 100, 0, 160), kept));
  CHECK(independent(m, factors<float>(dropout, 0, 0, 0, 100, 160, 160), kept));
  CHECK(independent(m, factors<float>(AttentionDropout(rate, other), 0, 0, 0, 100, 0, 160), kept));
  CHECK(independent(m, factors<float>(AttentionDropout(rate, {key.key, key.stream + 1}), 0, 0, 0, 100, 0, 160), kept));
  CHECK(independent(m.topRows(99), m.bottomRows(99), kept));
  for (const Index shift : {1, 2, 4, 8, 16}) {
    CAPTURE(shift);
    CHECK(independent(m.leftCols(160 - shift), m.rightCols(160 - shift), kept));
  }
}
