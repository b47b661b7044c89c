#include "eigenformer/io/recurrent_seq2seq_config.hpp"

#include "support/catch.hpp"
#include "support/recurrent_models.hpp"
#include "support/tensor_list.hpp"

namespace ef = eigenformer;

TEST_CASE("a recurrent model's options come back from JSON as they were", "[io]") {
  for (const ef::RecurrentSeq2SeqOptions& options : ef::testing::kinds_of_recurrent_models()) {
    const ef::Json json = ef::options_to_json(options);
    const auto read = ef::options_from_json<ef::RecurrentSeq2SeqOptions>(json, "test");
    CHECK(ef::options_to_json(read) == json);
    CHECK(ef::testing::name_of(read) == ef::testing::name_of(options));
    CHECK(json["score"] == std::string(ef::to_string(options.score)));
    CHECK(json["num_decoder_layers"] == options.num_decoder_layers);
  }
}

TEST_CASE("a recurrent model's options say which tensors it has", "[io]") {
  for (ef::RecurrentSeq2SeqOptions options : ef::testing::kinds_of_recurrent_models())
    for (const bool bidirectional : {false, true}) {
      options.bidirectional = bidirectional;
      options.kernel = 5;
      CAPTURE(ef::testing::name_of(options), bidirectional);
      ef::Rng rng(1);
      const ef::RecurrentSeq2Seq<float> model(options, rng);
      CHECK(ef::testing::tensors_of_options(options) == ef::testing::tensors_of_model(model));
    }
}
