// Every kind of score with its naive form: scores that change values, scores that hide keys, and combinations.
#pragma once

#include <string>
#include <vector>

#include "kernels/attention_cases.hpp"
#include "kernels/scores/naive_bucket.hpp"

namespace eigenformer::testing {

inline double naive_bent(const QueryAndKey& at, double score) {
  return score / (1 + std::exp(score / 2)) + std::tanh(score) * static_cast<double>(at.head + 1) -
         score * std::tanh(score) / 4;
}

// Biases of a case, some of them minus infinity, with their gradients.
template <class Scalar>
struct Biases {
  Tensor<Scalar> dense, d_dense, shared, d_shared;
  Tensor<Scalar> terms, d_terms;  // for distances from -3 to 3
  Matrix<Scalar> relative, d_relative;
  RelativeBuckets buckets{8, 20, true};

  template <class Operand>
  Biases(const AttentionCase<Operand>& c, Rng& rng) {
    const Index rows = c.q.rows() + 1, keys = c.k.rows() + 3;  // larger than necessary
    dense = d_dense = Tensor<Scalar>({c.options.heads, rows, keys});
    shared = d_shared = Tensor<Scalar>({1, rows, keys});
    terms = d_terms = Tensor<Scalar>({rows, c.options.heads, 7});
    for (Index i = 0; i < terms.size(); ++i) terms.data()[i] = static_cast<Scalar>(rng.normal());
    for (Tensor<Scalar>* bias : {&dense, &shared})
      for (Index i = 0; i < bias->size(); ++i)
        bias->data()[i] = rng.randint(6) == 0 ? hidden_score<Scalar> : static_cast<Scalar>(rng.normal());
    relative = random_matrix<Scalar>(buckets.buckets, c.options.heads, rng);
    d_relative = Matrix<Scalar>::Zero(buckets.buckets, c.options.heads);
  }
  DenseBias<Scalar> dense_score() { return DenseBias<Scalar>(of(dense), d_dense.view()); }
  DenseBias<Scalar> shared_score() { return DenseBias<Scalar>(of(shared), d_shared.view()); }
  RelativeBias<Scalar> relative_score() {
    return RelativeBias<Scalar>(strided_view(relative), buckets,
                                TensorView<Scalar>(d_relative.data(), {buckets.buckets, relative.cols()}));
  }
  RelativeKeys<Scalar> keys_score() { return RelativeKeys<Scalar>(of(terms), d_terms.view()); }
  static TensorView<const Scalar> of(Tensor<Scalar>& t) { return t.view(); }

  double dense_at(const QueryAndKey& at) { return static_cast<double>(dense.view()(at.head, at.row, at.key)); }
  double shared_at(const QueryAndKey& at) { return static_cast<double>(shared.view()(0, at.row, at.key)); }
  double keys_at(const QueryAndKey& at, Index past = 0) {
    const Index distance = std::clamp<Index>(at.key - at.query - past, -3, 3);
    return static_cast<double>(terms.view()(at.row, at.head, 3 + distance));
  }
  double relative_at(const QueryAndKey& at) {
    return static_cast<double>(relative(naive_bucket(at.key - at.query, buckets), at.head));
  }
};

template <class Scalar>
struct NamedScore {
  std::string name;
  TestedScore<Scalar> score;
  NaiveScore naive;
};

inline bool striped(const QueryAndKey& at, Index sequence) {
  return at.key % 3 != 1 && (at.query + sequence) % 5 != 2;
}

template <class Operand, class Scalar = ComputeType<Operand>>
std::vector<NamedScore<Scalar>> all_scores(const AttentionCase<Operand>& c, Biases<Scalar>& biases) {
  const auto sequence_of = [rows = c.options.query_rows](const QueryAndKey& at) {
    Index s = 0;
    while (rows.given() && at.row >= rows.end(s)) ++s;
    return s;
  };
  const auto distance = [](const QueryAndKey& at) { return at.query - at.key; };
  const auto hide_unless = [](bool visible, double score) { return visible ? score : naive_hidden; };
  std::vector<NamedScore<Scalar>> all;
  for (const Index size : {1, 5, 40})
    all.push_back({"window", SlidingWindow(size),
                   [=](const QueryAndKey& at, double s) { return hide_unless(std::abs(distance(at)) < size, s); }});
  all.push_back({"window after past", SlidingWindow::after_past(9), [=](const QueryAndKey& at, double s) {
                   return hide_unless(std::abs(distance(at) + at.keys - at.queries) < 9, s);
                 }});
  all.push_back({"causal window", combine(Causal{}, SlidingWindow(7)), [=](const QueryAndKey& at, double s) {
                   return hide_unless(distance(at) >= 0 && distance(at) < 7, s);
                 }});
  all.push_back({"soft cap", SoftCap(1.5), [](const QueryAndKey&, double s) { return 1.5 * std::tanh(s / 1.5); }});
  const Alibi alibi(c.options.heads);
  const auto slope = [slopes = alibi.slopes()](const QueryAndKey& at) {
    return slopes[static_cast<std::size_t>(at.head)];
  };
  all.push_back({"ALiBi", alibi, [=](const QueryAndKey& at, double s) {
                   return s - slope(at) * static_cast<double>(std::abs(distance(at)));
                 }});
  all.push_back({"ALiBi after past", alibi.after_past(), [=](const QueryAndKey& at, double s) {
                   return s - slope(at) * static_cast<double>(std::abs(distance(at) + at.keys - at.queries));
                 }});
  all.push_back({"relative bias", biases.relative_score(),
                 [&](const QueryAndKey& at, double s) { return s + biases.relative_at(at); }});
  all.push_back(
      {"relative keys", biases.keys_score(), [&](const QueryAndKey& at, double s) { return s + biases.keys_at(at); }});
  all.push_back({"relative keys after past", biases.keys_score().after_past(),
                 [&](const QueryAndKey& at, double s) { return s + biases.keys_at(at, at.keys - at.queries); }});
  using Bias = ScoreVariant<Alibi, RelativeBias<Scalar>, RelativeKeys<Scalar>>;
  using Mask = ScoreVariant<Unmasked, Causal, DenseMask>;
  all.push_back({"chosen keys, causal", combine(Mask(Causal{}), Bias(biases.keys_score())),
                 [=, &biases](const QueryAndKey& at, double s) {
                   return hide_unless(distance(at) >= 0, s + biases.keys_at(at));
                 }});
  all.push_back({"chosen bias, unmasked", combine(Bias(biases.relative_score()), Mask(Unmasked{})),
                 [&](const QueryAndKey& at, double s) { return s + biases.relative_at(at); }});
  all.push_back(
      {"chosen ALiBi, masked",
       combine(Bias(alibi), Mask(DenseMask(Matrix<bool>::NullaryExpr(
                                c.q.rows(), c.k.rows(), [](Index i, Index j) { return (3 * i + 5 * j) % 7 > 2; })))),
       [=](const QueryAndKey& at, double s) {
         return hide_unless((3 * at.row + 5 * at.key) % 7 > 2,
                            s - slope(at) * static_cast<double>(std::abs(distance(at))));
       }});
  all.push_back(
      {"dense bias", biases.dense_score(), [&](const QueryAndKey& at, double s) { return s + biases.dense_at(at); }});
  all.push_back({"dense bias for all heads", biases.shared_score(),
                 [&](const QueryAndKey& at, double s) { return s + biases.shared_at(at); }});
  all.push_back({"function", score(Bent{}), naive_bent});
  all.push_back({"mask function", mask(Striped{}),
                 [=](const QueryAndKey& at, double s) { return hide_unless(striped(at, sequence_of(at)), s); }});
  all.push_back({"all at once",
                 combine(Causal{}, mask(Striped{}), biases.dense_score(),
                         combine(score(Bent{}), SoftCap(3), biases.relative_score())),
                 [=, &biases](const QueryAndKey& at, double s) {
                   if (distance(at) < 0 || !striped(at, sequence_of(at))) return naive_hidden;
                   return naive_bent(at, 3 * std::tanh(s / 3) + biases.dense_at(at)) + biases.relative_at(at);
                 }});
  return all;
}

}  // namespace eigenformer::testing
