// The library's matrix types. Rows are tokens: an activation is a row-major matrix [tokens x features]. A batch stacks
// the rows of its sequences (see row_offsets.hpp).
#pragma once

#include <cstdint>
#include <type_traits>

#include "eigenformer/core/config.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

using Index = Eigen::Index;

/// A token's id in its vocabulary.
using Token = std::int32_t;

/// A dense row-major matrix: [tokens x features], or a weight [outputs x inputs].
template <class Scalar>
using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A kernel's input. Binds to any Eigen matrix or expression, and copies it unless its rows are contiguous.
template <class Scalar>
using ConstMatrixRef = Eigen::Ref<const Matrix<Scalar>>;

/// A kernel's output: a matrix, map or block with contiguous rows.
template <class Scalar>
using MatrixRef = Eigen::Ref<Matrix<Scalar>>;

/// The type in which products are computed: float for 16-bit types, else Scalar itself.
template <class Scalar>
using ComputeType =
    std::conditional_t<std::is_same_v<Scalar, Eigen::half> || std::is_same_v<Scalar, Eigen::bfloat16>, float, Scalar>;

/// A matrix over contiguous memory that it does not own.
template <class Scalar>
using ConstMatrixMap = Eigen::Map<const Matrix<Scalar>>;
template <class Scalar>
using MatrixMap = Eigen::Map<Matrix<Scalar>>;

}  // namespace eigenformer::inline EIGENFORMER_ABI
