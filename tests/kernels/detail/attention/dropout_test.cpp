#include "eigenformer/kernels/detail/attention/dropout.hpp"

#include "eigenformer/kernels/attention.hpp"
#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

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
  for (const double rate : {0.001, 0.1, 0.25, 0.5, 0.9, 0.999}) {
    CAPTURE(rate);
    const AttentionDropout dropout(rate, {seed, 0});
    CHECK(dropout.active());
    const double kept = 1 - std::round(rate * 0x1p32) / 0x1p32;
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
  for (const double rate : {0.0, 1e-10}) {
    const AttentionDropout dropout(rate, {1, 2});
    CHECK_FALSE(dropout.active());
    CHECK((factors<float>(dropout, 0, 0, 0, 20, 0, 20).array() == 1).all());
  }
}

TEMPLATE_TEST_CASE("weights are dropped at rates near 0 and near 1", "[kernels]", float, double) {
  const auto m = [](double rate, ef::RandomKey key) {
    return factors<TestType>(AttentionDropout(rate, key), 3, 0, 0, 2000, 0, 1000);
  };
  for (const double rate : {1e-5, 1e-4, 0.001, 0.0123}) {
    CAPTURE(rate);
    CHECK(deviations(m(rate, {1, 2}), 1 - rate) < 4.5);
    CHECK(deviations(m(1 - rate, {1, 2}), rate) < 4.5);
  }
  CHECK((m(1e-6, {3, 4}).array() == 0).count() + (m(1e-6, {5, 6}).array() == 0).count() < 20);  // 4 are expected
  // The rate that is next to 1 keeps one word of 2^32, and what it keeps is finite.
  const double next_to_1 = std::nextafter(1.0, 0.0);
  CHECK((m(next_to_1, {7, 8}).array() == 0).all());
  CHECK(ef::detail::kept_factor<TestType>(ef::detail::word_threshold(next_to_1)) == TestType(0x1p32));
}

TEST_CASE("weights whose draws share a word are dropped as good as independently", "[kernels]") {
  for (const double rate : {0.001, 0.01, 0.1, 0.3, 0.5, 0.97}) {
    CAPTURE(rate);
    const Matrix<float> m = factors<float>(AttentionDropout(rate, {21, 22}), 0, 0, 0, 2000, 0, 1600);
    const auto dropped = (m.array() == 0).cast<double>();
    for (Index first = 0; first < 4; ++first)
      for (Index second = first + 1; second < 4; ++second) {
        CAPTURE(first, second);
        double both = 0;
        for (Index key = 0; key < m.cols(); key += 4)
          both += (dropped.col(key + first) * dropped.col(key + second)).sum();
        const double pairs = static_cast<double>(m.size()) / 4;
        const double of_chance = rate * rate, of_words = 0.005 * rate * (1 - rate);
        CHECK(std::abs(both / pairs - of_chance) <
              of_words + 4.5 * std::sqrt((of_chance + of_words) * (1 - of_chance) / pairs));
      }
  }
}

TEST_CASE("rates that are multiples of 1/256 are told by a key's own byte", "[kernels]") {
  const ef::RandomKey key{9, 10};
  for (const int of_256 : {1, 26, 128, 255}) {
    CAPTURE(of_256);
    const Matrix<double> m = factors<double>(AttentionDropout(of_256 / 256.0, key), 5, 40, 3, 30, 0, 64);
    for (Index i = 0; i < 30; ++i)
      for (Index j = 0; j < 64; ++j) {
        const auto block =
            std::uint64_t{5} << 50 | static_cast<std::uint64_t>(43 + i) << 20 | static_cast<std::uint64_t>(j / 16);
        const std::uint32_t word = key.draw(block)[static_cast<std::size_t>(j % 16 / 4)];
        const auto byte = static_cast<int>(word >> (8 * (j % 4)) & 255U);
        CHECK(m(i, j) == (byte < of_256 ? 0 : 256.0 / (256 - of_256)));
      }
  }
}

TEST_CASE("dropout of attention refuses rates that are no probabilities below 1", "[kernels]") {
  const Matrix<double> x = Matrix<double>::Ones(3, 4);
  const std::pair<double, std::string> rates[] = {{1, "1"}, {1.5, "1.5"}, {-1e-9, "-1e-09"}, {std::nan(""), "nan"}};
  for (const auto& [rate, text] : rates) {
    const double given = rate;
    CHECK(message_of([&] { ef::attention(x, x, x, {.dropout = given}); }) ==
          "attention: dropout is " + text + ", expected 0 or more and less than 1");
  }
  CHECK(ef::attention(x, x, x, {.dropout = std::nextafter(1.0, 0.0), .dropout_key = ef::RandomKey{1, 2}}).allFinite());
  // Without a key, all calls would drop the same weights.
  CHECK(message_of([&] { ef::attention(x, x, x, {.dropout = 0.5}); }) ==
        "attention: dropout is 0.5 without a dropout_key, expected one, such as rng.split()");
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
