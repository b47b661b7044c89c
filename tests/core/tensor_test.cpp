#include "eigenformer/core/tensor.hpp"

#include <cstdint>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "tensors/tensor_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Sizes;
using ef::Tensor;
using ef::TensorView;
using ef::testing::entries_of;
using ef::testing::message_of;

static_assert(std::is_same_v<decltype(std::declval<const Tensor<float>&>()(0, 0)), const float&>);
static_assert(std::is_same_v<decltype(std::declval<Tensor<float>&>()(0, 0)), float&>);
static_assert(std::is_same_v<decltype(std::declval<const Tensor<float>&>().data()), const float*>);
static_assert(std::is_same_v<decltype(std::declval<const Tensor<float>&>().item()), const float&>);
static_assert(std::is_nothrow_move_constructible_v<Tensor<float>> && std::is_nothrow_move_assignable_v<Tensor<float>>);
static_assert(!std::is_convertible_v<TensorView<float>, Tensor<float>>);
static_assert(!std::is_convertible_v<Sizes, Tensor<float>>);
static_assert(!std::is_constructible_v<Tensor<float>, Tensor<double>>);
static_assert(!std::is_constructible_v<Tensor<float>, TensorView<const double>>);
static_assert(ef::Number<float> && ef::Number<bool> && ef::Number<Eigen::half> && !ef::Number<Tensor<float>>);
static_assert(ef::TensorLike<Tensor<float>&> && ef::TensorLike<const TensorView<const int>> && !ef::TensorLike<float> &&
              !ef::TensorLike<Eigen::MatrixXf> && !ef::TensorLike<Sizes>);

namespace {

// Whether all functions that return views return a View.
template <class T, class View>
constexpr bool lends_views = requires(T&& x, Sizes sizes, std::span<const Index> list) {
  { std::forward<T>(x).view() } -> std::same_as<View>;
  { std::forward<T>(x).select(0, 0) } -> std::same_as<View>;
  { std::forward<T>(x).slice(0, ef::Slice()) } -> std::same_as<View>;
  { std::forward<T>(x).permute(sizes) } -> std::same_as<View>;
  { std::forward<T>(x).transpose() } -> std::same_as<View>;
  { std::forward<T>(x).expand(sizes) } -> std::same_as<View>;
  { std::forward<T>(x).diagonal() } -> std::same_as<View>;
  { std::forward<T>(x).split(1) } -> std::same_as<std::vector<View>>;
  { std::forward<T>(x).split(list) } -> std::same_as<std::vector<View>>;
};
// Whether a function compiles that would return a view of a temporary.
template <class T>
constexpr bool lends_any_view = requires(T&& x) {
  std::forward<T>(x).view();
}
|| requires(T&& x) {
  std::forward<T>(x).array();
}
|| requires(T&& x) {
  std::forward<T>(x).select(0, 0);
}
|| requires(T&& x) {
  std::forward<T>(x).slice(0, ef::Slice());
}
|| requires(T&& x, Sizes sizes) {
  std::forward<T>(x).permute(sizes);
}
|| requires(T&& x) {
  std::forward<T>(x).transpose();
}
|| requires(T&& x, Sizes sizes) {
  std::forward<T>(x).expand(sizes);
}
|| requires(T&& x) {
  std::forward<T>(x).diagonal();
}
|| requires(T&& x) {
  std::forward<T>(x).split(1);
}
|| requires(T&& x, std::span<const Index> list) {
  std::forward<T>(x).split(list);
};
// Whether functions that only change the shape return a Result.
template <class T, class Result>
constexpr bool reshapes_to = requires(T&& x, Sizes sizes) {
  { std::forward<T>(x).reshape(sizes) } -> std::same_as<Result>;
  { std::forward<T>(x).flatten() } -> std::same_as<Result>;
  { std::forward<T>(x).squeeze() } -> std::same_as<Result>;
  { std::forward<T>(x).squeeze(0) } -> std::same_as<Result>;
  { std::forward<T>(x).unsqueeze(0) } -> std::same_as<Result>;
};

// Entries, rows and matrices of a temporary are copies.
template <class T>
constexpr bool gives_copies = requires(T&& x) {
  { std::forward<T>(x)(0, 0) } -> std::same_as<float>;
  { std::forward<T>(x).item() } -> std::same_as<float>;
  { std::forward<T>(x).matrix() } -> std::same_as<ef::Matrix<float>>;
  { std::forward<T>(x).row(0) } -> std::same_as<Eigen::Matrix<float, 1, Eigen::Dynamic>>;
};
static_assert(gives_copies<Tensor<float>> && gives_copies<const Tensor<float>>);
static_assert(!gives_copies<Tensor<float>&> && !gives_copies<const Tensor<float>&>);

static_assert(lends_views<Tensor<float>&, TensorView<float>>);
static_assert(lends_views<const Tensor<float>&, TensorView<const float>>);
static_assert(!lends_any_view<Tensor<float>> && !lends_any_view<const Tensor<float>>);
static_assert(reshapes_to<Tensor<float>&, TensorView<float>>);
static_assert(reshapes_to<const Tensor<float>&, TensorView<const float>>);
static_assert(reshapes_to<Tensor<float>, Tensor<float>>);
static_assert(!reshapes_to<const Tensor<float>, TensorView<const float>>);

template <class Scalar>
Tensor<Scalar> counted_tensor(const Sizes& shape) {
  Tensor<Scalar> x(shape);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<Scalar>(static_cast<float>(i));
  return x;
}

template <class Scalar>
bool is_empty(const Tensor<Scalar>& x) {
  return x.size() == 0 && x.shape() == Sizes{0} && x.view().size() == 0;
}

}  // namespace

TEST_CASE("a tensor owns its memory", "[core]") {
  Tensor<float> tensor({2, 3, 4});
  CHECK(tensor.size() == 24);
  CHECK(tensor.rank() == 3);
  CHECK(tensor.shape() == Sizes{2, 3, 4});
  CHECK(tensor.strides() == Sizes{12, 4, 1});
  CHECK(tensor.dimension(2) == 4);
  CHECK(tensor.dimension(-3) == 2);
  CHECK(tensor.stride(-2) == 4);
  if (EIGEN_MAX_ALIGN_BYTES > 0)
    CHECK(reinterpret_cast<std::uintptr_t>(tensor.data()) % std::max(EIGEN_MAX_ALIGN_BYTES, 1) == 0);
  for (Index i = 0; i < 24; ++i) CHECK(tensor.data()[i] == 0);

  tensor(1, 2, 3) = 5;
  CHECK(tensor.data()[23] == 5);
  CHECK(&tensor(-1, -1, -1) == &tensor.data()[23]);
  tensor.matrix(0)(1, 2) = 7;
  CHECK(tensor(0, 1, 2) == 7);
  tensor.row(0, 1)(3) = 8;
  CHECK(tensor.data()[7] == 8);
  Tensor<float> copy = tensor;
  copy(0, 0, 0) = 9;
  CHECK(tensor(0, 0, 0) == 0);
  const Tensor<float>& constant = tensor;
  CHECK(constant(0, 1, 2) == 7);
  CHECK(constant.matrix(1)(2, 3) == 5);
  CHECK(constant.row(-1, -1)(3) == 5);
  CHECK(&constant.view()(1, 2, 3) == &tensor(1, 2, 3));
  CHECK(&tensor.view()(1, 2, 3) == &tensor(1, 2, 3));
}

TEST_CASE("a tensor is made of values, views and matrices", "[core]") {
  CHECK(entries_of(Tensor<int>({2, 2}, 3)) == std::vector<int>{3, 3, 3, 3});
  const std::vector<int> values{1, 2, 3, 4, 5, 6};
  const Tensor<int> x({2, 3}, values);
  CHECK(x.shape() == Sizes{2, 3});
  CHECK(entries_of(x) == values);
  const Tensor<int> transposed(x.transpose());
  CHECK(entries_of(transposed) == std::vector<int>{1, 4, 2, 5, 3, 6});
  Tensor<int> writable = x;
  CHECK(entries_of(Tensor<int>(writable.slice(1, {.step = -1}))) == std::vector<int>{3, 2, 1, 6, 5, 4});
  static_assert(std::is_same_v<decltype(Tensor(writable.view())), Tensor<int>>);
  static_assert(std::is_same_v<decltype(Tensor(x.view())), Tensor<int>>);

  const Eigen::MatrixXi matrix = Eigen::MatrixXi::Random(3, 4).unaryExpr([](int i) { return i % 10; });
  const Tensor<int> of_matrix(matrix);
  CHECK(of_matrix.shape() == Sizes{3, 4});
  CHECK(of_matrix.matrix() == matrix);
  CHECK(Tensor<int>(matrix.transpose() * matrix).matrix() == matrix.transpose() * matrix);
  CHECK(Tensor<int>(matrix.array() + 1).matrix() == (matrix.array() + 1).matrix());
  CHECK(Tensor<int>(matrix.block(1, 1, 2, 2)).matrix() == matrix.block(1, 1, 2, 2));
  CHECK(Tensor<int>(Eigen::VectorXi(matrix.col(1))).shape() == Sizes{3, 1});
  CHECK(Tensor<int>(Eigen::MatrixXi(0, 4)).shape() == Sizes{0, 4});

  CHECK(message_of([&] { Tensor<int>({2, 4}, values); }) == "TensorView: 6 values, the shape is [2 x 4]");
  CHECK(message_of([] { Tensor<float>({2, -3}); }) == "Tensor: the shape is [2 x -3], expected sizes of 0 or more");
  const Index large = Index{1} << (sizeof(Index) * 4);
  CHECK(message_of([&] { Tensor<float>({large, large}); }).find("too many entries") != std::string::npos);
  CHECK(message_of([&] { Tensor<int>({large, large}, values); }).find("too many entries") != std::string::npos);
}

TEST_CASE("tensors of rank 0 and without entries", "[core]") {
  Tensor<float> scalar({}, 3.0F);
  CHECK(scalar.size() == 1);
  CHECK(scalar.rank() == 0);
  CHECK(scalar() == 3);
  scalar.item() = 4;
  CHECK(scalar() == 4);
  CHECK(Tensor<float>({1, 1}, 2.0F).item() == 2);
  CHECK(message_of([] { Tensor<float>({2}).item(); }) == "item: a tensor [2], expected one entry");

  CHECK(is_empty(Tensor<float>()));
  const Tensor<double> nothing({2, 3, 0, 4});
  CHECK(nothing.size() == 0);
  CHECK(nothing.shape() == Sizes{2, 3, 0, 4});
  CHECK(nothing.select(3, 2).shape() == Sizes{2, 3, 0});
  CHECK(nothing.slice(1, {.begin = 2}).contiguous().shape() == Sizes{2, 1, 0, 4});
  CHECK(nothing.cast<float>().shape() == nothing.shape());
  CHECK(message_of([&] { nothing.select(2, 0); }) == "select: index 0 of a dimension of 0 entries");
  Tensor<double> target({2, 3, 0, 4});
  nothing.copy_to(target);
  CHECK(Tensor<float>({0, Index{1} << (sizeof(Index) * 4), Index{1} << (sizeof(Index) * 4)}).size() == 0);
}

TEST_CASE("a moved-from tensor is empty", "[core]") {
  Tensor<float> x = counted_tensor<float>({2, 3});
  const float* data = x.data();
  Tensor<float> moved = std::move(x);
  CHECK(moved.data() == data);
  CHECK(moved.shape() == Sizes{2, 3});
  CHECK(is_empty(x));  // NOLINT: this is the test

  Tensor<float> target({5});
  target = std::move(moved);
  CHECK(target.data() == data);
  CHECK(target.shape() == Sizes{2, 3});
  CHECK(is_empty(moved));  // NOLINT

  Tensor<float>& same = target;
  target = std::move(same);
  CHECK(target.size() == ef::count_of(target.shape()));
  target = counted_tensor<float>({2, 3});

  Tensor<float> reshaped = std::move(target).reshape({3, -1});
  CHECK(reshaped.shape() == Sizes{3, 2});
  CHECK(entries_of(reshaped) == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(is_empty(target));  // NOLINT
  data = reshaped.data();
  reshaped = std::move(reshaped).reshape(reshaped.shape());
  CHECK(reshaped.shape() == Sizes{3, 2});
  reshaped = std::move(reshaped).unsqueeze(0);
  CHECK(reshaped.shape() == Sizes{1, 3, 2});
  reshaped = std::move(reshaped).flatten(1);
  CHECK(reshaped.shape() == Sizes{1, 6});
  reshaped = std::move(reshaped).squeeze();
  CHECK(reshaped.shape() == Sizes{6});
  reshaped = std::move(reshaped).unsqueeze(-1).squeeze(1);
  CHECK(reshaped.shape() == Sizes{6});
  CHECK(reshaped.data() == data);
  CHECK(message_of([&] { std::move(reshaped).reshape({5}); }) == "reshape: a tensor [6] has no shape [5]");
  CHECK(reshaped.size() == 6);  // NOLINT: nothing was moved
  std::swap(reshaped, target);
  CHECK(target.data() == data);
  CHECK(is_empty(reshaped));
}

TEST_CASE("matrices, rows and entries of a temporary tensor are copies", "[core]") {
  const auto temporary = [] { return counted_tensor<float>({2, 3, 4}); };
  const auto matrix = temporary().matrix(1);
  const auto row = temporary().row(1, -1);
  CHECK((matrix.rows() == 3 && matrix.cols() == 4 && matrix(0, 0) == 12 && matrix(2, 3) == 23));
  CHECK((row.cols() == 4 && row(0) == 20 && row(3) == 23));
  CHECK(temporary()(1, 0, -1) == 15);
  CHECK(Tensor<float>({1, 1}, 5.0F).item() == 5);
  CHECK_THROWS_AS(temporary().item(), ef::Error);
  const Tensor<float> kept = temporary();
  CHECK((kept.matrix(1).data() == kept.data() + 12 && kept.row(1, 2).data() == kept.data() + 20));
}

TEST_CASE("a tensor's views are those of TensorView", "[core]") {
  Tensor<int> x = counted_tensor<int>({2, 3, 4});
  const Tensor<int>& constant = x;
  CHECK(&x.select(1, 2)(1, 3) == &x(1, 2, 3));
  CHECK(&constant.select(-1, 3)(1, 2) == &x(1, 2, 3));
  CHECK(&x.slice(2, {.begin = 1, .step = 2})(1, 2, 1) == &x(1, 2, 3));
  CHECK(&constant.slice(0, {.begin = 1})(0, 0, 0) == &x(1, 0, 0));
  CHECK(&x.permute({2, 0, 1})(3, 1, 2) == &x(1, 2, 3));
  CHECK(&constant.transpose()(1, 3, 2) == &x(1, 2, 3));
  CHECK(&x.transpose(0, 1)(2, 1, 3) == &x(1, 2, 3));
  CHECK(&constant.reshape({6, 4})(5, 3) == &x(1, 2, 3));
  CHECK(&x.flatten()(23) == &x(1, 2, 3));
  CHECK(&constant.flatten(1)(1, 11) == &x(1, 2, 3));
  CHECK(&x.unsqueeze(1).squeeze()(1, 2, 3) == &x(1, 2, 3));
  CHECK(&constant.unsqueeze(-1).squeeze(3)(1, 2, 3) == &x(1, 2, 3));
  CHECK(&x.expand({5, 2, 3, 4})(4, 1, 2, 3) == &x(1, 2, 3));
  CHECK(&constant.diagonal()(1, 2) == &x(1, 2, 2));
  CHECK(&x.diagonal(0, 1)(3, 1) == &x(1, 1, 3));
  CHECK(&x.split(2, 1)[1](1, 0, 3) == &x(1, 2, 3));
  CHECK(&constant.split(std::vector<Index>{1, 3}, 2)[1](1, 2, 2) == &x(1, 2, 3));
  x.slice(0, {.end = 1}).copy_to(x);
  CHECK(x(1, 2, 3) == 11);
}

TEMPLATE_TEST_CASE("entries of every type can be kept and cast", "[core]", float, double, Eigen::half, Eigen::bfloat16,
                   int, Index, std::uint8_t, bool) {
  const std::vector<float> numbers{0, 1, 2, 100};
  Tensor<TestType> x({2, 2});
  for (std::size_t i = 0; i < 4; ++i) x.data()[i] = static_cast<TestType>(numbers[i]);
  const Tensor<TestType> turned(x.transpose());
  const bool is_bool = std::is_same_v<TestType, bool>;
  CHECK(entries_of(turned.template cast<float>()) ==
        (is_bool ? std::vector<float>{0, 1, 1, 1} : std::vector<float>{0, 2, 1, 100}));
  CHECK(entries_of(turned.template cast<int>()) ==
        (is_bool ? std::vector<int>{0, 1, 1, 1} : std::vector<int>{0, 2, 1, 100}));
  CHECK(entries_of(turned.template cast<bool>()) == std::vector<bool>{false, true, true, true});
  CHECK(static_cast<float>(turned.template cast<Eigen::bfloat16>()(0, 1)) == (is_bool ? 1 : 2));
  CHECK(static_cast<float>(turned.template cast<Eigen::half>()(0, 1)) == (is_bool ? 1 : 2));
  CHECK(turned.matrix().rows() == 2);
}
