#include "eigenformer/models/training_flops.hpp"

#include "support/catch.hpp"
#include "support/copy_task.hpp"

namespace ef = eigenformer;
using ef::Index;

TEST_CASE("training_flops counts a Transformer's products", "[training_flops]") {
  ef::Rng rng(1);
  const ef::Transformer<float> model({.source_vocabulary_size = 11,
                                      .target_vocabulary_size = 11,
                                      .num_encoder_layers = 2,
                                      .num_decoder_layers = 3,
                                      .layer = {.width = 8, .heads = 2, .dim_feedforward = 12}},
                                     rng);
  ef::TranslationBatch batch;  // sources of 3 and 1 tokens, targets of 2 and 4
  batch.source = {{3, 4, 2, 2}, {0, 3, 4}};
  batch.target = {{1, 3, 1, 4, 5, 6}, {0, 2, 6}};
  batch.next = {3, 2, 4, 5, 6, 2};
  const double source = 4, target = 6;
  const double square = 8 * 8, feed_forward = 2 * 8 * 12;
  const double source_pairs = 3 * 3 + 1 * 1, memory_pairs = 2 * 3 + 4 * 1, causal_pairs = 3 + 10;
  const double encoder = 2 * (source * (4 * square + feed_forward) + 2 * 8 * source_pairs);
  const double decoder = 3 * (target * (4 * square + 2 * square + feed_forward) + source * 2 * square +
                              2 * 8 * (causal_pairs + memory_pairs));
  const double output = target * 8 * 11;
  CHECK(ef::training_flops(model, batch) == 6 * (encoder + decoder + output));
}

TEST_CASE("training_flops counts a recurrent model's products", "[training_flops]") {
  ef::Rng rng(1);
  const ef::RecurrentSeq2Seq<float> model({.source_vocabulary_size = 11,
                                           .target_vocabulary_size = 9,
                                           .width = 6,
                                           .hidden = 4,
                                           .context = ef::SourceContext::attention,
                                           .share_embeddings = false,
                                           .tie_output = false},
                                          rng);
  ef::TranslationBatch batch;
  batch.source = {{3, 4, 2}, {}};  // one sentence
  batch.target = {{1, 3}, {}};
  batch.next = {3, 2};
  double of_source = 0, of_target = 9 * 4, in_all = 0;
  ef::for_each_parameter(model, [&](const std::string& name, const ef::Parameter<float>& x) {
    if (x.value.rows() == 1) return;  // biases
    const auto size = static_cast<double>(x.size());
    in_all += size;
    if (name.starts_with("encoder.") || name == "attention.key.weight") of_source += size;
    if (name.starts_with("decoder.") || name == "attention.query.weight" || name == "combine.weight") of_target += size;
  });
  CHECK(of_source + of_target + 11 * 6 + 9 * 6 == in_all);  // no other weights than the embeddings
  CHECK(ef::training_flops(model, batch) == 6 * (3 * of_source + 2 * of_target + 2 * 4 * (2 * 3)));
}
