// Attention of float Variables in mixed precision: operands and results are rounded to bfloat16; scores, softmax, sums
// and log-sum-exps are floats. PyTorch's autocast does the same.
//
// Works on every target. But without a matrix unit for bfloat16 it is slower than attention of floats, so
// ops/attention.hpp calls it only if there is one.
#pragma once

#include <type_traits>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/core/matrix_unit_rounding.hpp"
#include "eigenformer/kernels/attention_backward.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

// Entries that a task converts.
inline constexpr Index converted_entries = 1 << 14;

/// Returns uninitialised memory for a tensor of bfloat16. memory: a context or a tape.
template <class Memory>
Variable<Eigen::bfloat16> new_bfloat16(Memory& memory, const Sizes& shape) {
  return {memory.template allocate<Eigen::bfloat16>(count_of(shape)), shape};
}

/// Returns a copy of a contiguous tensor, rounded to bfloat16. memory: a context or a tape.
template <class Memory>
Variable<Eigen::bfloat16> rounded_to_bfloat16(Memory& memory, const TensorView<const float>& x, Threads* threads) {
  eigen_assert(x.is_contiguous());
  Variable<Eigen::bfloat16> y = new_bfloat16(memory, x.shape());
  const float* const from = x.data();
  Eigen::bfloat16* const to = y.writable().data();
  parallel_for(threads, x.size(), converted_entries,
               [&](Index begin, Index end) { matrix_unit::round_to(from + begin, end - begin, to + begin); });
  return y;
}

/// Writes the entries of x to a contiguous tensor of the same shape.
template <class Scalar>
void convert_from_bfloat16(const Variable<Eigen::bfloat16>& x, const TensorView<Scalar>& y, Threads* threads) {
  eigen_assert(y.is_contiguous() && y.shape() == x.sizes());
  const Eigen::bfloat16* const from = x.value().data();
  Scalar* const to = y.data();
  parallel_for(threads, x.size(), converted_entries,
               [&](Index begin, Index end) { convert(from + begin, end - begin, to + begin); });
}

/// A call of attention whose operands are rounded to bfloat16. Keeps the rounded operands and the result for the
/// backward. All tensors that it takes are contiguous. A template, so that only programs that use it compile it.
template <class Scalar>
class Bfloat16Attention {
  static_assert(std::is_same_v<Scalar, float>);

 public:
  /// Rounds the operands.
  Bfloat16Attention(const Context<Scalar>& context, const AttentionInputs<Scalar>& in)
      : q_(rounded_to_bfloat16(context, in.q, context.threads)),
        k_(rounded_to_bfloat16(context, in.k, context.threads)),
        v_(rounded_to_bfloat16(context, in.v, context.threads)) {}

  /// Writes attention and its log-sum-exps. In tensors, writes zeros for padding. Throws as attention_forward does.
  template <Score S>
  void forward(const Context<Scalar>& context, const S& score, const AttentionOptions& options,
               const AttentionOutputs<Scalar>& to) {
    out_ = new_result(context, to.out.shape());
    attention_forward<Eigen::bfloat16>(inputs(), score, options, {out_.writable_tensor(), to.log_sum_exp});
    convert_from_bfloat16(out_, to.out, options.threads);
  }

  /// Writes the gradients of q, k and v; those of padding are zeros. Adds the gradients of sinks and of the score's
  /// parameters.
  template <Score S>
  void backward(Tape<Scalar>& tape, const S& score, const AttentionOptions& options,
                const AttentionSaved<Scalar>& saved, const TensorView<const Scalar>& d_out,
                const AttentionGradients<Scalar>& to) const {
    const Variable<Eigen::bfloat16> d_rounded = rounded_to_bfloat16(tape, d_out, options.threads);
    Variable<Eigen::bfloat16> d_q = new_result(tape, q_.sizes()), d_k = new_result(tape, k_.sizes()),
                              d_v = new_result(tape, v_.sizes());
    attention_backward<Eigen::bfloat16>(
        inputs(), score, options, {out_.tensor(), saved.log_sum_exp}, d_rounded.tensor(),
        {d_q.writable_tensor(), d_k.writable_tensor(), d_v.writable_tensor(), to.d_sinks});
    convert_from_bfloat16(d_q, to.d_q, options.threads);
    convert_from_bfloat16(d_k, to.d_k, options.threads);
    convert_from_bfloat16(d_v, to.d_v, options.threads);
  }

 private:
  /// Returns memory for a result. Fills tensors with zeros, because kernels do not write padding.
  template <class Memory>
  static Variable<Eigen::bfloat16> new_result(Memory& memory, const Sizes& shape) {
    Variable<Eigen::bfloat16> y = new_bfloat16(memory, shape);
    if (y.is_tensor()) y.writable().setZero();
    return y;
  }
  AttentionInputs<Eigen::bfloat16> inputs() const { return {q_.tensor(), k_.tensor(), v_.tensor()}; }

  Variable<Eigen::bfloat16> q_, k_, v_, out_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
