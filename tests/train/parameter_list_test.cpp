#include "eigenformer/train/parameter_list.hpp"

#include <functional>

#include "eigenformer/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;

namespace {

/// The definition of a pattern, by recursion.
bool matches_naively(const std::string& name, const std::string& pattern) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*')
    return matches_naively(name, pattern.substr(1)) || (!name.empty() && matches_naively(name.substr(1), pattern));
  return !name.empty() && (pattern[0] == '?' || pattern[0] == name[0]) &&
         matches_naively(name.substr(1), pattern.substr(1));
}

}  // namespace

TEST_CASE("patterns match as their definition says", "[train]") {
  CHECK(ef::matches("encoder.layers.0.q.weight", "encoder.*"));
  CHECK(ef::matches("encoder.layers.0.q.weight", "*.q.*"));
  CHECK(!ef::matches("encoder.layers.0.q.weight", "decoder.*"));
  CHECK(!ef::matches("encoder", "encoder.*"));
  ef::Rng rng(4);
  int matched = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string name, pattern;
    for (ef::Index n = rng.randint(7); n > 0; --n) name += "ab."[rng.randint(3)];
    for (ef::Index n = rng.randint(6); n > 0; --n) pattern += "ab.**?"[rng.randint(6)];
    CAPTURE(name, pattern);
    const bool expected = matches_naively(name, pattern);
    matched += expected ? 1 : 0;
    if (ef::matches(name, pattern) != expected) CHECK(ef::matches(name, pattern) == expected);
  }
  CHECK(matched > 1000);
  CHECK(matched < 19'000);
}

TEST_CASE("training a list of parameters leaves the others as they are", "[train]") {
  ef::Rng rng(5);
  ef::Transformer<float> model(ef::testing::small_transformer(), rng);
  const ef::Transformer<float> before = model;
  const std::vector<std::string> frozen{"encoder.layers.0.*", "*.norm1.bias"};
  ef::ParameterList<float> trained = ef::parameters_without<float>(model, frozen);
  const ef::TranslationBatch batch = ef::testing::copy_batch({4, 2}, rng);
  ef::Adam<float> adam;
  double norm = 0;
  ef::train(
      trained, adam, [&] { return batch; },
      [&](const ef::Context<float>& context, const ef::TranslationBatch& given) {
        return ef::BatchLoss<float>{model.loss(context, given), 1};
      },
      [&](const ef::TrainingProgress& progress) {
        norm = progress.gradient_norm;
        return false;
      });
  std::vector<ef::Matrix<float>> old;
  ef::for_each_parameter(before, [&](const std::string&, const ef::Parameter<float>& x) { old.push_back(x.value); });
  std::size_t i = 0, changed = 0;
  ef::for_each_parameter(model, [&](const std::string& name, const ef::Parameter<float>& x) {
    CAPTURE(name);
    const bool is_frozen = ef::matches(name, frozen[0]) || ef::matches(name, frozen[1]);
    if (is_frozen) CHECK(x.value == old[i]);
    changed += x.value == old[i] ? 0 : 1;
    ++i;
  });
  CHECK(changed == trained.parameters.size());
  // Only the gradients of the list count for the norm.
  ef::Tape<float> tape;
  const ef::Context<float> context{.tape = &tape};
  tape.backward(before.loss(context, batch));
  double squares = 0;
  ef::for_each_parameter(before, [&](const std::string& name, const ef::Parameter<float>& x) {
    if (!ef::matches(name, frozen[0]) && !ef::matches(name, frozen[1]))
      squares += static_cast<double>(tape.gradient(x).squaredNorm());
  });
  CHECK(std::abs(norm / std::sqrt(squares) - 1) < 1e-5);
}

TEST_CASE("patterns that match nothing or everything are refused", "[train]") {
  ef::Rng rng(6);
  ef::Transformer<float> model(ef::testing::small_transformer(), rng);
  const auto message = [&](const std::vector<std::string>& frozen) {
    return ef::testing::message_of([&] { ef::parameters_without<float>(model, frozen); });
  };
  CHECK(message({"encodr.*"}) == "parameters_without: no parameter matches \"encodr.*\"");
  CHECK(message({"*"}) == "parameters_without: all parameters are frozen, expected one to train");
  CHECK(message({}) == "nothing was thrown");
  CHECK(ef::testing::message_of([&] {
          ef::parameters_without<float>(model, std::vector<std::string>{"encodr.*"}, "--freeze");
        }) == "--freeze: no parameter matches \"encodr.*\"");
}
