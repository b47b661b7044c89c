#include "eigenformer/models/recurrent_seq2seq_options.hpp"

#include "eigenformer/models/recurrent_seq2seq.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/recurrent_models.hpp"

namespace ef = eigenformer;

TEST_CASE("recurrent models say which options do not fit together", "[models]") {
  ef::Rng rng(1);
  const auto message = [&](auto change) {
    ef::RecurrentSeq2SeqOptions options = ef::testing::small_recurrent();
    change(options);
    return ef::testing::message_of([&] { ef::RecurrentSeq2Seq<float>(options, rng); });
  };
  CHECK(message([](auto&) {}) == "nothing was thrown");
  CHECK(message([](auto& o) { o.target_vocabulary_size = 0; }) ==
        "RecurrentSeq2Seq: vocabularies have 11 and 0 tokens, expected source_vocabulary_size and "
        "target_vocabulary_size above 0");
  CHECK(message([](auto& o) { o.hidden = -8; }) ==
        "RecurrentSeq2Seq: width is 6, hidden is -8, max_length is 512, expected 1 or more");
  CHECK(message([](auto& o) { o.num_decoder_layers = 0; }) ==
        "RecurrentSeq2Seq: num_encoder_layers is 1, num_decoder_layers is 0, expected 0 or more and 1 or more");
  CHECK(message([](auto& o) { o.dropout = 1; }) ==
        "RecurrentSeq2Seq: dropout is 1, expected 0 or more and less than 1");
  CHECK(message([](auto& o) { o.hidden = 9; }) ==
        "RecurrentSeq2Seq: hidden is 9, which does not divide into two directions");
  CHECK(message([](auto& o) { o.num_decoder_layers = 2; }) ==
        "RecurrentSeq2Seq: 2 decoder layers begin with the states of 1 encoder layers, expected at least as many "
        "encoder layers");
  CHECK(message([](auto& o) { o.tie_output = true; }) ==
        "RecurrentSeq2Seq: tie_output needs width = hidden, given 6 and 8");
  CHECK(message([](auto& o) { o.encoder = ef::SourceEncoder::convolution; }) ==
        "RecurrentSeq2Seq: an encoder that is not recurrent needs width = hidden, given 6 and 8");
  for (const char* name : {"every_step", "initial", "attention"})
    CHECK(ef::to_string(ef::value_of<ef::SourceContext>(name)) == name);
  for (const char* name : {"recurrent", "convolution", "self_attention"})
    CHECK(ef::to_string(ef::value_of<ef::SourceEncoder>(name)) == name);
  CHECK(ef::testing::message_of([] { ef::value_of<ef::SourceContext>("none"); }) ==
        "value_of: expected every_step, initial or attention, given \"none\"");
  CHECK(ef::testing::message_of([] { ef::value_of<ef::SourceEncoder>("cnn"); }) ==
        "value_of: expected recurrent, convolution or self_attention, given \"cnn\"");
}
