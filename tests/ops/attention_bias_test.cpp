#include "eigenformer/ops/attention_bias.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "ops/tensor_ops.hpp"
#include "support/approx.hpp"
#include "support/message_of.hpp"
#include "support/naive_attention.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Sizes;
using Context = ef::Context<double>;
using Inputs = std::vector<ef::Variable<double>>;

namespace {

constexpr Index batch = 2, heads = 3, queries = 4, keys = 5, width = 2;

}  // namespace

TEST_CASE("gradients of attention with a learned bias of tensors", "[ops]") {
  const std::uint64_t seed = 51;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const Sizes q{batch, heads, queries, width}, k{batch, heads, keys, width};
  for (const Sizes& bias : {Sizes{batch, heads, queries, keys}, Sizes{1, heads, queries, keys},
                            Sizes{1, heads, 1, keys}, Sizes{batch, 1, queries, 1}, Sizes{1, 1, 1, 1}}) {
    CAPTURE(bias[0], bias[1], bias[2], bias[3]);
    for (const bool causal : {false, true})
      ef::testing::check_tensor_op({q, k, k, bias}, rng, [&](const Context& c, const Inputs& in) {
        const ef::AnyScore<double> other = causal ? ef::AnyScore<double>(ef::Causal{}) : ef::AnyScore<double>();
        return ef::attention(c, in[0], in[1], in[2], ef::AttentionBias<double>(in[3], other));
      });
  }
}

TEST_CASE("a learned bias of a ragged batch is that of the definition, with its gradients", "[ops]") {
  const std::uint64_t seed = 52;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::AttentionOptions options{.heads = heads, .query_rows = {0, 3, 4}, .key_rows = {0, 5, 7}};
  const auto q = ef::testing::random_matrix<double>(4, heads * width, rng),
             k = ef::testing::random_matrix<double>(7, heads * width, rng),
             bias = ef::testing::random_matrix<double>(4, 5, rng);
  const auto attend = [&](const Context& c, const Inputs& in) {
    return ef::attention(c, in[0], in[1], in[1], ef::AttentionBias<double>(in[2]), options);
  };
  const ef::Matrix<double> expected =
      ef::testing::naive_attention(
          q, k, k, [&](const auto& at, double score) { return score + bias(at.row, at.key); }, options)
          .out;
  CHECK(ef::testing::max_error(attend({}, {q, k, bias}).value(), expected) < 1e-13);
  ef::testing::check_op({q, k, bias}, attend);
}

TEST_CASE("a learned bias gets the same gradient for any number of threads", "[ops][threads]") {
  const std::uint64_t seed = 53;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool pool(3);
  const ef::Tensor<double> q = ef::testing::random_tensor({2, 2, 70, 3}, rng).tensor(),
                           k = ef::testing::random_tensor({2, 2, 600, 3}, rng).tensor(),
                           bias = ef::testing::random_tensor({1, 2, 1, 600}, rng).tensor();
  const auto gradient = [&](ef::Threads* threads) {
    ef::Tape<double> tape;
    const Context context{.tape = &tape, .threads = threads};
    const ef::Variable<double> learned = tape.variable(bias);
    tape.backward(
        ef::testing::weighted_sum(context, ef::attention(context, ef::Variable<double>(q), ef::Variable<double>(k),
                                                         ef::Variable<double>(k), ef::AttentionBias<double>(learned))));
    return tape.gradient(learned);
  };
  const ef::Matrix<double> alone = gradient(nullptr);
  CHECK(alone.cwiseAbs().maxCoeff() > 0);
  CHECK(gradient(&pool) == alone);
}

TEST_CASE("a learned bias of another rank is refused", "[ops]") {
  CHECK(ef::testing::message_of([] { ef::AttentionBias<double>(ef::Variable<double>(ef::Tensor<double>({5}))); }) ==
        "DenseBias: a tensor [5], expected [queries x keys], [heads x queries x keys] or [batch x heads x queries "
        "x keys]");
}
