#include "eigenformer/core/detail/readable.hpp"

#include <vector>

#include "support/catch.hpp"

namespace ef = eigenformer;
using ef::Index;

namespace {

bool has_entries_of(const ef::TensorView<const float>& view, const Eigen::MatrixXf& expected) {
  return view.matrix() == expected;
}

// Viewed where `first` is, with the argument's entries.
template <class Derived>
bool is_view(const Eigen::MatrixBase<Derived>& argument, const float* first) {
  const ef::Readable<Derived> readable(argument);
  return readable.view().data() == first && has_entries_of(readable.view(), argument);
}

// Copied, with the argument's entries.
template <class Derived>
bool is_copy(const Eigen::MatrixBase<Derived>& argument, const Eigen::MatrixXf& of) {
  const ef::Readable<Derived> readable(argument);
  const float* data = readable.view().data();
  return (data < of.data() || data >= of.data() + of.size()) && has_entries_of(readable.view(), argument);
}

}  // namespace

TEST_CASE("what lies in memory is not copied", "[core]") {
  Eigen::MatrixXf m = Eigen::MatrixXf::Random(6, 8);
  const Eigen::MatrixXf& constant = m;
  const ef::Matrix<float> by_rows = m;
  const Eigen::VectorXf vector = m.col(0);
  const Eigen::Matrix3f fixed = m.topLeftCorner<3, 3>();
  CHECK(is_view(m, m.data()));
  CHECK(is_view(constant, m.data()));
  CHECK(is_view(by_rows, by_rows.data()));
  CHECK(is_view(vector, vector.data()));
  CHECK(is_view(fixed, fixed.data()));
  CHECK(is_view(fixed.topRightCorner<2, 1>(), &fixed(0, 2)));
  CHECK(is_view(m.transpose(), m.data()));
  CHECK(is_view(m.block(2, 3, 3, 4), &m(2, 3)));
  CHECK(is_view(m.row(4), &m(4, 0)));
  CHECK(is_view(by_rows.col(5).transpose(), &by_rows(0, 5)));
  CHECK(is_view(m.block(1, 1, 4, 4).transpose().block(1, 0, 2, 2), &m(1, 2)));
  CHECK(is_view(m.array().matrix(), m.data()));
  CHECK(is_view(m.reshaped(4, 12), m.data()));

  using Stride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
  CHECK(is_view(Eigen::Map<const Eigen::MatrixXf, 0, Stride>(m.data() + 1, 3, 4, Stride(12, 2)), m.data() + 1));
  CHECK(is_view(Eigen::Map<ef::Matrix<float>, 0, Stride>(m.data() + 1, 3, 4, Stride(1, 6)), m.data() + 1));
  CHECK(is_view(Eigen::Map<Eigen::MatrixXf, 0, Eigen::InnerStride<2>>(m.data(), 24, 1), m.data()));
  CHECK(is_view(Eigen::Ref<Eigen::MatrixXf>(m), m.data()));
  CHECK(is_view(Eigen::Ref<const Eigen::MatrixXf, 0, Stride>(m.block(1, 1, 2, 2)), &m(1, 1)));
  CHECK(is_view(ef::ConstMatrixRef<float>(by_rows), by_rows.data()));
}

TEST_CASE("an expression is evaluated once", "[core]") {
  int evaluations = 0;
  const auto count = [&](Index i, Index j) {
    ++evaluations;
    return static_cast<float>(10 * i + j);
  };
  const auto expression = ef::Matrix<float>::NullaryExpr(4, 5, count);
  const ef::Readable<std::remove_cvref_t<decltype(expression)>> readable(expression);
  CHECK(evaluations == 20);
  for (int time = 0; time < 2; ++time)
    for (Index i = 0; i < 4; ++i)
      for (Index j = 0; j < 5; ++j) CHECK(readable.view()(i, j) == static_cast<float>(10 * i + j));
  CHECK(evaluations == 20);
}

TEST_CASE("expressions of all kinds are read", "[core]") {
  const Eigen::MatrixXf m = (100 * Eigen::ArrayXXf::Random(6, 8)).round();  // so that products are exact
  CHECK(is_copy(2 * m, m));
  CHECK(is_copy(m.lazyProduct(m.transpose()), m));
  CHECK(is_copy(m.reverse(), m));
  CHECK(is_copy(m.replicate(2, 1), m));
  CHECK(is_copy((m + m).transpose(), m));
  CHECK(is_copy(m.cwiseAbs().row(2), m));
  CHECK(is_copy(Eigen::MatrixXf::Constant(2, 3, 1.5F), m));
  // Views of which Eigen 3.4 does not tell the memory.
  const auto by_steps = m(Eigen::seq(0, 4, 2), Eigen::all);
  CHECK(has_entries_of(ef::Readable(by_steps).view(), by_steps));
  const auto by_fixed_steps = m(Eigen::seq(0, 4, Eigen::fix<2>), Eigen::seqN(1, 3));
  CHECK(has_entries_of(ef::Readable(by_fixed_steps).view(), by_fixed_steps));
  CHECK(is_copy(m(std::vector<Index>{5, 0, 0}, Eigen::all), m));
}

TEST_CASE("matrices without entries are read", "[core]") {
  const Eigen::MatrixXf no_rows(0, 4);
  const ef::Readable<Eigen::MatrixXf> readable(no_rows);
  CHECK(readable.view().dimension(0) == 0);
  CHECK(readable.view().dimension(1) == 4);
}
