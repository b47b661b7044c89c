#include "translate/readings.hpp"

#include <limits>
#include <string>

#include "eigenformer/kernels/softmax.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/recurrent_models.hpp"

namespace ef = eigenformer;

namespace {

/// Returns a Transformer and a recurrent model with attention.
translate::Model model_of_letters(bool recurrent, ef::Rng& rng) {
  const ef::TranslationSide letters{ef::Vocabulary({"<unk>", "<s>", "</s>", "a", "b", "c", "d", "e", "f", "g", "h"}),
                                    ef::Tokenization::words};
  if (recurrent) return {ef::RecurrentSeq2Seq<float>(ef::testing::small_recurrent(), rng), letters, letters};
  return {ef::Transformer<float>(ef::testing::small_transformer(), rng), letters, letters};
}

}  // namespace

TEST_CASE("influence is what a target word's log probability loses when a source word is hidden", "[examples]") {
  const std::uint64_t seed = 681;
  const bool recurrent = GENERATE(false, true);
  CAPTURE(seed, recurrent);
  ef::Rng rng(seed);
  const translate::Model model = model_of_letters(recurrent, rng);
  const translate::Reading reading =
      translate::influence_between(model, translate::tokenize_pair(model, "a b c", "d e"));
  REQUIRE(ef::shape(reading.values) == ef::Shape{3, 4});
  const auto log_probability = [&](const std::vector<ef::Token>& source, ef::Index row) {
    const ef::Token next[] = {6, 7, 2};
    const ef::Tokens target{{1, 6, 7}, {}};
    const ef::Matrix<float> logits = std::visit(
        [&](const auto& network) {
          return network({}, {source, {}}, target).value();
        },
        model.network);
    return static_cast<double>(ef::log_softmax(logits)(row, next[row]));
  };
  for (ef::Index row = 0; row < 3; ++row)
    for (ef::Index word = 0; word < 4; ++word) {
      std::vector<ef::Token> hidden{3, 4, 5, 2};
      hidden[static_cast<std::size_t>(word)] = 0;
      const double lost = log_probability({3, 4, 5, 2}, row) - log_probability(hidden, row);
      CHECK(std::abs(static_cast<double>(reading.values(row, word)) - lost) < 1e-5);
      CHECK(std::abs(static_cast<double>(reading.shades(row, word)) - std::max(0.0, 1 - std::exp(-lost))) < 1e-5);
    }
}

TEST_CASE("attention between two sentences is a share of the source for every target word", "[examples]") {
  ef::Rng rng(682);
  const bool recurrent = GENERATE(false, true);
  CAPTURE(recurrent);
  const translate::Reading reading =
      translate::attention_between(model_of_letters(recurrent, rng), "a b c", "d e", 0, 0);
  CHECK(reading.source == std::vector<std::string>{"a", "b", "c", "</s>"});
  CHECK(reading.target == std::vector<std::string>{"d", "e", "</s>"});
  REQUIRE(ef::shape(reading.values) == ef::Shape{3, 4});
  CHECK(ef::testing::max_error(reading.values.rowwise().sum(), Eigen::Vector3f::Ones()) < 1e-6);
}

TEST_CASE("attention is read from the head that was trained to align, unless another is chosen", "[examples]") {
  ef::Rng rng(683);
  translate::Model model = model_of_letters(false, rng);
  const auto values = [&](int layer, int head) {
    return translate::attention_between(model, "a b c", "d e", layer, head).values;
  };
  const ef::Matrix<float> last = values(2, 0), first = values(1, 0), second_head = values(1, 2);
  CHECK(values(0, 0) == last);
  auto& options = std::get<ef::Transformer<float>>(model.network).options;
  options.alignment_layer = 1;
  options.alignment_head = 2;
  CHECK(values(0, 0) == second_head);
  CHECK(values(0, 2) == second_head);
  CHECK(values(1, 0) == first);
  CHECK(values(2, 0) == last);
}

TEST_CASE("a reading of a model with NaN parameters is an error", "[examples]") {
  ef::Rng rng(686);
  const bool recurrent = GENERATE(false, true);
  CAPTURE(recurrent);
  translate::Model model = model_of_letters(recurrent, rng);
  const translate::TokenPair damaged = translate::tokenize_pair(model, "a b", "d");
  const translate::TokenPair sound = translate::tokenize_pair(model, "a c", "d");
  std::visit(
      [](auto& network) { network.source_embedding.weight.value(4, 0) = std::numeric_limits<float>::quiet_NaN(); },
      model.network);  // of b
  const std::string reason = ": the model gives no finite numbers; its parameters may be damaged";
  CHECK_THROWS_WITH(translate::attention_between(model, damaged, 0, 0), "attention" + reason);
  CHECK_THROWS_WITH(translate::attention_between(model, damaged, 1, 1), "attention" + reason);
  CHECK_THROWS_WITH(translate::influence_between(model, damaged), "influence" + reason);
  CHECK_NOTHROW(translate::attention_between(model, sound, 0, 0));
}

TEST_CASE("a reading follows the ids of the tokens, also of <s> and </s>", "[examples]") {
  ef::Rng rng(687);
  const translate::Model model = model_of_letters(false, rng);
  translate::TokenPair pair = translate::tokenize_pair(model, "a b", "d");
  CHECK(pair.target_ids == std::vector<ef::Token>{6});
  CHECK(translate::tokenize_pair(model, "a b", "</s>").target_ids == std::vector<ef::Token>{ef::Vocabulary::unknown});
  std::vector<ef::Matrix<float>> values;
  for (const ef::Token first : {ef::Vocabulary::unknown, ef::Vocabulary::begin, ef::Vocabulary::end}) {
    pair.target = {model.target.vocabulary.token(first)};
    pair.target_ids = {first};
    values.push_back(translate::influence_between(model, pair).values);
  }
  CHECK(values[0] != values[1]);
  CHECK(values[1] != values[2]);
  CHECK(values[0] != values[2]);
}

TEST_CASE("a reading's links are of words alone", "[examples]") {
  translate::Reading reading;
  reading.values.resize(3, 4);
  reading.values << 0.1F, 0.6F, 0.2F, 0.1F,  //
      0.3F, 0.1F, 0.1F, 0.5F,                // largest on </s>, which is not a word
      0.9F, 0, 0, 0.1F;
  CHECK(ef::to_string(translate::links_of(reading)) == "0-1 1-0");
}

TEST_CASE("attention_size counts layers and heads", "[examples]") {
  ef::Rng rng(684);
  const translate::AttentionSize transformer = translate::attention_size(model_of_letters(false, rng));
  CHECK(transformer.layers == 2);
  CHECK(transformer.heads == ef::testing::small_transformer().layer.heads);
  translate::Model recurrent = model_of_letters(true, rng);
  CHECK(translate::attention_size(recurrent).layers == 1);
  CHECK(translate::attention_size(recurrent).heads == 1);
  std::get<ef::RecurrentSeq2Seq<float>>(recurrent.network).options.context = ef::SourceContext::initial;
  CHECK(translate::attention_size(recurrent).heads == 0);
}

TEST_CASE("the attention of texts is that of their tokens", "[examples]") {
  ef::Rng rng(685);
  const translate::Model model = model_of_letters(false, rng);
  const translate::TokenPair pair = translate::tokenize_pair(model, "a b c", "d e");
  CHECK(pair.source == std::vector<std::string>{"a", "b", "c"});
  CHECK(translate::attention_between(model, pair, 1, 2).values ==
        translate::attention_between(model, "a b c", "d e", 1, 2).values);
}
