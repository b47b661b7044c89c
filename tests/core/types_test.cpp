#include "eigenformer/core/types.hpp"

#include <type_traits>

#include "support/catch.hpp"

namespace ef = eigenformer;
using ef::Index;

static_assert(std::is_same_v<ef::Index, Eigen::Index>);
static_assert(std::is_signed_v<ef::Token> && sizeof(ef::Token) == 4);
static_assert(ef::Matrix<float>::IsRowMajor && ef::Matrix<float>::RowsAtCompileTime == Eigen::Dynamic &&
              ef::Matrix<float>::ColsAtCompileTime == Eigen::Dynamic);
static_assert(std::is_same_v<ef::Matrix<double>::Scalar, double>);
// What cannot be written in place is refused, not copied.
static_assert(!std::is_convertible_v<Eigen::MatrixXf&, ef::MatrixRef<float>>);
static_assert(!std::is_convertible_v<const ef::Matrix<float>&, ef::MatrixRef<float>>);
static_assert(std::is_convertible_v<ef::Matrix<float>&, ef::MatrixRef<float>>);
static_assert(std::is_convertible_v<const Eigen::MatrixXf&, ef::ConstMatrixRef<float>>);
static_assert(!std::is_convertible_v<const Eigen::MatrixXd&, ef::ConstMatrixRef<float>>);

namespace {

ef::Matrix<float> counted(Index rows, Index cols) {
  ef::Matrix<float> m(rows, cols);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(i);
  return m;
}

const float* data_of(const ef::ConstMatrixRef<float>& m) {
  return m.data();
}

}  // namespace

TEST_CASE("a kernel's argument is not copied where rows are contiguous", "[core]") {
  const ef::Matrix<float> m = counted(4, 5);
  CHECK(m(1, 0) == 5);  // rows are contiguous
  CHECK(data_of(m) == m.data());
  CHECK(data_of(m.block(1, 2, 3, 2)) == &m(1, 2));
  CHECK(data_of(m.row(2)) == &m(2, 0));
  CHECK(data_of(ef::ConstMatrixMap<float>(m.data(), 2, 10)) == m.data());
  CHECK(data_of(Eigen::Map<const ef::Matrix<float>, 0, Eigen::OuterStride<>>(m.data(), 2, 3,
                                                                             Eigen::OuterStride<>(7))) == m.data());
}

TEST_CASE("a kernel's argument may be anything with these entries", "[core]") {
  const ef::Matrix<float> m = counted(4, 5);
  const Eigen::MatrixXf by_columns = m;
  const auto equals = [](const ef::ConstMatrixRef<float>& given, const ef::Matrix<float>& expected) {
    return given.innerStride() == 1 && given == expected;
  };
  CHECK(equals(by_columns, m));
  CHECK(equals(m.transpose(), ef::Matrix<float>(m.transpose())));
  CHECK(equals(m + m, ef::Matrix<float>(2 * m)));
  CHECK(equals(m.col(3), ef::Matrix<float>(m.col(3))));
  CHECK(equals(by_columns.row(3), ef::Matrix<float>(m.row(3))));
}

TEST_CASE("a kernel writes to matrices, maps and blocks where they lie", "[core]") {
  const auto fill = [](ef::MatrixRef<float> m) { m.setConstant(-1); };
  ef::Matrix<float> m = counted(4, 5);
  fill(m.block(1, 2, 2, 3));
  ef::Matrix<float> expected = counted(4, 5);
  for (Index i = 1; i < 3; ++i)
    for (Index j = 2; j < 5; ++j) expected(i, j) = -1;
  CHECK(m == expected);
  ef::MatrixMap<float> map(m.data(), 10, 2);
  fill(map.bottomRows(1));
  expected(3, 3) = expected(3, 4) = -1;
  CHECK(m == expected);
}
