#include "eigenformer/core/matrix_unit.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <thread>
#include <typeinfo>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;
namespace unit = eigenformer::matrix_unit;

namespace {

using ef::Index;

/// Calls body with each unit for values of a type that this process may use.
template <class Value, class Body>
void for_each_unit(Body&& body) {
  const auto visit = [&](auto one) {
    using Unit = decltype(one);
    if constexpr (requires { Unit::is_permitted(); })
      if (!Unit::is_permitted()) return;
    body(one);
  };
  [&]<class... Units>(unit::UnitList<Units...>) { (visit(Units()), ...); }(unit::units<Value>);
}

/// A product with strides that leave gaps, in poisoned memory.
template <class V>
struct UnitCase {
  using Value = V;
  using Sum = unit::SumOf<Value>;
  static constexpr Index block = unit::block, depth = unit::depth<Value>, group = unit::group<Value>;

  UnitCase(Index some_row_blocks, Index some_column_blocks, Index some_steps)
      : row_blocks(some_row_blocks), column_blocks(some_column_blocks), steps(some_steps) {
    // Either whole rows are contiguous, or the blocks of a step are. There are gaps in between.
    const bool by_rows = (row_blocks + steps) % 2 == 0;
    a_row = by_rows ? steps * depth + 3 * group : depth;
    a_step = by_rows ? depth : block * depth + 5;
    a_block = by_rows ? block * a_row + 7 : steps * a_step + 9;
    b_block = steps * unit::step_size<Value> + 11;
    const bool c_by_rows = column_blocks % 2 == 0;
    c_row = c_by_rows ? column_blocks * block + 1 : block;
    c_column_block = c_by_rows ? block : row_blocks * block * block + 13;
    c_row_block = c_by_rows ? block * c_row + 2 : block * block;
    a.assign(static_cast<std::size_t>(row_blocks * a_block + 1), Value(1));
    b.assign(static_cast<std::size_t>(column_blocks * b_block + 1), Value(1));
    c.assign(static_cast<std::size_t>(row_blocks * c_row_block + column_blocks * c_column_block), Sum(7));
  }
  Index rows() const { return row_blocks * block; }
  Index columns() const { return column_blocks * block; }
  Index entries() const { return steps * depth; }

  Value& left(Index i, Index k) {
    return a[static_cast<std::size_t>(i / block * a_block + i % block * a_row + k / depth * a_step + k % depth)];
  }
  Value& right(Index k, Index j) {
    return b[static_cast<std::size_t>(j / block * b_block + k / group * block * group + j % block * group + k % group)];
  }
  std::size_t sum_place(Index i, Index j) const {
    return static_cast<std::size_t>(i / block * c_row_block + i % block * c_row + j / block * c_column_block +
                                    j % block);
  }
  template <class Draw>
  void fill(Draw&& draw) {
    for (Index k = 0; k < entries(); ++k) {
      for (Index i = 0; i < rows(); ++i) left(i, k) = draw();
      for (Index j = 0; j < columns(); ++j) right(k, j) = draw();
    }
    for (Index i = 0; i < rows(); ++i)
      for (Index j = 0; j < columns(); ++j) c[sum_place(i, j)] = static_cast<Sum>(i - 3 * j);
  }
  /// Returns all of the memory of C after the product. precomputed: whether the terms of rows come from row_terms().
  template <class Unit>
  std::vector<Sum> product(bool accumulates, bool precomputed = false) const {
    return with_product<Unit>(accumulates, precomputed,
                              [&](const auto& operands) { unit::multiply<Unit>(row_blocks, column_blocks, operands); });
  }
  /// Returns all of the memory of C after the product of the first `count` rows.
  template <class Unit>
  std::vector<Sum> product_of_rows(Index count, bool accumulates, bool precomputed) const {
    return with_product<Unit>(accumulates, precomputed,
                              [&](const auto& operands) { unit::multiply_rows<Unit>(count, column_blocks, operands); });
  }
  template <class Unit, class Multiply>
  std::vector<Sum> with_product(bool accumulates, bool precomputed, Multiply multiply) const {
    std::vector<Sum> sums = c, terms(static_cast<std::size_t>(rows()));
    const typename Unit::Session session;
    const unit::LeftBlocks<Value> left_blocks{a.data(), a_row, a_step, a_block};
    multiply(unit::Product<Value>{
        .steps = steps,
        .a = left_blocks,
        .b = {b.data(), b_block},
        .c = {sums.data(), c_row, c_row_block, c_column_block},
        .accumulates = accumulates,
        .row_terms = precomputed ? unit::row_terms<Unit>(row_blocks, left_blocks, steps, terms.data()) : nullptr});
    return sums;
  }

  Index row_blocks, column_blocks, steps;
  Index a_row, a_step, a_block, b_block, c_row, c_column_block, c_row_block;
  std::vector<Value> a, b;
  std::vector<Sum> c;
};

/// Checks the product of each unit, added to C or not, against a loop in double.
template <class Value>
void check_products(UnitCase<Value>& given) {
  const std::size_t entries = static_cast<std::size_t>(given.entries());
  std::vector<double> rows, columns;  // of A and B
  for (Index i = 0; i < given.rows(); ++i)
    for (Index k = 0; k < given.entries(); ++k) rows.push_back(static_cast<double>(given.left(i, k)));
  for (Index j = 0; j < given.columns(); ++j)
    for (Index k = 0; k < given.entries(); ++k) columns.push_back(static_cast<double>(given.right(k, j)));
  // Expected sums, and sums of the terms' magnitudes. Memory between the sums of C must not change.
  const std::vector<double> before(given.c.begin(), given.c.end());
  std::vector<double> product = before, sum = before, magnitude(before.size(), 0);
  for (Index i = 0; i < given.rows(); ++i)
    for (Index j = 0; j < given.columns(); ++j) {
      const double *row = rows.data() + i * given.entries(), *column = columns.data() + j * given.entries();
      const std::size_t place = given.sum_place(i, j);
      product[place] = 0;
      for (std::size_t k = 0; k < entries; ++k) {
        const double term = row[k] * column[k];
        product[place] += term;
        magnitude[place] += std::abs(term);
      }
      sum[place] = before[place] + product[place];
      magnitude[place] += std::abs(before[place]);
    }
  // Integers are exact. A float sum of n terms has at most n rounding errors. NEON's are twice as large.
  const double tolerance =
      std::is_same_v<Value, std::int8_t> ? 0 : ef::testing::rounding<float>(static_cast<double>(entries + 1));
  for_each_unit<Value>([&](auto one) {
    for (const bool accumulates : {false, true}) {
      const auto sums = given.template product<decltype(one)>(accumulates);
      bool equal = true;
      for (std::size_t i = 0; i < sums.size(); ++i) {
        const double found = static_cast<double>(sums[i]), expected = accumulates ? sum[i] : product[i];
        equal = equal &&
                (std::isnan(expected) ? std::isnan(found)
                                      : found == expected || std::abs(found - expected) <= tolerance * magnitude[i]);
      }
      CAPTURE(typeid(one).name(), given.row_blocks, given.column_blocks, given.steps, accumulates);
      CHECK(equal);
      // memcmp, because NaN differs from itself
      const auto again = given.template product<decltype(one)>(accumulates, true);
      CHECK(std::memcmp(again.data(), sums.data(), sums.size() * sizeof(sums[0])) == 0);
    }
  });
}

template <class Value>
Value any_value(ef::Rng& rng) {
  if constexpr (std::is_same_v<Value, std::int8_t>)
    return static_cast<std::int8_t>(static_cast<int>(rng() % 255) - 127);
  else
    return static_cast<Eigen::bfloat16>(static_cast<float>(rng() % 4096) / 512 - 4);
}

}  // namespace

TEMPLATE_TEST_CASE("every matrix unit multiplies blocks, with all strides", "[core]", Eigen::bfloat16, std::int8_t) {
  const unsigned seed = 11;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (Index rows = 1; rows <= 5; ++rows)
    for (Index columns = 1; columns <= 5; ++columns)
      for (Index steps = 0; steps <= 5; ++steps) {
        UnitCase<TestType> given(rows, columns, steps);
        given.fill([&] { return any_value<TestType>(rng); });
        check_products(given);
      }
}

TEMPLATE_TEST_CASE("any number of rows has the same sums as whole blocks", "[core]", Eigen::bfloat16, std::int8_t) {
  const unsigned seed = 13;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const Index columns : {1, 2, 5, 9})
    for (Index rows = 1; rows <= 50; ++rows) {
      UnitCase<TestType> given((rows + unit::block - 1) / unit::block, columns, 3);
      given.fill([&] { return any_value<TestType>(rng); });
      for_each_unit<TestType>([&](auto one) {
        using Unit = decltype(one);
        for (const bool accumulates : {false, true}) {
          const auto whole = given.template product<Unit>(accumulates);
          const auto found = given.template product_of_rows<Unit>(rows, accumulates, rows % 2 == 0);
          bool equal = true;
          for (Index i = 0; i < rows; ++i)
            for (Index j = 0; j < given.columns(); ++j)
              equal = equal && found[given.sum_place(i, j)] == whole[given.sum_place(i, j)];
          CAPTURE(typeid(one).name(), rows, columns, accumulates);
          CHECK(equal);
        }
      });
    }
}

TEST_CASE("matrix units are exact where sums of 8-bit integers are largest", "[core]") {
  for (const int left : {-127, 127})
    for (const int right : {-128, 127}) {
      UnitCase<std::int8_t> given(2, 2, 5);
      std::fill(given.a.begin(), given.a.end(), static_cast<std::int8_t>(left));
      std::fill(given.b.begin(), given.b.end(), static_cast<std::int8_t>(right));
      for_each_unit<std::int8_t>([&](auto one) {
        const auto sums = given.product<decltype(one)>(false);
        bool equal = true;
        for (Index i = 0; i < given.rows(); ++i)
          for (Index j = 0; j < given.columns(); ++j)
            equal = equal && sums[given.sum_place(i, j)] == static_cast<int>(given.entries()) * left * right;
        CAPTURE(typeid(one).name(), left, right);
        CHECK(equal);
      });
    }
}

TEST_CASE("the longest sums of 8-bit integers do not overflow in between", "[core]") {
  // The first most_int8_products products are not 0, the rest of the steps is.
  const Index entries = unit::most_int8_products;
  UnitCase<std::int8_t> given(1, 1, (entries + 63) / 64);
  std::fill(given.a.begin(), given.a.end(), std::int8_t(-127));
  std::fill(given.b.begin(), given.b.end(), std::int8_t(-128));
  for (Index j = 0; j < given.columns(); ++j)
    for (Index k = entries; k < given.entries(); ++k) given.right(k, j) = 0;
  for_each_unit<std::int8_t>([&](auto one) {
    CAPTURE(typeid(one).name());
    const auto sums = given.product<decltype(one)>(false);
    CHECK(sums[given.sum_place(0, 0)] == 131071 * 127 * 128);
    CHECK(sums[given.sum_place(15, 15)] == 131071 * 127 * 128);
  });
}

TEST_CASE("all matrix units give the same sums of small whole bfloat16 numbers", "[core]") {
  const unsigned seed = 12;
  CAPTURE(seed);
  ef::Rng rng(seed);
  UnitCase<Eigen::bfloat16> given(3, 4, 5);
  given.fill([&] { return static_cast<Eigen::bfloat16>(static_cast<float>(rng() % 511) - 255); });
  const auto expected = given.product<unit::Portable<Eigen::bfloat16>>(true);
  for_each_unit<Eigen::bfloat16>([&](auto one) {
    CAPTURE(typeid(one).name());
    CHECK(given.product<decltype(one)>(true) == expected);
  });
}

TEST_CASE("matrix units multiply infinities, NaN and the largest and smallest bfloat16 numbers as floats", "[core]") {
  using Bfloat16 = Eigen::bfloat16;
  const float infinity = std::numeric_limits<float>::infinity(), largest = std::numeric_limits<Bfloat16>::max(),
              smallest = (std::numeric_limits<Bfloat16>::min)();
  const unsigned seed = 13;
  CAPTURE(seed, largest, smallest);
  ef::Rng rng(seed);
  for (const float special : {infinity, -infinity, std::nanf(""), 1e-30F, 1e18F, -0.0F, smallest})
    for (Index steps = 1; steps <= 3; ++steps) {
      UnitCase<Bfloat16> given(2, 3, steps);
      CAPTURE(special);
      // Special values are so rare that some sums have none, some have one, and some have several of both signs.
      given.fill([&] {
        const std::uint64_t draw = rng() % 64;
        if (draw == 0) return static_cast<Bfloat16>(special);
        return static_cast<Bfloat16>(draw < 16 ? 0.0F : static_cast<float>(draw) - 40);
      });
      check_products(given);
    }
  // Sums that leave the range of floats are infinite.
  UnitCase<Bfloat16> given(1, 1, 1);
  given.fill([&] { return static_cast<Bfloat16>(largest); });
  for_each_unit<Bfloat16>([&](auto one) { CHECK(given.product<decltype(one)>(false)[0] == infinity); });
}

TEST_CASE("matrix units add subnormal bfloat16 numbers or count them as zeros", "[core]") {
  UnitCase<Eigen::bfloat16> given(1, 1, 1);
  const float subnormal = std::numeric_limits<float>::min() / 4, power = 0x1p100F;
  given.fill([] { return Eigen::bfloat16(0); });
  given.left(3, 0) = static_cast<Eigen::bfloat16>(subnormal);
  given.right(0, 5) = static_cast<Eigen::bfloat16>(power);
  for_each_unit<Eigen::bfloat16>([&](auto one) {
    const float sum = given.product<decltype(one)>(false)[given.sum_place(3, 5)];
    CAPTURE(typeid(one).name(), sum);
    CHECK((sum == 0 || sum == subnormal * power));
  });
}

TEMPLATE_TEST_CASE("a matrix unit's sum depends on its own row and column alone", "[core]", Eigen::bfloat16,
                   std::int8_t) {
  const unsigned seed = 14;
  CAPTURE(seed);
  ef::Rng rng(seed);
  UnitCase<TestType> large(5, 5, 4);
  large.fill([&] { return any_value<TestType>(rng); });
  for_each_unit<TestType>([&](auto one) {
    using Unit = decltype(one);
    CAPTURE(typeid(one).name());
    const auto expected = large.template product<Unit>(true);
    for (int round = 0; round < 40; ++round) {
      // One row and one column of the large product, anywhere in another one.
      UnitCase<TestType> other(1 + Index(rng() % 4), 1 + Index(rng() % 4), 4);
      other.fill([&] { return any_value<TestType>(rng); });
      const Index from_row = Index(rng()) % 80, from_column = Index(rng() % 80);
      const Index row = Index(rng() % std::uint64_t(other.rows())),
                  column = Index(rng() % std::uint64_t(other.columns()));
      for (Index k = 0; k < large.entries(); ++k) {
        other.left(row, k) = large.left(from_row, k);
        other.right(k, column) = large.right(k, from_column);
      }
      other.c[other.sum_place(row, column)] = large.c[large.sum_place(from_row, from_column)];
      CHECK(other.template product<Unit>(true)[other.sum_place(row, column)] ==
            expected[large.sum_place(from_row, from_column)]);
    }
  });
}

namespace {
struct DeniedUnit {
  static bool is_permitted() { return false; }
};
struct GrantedUnit {
  static bool is_permitted() { return true; }
};
struct PlainUnit {};
struct UnusableUnit {};
}  // namespace

TEST_CASE("the first permitted matrix unit is used", "[core]") {
  const auto place = [](auto one) {
    using Unit = decltype(one);
    // The body is not instantiated for units after one that every process may use.
    static_assert(!std::is_same_v<Unit, UnusableUnit>);
    return std::is_same_v<Unit, DeniedUnit> ? 0 : std::is_same_v<Unit, GrantedUnit> ? 1 : 2;
  };
  CHECK(unit::with_first_permitted(unit::UnitList<PlainUnit>(), place) == 2);
  CHECK(unit::with_first_permitted(unit::UnitList<DeniedUnit, PlainUnit, UnusableUnit>(), place) == 2);
  CHECK(unit::with_first_permitted(unit::UnitList<GrantedUnit, PlainUnit, UnusableUnit>(), place) == 1);
  CHECK(unit::with_first_permitted(unit::UnitList<DeniedUnit, GrantedUnit, PlainUnit>(), place) == 1);
}

TEMPLATE_TEST_CASE("the best matrix unit works on every thread", "[core][threads]", Eigen::bfloat16, std::int8_t) {
  UnitCase<TestType> given(2, 2, 3);
  const unsigned seed = 15;
  CAPTURE(seed);
  ef::Rng rng(seed);
  given.fill([&] { return any_value<TestType>(rng); });
  const auto product = [&] {
    return unit::with_best<TestType>([&](auto one) { return given.template product<decltype(one)>(true); });
  };
  const auto expected = product();
  std::vector<std::vector<unit::SumOf<TestType>>> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) threads.emplace_back([&] { result = product(); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) CHECK(result == expected);
}

TEMPLATE_TEST_CASE("a session that ends leaves the outer session's tiles configured", "[core]", Eigen::bfloat16,
                   std::int8_t) {
  ef::Rng rng(12);
  UnitCase<TestType> given(2, 2, 3);
  given.fill([&] { return any_value<TestType>(rng); });
  for_each_unit<TestType>([&](auto one) {
    using Unit = decltype(one);
    CAPTURE(typeid(one).name());
    const auto sums = given.template with_product<Unit>(false, false, [&](const auto& operands) {
      { const typename Unit::Session inner; }
      unit::multiply<Unit>(given.row_blocks, given.column_blocks, operands);
    });
    CHECK(sums == given.template product<Unit>(false));
  });
}
