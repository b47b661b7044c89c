// The weight of a linear map, packed once in the order in which the product reads it.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include "eigenformer/core/check.hpp"
#include "eigenformer/kernels/detail/gemm/reduced_weight.hpp"
#include "eigenformer/kernels/rows.hpp"
#include "eigenformer/kernels/weight_type.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A packed weight [outputs x inputs], for inference, where a weight is used many times and never changes. With a plain
/// weight, every linear_forward packs it again; for few tokens this takes longer than the product. A float32 weight
/// gives the results of the plain weight, to the last bit.
///
/// A weight of floats can also be packed as bfloat16 or int8, in a half or a quarter of the memory. With few tokens, a
/// product takes little longer than reading the weight. What else happens depends on the processor:
/// - If it has a matrix unit for the type (see core/matrix_unit.hpp), products with many tokens are faster too. The
///   activations are rounded to bfloat16, or to int8 with one scale per row. Sums are floats, or exact integers.
/// - Otherwise the weight is converted to float, the activations are not rounded, and sums are floats.
///
/// A row's result never depends on other rows.
template <class Scalar>
class PackedWeight {
 public:
  PackedWeight() = default;
  /// Packs weight: [outputs x inputs]. Throws if the type is not float32 and Scalar is not float, or if the type is
  /// int8 and there are more than 131,071 inputs, because sums could overflow.
  explicit PackedWeight(const ConstMatrixRef<Scalar>& weight, WeightType type = WeightType::float32)
      : type_(type), outputs_(weight.rows()), inputs_(weight.cols()) {
    if (type == WeightType::float32) {
      pack(weight);
      return;
    }
    if constexpr (std::is_same_v<Scalar, float>) {
      check(type != WeightType::int8 || inputs_ <= matrix_unit::most_int8_products, "PackedWeight: weight is ",
            shape(weight), ", expected at most ", matrix_unit::most_int8_products, " columns for int8");
      if (type == WeightType::bfloat16) bfloat16_ = ReducedWeight<Eigen::bfloat16>(weight);
      if (type == WeightType::int8) int8_ = ReducedWeight<std::int8_t>(weight);
    } else {
      fail("PackedWeight: the type is ", to_string(type), ", expected float32 for a weight that is not of floats");
    }
  }

  Index outputs() const { return outputs_; }
  Index inputs() const { return inputs_; }
  WeightType type() const { return type_; }

  /// All packed weights of a float32 weight, one panel after another. Empty for other types.
  std::span<const Scalar> values() const { return {panels_.data(), static_cast<std::size_t>(panels_.size())}; }
  /// The packed weights of any type as bytes, without the scales of int8 weights.
  std::span<const std::byte> bytes() const {
    if (type_ == WeightType::float32) return std::as_bytes(values());
    return type_ == WeightType::bfloat16 ? bfloat16_.bytes() : int8_.bytes();
  }
  /// The panel that begins with output `first`, a multiple of the panel width, of a float32 weight. For kernels.
  const Scalar* panel(Index first) const { return panels_.data() + first * inputs_; }

  /// Calls body(weight) with the ReducedWeight. The type must not be float32. For kernels.
  template <class Body>
  void with_reduced(Body body) const {
    if (type_ == WeightType::bfloat16)
      body(bfloat16_);
    else
      body(int8_);
  }

 private:
  void pack(const ConstMatrixRef<Scalar>& weight) {
    constexpr Index width = detail::panel_width<Scalar>;
    panels_.resize((outputs_ + width - 1) / width * inputs_, width);
    const detail::Strided<Scalar> transpose{weight.data(), 1, weight.outerStride()};
    for (Index j = 0; j < outputs_; j += width)
      detail::pack_panel<Scalar>(inputs_, std::min<Index>(width, outputs_ - j), transpose.from(0, j),
                                 {panels_.data() + j * inputs_, width});
  }

  WeightType type_ = WeightType::float32;
  Index outputs_ = 0;
  Index inputs_ = 0;
  Matrix<Scalar> panels_;  // of float32: panels [inputs x panel_width], one below the other
  ReducedWeight<Eigen::bfloat16> bfloat16_;
  ReducedWeight<std::int8_t> int8_;
};

/// Looks up embeddings in a packed bfloat16 or int8 table: writes y_i = row ids[i] of the table as floats. table:
/// [vocabulary x features], y: [ids x features]. Throws, before it writes, if the table is of float32, if an id is not
/// a row of the table, or if the shape of y does not fit.
template <RowIds Ids>
void gather_rows_forward(const PackedWeight<float>& table, const Ids& ids, MatrixRef<float> y,
                         Threads* threads = nullptr) {
  const std::span numbers(ids);
  check(table.type() != WeightType::float32, "gather_rows: the packed table is of float32, expected bfloat16 or int8");
  check_shape("gather_rows", "y", shape(y), {static_cast<Index>(numbers.size()), table.inputs()});
  detail::check_ids("gather_rows", numbers, table.outputs());
  const Index grain = std::max<Index>(1, 8192 / std::max<Index>(1, table.inputs()));
  table.with_reduced([&](const auto& reduced) {
    parallel_for(threads, y.rows(), grain, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i)
        reduced.copy_row(numbers[static_cast<std::size_t>(i)], y.data() + i * y.outerStride());
    });
  });
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
