#include "eigenformer/ops/variable_score.hpp"

#include <algorithm>

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/kernels/scores.hpp"
#include "eigenformer/ops/position_score.hpp"
#include "eigenformer/ops/tensor_views.hpp"
#include "support/approx.hpp"
#include "support/message_of.hpp"
#include "support/naive_attention.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Variable;
using ef::VariableScore;
using namespace ef::testing;

namespace {

using Inputs = std::vector<Variable<double>>;

constexpr Index query_heads = 4, shared_heads = 2, key_width = 3, value_width = 2;

// A temperature, a slope for each head, a table by distance that all heads share, and a scale for each head and key.
const auto four_parameters = [](const auto& s, const ef::ScorePosition& at, const auto& temperature, const auto& slope,
                                const auto& table, const auto& factor) {
  const auto distance = at.query - at.key;
  return ef::tanh(s * temperature(0)) * factor(at.head * 3 + at.key % 3) -
         slope(at.head) * static_cast<float>(distance) * 0.25F +
         table(distance < -3 ? 0 : (distance > 3 ? 6 : distance + 3));
};

VariableScore<double> four_of(const Inputs& p) {
  return ef::score(four_parameters, p[0], p[1], p[2], p[3]);
}

NaiveScore naive_four(std::vector<Matrix<double>> p) {
  return [p = std::move(p)](const QueryAndKey& at, double s) {
    const Index distance = at.query - at.key;
    return std::tanh(s * p[0](0, 0)) * p[3](at.head, at.key % 3) -
           p[1](0, at.head) * static_cast<double>(distance) * 0.25 + p[2](0, std::clamp<Index>(distance, -3, 3) + 3);
  };
}

std::vector<Matrix<double>> random_parameters(ef::Rng& rng) {
  return {random_matrix<double>(1, 1, rng), random_matrix<double>(1, query_heads, rng),
          random_matrix<double>(1, 7, rng), random_matrix<double>(query_heads, 3, rng)};
}

// Queries, keys and values of a ragged batch, with a sequence without queries.
struct Batch {
  ef::AttentionOptions options;
  Matrix<double> q, k, v;

  Batch(Index n, ef::Rng& rng)
      : options{.heads = query_heads,
                .key_heads = shared_heads,
                .query_rows = ef::RowOffsets::from_lengths({n, 0, 3}),
                .key_rows = ef::RowOffsets::from_lengths({n + 1, 2, 3})},
        q(random_matrix<double>(n + 3, query_heads * key_width, rng)),
        k(random_matrix<double>(n + 6, shared_heads * key_width, rng)),
        v(random_matrix<double>(n + 6, shared_heads * value_width, rng)) {}
};

// A score besides the learned one, and its definition: before(s) comes first, then the learned score, then the mask.
struct Companion {
  ef::AnyScore<double> score;
  std::function<double(double)> before;
  std::function<bool(const QueryAndKey&)> may_attend;
};

std::vector<Companion> companions() {
  const auto unchanged = [](double s) { return s; };
  const auto causal = [](const QueryAndKey& at) { return at.key <= at.query; };
  return {{{}, unchanged, [](const QueryAndKey&) { return true; }},
          {ef::Causal{}, unchanged, causal},
          {ef::combine(ef::SlidingWindow(2), ef::SoftCap(0.5), ef::Causal{}),
           [](double s) { return 0.5 * std::tanh(s / 0.5); },
           [=](const QueryAndKey& at) { return causal(at) && at.query - at.key < 2; }},
          // Queries 1 of each sequence see nothing.
          {ef::mask([](const ef::ScorePosition& at) { return at.query != 1; }), unchanged,
           [](const QueryAndKey& at) { return at.query != 1; }}};
}

// Scales results by the share of the weights that sinks leave.
Matrix<double> with_sinks(const NaiveAttention& naive, const Matrix<double>& sinks) {
  Matrix<double> out = naive.out;
  for (Index i = 0; i < out.rows(); ++i)
    for (Index h = 0; h < query_heads; ++h)
      out.row(i).segment(h * value_width, value_width) /= 1 + std::exp(sinks(0, h) - naive.log_sum_exp(i, h));
  for (Index i = 0; i < out.rows(); ++i)
    for (Index c = 0; c < out.cols(); ++c)
      if (naive.log_sum_exp(i, c / value_width) == naive_hidden) out(i, c) = 0;
  return out;
}

}  // namespace

TEST_CASE("attention with a score of Variables is that of its definition, with every companion", "[ops]") {
  const std::uint64_t seed = 81;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const std::vector<Matrix<double>> p = random_parameters(rng);
  const Matrix<double> sinks = random_matrix<double>(1, query_heads, rng);
  const NaiveScore learned = naive_four(p);
  for (Index n = 1; n < 36; n += n < 5 ? 1 : 6) {
    CAPTURE(n);
    const Batch b(n, rng);
    for (const Companion& other : companions()) {
      const NaiveAttention expected = naive_attention(
          b.q, b.k, b.v,
          [&](const QueryAndKey& at, double s) {
            return other.may_attend(at) ? learned(at, other.before(s)) : naive_hidden;
          },
          b.options);
      const auto score = four_of(Inputs(p.begin(), p.end())).combined_with(other.score);
      CHECK(max_error(ef::attention<double>({}, b.q, b.k, b.v, score, b.options).value(), expected.out) < 1e-12);
      const auto y = ef::attention<double>({}, {.q = b.q, .k = b.k, .v = b.v, .sinks = sinks}, score, b.options);
      CHECK(max_error(y.value(), with_sinks(expected, sinks)) < 1e-12);
    }
  }
}

TEST_CASE("gradients of a score's Variables and of sinks, with every companion", "[ops]") {
  const std::uint64_t seed = 82;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const Batch b(5, rng);
  std::vector<Matrix<double>> inputs = random_parameters(rng);
  inputs.insert(inputs.end(), {b.q, b.k, b.v, random_matrix<double>(1, query_heads, rng)});
  for (const Companion& other : companions())
    check_op(inputs, [&](const ef::Context<double>& c, const Inputs& in) {
      return ef::attention(c, {.q = in[4], .k = in[5], .v = in[6], .sinks = in[7]},
                           four_of(in).combined_with(other.score), b.options);
    });
  // With a position score, whose numbers are Variables too, and with relative positions of values.
  const auto a_k = random_matrix<double>(5, key_width, rng), a_v = random_matrix<double>(5, value_width, rng),
             weights = random_matrix<double>(6, query_heads, rng);
  const Matrix<double> q = b.q.topRows(5), k = b.k.topRows(5), v = b.v.topRows(5);
  const ef::AttentionOptions options{
      .heads = query_heads, .key_heads = shared_heads, .query_rows = {0, 3, 5}, .key_rows = {0, 3, 5}};
  inputs.resize(4);
  inputs.insert(inputs.end(), {q, k, v, random_matrix<double>(1, query_heads, rng), a_k, a_v, weights});
  for (const bool relative : {true, false})
    check_op(inputs, [&](const ef::Context<double>& c, const Inputs& in) {
      const auto others = four_of(in).combined_with(ef::Causal{});
      const auto score = relative ? ef::PositionScore<double>::relative(c, in[4], in[8], query_heads, others)
                                  : ef::PositionScore<double>::bucketed({6, 9, true}, in[10], others);
      return ef::attention_with_relative_values(c, {.q = in[4], .k = in[5], .v = in[6], .sinks = in[7]}, in[9], score,
                                                options);
    });
}

TEST_CASE("a score of Variables for tensors, in both orders of dimensions", "[ops]") {
  ef::Rng rng(83);
  const ef::Sizes shape{2, query_heads, 3, key_width};
  std::vector<Matrix<double>> flat = random_parameters(rng);
  for (int i = 0; i < 3; ++i) flat.push_back(random_matrix<double>(1, ef::count_of(shape), rng));
  flat.push_back(random_matrix<double>(1, query_heads, rng));
  const auto rows = ef::RowOffsets::from_lengths({3, 2});  // the second sequence has padding
  const auto attend = [&](const ef::Context<double>& c, const Inputs& in, bool tokens_first) {
    const auto tensor = [&](const Variable<double>& x) {
      const Variable<double> by_heads = ef::reshape(c, x, shape);
      return tokens_first ? ef::transpose(c, by_heads, 1, 2) : by_heads;
    };
    // A parameter may be a tensor too: the function reads its entries row by row.
    const Inputs p{ef::reshape(c, in[0], ef::Sizes{}), in[1], in[2],
                   ef::reshape(c, in[3], ef::Sizes{1, query_heads, 3})};
    const Variable<double> y =
        ef::attention(c, {.q = tensor(in[4]), .k = tensor(in[5]), .v = tensor(in[6]), .sinks = in[7]},
                      four_of(p).combined_with(ef::Causal{}),
                      {.query_rows = rows,
                       .key_rows = rows,
                       .dimensions = tokens_first ? ef::AttentionDimensions::batch_tokens_heads
                                                  : ef::AttentionDimensions::batch_heads_tokens});
    return ef::reshape(c, tokens_first ? ef::transpose(c, y, 1, 2) : y, 1, y.size());
  };
  const Inputs constants(flat.begin(), flat.end());
  const Matrix<double> by_heads = attend({}, constants, false).value();
  CHECK(attend({}, constants, true).value() == by_heads);
  for (const bool tokens_first : {false, true})
    check_op(flat, [&](const ef::Context<double>& c, const Inputs& in) { return attend(c, in, tokens_first); });
  // Each sequence alone, as matrices.
  const ef::Tensor<double> y = Variable<double>(by_heads).reshaped(shape).tensor();
  for (Index s = 0; s < 2; ++s) {
    const auto matrix = [&](std::size_t i) {
      const Variable<double> tensor = constants[i].reshaped(shape);
      Matrix<double> x(rows.length(s), query_heads * key_width);
      for (Index h = 0; h < query_heads; ++h)
        x.middleCols(h * key_width, key_width) = tensor.tensor().matrix(s, h).topRows(rows.length(s));
      return x;
    };
    const Matrix<double> alone =
        ef::attention<double>({}, {.q = matrix(4), .k = matrix(5), .v = matrix(6), .sinks = constants[7]},
                              four_of(constants).combined_with(ef::Causal{}), {.heads = query_heads})
            .value();
    for (Index h = 0; h < query_heads; ++h)
      CHECK(max_error(y.matrix(s, h).topRows(rows.length(s)), alone.middleCols(h * key_width, key_width)) < 1e-13);
  }
}

TEST_CASE("heads that share a parameter add up their gradients", "[ops]") {
  ef::Rng rng(84);
  const Batch b(6, rng);
  const auto gradient = [&](const auto& function, const Matrix<double>& slope) {
    ef::Tape<double> tape;
    const ef::Context<double> c{.tape = &tape};
    const Variable<double> p = tape.variable(slope);
    tape.backward(weighted_sum(c, ef::attention<double>(c, b.q, b.k, b.v, ef::score(function, p), b.options)));
    return tape.gradient(p);
  };
  const auto own = gradient([](auto s, const ef::ScorePosition& at, const auto& p) { return s * p(at.head); },
                            Matrix<double>::Constant(1, query_heads, 0.75));
  const auto shared = gradient([](auto s, const ef::ScorePosition&, const auto& p) { return s * p(0); },
                               Matrix<double>::Constant(1, 1, 0.75));
  CHECK(std::abs(own.sum() - shared(0, 0)) < 1e-13);
  for (Index h = 0; h < query_heads; ++h) CHECK(own(0, h) != 0);
  // A Variable that is used twice gets both gradients.
  ef::Tape<double> tape;
  const ef::Context<double> c{.tape = &tape};
  const Variable<double> p = tape.variable(Matrix<double>::Constant(1, 1, 0.75));
  const auto product =
      ef::score([](auto s, const ef::ScorePosition&, const auto& x, const auto& y) { return s * x(0) * y(0); }, p, p);
  tape.backward(weighted_sum(c, ef::attention<double>(c, b.q, b.k, b.v, product, b.options)));
  const double two = tape.gradient(p)(0, 0);
  const double square = gradient([](auto s, const ef::ScorePosition&, const auto& x) { return s * x(0); },
                                 Matrix<double>::Constant(1, 1, 0.75 * 0.75))(0, 0);
  CHECK(std::abs(two - 2 * 0.75 * square) < 1e-13);
}

TEST_CASE("threads change no bit of a score's gradients", "[ops][threads]") {
  ef::Rng rng(85);
  const Batch b(300, rng);
  const std::vector<Matrix<double>> p = random_parameters(rng);
  const auto gradients = [&](ef::Threads* threads) {
    ef::Tape<float> tape;
    const ef::Context<float> c{.tape = &tape, .threads = threads};
    std::vector<Variable<float>> in;
    for (const Matrix<double>& x : p) in.push_back(tape.variable(x.cast<float>()));
    const auto sinks = tape.variable(Matrix<float>::Constant(1, query_heads, 0.5F));
    const auto score = ef::score(four_parameters, in[0], in[1], in[2], in[3]).combined_with(ef::Causal{});
    const auto y =
        ef::attention<float>(c, {b.q.cast<float>(), b.k.cast<float>(), b.v.cast<float>(), sinks}, score, b.options);
    tape.backward(ef::sum(c, ef::multiply(c, y, y)));
    in.push_back(sinks);
    std::vector<Matrix<float>> result;
    for (const Variable<float>& x : in) result.push_back(tape.gradient(x));
    return result;
  };
  const auto alone = gradients(nullptr);
  for (const int count : {1, 2, 3}) {
    ef::ThreadPool pool(count);
    const auto together = gradients(&pool);
    for (std::size_t i = 0; i < alone.size(); ++i) CHECK(alone[i] == together[i]);
  }
}

TEST_CASE("queries that see nothing give zeros, and no gradient to parameters and sinks", "[ops]") {
  ef::Rng rng(86);
  Batch b(4, rng);
  b.k.setConstant(std::numeric_limits<double>::quiet_NaN());
  std::vector<Matrix<double>> p = random_parameters(rng);
  ef::Tape<double> tape;
  const ef::Context<double> c{.tape = &tape};
  Inputs in;
  for (const Matrix<double>& x : p) in.push_back(tape.variable(x));
  const auto sinks = tape.variable(Matrix<double>::Zero(1, query_heads)), q = tape.variable(b.q);
  const auto nothing = ef::mask([](const ef::ScorePosition&) { return false; });
  const auto y = ef::attention<double>(c, {q, b.k, b.v, sinks}, four_of(in).combined_with(nothing), b.options);
  CHECK(y.value().isZero(0));
  tape.backward(weighted_sum(c, y));
  in.insert(in.end(), {sinks, q});
  for (const Variable<double>& x : in) CHECK(tape.gradient(x).isZero(0));
}

TEST_CASE("a score of Variables is placed as other scores are, and reads keys by index", "[ops]") {
  ef::Rng rng(87);
  const Matrix<double> q = random_matrix<double>(9, query_heads * key_width, rng),
                       k = random_matrix<double>(9, shared_heads * key_width, rng),
                       v = random_matrix<double>(9, shared_heads * value_width, rng),
                       sinks = random_matrix<double>(1, query_heads, rng);
  const std::vector<Matrix<double>> p = random_parameters(rng);
  const VariableScore<double> score = four_of(Inputs(p.begin(), p.end())).combined_with(ef::Causal{});
  CHECK(score.inputs().size() == 4);
  CHECK(VariableScore<double>(ef::Unmasked{}).empty());
  CHECK(!score.empty());
  const ef::AttentionOptions options{.heads = query_heads, .key_heads = shared_heads};
  const Matrix<double> whole = ef::attention<double>({}, {q, k, v, sinks}, score, options).value();
  const Matrix<double> last = q.bottomRows(4);
  CHECK(max_error(ef::attention<double>({}, {last, k, v, sinks}, score.after_past(), options).value(),
                  whole.bottomRows(4)) < 1e-13);
  const std::vector<Index> offset{2}, reversed{8, 7, 6, 5, 4, 3, 2, 1, 0};
  const Matrix<double> middle = q.middleRows(2, 3);
  ef::AttentionOptions indexed = options;
  indexed.key_index = reversed;
  const Matrix<double> k_reversed = k.colwise().reverse(), v_reversed = v.colwise().reverse();
  CHECK(
      max_error(ef::attention<double>({}, {middle, k_reversed, v_reversed, sinks}, score.with_offsets(offset), indexed)
                    .value(),
                whole.middleRows(2, 3)) < 1e-13);
}

TEST_CASE("scores of Variables and sinks that do not fit are refused", "[ops]") {
  const Variable<float> x = Matrix<float>::Zero(3, 4), two = Matrix<float>::Zero(1, 2), none = Matrix<float>(0, 0);
  const std::vector<double> sinks{1, 2};
  CHECK(message_of([&] {
          ef::attention<float>({}, {x, x, x, two}, {.heads = 2, .sinks = sinks});
        }) == "attention: sinks are given as a Variable and in the options, expected one of them");
  CHECK(message_of([&] {
          ef::attention<float>({}, {x, x, x, two}, {.heads = 4});
        }) == "attention: 2 sinks, expected one for each of 4 heads");
  const auto empty = ef::score([](auto s, const ef::ScorePosition&, const auto& p) { return s * p(0); }, none);
  CHECK(message_of([&] { ef::attention<float>({}, x, x, x, empty); }) ==
        "ScoreParameter: a parameter of 0 numbers, expected 1 to 2^31 - 1");
}
