// Trains a Transformer in mixed precision: reaches most kernels.
#include <eigenformer/eigenformer.hpp>

namespace ef = eigenformer;

template <class Scalar>
Scalar train(const ef::Transformer<Scalar>& model, ef::Tape<Scalar>& tape, const ef::TranslationBatch& batch) {
  const ef::Context<Scalar> context{.tape = &tape, .precision = ef::Precision::bfloat16};
  const auto loss = ef::cross_entropy(context, model(context, batch.source, batch.target), batch.next);
  tape.backward(loss);
  return loss.scalar();
}

template float train(const ef::Transformer<float>&, ef::Tape<float>&, const ef::TranslationBatch&);
template double train(const ef::Transformer<double>&, ef::Tape<double>&, const ef::TranslationBatch&);
