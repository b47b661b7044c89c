// Masks and biases [batch x heads x queries x keys], repeated where a size is 1, and offsets of each sequence: forward
// and backward against naive loops in double, for every size from 1 to 40.
#include <array>
#include <vector>

#include "eigenformer/kernels/attention_backward.hpp"
#include "kernels/attention_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Tensor;
using namespace ef::testing;

namespace {

// The attention of a case and all gradients of dot(out, d_out).
struct NaiveTensors {
  NaiveAttention forward;
  Matrix<double> d_q, d_k, d_v;
  std::vector<Matrix<double>> d_scores;  // of each head: [query rows x keys]

  template <class Scalar>
  NaiveTensors(const AttentionCase<Scalar>& c, const NaiveScore& score) : forward(c.naive(score)) {
    const auto q = c.q.template cast<double>().eval(), k = c.k.template cast<double>().eval(),
               v = c.v.template cast<double>().eval(), d_out = c.d_out.template cast<double>().eval();
    const Index heads = c.options.heads, group = heads / (c.options.key_heads == 0 ? heads : c.options.key_heads);
    const Index d = q.cols() / heads, e = d_out.cols() / heads;
    d_q = Matrix<double>::Zero(q.rows(), q.cols());
    d_k = Matrix<double>::Zero(k.rows(), k.cols());
    d_v = Matrix<double>::Zero(v.rows(), v.cols());
    for (Index h = 0; h < heads; ++h) {
      const Matrix<double>& weights = forward.weights[static_cast<std::size_t>(h)];
      Matrix<double>& d_s = d_scores.emplace_back(Matrix<double>::Zero(weights.rows(), weights.cols()));
      for (Index s = 0; s < c.options.query_rows.sequences(); ++s)
        for (Index row = c.options.query_rows.begin(s); row < c.options.query_rows.end(s); ++row) {
          double mean = 0;
          for (Index c_out = 0; c_out < e; ++c_out) mean += forward.out(row, h * e + c_out) * d_out(row, h * e + c_out);
          for (Index j = 0; j < c.options.key_rows.length(s); ++j) {
            const Index key = c.options.key_rows.begin(s) + j;
            double d_weight = 0;
            for (Index i = 0; i < e; ++i) {
              d_weight += d_out(row, h * e + i) * v(key, h / group * e + i);
              d_v(key, h / group * e + i) += weights(row, j) * d_out(row, h * e + i);
            }
            d_s(row, j) = weights(row, j) * (d_weight - mean);
            for (Index i = 0; i < d; ++i) {
              const double scaled = d_s(row, j) / std::sqrt(static_cast<double>(d));
              d_q(row, h * d + i) += scaled * k(key, h / group * d + i);
              d_k(key, h / group * d + i) += scaled * q(row, h * d + i);
            }
          }
        }
    }
  }
};

/// Three sequences of up to `n` queries and `keys` keys.
template <class Scalar>
AttentionCase<Scalar> case_of(Index n, Index keys, ef::Rng& rng) {
  return AttentionCase<Scalar>({4, 2, 3, 2, {n, 1, (n + 1) / 2}, {keys, (keys + 2) / 3, keys}}, rng);
}
/// Each size of 1 to 40 keys, in an order of its own.
Index keys_of(Index n) {
  return 7 * n % 40 + 1;
}

/// The 16 shapes [batch x heads x queries x keys] that cover a case, with each size or 1.
template <class Scalar>
std::vector<ef::Sizes> shapes_of(const AttentionCase<Scalar>& c) {
  const ef::Sizes whole{3, c.options.heads, c.options.query_rows.max_length(), c.options.key_rows.max_length()};
  std::vector<ef::Sizes> shapes;
  for (int which = 0; which < 16; ++which) {
    ef::Sizes shape = whole;
    for (int d = 0; d < 4; ++d)
      if ((which >> d) % 2 == 1) shape[d] = 1;
    shapes.push_back(shape);
  }
  return shapes;
}

/// The entry of a tensor, repeated where a size is 1, for a query and a key.
template <class Entry, class Scalar>
Entry& entry_of(Tensor<Entry>& tensor, const AttentionCase<Scalar>& c, const QueryAndKey& at) {
  Index sequence = 0;
  while (at.row >= c.options.query_rows.end(sequence)) ++sequence;
  const std::array<Index, 4> place{sequence, at.head, at.query, at.key};
  Index entry = 0;
  for (int d = 0; d < 4; ++d) {
    const Index size = tensor.shape()[d];
    entry = entry * size + (size == 1 ? 0 : place[static_cast<std::size_t>(d)]);
  }
  return tensor.data()[entry];
}

/// Checks results and gradients, also with threads, and returns the naive ones.
template <class Scalar>
NaiveTensors check_attention(const AttentionCase<Scalar>& c, const TestedScore<Scalar>& score, const NaiveScore& naive,
                             ef::Threads& threads) {
  const NaiveTensors expected(c, naive);
  const Attended<Scalar> given = attend(c, score);
  CHECK(max_error(given.out, expected.forward.out) < rounding<Scalar>(64));
  CHECK(max_error(given.log_sum_exp, expected.forward.log_sum_exp) < rounding<Scalar>(64));
  const AttentionGradients<Scalar> d = gradients(c, score);
  CHECK(max_error(d.q, expected.d_q) < rounding<Scalar>(256));
  CHECK(max_error(d.k, expected.d_k) < rounding<Scalar>(256));
  CHECK(max_error(d.v, expected.d_v) < rounding<Scalar>(256));
  CHECK(identical<Scalar>(attend(c, score, &threads).out, given.out));
  CHECK(identical(gradients(c, score, &threads), d));
  return expected;
}

}  // namespace

TEMPLATE_TEST_CASE("a bias is repeated where a size is 1, and its gradient is summed there", "[kernels][threads]",
                   float, double) {
  const std::uint64_t seed = 40;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  for (Index n = 1; n <= 40; ++n) {
    const auto c = case_of<TestType>(n, keys_of(n), rng);
    for (const ef::Sizes& shape : shapes_of(c)) {
      CAPTURE(n, keys_of(n), shape[0], shape[1], shape[2], shape[3]);
      Tensor<TestType> bias(shape), d_bias(shape), d_with_threads(shape);
      for (TestType& entry : std::span(bias.data(), static_cast<std::size_t>(bias.size())))
        entry = rng.randint(8) == 0 ? ef::hidden_score<TestType> : static_cast<TestType>(rng.normal());
      const NaiveScore naive = [&](const QueryAndKey& at, double score) {
        return score + static_cast<double>(entry_of(bias, c, at));
      };
      const NaiveTensors expected = check_attention<TestType>(c, ef::DenseBias<TestType>(bias.view()), naive, pool);
      gradients(c, ef::DenseBias<TestType>(bias.view(), d_bias.view()));
      gradients(c, ef::DenseBias<TestType>(bias.view(), d_with_threads.view()), &pool);
      Tensor<double> d_expected(shape);
      for (Index h = 0; h < c.options.heads; ++h)
        for (Index s = 0; s < 3; ++s)
          for (Index i = 0; i < c.options.query_rows.length(s); ++i)
            for (Index j = 0; j < c.options.key_rows.length(s); ++j) {
              const Index row = c.options.query_rows.begin(s) + i;
              entry_of(d_expected, c, {h, row, i, j, 0, 0}) += expected.d_scores[static_cast<std::size_t>(h)](row, j);
            }
      // A bias that is repeated along keys shifts all scores of a query, so its gradient is 0. Its sums are checked in
      // scores/dense_bias_test.cpp.
      const auto row_of = [](const auto& t) { return t.flatten().unsqueeze(0).matrix(); };
      CHECK(max_error(row_of(d_bias), row_of(d_expected)) < rounding<TestType>(256));
      CHECK(row_of(d_bias) == row_of(d_with_threads));
    }
  }
}

TEMPLATE_TEST_CASE("a mask is repeated where a size is 1", "[kernels][threads]", float, double) {
  const std::uint64_t seed = 42;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  for (Index n = 1; n <= 40; ++n) {
    const auto c = case_of<TestType>(n, keys_of(n), rng);
    for (const ef::Sizes& shape : shapes_of(c)) {
      CAPTURE(n, keys_of(n), shape[0], shape[1], shape[2], shape[3]);
      Tensor<bool> mask(shape);
      for (bool& may_attend : std::span(mask.data(), static_cast<std::size_t>(mask.size())))
        may_attend = rng.randint(3) > 0;
      const NaiveScore naive = [&](const QueryAndKey& at, double score) {
        return entry_of(mask, c, at) ? score : naive_hidden;
      };
      check_attention<TestType>(c, ef::DenseMask(mask), naive, pool);
    }
  }
}

TEMPLATE_TEST_CASE("a causal mask has an offset for each sequence", "[kernels][threads]", float, double) {
  const std::uint64_t seed = 43;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  for (Index n = 1; n <= 40; ++n) {
    const Index keys = keys_of(n);
    const auto c = case_of<TestType>(n, keys, rng);
    const ef::RowOffsets& rows = c.options.query_rows;
    // Before the first key, at any key, at the last query's end, and behind the last key.
    for (const Index first : {-n, -n / 2, Index{0}, rng.randint(keys), keys - n, keys}) {
      const std::vector<Index> offsets{first, keys - 1 - first, rng.randint(keys) - n / 4};
      CAPTURE(n, keys, offsets);
      const NaiveScore naive = [&](const QueryAndKey& at, double score) {
        const std::size_t sequence = at.row < rows.end(0) ? 0 : at.row < rows.end(1) ? 1 : 2;
        return at.key <= at.query + offsets[sequence] ? score : naive_hidden;
      };
      check_attention<TestType>(c, ef::Causal::with_offsets(offsets), naive, pool);
    }
  }
}

TEST_CASE("the gradient of a repeated bias has the same bits for any number of threads", "[kernels][threads]") {
  const std::uint64_t seed = 41;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  const Index keys = 3 * ef::detail::backward_keys + 5;  // several tasks for each key head
  const AttentionCase<float> c({4, 2, 3, 2, {70, 3, 9}, {keys, 5, keys}}, rng);
  for (const ef::Sizes& shape : shapes_of(c)) {
    CAPTURE(shape[0], shape[1], shape[2], shape[3]);
    Tensor<float> bias(shape), once(shape), again(shape);
    for (float& entry : std::span(bias.data(), static_cast<std::size_t>(bias.size())))
      entry = static_cast<float>(rng.normal());
    const auto expected = gradients(c, ef::DenseBias<float>(bias.view(), once.view()));
    CHECK(identical(gradients(c, ef::DenseBias<float>(bias.view(), again.view()), &pool), expected));
    CHECK(std::equal(once.data(), once.data() + once.size(), again.data()));
  }
}
