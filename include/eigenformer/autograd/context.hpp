// What a call of a layer needs besides its inputs.
#pragma once

#include "eigenformer/autograd/attention_observer.hpp"
#include "eigenformer/autograd/packed_weights.hpp"
#include "eigenformer/autograd/tape.hpp"
#include "eigenformer/core/rng.hpp"
#include "eigenformer/core/threads.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// Passed to every layer and operation; each part may be absent. `Context<float>{}` is plain inference: it records
/// nothing, drops nothing, and the calling thread works. Training has a tape and a generator:
///
///   Context<float> training{.tape = &tape, .rng = &rng, .threads = &pool};
///
/// One context serves one thread at a time; a model, which calls never change, serves any number.
template <class Scalar>
struct Context {
  Tape<Scalar>* tape = nullptr;                    // records, so that gradients can be had
  Rng* rng = nullptr;                              // draws for dropout, which is off without one
  Workspace* workspace = nullptr;                  // memory for results, used again; else the tape's, else the heap
  Threads* threads = nullptr;                      // who works besides the calling thread
  AttentionObserver<Scalar>* attention = nullptr;  // is given every attention layer's weights
  const PackedWeights<Scalar>* packed = nullptr;   // the model's weights, packed for inference; not looked at by a tape

  /// Uninitialised memory for an operation's result.
  Variable<Scalar> new_matrix(Index rows, Index cols) const {
    if (workspace != nullptr) return {workspace->allocate<Scalar>(rows * cols), rows, cols};
    if (tape != nullptr) return tape->new_matrix(rows, cols);
    return {Workspace::allocate_from_heap<Scalar>(rows * cols), rows, cols};
  }

  /// A parameter as an input of an operation.
  Variable<Scalar> use(const Parameter<Scalar>& parameter) const {
    return tape != nullptr ? tape->use(parameter) : Variable<Scalar>::view(parameter.value);
  }

  /// Makes y the result of an operation; `backward(d_y, tape)` adds the gradients of its inputs.
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
