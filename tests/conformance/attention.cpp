// ONNX's Attention (opsets 23 and 24) and RotaryEmbedding (opset 23).
#include "eigenformer/kernels/attention.hpp"

#include "conformance/operator_case.hpp"
#include "eigenformer/kernels/attention_weights.hpp"
#include "eigenformer/kernels/rotary.hpp"
#include "eigenformer/kernels/scores.hpp"

namespace eigenformer::conformance {

namespace {

using View = TensorView<const float>;  // [batch x heads x tokens x width]

/// Of an array [batch x heads x tokens x width] or [batch x tokens x heads * width], const or not.
template <class AnyArray>
auto by_heads(AnyArray& x, Index heads) {
  using HeadView = TensorView<std::remove_pointer_t<decltype(x.values.data())>>;
  if (x.shape.size() == 4) return HeadView(x.values.data(), {x.shape[0], x.shape[1], x.shape[2], x.shape[3]});
  const Index tokens = x.shape[1], features = x.shape[2];
  return HeadView(x.values.data(), {x.shape[0], heads, tokens, features / heads},
                  {tokens * features, features / heads, features, 1});
}

View entry(const View& x, Index b) {
  return {x.data() + b * x.stride(0), {1, x.dimension(1), x.dimension(2), x.dimension(3)}, x.strides()};
}
View first_tokens(const View& x, Index tokens) {
  return {x.data(), {x.dimension(0), x.dimension(1), tokens, x.dimension(3)}, x.strides()};
}

/// Heads as column blocks: [tokens x heads * width].
Matrix<float> columns(const View& x) {
  Matrix<float> m(x.dimension(2), x.dimension(1) * x.dimension(3));
  for (Index h = 0; h < x.dimension(1); ++h) m.middleCols(h * x.dimension(3), x.dimension(3)) = x.matrix(0, h);
  return m;
}

/// A cache's tokens and then the new ones.
Array appended(const Array& past, const View& now) {
  const Index before = past.shape[2];
  Array all = Array::of_shape({past.shape[0], past.shape[1], before + now.dimension(2), past.shape[3]});
  const TensorView<float> to = by_heads(all, 0);
  for (Index b = 0; b < all.shape[0]; ++b)
    for (Index h = 0; h < all.shape[1]; ++h) {
      to.matrix(b, h).topRows(before) = by_heads(past, 0).matrix(b, h);
      to.matrix(b, h).bottomRows(now.dimension(2)) = now.matrix(b, h);
    }
  return all;
}

/// The mask of one batch entry: what is added to scores, [heads or 1 x queries x keys]. One that is shorter than the
/// keys hides the others.
Tensor<float> added_mask(const Array& mask, Index b, Index keys) {
  std::vector<Index> shape = mask.shape;
  while (shape.size() < 4) shape.insert(shape.begin(), 1);
  const TensorView<const float> all(mask.values.data(), {shape[0], shape[1], shape[2], shape[3]});
  Tensor<float> added({shape[1], shape[2], keys});
  std::fill_n(added.data(), added.size(), hidden_score<float>);
  for (Index h = 0; h < shape[1]; ++h) added.matrix(h).leftCols(shape[3]) = all.matrix(shape[0] == 1 ? 0 : b, h);
  return added;
}

/// The same of a mask of bool, which is one for all heads.
Matrix<bool> may_attend(const Array& mask, Index keys) {
  if (mask.shape.size() != 2) throw Unsupported("a mask of bool for each head or batch entry");
  Matrix<bool> may = Matrix<bool>::Constant(mask.shape[0], keys, false);
  may.leftCols(mask.shape[1]) = ConstMatrixMap<float>(mask.values.data(), mask.shape[0], mask.shape[1]).array() != 0;
  return may;
}

/// Calls body(score) with those of the scores that are there.
template <class Body, class... Scores>
void with_scores(Body body, const Scores&... scores) {
  if constexpr (sizeof...(Scores) == 0) {
    body(Unmasked{});
  } else if constexpr (sizeof...(Scores) == 1) {
    body(scores...);
  } else {
    body(combine(scores...));
  }
}
template <class Body, class S>
void with_optional(const std::optional<S>& score, Body body) {
  if (score) return body(*score);
  body();
}

/// What qk_matmul_output_mode asks for.
enum class Output { none = -1, raw = 0, capped = 1, masked = 2, weights = 3 };

}  // namespace

Results attention(const OperatorCase& c) {
  const Array q_input = c.input("Q"), k_input = c.input("K"), v_input = c.input("V");
  const View q = by_heads(q_input, c.attribute<Index>("q_num_heads", 0));
  View k = by_heads(k_input, c.attribute<Index>("kv_num_heads", 0));
  View v = by_heads(v_input, c.attribute<Index>("kv_num_heads", 0));
  const Index batch = q.dimension(0), heads = q.dimension(1), queries = q.dimension(2), width = v.dimension(3);

  Results results;
  const bool has_past = c.has("past_key");
  if (has_past) {
    if (k.dimension(2) != queries && c.attribute("is_causal", 0) != 0)
      throw Unsupported("causal attention after a past, with another number of new keys than of queries");
    results["present_key"] = appended(c.input("past_key"), k);
    results["present_value"] = appended(c.input("past_value"), v);
    k = by_heads(results["present_key"], 0);
    v = by_heads(results["present_value"], 0);
  }
  const Index keys = k.dimension(2);
  const bool has_lengths = c.has("nonpad_kv_seqlen");
  const std::vector<Index> lengths = has_lengths ? c.whole_numbers("nonpad_kv_seqlen") : std::vector<Index>();
  const bool masked = c.has("attn_mask");
  const Array mask = masked ? c.input("attn_mask") : Array{};
  const bool allows = masked && c.dtype("attn_mask") == DType::boolean;

  AttentionOptions options;
  if (const double scale = c.attribute("scale", 0.0); scale != 0) options.scale = scale;
  std::optional<SoftCap> cap;
  if (const double softcap = c.attribute("softcap", 0.0); softcap != 0) cap.emplace(softcap);
  std::optional<Causal> causal;
  if (c.attribute("is_causal", 0) != 0) causal = has_past || has_lengths ? Causal::after_past() : Causal{};
  const auto output = static_cast<Output>(c.attribute("qk_matmul_output_mode", -1));

  std::vector<Index> y_shape = q_input.shape;
  y_shape.back() = y_shape.size() == 4 ? width : heads * width;
  Array y = Array::of_shape(y_shape);
  const TensorView<float> y_by_heads = by_heads(y, heads);
  Array scores = Array::of_shape({batch, heads, queries, keys});
  for (Index b = 0; b < batch; ++b) {
    const Index length = has_lengths ? lengths[static_cast<std::size_t>(b)] : keys;
    const View q_entry = entry(q, b);
    const View k_entry = first_tokens(entry(k, b), length), v_entry = first_tokens(entry(v, b), length);
    const auto attend = [&](const auto&... parts) {
      with_scores(
          [&](const auto& score) {
            const Tensor<float> out = attention(q_entry, k_entry, v_entry, score, options);
            for (Index h = 0; h < heads; ++h) y_by_heads.matrix(b, h) = out.matrix(0, h);
            if (output == Output::none) return;
            AttentionOptions of_columns = options;
            of_columns.heads = heads;
            of_columns.key_heads = k.dimension(1);
            const Matrix<float> q_columns = columns(q_entry), k_columns = columns(k_entry);
            const auto give = [&](const Tensor<float>& x) {
              std::copy_n(x.data(), x.size(), scores.values.begin() + b * x.size());
            };
            if (output == Output::raw) give(attention_scores(q_columns, k_columns, Unmasked{}, of_columns));
            if (output == Output::capped)
              with_optional(cap, [&](const auto&... of_cap) {
                with_scores([&](const auto& s) { give(attention_scores(q_columns, k_columns, s, of_columns)); },
                            of_cap...);
              });
            if (output == Output::masked) give(attention_scores(q_columns, k_columns, score, of_columns));
            if (output == Output::weights) give(attention_weights(q_columns, k_columns, score, of_columns));
          },
          parts...);
    };
    with_optional(cap, [&](const auto&... of_cap) {
      with_optional(causal, [&](const auto&... of_causal) {
        if (allows) return attend(of_cap..., of_causal..., DenseMask(may_attend(mask, length)));
        if (!masked) return attend(of_cap..., of_causal...);
        const Tensor<float> added = added_mask(mask, b, length);
        attend(of_cap..., of_causal..., DenseBias<float>(added.view()));
      });
    });
  }
  results["Y"] = y;
  if (output != Output::none) results["qk_matmul_output"] = scores;
  return results;
}

Results rotary_embedding(const OperatorCase& c) {
  const Array x = c.input("X");
  const View view = by_heads(x, c.attribute<Index>("num_heads", 0));
  const Index batch = view.dimension(0), heads = view.dimension(1), tokens = view.dimension(2);
  Array cos = c.input("cos_cache"), sin = c.input("sin_cache");
  const RotaryTable<float> table{cos.matrix(-1), sin.matrix(-1)};
  // Without position_ids the caches have a row for each token.
  std::vector<Index> positions;
  for (Index i = 0; i < batch * tokens; ++i) positions.push_back(i);
  if (c.has("position_ids")) positions = c.whole_numbers("position_ids");
  const RotaryOptions options{
      .heads = heads, .pairs = c.attribute("interleaved", 0) != 0 ? RotaryPairs::interleaved : RotaryPairs::halves};

  Array y = Array::of_shape(x.shape);
  const TensorView<float> y_by_heads = by_heads(y, heads);
  for (Index b = 0; b < batch; ++b) {
    const std::span<const Index> own =
        std::span(positions).subspan(static_cast<std::size_t>(b * tokens), static_cast<std::size_t>(tokens));
    const Matrix<float> turned = rotary(columns(entry(view, b)), table, own, options);
    for (Index h = 0; h < heads; ++h)
      y_by_heads.matrix(b, h) = turned.middleCols(h * view.dimension(3), view.dimension(3));
  }
  return {{"Y", y}};
}

}  // namespace eigenformer::conformance
