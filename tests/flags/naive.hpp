// Attention and its gradients as their definitions read, in double. Unlike support/naive_attention.hpp without
// infinities and NaN, which -ffast-math may take for numbers.
#pragma once

#include <cmath>
#include <functional>

#include "eigenformer/core/row_offsets.hpp"

namespace eigenformer::testing {

/// A query and a key of one sequence.
struct Pair {
  Index row;      // of the query in the batch
  Index query;    // counted within its sequence
  Index key;      //
  Index queries;  // in the sequence
  Index keys;     //
};

/// What becomes of a scaled score, and its derivative.
struct NaiveScored {
  bool seen;
  double value;
  double derivative;
};
using NaiveScore = std::function<NaiveScored(const Pair&, double)>;

struct NaiveBatch {
  Matrix<double> q, k, v, d_out;
  RowOffsets query_rows, key_rows;
  Index heads, key_heads;
};

struct NaiveResults {
  Matrix<double> out, log_sum_exp;  // of a query that sees nothing, the latter is 0 here
  Matrix<double> d_q, d_k, d_v;
  Matrix<double> d_bias;  // [query rows x keys of the longest sequence], of what is added to the scores of all heads
  std::vector<Matrix<double>> weights, scores;  // of each head, shaped as d_bias
  Matrix<bool> seen;                            //
};

inline NaiveResults naive_attention(const NaiveBatch& b, const NaiveScore& score) {
  const Index d = b.q.cols() / b.heads, e = b.v.cols() / b.key_heads, rows = b.q.rows();
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  const auto zeros = [](const Matrix<double>& x) { return Matrix<double>(Matrix<double>::Zero(x.rows(), x.cols())); };
  NaiveResults r;
  r.out = Matrix<double>::Zero(rows, b.heads * e);
  r.log_sum_exp = Matrix<double>::Zero(rows, b.heads);
  r.d_q = zeros(b.q);
  r.d_k = zeros(b.k);
  r.d_v = zeros(b.v);
  r.d_bias = Matrix<double>::Zero(rows, b.key_rows.max_length());
  r.seen = Matrix<bool>::Zero(rows, b.key_rows.max_length());
  for (Index h = 0; h < b.heads; ++h) {
    const Index kh = h / (b.heads / b.key_heads);
    Matrix<double>& p = r.weights.emplace_back(zeros(r.d_bias));
    Matrix<double>& s = r.scores.emplace_back(zeros(r.d_bias));
    for (Index n = 0; n < b.query_rows.sequences(); ++n)
      for (Index i = 0; i < b.query_rows.length(n); ++i) {
        Pair at{b.query_rows.begin(n) + i, i, 0, b.query_rows.length(n), b.key_rows.length(n)};
        const auto q = b.q.row(at.row).segment(h * d, d);
        const auto d_out = b.d_out.row(at.row).segment(h * e, e);
        const auto k = [&](Index j) { return b.k.row(b.key_rows.begin(n) + j).segment(kh * d, d); };
        const auto v = [&](Index j) { return b.v.row(b.key_rows.begin(n) + j).segment(kh * e, e); };
        std::vector<double> slopes;
        double largest = -1e300, sum = 0, delta = 0;
        for (at.key = 0; at.key < at.keys; ++at.key) {
          const NaiveScored scored = score(at, scale * q.dot(k(at.key)));
          s(at.row, at.key) = scored.value;
          slopes.push_back(scored.derivative);
          r.seen(at.row, at.key) = scored.seen;
          if (scored.seen) largest = std::max(largest, scored.value);
        }
        for (Index j = 0; j < at.keys; ++j) {
          if (r.seen(at.row, j)) p(at.row, j) = std::exp(s(at.row, j) - largest);
          sum += p(at.row, j);
        }
        if (sum == 0) continue;
        r.log_sum_exp(at.row, h) = largest + std::log(sum);
        for (Index j = 0; j < at.keys; ++j) {
          p(at.row, j) /= sum;
          if (!r.seen(at.row, j)) continue;
          r.out.row(at.row).segment(h * e, e) += p(at.row, j) * v(j);
          r.d_v.row(b.key_rows.begin(n) + j).segment(kh * e, e) += p(at.row, j) * d_out;
          delta += p(at.row, j) * d_out.dot(v(j));
        }
        for (Index j = 0; j < at.keys; ++j) {
          if (!r.seen(at.row, j)) continue;
          const double d_score = p(at.row, j) * (d_out.dot(v(j)) - delta) * slopes[static_cast<std::size_t>(j)];
          r.d_bias(at.row, j) += d_score;
          r.d_q.row(at.row).segment(h * d, d) += scale * d_score * k(j);
          r.d_k.row(b.key_rows.begin(n) + j).segment(kh * d, d) += scale * d_score * q;
        }
      }
  }
  return r;
}

}  // namespace eigenformer::testing
