// Everything that a call of a layer needs besides its inputs.
#pragma once

#include "eigenformer/autograd/attention_observer.hpp"
#include "eigenformer/autograd/head_weights.hpp"
#include "eigenformer/autograd/packed_weights.hpp"
#include "eigenformer/autograd/tape.hpp"
#include "eigenformer/core/rng.hpp"
#include "eigenformer/core/threads.hpp"
#include "eigenformer/kernels/product_options.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Passed to every layer and operation. Every member is optional. `Context<float>{}` means plain inference on the
/// calling thread: nothing is recorded, and dropout is off. Training needs a tape and a generator:
///
///   Context<float> training{.tape = &tape, .rng = &rng, .threads = &pool};
///
/// With `.precision = Precision::bfloat16`, training is in mixed precision:
/// - Linear layers, output layers and matmul round their operands to bfloat16. Their results are floats.
/// - Attention rounds queries, keys, values, its result and their gradients if the program is compiled for a processor
///   with bfloat16 products (`matrix_unit::is_fast<Eigen::bfloat16>`). On other processors attention stays float,
///   because bfloat16 would be slower there. Attention to a key/value cache and attention weights (observers,
///   head_weights, relative_values) always stay float.
/// - Everything else stays float: parameters and their gradients, sums, norms, softmax and losses; also additive
///   attention, convolutions and the steps of recurrent layers.
///
/// Results still depend neither on the number of threads nor on other sentences in a batch. This precision needs a
/// model of floats: dense products of doubles throw. Without a tape, a product with a packed weight uses the type of
/// that weight instead.
///
/// Use a context from one thread at a time. Calls never change a model, so any number of threads may share it.
template <class Scalar>
struct Context {
  Tape<Scalar>* tape = nullptr;                    // records operations, for gradients
  Rng* rng = nullptr;                              // random draws for dropout; without it dropout is off
  Workspace* workspace = nullptr;                  // reusable memory for results; default: the tape's, else the heap
  Threads* threads = nullptr;                      // other threads that help; must live until the backward has run
  AttentionObserver<Scalar>* attention = nullptr;  // receives the weights of attention layers
  const PackedWeights<Scalar>* packed = nullptr;   // the model's packed weights, for inference; ignored with a tape
  HeadWeights<Scalar>* head_weights = nullptr;     // receives one head's attention weights, differentiable
  Precision precision = Precision::float32;        // type to which dense products and attention round their operands
  bool checkpoint_activations = false;  // encoders and decoders call each layer by checkpoint(), to save memory

  /// Returns the threads and the precision of a product.
  ProductOptions products() const { return {threads, precision}; }

  /// Returns uninitialised memory for `count` numbers of any type, from the workspace, the tape or the heap.
  template <class Number>
  std::shared_ptr<Number> allocate(Index count) const {
    if (workspace == nullptr && tape != nullptr) return tape->template allocate<Number>(count);
    return Workspace::allocate_from<Number>(workspace, count);
  }
  /// Returns uninitialised memory for an operation's result, from the workspace, the tape or the heap.
  Variable<Scalar> new_matrix(Index rows, Index cols) const {
    return {allocate<Scalar>(count_of({rows, cols})), rows, cols};
  }

  /// Returns uninitialised memory for an operation's result of this shape.
  Variable<Scalar> new_tensor(const Sizes& shape) const { return new_matrix(1, count_of(shape)).reshaped(shape); }
  /// Returns uninitialised memory in the shape of x, but with a last dimension of `cols`.
  Variable<Scalar> new_rows(const Variable<Scalar>& x, Index cols) const {
    Variable<Scalar> y = new_matrix(x.rows(), cols);
    if (!x.is_tensor()) return y;
    Sizes shape = x.sizes();
    if (shape.rank() == 0) {
      check(cols == 1, "a tensor [] as rows of ", cols, " columns, expected 1");
      return y.reshaped(shape);
    }
    shape[shape.rank() - 1] = cols;
    return y.reshaped(shape);
  }
  Variable<Scalar> new_like(const Variable<Scalar>& x) const { return new_rows(x, x.cols()); }

  /// Returns a parameter as an input of an operation. With a tape, its gradient is recorded.
  Variable<Scalar> use(const Parameter<Scalar>& parameter) const {
    return tape != nullptr ? tape->use(parameter) : Variable<Scalar>::view(parameter.value);
  }

  /// Returns the packed weight of a parameter, or null: with a tape, because the weight may change, and if the context
  /// has none.
  const PackedWeight<Scalar>* packed_weight(const Parameter<Scalar>& parameter) const {
    return tape == nullptr && packed != nullptr ? packed->find(parameter) : nullptr;
  }

  /// Records y as the result of an operation on `inputs` if there is a tape, and returns it. `backward(d_y, tape)` must
  /// add the gradients of the inputs.
  template <class Backward>
  Variable<Scalar> record(Variable<Scalar> y, std::initializer_list<Variable<Scalar>> inputs,
                          Backward&& backward) const {
    return record(std::move(y), std::span(inputs.begin(), inputs.size()), std::forward<Backward>(backward));
  }
  template <class Backward>
  Variable<Scalar> record(Variable<Scalar> y, std::span<const Variable<Scalar>> inputs, Backward&& backward) const {
    return tape != nullptr ? tape->record(std::move(y), inputs, std::forward<Backward>(backward)) : y;
  }
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
