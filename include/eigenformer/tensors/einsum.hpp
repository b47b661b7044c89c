// Einstein summation: products of tensors, summed over the labels that the result does not name.
//
//   Tensor<float> scores = einsum("bhqd,bhkd->bhqk", q, k);
//   Tensor<float> heads = einsum("btd,hde->bhte", x, weight);
//   float trace = einsum("ii->", a).item();
//
// The meaning is NumPy's and PyTorch's: letters name dimensions, a letter twice in one operand takes the diagonal
// of two dimensions of equal size, "..." stands for any dimensions, which broadcast. Without "->" the result has the
// dimensions of "...", and then the letters that occur once, in alphabetical order.
#pragma once

#include "eigenformer/tensors/detail/einsum_plan.hpp"
#include "eigenformer/tensors/matmul.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

/// An operand of einsum, or the contraction of several: a tensor with one label for each dimension, no label twice.
template <class Scalar>
struct LabelledTensor {
  Tensor<Scalar> own;             // empty if the view is of somebody else's memory
  TensorView<const Scalar> view;  // of `own` or of an operand
  Sizes labels;

  LabelledTensor(const TensorView<const Scalar>& borrowed, const Sizes& given) : view(borrowed), labels(given) {}
  LabelledTensor(Tensor<Scalar> result, const Sizes& given) : own(std::move(result)), view(own.view()), labels(given) {}
};

/// Drops broadcast dimensions (size 1, but larger in another operand), and takes the diagonals of repeated labels.
template <class Entry>
void make_labels_unique(TensorView<Entry>& x, Sizes& labels, const std::array<Index, 64>& size_of) {
  for (int d = x.rank(); d-- > 0;)
    if (x.shape()[d] == 1 && size_of[static_cast<std::size_t>(labels[d])] != 1) {
      x = x.select(d, 0);
      labels.erase(d);
    }
  for (int j = labels.rank() - 1; j > 0; --j)
    for (int i = 0; i < j; ++i)
      if (labels[i] == labels[j]) {
        const Index label = labels[i];
        x = x.diagonal(i, j);
        labels.erase(j);
        labels.erase(i);
        labels.push_back(label);
        j = labels.rank();  // places have moved: begin again
        break;
      }
}

/// Returns an operand with unique labels, summed over those that nobody else needs.
template <class Scalar>
LabelledTensor<Scalar> simplified(TensorView<const Scalar> x, Sizes labels, LabelSet needed,
                                  const std::array<Index, 64>& size_of) {
  make_labels_unique(x, labels, size_of);
  Sizes summed;
  for (int d = 0; d < labels.rank(); ++d)
    if (!contains(needed, labels[d])) summed.push_back(d);
  if (summed.rank() == 0) return {x, labels};
  return {Tensor<Scalar>(cast<Scalar>(sum(x, summed))), labels_in(labels, needed)};
}

/// Returns a view with dimensions in the order of `labels`; labels that x lacks are dimensions of one entry.
template <class Scalar>
TensorView<const Scalar> arranged(const TensorView<const Scalar>& x, const Sizes& x_labels, const Sizes& labels) {
  TensorView<const Scalar> padded = x;
  Sizes order;
  for (const Index label : labels) {
    const auto* place = std::find(x_labels.begin(), x_labels.end(), label);
    if (place == x_labels.end()) padded = padded.unsqueeze(-1);
    order.push_back(place == x_labels.end() ? padded.rank() - 1 : place - x_labels.begin());
  }
  return padded.permute(order);
}

/// Merges the last dimensions of x into matrices [batch x rows x cols]; copies if their strides do not allow that.
template <class Scalar>
TensorView<const Scalar> as_matrices(const TensorView<const Scalar>& x, int rows_rank, int cols_rank,
                                     Tensor<Scalar>& copy) {
  const int batch = x.rank() - rows_rank - cols_rank;
  Sizes shape;
  for (int d = 0; d < batch; ++d) shape.push_back(x.shape()[d]);
  shape.push_back(1);
  for (int d = batch; d < batch + rows_rank; ++d) shape[batch] *= x.shape()[d];
  shape.push_back(1);
  for (int d = batch + rows_rank; d < x.rank(); ++d) shape[batch + 1] *= x.shape()[d];
  if (const auto layout = reshaped({x.shape(), x.strides()}, shape)) return {x.data(), layout->shape, layout->strides};
  copy = Tensor<Scalar>(x).reshape(shape);
  return copy.view();
}

/// The labels of a contraction. batch: in both operands and kept; m: only in a; n: only in b; k: summed over.
struct ContractionLabels {
  Sizes batch, m, n, k;
};

/// Returns one list of labels after another.
inline Sizes joined(Sizes labels, const Sizes& more) {
  for (const Index label : more) labels.push_back(label);
  return labels;
}

/// Returns the matrix products [batch x m x n]; the dimensions of batch stay apart.
template <class Scalar>
Tensor<Scalar> contraction_products(const LabelledTensor<Scalar>& a, const LabelledTensor<Scalar>& b,
                                    const ContractionLabels& labels, Threads* threads) {
  const TensorView<const Scalar> left = arranged(a.view, a.labels, joined(joined(labels.batch, labels.m), labels.k));
  if constexpr (has_product<Scalar>) {
    const TensorView<const Scalar> right = arranged(b.view, b.labels, joined(joined(labels.batch, labels.k), labels.n));
    Tensor<Scalar> a_copy, b_copy;
    const TensorView<const Scalar> rows =
        with_contiguous_lines(as_matrices(left, labels.m.rank(), labels.k.rank(), a_copy), a_copy);
    const TensorView<const Scalar> columns = as_matrices(right, labels.k.rank(), labels.n.rank(), b_copy);
    Sizes shape = rows.shape();
    shape[shape.rank() - 1] = columns.dimension(-1);
    Tensor<Scalar> product = Tensor<Scalar>::uninitialized(shape);
    multiply_batch<Scalar>(rows, columns, product.view(), threads);
    return product;
  } else {
    // Integers: the sum of products. Dimensions are merged, so that there are four of them.
    const TensorView<const Scalar> right = arranged(b.view, b.labels, joined(joined(labels.batch, labels.n), labels.k));
    const auto merged = [&](const TensorView<const Scalar>& x, const Sizes& middle) {
      const auto size_from = [&](int first, int count) {
        Index size = 1;
        for (int d = first; d < first + count; ++d) size *= x.shape()[d];
        return size;
      };
      const int batch = labels.batch.rank();
      return x.contiguous().reshape(
          {size_from(0, batch), size_from(batch, middle.rank()), size_from(batch + middle.rank(), labels.k.rank())});
    };
    const Tensor<Scalar> rows = merged(left, labels.m), columns = merged(right, labels.n);
    return Tensor<Scalar>(cast<Scalar>(sum(rows.unsqueeze(2) * columns.unsqueeze(1), -1)));
  }
}

/// Returns the contraction of two operands: their product, summed over labels that are not needed.
template <class Scalar>
LabelledTensor<Scalar> contracted(const LabelledTensor<Scalar>& a, const LabelledTensor<Scalar>& b, const Sizes& result,
                                  LabelSet needed, Threads* threads) {
  const LabelSet in_a = label_set(a.labels), in_b = label_set(b.labels);
  // The order of labels follows the result, and then the operands.
  Sizes kept;
  for (const Sizes* labels : {&result, &a.labels, &b.labels})
    for (const Index label : *labels)
      if (contains((in_a | in_b) & needed & ~label_set(kept), label)) kept.push_back(label);
  const ContractionLabels labels{.batch = labels_in(kept, in_a & in_b),
                                 .m = labels_in(kept, in_a & ~in_b),
                                 .n = labels_in(kept, in_b & ~in_a),
                                 .k = labels_in(a.labels, in_a & in_b & ~needed)};
  if (labels.k.rank() == 0)
    return {Tensor<Scalar>(arranged(a.view, a.labels, kept) * arranged(b.view, b.labels, kept)), kept};
  if (labels.m.rank() == 0 && labels.n.rank() == 0) {
    const Sizes all = joined(kept, labels.k);
    Sizes last;
    for (int d = kept.rank(); d < all.rank(); ++d) last.push_back(d);
    const auto product = arranged(a.view, a.labels, all) * arranged(b.view, b.labels, all);
    return {Tensor<Scalar>(cast<Scalar>(sum(product, last))), kept};
  }
  const Sizes order = joined(joined(labels.batch, labels.m), labels.n);
  Sizes shape;
  for (const Index label : order) {
    const LabelledTensor<Scalar>& owner = contains(in_a, label) ? a : b;
    const auto place = std::find(owner.labels.begin(), owner.labels.end(), label) - owner.labels.begin();
    shape.push_back(owner.view.shape()[static_cast<int>(place)]);
  }
  return {contraction_products(a, b, labels, threads).reshape(shape), order};
}

/// Parses an equation for these operands.
template <class Scalar>
EinsumEquation parse_einsum(std::string_view equation, const std::vector<TensorView<const Scalar>>& operands) {
  std::vector<Sizes> shapes;
  for (const TensorView<const Scalar>& x : operands) shapes.push_back(x.shape());
  return parse_einsum(equation, shapes);
}

template <class Scalar>
Tensor<Scalar> einsum(const EinsumEquation& parsed, const std::vector<TensorView<const Scalar>>& operands,
                      Threads* threads) {
  const LabelSet result = label_set(parsed.result);
  std::vector<LabelledTensor<Scalar>> tensors;
  std::vector<LabelSet> sets;
  for (std::size_t k = 0; k < operands.size(); ++k) {
    LabelSet needed = result;
    for (std::size_t other = 0; other < operands.size(); ++other)
      if (other != k) needed |= label_set(parsed.operands[other]);
    tensors.push_back(simplified<Scalar>(operands[k], parsed.operands[k], needed, parsed.size_of));
    sets.push_back(label_set(tensors.back().labels));
  }
  const EinsumOrder order(sets, result, parsed.size_of);
  const bool is_found = order.steps().size() + 1 == operands.size();
  check(is_found || operands.size() > EinsumOrder::max_searched, "einsum: \"", parsed.text,
        "\": every order of products has tensors of more than ", Sizes::max_rank, " dimensions on the way");
  check(is_found, "einsum: \"", parsed.text, "\" for ", operands.size(),
        " operands: taking the cheapest products first gives tensors of more than ", Sizes::max_rank,
        " dimensions; expected at most ", EinsumOrder::max_searched, " operands, for which every order is tried");
  for (const EinsumStep& step : order.steps()) {
    const LabelledTensor<Scalar> right = std::move(tensors[step.right]), left = std::move(tensors[step.left]);
    tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(step.right));
    tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(step.left));
    LabelSet needed = result;
    for (const LabelledTensor<Scalar>& other : tensors) needed |= label_set(other.labels);
    // A label that only one of the two has is summed over before they are multiplied.
    const auto alone = [&](const LabelledTensor<Scalar>& x, const LabelledTensor<Scalar>& other) {
      return simplified<Scalar>(x.view, x.labels, needed | label_set(other.labels), parsed.size_of);
    };
    tensors.push_back(contracted(alone(left, right), alone(right, left), parsed.result, needed, threads));
  }
  // Put the labels into the result's order. Labels that were dropped have size 1.
  LabelledTensor<Scalar>& last = tensors.front();
  const TensorView<const Scalar> y = arranged(last.view, last.labels, parsed.result);
  Sizes shape = y.shape();
  if (last.own.size() > 0 && y.is_contiguous()) return std::move(last.own).reshape(shape);
  return Tensor<Scalar>(y);
}

}  // namespace detail

/// Returns the contraction of one or more tensors, views or expressions by an equation. Contracts two operands at a
/// time. Up to six operands are contracted in the cheapest order; of more, the cheapest pair goes first until six are
/// left. Matrix products sum in the entries' type (float for 16-bit entries), other sums as sum() does. Throws if the
/// equation does not fit, or if every order that was tried has tensors of more than eight dimensions on the way.
/// threads may be null; the result does not depend on them.
template <TensorLike First, TensorLike... Others>
Tensor<ScalarOf<First>> einsum(Threads* threads, std::string_view equation, First&& first, Others&&... others) {
  using Scalar = ScalarOf<First>;
  using Compute = ComputeType<Scalar>;
  static_assert((... && std::is_same_v<Scalar, ScalarOf<Others>>),
                "tensors of different types: write cast<T>() of one of them");
  if constexpr (!std::is_same_v<Scalar, Compute>) {
    return einsum(threads, equation, cast<Compute>(first), cast<Compute>(others)...).template cast<Scalar>();
  } else {
    const std::tuple<detail::Evaluated<First>, detail::Evaluated<Others>...> values(std::forward<First>(first),
                                                                                    std::forward<Others>(others)...);
    return std::apply(
        [&](const auto&... x) {
          const std::vector<TensorView<const Scalar>> operands{x.view()...};
          return detail::einsum<Scalar>(detail::parse_einsum(equation, operands), operands, threads);
        },
        values);
  }
}
/// Returns the contraction of one or more tensors, views or expressions by an equation, on the calling thread.
template <TensorLike First, TensorLike... Others>
Tensor<ScalarOf<First>> einsum(std::string_view equation, First&& first, Others&&... others) {
  return einsum(static_cast<Threads*>(nullptr), equation, std::forward<First>(first), std::forward<Others>(others)...);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
