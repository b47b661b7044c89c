#include "eigenformer/layers/encoder_decoder.hpp"

#include "support/ops.hpp"

namespace ef = eigenformer;

TEST_CASE("an encoder-decoder is its two stacks, of any number of layers", "[layers]") {
  const std::uint64_t seed = 145;
  const auto final_norm = GENERATE(from_range(ef::values_of<ef::FinalNorm>()));
  CAPTURE(seed, ef::to_string(final_norm));
  ef::Rng rng(seed);
  ef::EncoderDecoder<double> model({.width = 6,
                                    .heads = 2,
                                    .dim_feedforward = 8,
                                    .dropout = 0,
                                    .activation = ef::Activation::gelu,
                                    .final_norm = final_norm},
                                   2, 1, rng);
  CHECK(model.encoder.layers.size() == 2);
  CHECK(model.decoder.layers.size() == 1);
  CHECK(model.encoder.norm.empty() != (final_norm == ef::FinalNorm::always));
  CHECK(model.decoder.norm.empty() != (final_norm == ef::FinalNorm::always));
  const auto source = ef::testing::random_matrix<double>(7, 6, rng);
  const auto target = ef::testing::random_matrix<double>(5, 6, rng);
  const ef::RowOffsets source_rows{0, 3, 7}, target_rows{0, 4, 5};
  const ef::Variable<double> memory = model.encoder({}, source, source_rows);
  CHECK(model({}, source, source_rows, target, target_rows).value() ==
        model.decoder({}, target, target_rows, memory, source_rows).value());
  ef::testing::check_parameters(
      model, [&](const ef::Context<double>& c) { return model(c, source, source_rows, target, target_rows); });
}
