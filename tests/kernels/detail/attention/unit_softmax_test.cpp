#include "eigenformer/kernels/detail/attention/unit_softmax.hpp"

#include "kernels/kernel_checks.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

constexpr Index unit_n = detail::UnitSoftmax::n;
// Exponentials for 16-bit results have relative errors of up to 9e-5.
constexpr double unit_weight_error = 1e-4;

/// What the softmax of 16 queries gives: weighted means [width x 16] and log-sum-exps [1 x 16].
struct UnitResults {
  Matrix<float> means;
  Matrix<double> log_sum_exp;
};

/// Returns the results of UnitSoftmax over keys in tiles. scores: [keys x 16]; values: [keys x width].
UnitResults attend_in_tiles(const Matrix<float>& scores, const Matrix<float>& values, const std::vector<Index>& tiles,
                            float factor) {
  detail::UnitSoftmax softmax;
  softmax.begin(factor);
  UnitResults results{Matrix<float>::Zero(values.cols(), unit_n), Matrix<double>(1, unit_n)};
  Index first = 0;
  for (const Index tile : tiles) {
    Matrix<float> weights = scores.middleRows(first, tile);
    softmax.note(tile, weights.data(), values.cols(), results.means.data(), [] {});
    softmax.weigh(tile, weights.data());
    CHECK_FALSE((weights.cast<double>().array() > 1024 * (1 + unit_weight_error)).any());  // NaN is allowed
    results.means += values.middleRows(first, tile).transpose() * weights;
    first += tile;
  }
  ef::check(first == scores.rows(), "the tiles have ", first, " keys, expected ", scores.rows());
  float inverse[unit_n];
  softmax.inverse_sums(inverse);
  for (Index i = 0; i < unit_n; ++i) {
    results.means.col(i) *= inverse[i];
    results.log_sum_exp(0, i) = softmax.log_sum_exp(i);
  }
  return results;
}

/// Returns the results by definition: in double, over all keys at once.
UnitResults naive_unit_softmax(const Matrix<float>& scores, const Matrix<float>& values, double factor) {
  UnitResults results{Matrix<float>::Zero(values.cols(), unit_n),
                      Matrix<double>::Constant(1, unit_n, ef::hidden_score<double>)};
  for (Index i = 0; i < unit_n; ++i) {
    const Eigen::VectorXd s = factor * std::log(2.0) * scores.col(i).cast<double>();
    const double largest = s.maxCoeff();
    if (largest == ef::hidden_score<double>) continue;
    const Eigen::VectorXd weights = (s.array() - largest).exp();
    results.log_sum_exp(0, i) = largest + std::log(weights.sum());
    results.means.col(i) = (values.cast<double>().transpose() * weights / weights.sum()).cast<float>();
  }
  return results;
}

/// Returns scores of 16 queries. The first columns change the reference (see UnitSoftmax) in different ways.
Matrix<float> unit_scores(Index keys, double scale, ef::Rng& rng) {
  Matrix<float> scores = random_matrix<float>(keys, unit_n, rng, scale);
  for (Index j = 0; j < keys; ++j) {
    const auto place = static_cast<float>(j);
    if (j % 3 == 0) scores(j, 0) = ef::hidden_score<float>;         // hidden here and there
    scores(j, 1) = ef::hidden_score<float>;                         // all hidden
    if (j + 1 < keys) scores(j, 2) = ef::hidden_score<float>;       // all hidden but the last
    if (j > 0) scores(j, 3) = ef::hidden_score<float>;              // all hidden but the first
    scores(j, 4) = static_cast<float>(scale) * place;               // grows, so that references change often
    scores(j, 5) = -static_cast<float>(scale) * place;              // falls
    scores(j, 6) = j % 2 == 0 ? 9.0F : -static_cast<float>(scale);  // less than the headroom above the others
    scores(j, 7) = 0;
  }
  return scores;
}

}  // namespace

TEST_CASE("the softmax of 16 queries over keys in tiles agrees with its definition", "[kernels]") {
  const std::uint64_t seed = 21;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const double scale : {0.5, 3.0, 100.0})
    for (const float factor : {detail::log2_e<float>, 0.37F, 0x1p-20F})
      for (const std::vector<Index>& tiles : std::vector<std::vector<Index>>{
               {1}, {2}, {3}, {7}, {1, 1}, {1, 2, 1, 31}, {16, 16}, {5, 8, 1, 30}, {13, 64, 3}}) {
        Index keys = 0;
        for (const Index tile : tiles) keys += tile;
        CAPTURE(scale, factor, keys, tiles.size());
        const Matrix<float> scores = unit_scores(keys, scale, rng), values = random_matrix<float>(keys, 5, rng);
        const UnitResults expected = naive_unit_softmax(scores, values, static_cast<double>(factor)),
                          given = attend_in_tiles(scores, values, tiles, factor);
        // A weight also has the rounding error of its exponent, factor * score.
        const double exponent = static_cast<double>(factor) * scale * static_cast<double>(keys);
        const double error = 4 * unit_weight_error + 8 * exponent * rounding<float>(1);
        const double largest = static_cast<double>(values.cwiseAbs().maxCoeff());
        CHECK(max_error(given.means, expected.means.cast<double>()) < largest * error);
        CHECK(max_error(given.log_sum_exp, expected.log_sum_exp) < error);
        CHECK((given.means.col(1).array() == 0).all());
      }
}

TEST_CASE("the softmax of 16 queries keeps differences of large scores", "[kernels]") {
  const std::uint64_t seed = 22;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const float base : {0x1p21F, 0x1p22F, -0x1p22F, 0x1p30F, 0x1p60F}) {  // exponents are above 2^20
    // Scores are multiples of the spacing of floats near `base`, so they are exact in float.
    const float step = std::max(1.0F, std::abs(base) * 0x1p-23F);
    Matrix<float> scores(9, unit_n);
    for (Index i = 0; i < scores.size(); ++i)
      scores.data()[i] = base + step * static_cast<float>(static_cast<Index>(rng.randint(8)));
    scores.col(3) = random_matrix<float>(9, 1, rng);  // a query of small scores beside them
    scores(2, 5) = ef::hidden_score<float>;
    const Matrix<float> values = random_matrix<float>(9, 3, rng);
    const double largest = static_cast<double>(values.cwiseAbs().maxCoeff());
    for (const float factor : {0.77F, 0.77F / step}) {
      CAPTURE(base, factor);
      const UnitResults expected = naive_unit_softmax(scores, values, static_cast<double>(factor)),
                        given = attend_in_tiles(scores, values, {1, 6, 2}, factor);
      CHECK(max_error(given.means, expected.means.cast<double>()) < largest * 4 * unit_weight_error);
    }
  }
}

TEST_CASE("NaN and infinity in one of 16 queries reach its result and no other", "[kernels]") {
  const std::uint64_t seed = 23;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const std::vector<Index> tiles{3, 1, 8};
  const Matrix<float> scores = unit_scores(12, 3, rng), values = random_matrix<float>(12, 5, rng);
  const UnitResults clean = attend_in_tiles(scores, values, tiles, detail::log2_e<float>);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (const Index key : {0, 1, 3, 4, 11})
      for (const Index query : {0, 1, 4, 8, 15}) {
        CAPTURE(bad, key, query);
        Matrix<float> dirty = scores;
        dirty(key, query) = bad;
        const UnitResults given = attend_in_tiles(dirty, values, tiles, detail::log2_e<float>);
        CHECK(given.means.col(query).array().isNaN().all());
        CHECK_FALSE(std::isfinite(given.log_sum_exp(0, query)));
        for (Index i = 0; i < unit_n; ++i) {
          if (i == query) continue;
          CHECK(identical<float>(given.means.col(i), clean.means.col(i)));
          CHECK(given.log_sum_exp(0, i) == clean.log_sum_exp(0, i));
        }
      }
}

TEST_CASE("weights in pairs are the rounded weights, with the same sums", "[kernels]") {
  ef::Rng rng(24);
  constexpr Index depth = ef::matrix_unit::depth<Eigen::bfloat16>;
  for (const Index keys : {2, 4, 14, 32}) {
    CAPTURE(keys);
    const Matrix<float> scores = unit_scores(keys, 3, rng);
    detail::UnitSoftmax plain, paired;
    for (detail::UnitSoftmax* softmax : {&plain, &paired}) {
      softmax->begin(detail::log2_e<float>);
      softmax->note(keys, scores.data(), 0, nullptr, [] {});
    }
    Matrix<float> weights = scores;
    plain.weigh(keys, weights.data());
    std::vector<Eigen::bfloat16> pairs(static_cast<std::size_t>(keys * unit_n));
    paired.weigh_pairs(keys, scores.data(), pairs.data());
    bool all_equal = true;
    for (Index j = 0; j < keys; ++j)
      for (Index i = 0; i < unit_n; ++i)
        all_equal &= pairs[static_cast<std::size_t>(j / 2 * depth + i * 2 + j % 2)] == Eigen::bfloat16(weights(j, i));
    CHECK(all_equal);
    for (Index i = 0; i < unit_n; ++i) CHECK(plain.log_sum_exp(i) == paired.log_sum_exp(i));
  }
}

TEST_CASE("results are rescaled only after the callback, and only if a reference changes", "[kernels]") {
  detail::UnitSoftmax softmax;
  softmax.begin(1);
  Matrix<float> results = Matrix<float>::Zero(3, unit_n);
  int calls = 0;
  const auto note = [&](float score, float result) {
    const Matrix<float> scores = Matrix<float>::Constant(2, unit_n, score);
    calls = 0;
    softmax.note(2, scores.data(), results.rows(), results.data(), [&] {
      if (calls++ == 0) CHECK((results.array() == result).all());
    });
  };
  note(0, 0);
  CHECK(calls > 0);
  results.setConstant(7);
  note(5, 7);  // such weights are not too large
  CHECK(calls == 0);
  CHECK((results.array() == 7).all());
  note(20, 7);
  CHECK(calls > 0);
  CHECK((results.array() == 7 * 0x1p-20F).all());
}

TEST_CASE("the softmax of 16 queries takes scores at both ends of float", "[kernels]") {
  const std::uint64_t seed = 23;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const float most = 3e38F, least = -3.3895e38F;  // the least bfloat16, a usual bias of hidden keys
  const auto factor = detail::log2_e<float>;      // so the exponents are infinite
  Matrix<float> scores = random_matrix<float>(64, unit_n, rng);
  scores.col(0).setConstant(least);                                          // sees only such keys
  scores.col(1).head(40).setConstant(least);                                 // later ones are usual
  scores.col(2).tail(40).setConstant(least);                                 // the first ones are usual
  scores(3, 4) = most;                                                       // all weight is on one key
  for (Index j = 0; j < 64; ++j) scores(j, 5) = 20 * static_cast<float>(j);  // its reference keeps changing
  const Matrix<float> values = random_matrix<float>(64, 3, rng);
  const UnitResults expected = naive_unit_softmax(scores, values, static_cast<double>(factor)),
                    given = attend_in_tiles(scores, values, {32, 8, 24}, factor);
  CHECK(max_error(given.means, expected.means.cast<double>()) <
        4 * unit_weight_error * static_cast<double>(values.cwiseAbs().maxCoeff()));
  for (Index i = 0; i < unit_n; ++i)
    CHECK(given.log_sum_exp(0, i) == Approx(expected.log_sum_exp(0, i)).epsilon(1e-6).margin(4 * unit_weight_error));
}
