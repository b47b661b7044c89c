#include "eigenformer/tensors/mdspan.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Tensor;
using ef::tensor_view;
using ef::TensorView;
using ef::testing::message_of;

namespace {

// What std::mdspan is like, written here because compilers before GCC 15 lack it: extents, a layout and a pointer.

/// Extents that are known when compiling.
template <std::size_t... sizes>
struct StaticExtents {
  static constexpr std::size_t rank() { return sizeof...(sizes); }
  std::size_t operator[](std::size_t r) const {
    const std::array<std::size_t, sizeof...(sizes) + 1> all{sizes..., 0};
    return all[r];
  }
};

/// Extents that are known when running.
template <std::size_t count>
struct DynamicExtents {
  static constexpr std::size_t rank() { return count; }
  std::array<std::size_t, count> all;
  std::size_t operator[](std::size_t r) const { return all[r]; }
};

struct LeftLayout {
  template <class Extents>
  std::size_t stride(const Extents& extents, std::size_t r) const {
    std::size_t stride = 1;
    for (std::size_t i = 0; i < r; ++i) stride *= extents[i];
    return stride;
  }
};
struct RightLayout {
  template <class Extents>
  std::size_t stride(const Extents& extents, std::size_t r) const {
    std::size_t stride = 1;
    for (std::size_t i = r + 1; i < Extents::rank(); ++i) stride *= extents[i];
    return stride;
  }
};
struct StridedLayout {
  std::vector<std::size_t> strides;
  template <class Extents>
  std::size_t stride(const Extents&, std::size_t r) const {
    return strides[r];
  }
};

template <class Element, class Extents, class Layout>
class LookAlike {
 public:
  using element_type = Element;
  using reference = Element&;

  LookAlike(Element* data, Extents extents, Layout layout = {})
      : data_(data), extents_(extents), layout_(std::move(layout)) {}
  static constexpr std::size_t rank() { return Extents::rank(); }
  std::size_t extent(std::size_t r) const { return extents_[r]; }
  std::size_t stride(std::size_t r) const { return layout_.stride(extents_, r); }
  bool is_strided() const { return strided; }
  Element* data_handle() const { return data_; }
  Element& at(std::size_t i, std::size_t j, std::size_t k) const {
    return data_[i * stride(0) + j * stride(1) + k * stride(2)];
  }

  bool strided = true;

 private:
  Element* data_;
  Extents extents_;
  Layout layout_;
};

/// What one of the linear algebra proposals' accessors gives: a value, not a reference.
struct ScaledLookAlike : LookAlike<float, DynamicExtents<1>, RightLayout> {
  using reference = float;
};

/// A span with as few members as a view needs, and signed sizes.
struct Small {
  const std::int8_t* data;
  std::ptrdiff_t extent(std::size_t) const { return 3; }
  std::ptrdiff_t stride(std::size_t) const { return -1; }
  int rank() const { return 1; }
  const std::int8_t* data_handle() const { return data; }
};

static_assert(ef::Mdspan<LookAlike<float, DynamicExtents<2>, RightLayout>>);
static_assert(ef::Mdspan<LookAlike<const float, StaticExtents<2, 3>, LeftLayout>>);
static_assert(ef::Mdspan<Small>);
static_assert(!ef::Mdspan<ScaledLookAlike>);
static_assert(!ef::Mdspan<TensorView<float>> && !ef::Mdspan<Eigen::MatrixXf> && !ef::Mdspan<std::span<float>>);

template <class Span>
bool same_entries(const Span& span, const auto& view) {
  bool same = view.rank() == 3;
  for (std::size_t i = 0; i < span.extent(0); ++i)
    for (std::size_t j = 0; j < span.extent(1); ++j)
      for (std::size_t k = 0; k < span.extent(2); ++k) same = same && &span.at(i, j, k) == &view(i, j, k);
  return same;
}

template <class Extents>
void check_layouts(const Extents& extents) {
  std::vector<double> values(200);
  const LookAlike<double, Extents, LeftLayout> left(values.data(), extents);
  const LookAlike<double, Extents, RightLayout> right(values.data(), extents);
  const LookAlike<double, Extents, StridedLayout> strided(values.data(), extents, {{5, 40, 10}});
  const LookAlike<const double, Extents, LeftLayout> constant(values.data(), extents);
  CHECK(tensor_view(left).shape() == ef::Sizes{2, 3, 4});
  CHECK(tensor_view(left).strides() == ef::Sizes{1, 2, 6});
  CHECK(tensor_view(right).strides() == ef::Sizes{12, 4, 1});
  CHECK(tensor_view(strided).strides() == ef::Sizes{5, 40, 10});
  CHECK(same_entries(left, tensor_view(left)));
  CHECK(same_entries(right, tensor_view(right)));
  CHECK(same_entries(strided, tensor_view(strided)));
  CHECK(same_entries(constant, tensor_view(constant)));
  static_assert(std::is_same_v<decltype(tensor_view(left)), TensorView<double>>);
  static_assert(std::is_same_v<decltype(tensor_view(constant)), TensorView<const double>>);
  tensor_view(strided)(1, 2, 3) = 8;
  CHECK(values[5 + 80 + 30] == 8);
}

}  // namespace

TEST_CASE("a multidimensional span is viewed in place, whatever its extents and layout", "[tensors]") {
  check_layouts(DynamicExtents<3>{{2, 3, 4}});
  check_layouts(StaticExtents<2, 3, 4>());

  float value = 3;
  CHECK(tensor_view(LookAlike<float, StaticExtents<>, RightLayout>(&value, {})).item() == 3);
  CHECK(tensor_view(LookAlike<float, StaticExtents<2, 0>, RightLayout>(nullptr, {})).shape() == ef::Sizes{2, 0});
  const std::vector<std::int8_t> backwards{1, 2, 3};
  CHECK(tensor_view(Small{backwards.data() + 2})(2) == 1);
}

TEST_CASE("a span that no view expresses is refused", "[tensors]") {
  float value = 3;
  LookAlike<float, DynamicExtents<1>, RightLayout> span(&value, {{1}});
  span.strided = false;
  CHECK(message_of([&] { tensor_view(span); }) ==
        "tensor_view: the span's layout has no strides, expected layout_left, layout_right or layout_stride");
  const LookAlike<float, DynamicExtents<9>, RightLayout> nine(&value, {{1, 1, 1, 1, 1, 1, 1, 1, 1}});
  CHECK(message_of([&] { tensor_view(nine); }) == "Sizes: a tensor of 9 dimensions, expected 0 to 8");
  const std::size_t many = std::size_t{1} << (8 * sizeof(std::size_t) - 1);
  const LookAlike<float, DynamicExtents<1>, RightLayout> long_one(&value, {{many}});
  CHECK(message_of([&] { tensor_view(long_one); }) ==
        "tensor_view: dimension 0 of the span has " + std::to_string(many) + " entries");
}

#if defined(__cpp_lib_mdspan)

TEST_CASE("a tensor is a std::mdspan, and the reverse", "[tensors]") {
  Tensor<float> x({2, 3, 4});
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(i);
  const auto check = [](const TensorView<float>& view) {
    const auto span = ef::as_mdspan<3>(view);
    bool same = true;
    for (Index i = 0; i < view.dimension(0); ++i)
      for (Index j = 0; j < view.dimension(1); ++j)
        for (Index k = 0; k < view.dimension(2); ++k) {
          const std::array<Index, 3> place{i, j, k};
          same = same && &span[place] == &view(i, j, k);
        }
    CHECK(same);
    CHECK(tensor_view(span).shape() == view.shape());
  };
  check(x);
  check(x.permute({2, 0, 1}));
  check(x.slice(2, {.step = 2}));
  check(x.slice(0, {.begin = 1}).transpose());
  check(x.slice(1, {.begin = 1, .end = 2}).permute({1, 2, 0}));
  check(x.slice(2, {.end = 0}));
  CHECK(ef::as_mdspan<0>(x.select(0, 1).select(0, 1).select(0, 1))[std::array<Index, 0>()] == 17);
  CHECK(message_of([&] { ef::as_mdspan<2>(x); }) == "as_mdspan: a tensor [2 x 3 x 4], expected 2 dimensions");
  CHECK_THROWS_AS(ef::as_mdspan<3>(x.slice(1, {.step = -1})), ef::Error);
  CHECK_THROWS_AS(ef::as_mdspan<4>(x.unsqueeze(0).expand({2, 2, 3, 4})), ef::Error);
  CHECK_THROWS_AS(ef::as_mdspan<3>(x.slice(1, {.step = 2})), ef::Error);  // layout_stride wants 12 >= 2 * 8
  CHECK_THROWS_AS(ef::as_mdspan<2>(TensorView<float>(x.data(), {4, 4}, {1, 1})), ef::Error);
  CHECK_THROWS_AS(ef::as_mdspan<2>(TensorView<float>(x.data(), {4, 4}, {2, 1})), ef::Error);

  const std::mdspan<const float, std::extents<int, 2, 3>, std::layout_left> fixed(x.data());
  CHECK(tensor_view(fixed).strides() == ef::Sizes{1, 2});
}

#endif
