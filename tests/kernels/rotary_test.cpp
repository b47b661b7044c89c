#include "eigenformer/kernels/rotary.hpp"

#include <complex>
#include <vector>

#include "kernels/kernel_checks.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

// The definition: a pair is a complex number, which is multiplied by exp(i angle).
Matrix<double> naive_rotary(const Matrix<double>& x, Index heads, Index turned, double base, ef::RotaryPairs pairs,
                            const std::vector<Index>& positions) {
  Matrix<double> y = x;
  const Index width = x.cols() / heads;
  for (Index row = 0; row < x.rows(); ++row)
    for (Index head = 0; head < heads; ++head)
      for (Index i = 0; i < turned / 2; ++i) {
        const bool interleaved = pairs == ef::RotaryPairs::interleaved;
        const Index first = head * width + (interleaved ? 2 * i : i);
        const Index second = interleaved ? first + 1 : first + turned / 2;
        const double angle = static_cast<double>(positions[static_cast<std::size_t>(row)]) /
                             std::pow(base, 2 * static_cast<double>(i) / static_cast<double>(turned));
        const std::complex<double> z = std::complex<double>(x(row, first), x(row, second)) * std::polar(1.0, angle);
        y(row, first) = z.real();
        y(row, second) = z.imag();
      }
  return y;
}

std::vector<Index> some_positions(Index count, Index below, ef::Rng& rng) {
  std::vector<Index> positions;
  for (Index i = 0; i < count; ++i) positions.push_back(rng.randint(below));
  return positions;
}

}  // namespace

TEMPLATE_TEST_CASE("rotary positions agree with their definition, and the backward turns back", "[kernels][threads]",
                   float, double) {
  ef::Rng rng(1);
  ef::ThreadPool pool(3);
  for (const ef::RotaryPairs pairs : {ef::RotaryPairs::interleaved, ef::RotaryPairs::halves})
    for (const Index rows : {0, 1, 3, 70, 700})
      for (const Index heads : {1, 3})
        for (const Index width : {2, 5, 8, 17, 64})
          for (const Index turned : {Index{0}, Index{2}, width / 4 * 2, width / 2 * 2}) {
            if (turned > width) continue;
            CAPTURE(rows, heads, width, turned);
            const auto x = random_matrix<TestType>(rows, heads * width, rng);
            const std::vector<Index> positions = some_positions(rows, 50, rng);
            const auto table = ef::rotary_table<TestType>(50, turned, 100);
            const ef::RotaryOptions options{.heads = heads, .pairs = pairs};
            const Matrix<TestType> y = ef::rotary(x, table, positions, options);
            // An angle of up to 49 is rounded by as many times the rounding of 1, in double as in the definition.
            CHECK(max_error(y, naive_rotary(x.template cast<double>(), heads, turned, 100, pairs, positions)) <
                  rounding<TestType>(8) + rounding<double>(2 * 49));
            Matrix<TestType> in_place = x;
            ef::rotary_forward<TestType>(in_place, table, positions, options, in_place, &pool);
            CHECK(identical<TestType>(in_place, y));
            ef::rotary_backward<TestType>(in_place, table, positions, options, in_place, &pool);
            CHECK(max_error(in_place, x.template cast<double>()) < rounding<TestType>(8));
          }
}

TEST_CASE("with rotary positions a product knows only how far apart its tokens stand", "[kernels]") {
  ef::Rng rng(2);
  const auto q = random_matrix<double>(1, 8, rng), k = random_matrix<double>(1, 8, rng);
  const auto table = ef::rotary_table<double>(1000, 8);
  const auto product = [&](Index query, Index key) {
    const std::vector<Index> at_query{query}, at_key{key};
    return ef::rotary(q, table, at_query).row(0).dot(ef::rotary(k, table, at_key).row(0));
  };
  CHECK(std::abs(product(7, 3) - product(904, 900)) < 1e-12);
  CHECK(std::abs(product(7, 3) - product(904, 901)) > 1e-3);
}

TEST_CASE("rotary positions that do not fit are named", "[kernels]") {
  const Matrix<float> x = Matrix<float>::Ones(2, 6);
  const auto table = ef::rotary_table<float>(10, 4);
  const std::vector<Index> positions{3, 9}, beyond{3, 10}, one{3};
  CHECK(ef::rotary(x, table, positions).row(0).tail(2) == x.row(0).tail(2));
  CHECK(message_of([&] { ef::rotary(x, table, beyond); }) == "rotary: id 10 at 1, the table has 10 rows");
  CHECK(message_of([&] { ef::rotary(x, table, one); }) == "rotary: x is [2 x 6], positions has 1");
  CHECK(message_of([&] { ef::rotary(x, table, positions, {.heads = 2}); }) ==
        "rotary: x is [2 x 6], expected 2 heads of at least 4 columns");
  CHECK(message_of([] { ef::rotary_table<float>(10, 3); }) ==
        "rotary_table: width is 3, expected an even number, 0 or more");
  CHECK(message_of([] { ef::rotary_table<float>(-1, 4); }) == "rotary_table: positions is -1, expected 0 or more");
}

TEST_CASE("a table may begin at any position", "[kernels]") {
  const ef::RotaryTable<double> all = ef::rotary_table<double>(40, 6);
  const ef::RotaryTable<double> later = ef::rotary_table<double>(30, 6, 10000, 10);
  CHECK(later.cos == all.cos.bottomRows(30));
  CHECK(later.sin == all.sin.bottomRows(30));
  const ef::RotaryTable<double> earlier = ef::rotary_table<double>(4, 6, 10000, -3);
  CHECK(earlier.cos.row(0) == all.cos.row(3));
  CHECK(earlier.sin.row(0) == -all.sin.row(3));
}
