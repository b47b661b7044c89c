#include "eigenformer/autograd/checkpoint.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "eigenformer/layers/feed_forward.hpp"
#include "eigenformer/ops/arithmetic.hpp"
#include "eigenformer/ops/cross_entropy.hpp"
#include "support/message_of.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::Index;

namespace {

using CheckpointContext = ef::Context<float>;
using CheckpointVariable = ef::Variable<float>;

/// Two feed-forward networks with dropout. The second one is applied twice.
struct DeepLayers {
  ef::FeedForward<float> first, second;
  static void visit(auto& self, auto&& visitor) {
    visitor("first", self.first);
    visitor("second", self.second);
  }
};

/// Calls a layer, plainly or by checkpoint().
template <class Layer>
CheckpointVariable call(bool checkpoints, const CheckpointContext& context, const Layer& layer,
                        const CheckpointVariable& x) {
  return checkpoints ? ef::checkpoint(context, layer, x) : layer(context, x);
}

/// Returns all gradients of two recordings, the input's first. With nesting, one more checkpoint is around the others.
std::vector<ef::Matrix<float>> gradients_of(const DeepLayers& layers, bool checkpoints, bool nests,
                                            ef::Threads* threads = nullptr) {
  ef::Rng rng(5);
  ef::Tape<float> tape;
  const CheckpointContext context{.tape = &tape, .rng = &rng, .threads = threads};
  const auto body = [&](const CheckpointContext& c, const CheckpointVariable& x) {
    const CheckpointVariable once = ef::add(c, x, call(checkpoints, c, layers.first, x));
    const CheckpointVariable twice = ef::add(c, once, call(checkpoints, c, layers.second, once));
    return ef::add(c, twice, call(checkpoints, c, layers.second, twice));
  };
  ef::Rng values(6);
  std::vector<ef::Matrix<float>> results;
  for (int recording = 0; recording < 2; ++recording) {
    const CheckpointVariable x = tape.variable(ef::testing::random_matrix<float>(9, 8, values));
    const CheckpointVariable y = call(nests, context, body, x);
    tape.backward(ef::sum(context, ef::multiply(context, y, y)), 1, threads);
    results.push_back(y.value());
    results.push_back(tape.gradient(x));
  }
  ef::for_each_parameter(layers, [&](const std::string&, const ef::Parameter<float>& parameter) {
    results.push_back(tape.gradient(parameter));
  });
  return results;
}

DeepLayers deep_layers() {
  ef::Rng rng(4);
  return {{8, 19, ef::Activation::gelu, 0.2, true, rng}, {8, 13, ef::Activation::relu, 0.3, true, rng}};
}

}  // namespace

TEST_CASE("a checkpoint changes neither results nor gradients, with dropout and nested", "[autograd][threads]") {
  const DeepLayers layers = deep_layers();
  const std::vector<ef::Matrix<float>> plain = gradients_of(layers, false, false);
  ef::ThreadPool pool(3);
  for (const bool checkpoints : {false, true})
    for (const bool nests : {false, true})
      for (ef::Threads* threads : {static_cast<ef::Threads*>(nullptr), static_cast<ef::Threads*>(&pool)}) {
        CAPTURE(checkpoints, nests);
        CHECK(gradients_of(layers, checkpoints, nests, threads) == plain);
      }
}

TEST_CASE("gradients through a checkpoint of several inputs agree with differences", "[autograd]") {
  ef::Rng rng(8);
  const auto a = ef::testing::random_matrix<double>(3, 4, rng), b = ef::testing::random_matrix<double>(3, 4, rng);
  const auto product = [](const ef::Context<double>& c, const ef::Variable<double>& x, const ef::Variable<double>& y) {
    return ef::multiply(c, ef::multiply(c, x, x), y);
  };
  ef::testing::check_op({a, b}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return ef::checkpoint(c, product, in[0], in[1]);
  });
  ef::testing::check_op({a}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return ef::checkpoint(c, product, in[0], ef::Variable<double>(b));
  });
  ef::FeedForward<double> layer(4, 5, ef::Activation::gelu, 0, true, rng);
  ef::testing::check_parameters(layer, [&](const ef::Context<double>& c) {  // the input needs no gradient
    return ef::checkpoint(c, layer, ef::Variable<double>(a));
  });
}

TEST_CASE("a checkpoint keeps the results of its layers alone", "[autograd]") {
  ef::Rng rng(9);
  std::vector<ef::FeedForward<float>> layers;
  for (int i = 0; i < 8; ++i) layers.emplace_back(32, 128, ef::Activation::relu, 0.1, true, rng);
  const auto bytes = [&](bool checkpoints) {
    ef::Tape<float> tape;
    const CheckpointContext context{.tape = &tape, .rng = &rng};
    for (int recording = 0; recording < 3; ++recording) {  // the workspace settles
      CheckpointVariable x = tape.variable(ef::testing::random_matrix<float>(100, 32, rng));
      for (const ef::FeedForward<float>& layer : layers) x = call(checkpoints, context, layer, x);
      tape.backward(ef::sum(context, x));
    }
    return tape.workspace().capacity();
  };
  // Plain calls keep a layer's hidden units, 4 times as wide as its result, before and after activation and dropout.
  CHECK(bytes(true) * 3 < bytes(false));
}

TEST_CASE("a checkpoint of nothing to learn is a constant, and one that returns its input is the input", "[autograd]") {
  ef::Tape<float> tape;
  const CheckpointContext context{.tape = &tape};
  const auto doubled = [](const CheckpointContext& c, const CheckpointVariable& x) { return ef::scale(c, x, 2.0F); };
  const auto same = [](const CheckpointContext&, const CheckpointVariable& x) { return x; };
  CHECK(!ef::checkpoint(context, doubled, CheckpointVariable(ef::Matrix<float>::Ones(1, 1))).requires_grad());
  const CheckpointVariable x = tape.variable(ef::Matrix<float>::Ones(1, 1));
  tape.backward(ef::checkpoint(context, doubled, ef::checkpoint(context, same, x)));
  CHECK(tape.gradient(x)(0, 0) == 2);
  CHECK(ef::checkpoint({}, doubled, x).scalar() == 2);  // without a tape
}

TEST_CASE("a checkpoint refuses to copy a layer's parameters", "[autograd]") {
  struct Unlisted {
    ef::Parameter<float> weight{ef::Matrix<float>::Constant(1, 1, 3)};
    CheckpointVariable operator()(const CheckpointContext& c, const CheckpointVariable& x) const {
      return ef::multiply(c, x, c.use(weight));
    }
  };
  const Unlisted layer;
  const auto refers = [&](const CheckpointContext& c, const CheckpointVariable& x) { return layer(c, x); };
  const auto nests = [&](const CheckpointContext& c, const CheckpointVariable& x) {
    return ef::checkpoint(c, layer, x);
  };
  ef::Tape<float> tape;
  const CheckpointContext context{.tape = &tape};
  const auto run = [&](const auto& function) {
    return ef::testing::message_of([&] {
      tape.gradients().clear();
      tape.backward(ef::checkpoint(context, function, tape.variable(ef::Matrix<float>::Constant(1, 1, 2))));
    });
  };
  const std::string refusal =
      "checkpoint: the layer's parameters were copied: give the layer a static visit, or call it from a lambda that "
      "refers to it";
  CHECK(run(layer) == refusal);
  CHECK(run(nests) == refusal);
  CHECK(run(refers) == "nothing was thrown");
  CHECK(tape.gradient(layer.weight)(0, 0) == 2);
}

TEST_CASE("a tape works on after a layer in a checkpoint has thrown", "[autograd]") {
  ef::Tape<float> tape;
  const CheckpointContext context{.tape = &tape};
  int calls = 0, fails_at = 1;
  const auto failing = [&](const CheckpointContext& c, const CheckpointVariable& x) {
    if (++calls == fails_at) ef::fail("no");
    return ef::scale(c, x, 3.0F);
  };
  for (fails_at = 1; fails_at <= 2; ++fails_at) {  // in the forward, then in the backward
    calls = 0;
    CHECK(ef::testing::message_of([&] {
            const CheckpointVariable x = tape.variable(ef::Matrix<float>::Ones(1, 1));
            tape.backward(ef::checkpoint(context, failing, x));
          }) == "no");
  }
  fails_at = 0;
  const CheckpointVariable x = tape.variable(ef::Matrix<float>::Ones(1, 1));
  tape.backward(ef::checkpoint(context, failing, x));
  CHECK(tape.gradient(x)(0, 0) == 3);
}

TEST_CASE("the loss of an output layer within a checkpoint computes its gradients once", "[autograd]") {
  ef::Rng rng(12);
  ef::Parameter<float> weight(3001, 16), bias(1, 3001);
  weight.value = ef::testing::random_matrix<float>(3001, 16, rng);
  bias.value = ef::testing::random_matrix<float>(1, 3001, rng);
  const ef::Matrix<float> values = ef::testing::random_matrix<float>(5, 16, rng);
  const std::vector<ef::Token> labels{3, 0, -100, 3000, 3};
  const auto loss_of = [&](const CheckpointContext& c, const CheckpointVariable& x) {
    return ef::linear_cross_entropy(c, x, weight, bias, labels, {.label_smoothing = 0.1});
  };
  std::vector<std::vector<ef::Matrix<float>>> outcomes;  // of a plain call, a checkpoint, and one within another
  for (int checkpoints = 0; checkpoints < 3; ++checkpoints) {
    CAPTURE(checkpoints);
    ef::Tape<float> tape;
    const CheckpointContext context{.tape = &tape};
    const CheckpointVariable x = tape.variable(values);
    const auto within = [&](const CheckpointContext& c, const CheckpointVariable& input) {
      return call(checkpoints > 0, c, loss_of, input);
    };
    const CheckpointVariable loss = call(checkpoints > 1, context, within, x);
    // Within a checkpoint, the tape has no memory yet for the weight's gradient.
    CHECK((tape.workspace().capacity() < sizeof(float) * 3001 * 16) == (checkpoints > 0));
    tape.backward(loss, 3);
    outcomes.push_back({loss.value(), tape.gradient(x), tape.gradient(weight), tape.gradient(bias)});
    CHECK(outcomes.back() == outcomes.front());
  }
}
