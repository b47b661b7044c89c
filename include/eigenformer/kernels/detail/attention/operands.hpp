// Which shapes the operands of attention may have: matrices with heads as blocks of columns, or tensors of rank 4.
#pragma once

#include <vector>

#include "eigenformer/core/tensor.hpp"
#include "eigenformer/kernels/detail/attention/head_rows.hpp"
#include "eigenformer/kernels/detail/attention/layout.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Returns a tensor operand as [batch x heads x tokens x width], and a matrix as it is.
template <class Scalar>
TensorView<Scalar> by_heads(const TensorView<Scalar>& x, const AttentionOptions& options) {
  return x.rank() == 4 && options.dimensions == AttentionDimensions::batch_tokens_heads ? x.transpose(1, 2) : x;
}

/// Returns the rows of each sequence of a tensor: those given, or all its tokens. Throws if those given do not fit.
inline RowOffsets padded_rows(const char* name, const Sizes& shape, const RowOffsets& given) {
  if (!given.given()) return RowOffsets::from_lengths(std::vector<Index>(static_cast<std::size_t>(shape[0]), shape[2]));
  check(given.sequences() == shape[0] && given.max_length() <= shape[2], "attention: sequences in ", name, ": ",
        given.sequences(), ", of up to ", given.max_length(), " rows, the tensor is ", shape, ", expected ", shape[0],
        " of at most ", shape[2], " rows");
  return given;
}

/// Returns the layout of a call for operands of these shapes: three matrices, or three tensors [batch x heads x tokens
/// x width]. Throws if they or the options do not fit.
inline AttentionLayout operands_layout(const Sizes& q, const Sizes& k, const Sizes& v, AttentionOptions options) {
  if (q.rank() == 2 && k.rank() == 2 && v.rank() == 2)
    return attention_layout(Shape{q[0], q[1]}, Shape{k[0], k[1]}, Shape{v[0], v[1]}, options);
  check(q.rank() == 4 && k.rank() == 4 && v.rank() == 4, "attention: q is ", q, ", k is ", k, ", v is ", v,
        ", expected three matrices, or three tensors of rank 4");
  check(q[0] == k[0] && k[0] == v[0], "attention: q has a batch of ", q[0], ", k of ", k[0], ", v of ", v[0],
        ", expected equal batches");
  check(k[1] == v[1], "attention: k has ", k[1], " heads, v has ", v[1], ", expected equally many");
  check(q[1] >= 1 && k[1] >= 1, "attention: q is ", q, ", k is ", k, ", expected at least 1 head in each");
  check(q[3] == k[3], "attention: q is ", q, ", k is ", k, ", expected heads of one width");
  check(k[2] == v[2], "attention: k is ", k, ", v is ", v, ", expected equally many tokens");
  check(!options.key_index.has_value() && !options.key_pages.has_value(),
        "attention: key_index and key_pages are for matrices, q is ", q);
  check((options.heads == 1 || options.heads == q[1]) && (options.key_heads == 0 || options.key_heads == k[1]),
        "attention: q has ", q[1], " heads, k has ", k[1], ", the options have heads ", options.heads, ", key_heads ",
        options.key_heads, ", expected the same numbers, or none: tensors have a dimension for heads");
  options.heads = q[1];
  options.key_heads = k[1];
  options.query_rows = padded_rows("query_rows", q, options.query_rows);
  options.key_rows = padded_rows("key_rows", k, options.key_rows);
  return attention_layout(Shape{options.query_rows.rows(), q[1] * q[3]}, Shape{options.key_rows.rows(), k[1] * k[3]},
                          Shape{options.key_rows.rows(), v[1] * v[3]}, options);
}

/// Returns the log-sum-exps, [queries x heads] or [batch x heads x tokens], as operand rows with one number each.
template <class Scalar>
TensorView<Scalar> as_operand(const TensorView<Scalar>& log_sum_exp) {
  return log_sum_exp.rank() == 3 ? log_sum_exp.unsqueeze(-1) : log_sum_exp;
}

/// Throws unless a tensor has the shape expected.
inline void check_sizes(const char* name, const Sizes& given, const Sizes& expected) {
  check(given == expected, "attention: ", name, " is ", given, ", expected ", expected);
}

/// Returns the shape of attention's result for operands q and v.
inline Sizes result_sizes(const Sizes& q, const Sizes& v, const AttentionLayout& layout) {
  return q.rank() == 2 ? Sizes{q[0], layout.heads * layout.value_width} : Sizes{q[0], q[1], q[2], v[3]};
}
/// Returns the shape of the log-sum-exps for operands q.
inline Sizes log_sum_exp_sizes(const Sizes& q, const AttentionLayout& layout) {
  return q.rank() == 2 ? Sizes{q[0], layout.heads} : Sizes{q[0], q[1], q[2]};
}

/// The shapes of attention's results.
struct ResultSizes {
  Sizes out, log_sum_exp;
};
/// Returns the shapes of attention's results for operands of these shapes. Throws if they or the options do not fit.
inline ResultSizes result_sizes(Sizes q, Sizes k, Sizes v, const AttentionOptions& options) {
  const bool swapped = options.dimensions == AttentionDimensions::batch_tokens_heads;
  for (Sizes* sizes : {&q, &k, &v})
    if (swapped && sizes->rank() == 4) std::swap((*sizes)[1], (*sizes)[2]);
  const AttentionLayout layout = operands_layout(q, k, v, options);
  ResultSizes results{result_sizes(q, v, layout), log_sum_exp_sizes(q, layout)};
  if (swapped && results.out.rank() == 4) std::swap(results.out[1], results.out[2]);
  return results;
}

/// A result to be written whose rows must be contiguous. If they are not, kernels write to a copy; finish() copies it
/// to the result.
template <class Scalar>
class WritableRows {
 public:
  /// Throws if the result repeats entries: tasks would write the same memory.
  explicit WritableRows(const TensorView<Scalar>& to) : to_(to), rows_(to) {
    check_writable(to);
    if (to.dimension(-1) <= 1 || to.stride(-1) == 1) return;
    copy_ = Tensor<Scalar>::uninitialized(to.shape());
    to.copy_to(copy_.view());
    rows_ = copy_.view();
  }
  const TensorView<Scalar>& rows() const { return rows_; }
  void finish() const {
    if (copy_.size() > 0) copy_.copy_to(to_);
  }

 private:
  TensorView<Scalar> to_, rows_;
  Tensor<Scalar> copy_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
