#include "kernels/attention_calls.hpp"

namespace eigenformer::testing {

template Attended<Eigen::half> attend(const AttentionCase<Eigen::half>&, const TestedScore<Eigen::half>&, Threads*,
                                      Index);
template Attended<Eigen::bfloat16> attend(const AttentionCase<Eigen::bfloat16>&, const TestedScore<Eigen::bfloat16>&,
                                          Threads*, Index);
template AttentionGradients<Eigen::half> gradients(const AttentionCase<Eigen::half>&, const TestedScore<Eigen::half>&,
                                                   Threads*);
template AttentionGradients<Eigen::bfloat16> gradients(const AttentionCase<Eigen::bfloat16>&,
                                                       const TestedScore<Eigen::bfloat16>&, Threads*);

}  // namespace eigenformer::testing
