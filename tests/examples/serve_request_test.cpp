#include "translate/serve_request.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;
using translate::ServeLimits;

namespace {

/// Returns the status and the message of a request that is refused: "400 ...".
template <class Call>
std::string refusal_of(Call&& call) {
  try {
    call();
  } catch (const translate::RequestError& error) {
    return std::to_string(error.status()) + ' ' + error.what();
  }
  return "accepted";
}

std::string translate_refusal(const std::string& body, const ServeLimits& limits = {}) {
  return refusal_of([&] { translate::translate_request(body, limits); });
}

std::string align_refusal(const std::string& body) {
  return refusal_of([&] { translate::align_request(body); });
}

/// Returns the refusal of one option beside a sentence.
std::string option_refusal(const std::string& option) {
  return translate_refusal("{\"sentences\": [\"a\"], " + option + '}');
}

}  // namespace

TEST_CASE("a request to translate has CTranslate2's options", "[examples]") {
  const translate::TranslateRequest request = translate::translate_request(
      R"({"model": "m", "sentences": ["a", "b"], "target_prefix": ["c", ""], "beam_size": 3, "num_hypotheses": 2,
          "patience": 1.5, "early_stopping": "never", "length_penalty": 0, "length_penalty_type": "gnmt",
          "coverage_penalty": 0.25, "repetition_penalty": 1.5, "no_repeat_ngram_size": 3, "disable_unk": true,
          "suppress_sequences": ["x"], "end_token": ["y", "z"], "max_decoding_length": 50, "min_decoding_length": 2,
          "max_length_a": 2.5, "max_length_b": 7, "seed": 18446744073709551615, "return_attention": true})",
      {});
  const ef::DecodingOptions& options = request.decoding.options;
  CHECK(request.model == "m");
  CHECK(request.sentences == std::vector<std::string>{"a", "b"});
  CHECK(request.target_prefix == std::vector<std::string>{"c", ""});
  CHECK_FALSE(request.stream);
  CHECK(options.beam_size == 3);
  CHECK(options.num_hypotheses == 2);
  CHECK(options.patience == 1.5);
  CHECK(options.early_stopping == ef::BeamStopping::never);
  CHECK(options.length_penalty == 0);
  CHECK(options.length_penalty_type == ef::LengthPenalty::gnmt);
  CHECK(options.coverage_penalty == 0.25);
  CHECK(options.repetition_penalty == 1.5);
  CHECK(options.no_repeat_ngram_size == 3);
  CHECK(options.disable_unk);
  CHECK(request.decoding.suppress == std::vector<std::string>{"x"});
  CHECK(request.decoding.end_tokens == std::vector<std::string>{"y", "z"});
  CHECK(options.max_decoding_length == 50);
  CHECK(options.min_decoding_length == 2);
  CHECK(options.max_length_a == 2.5);
  CHECK(options.max_length_b == 7);
  CHECK(options.seed == std::numeric_limits<std::uint64_t>::max());
  CHECK(options.return_attention);

  const translate::TranslateRequest drawn = translate::translate_request(
      R"({"sentences": ["a"], "sampling_topk": 0, "sampling_topp": 0.5, "sampling_temperature": 0.75})", {});
  CHECK(drawn.decoding.options.sampling_topk == 0);
  CHECK(drawn.decoding.options.sampling_topp == 0.5);
  CHECK(drawn.decoding.options.sampling_temperature == 0.75);

  const translate::TranslateRequest plain = translate::translate_request(R"({"sentences": []})", {});
  CHECK(plain.sentences.empty());
  CHECK(plain.decoding.options.beam_size == 1);
  CHECK(plain.decoding.options.max_length_b == 20);
  CHECK(translate::translate_request(R"({"sentences": [], "end_token": "y"})", {}).decoding.end_tokens ==
        std::vector<std::string>{"y"});
}

TEST_CASE("a bad request says what is wrong, where, and what was expected", "[examples]") {
  CHECK(translate_refusal("{") == "400 request: line 1, column 2: not valid JSON");
  CHECK(translate_refusal("3") == "400 request: is 3, expected a JSON object");
  CHECK(translate_refusal("{}") == "400 sentences: is missing, expected a list of strings");
  CHECK(translate_refusal(R"({"sentences": [["a"]]})") == R"(400 sentences[0]: is ["a"], expected a string)");
  CHECK(option_refusal(R"("beam": 1)").starts_with(R"(400 "beam": is not an option, expected one of beam_size, )"));
  for (const char* given : {"0", "17", "-3", "2.5", "2.0", "\"3\"", "null", "18446744073709551615"})
    CHECK(option_refusal(std::string("\"beam_size\": ") + given) ==
          std::string("400 beam_size: is ") + given + ", expected a whole number from 1 to 16");
  CHECK(option_refusal(R"("patience": 0)") == "400 patience: is 0, expected a number above 0, at most 10");
  CHECK(option_refusal(R"("length_penalty_type": "short")") ==
        R"(400 length_penalty_type: is "short", expected one of "average", "gnmt")");
  CHECK(option_refusal(R"("stream": 1)") == "400 stream: is 1, expected true or false");
  CHECK(option_refusal(R"("seed": -1)") == "400 seed: is -1, expected a whole number from 0 to 18446744073709551615");
  CHECK(option_refusal(R"("seed": 1.0)") == "400 seed: is 1.0, expected a whole number from 0 to 18446744073709551615");
  CHECK(translate::translate_request(R"({"sentences": ["a"], "seed": -0})", {}).decoding.options.seed == 0);
  CHECK(option_refusal(R"("end_token": 2)") == "400 end_token: is 2, expected a string or a list of strings");
  CHECK(option_refusal(R"("sampling_topk": 0, "beam_size": 2)") ==
        "400 sampling_topk: is 0, so beam_size must be 1, but is 2");
  CHECK(
      option_refusal(R"("sampling_topp": 0.5)") ==
      "400 sampling_topp: is 0.5, but sampling_topk is 1, which draws nothing; set sampling_topk to 0 to draw from all "
      "tokens");
  CHECK(option_refusal(R"("sampling_temperature": 1.5)").starts_with("400 sampling_temperature: is 1.5, but"));
  CHECK(option_refusal(R"("sampling_temperature": 0)") == "accepted");
  CHECK(option_refusal(R"("beam_size": 2, "num_hypotheses": 3)") ==
        "400 num_hypotheses: is 3, expected at most 2, beam_size * patience");
  CHECK(option_refusal(R"("min_decoding_length": 5, "max_decoding_length": 4)")
            .starts_with("400 min_decoding_length: is 5, expected at most 4"));
  CHECK(option_refusal(R"("stream": true, "beam_size": 2)") ==
        "400 stream: needs beam_size 1, num_hypotheses 1 and one sentence, which are 2, 1 and 1");
  CHECK(option_refusal(R"("target_prefix": ["a", "b"])") ==
        "400 target_prefix: there are 2, expected one for each of the 1 sentences");
  // Long values are cut between characters: here, 60 bytes would end inside one.
  CHECK(option_refusal("\"model\": [\"" + std::string(54, 'x') + "éé\"]") ==
        "400 model: is [\"" + std::string(54, 'x') + "..., expected a string");
}

TEST_CASE("the limits of requests are options", "[examples]") {
  ServeLimits limits;
  limits.max_beam_size = 2;
  limits.max_sentences = 1;
  CHECK(translate_refusal(R"({"sentences": ["a"], "beam_size": 2})", limits) == "accepted");
  CHECK(translate_refusal(R"({"sentences": ["a"], "beam_size": 3})", limits) ==
        "400 beam_size: is 3, expected a whole number from 1 to 2");
  CHECK(translate_refusal(R"({"sentences": ["a", "b"]})", limits) == "413 sentences: there are 2, expected at most 1");
}

TEST_CASE("a request to align takes a translation as text or as tokens", "[examples]") {
  const translate::AlignRequest text =
      translate::align_request(R"({"source": "a", "target": "b", "layer": 1, "head": 2})");
  CHECK(text.source == "a");
  CHECK(text.target == "b");
  CHECK_FALSE(text.has_target_tokens);
  CHECK_FALSE(text.influence);
  CHECK(text.layer == 1);
  CHECK(text.head == 2);
  const translate::AlignRequest tokens =
      translate::align_request(R"({"source": "a", "target_tokens": ["b", "c"], "reading": "influence"})");
  CHECK(tokens.target_tokens == std::vector<std::string>{"b", "c"});
  CHECK(tokens.has_target_tokens);
  CHECK(tokens.influence);
  CHECK(align_refusal(R"({"target": "b"})") == "400 source: is missing, expected a string");
  CHECK(align_refusal(R"({"source": "a"})") == "400 target: is missing, expected it or target_tokens");
  CHECK(align_refusal(R"({"source": "a", "target": "b", "target_tokens": []})") ==
        "400 target_tokens: excludes target, given both");
  CHECK(align_refusal(R"({"source": "a", "target": "b", "reading": "x"})") ==
        R"(400 reading: is "x", expected "attention" or "influence")");
  CHECK(align_refusal(R"({"source": "a", "target": "b", "layer": -1})") ==
        "400 layer: is -1, expected a whole number from 0 to 10000");
}

TEST_CASE("only requests with equal options share a batch", "[examples]") {
  const auto shares = [](const std::string& a, const std::string& b) {
    const auto request = [](const std::string& options) {
      return translate::AnyRequest(
          translate::translate_request("{\"sentences\": [\"a\"]" + (options.empty() ? "" : ", " + options) + '}', {}));
    };
    return translate::can_share_batch(request(a), request(b));
  };
  CHECK(shares("", ""));
  CHECK(shares(R"("beam_size": 2, "patience": 2)", R"("patience": 2, "beam_size": 2)"));
  CHECK(shares(R"("target_prefix": ["b"])", R"("target_prefix": ["c"])"));
  CHECK_FALSE(shares("", R"("beam_size": 2)"));
  CHECK_FALSE(shares("", R"("model": "m")"));
  CHECK_FALSE(shares("", R"("target_prefix": ["b"])"));
  CHECK_FALSE(shares(R"("stream": true)", R"("stream": true)"));
  CHECK_FALSE(shares(R"("sampling_topk": 0)", R"("sampling_topk": 0)"));
  const translate::AnyRequest align(translate::align_request(R"({"source": "a", "target": "b"})"));
  CHECK_FALSE(translate::can_share_batch(align, align));
}
