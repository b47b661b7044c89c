// The reference for tests of attention: its definition in double, entry by entry, with all scores at once.
#pragma once

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "eigenformer/core/types.hpp"
#include "eigenformer/kernels/detail/attention/layout.hpp"

namespace eigenformer::testing {

/// The place of a query and a key in the batch.
struct QueryAndKey {
  Index head;     // of the query
  Index row;      // of the query in the batch
  Index query;    // index within its sequence
  Index key;      // index within its sequence
  Index queries;  // in the sequence
  Index keys;     // in the sequence
};

/// Maps a scaled score to the final score; minus infinity hides the key.
using NaiveScore = std::function<double(const QueryAndKey&, double)>;

inline constexpr double naive_hidden = -std::numeric_limits<double>::infinity();

inline double naive_unmasked(const QueryAndKey&, double score) {
  return score;
}
inline double naive_causal(const QueryAndKey& at, double score) {
  return at.key <= at.query ? score : naive_hidden;
}
inline double naive_causal_after_past(const QueryAndKey& at, double score) {
  return at.key <= at.query + at.keys - at.queries ? score : naive_hidden;
}
inline NaiveScore naive_dense_mask(const Matrix<bool>& may_attend) {
  return
      [may_attend](const QueryAndKey& at, double score) { return may_attend(at.row, at.key) ? score : naive_hidden; };
}

struct NaiveAttention {
  Matrix<double> out;                   // [query rows x heads * value width]
  Matrix<double> log_sum_exp;           // [query rows x heads]
  std::vector<Matrix<double>> weights;  // of each head, before dropout: [query rows x keys of the longest sequence]
};

/// Returns the factor by which dropout multiplies a weight: 0 if its 32-bit draw is below 2^32 times the rate.
/// Head, row and key / 16 name a block of 16 random bytes. The draw is the word of four bytes that holds byte key % 16,
/// read as a number whose leading byte is that byte; the next lower bytes follow, with wrap-around.
inline double naive_dropout(const AttentionOptions& options, const QueryAndKey& at) {
  const double dropped = std::min(std::round(options.dropout * 0x1p32), 0x1p32 - 1);
  const std::uint64_t block = static_cast<std::uint64_t>(at.head) * (std::uint64_t{1} << 50) +
                              static_cast<std::uint64_t>(at.row) * (std::uint64_t{1} << 20) +
                              static_cast<std::uint64_t>(at.key / 16);
  const std::uint32_t word = options.dropout_key.value().draw(block)[static_cast<std::size_t>(at.key % 16 / 4)];
  double draw = 0;
  for (Index i = 0; i < 4; ++i) draw = 256 * draw + static_cast<double>(word >> (8 * ((at.key + 4 - i) % 4)) & 0xFF);
  return draw < dropped ? 0 : 0x1p32 / (0x1p32 - dropped);
}

/// Computes attention in the order scale, score (cap, bias, mask), softmax, dropout. Hidden keys do not contribute.
inline NaiveAttention naive_attention(const Matrix<double>& q, const Matrix<double>& k, const Matrix<double>& v,
                                      const NaiveScore& score, const AttentionOptions& options) {
  const Index heads = options.heads;
  const Index key_heads = options.key_heads == 0 ? heads : options.key_heads;
  const Index d = q.cols() / heads;
  const Index e = v.cols() / key_heads;
  const double scale = options.scale ? *options.scale : 1 / std::sqrt(static_cast<double>(d));
  const auto key_row = [&](Index j) {
    return options.key_index.has_value() ? (*options.key_index)[static_cast<std::size_t>(j)] : j;
  };
  const Index key_count = options.key_index.has_value() ? static_cast<Index>(options.key_index->size()) : k.rows();
  const RowOffsets query_rows = options.query_rows.given() ? options.query_rows : RowOffsets{0, q.rows()};
  const RowOffsets key_rows = options.key_rows.given() ? options.key_rows : RowOffsets{0, key_count};

  NaiveAttention result;
  result.out = Matrix<double>::Zero(q.rows(), heads * e);
  result.log_sum_exp = Matrix<double>::Constant(q.rows(), heads, naive_hidden);
  for (Index h = 0; h < heads; ++h) {
    Matrix<double>& weights = result.weights.emplace_back(Matrix<double>::Zero(q.rows(), key_rows.max_length()));
    const Index kh = h / (heads / key_heads);
    for (Index s = 0; s < query_rows.sequences(); ++s)
      for (Index i = 0; i < query_rows.length(s); ++i) {
        QueryAndKey at{h, query_rows.begin(s) + i, i, 0, query_rows.length(s), key_rows.length(s)};
        std::vector<double> scores;
        double largest = naive_hidden;
        for (at.key = 0; at.key < at.keys; ++at.key) {
          double sum = 0;
          for (Index c = 0; c < d; ++c)
            sum += q(at.row, h * d + c) * k(key_row(key_rows.begin(s) + at.key), kh * d + c);
          scores.push_back(score(at, sum * scale));
          if (scores.back() > largest) largest = scores.back();
        }
        double sum = 0;
        for (const double x : scores)
          if (x != naive_hidden) sum += std::exp(x - largest);
        if (sum == 0) continue;
        result.log_sum_exp(at.row, h) = largest + std::log(sum);
        for (at.key = 0; at.key < at.keys; ++at.key) {
          const double x = scores[static_cast<std::size_t>(at.key)];
          if (x == naive_hidden) continue;
          const double weight = std::exp(x - largest) / sum;
          weights(at.row, at.key) = weight;
          const double kept = options.dropout > 0 ? naive_dropout(options, at) : 1;
          for (Index c = 0; c < e; ++c)
            result.out(at.row, h * e + c) += kept * weight * v(key_row(key_rows.begin(s) + at.key), kh * e + c);
        }
      }
  }
  return result;
}

}  // namespace eigenformer::testing
