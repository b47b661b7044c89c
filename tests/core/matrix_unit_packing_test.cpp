#include "eigenformer/core/matrix_unit_packing.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "support/catch.hpp"

namespace ef = eigenformer;
namespace unit = eigenformer::matrix_unit;

namespace {

using ef::Index;

/// A matrix whose rows are scattered in memory, between entries that must not get into the result.
template <class Value>
struct ScatteredRows {
  ScatteredRows(Index some_rows, Index some_cols, Index some_col_stride, ef::Rng& rng)
      : rows(some_rows), cols(some_cols), col_stride(some_col_stride) {
    for (Index i = 0; i < rows; ++i) {
      // The last entry is at the very end, so that a sanitizer sees an access beyond it.
      memory.emplace_back(static_cast<std::size_t>((cols - 1) * col_stride + 1 + i % 3));
      for (Value& entry : memory.back()) entry = static_cast<Value>(static_cast<float>(rng() % 255) - 127);
      starts.push_back(memory.back().data() + i % 3);
    }
  }
  unit::Rows<Value> view() const { return {starts.data(), col_stride}; }
  Value operator()(Index i, Index j) const {
    return i < rows && j < cols ? starts[static_cast<std::size_t>(i)][j * col_stride] : Value(0);
  }
  Index rows, cols, col_stride;
  std::vector<std::vector<Value>> memory;
  std::vector<const Value*> starts;
};

/// Memory with a margin that must stay as it is. Entries inside must be written.
template <class Value>
class PoisonedMemory {
 public:
  explicit PoisonedMemory(Index size) : entries_(static_cast<std::size_t>(size + 2 * margin), poison()) {}
  Value* data() { return entries_.data() + margin; }
  Value operator[](Index i) const { return entries_[static_cast<std::size_t>(i + margin)]; }
  bool margins_are_kept() const {
    const Index size = static_cast<Index>(entries_.size());
    for (Index i = 0; i < margin; ++i)
      if (entries_[static_cast<std::size_t>(i)] != poison() ||
          entries_[static_cast<std::size_t>(size - 1 - i)] != poison())
        return false;
    return true;
  }
  static Value poison() { return Value(-128); }  // no entry of a matrix is

 private:
  static constexpr Index margin = 64;
  std::vector<Value> entries_;
};

/// Calls body(matrix) for matrices of 1 to most_rows rows and 1 to 70 columns, with contiguous rows and others.
template <class Value, class Body>
void for_each_matrix(Index most_rows, Body&& body) {
  const unsigned seed = 21;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (Index rows = 1; rows <= most_rows; ++rows)
    for (Index cols = 1; cols <= 70; ++cols) body(ScatteredRows<Value>(rows, cols, cols % 3 == 0 ? 3 : 1, rng));
}

}  // namespace

TEMPLATE_TEST_CASE("rows are packed as columns of the right operand", "[core]", Eigen::bfloat16, std::int8_t) {
  constexpr Index depth = unit::depth<TestType>, group = unit::group<TestType>;
  for_each_matrix<TestType>(unit::block, [&](const ScatteredRows<TestType>& from) {
    const Index steps = unit::steps_for<TestType>(from.cols);
    PoisonedMemory<TestType> to(steps * unit::step_size<TestType>);
    unit::pack_right_transposed(from.view(), from.rows, from.cols, to.data());
    bool equal = to.margins_are_kept();
    for (Index k = 0; k < steps * depth; ++k)
      for (Index j = 0; j < unit::block; ++j)
        equal = equal && to[k / group * unit::block * group + j * group + k % group] == from(j, k);
    CAPTURE(from.rows, from.cols, from.col_stride);
    CHECK(equal);
  });
}

TEMPLATE_TEST_CASE("rows are packed as rows of the left operand", "[core]", Eigen::bfloat16, std::int8_t) {
  constexpr Index depth = unit::depth<TestType>;
  for_each_matrix<TestType>(unit::block, [&](const ScatteredRows<TestType>& from) {
    const Index steps = unit::steps_for<TestType>(from.cols);
    PoisonedMemory<TestType> to(steps * unit::step_size<TestType>);
    unit::pack_left(from.view(), from.rows, from.cols, to.data());
    bool equal = to.margins_are_kept();
    for (Index k = 0; k < steps * depth; ++k)
      for (Index i = 0; i < unit::block; ++i)
        equal = equal && to[k / depth * unit::step_size<TestType> + i * depth + k % depth] == from(i, k);
    CAPTURE(from.rows, from.cols, from.col_stride);
    CHECK(equal);
  });
}

TEMPLATE_TEST_CASE("columns are packed as rows of the left operand", "[core]", Eigen::bfloat16, std::int8_t) {
  constexpr Index depth = unit::depth<TestType>, gap = 10;
  for_each_matrix<TestType>(depth, [&](const ScatteredRows<TestType>& from) {
    const Index blocks = unit::blocks_for(from.cols), stride = unit::step_size<TestType> + gap;
    PoisonedMemory<TestType> to(blocks * stride);
    unit::pack_left_transposed(from.view(), from.rows, from.cols, to.data(), stride);
    bool equal = to.margins_are_kept();
    for (Index f = 0; f < blocks * unit::block; ++f)
      for (Index k = 0; k < depth; ++k)
        equal = equal && to[f / unit::block * stride + f % unit::block * depth + k] == from(k, f);
    for (Index b = 0; b < blocks; ++b)
      for (Index i = 0; i < gap; ++i)
        equal = equal && to[b * stride + unit::step_size<TestType> + i] == PoisonedMemory<TestType>::poison();
    CAPTURE(from.rows, from.cols, from.col_stride);
    CHECK(equal);
  });
}

TEST_CASE("floats are rounded to pairs of bfloat16 numbers", "[core]") {
  const unsigned seed = 22;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (int round = 0; round < 100; ++round) {
    float first[unit::block], second[unit::block];
    for (Index j = 0; j < unit::block; ++j) {
      first[j] = static_cast<float>(std::exp2(200 * rng.uniform() - 100) * rng.normal());
      second[j] = static_cast<float>(rng.normal());
    }
    PoisonedMemory<Eigen::bfloat16> to(2 * unit::block);
    unit::store_pairs(first, second, to.data());
    bool equal = to.margins_are_kept();
    for (Index j = 0; j < unit::block; ++j)
      equal = equal && to[2 * j] == Eigen::bfloat16(first[j]) && to[2 * j + 1] == Eigen::bfloat16(second[j]);
    CHECK(equal);
  }
}

TEST_CASE("columns of floats are stored as rows of bfloat16 numbers", "[core]") {
  const unsigned seed = 23;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (Index rows = 0; rows <= 70; ++rows)
    for (Index count = 0; count <= unit::block; ++count) {
      std::vector<float> from(static_cast<std::size_t>(rows * unit::block));
      for (float& entry : from) entry = static_cast<float>(rng.normal());
      const Index stride = rows + 3;
      PoisonedMemory<Eigen::bfloat16> to(count * stride);
      unit::store_transposed(from.data(), rows, count, to.data(), stride);
      bool equal = to.margins_are_kept();
      for (Index j = 0; j < count; ++j)
        for (Index i = 0; i < stride; ++i)
          equal = equal &&
                  to[j * stride + i] == (i < rows ? Eigen::bfloat16(from[static_cast<std::size_t>(i * unit::block + j)])
                                                  : PoisonedMemory<Eigen::bfloat16>::poison());
      CAPTURE(rows, count);
      CHECK(equal);
    }
}

TEST_CASE("an infinity or NaN is found at every place of a row of bfloat16 numbers", "[core]") {
  const Eigen::bfloat16 largest = (std::numeric_limits<Eigen::bfloat16>::max)();
  const float infinity = std::numeric_limits<float>::infinity();
  for (Index count = 0; count <= 100; ++count) {
    // The entries beside the row must not count. A sanitizer finds accesses beyond these.
    std::vector<Eigen::bfloat16> row(static_cast<std::size_t>(count + 2), largest);
    row.front() = row.back() = Eigen::bfloat16(infinity);
    CAPTURE(count);
    CHECK(unit::all_below(row.data() + 1, count, 128));
    for (Index i = 1; i <= count; ++i)
      for (const float bad : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
        row[static_cast<std::size_t>(i)] = Eigen::bfloat16(bad);
        if (unit::all_below(row.data() + 1, count, 128)) FAIL_CHECK(bad << " at " << i - 1 << " was not found");
        row[static_cast<std::size_t>(i)] = Eigen::bfloat16(-1.0F);
      }
  }
}

TEST_CASE("a bfloat16 number that is too large is found", "[core]") {
  for (const int exponent : {-125, -1, 0, 1, 56, 127}) {
    CAPTURE(exponent);
    const auto limit = static_cast<float>(std::exp2(exponent));
    std::vector<Eigen::bfloat16> row(70, Eigen::bfloat16(limit * (1 - 0x1p-8F)));
    row[3] = Eigen::bfloat16(0.0F);
    row[5] = -row[5];
    CHECK(unit::all_below(row.data(), 70, exponent));
    for (const float bad : {limit, -limit}) {
      row[66] = Eigen::bfloat16(bad);
      CHECK_FALSE(unit::all_below(row.data(), 70, exponent));
    }
  }
}
