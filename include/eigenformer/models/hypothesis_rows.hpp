// Rows of numbers that a state keeps between decoding steps.
#pragma once

#include <algorithm>

#include "eigenformer/autograd/variable.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// A row of numbers for each hypothesis. Its memory grows and never shrinks, so a step with no more hypotheses than
/// before allocates nothing.
template <class Scalar>
class HypothesisRows {
 public:
  /// Returns the rows, valid until the next change: [hypotheses x width].
  Variable<Scalar> view() const { return Variable<Scalar>::view(buffer_.data(), rows_, buffer_.cols()); }

  /// Replaces the rows.
  void assign(const Variable<Scalar>& rows) {
    rows_ = 0;
    append(rows);
  }
  /// Adds rows, of the same width, after the others.
  void append(const Variable<Scalar>& rows) {
    if (rows_ + rows.rows() > buffer_.rows() || rows.cols() != buffer_.cols())
      buffer_.conservativeResize(std::max<Index>(2 * buffer_.rows(), rows_ + rows.rows()), rows.cols());
    buffer_.middleRows(rows_, rows.rows()) = rows.value();
    rows_ += rows.rows();
  }

 private:
  Matrix<Scalar> buffer_;
  Index rows_ = 0;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
