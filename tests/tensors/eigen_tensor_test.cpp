#include "eigenformer/tensors/eigen_tensor.hpp"

#include "eigenformer/tensors/arithmetic.hpp"

#include <cstdint>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::eigen_tensor_map;
using ef::Index;
using ef::Tensor;
using ef::tensor_view;
using ef::TensorView;
using ef::testing::message_of;

namespace {

template <class T>
concept Viewable = requires(T&& x) {
  tensor_view(std::forward<T>(x));
};
template <class T>
concept Mappable = requires(T&& x) {
  eigen_tensor_map<3>(std::forward<T>(x));
};

using Columns = Eigen::Tensor<float, 3>;
using Rows = Eigen::Tensor<float, 3, Eigen::RowMajor>;
using Fixed = Eigen::TensorFixedSize<double, Eigen::Sizes<2, 3, 4>>;

// Temporaries that own their memory would not outlive the view.
static_assert(Viewable<Columns&> && Viewable<const Columns&> && !Viewable<Columns> && !Viewable<const Columns>);
static_assert(Viewable<Fixed&> && !Viewable<Fixed>);
static_assert(Viewable<Eigen::TensorMap<Columns>>);
static_assert(Mappable<Tensor<float>&> && Mappable<const Tensor<float>&> && !Mappable<Tensor<float>>);
static_assert(Mappable<TensorView<float>> && Mappable<TensorView<const float>>);

template <class X>
inline constexpr bool views_const = std::is_same_v<decltype(tensor_view(std::declval<X>())), TensorView<const float>>;
static_assert(!views_const<Columns&> && views_const<const Columns&>);
static_assert(!views_const<Eigen::TensorMap<Columns>> && views_const<Eigen::TensorMap<const Columns>>);

// Whether both have the same entries at the same places in memory, index by index.
template <class EigenTensor, class Scalar>
bool shares_entries(const EigenTensor& a, const TensorView<Scalar>& x) {
  bool same = x.rank() == 3;
  for (Index i = 0; i < x.dimension(0); ++i)
    for (Index j = 0; j < x.dimension(1); ++j)
      for (Index k = 0; k < x.dimension(2); ++k) same = same && &a(i, j, k) == &x(i, j, k);
  return same;
}

template <class EigenTensor>
void count_up(EigenTensor& a) {
  for (Index i = 0; i < a.size(); ++i) a.data()[i] = static_cast<typename EigenTensor::Scalar>(i);
}

}  // namespace

TEST_CASE("an Eigen tensor of either storage order is viewed in place", "[tensors]") {
  Columns columns(2, 3, 4);
  Rows rows(2, 3, 4);
  Fixed fixed;
  CHECK(tensor_view(columns).shape() == ef::Sizes{2, 3, 4});
  CHECK(tensor_view(columns).strides() == ef::Sizes{1, 2, 6});
  CHECK(tensor_view(rows).strides() == ef::Sizes{12, 4, 1});
  CHECK(tensor_view(fixed).strides() == ef::Sizes{1, 2, 6});
  CHECK(shares_entries(columns, tensor_view(columns)));
  CHECK(shares_entries(rows, tensor_view(rows)));
  CHECK(shares_entries(fixed, tensor_view(fixed)));
  CHECK(shares_entries(std::as_const(columns), tensor_view(std::as_const(columns))));

  count_up(columns);
  tensor_view(columns).array() = tensor_view(columns) + 1.0F;
  CHECK(columns(1, 2, 3) == 24);
  tensor_view(rows).array() = tensor_view(columns);
  CHECK(rows(1, 0, 2) == columns(1, 0, 2));

  const Eigen::Tensor<std::int16_t, 1, Eigen::RowMajor, int> vector(5);
  CHECK(tensor_view(vector).shape() == ef::Sizes{5});
  Eigen::Tensor<double, 0> scalar;
  scalar() = 7;
  CHECK(tensor_view(scalar).rank() == 0);
  CHECK(tensor_view(scalar).item() == 7);
  const Columns empty(2, 0, 4);
  CHECK(tensor_view(empty).shape() == ef::Sizes{2, 0, 4});
  const Eigen::Tensor<float, 8> eight(1, 2, 1, 2, 1, 2, 1, 2);
  CHECK(tensor_view(eight).shape() == ef::Sizes{1, 2, 1, 2, 1, 2, 1, 2});
}

TEST_CASE("an Eigen tensor map is viewed in place", "[tensors]") {
  std::vector<float> values(24);
  const Eigen::TensorMap<Columns> columns(values.data(), 2, 3, 4);
  const Eigen::TensorMap<const Rows> rows(values.data(), 2, 3, 4);
  CHECK(shares_entries(rows, tensor_view(rows)));
  CHECK(tensor_view(columns).strides() == ef::Sizes{1, 2, 6});
  tensor_view(Eigen::TensorMap<Columns>(values.data(), 2, 3, 4))(1, 0, 2) = 5;
  CHECK(values[1 + 2 * 6] == 5);
  tensor_view(columns)(0, 0, 0) = 6;
  CHECK(values[0] == 6);
}

TEST_CASE("a contiguous tensor is an Eigen tensor map", "[tensors]") {
  Tensor<float> x({2, 3, 4});
  auto map = eigen_tensor_map<3>(x);
  static_assert(static_cast<int>(decltype(map)::Layout) == static_cast<int>(Eigen::RowMajor));
  CHECK(shares_entries(map, x.view()));
  map = map + map.constant(2.0F);
  CHECK(x(1, 2, 3) == 2);
  const Tensor<float>& constant = x;
  CHECK(shares_entries(eigen_tensor_map<3>(constant), constant.view()));
  CHECK(shares_entries(eigen_tensor_map<3>(x.view()), x.view()));

  // Column-major: the dimensions of contiguous memory, reversed.
  const TensorView<float> reversed = x.permute({2, 1, 0});
  const auto columns = eigen_tensor_map<3, Eigen::ColMajor>(reversed);
  CHECK(shares_entries(columns, reversed));
  CHECK(columns.dimension(0) == 4);

  Tensor<double> scalar({}, 3.0), empty({0, 2});
  CHECK(eigen_tensor_map<0>(scalar)() == 3);
  CHECK(eigen_tensor_map<2>(empty).dimension(1) == 2);
  const TensorView<float> rows = x.slice(0, {.begin = 1});  // still contiguous
  CHECK(shares_entries(eigen_tensor_map<3>(rows), rows));
  // The strides of dimensions of one entry do not matter.
  const TensorView<float> one(x.data(), {1, 3, 4}, {77, 4, 1});
  CHECK(shares_entries(eigen_tensor_map<3>(one), one));
}

TEST_CASE("what an Eigen tensor map cannot express is refused", "[tensors]") {
  Tensor<float> x({2, 3, 4});
  CHECK(message_of([&] { eigen_tensor_map<2>(x); }) == "eigen_tensor_map: a tensor [2 x 3 x 4], expected 2 dimensions");
  CHECK(message_of([&] { eigen_tensor_map<3>(x.transpose()); }) ==
        "eigen_tensor_map: a tensor [2 x 4 x 3] with strides [12 x 1 x 4], expected contiguous entries, the last "
        "dimension's next to each other");
  CHECK(message_of([&] { eigen_tensor_map<3, Eigen::ColMajor>(x.view()); }) ==
        "eigen_tensor_map: a tensor [2 x 3 x 4] with strides [12 x 4 x 1], expected contiguous entries, the first "
        "dimension's next to each other");
  CHECK_THROWS_AS(eigen_tensor_map<3>(x.slice(2, {.begin = 1})), ef::Error);
  CHECK_THROWS_AS(eigen_tensor_map<3>(x.slice(0, {.step = -1})), ef::Error);
  CHECK_THROWS_AS(eigen_tensor_map<4>(x.unsqueeze(0).expand({2, 2, 3, 4})), ef::Error);
}
