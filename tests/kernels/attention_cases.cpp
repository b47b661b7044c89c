#include "kernels/attention_cases.hpp"

#include "eigenformer/kernels/attention_weights.hpp"
#include "kernels/attention_calls.hpp"

namespace eigenformer::testing {

template <class Scalar>
Tensor<Scalar> weights_of(const AttentionCase<Scalar>& c, const std::type_identity_t<TestedScore<Scalar>>& score,
                          const AttentionOptions& options) {
  return std::visit([&](const auto& s) { return attention_weights(c.q, c.k, s, options); }, score);
}

template Attended<float> attend(const AttentionCase<float>&, const TestedScore<float>&, Threads*, Index);
template Attended<double> attend(const AttentionCase<double>&, const TestedScore<double>&, Threads*, Index);
template AttentionGradients<float> gradients(const AttentionCase<float>&, const TestedScore<float>&, Threads*);
template AttentionGradients<double> gradients(const AttentionCase<double>&, const TestedScore<double>&, Threads*);
template Tensor<float> weights_of(const AttentionCase<float>&, const TestedScore<float>&, const AttentionOptions&);
template Tensor<double> weights_of(const AttentionCase<double>&, const TestedScore<double>&, const AttentionOptions&);

}  // namespace eigenformer::testing
