// ONNX's Attention (opsets 23 to 25).
#include "eigenformer/kernels/attention.hpp"

#include <optional>
#include <variant>

#include "conformance/operator_case.hpp"
#include "eigenformer/kernels/attention_weights.hpp"
#include "eigenformer/kernels/scores.hpp"
#include "eigenformer/tensors/arithmetic.hpp"
#include "eigenformer/tensors/joining.hpp"

namespace eigenformer::conformance {

namespace {

/// Views an array [batch x heads x tokens x width] or [batch x tokens x heads * width] with the first of these shapes.
template <class Scalar>
TensorView<const Scalar> by_heads(const Array<Scalar>& x, Index heads) {
  if (x.rank() == 4) return x.view();
  check(heads > 0, "Attention: the case has no number of heads");
  return x.view().reshape({x.shape[0], x.shape[1], heads, x.shape[2] / heads}).transpose(1, 2);
}

/// Returns a mask as a tensor of rank 4, whose dimensions may be 1. A mask with fewer keys hides the others.
template <class Scalar>
Tensor<Scalar> full_mask(const OperatorCase& c, Index keys) {
  const Array<Scalar> given = c.input<Scalar>("attn_mask");
  TensorView<const Scalar> view = given.view();
  while (view.rank() < 4) view = view.unsqueeze(0);
  // Opset 23 has no mask with fewer keys, so one key stands for all.
  const bool is_whole = view.dimension(3) >= keys || (c.opset() < 24 && view.dimension(3) == 1);
  Sizes others = view.shape();
  others[3] = is_whole ? 0 : keys - view.dimension(3);
  const Scalar hidden = c.dtype("input.attn_mask") == DType::boolean ? Scalar(0) : hidden_score<Scalar>;
  return concat(3, view, Tensor<Scalar>(others, hidden));
}

/// A mask that lets a query see the keys from `first` to `last` places after its own place. offsets: the place of each
/// sequence's first query among the keys.
struct Band {
  Index first, last;
  std::span<const Index> offsets;
  bool operator()(const ScorePosition& at) const {
    const Index distance = at.key - (at.query + offsets[static_cast<std::size_t>(at.sequence)]);
    return distance >= first && distance <= last;
  }
};

/// The parts of a score. `position` is the mask by positions: is_causal, and the windows of opset 25.
template <class Scalar>
struct ScoreParts {
  using Position = ScoreVariant<Unmasked, Causal, MaskFunction<Band>>;
  std::variant<Unmasked, Causal, MaskFunction<Band>> position;
  std::optional<SoftCap> cap;
  std::optional<DenseBias<Scalar>> bias;
  std::optional<DenseMask> mask;

  /// Calls body(score). Attention without a mask and causal attention have kernels of their own, so they come alone.
  template <class Body>
  void with_score(Body body) const {
    if (cap && bias) return body(combine(*cap, *bias, Position(position)));
    if (cap && mask) return body(combine(*cap, *mask, Position(position)));
    if (cap) return body(combine(*cap, Position(position)));
    if (bias) return body(combine(*bias, Position(position)));
    if (mask) return body(combine(*mask, Position(position)));
    if (position.index() == 0) return body(Unmasked{});
    if (position.index() == 1) return body(std::get<Causal>(position));
    body(Position(position));
  }
};

/// The inputs of a case. Keys and values begin with those of the cache, if there is one.
template <class Scalar>
class AttentionCase {
 public:
  explicit AttentionCase(const OperatorCase& c)
      : c_(c),
        q_input_(c.input<Scalar>("Q")),
        q_(by_heads(q_input_, c.attribute<Index>("q_num_heads", 0))),
        k_(with_past("past_key", "K")),
        v_(with_past("past_value", "V")) {
    if (c.has_attribute("scale")) scale_ = c.number("scale", 0);
    if (c.has("attn_mask")) mask_ = full_mask<Scalar>(c, k_.dimension(2));
    if (mask_.size() > 0 && c.dtype("input.attn_mask") == DType::boolean)
      parts_.mask.emplace(Tensor<bool>(mask_ != Scalar(0)));
    else if (mask_.size() > 0)
      parts_.bias.emplace(mask_.view());
    if (const double softcap = c.number("softcap", 0); softcap > 0) parts_.cap.emplace(softcap);
    parts_.position = position_mask();
  }
  AttentionCase(const AttentionCase&) = delete;  // its views are of its own arrays

  const Tensor<Scalar>& present_key() const { return k_; }
  const Tensor<Scalar>& present_value() const { return v_; }

  /// Returns Y, which has the rank of Q.
  Array<Scalar> y() const {
    AttentionOptions options = options_of(true);
    Array<Scalar> y;
    parts_.with_score([&](const auto& score) {
      if (q_input_.rank() == 4) {
        y = Array<Scalar>::of_tensor(attention(q_, k_, v_, score, options));
      } else {
        options.dimensions = AttentionDimensions::batch_tokens_heads;
        y = Array<Scalar>::of_tensor(
            attention(q_.transpose(1, 2), k_.transpose(1, 2), v_.transpose(1, 2), score, options));
        y.shape = {y.shape[0], y.shape[1], y.shape[2] * y.shape[3]};
      }
    });
    return y;
  }

  /// Returns qk_matmul_output. The mask hides padding; before it, padding has scores as other keys have.
  Array<Scalar> scores() const {
    const Index mode = c_.attribute<Index>("qk_matmul_output_mode", 0);
    const AttentionOptions options = options_of(mode >= 2);
    Tensor<Scalar> scores;
    if (mode == 1 && parts_.cap)
      scores = attention_scores(q_, k_, *parts_.cap, options);
    else if (mode < 2)
      scores = attention_scores(q_, k_, options);
    else
      parts_.with_score([&](const auto& score) {
        scores = mode == 2 ? attention_scores(q_, k_, score, options) : attention_weights(q_, k_, score, options);
      });
    return Array<Scalar>::of_tensor(scores);
  }

 private:
  Tensor<Scalar> with_past(const char* past, const char* now) const {
    const Array<Scalar> input = c_.input<Scalar>(now);
    const TensorView<const Scalar> tokens = by_heads(input, c_.attribute<Index>("kv_num_heads", 0));
    if (!c_.has(past)) return Tensor<Scalar>(tokens);
    const Array<Scalar> cache = c_.input<Scalar>(past);
    return concat(2, cache.view(), tokens);
  }
  /// Sets offsets_, and returns the mask that is_causal and the windows ask for.
  std::variant<Unmasked, Causal, MaskFunction<Band>> position_mask() {
    const Index queries = q_.dimension(2), anywhere = k_.dimension(2) + queries;
    offsets_.assign(static_cast<std::size_t>(q_.dimension(0)), 0);
    if (c_.has("past_key")) std::fill(offsets_.begin(), offsets_.end(), c_.input<Scalar>("past_key").shape[2]);
    if (has_padding()) {
      offsets_ = c_.whole_numbers("nonpad_kv_seqlen");
      for (Index& offset : offsets_) offset -= queries;
    }
    const bool is_causal = c_.flag("is_causal");
    Index left = c_.attribute<Index>("left_window_size", -1), right = c_.attribute<Index>("right_window_size", -1);
    if (left < 0 && right < 0) {
      if (!is_causal) return Unmasked{};
      if (has_padding()) return Causal::after_past();
      return c_.has("past_key") ? Causal::with_offsets(offsets_) : Causal{};
    }
    if (left < 0) left = anywhere;
    if (right < 0) right = anywhere;
    return mask(Band{-left, is_causal ? 0 : right, offsets_});
  }
  bool has_padding() const { return c_.has("nonpad_kv_seqlen"); }
  AttentionOptions options_of(bool leaves_padding_out) const {
    AttentionOptions options{.scale = scale_};
    if (leaves_padding_out && has_padding()) {
      options.query_rows =
          RowOffsets::from_lengths(std::vector<Index>(static_cast<std::size_t>(q_.dimension(0)), q_.dimension(2)));
      options.key_rows = RowOffsets::from_lengths(c_.whole_numbers("nonpad_kv_seqlen"));
    }
    return options;
  }

  const OperatorCase& c_;
  Array<Scalar> q_input_;
  TensorView<const Scalar> q_;  // a view of q_input_
  Tensor<Scalar> k_, v_;
  std::optional<double> scale_;
  std::vector<Index> offsets_;  // the place of each sequence's first query among the keys
  Tensor<Scalar> mask_;         // empty if there is none
  ScoreParts<Scalar> parts_;
};

}  // namespace

template <class Scalar>
Results<Scalar> attention_operator(const OperatorCase& c) {
  const AttentionCase<Scalar> attention(c);
  Results<Scalar> results{{"Y", attention.y()},
                          {"present_key", Array<Scalar>::of_tensor(attention.present_key())},
                          {"present_value", Array<Scalar>::of_tensor(attention.present_value())}};
  if (c.expects("qk_matmul_output")) results["qk_matmul_output"] = attention.scores();
  return results;
}

template Results<float> attention_operator(const OperatorCase&);
template Results<double> attention_operator(const OperatorCase&);

}  // namespace eigenformer::conformance
