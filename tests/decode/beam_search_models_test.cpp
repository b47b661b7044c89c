// Beam search of whole models: with cached states, and without.
#include "decode/toy_model.hpp"
#include "eigenformer/models/translation_model.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/message_of.hpp"
#include "support/recurrent_models.hpp"
#include "support/uncached_decoding.hpp"

namespace ef = eigenformer;
using Results = std::vector<std::vector<ef::Hypothesis>>;

namespace {

void check_close(const Results& a, const Results& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(a[i].size() == b[i].size());
    for (std::size_t h = 0; h < a[i].size(); ++h) {
      CHECK(a[i][h].tokens == b[i][h].tokens);
      CHECK(a[i][h].ended == b[i][h].ended);
      CHECK(std::abs(a[i][h].score - b[i][h].score) < 1e-9);
    }
  }
}

/// Checks that beam search with the model's state equals beam search that runs the model over all tokens in every step,
/// sentence by sentence.
template <class Model>
void check_model(const Model& model, std::uint64_t seed) {
  ef::Rng rng(seed);
  const ef::Tokens source = ef::testing::copy_batch({5, 1, 9, 7, 3}, rng).source;
  for (const ef::Index beam : {1, 4}) {
    CAPTURE(seed, beam);
    ef::DecodingOptions options{.beam_size = beam, .num_hypotheses = beam, .max_decoding_length = 8};
    const Results cached = ef::beam_search(model, source, options);
    check_close(cached, ef::beam_search(ef::testing::Uncached{model, source}, 5, options));
    options.max_batch_size = 2;
    check_close(ef::beam_search(model, source, options), cached);
    check_close(ef::beam_search(ef::Seq2Seq<double>(model), source, options), cached);
    for (ef::Index s = 0; s < 5; ++s)
      check_close({ef::beam_search(model, source[s], options)}, {cached[static_cast<std::size_t>(s)]});
  }
}

}  // namespace

TEST_CASE("beam search of a Transformer with a cache equals beam search without", "[decode]") {
  const std::uint64_t seed = GENERATE(81U, 82U);
  for (const ef::PositionEncoding positions : {ef::PositionEncoding::sinusoidal, ef::PositionEncoding::relative}) {
    ef::Rng rng(seed);
    ef::TransformerOptions options = ef::testing::small_transformer();
    options.positions = positions;
    options.relative_distance = 3;
    check_model(ef::Transformer<double>(options, rng), seed);
  }
}

TEST_CASE("beam search of a recurrent model with a state equals beam search without", "[decode]") {
  ef::Rng rng(83);
  for (const ef::SourceContext context : {ef::SourceContext::initial, ef::SourceContext::attention}) {
    ef::RecurrentSeq2SeqOptions options = ef::testing::small_recurrent();
    options.context = context;
    check_model(ef::RecurrentSeq2Seq<double>(options, rng), 83);
  }
}

TEST_CASE("a model's hypotheses do not depend on when their sentence joined the batch, to the last bit", "[decode]") {
  const std::uint64_t seed = 85;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const ef::Transformer<float> transformer(ef::testing::small_transformer(), rng);
  const ef::RecurrentSeq2Seq<float> recurrent(ef::testing::small_recurrent(), rng);
  const ef::Tokens source = ef::testing::copy_batch({5, 1, 9, 7, 3, 12, 4, 4, 2}, rng).source;
  const auto check = [&](const auto& model, const ef::PackedWeights<float>* packed) {
    const ef::Context<float> context{.packed = packed};
    ef::DecodingOptions options{.beam_size = 3,
                                .num_hypotheses = 3,
                                .coverage_penalty = 0.3,
                                .max_length_a = 1,
                                .max_length_b = 3,
                                .return_attention = true};
    const Results together = ef::beam_search(model, source, options, context);
    for (const ef::Index size : {1, 2, 4}) {
      options.max_batch_size = size;
      const Results refilled = ef::beam_search(model, source, options, context);
      for (std::size_t s = 0; s < together.size(); ++s)
        for (std::size_t h = 0; h < 3; ++h) {
          const ef::Hypothesis &a = refilled[s][h], &b = together[s][h];
          CHECK(a.tokens == b.tokens);
          CHECK(a.score == b.score);
          CHECK(a.token_log_probabilities == b.token_log_probabilities);
          CHECK(a.alignments == b.alignments);
          CHECK(a.alignments.rows() == static_cast<ef::Index>(a.tokens.size()));
          CHECK(a.alignments.cols() == source.rows.length(static_cast<ef::Index>(s)));
          for (ef::Index t = 0; t < a.alignments.rows(); ++t) CHECK(std::abs(a.alignments.row(t).sum() - 1) < 1e-5);
        }
    }
  };
  check(transformer, nullptr);
  check(recurrent, nullptr);
  for (const ef::WeightType type : ef::values_of<ef::WeightType>()) {
    const ef::PackedWeights<float> packed_transformer(transformer, type), packed_recurrent(recurrent, type);
    CAPTURE(to_string(type));
    check(transformer, &packed_transformer);
    check(recurrent, &packed_recurrent);
  }
}

TEST_CASE("a model with packed bfloat16 or int8 weights is near the model with rounded weights", "[decode]") {
  const std::uint64_t seed = 86;
  CAPTURE(seed);
  ef::Rng rng(seed);
  const auto check = [&](const auto& model, double tolerance) {
    const ef::TranslationBatch batch = ef::testing::copy_batch({5, 1, 9}, rng);
    auto rounded = model;
    ef::for_each_parameter(rounded, [](const std::string&, ef::Parameter<float>& parameter) {
      if (parameter.value.rows() > 1)
        parameter.value = ef::Matrix<float>(parameter.value.cast<Eigen::bfloat16>().template cast<float>());
    });
    const ef::PackedWeights<float> packed(model, ef::WeightType::bfloat16);
    const ef::Matrix<float> y = model({.packed = &packed}, batch.source, batch.target).value();
    const ef::Matrix<float> expected = rounded({}, batch.source, batch.target).value();
    CHECK((y - expected).norm() <= tolerance * expected.norm());
  };
  // Without a matrix unit for bfloat16, activations are not rounded.
  const double tolerance = ef::matrix_unit::is_fast<Eigen::bfloat16> ? 0.02 : 0;
  check(ef::Transformer<float>(ef::testing::small_transformer(), rng), tolerance);
  ef::TransformerOptions untied = ef::testing::small_transformer();
  untied.share_embeddings = untied.tie_output = false;
  check(ef::Transformer<float>(untied, rng), tolerance);
  check(ef::RecurrentSeq2Seq<float>(ef::testing::small_recurrent(), rng), tolerance);
}

TEST_CASE("a model without attention has no alignments", "[decode]") {
  ef::Rng rng(84);
  ef::RecurrentSeq2SeqOptions options = ef::testing::small_recurrent();
  options.context = ef::SourceContext::initial;
  const ef::RecurrentSeq2Seq<double> model(options, rng);
  const ef::Tokens source = ef::testing::copy_batch({5, 1}, rng).source;
  for (const ef::DecodingOptions& decoding :
       {ef::DecodingOptions{.coverage_penalty = 0.2}, ef::DecodingOptions{.return_attention = true}})
    CHECK(ef::testing::message_of([&] { ef::beam_search(model, source, decoding); }) ==
          "RecurrentSeq2SeqState: the model has no attention, and so no alignments");
}
