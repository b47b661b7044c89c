#include "translate/serve_request.hpp"

namespace translate {

namespace {

constexpr ef::Index max_tokens = 100'000;  // of any length; the model has a limit of its own

/// Reads the options of decoding. Ranges are those of the command line, or narrower.
void read_decoding(Fields& fields, DecodingArguments& arguments, const ServeLimits& limits) {
  ef::DecodingOptions& options = arguments.options;
  fields.read("beam_size", options.beam_size, 1, limits.max_beam_size);
  fields.read("num_hypotheses", options.num_hypotheses, 1, limits.max_beam_size);
  fields.read(
      "patience", options.patience, [](double x) { return x > 0 && x <= 10; }, "above 0, at most 10");
  fields.read_enum("early_stopping", options.early_stopping);
  fields.read(
      "length_penalty", options.length_penalty, [](double x) { return x >= -10 && x <= 10; }, "from -10 to 10");
  fields.read_enum("length_penalty_type", options.length_penalty_type);
  fields.read(
      "coverage_penalty", options.coverage_penalty, [](double x) { return x >= 0 && x <= 100; }, "from 0 to 100");
  fields.read(
      "repetition_penalty", options.repetition_penalty, [](double x) { return x > 0 && x <= 100; },
      "above 0, at most 100");
  fields.read("no_repeat_ngram_size", options.no_repeat_ngram_size, 0, 10'000);
  fields.read("disable_unk", options.disable_unk);
  fields.read("suppress_sequences", arguments.suppress);
  fields.read_one_or_more("end_token", arguments.end_tokens);
  fields.read("max_decoding_length", options.max_decoding_length, 1, max_tokens);
  fields.read("min_decoding_length", options.min_decoding_length, 0, max_tokens);
  fields.read(
      "max_length_a", options.max_length_a, [](double x) { return x >= 0 && x <= 1000; }, "from 0 to 1000");
  fields.read("max_length_b", options.max_length_b, 0, max_tokens);
  fields.read("sampling_topk", options.sampling_topk, 0, 10'000'000);
  fields.read(
      "sampling_topp", options.sampling_topp, [](double x) { return x > 0 && x <= 1; }, "above 0, at most 1");
  fields.read(
      "sampling_temperature", options.sampling_temperature, [](double x) { return x >= 0 && x <= 1000; },
      "from 0 to 1000");
  fields.read_seed("seed", options.seed);
  fields.read("return_attention", options.return_attention);
}

void check_stream(const TranslateRequest& request) {
  const ef::DecodingOptions& options = request.decoding.options;
  if (!request.stream || (options.beam_size == 1 && options.num_hypotheses == 1 && request.sentences.size() == 1))
    return;
  throw RequestError(400, "stream: needs beam_size 1, num_hypotheses 1 and one sentence, which are " +
                              std::to_string(options.beam_size) + ", " + std::to_string(options.num_hypotheses) +
                              " and " + std::to_string(request.sentences.size()));
}

/// Returns what requests of one batch have in common, or an empty text for a request with a batch of its own. A draw
/// depends on the sentence's number, so samples are decoded alone.
std::string shared_part(const TranslateRequest& request, const Fields& fields) {
  if (request.stream || request.decoding.options.samples()) return {};
  ef::Json common = fields.object();
  for (const char* own : {"sentences", "target_prefix", "stream"}) common.erase(own);
  return common.dump() + (request.target_prefix.empty() ? "" : " with prefixes");
}

}  // namespace

TranslateRequest translate_request(const std::string& body, const ServeLimits& limits) {
  Fields fields(body);
  TranslateRequest request;
  request.decoding.names = {.beam_size = "beam_size",
                            .patience = "patience",
                            .num_hypotheses = "num_hypotheses",
                            .sampling_topk = "sampling_topk",
                            .sampling_topp = "sampling_topp",
                            .sampling_temperature = "sampling_temperature",
                            .min_decoding_length = "min_decoding_length",
                            .max_decoding_length = "max_decoding_length",
                            .suppress = "suppress_sequences",
                            .end_token = "end_token"};
  fields.read("model", request.model);
  fields.read("sentences", request.sentences);
  fields.read("target_prefix", request.target_prefix);
  fields.read("stream", request.stream);
  read_decoding(fields, request.decoding, limits);
  fields.check_all_known();
  if (!fields.has("sentences")) throw RequestError(400, "sentences: is missing, expected a list of strings");
  if (static_cast<ef::Index>(request.sentences.size()) > limits.max_sentences)
    throw RequestError(413, "sentences: there are " + std::to_string(request.sentences.size()) + ", expected at most " +
                                std::to_string(limits.max_sentences));
  if (!request.target_prefix.empty() && request.target_prefix.size() != request.sentences.size())
    throw RequestError(400, "target_prefix: there are " + std::to_string(request.target_prefix.size()) +
                                ", expected one for each of the " + std::to_string(request.sentences.size()) +
                                " sentences");
  try {
    check_together(request.decoding.options, request.decoding.names);
  } catch (const ef::Error& error) {
    throw RequestError(400, error.what());
  }
  check_stream(request);
  request.shared = shared_part(request, fields);
  return request;
}

AlignRequest align_request(const std::string& body) {
  Fields fields(body);
  AlignRequest request;
  request.has_target_tokens = fields.has("target_tokens");
  std::string reading = "attention";
  fields.read("model", request.model);
  fields.read("source", request.source);
  fields.read("target", request.target);
  fields.read("target_tokens", request.target_tokens);
  fields.read("reading", reading);
  fields.read("layer", request.layer, 0, 10'000);
  fields.read("head", request.head, 0, 10'000);
  fields.check_all_known();
  if (!fields.has("source")) throw RequestError(400, "source: is missing, expected a string");
  if (fields.has("target") == request.has_target_tokens)
    throw RequestError(400, request.has_target_tokens ? "target_tokens: excludes target, given both"
                                                      : "target: is missing, expected it or target_tokens");
  request.influence = reading == "influence";
  if (!request.influence && reading != "attention")
    Fields::refuse("reading", reading, "\"attention\" or \"influence\"");
  if (!request.influence) return request;
  for (const auto& [name, number] : {std::pair("layer", request.layer), std::pair("head", request.head)})
    if (number != 0) Fields::refuse(name, number, "0 or none for the reading \"influence\"");
  return request;
}

std::size_t sentence_count(const AnyRequest& request) {
  const auto* translation = std::get_if<TranslateRequest>(&request);
  return translation == nullptr ? 1 : translation->sentences.size();
}

bool can_share_batch(const AnyRequest& a, const AnyRequest& b) {
  const auto* first = std::get_if<TranslateRequest>(&a);
  const auto* second = std::get_if<TranslateRequest>(&b);
  return first != nullptr && second != nullptr && !first->shared.empty() && first->shared == second->shared;
}

}  // namespace translate
