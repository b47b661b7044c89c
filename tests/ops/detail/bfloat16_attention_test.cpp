// Compares attention in mixed precision with attention of doubles on the same rounded operands. Errors are at most two
// units in the last place of the largest entry. The cases call the code for processors with a matrix unit on every
// processor.
#include "eigenformer/ops/detail/bfloat16_attention.hpp"

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "eigenformer/autograd/checkpoint.hpp"
#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/kernels/scores.hpp"
#include "eigenformer/layers/multi_head_attention.hpp"
#include "eigenformer/ops/arithmetic.hpp"
#include "eigenformer/ops/attention.hpp"
#include "eigenformer/ops/attention_weights.hpp"
#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::testing::identical;
using ef::testing::random_matrix;

namespace {

/// Returns x rounded to bfloat16, in another type.
template <class Scalar>
Matrix<Scalar> rounded(const Matrix<float>& x) {
  return x.cast<Eigen::bfloat16>().cast<Scalar>();
}

/// The floats of a call.
struct Case {
  Matrix<float> q, k, v, d_y;
  Matrix<float> sinks{};                    // [1 x heads], or empty
  std::vector<Matrix<float>> parameters{};  // of the score
  ef::AttentionOptions options{};
  ef::Sizes query_shape{}, key_shape{}, value_shape{};  // of tensors; rank 0: matrices
};

/// Returns the case with operands that are rounded to bfloat16.
Case rounded(Case c) {
  for (Matrix<float>* x : {&c.q, &c.k, &c.v, &c.d_y}) *x = rounded<float>(*x);
  return c;
}

/// Returns the score of a case. parameters: Variables.
template <class Scalar>
using MakeScore = std::function<ef::VariableScore<Scalar>(const std::vector<ef::Variable<Scalar>>& parameters)>;

/// The result of a call, and the gradients of q, k, v, the sinks and the parameters.
template <class Scalar>
struct Result {
  Matrix<Scalar> y;
  std::vector<Matrix<Scalar>> gradients;
};

/// Computes attention by a method: Bfloat16Attention or PlainAttention.
template <class Method, class Scalar>
Result<Scalar> attend(const Case& c, const MakeScore<Scalar>& make_score, ef::Threads* threads = nullptr) {
  ef::Tape<Scalar> tape;
  ef::Rng rng(77);
  const ef::Context<Scalar> context{.tape = &tape, .rng = &rng, .threads = threads};
  const auto variable = [&](const Matrix<float>& x, const ef::Sizes& shape) {
    const Matrix<Scalar> values = x.cast<Scalar>();
    return shape.rank() < 4 ? tape.variable(values)
                            : tape.variable(ef::Tensor<Scalar>(ef::TensorView<const Scalar>(values.data(), shape)));
  };
  std::vector<ef::Variable<Scalar>> inputs{variable(c.q, c.query_shape), variable(c.k, c.key_shape),
                                           variable(c.v, c.value_shape)};
  if (c.sinks.size() > 0) inputs.push_back(tape.variable(c.sinks.cast<Scalar>()));
  std::vector<ef::Variable<Scalar>> parameters;
  for (const Matrix<float>& parameter : c.parameters) parameters.push_back(tape.variable(parameter.cast<Scalar>()));
  const ef::VariableScore<Scalar> score = make_score(parameters);
  const ef::QueryKeyValue<Scalar> in{inputs[0], inputs[1], inputs[2],
                                     c.sinks.size() > 0 ? inputs[3] : ef::Variable<Scalar>()};
  const ef::Variable<Scalar> y = ef::detail::attention_in<Method>(
      context, in, score.inputs(),
      [score](std::span<const ef::TensorView<Scalar>> views) { return score.score(views); },
      ef::detail::with_context(context, c.options));
  const ef::Variable<Scalar> flat = ef::reshape(context, y, c.d_y.rows(), c.d_y.cols());
  tape.backward(ef::sum(context, ef::multiply(context, flat, ef::Variable<Scalar>(c.d_y.cast<Scalar>()))));
  Result<Scalar> result{flat.value(), {}};
  inputs.insert(inputs.end(), parameters.begin(), parameters.end());
  for (const ef::Variable<Scalar>& x : inputs) result.gradients.push_back(tape.gradient(x));
  return result;
}

using Mixed = ef::detail::Bfloat16Attention<float>;
using Exact = ef::detail::PlainAttention<double>;

/// Returns a unit in the last place of bfloat16, for the largest entry or 1.
double last_place(const Matrix<double>& expected) {
  const double largest = expected.size() == 0 ? 1 : std::max(1.0, expected.cwiseAbs().maxCoeff());
  return 0x1p-7 * std::exp2(std::floor(std::log2(largest)));
}

/// Returns the largest |given - expected|, or infinity if the sizes differ or an entry is not finite.
double max_difference(const Matrix<float>& given, const Matrix<double>& expected) {
  if (given.rows() != expected.rows() || given.cols() != expected.cols() || !given.allFinite())
    return std::numeric_limits<double>::infinity();
  return given.size() == 0 ? 0 : (given.cast<double>() - expected).cwiseAbs().maxCoeff();
}

/// Compares results and gradients. largest_derivative: of a score by one of its parameters.
void check_agreement(const Case& c, const MakeScore<float>& score, const MakeScore<double>& exact_score,
                     double largest_derivative = 1) {
  const Result<float> given = attend<Mixed, float>(c, score);
  const Result<double> expected = attend<Exact, double>(rounded(c), exact_score);
  CHECK(max_difference(given.y, expected.y) <= 2 * last_place(expected.y));
  CHECK(identical<float>(given.y, rounded<float>(given.y)));
  // The backward computes rowsum(O * dO) from the rounded O. The gradients of parameters and sinks add up these errors.
  const double error_of_sums = 0x1p-7 * expected.y.cwiseProduct(c.d_y.cast<double>()).norm() * largest_derivative;
  REQUIRE(given.gradients.size() == expected.gradients.size());
  for (std::size_t i = 0; i < given.gradients.size(); ++i) {
    CAPTURE(i);
    const Matrix<double>& gradient = expected.gradients[i];
    const bool is_operand = i < 3;
    CHECK(max_difference(given.gradients[i], gradient) <= 2 * last_place(gradient) + (is_operand ? 0 : error_of_sums));
    if (is_operand) CHECK(identical<float>(given.gradients[i], rounded<float>(given.gradients[i])));
  }
}

template <class S>
void check_score(const Case& c, const S& score) {
  check_agreement(
      c, [&](const auto&) { return ef::VariableScore<float>(score); },
      [&](const auto&) { return ef::VariableScore<double>(score); });
}

struct CaseSizes {
  Index heads, key_heads, key_width, value_width;
  std::vector<Index> queries, keys;  // of each sequence
};

Case random_case(const CaseSizes& s, ef::Rng& rng) {
  const ef::RowOffsets queries = ef::RowOffsets::from_lengths(s.queries), keys = ef::RowOffsets::from_lengths(s.keys);
  Case c{.q = random_matrix<float>(queries.rows(), s.heads * s.key_width, rng, 1.5),
         .k = random_matrix<float>(keys.rows(), s.key_heads * s.key_width, rng),
         .v = random_matrix<float>(keys.rows(), s.key_heads * s.value_width, rng),
         .d_y = random_matrix<float>(queries.rows(), s.heads * s.value_width, rng)};
  c.options = {.heads = s.heads, .key_heads = s.key_heads, .query_rows = queries, .key_rows = keys};
  return c;
}

/// Sizes with grouped heads and ragged batches, below and above the sizes of tiles.
const std::vector<CaseSizes> all_sizes{
    {1, 1, 1, 1, {1}, {1}},
    {2, 2, 5, 3, {3}, {7}},
    {3, 1, 9, 17, {17}, {33}},
    {4, 2, 33, 8, {70, 0, 1, 5}, {65, 4, 9, 0}},
    {2, 1, 40, 33, {130, 3}, {140, 70}},
    {1, 1, 64, 64, {300}, {200}},
};

/// Adds a learned factor times a number from -3 to 3, and an entry of a learned table. Heads have their own factors and
/// share the table.
template <class Scalar>
ef::VariableScore<Scalar> learned_score(const std::vector<ef::Variable<Scalar>>& parameters) {
  return ef::score(
             [](auto s, const ef::ScorePosition& at, const auto& factor, const auto& table) {
               return s + factor(at.head) * static_cast<float>((at.query + 3 * at.key) % 7 - 3) +
                      table((at.query + 2 * at.key) % 5);
             },
             parameters[0], parameters[1])
      .combined_with(ef::Causal{});
}

}  // namespace

TEST_CASE("mixed-precision attention and its gradients agree with double on the rounded operands", "[ops]") {
  const std::uint64_t seed = 41;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const CaseSizes& s : all_sizes) {
    CAPTURE(s.heads, s.key_heads, s.key_width, s.value_width, s.queries, s.keys);
    const Case c = random_case(s, rng);
    check_score(c, ef::Unmasked{});
    check_score(c, ef::Causal{});
    check_score(c, ef::combine(ef::SlidingWindow(9), ef::SoftCap(3)));
  }
}

TEST_CASE("mixed-precision attention gives the parameters of a score and sinks their gradients", "[ops]") {
  const std::uint64_t seed = 42;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const CaseSizes& s : all_sizes) {
    CAPTURE(s.heads, s.key_heads, s.key_width, s.value_width, s.queries, s.keys);
    Case c = random_case(s, rng);
    c.sinks = random_matrix<float>(1, s.heads, rng);
    c.parameters = {random_matrix<float>(1, s.heads, rng), random_matrix<float>(1, 5, rng)};
    check_agreement(c, learned_score<float>, learned_score<double>, 3);
    check_score(c, ef::Unmasked{});
  }
}

TEST_CASE("mixed-precision attention drops the weights that attention in float drops", "[ops]") {
  const std::uint64_t seed = 43;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const CaseSizes& s : all_sizes) {
    CAPTURE(s.heads, s.key_heads, s.key_width, s.value_width, s.queries, s.keys);
    Case c = random_case(s, rng);
    c.options.dropout = 0.3;
    check_score(c, ef::Causal{});
  }
}

TEST_CASE("mixed-precision attention takes tensors with padding", "[ops]") {
  const std::uint64_t seed = 44;
  CAPTURE(seed);
  ef::Rng rng(seed);
  for (const bool heads_first : {true, false}) {
    CAPTURE(heads_first);
    const auto shape = [&](Index heads, Index tokens, Index width) {
      return heads_first ? ef::Sizes{3, heads, tokens, width} : ef::Sizes{3, tokens, heads, width};
    };
    Case c{.q = random_matrix<float>(1, 3 * 4 * 19 * 7, rng),
           .k = random_matrix<float>(1, 3 * 2 * 21 * 7, rng),
           .v = random_matrix<float>(1, 3 * 2 * 21 * 5, rng),
           .d_y = random_matrix<float>(1, 3 * 4 * 19 * 5, rng)};
    c.query_shape = shape(4, 19, 7);
    c.key_shape = shape(2, 21, 7);
    c.value_shape = shape(2, 21, 5);
    using Dimensions = ef::AttentionDimensions;
    c.options.dimensions = heads_first ? Dimensions::batch_heads_tokens : Dimensions::batch_tokens_heads;
    check_score(c, ef::Causal{});
    c.options.query_rows = ef::RowOffsets::from_lengths({19, 4, 1});
    c.options.key_rows = ef::RowOffsets::from_lengths({20, 5, 3});
    check_score(c, ef::Unmasked{});
  }
}

TEST_CASE("mixed-precision attention gives equal bits for any number of threads", "[ops][threads]") {
  const std::uint64_t seed = 45;
  CAPTURE(seed);
  ef::Rng rng(seed);
  Case c = random_case({4, 2, 64, 32, {150, 3, 70, 1}, {160, 9, 70, 30}}, rng);
  c.options.dropout = 0.2;
  c.sinks = random_matrix<float>(1, 4, rng);
  c.parameters = {random_matrix<float>(1, 4, rng), random_matrix<float>(1, 5, rng)};
  const Result<float> expected = attend<Mixed, float>(c, learned_score<float>);
  for (const int count : {1, 2, 3}) {
    CAPTURE(count);
    ef::ThreadPool pool(count);
    const Result<float> given = attend<Mixed, float>(c, learned_score<float>, &pool);
    CHECK(identical<float>(given.y, expected.y));
    for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
      CAPTURE(i);
      CHECK(identical<float>(given.gradients[i], expected.gradients[i]));
    }
  }
}

TEST_CASE("a sequence's mixed-precision result and gradients do not depend on its batch", "[ops]") {
  const std::uint64_t seed = 46;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const Case batch = random_case({4, 2, 17, 9, {150, 3, 70, 1}, {160, 9, 70, 30}}, rng);
  const MakeScore<float> causal = [](const auto&) { return ef::VariableScore<float>(ef::Causal{}); };
  const Result<float> together = attend<Mixed, float>(batch, causal);
  const ef::RowOffsets &queries = batch.options.query_rows, &keys = batch.options.key_rows;
  for (Index s = 0; s < 4; ++s) {
    CAPTURE(s);
    const auto of_queries = [&](const Matrix<float>& x) -> Matrix<float> {
      return x.middleRows(queries.begin(s), queries.length(s));
    };
    const auto of_keys = [&](const Matrix<float>& x) -> Matrix<float> {
      return x.middleRows(keys.begin(s), keys.length(s));
    };
    Case alone{.q = of_queries(batch.q), .k = of_keys(batch.k), .v = of_keys(batch.v), .d_y = of_queries(batch.d_y)};
    alone.options = {.heads = 4, .key_heads = 2};
    const Result<float> given = attend<Mixed, float>(alone, causal);
    CHECK(identical<float>(given.y, of_queries(together.y)));
    CHECK(identical<float>(given.gradients[0], of_queries(together.gradients[0])));
    CHECK(identical<float>(given.gradients[1], of_keys(together.gradients[1])));
    CHECK(identical<float>(given.gradients[2], of_keys(together.gradients[2])));
  }
}

TEST_CASE("mixed-precision attention takes its memory from the tape", "[ops]") {
  ef::Rng rng(47);
  const auto x = random_matrix<float>(70, 32, rng);
  /// Returns the memory of the tape after some steps of a method, which must not grow in the last one.
  const auto memory_of = [&]<class Method>(std::type_identity<Method>) {
    ef::Tape<float> tape;
    const ef::Context<float> context{.tape = &tape};
    std::size_t allocations = 0;
    for (int step = 0; step < 4; ++step) {
      allocations = tape.workspace().system_allocations();
      const ef::Variable<float> in = tape.variable(x);
      const ef::Variable<float> y = ef::detail::attention_in<Method>(
          context, ef::QueryKeyValue<float>{in, in, in}, {},
          [](std::span<const ef::TensorView<float>>) { return ef::Causal{}; }, {.heads = 4});
      tape.backward(ef::sum(context, y));
    }
    CHECK(tape.workspace().system_allocations() == allocations);
    return tape.workspace().capacity();
  };
  const std::size_t in_float = memory_of(std::type_identity<ef::detail::PlainAttention<float>>());
  // At least q, k, v and the result.
  CHECK(memory_of(std::type_identity<Mixed>()) >=
        in_float + 4 * static_cast<std::size_t>(x.size()) * sizeof(Eigen::bfloat16));
}

TEST_CASE("the context's precision decides whether attention rounds, with and without a tape", "[ops]") {
  const std::uint64_t seed = 48;
  CAPTURE(seed);
  ef::Rng rng(seed);
  constexpr bool is_fast = ef::matrix_unit::is_fast<Eigen::bfloat16>;
  const Case c = random_case({4, 2, 16, 8, {40, 3}, {40, 9}}, rng);
  const auto with_precision = [&](ef::Precision precision, bool with_tape) {
    ef::Tape<float> tape;
    const ef::Context<float> context{.tape = with_tape ? &tape : nullptr, .precision = precision};
    const ef::Variable<float> q = with_tape ? tape.variable(c.q) : ef::Variable<float>(c.q);
    return Matrix<float>(
        ef::attention(context, q, ef::Variable<float>(c.k), ef::Variable<float>(c.v), ef::Causal{}, c.options).value());
  };
  const MakeScore<float> causal = [](const auto&) { return ef::VariableScore<float>(ef::Causal{}); };
  const Matrix<float> in_float = attend<ef::detail::PlainAttention<float>, float>(c, causal).y,
                      in_bfloat16 = is_fast ? attend<Mixed, float>(c, causal).y : in_float;
  CHECK((is_fast == !identical<float>(in_float, in_bfloat16)));
  for (const bool with_tape : {true, false}) {
    CAPTURE(with_tape);
    CHECK(identical<float>(with_precision(ef::Precision::float32, with_tape), in_float));
    CHECK(identical<float>(with_precision(ef::Precision::bfloat16, with_tape), in_bfloat16));
  }
}

TEST_CASE("in mixed precision attention to a cache and attention of doubles do not round", "[ops]") {
  ef::Rng rng(49);
  const auto q = random_matrix<float>(3, 16, rng), k = random_matrix<float>(9, 16, rng);
  std::vector<Index> order{8, 1, 2, 3, 4, 5, 6, 7, 0};
  const ef::AttentionOptions options{.heads = 2, .key_index = order};
  const ef::Variable<float> queries = q, keys = k;
  const auto with_precision = [&](ef::Precision precision) {
    return Matrix<float>(
        ef::attention(ef::Context<float>{.precision = precision}, queries, keys, keys, options).value());
  };
  CHECK(identical<float>(with_precision(ef::Precision::bfloat16), with_precision(ef::Precision::float32)));

  ef::Tape<float> tape;
  const ef::Context<float> recording{.tape = &tape, .precision = ef::Precision::bfloat16};
  CHECK(ef::testing::message_of([&] { ef::attention(recording, queries, keys, keys, options); }) ==
        "attention: key_index and key_pages have no backward, and a tape is recording");

  const ef::Variable<double> x = Matrix<double>(q.cast<double>());
  const ef::Context<double> context{.precision = ef::Precision::bfloat16};
  CHECK(identical<double>(ef::attention(context, x, x, x).value(), ef::attention<double>({}, x, x, x).value()));
}

TEST_CASE("layers attend in mixed precision, checkpointed or not, and keep weights for losses in float", "[ops]") {
  const std::uint64_t seed = 50;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::MultiHeadAttention<float> layer({.width = 24, .heads = 3, .dropout = 0.2, .sinks = true}, rng);
  layer.sinks.value = random_matrix<float>(1, 3, rng);
  const auto x = random_matrix<float>(37, 24, rng);
  const ef::RowOffsets rows{0, 30, 37};
  const auto gradients = [&](bool is_checkpointed) {
    ef::Tape<float> tape;
    ef::Rng draws(3);
    const ef::Context<float> context{.tape = &tape, .rng = &draws, .precision = ef::Precision::bfloat16};
    const ef::Variable<float> in = tape.variable(x);
    const auto call = [&](const ef::Context<float>& c, const ef::Variable<float>& z) { return layer(c, z, rows); };
    const ef::Variable<float> y = is_checkpointed ? ef::checkpoint(context, call, in) : call(context, in);
    tape.backward(ef::sum(context, ef::multiply(context, y, y)));
    return std::vector<Matrix<float>>{y.value(), tape.gradient(in), tape.gradient(layer.q.weight),
                                      tape.gradient(layer.sinks)};
  };
  const auto plain = gradients(false), checkpointed = gradients(true);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    CAPTURE(i);
    CHECK(plain[i].cwiseAbs().maxCoeff() > 0);
    CHECK(identical<float>(plain[i], checkpointed[i]));
  }

  const auto weights = [&](ef::Precision precision) {
    const ef::Variable<float> in = x;
    const ef::Context<float> context{.precision = precision};
    return Matrix<float>(
        ef::differentiable_attention_weights<float>(context, {in, in, {}}, ef::Causal{}, {.heads = 3}).value());
  };
  CHECK(identical<float>(weights(ef::Precision::bfloat16), weights(ef::Precision::float32)));
}
