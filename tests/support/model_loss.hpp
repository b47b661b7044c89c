// Checks that a model's loss is the cross entropy of its logits.
#pragma once

#include <string>

#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"

namespace eigenformer::testing {

/// Checks that model.loss(...) has the value and the gradients of cross_entropy(logits), with and without a tape.
template <class Model>
void check_model_loss(const Model& model, const TranslationBatch& batch) {
  const CrossEntropyOptions options{.label_smoothing = 0.1, .reduction = Reduction::sum};
  Tape<double> tape, expected_tape;
  const Context<double> context{.tape = &tape}, expected_context{.tape = &expected_tape};
  const Variable<double> loss = model.loss(context, batch, options);
  const Variable<double> expected = loss_of(model, expected_context, batch, options);
  CHECK(relative_error(loss.scalar(), expected.scalar()) <= rounding<double>(1e3));
  CHECK(model.loss(Context<double>{}, batch, options).scalar() == loss.scalar());
  tape.backward(loss);
  expected_tape.backward(expected);
  for_each_parameter(model, [&](const std::string& name, const Parameter<double>& parameter) {
    CAPTURE(name);
    const Matrix<double>* gradient = tape.gradients().find(parameter);
    const Matrix<double>* expected_gradient = expected_tape.gradients().find(parameter);
    REQUIRE((gradient == nullptr) == (expected_gradient == nullptr));
    if (gradient != nullptr) CHECK(max_error(*gradient, *expected_gradient) <= rounding<double>(1e4));
  });
}

}  // namespace eigenformer::testing
