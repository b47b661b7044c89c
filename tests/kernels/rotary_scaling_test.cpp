#include "eigenformer/kernels/rotary_scaling.hpp"

#include <limits>
#include <numbers>
#include <utility>

#include "eigenformer/kernels/rotary.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::RopeType;
using ef::RotaryScaling;
using ef::testing::message_of;

namespace {

/// The frequency of pair i by the formulas of the papers and of Llama 3.1, in wavelengths as they have them.
double naive_frequency(Index i, Index width, double base, const RotaryScaling& s) {
  const double d = static_cast<double>(width), at = static_cast<double>(i);
  const double length = static_cast<double>(s.original_max_position_embeddings);
  const double theta = 1 / std::pow(base, 2 * at / d), wavelength = 2 * std::numbers::pi / theta;
  if (s.rope_type == RopeType::linear) return theta / s.factor;
  if (s.rope_type == RopeType::ntk) return 1 / std::pow(base * std::pow(s.factor, d / (d - 2)), 2 * at / d);
  const double n = s.sequence_length == 0 ? s.factor * length : static_cast<double>(s.sequence_length);
  if (s.rope_type == RopeType::dynamic) {
    const double longest = n > length ? n : length;
    const double scaled_base = base * std::pow((s.factor * longest / length) - (s.factor - 1), d / (d - 2));
    return 1 / std::pow(scaled_base, 2 * at / d);
  }
  if (s.rope_type == RopeType::longrope) {
    const auto pair = static_cast<std::size_t>(i);
    const double divisor = n > length ? s.long_factor[pair] : s.short_factor[pair];
    return 1 / (divisor * std::pow(base, 2 * at / d));
  }
  if (s.rope_type == RopeType::llama3) {
    if (wavelength > length / s.low_freq_factor) return theta / s.factor;
    if (wavelength < length / s.high_freq_factor) return theta;
    const double smooth = (length / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
    return (1 - smooth) * theta / s.factor + smooth * theta;
  }
  if (s.rope_type == RopeType::yarn) {
    // The pair whose wavelength fits `turns` times into the length.
    const auto pair = [&](double turns) {
      return d / 2 * std::log(length / turns / (2 * std::numbers::pi)) / std::log(base);
    };
    double low = pair(s.beta_fast), high = pair(s.beta_slow);
    if (s.truncate) low = std::floor(low), high = std::ceil(high);
    if (low < 0) low = 0;
    if (high > d - 1) high = d - 1;
    if (low == high) high += 0.001;
    double ramp = (at - low) / (high - low);
    if (ramp < 0) ramp = 0;
    if (ramp > 1) ramp = 1;
    return ramp * theta / s.factor + (1 - ramp) * theta;
  }
  return theta;
}

/// What Hugging Face's transformers computes: some pairs with their frequencies.
struct Published {
  const char* name;
  RotaryScaling scaling;
  Index width;
  double base;
  double attention_factor;
  std::vector<std::pair<std::size_t, double>> frequencies;
};

// From ROPE_INIT_FUNCTIONS of modeling_rope_utils in transformers 5.24.0 with torch 2.13.0, which computes in float.
std::vector<Published> published() {
  const RopeType yarn = RopeType::yarn;
  const std::vector<std::pair<std::size_t, double>> ntk_of_4{
      {0, 1}, {16, 0.070322752}, {21, 0.0306770299}, {32, 0.00494528981}, {42, 0.000941080216}, {63, 2.88695519e-05}};
  return {
      {"linear",
       {.rope_type = RopeType::linear, .factor = 4},
       128,
       10000,
       1,
       {{0, 0.25}, {21, 0.0121741882}, {63, 2.88695483e-05}}},
      {"Llama 3.1",
       {.rope_type = RopeType::llama3, .factor = 8, .original_max_position_embeddings = 8192},
       128,
       500000,
       1,
       {{0, 1},
        {16, 0.0376060307},
        {21, 0.0134904198},
        {32, 0.000524846022},
        {42, 2.2748929e-05},
        {63, 3.06892588e-07}}},
      {"Llama 3.2",
       {.rope_type = RopeType::llama3, .factor = 32, .original_max_position_embeddings = 8192},
       64,
       500000,
       1,
       {{0, 1}, {10, 0.0165604409}, {16, 0.000429556705}, {21, 5.68723226e-06}, {31, 9.41830649e-08}}},
      {"Qwen",
       {.rope_type = yarn, .factor = 4, .original_max_position_embeddings = 32768},
       128,
       1e6,
       1.138629436111989,
       {{0, 1},
        {16, 0.0316227786},
        {21, 0.0107460786},
        {32, 0.000602941145},
        {42, 2.88695483e-05},
        {63, 3.10234441e-07}}},
      {"Llama 2",
       {.rope_type = yarn, .factor = 16, .original_max_position_embeddings = 4096},
       128,
       10000,
       1.2772588722239782,
       {{16, 0.1}, {21, 0.0469408594}, {32, 0.00567307696}, {42, 0.000490235921}, {63, 7.21738706e-06}}},
      {"not truncated",
       {.rope_type = yarn, .factor = 32, .original_max_position_embeddings = 4096, .truncate = false},
       64,
       150000,
       1.3465735902799727,
       {{0, 1},
        {8, 0.0508132726},
        {10, 0.0193349998},
        {16, 0.000456483918},
        {21, 1.25325696e-05},
        {31, 3.0235114e-07}}},
      {"DeepSeek",
       {.rope_type = yarn,
        .factor = 40,
        .original_max_position_embeddings = 4096,
        .mscale = 0.707,
        .mscale_all_dim = 1},
       64,
       10000,
       0.9210423553163399,
       {{10, 0.0562341288}, {16, 0.00550000044}, {21, 0.000414990413}, {31, 3.33380353e-06}}},
      {"attention_factor",
       {.rope_type = yarn, .factor = 8, .original_max_position_embeddings = 2048, .attention_factor = 1.5},
       64,
       10000,
       1.5,
       {{8, 0.1}, {10, 0.0486641489}, {16, 0.00461538415}, {21, 0.000296421727}, {31, 1.66690188e-05}}},
      // rope_type "dynamic" with factor 3, at twice max_position_embeddings, multiplies the base as ntk with 4 does.
      {"ntk", {.rope_type = RopeType::ntk, .factor = 4}, 128, 10000, 1, ntk_of_4},
      {"dynamic",
       {.rope_type = RopeType::dynamic, .factor = 3, .original_max_position_embeddings = 2048, .sequence_length = 4096},
       128,
       10000,
       1,
       ntk_of_4},
  };
}

}  // namespace

TEST_CASE("scaled rotary frequencies agree with their formulas", "[kernels]") {
  const RopeType type = GENERATE(from_range(ef::values_of<RopeType>()));
  CAPTURE(ef::to_string(type));
  for (const Index width : {4, 6, 64, 80, 128})
    for (const double base : {10.0, 10000.0, 500000.0})
      for (const double factor : {1.0, 1.5, 32.0})
        for (const Index length : {2, 40, 1500, 4096})
          for (const bool truncate : {true, false}) {
            CAPTURE(width, base, factor, length, truncate);
            RotaryScaling scaling{.rope_type = type,
                                  .factor = factor,
                                  .original_max_position_embeddings = length,
                                  .low_freq_factor = 0.75,
                                  .high_freq_factor = 5,
                                  .beta_fast = 30,
                                  .beta_slow = 2,
                                  .truncate = truncate};
            for (Index i = 0; i < width / 2; ++i) {
              scaling.short_factor.push_back(1 + 0.01 * static_cast<double>(i));
              scaling.long_factor.push_back(1.5 + static_cast<double>(i));
            }
            for (const Index sequence_length : {Index{0}, Index{1}, length, length + 1, 3 * length}) {
              scaling.sequence_length = sequence_length;
              CAPTURE(sequence_length);
              const std::vector<double> frequencies = ef::rotary_frequencies(width, base, scaling);
              REQUIRE(static_cast<Index>(frequencies.size()) == width / 2);
              for (Index i = 0; i < width / 2; ++i) {
                const double expected = naive_frequency(i, width, base, scaling);
                CHECK(std::abs(frequencies[static_cast<std::size_t>(i)] - expected) < 1e-13 * expected);
              }
            }
          }
}

TEST_CASE("scaled rotary frequencies are those of published models", "[kernels]") {
  for (const Published& p : published()) {
    CAPTURE(p.name);
    const std::vector<double> frequencies = ef::rotary_frequencies(p.width, p.base, p.scaling);
    for (const auto& [pair, expected] : p.frequencies)
      CHECK(std::abs(frequencies[pair] - expected) < 1e-6 * expected);  // the reference computes in float
    CHECK(std::abs(ef::rotary_attention_factor(p.scaling) - p.attention_factor) < 1e-15);
  }
}

TEST_CASE("a table has the angles of the scaled frequencies, times the attention factor", "[kernels]") {
  const RotaryScaling scaling{.rope_type = RopeType::yarn, .factor = 4, .original_max_position_embeddings = 16};
  const auto table = ef::rotary_table<double>(9, 8, 100, -2, scaling);
  const double factor = 0.1 * std::log(4.0) + 1;
  for (Index p = 0; p < 9; ++p)
    for (Index i = 0; i < 4; ++i) {
      const double angle = static_cast<double>(p - 2) * naive_frequency(i, 8, 100, scaling);
      CHECK(std::abs(table.cos(p, i) - factor * std::cos(angle)) < 1e-14);
      CHECK(std::abs(table.sin(p, i) - factor * std::sin(angle)) < 1e-14);
    }
  // The backward is the transpose of the forward.
  ef::Rng rng(3);
  const auto x = ef::testing::random_matrix<double>(9, 8, rng), d_y = ef::testing::random_matrix<double>(9, 8, rng);
  const std::vector<Index> positions{0, 1, 2, 3, 4, 5, 6, 7, 8};
  ef::Matrix<double> d_x(9, 8);
  ef::rotary_backward<double>(d_y, table, positions, {}, d_x);
  CHECK(std::abs(ef::rotary(x, table, positions).cwiseProduct(d_y).sum() - x.cwiseProduct(d_x).sum()) < 1e-12);
}

TEST_CASE("a factor of 1 changes no frequency, and without a type nothing else counts", "[kernels]") {
  const std::vector<double> unscaled = ef::rotary_frequencies(16);
  CHECK(ef::rotary_frequencies(16, 10000, {.factor = 4, .attention_factor = 3}) == unscaled);
  CHECK(ef::rotary_attention_factor({.factor = 4, .attention_factor = 3}) == 1);
  for (const RopeType type : ef::values_of<RopeType>()) {
    CAPTURE(ef::to_string(type));
    const std::vector<double> ones(8, 1);
    const RotaryScaling scaling{.rope_type = type,
                                .factor = 1,
                                .original_max_position_embeddings = 100,
                                .short_factor = ones,
                                .long_factor = ones};
    const std::vector<double> frequencies = ef::rotary_frequencies(16, 10000, scaling);
    for (std::size_t i = 0; i < 8; ++i) CHECK(std::abs(frequencies[i] - unscaled[i]) < 1e-15 * unscaled[i] * 2);
    CHECK(ef::rotary_attention_factor(scaling) == 1);
  }
  CHECK(ef::rotary_frequencies(2, 10000, {.rope_type = RopeType::ntk, .factor = 4}) == std::vector<double>{1});
  CHECK(ef::rotary_frequencies(0, 10000, {.rope_type = RopeType::ntk, .factor = 4}).empty());
}

TEST_CASE("frequencies that depend on a length do not depend on a table's size", "[kernels]") {
  RotaryScaling scaling{.rope_type = GENERATE(RopeType::dynamic, RopeType::longrope),
                        .factor = 4,
                        .original_max_position_embeddings = 16,
                        .short_factor = {1, 1.25, 1.5, 2},
                        .long_factor = {1, 2, 4, 8}};
  const auto few = ef::rotary_table<double>(10, 8, 100, 0, scaling);
  const auto many = ef::rotary_table<double>(70, 8, 100, 0, scaling),
             late = ef::rotary_table<double>(5, 8, 100, 60, scaling);
  CHECK(many.cos.topRows(10) == few.cos);
  CHECK(many.sin.middleRows(60, 5) == late.sin);
  // Without a sequence_length, they are those of the longest sequence.
  scaling.sequence_length = 64;
  CHECK(ef::rotary_table<double>(10, 8, 100, 0, scaling).cos == few.cos);
  scaling.sequence_length = 16;
  CHECK(ef::rotary_table<double>(10, 8, 100, 0, scaling).cos != few.cos);
}

TEST_CASE("the attention factor of longrope is Phi-3's", "[kernels]") {
  // Phi-3-mini-128k: 4096 positions in training, 131072 in use.
  RotaryScaling scaling{
      .rope_type = RopeType::longrope, .factor = 32, .original_max_position_embeddings = 4096, .sequence_length = 100};
  CHECK(std::abs(ef::rotary_attention_factor(scaling) - std::sqrt(17.0 / 12)) < 1e-15);  // 1 + log2(32) / log2(4096)
  scaling.sequence_length = 131072;
  CHECK(std::abs(ef::rotary_attention_factor(scaling) - 1.1902380714238083) < 1e-15);
  scaling.attention_factor = 1.25;
  CHECK(ef::rotary_attention_factor(scaling) == 1.25);
  scaling.rope_type = RopeType::dynamic;
  CHECK(ef::rotary_attention_factor(scaling) == 1);
}

TEST_CASE("rotary frequencies are finite, and the attention factor checks its options", "[kernels]") {
  CHECK(message_of([&] { ef::rotary_table<float>(4, 64, 1e-320); }).ends_with("expected finite frequencies"));
  CHECK(ef::rotary_table<float>(4, 64, 1e-3).cos.allFinite());
  CHECK(message_of([&] {
          (void)ef::rotary_attention_factor(
              {.rope_type = RopeType::longrope, .factor = 2, .original_max_position_embeddings = 1});
        }) == "RotaryScaling: original_max_position_embeddings is 1 with rope_type longrope, expected 2 or more");
  CHECK(message_of([&] { (void)ef::rotary_attention_factor({.rope_type = RopeType::yarn, .factor = 0}); }) ==
        "RotaryScaling: factor is 0 with rope_type yarn, expected a finite number, 1 or more");
}

TEST_CASE("a rotary scaling that is out of range is named", "[kernels]") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const auto message = [](const RotaryScaling& scaling) {
    return message_of([&] { ef::rotary_table<float>(4, 8, 10000, 0, scaling); });
  };
  CHECK(message({.rope_type = RopeType::linear, .factor = 0.5}) ==
        "RotaryScaling: factor is 0.5 with rope_type linear, expected a finite number, 1 or more");
  CHECK(message({.rope_type = RopeType::ntk, .factor = infinity}) ==
        "RotaryScaling: factor is inf with rope_type ntk, expected a finite number, 1 or more");
  CHECK(message({.rope_type = RopeType::yarn, .factor = 2}) ==
        "RotaryScaling: original_max_position_embeddings is 0 with rope_type yarn, expected 1 or more");
  CHECK(message({.rope_type = RopeType::llama3, .original_max_position_embeddings = 8, .low_freq_factor = 4}) ==
        "RotaryScaling: high_freq_factor is 4 with rope_type llama3, expected a finite number above low_freq_factor");
  CHECK(message({.rope_type = RopeType::llama3, .original_max_position_embeddings = 8, .low_freq_factor = 0}) ==
        "RotaryScaling: low_freq_factor is 0 with rope_type llama3, expected more than 0");
  CHECK(message({.rope_type = RopeType::yarn, .original_max_position_embeddings = 8, .beta_fast = 0.5}) ==
        "RotaryScaling: beta_fast is 0.5 with rope_type yarn, expected a finite number, beta_slow or more");
  CHECK(message({.rope_type = RopeType::yarn, .original_max_position_embeddings = 8, .beta_slow = -1}) ==
        "RotaryScaling: beta_slow is -1 with rope_type yarn, expected more than 0");
  CHECK(message({.rope_type = RopeType::yarn, .original_max_position_embeddings = 8, .attention_factor = -1}) ==
        "RotaryScaling: attention_factor is -1 with rope_type yarn, expected a finite number, 0 or more");
  CHECK(
      message({.rope_type = RopeType::yarn, .factor = 2, .original_max_position_embeddings = 8, .mscale = infinity}) ==
      "RotaryScaling: mscale is inf with rope_type yarn, expected 0 or more, with a finite mscale * ln(factor)");
  CHECK(message({.rope_type = RopeType::yarn, .original_max_position_embeddings = 8, .mscale_all_dim = -1}) ==
        "RotaryScaling: mscale_all_dim is -1 with rope_type yarn, expected 0 or more, with a finite mscale_all_dim * "
        "ln(factor)");
  CHECK(message({.rope_type = RopeType::dynamic, .factor = 2}) ==
        "RotaryScaling: original_max_position_embeddings is 0 with rope_type dynamic, expected 1 or more");
  CHECK(message({.rope_type = RopeType::dynamic, .original_max_position_embeddings = 8, .sequence_length = -1}) ==
        "RotaryScaling: sequence_length is -1 with rope_type dynamic, expected 0 or more");
  CHECK(message({.rope_type = RopeType::longrope, .original_max_position_embeddings = 1}) ==
        "RotaryScaling: original_max_position_embeddings is 1 with rope_type longrope, expected 2 or more");
  CHECK(message({.rope_type = RopeType::longrope, .original_max_position_embeddings = 8, .attention_factor = -1}) ==
        "RotaryScaling: attention_factor is -1 with rope_type longrope, expected a finite number, 0 or more");
  CHECK(message({.rope_type = RopeType::longrope,
                 .original_max_position_embeddings = 8,
                 .short_factor = {1, 1, 1, 1},
                 .long_factor = {1, 2}}) ==
        "RotaryScaling: long_factor has 2 entries with rope_type longrope, expected 4, one for each pair of features");
  CHECK(message({.rope_type = RopeType::longrope,
                 .original_max_position_embeddings = 8,
                 .short_factor = {1, 0, 1, 1},
                 .long_factor = {1, 2, 3, 4}}) ==
        "RotaryScaling: short_factor has the entry 0, expected a finite number above 0");
  const auto message_of_base = [](double base, RopeType type) {
    return message_of([&] {
      ef::rotary_frequencies(8, base, {.rope_type = type, .factor = 2, .original_max_position_embeddings = 8});
    });
  };
  CHECK(message_of_base(0, RopeType::unscaled) == "rotary_table: base is 0, expected a finite number above 0");
  CHECK(message_of_base(infinity, RopeType::linear) == "rotary_table: base is inf, expected a finite number above 0");
  CHECK(message_of_base(1, RopeType::yarn) ==
        "rotary_table: base is 1 with rope_type yarn, expected a finite number above 1");
}
