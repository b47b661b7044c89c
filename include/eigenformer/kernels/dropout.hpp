// Dropout (Srivastava et al. 2014), drawn by position: nothing is stored between forward and backward.
#pragma once

#include "eigenformer/core/rng.hpp"
#include "eigenformer/kernels/detail/rows/row_blocks.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// Columns that one stretch of draws serves: 8 blocks of 4 words of 2 draws.
inline constexpr Index dropout_stretch = 64;
template <class Scalar>
using DropoutMask = Eigen::Array<Scalar, 1, static_cast<int>(dropout_stretch)>;

/// `kept` with probability 1 - threshold / 2^32, else 0: each half of a word leads one draw. The blocks' first words
/// come first, then their second ones and so on, so that a compiler can take the blocks side by side (GCC 12 with
/// AVX2: 1.2 ns an entry, 2.1 otherwise).
template <class Scalar>
DropoutMask<Scalar> draw_dropout(RandomKey key, std::uint64_t stretch, std::uint32_t threshold, Scalar kept) {
  constexpr int blocks = 8;
  std::uint32_t words[4][blocks];
  for (int block = 0; block < blocks; ++block) {
    const std::array<std::uint32_t, 4> draw = key.draw(stretch * blocks + static_cast<std::uint64_t>(block));
    for (std::size_t word = 0; word < 4; ++word) words[word][block] = draw[word];
  }
  DropoutMask<Scalar> mask;
  for (int word = 0; word < 4; ++word)
    for (int block = 0; block < blocks; ++block) {
      const std::uint32_t w = words[word][block];
      mask[2 * blocks * word + block] = rotate_left(w, 16) < threshold ? Scalar(0) : kept;
      mask[2 * blocks * word + blocks + block] = w < threshold ? Scalar(0) : kept;
    }
  return mask;
}

}  // namespace detail

/// y = x * mask / (1 - p). Each entry is dropped with probability p = round(2^32 rate) / 2^32, at most 1 - 2^-32. Those
/// kept are scaled so that the expectation is x. Two entries share a word of 32 random bits, of which each takes
/// another half first: their draws have a correlation below 0.0003 from rates of 1e-6 to 1 - 1e-6, and 0 for multiples
/// of 1/65536. x, y: [rows x cols]; y may be x. Throws unless 0 <= rate < 1.
///
/// The mask is a function of the key, of the entry's row and column and of how many columns there are, so the function
/// is its own backward: d_x comes of d_y, with the same rate and key. A dropped inf or NaN gives NaN.
template <class Scalar>
void dropout_forward(const ConstMatrixRef<Scalar>& x, double rate, RandomKey key, MatrixRef<Scalar> y,
                     Threads* threads = nullptr) {
  check(rate >= 0 && rate < 1, "dropout: rate is ", rate, ", expected at least 0 and less than 1");
  check_shape("dropout", "y", shape(y), shape(x));
  const auto threshold = detail::word_threshold(rate);
  const auto kept = detail::kept_factor<Scalar>(threshold);
  const Index cols = x.cols();
  const Index stretches = (cols + detail::dropout_stretch - 1) / detail::dropout_stretch;
  detail::for_each_row(threads, x.rows(), cols, [&](Index i) {
    for (Index s = 0; s < stretches; ++s) {
      const Index begin = s * detail::dropout_stretch;
      const Index count = std::min<Index>(detail::dropout_stretch, cols - begin);
      const auto mask =
          detail::draw_dropout<Scalar>(key, static_cast<std::uint64_t>(i * stretches + s), threshold, kept);
      y.row(i).segment(begin, count).array() = x.row(i).segment(begin, count).array() * mask.head(count);
    }
  });
}

/// x with each entry dropped with probability `rate`. x: [rows x cols], any Eigen matrix or expression.
template <class Derived>
Matrix<typename Derived::Scalar> dropout(const Eigen::MatrixBase<Derived>& x, double rate, RandomKey key,
                                         Threads* threads = nullptr) {
  Matrix<typename Derived::Scalar> y(x.rows(), x.cols());
  dropout_forward<typename Derived::Scalar>(x.derived(), rate, key, y, threads);
  return y;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
