#include "eigenformer/layers/positions.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::PositionEncoding;

TEST_CASE("sinusoidal positions are those of the paper", "[layers]") {
  // Section 3.5 of Vaswani et al. 2017, evaluated by hand at width 6.
  const ef::Matrix<double> table = ef::sinusoidal_positions<double>(0, 50, 6, PositionEncoding::sinusoidal);
  for (const int p : {0, 1, 7, 49})
    for (int i = 0; i < 3; ++i) {
      const double angle = p / std::pow(10000.0, 2 * i / 6.0);
      CHECK(std::abs(table(p, 2 * i) - std::sin(angle)) < 1e-14);
      CHECK(std::abs(table(p, 2 * i + 1) - std::cos(angle)) < 1e-14);
    }
  const ef::Matrix<double> halves =
      ef::sinusoidal_positions<double>(0, 50, 6, PositionEncoding::sinusoidal_concatenated);
  for (const int p : {0, 1, 7, 49})
    for (int i = 0; i < 3; ++i) {
      const double angle = p / std::pow(10000.0, i / 2.0);
      CHECK(std::abs(halves(p, i) - std::sin(angle)) < 1e-14);
      CHECK(std::abs(halves(p, 3 + i) - std::cos(angle)) < 1e-14);
    }
  CHECK(ef::sinusoidal_positions<double>(5, 45, 6, PositionEncoding::sinusoidal) == table.bottomRows(45));
  CHECK(ef::sinusoidal_positions<float>(0, 3, 5, PositionEncoding::sinusoidal).allFinite());
  CHECK(ef::sinusoidal_positions<float>(0, 3, 1, PositionEncoding::sinusoidal_concatenated).isZero());
  CHECK(ef::sinusoidal_positions<float>(0, 3, 2, PositionEncoding::sinusoidal_concatenated).allFinite());
  CHECK_THROWS_WITH(ef::sinusoidal_positions<float>(0, -1, 8, PositionEncoding::sinusoidal),
                    "sinusoidal_positions: -1 positions of width 8, expected 0 or more of both");
  CHECK_THROWS_WITH(ef::sinusoidal_positions<float>(0, 1, 8, PositionEncoding::rotary),
                    "sinusoidal_positions: the encoding is rotary, expected a sinusoidal one");
}

TEST_CASE("positions are added per sequence, and sinusoidal ones have no end", "[layers]") {
  const std::uint64_t seed = 25;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto x = ef::testing::random_matrix<double>(12, 4, rng);
  const ef::RowOffsets rows{0, 9, 12};
  const auto encoding = GENERATE(PositionEncoding::sinusoidal, PositionEncoding::sinusoidal_concatenated);
  const ef::Positions<double> few(encoding, 2, 4, rng), many(encoding, 100, 4, rng);
  CHECK(few({}, x, rows).value() == many({}, x, rows).value());
  const std::vector<ef::Index> places{0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2};
  CHECK(few.at({}, x, places).value() == many({}, x, rows).value());
  CHECK(many.at({}, x, places).value() == many({}, x, rows).value());
  CHECK_THROWS_WITH(few.at({}, x, std::vector<ef::Index>{3}), "positions: x is [12 x 4], given 1 positions");
  CHECK(ef::parameter_count(few) == 0);
  const ef::Matrix<double> table = ef::sinusoidal_positions<double>(0, 20, 4, encoding);
  CHECK(few({}, x, rows).value().row(10) == x.row(10) + table.row(1));
}

TEST_CASE("a wide model precomputes few positions, and adds the others all the same", "[layers]") {
  CHECK(ef::stored_positions(9000, 512) == ef::max_stored_positions);
  CHECK(ef::stored_positions(10, 512) == 10);
  CHECK(ef::stored_positions(9000, 1 << 23) == 2);
  CHECK(ef::stored_positions(9000, ef::Index{1} << 40) == 1);
  ef::Rng rng(3);
  const ef::Index width = 1 << 21;  // 8 positions are stored
  const ef::Positions<float> positions(PositionEncoding::sinusoidal, 100, width, rng);
  CHECK(positions.table.rows() == 8);
  const ef::Matrix<float> x = ef::Matrix<float>::Zero(9, width);
  const ef::Matrix<float> table = ef::sinusoidal_positions<float>(0, 9, width, PositionEncoding::sinusoidal);
  CHECK(positions({}, x).value() == table);
}

TEST_CASE("learned positions have a gradient and an end; none leaves all as it is", "[layers]") {
  ef::Rng rng(26);
  const auto x = ef::testing::random_matrix<double>(5, 4, rng);
  ef::Positions<double> learned(PositionEncoding::learned, 5, 4, rng);
  CHECK(ef::parameter_count(learned) == 20);
  ef::testing::check_parameters(learned, [&](const ef::Context<double>& c) { return learned(c, x); });
  const std::vector<ef::Index> places{4, 0, 0, 1, 3}, beyond{0, 1, 5, 2, 3};
  for (ef::Index i = 0; i < 5; ++i)
    CHECK(learned.at({}, x, places).value().row(i) ==
          x.row(i) + learned.weight.value.row(places[static_cast<std::size_t>(i)]));
  CHECK_THROWS_WITH(learned.at({}, x, beyond),
                    "positions: there is no position 5, expected 0 or more and less than max_length, 5");
  CHECK_THROWS_WITH(learned({}, ef::Matrix<double>::Zero(6, 4)),
                    "positions: a sequence has 6 tokens, expected at most max_length, 5");
  CHECK(ef::Positions<double>()({}, x).value() == x);
  for (const auto elsewhere :
       {PositionEncoding::relative, PositionEncoding::bucketed, PositionEncoding::alibi, PositionEncoding::rotary}) {
    const ef::Positions<double> nothing(elsewhere, 2, 4, rng);
    CHECK(nothing({}, x).value() == x);
    CHECK(nothing.at({}, x, places).value() == x);
    CHECK(ef::parameter_count(nothing) == 0);
  }
}

TEST_CASE("position encodings have names", "[layers]") {
  for (const auto encoding : ef::position_encodings)
    CHECK(ef::value_of<ef::PositionEncoding>(ef::to_string(encoding)) == encoding);
  CHECK(ef::value_of<ef::PositionEncoding>("alibi") == PositionEncoding::alibi);
  CHECK_THROWS_WITH(ef::value_of<ef::PositionEncoding>("rotary?"),
                    "value_of: expected none, sinusoidal, sinusoidal_concatenated, learned, relative, "
                    "bucketed, alibi or rotary, given \"rotary?\"");
}

TEST_CASE("positions of negative number or width are refused", "[layers]") {
  ef::Rng rng(1);
  CHECK_THROWS_WITH(ef::Positions<float>(ef::PositionEncoding::learned, -1, 4, rng),
                    "Positions: max_length is -1, width is 4, expected 0 or more");
}
