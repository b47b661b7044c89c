// ONNX's RotaryEmbedding.
#include "eigenformer/kernels/rotary.hpp"

#include "conformance/operator_case.hpp"

namespace eigenformer::conformance {

/// x is [batch x tokens x heads * width], or [batch x heads x tokens x width]. A head of the latter is a matrix with
/// one head, and each of its rows is a token.
template <class Scalar>
Results<Scalar> rotary_embedding(const OperatorCase& c) {
  Array<Scalar> x = c.input<Scalar>("X");
  const bool by_heads = x.rank() == 4;
  const Index batch = x.shape[0], tokens = x.shape[by_heads ? 2 : 1];
  const Index matrices = by_heads ? x.shape[1] : 1, heads = by_heads ? 1 : c.attribute<Index>("num_heads", 0);
  const Array<Scalar> cos = c.input<Scalar>("cos_cache"), sin = c.input<Scalar>("sin_cache");
  const RotaryTable<Scalar> table{cos.matrix(-1), sin.matrix(-1)};
  check(heads > 0, "RotaryEmbedding: the case has no num_heads");
  const Index width = x.shape.back() / heads, given = c.attribute<Index>("rotary_embedding_dim", 0);
  check(table.width() == (given == 0 ? width : given), "RotaryEmbedding: the caches have ", table.width() / 2,
        " columns, expected half of ", given == 0 ? width : given);

  std::vector<Index> positions;
  if (c.has("position_ids")) {
    positions = c.whole_numbers("position_ids");
  } else {  // the caches have a row for each token
    for (Index i = 0; i < batch * tokens; ++i) positions.push_back(i % table.positions());
  }
  const RotaryOptions options{.heads = heads,
                              .pairs = c.flag("interleaved") ? RotaryPairs::interleaved : RotaryPairs::halves};
  MatrixMap<Scalar> rows = x.matrix(-1);
  for (Index i = 0; i < batch * matrices; ++i) {
    const auto own = std::span<const Index>(positions).subspan(static_cast<std::size_t>(i / matrices * tokens),
                                                               static_cast<std::size_t>(tokens));
    auto part = rows.middleRows(i * tokens, tokens);
    rotary_forward<Scalar>(part, table, own, options, part);
  }
  return {{"Y", x}};
}

template Results<float> rotary_embedding(const OperatorCase&);
template Results<double> rotary_embedding(const OperatorCase&);

}  // namespace eigenformer::conformance
