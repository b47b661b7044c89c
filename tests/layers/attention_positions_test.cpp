#include "eigenformer/layers/attention_positions.hpp"

#include "eigenformer/layers/multi_head_attention.hpp"
#include "support/approx.hpp"
#include "support/ops.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::PositionEncoding;
using ef::testing::random_matrix;

namespace {

ef::AttentionPositions<double> positions_of(PositionEncoding encoding, ef::Rng& rng) {
  return {{.encoding = encoding,
           .heads = 2,
           .head_width = 4,
           .buckets = {6, 9, true},
           .deviation = 1,
           .rotary_positions = 5},
          rng};
}

ef::MultiHeadAttention<double> layer_of(PositionEncoding encoding, ef::Rng& rng) {
  return {{.width = 8, .heads = 2, .relative_distance = encoding == PositionEncoding::relative ? 2 : 0}, rng};
}

}  // namespace

TEST_CASE("self-attention with positions, by its formulas", "[layers]") {
  const std::uint64_t seed = 51;
  const PositionEncoding encoding = GENERATE(from_range(ef::position_encodings));
  const bool causal = GENERATE(false, true);
  CAPTURE(seed, ef::to_string(encoding), causal);
  ef::Rng rng(seed);
  const ef::AttentionPositions<double> positions = positions_of(encoding, rng);
  const ef::MultiHeadAttention<double> layer = layer_of(encoding, rng);
  const Index n = 9;  // more than the angles that are kept, and than the distances that differ
  const auto x = random_matrix<double>(n, 8, rng);
  const auto map = [&](const ef::Linear<double>& l, const Matrix<double>& in) {
    return Matrix<double>((in * l.weight.value.transpose()).rowwise() + l.bias.value.row(0));
  };
  Matrix<double> q = map(layer.q, x), k = map(layer.k, x);
  const Matrix<double> v = map(layer.v, x);
  if (encoding == PositionEncoding::rotary)
    for (Matrix<double>* m : {&q, &k})
      for (Index p = 0; p < n; ++p)
        for (const Index column : {0, 1, 4, 5}) {
          const double angle = static_cast<double>(p) / std::pow(10000.0, static_cast<double>(column % 4) / 2);
          const double a = (*m)(p, column), b = (*m)(p, column + 2);
          (*m)(p, column) = a * std::cos(angle) - b * std::sin(angle);
          (*m)(p, column + 2) = a * std::sin(angle) + b * std::cos(angle);
        }
  const auto clip = [](Index distance) { return 2 + std::max<Index>(-2, std::min<Index>(2, distance)); };
  const double slopes[] = {1 / 16.0, 1 / 256.0};
  Matrix<double> z = Matrix<double>::Zero(n, 8);
  for (Index h = 0; h < 2; ++h)
    for (Index i = 0; i < n; ++i) {
      Eigen::RowVectorXd a(n);
      for (Index j = 0; j < n; ++j) {
        Eigen::RowVectorXd key = k.row(j).segment(4 * h, 4);
        if (encoding == PositionEncoding::relative) key += layer.relative_keys.value.row(clip(j - i));
        a(j) = q.row(i).segment(4 * h, 4).dot(key) / 2;
        if (encoding == PositionEncoding::alibi) a(j) -= slopes[h] * static_cast<double>(std::abs(i - j));
        if (encoding == PositionEncoding::bucketed)
          a(j) += positions.weight.value(ef::RelativeBuckets{6, 9, true}.bucket(i - j), h);
        a(j) = causal && j > i ? 0 : std::exp(a(j));
      }
      a /= a.sum();
      for (Index j = 0; j < n; ++j) {
        Eigen::RowVectorXd value = v.row(j).segment(4 * h, 4);
        if (encoding == PositionEncoding::relative) value += layer.relative_values.value.row(clip(j - i));
        z.row(i).segment(4 * h, 4) += a(j) * value;
      }
    }
  using Mask = ef::AnyScore<double>;
  const Mask mask = causal ? Mask(ef::Causal{}) : Mask(ef::Unmasked{});
  ef::AttentionRecorder<double> recorder;
  const Matrix<double> y = layer({.attention = &recorder}, x, {}, mask, positions).value();
  CHECK(ef::testing::max_error(y, map(layer.out_proj, z)) < 1e-12);
  CHECK((recorder.weights(layer).matrix(1).rowwise().sum().array() - 1).abs().maxCoeff() < 1e-12);
}

TEST_CASE("gradients of self-attention with positions", "[layers]") {
  const std::uint64_t seed = 52;
  const PositionEncoding encoding = GENERATE(from_range(ef::position_encodings));
  CAPTURE(seed, ef::to_string(encoding));
  ef::Rng rng(seed);
  ef::AttentionPositions<double> positions = positions_of(encoding, rng);
  ef::MultiHeadAttention<double> layer = layer_of(encoding, rng);
  const ef::RowOffsets rows{0, 7, 7, 11};
  const auto x = random_matrix<double>(11, 8, rng);
  const auto run = [&](const ef::Context<double>& c) { return layer(c, x, rows, ef::Causal{}, positions); };
  ef::testing::check_parameters(layer, run);
  if (encoding == PositionEncoding::bucketed)
    ef::testing::check_parameters(positions, run);
  else
    CHECK(ef::parameter_count(positions) == 0);
  ef::testing::check_op({x}, [&](const ef::Context<double>& c, const std::vector<ef::Variable<double>>& in) {
    return layer(c, in[0], rows, ef::Unmasked{}, positions);
  });
}

TEST_CASE("only the distance counts, and not how many angles are kept", "[layers]") {
  ef::Rng rng(53);
  ef::AttentionPositionsOptions options = positions_of(PositionEncoding::rotary, rng).options;
  options.rope_scaling = {.rope_type = GENERATE(from_range(ef::values_of<ef::RopeType>())),
                          .factor = 4,
                          .original_max_position_embeddings = 20,
                          .short_factor = {1, 1.5},
                          .long_factor = {2, 5}};
  CAPTURE(ef::to_string(options.rope_scaling.rope_type));
  const ef::AttentionPositions<double> few(options, rng);
  options.rotary_positions = 100;
  const ef::AttentionPositions<double> many(options, rng);
  const auto x = random_matrix<double>(10, 8, rng);
  const ef::RowOffsets rows{0, 2, 2, 10}, late{0, 40, 45, 59};
  CHECK(few.apply_rotary({}, x, 2, rows, rows).value() == many.apply_rotary({}, x, 2, rows, rows).value());
  CHECK(few.apply_rotary({}, x, 2, rows, late).value() == many.apply_rotary({}, x, 2, rows, late).value());
  CHECK(many.apply_rotary({}, x, 2, rows, late).value().row(9) ==
        many.apply_rotary({}, x, 2, {0, 9, 10}, {0, 9, 59 - 45 + 9}).value().row(9));
  const Matrix<double> near = many.apply_rotary({}, x, 2, rows, rows).value(),
                       far = many.apply_rotary({}, x, 2, rows, late).value();
  CHECK(std::abs(near.row(2).head(4).dot(near.row(7).head(4)) - far.row(2).head(4).dot(far.row(7).head(4))) < 1e-12);
  CHECK(few.apply_rotary({}, Matrix<double>(0, 8), 2, {0, 0}, {0, 7}).rows() == 0);
  // Positions far apart: no table of all positions in between.
  const Index distant = 2'000'000'000;
  const std::vector<Index> apart{0, distant, 3}, alone{distant};
  const Matrix<double> rotated = few.apply_rotary_at({}, x.topRows(3), 2, apart).value();
  CHECK(rotated.row(1) == few.apply_rotary_at({}, x.row(1), 2, alone).value());
  CHECK(rotated.row(2) == many.apply_rotary_at({}, x.topRows(3), 2, std::vector<Index>{0, 1, 3}).value().row(2));
  // More queries than keys stand before the first key.
  const double factor = ef::rotary_attention_factor(options.rope_scaling);
  CHECK(few.apply_rotary({}, x, 2, {0, 10}, {0, 8}).value().row(2) == factor * x.row(2));
}

TEST_CASE("options of positions that do not fit are refused", "[layers]") {
  ef::Rng rng(1);
  CHECK_THROWS_WITH(
      ef::AttentionPositions<float>({.encoding = PositionEncoding::rotary, .head_width = 5}, rng),
      "AttentionPositions: rotary turns pairs of features, head_width is 5, expected an even number, 0 to 65536");
  CHECK_THROWS_WITH(
      ef::AttentionPositions<float>({.encoding = PositionEncoding::rotary, .head_width = -2}, rng),
      "AttentionPositions: rotary turns pairs of features, head_width is -2, expected an even number, 0 to 65536");
  CHECK_THROWS_WITH(ef::AttentionPositions<float>({.encoding = PositionEncoding::rotary, .rotary_positions = -1}, rng),
                    "AttentionPositions: rotary_positions is -1, expected 0 or more");
  CHECK_THROWS_WITH(ef::AttentionPositions<float>({.encoding = PositionEncoding::rotary, .rotary_base = 0}, rng),
                    "rotary_table: base is 0, expected a finite number above 0");
  CHECK_THROWS_AS(ef::AttentionPositions<float>({.encoding = PositionEncoding::bucketed, .buckets = {2}}, rng),
                  ef::Error);
  const ef::AttentionPositions<float> bucketed({.encoding = PositionEncoding::bucketed, .heads = 1}, rng);
  const ef::MultiHeadAttention<float> layer({.width = 8, .heads = 2}, rng);
  CHECK_THROWS_WITH(layer({}, Matrix<float>::Zero(3, 8), {}, ef::Unmasked{}, bucketed),
                    "attention: RelativeBias has weights for 1 heads, expected 2");
  CHECK(ef::parameter_count(ef::AttentionPositions<float>()) == 0);
}
