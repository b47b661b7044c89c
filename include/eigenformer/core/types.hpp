// The names of the matrices that everything else is written in. Rows are tokens: an activation is a row-major matrix
// [tokens x features], and a batch is its sentences' rows one under another (see row_offsets.hpp).
#pragma once

#include <cstdint>
#include <type_traits>

#include "eigenformer/core/config.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

using Index = Eigen::Index;

/// A token's number in its vocabulary.
using Token = std::int32_t;

/// A dense row-major matrix: [tokens x features], or a weight [outputs x inputs].
template <class Scalar>
using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// What a kernel reads. Takes any Eigen matrix or expression; one whose rows are contiguous is not copied.
template <class Scalar>
using ConstMatrixRef = Eigen::Ref<const Matrix<Scalar>>;

/// What a kernel writes: a matrix, map or block whose rows are contiguous.
template <class Scalar>
using MatrixRef = Eigen::Ref<Matrix<Scalar>>;

/// The type that products of such numbers are computed in: float for numbers of 16 bits, else the type itself.
template <class Scalar>
using ComputeType =
    std::conditional_t<std::is_same_v<Scalar, Eigen::half> || std::is_same_v<Scalar, Eigen::bfloat16>, float, Scalar>;

/// Contiguous memory that somebody else owns, as a matrix.
template <class Scalar>
using ConstMatrixMap = Eigen::Map<const Matrix<Scalar>>;
template <class Scalar>
using MatrixMap = Eigen::Map<Matrix<Scalar>>;

}  // namespace eigenformer::inline EIGENFORMER_ABI
