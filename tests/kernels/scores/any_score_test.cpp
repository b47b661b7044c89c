#include "eigenformer/kernels/scores/any_score.hpp"

#include "eigenformer/kernels/attention_backward.hpp"
#include "eigenformer/kernels/attention_weights.hpp"
#include "kernels/attention_cases.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::AnyScore;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

namespace {

template <class Scalar>
struct Results {
  Matrix<Scalar> out, log_sum_exp;
  AttentionGradients<Scalar> d;
};

/// Runs attention and its backward with a score as kernels take it.
template <class Scalar, class S>
Results<Scalar> run_kernels(const AttentionCase<Scalar>& c, const S& score, ef::Threads* threads) {
  Results<Scalar> r{not_written<Scalar>(c.d_out.rows(), c.d_out.cols()),
                    not_written<Scalar>(c.q.rows(), c.options.heads),
                    {not_written<Scalar>(c.q.rows(), c.q.cols()), not_written<Scalar>(c.k.rows(), c.k.cols()),
                     not_written<Scalar>(c.v.rows(), c.v.cols())}};
  ef::AttentionOptions options = c.options;
  options.threads = threads;
  const ef::AttentionInputs<Scalar> in{ef::strided_view(c.q), ef::strided_view(c.k), ef::strided_view(c.v)};
  ef::attention_forward<Scalar>(in, score, options, {r.out, r.log_sum_exp});
  ef::attention_backward<Scalar>(in, score, options, {r.out, r.log_sum_exp}, c.d_out, {r.d.q, r.d.k, r.d.v});
  return r;
}
template <class Scalar>
Results<Scalar> run(const AttentionCase<Scalar>& c, const AnyScore<Scalar>& score, ef::Threads* threads = nullptr) {
  return score.visit([&](const auto& s) { return run_kernels(c, s, threads); });
}

/// Returns a naive score that applies one after the other.
NaiveScore after(const NaiveScore& first, const NaiveScore& second) {
  return [=](const QueryAndKey& at, double score) { return second(at, first(at, score)); };
}
NaiveScore capped(double cap) {
  return [cap](const QueryAndKey&, double score) { return cap * std::tanh(score / cap); };
}
NaiveScore windowed(Index size) {
  return
      [size](const QueryAndKey& at, double score) { return std::abs(at.query - at.key) < size ? score : naive_hidden; };
}
double naive_bent(const QueryAndKey& at, double score) {
  return Bent{}(score, ef::ScorePosition{.head = static_cast<std::int32_t>(at.head)});
}
double naive_decay(const QueryAndKey& at, double score) {
  return score - 0.25 * static_cast<double>(std::abs(at.query - at.key));
}
double naive_striped(const QueryAndKey& at, double score) {
  return at.key % 3 != 1 && at.query % 5 != 2 ? score : naive_hidden;
}

const auto decay = ef::score([](auto s, const ef::ScorePosition& at) {
  return s - 0.25F * static_cast<float>(at.query > at.key ? at.query - at.key : at.key - at.query);
});
const auto striped = ef::mask([](const ef::ScorePosition& at) { return at.key % 3 != 1 && at.query % 5 != 2; });

struct Named {
  const char* name;
  AnyScore<double> score;
  NaiveScore naive;
};
std::vector<Named> named_scores() {
  const auto bent = ef::score(Bent{});
  const AnyScore<double> nothing;
  return {
      {"nothing", nothing, naive_unmasked},
      {"unmasked", ef::Unmasked{}, naive_unmasked},
      {"causal", ef::Causal{}, naive_causal},
      {"window", ef::SlidingWindow(3), windowed(3)},
      {"cap", ef::SoftCap(0.5), capped(0.5)},
      {"function", decay, naive_decay},
      {"mask", striped, naive_striped},
      {"combined", ef::combine(ef::Causal{}, ef::SlidingWindow(4), ef::SoftCap(2)),
       after(capped(2), after(windowed(4), naive_causal))},
      {"combined with",
       AnyScore<double>(ef::Causal{}).combined_with(ef::SlidingWindow(4)).combined_with(ef::SoftCap(2)),
       after(capped(2), after(windowed(4), naive_causal))},
      {"two causal", AnyScore<double>(ef::Causal{}).combined_with(ef::Causal{}), naive_causal},
      {"order within a stage", AnyScore<double>(bent).combined_with(decay), after(naive_bent, naive_decay)},
      {"order within a stage, other", AnyScore<double>(decay).combined_with(bent), after(naive_decay, naive_bent)},
      // More numbers than the kernels save: four functions and a cap.
      {"many",
       AnyScore<double>(ef::combine(striped, bent, decay)).combined_with(ef::combine(bent, ef::SoftCap(3), bent)),
       after(capped(3), after(after(naive_bent, naive_decay), after(after(naive_bent, naive_bent), naive_striped)))}};
}

}  // namespace

TEST_CASE("attention with any score, and its gradients, agree with the definition", "[kernels][threads]") {
  ef::Rng rng(1);
  ef::ThreadPool pool(3);
  const std::vector<AttentionSizes> sizes{{2, 1, 5, 3, {4, 1, 0, 9}, {6, 2, 3, 9}},
                                          {4, 2, 8, 4, {70}, {131}},
                                          {1, 1, 3, 2, {1}, {40}},
                                          {3, 3, 4, 4, {33}, {17}}};
  for (const AttentionSizes& s : sizes) {
    CAPTURE(s.queries, s.keys);
    const AttentionCase<double> c(s, rng);
    for (const Named& n : named_scores()) {
      CAPTURE(n.name);
      const Results<double> given = run(c, n.score);
      const NaiveAttention expected = c.naive(n.naive);
      CHECK(max_error(given.out, expected.out) < rounding<double>(256));
      CHECK(max_error(given.log_sum_exp, expected.log_sum_exp) < rounding<double>(256));
      check_gradients(c, given.d, n.naive, rng);
      const Results<double> threaded = run(c, n.score, &pool);
      CHECK(identical<double>(threaded.out, given.out));
      CHECK(identical(threaded.d, given.d));
    }
  }
}

TEST_CASE("Unmasked and Causal alone keep their own kernels", "[kernels][threads]") {
  ef::Rng rng(2);
  const AttentionCase<float> c({2, 2, 16, 16, {70, 3}, {70, 3}}, rng);
  const auto same = [&](const AnyScore<float>& any, const auto& score) {
    const Results<float> a = run(c, any), b = run_kernels(c, score, nullptr);
    return identical<float>(a.out, b.out) && identical<float>(a.log_sum_exp, b.log_sum_exp) && identical(a.d, b.d);
  };
  CHECK(same({}, ef::Unmasked{}));
  CHECK(same(ef::Unmasked{}, ef::Unmasked{}));
  CHECK(same(ef::Causal{}, ef::Causal{}));
  CHECK(same(ef::Causal::after_past(), ef::Causal::after_past()));
  CHECK(same(AnyScore<float>().combined_with(ef::Causal{}).combined_with(ef::Unmasked{}), ef::Causal{}));
  const auto type_is = [](const AnyScore<float>& any, auto expected) {
    return any.visit(
        [&](const auto& s) { return std::is_same_v<std::remove_cvref_t<decltype(s)>, decltype(expected)>; });
  };
  CHECK(type_is({}, ef::Unmasked{}));
  CHECK(type_is(ef::Causal{}, ef::Causal{}));
  CHECK(type_is(AnyScore<float>(ef::Causal{}).combined_with(ef::Causal{}), ef::Causal{}));
  CHECK(!type_is(AnyScore<float>(ef::Causal{}).combined_with(ef::Causal::after_past()), ef::Causal{}));
  CHECK(AnyScore<float>().empty());
  CHECK(AnyScore<float>(ef::Unmasked{}).after_past().empty());
  CHECK(!AnyScore<float>(ef::SoftCap(1)).empty());
}

TEST_CASE("a score's own gradients are summed, also by several threads", "[kernels][threads]") {
  ef::Rng rng(3);
  ef::ThreadPool pool(3);
  const AttentionCase<double> c({2, 2, 4, 4, {40, 9, 33}, {40, 9, 33}}, rng);
  const ef::RelativeBuckets buckets{8, 20, true};
  const auto weights = random_matrix<double>(8, 2, rng), bias = random_matrix<double>(82, 40, rng);
  const auto view = [](const Matrix<double>& m) {
    return ef::TensorView<const double>(m.data(), {m.rows(), m.cols()});
  };
  const auto gradient = [](Matrix<double>& m) { return ef::TensorView<double>(m.data(), {m.rows(), m.cols()}); };
  const auto gradients_of = [&](ef::Threads* threads, bool any) {
    Matrix<double> d_weights = Matrix<double>::Zero(8, 2), d_bias = Matrix<double>::Zero(82, 40);
    const auto score = ef::combine(ef::Causal{}, ef::SoftCap(2), ef::DenseBias<double>(view(bias), gradient(d_bias)),
                                   ef::RelativeBias<double>(view(weights), buckets, gradient(d_weights)));
    const Results<double> r = any ? run<double>(c, score, threads) : run_kernels(c, score, threads);
    return std::vector<Matrix<double>>{d_weights, d_bias, r.out, r.d.q, r.d.k, r.d.v};
  };
  const std::vector<Matrix<double>> expected = gradients_of(nullptr, false), given = gradients_of(nullptr, true);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(max_error(given[i], expected[i]) < rounding<double>(64));
    CHECK(expected[i].cwiseAbs().maxCoeff() > 0.01);
  }
  CHECK(gradients_of(&pool, true) == given);
}

TEST_CASE("the last queries of a sequence have the scores that they have in the whole", "[kernels]") {
  ef::Rng rng(4);
  const Index n = 21, d = 6;
  const auto q = random_matrix<double>(n, 2 * d, rng), k = random_matrix<double>(n, 2 * d, rng),
             v = random_matrix<double>(n, 2 * d, rng);
  const Matrix<bool> may_attend = random_mask(n, n, rng);
  const auto attend = [](const Matrix<double>& queries, const Matrix<double>& keys, const Matrix<double>& values,
                         const AnyScore<double>& score, const ef::RowOffsets& rows, const ef::RowOffsets& key_rows) {
    return score.visit([&](const auto& s) {
      return ef::attention(queries, keys, values, s, {.heads = 2, .query_rows = rows, .key_rows = key_rows});
    });
  };
  std::vector<Named> scores = named_scores();
  scores.push_back({"alibi", ef::Alibi(2), naive_unmasked});
  scores.push_back(
      {"aligned already", ef::combine(ef::Causal::after_past(), ef::Alibi(2).after_past()), naive_unmasked});
  const ef::Tensor<bool> by_sequence = [&] {  // queries are counted within their sequence
    ef::Tensor<bool> mask({1, 1, n, n}, false);
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < n; ++j) mask.view()(0, 0, i, j) = may_attend(i, j);
    return mask;
  }();
  scores.push_back({"dense mask of rank 4", ef::DenseMask(by_sequence), naive_unmasked});
  for (const Named& named : scores) {
    CAPTURE(named.name);
    const Matrix<double> whole = attend(q, k, v, named.score, {}, {});
    for (const Index last : {1, 4, 20, 21}) {
      CAPTURE(last);
      const Matrix<double> placed = attend(q.bottomRows(last), k, v, named.score.after_past(), {}, {});
      CHECK(max_error(placed, whole.bottomRows(last)) < rounding<double>(64));
    }
    // Two sequences whose queries are in the middle of it.
    const std::vector<Index> offsets{5, 2};
    Matrix<double> middle(7, 2 * d), keys(2 * n, 2 * d), values(2 * n, 2 * d);
    middle << q.middleRows(5, 3), q.middleRows(2, 4);
    keys << k, k;
    values << v, v;
    if (std::string(named.name) == "aligned already") continue;
    const Matrix<double> placed =
        attend(middle, keys, values, named.score.with_offsets(offsets), {0, 3, 7}, {0, n, 2 * n});
    // Striped masks and the like do not ask for the sequence.
    CHECK(max_error(placed.topRows(3), whole.middleRows(5, 3)) < rounding<double>(64));
    CHECK(max_error(placed.bottomRows(4), whole.middleRows(2, 4)) < rounding<double>(64));
  }
}

TEST_CASE("placed queries keep their rows of masks and biases of the batch", "[kernels]") {
  ef::Rng rng(6);
  const auto q = random_matrix<double>(5, 4, rng), k = random_matrix<double>(20, 4, rng),
             bias = random_matrix<double>(5, 11, rng);
  const ef::AttentionOptions options{.heads = 2, .query_rows = {0, 3, 5}, .key_rows = {0, 9, 20}};
  const std::vector<Index> offsets{6, 2};
  const ef::DenseBias<double> dense(ef::TensorView<const double>(bias.data(), {5, 11}));
  for (const AnyScore<double>& score :
       {AnyScore<double>(dense), AnyScore<double>(ef::DenseMask(random_mask(5, 11, rng)))}) {
    const auto attend = [&](const AnyScore<double>& any) {
      return any.visit([&](const auto& s) { return ef::attention(q, k, k, s, options); });
    };
    CHECK(attend(score.after_past()) == attend(score));
    CHECK(attend(score.with_offsets(offsets)) == attend(score));
    CHECK(attend(score) != attend({}));
  }
}

TEST_CASE("the places of queries are checked sequence by sequence, before anything is computed", "[kernels]") {
  ef::Rng rng(8);
  const auto q = random_matrix<float>(8, 4, rng), k = random_matrix<float>(18, 4, rng);
  // A token that is decoded at offset 9, a new sequence of six, and one without keys, whose place does not matter.
  const ef::AttentionOptions options{.heads = 2, .query_rows = {0, 1, 7, 8}, .key_rows = {0, 10, 18, 18}};
  const std::vector<Index> offsets{9, 0, -4}, misplaced{9, -1, 0};
  const Matrix<bool> allowed = random_mask(10, 10, rng);
  ef::Tensor<bool> mask({1, 1, 10, 10});
  for (Index i = 0; i < 10; ++i)
    for (Index j = 0; j < 10; ++j) mask(0, 0, i, j) = allowed(i, j) || j == 0;
  const auto is_seen = [&](const ef::ScorePosition& at) { return mask(0, 0, at.query, at.key); };
  for (const AnyScore<float>& score :
       {AnyScore<float>(ef::DenseMask(mask)), AnyScore<float>(ef::block_mask({.queries = 10, .keys = 10}, is_seen)),
        AnyScore<float>(ef::DenseMask(mask)).combined_with(ef::SoftCap(2))}) {
    const auto attend = [&](const AnyScore<float>& any, const auto& queries, const auto& keys,
                            const ef::AttentionOptions& given) {
      return any.visit([&](const auto& s) { return ef::attention(queries, keys, keys, s, given); });
    };
    const Matrix<float> y = attend(score.with_offsets(offsets), q, k, options);
    const std::vector<Index> first{9}, second{0};
    CHECK(max_error(y.topRows(1), attend(score.with_offsets(first), q.topRows(1), k.topRows(10), {.heads = 2})) <
          rounding<float>(16));
    CHECK(max_error(y.middleRows(1, 6), attend(score.with_offsets(second), q.middleRows(1, 6), k.bottomRows(8),
                                               {.heads = 2})) < rounding<float>(16));
    // No result is written before the misplaced query of sequence 1 is found.
    const AnyScore<float> bad = score.with_offsets(misplaced);
    const std::string expected =
        "attention: the score places the first query of sequence 1 at key -1, expected 0 or more";
    Matrix<float> out = Matrix<float>::Constant(8, 4, 7), sums = Matrix<float>::Constant(8, 2, 7), d_q = out,
                  d_k = Matrix<float>::Constant(18, 4, 7), d_v = d_k;
    const ef::AttentionInputs<float> in{ef::strided_view(q), ef::strided_view(k), ef::strided_view(k)};
    const auto message = [&](auto call) { return message_of([&] { bad.visit([&](const auto& s) { call(s); }); }); };
    CHECK(message([&](const auto& s) { ef::attention_forward<float>(in, s, options, {out, sums}); }) == expected);
    CHECK(message([&](const auto& s) {
            ef::attention_backward<float>(in, s, options, {out, sums}, q, {d_q, d_k, d_v});
          }) == expected);
    CHECK(message([&](const auto& s) { ef::attention_scores(q, k, s, options); }) == expected);
    CHECK(message([&](const auto& s) { ef::attention(q, k, k, ef::combine(s, ef::Causal{}), options); }) == expected);
    for (const Matrix<float>* written : {&out, &sums, &d_q, &d_k, &d_v}) CHECK((written->array() == 7).all());
  }
}

TEST_CASE("a check without the sequences' lengths takes the largest offset and the longest sequence", "[kernels]") {
  ef::ScoreTile batch;
  batch.sequence = 1;
  batch.queries = 6;
  batch.query_end = 7;
  batch.keys = batch.key_end = 10;
  const std::vector<Index> offsets{9, 0, 100};  // of more sequences than the batch has
  const auto refuses = [&](const AnyScore<float>& score) {
    return message_of([&] {
             score.visit([&](const auto& s) { ef::combine(s, ef::SoftCap(2)).check_covers(batch); });
           }) != "nothing was thrown";
  };
  const auto mask = [](Index queries) { return AnyScore<float>(ef::DenseMask(ef::Tensor<bool>({1, 1, queries, 10}))); };
  CHECK(refuses(mask(14).with_offsets(offsets)));
  CHECK_FALSE(refuses(mask(15).with_offsets(offsets)));
  CHECK(refuses(mask(9).after_past()));
  CHECK_FALSE(refuses(mask(10).after_past()));
  CHECK(refuses(mask(5)));
  CHECK_FALSE(refuses(mask(6)));
}

TEST_CASE("scores that do not cover the batch are refused at the places of its queries", "[kernels]") {
  const Matrix<float> q = Matrix<float>::Zero(2, 4), k = Matrix<float>::Zero(6, 4);
  const auto message = [&](const AnyScore<float>& score) {
    return message_of([&] { score.visit([&](const auto& s) { return ef::attention(q, k, k, s); }); });
  };
  const ef::Tensor<bool> mask({1, 1, 5, 6}, true);
  const std::vector<Index> offsets{4}, none;
  CHECK(AnyScore<float>(ef::DenseMask(mask)).visit([&](const auto& s) { return ef::attention(q, k, k, s); }).isZero(0));
  CHECK(message(AnyScore<float>(ef::DenseMask(mask)).after_past()) ==
        "attention: the dense mask is [1 x 1 x 5 x 6], expected 1 sequences, 1 heads, at least 6 queries and at least "
        "6 keys, "
        "or sizes of 1");
  CHECK(message(AnyScore<float>(ef::DenseMask(mask)).with_offsets(offsets)) ==
        "attention: the dense mask is [1 x 1 x 5 x 6], expected 1 sequences, 1 heads, at least 6 queries and at least "
        "6 keys, "
        "or sizes of 1");
  CHECK(message(AnyScore<float>(ef::Causal{}).with_offsets(none)) ==
        "attention: the score has offsets for 0 sequences, expected 1");
  const std::vector<Index> too_large{(std::numeric_limits<Index>::max)()};
  CHECK(
      message(AnyScore<float>(ef::Causal{}).with_offsets(too_large)).starts_with("attention: the score has an offset"));
  CHECK(message_of([&] {
          ef::attention(q, k, k, ef::Causal::with_offsets(too_large));
        }).starts_with("attention: the score has an offset"));
  // More queries than keys: the first would lie before the first key.
  const AnyScore<float> few = AnyScore<float>(ef::DenseMask(ef::Tensor<bool>({1, 1, 6, 2}, true))).after_past();
  CHECK(message_of([&] { few.visit([&](const auto& s) { return ef::attention(k, q, q, s); }); }) ==
        "attention: the score places the first query of sequence 0 at key -4, expected 0 or more");
}

TEST_CASE("the weights of any score are those of attention", "[kernels]") {
  ef::Rng rng(5);
  const AttentionCase<double> c({2, 1, 5, 3, {4, 9}, {6, 9}}, rng);
  for (const Named& n : named_scores()) {
    CAPTURE(n.name);
    const ef::Tensor<double> weights =
        n.score.visit([&](const auto& s) { return ef::attention_weights(c.q, c.k, s, c.options); });
    const NaiveAttention expected = c.naive(n.naive);
    for (Index h = 0; h < 2; ++h)
      CHECK(max_error(weights.matrix(h), expected.weights[static_cast<std::size_t>(h)]) < rounding<double>(64));
  }
}

TEST_CASE("a visited score may be kept, and queries are not placed before the first key", "[kernels]") {
  ef::Rng rng(9);
  const Matrix<float> x = random_matrix<float>(6, 4, rng);
  const auto kept = AnyScore<float>(ef::combine(ef::SlidingWindow(2), ef::SoftCap(5))).visit([](const auto& score) {
    return AnyScore<float>(score);
  });
  const Matrix<float> y = kept.visit([&](const auto& score) { return ef::attention(x, x, x, score); });
  CHECK(y == ef::attention(x, x, x, ef::combine(ef::SlidingWindow(2), ef::SoftCap(5))));
  const std::vector<Index> offsets{-1};
  CHECK(message_of([&] {
          AnyScore<float>(ef::Causal{}).with_offsets(offsets).visit([&](const auto& score) {
            return ef::attention(x, x, x, score);
          });
        }) == "attention: the score places the first query of sequence 0 at key -1, expected 0 or more");
}
