// Cache of an attention layer's projected keys and values, for decoding step by step.
#pragma once

#include <algorithm>

#include "eigenformer/autograd/variable.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Stores keys and values in a growing buffer. Row numbers never change; callers represent each hypothesis by the
/// numbers of its rows. The buffer doubles when it is full.
template <class Scalar>
class KeyValueCache {
 public:
  /// Appends n rows. keys: [n x key width], values: [n x value width]. Throws if a width differs from earlier rows.
  template <class Keys, class Values>
  void append(const Eigen::MatrixBase<Keys>& keys, const Eigen::MatrixBase<Values>& values) {
    append_rows(keys_, keys);
    append_rows(values_, values);
    rows_ += keys.rows();
  }

  Index rows() const { return rows_; }
  /// Returns all keys so far: [rows x key width], valid until the next `append`. width: the number of
  /// columns of the result while the cache is empty.
  Variable<Scalar> keys(Index width = 0) const { return rows_of(keys_, width); }
  /// Returns all values so far: [rows x value width], valid until the next `append`. width: the number of
  /// columns of the result while the cache is empty.
  Variable<Scalar> values(Index width = 0) const { return rows_of(values_, width); }

 private:
  template <class Rows>
  void append_rows(Matrix<Scalar>& buffer, const Eigen::MatrixBase<Rows>& rows) {
    check(rows_ == 0 || rows.cols() == buffer.cols(), "KeyValueCache: rows of width ", rows.cols(),
          " are appended, expected ", buffer.cols());
    if (rows_ == 0 || rows_ + rows.rows() > buffer.rows())
      buffer.conservativeResize(std::max<Index>(2 * buffer.rows(), rows_ + rows.rows()), rows.cols());
    buffer.middleRows(rows_, rows.rows()) = rows;
  }
  Variable<Scalar> rows_of(const Matrix<Scalar>& buffer, Index width) const {
    return Variable<Scalar>::view(buffer.data(), rows_, buffer.cols() > 0 ? buffer.cols() : width);
  }

  Matrix<Scalar> keys_;
  Matrix<Scalar> values_;
  Index rows_ = 0;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
