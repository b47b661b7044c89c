#include "translate/serve_answers.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <iterator>
#include <new>
#include <sstream>

#include "translate/readings.hpp"
#include "translate/streamed_text.hpp"

namespace translate {

namespace {

/// Returns a number with four decimals, which keeps answers short.
ef::Json rounded(double value) {
  return std::isfinite(value) ? ef::Json(std::round(value * 1e4) / 1e4) : ef::Json(nullptr);
}

ef::Json to_json(const ef::Matrix<float>& values) {
  ef::Json rows = ef::Json::array();
  for (ef::Index i = 0; i < values.rows(); ++i) {
    ef::Json row = ef::Json::array();
    for (ef::Index j = 0; j < values.cols(); ++j) row.push_back(rounded(static_cast<double>(values(i, j))));
    rows.push_back(std::move(row));
  }
  return rows;
}

ef::Json model_json(const ServedModel& served) {
  const AttentionSize size = attention_size(served.model);
  return {{"name", served.name},
          {"type", served.model.network.index() == 0 ? "transformer" : "recurrent"},
          {"layers", size.layers},
          {"heads", size.heads},
          {"max_length", max_length(served.model)}};
}

ef::Json to_json(const ServedModel& served, const ef::Hypothesis& hypothesis, bool with_attention) {
  ef::Json log_probabilities = ef::Json::array();
  for (const double each : hypothesis.token_log_probabilities) log_probabilities.push_back(rounded(each));
  // Vocabulary::decode() would leave out <s> and </s>, which may be tokens like others: each has a log-probability.
  ef::Json tokens = ef::Json::array();
  for (const ef::Token each : hypothesis.tokens) tokens.push_back(served.model.target.vocabulary.token(each));
  ef::Json json{{"text", served.translator.text(hypothesis)},
                {"tokens", std::move(tokens)},
                {"score", rounded(hypothesis.score)},
                {"log_probability", rounded(hypothesis.log_probability)},
                {"token_log_probabilities", std::move(log_probabilities)},
                {"ended", hypothesis.ended}};
  if (with_attention) json["attention"] = to_json(hypothesis.alignments);
  return json;
}

ef::Json to_json(const ServedModel& served, const std::vector<ef::Token>& source,
                 const std::vector<ef::Hypothesis>& best, bool with_attention) {
  std::vector<std::string> source_tokens = served.model.source.vocabulary.decode(source);
  source_tokens.push_back(served.model.source.vocabulary.token(ef::Vocabulary::end));
  ef::Json hypotheses = ef::Json::array();
  for (const ef::Hypothesis& each : best) hypotheses.push_back(to_json(served, each, with_attention));
  return {{"source_tokens", std::move(source_tokens)}, {"hypotheses", std::move(hypotheses)}};
}

/// Returns JSON text in one line. Texts that a model puts together from bytes may be no UTF-8.
std::string line_of(const ef::Json& json) {
  return json.dump(-1, ' ', false, ef::Json::error_handler_t::replace) + '\n';
}

/// Throws a RequestError of status 413 if a sentence has more tokens than the model takes.
void check_length(std::size_t tokens, const Model& model, const std::string& where) {
  const ef::Index limit = max_length(model) - 1;  // the end token needs one place
  if (static_cast<ef::Index>(tokens) > limit)
    throw RequestError(413, where + ": has " + std::to_string(tokens) + " tokens, expected at most " +
                                std::to_string(limit) + ", the model's limit");
}

void check_attention(const ServedModel& served, const char* option) {
  if (attention_size(served.model).layers == 0)
    throw RequestError(400, std::string(option) + ": the model " + served.name + " has no attention");
}

/// A request's sentences as tokens.
struct Encoded {
  std::vector<std::vector<ef::Token>> sources, prefixes;
};

std::vector<std::vector<ef::Token>> encode(const Model& model, const ef::TranslationSide& side,
                                           const std::vector<std::string>& texts, const char* name) {
  std::vector<std::vector<ef::Token>> all;
  for (const std::string& text : texts) {
    all.push_back(side.encode(text));
    check_length(all.back().size(), model, std::string(name) + '[' + std::to_string(all.size() - 1) + ']');
  }
  return all;
}

void check_prefixes(const ServedModel& served, const std::vector<std::string>& prefixes) {
  try {
    for (std::size_t i = 0; i < prefixes.size(); ++i)
      check_known(served.model.target, prefixes[i], "target_prefix[" + std::to_string(i) + ']');
  } catch (const ef::Error& error) {
    throw RequestError(400, error.what());
  }
}

Encoded encode(const ServedModel& served, const TranslateRequest& request) {
  if (request.decoding.options.return_attention) check_attention(served, "return_attention");
  if (request.decoding.options.coverage_penalty != 0) check_attention(served, "coverage_penalty");
  check_prefixes(served, request.target_prefix);
  return {encode(served.model, served.model.source, request.sentences, "sentences"),
          encode(served.model, served.model.target, request.target_prefix, "target_prefix")};
}

/// Returns the maximum number of target tokens for a sentence.
/// most: the limit for every sentence; source: the number of the sentence's tokens, with the end token.
double max_target(const ef::DecodingOptions& options, ef::Index most, std::size_t source) {
  const auto tokens = static_cast<double>(most);
  if (options.max_length_a == 0 && options.max_length_b == 0) return tokens;
  const double limit = options.max_length_a * static_cast<double>(source) + static_cast<double>(options.max_length_b);
  return std::min(tokens, std::max(limit, static_cast<double>(options.min_decoding_length)));
}

/// Throws a RequestError of status 413 if an answer could have more attention weights than `limit`.
void check_attention_weights(const ef::DecodingOptions& options, const std::vector<std::vector<ef::Token>>& sources,
                             ef::Index limit) {
  if (!options.return_attention) return;
  double weights = 0;
  for (const std::vector<ef::Token>& source : sources) {
    const std::size_t columns = source.size() + 1;
    if (!source.empty())
      weights += max_target(options, options.max_decoding_length, columns) * static_cast<double>(columns);
  }
  weights *= static_cast<double>(options.num_hypotheses);
  if (weights > static_cast<double>(limit))
    throw RequestError(413, "return_attention: the answer may have " + std::to_string(std::llround(weights)) +
                                " weights (hypotheses * target tokens * source tokens), expected at most " +
                                std::to_string(limit) + ", the limit");
}

/// Returns the number of sentences to decode at once, so that their hypotheses fit the memory. Results do not depend on
/// it.
/// most: the maximum number of target tokens.
ef::Index sentences_at_once(const ef::DecodingOptions& options, ef::Index most,
                            const std::vector<std::vector<ef::Token>>& sources, ef::Index batch_tokens) {
  std::size_t longest = 0;
  for (const std::vector<ef::Token>& source : sources) longest = std::max(longest, source.size() + 1);
  const double tokens = max_target(options, most, longest);
  const ef::Index hypotheses = std::max(options.beam_size, options.num_hypotheses);
  const double of_sentence = static_cast<double>(hypotheses) * (tokens + static_cast<double>(longest));
  const double sentences = static_cast<double>(batch_tokens) / std::max(of_sentence, 1.0);
  return static_cast<ef::Index>(std::clamp(sentences, 1.0, 512.0));
}

/// Returns a translator with a request's options. Throws a RequestError of status 400 if they do not fit the model.
Translator make_translator(const ServedModel& served, DecodingArguments decoding,
                           const std::vector<std::vector<ef::Token>>& sources, ef::Index batch_tokens) {
  try {
    decoding.options.batch_type = ef::BatchType::examples;
    const ef::Index most = std::min(max_length(served.model), decoding.options.max_decoding_length == 0
                                                                  ? max_length(served.model)
                                                                  : decoding.options.max_decoding_length);
    decoding.options.max_batch_size = sentences_at_once(decoding.options, most, sources, batch_tokens);
    return Translator(served.translator, decoding);
  } catch (const ef::Error& error) {
    throw RequestError(400, error.what());
  }
}

/// Returns the ids of the target tokens of a request, which may be <s> and </s>. Throws a RequestError of status 400 if
/// the model does not know one.
std::vector<ef::Token> ids_of_known(const ef::Vocabulary& vocabulary, const std::vector<std::string>& tokens) {
  std::vector<ef::Token> ids;
  for (const std::string& token : tokens) {
    if (!vocabulary.contains(token))
      throw RequestError(400, "target_tokens[" + std::to_string(ids.size()) + "]: the model does not know \"" + token +
                                  "\", expected tokens of its answers");
    ids.push_back(vocabulary.id(token));
  }
  return ids;
}

void check_influence(const TokenPair& pair, ef::Index most) {
  if (static_cast<ef::Index>(pair.source.size()) > most)
    throw RequestError(413, "source: has " + std::to_string(pair.source.size()) + " tokens, expected at most " +
                                std::to_string(most) + " for their influence");
}

void check_layer_and_head(const ServedModel& served, const AlignRequest& request) {
  check_attention(served, "reading");
  const AttentionSize size = attention_size(served.model);
  const auto check_at_most = [&](const char* name, ef::Index given, ef::Index most) {
    if (given > most) Fields::refuse(name, given, "a whole number from 0 to " + std::to_string(most));
  };
  check_at_most("layer", request.layer, size.layers);
  check_at_most("head", request.head, size.heads);
}

const TranslateRequest& translation_of(const PendingRequest& pending) {
  return std::get<TranslateRequest>(pending.request);
}

}  // namespace

void Answerer::run(RequestQueue& queue) {
  for (;;) {
    const RequestQueue::Batch batch = queue.take(static_cast<std::size_t>(limits_.max_sentences));
    if (batch.empty()) return;
    answer(batch);
  }
}

void Answerer::answer(const RequestQueue::Batch& batch) {
  if (batch.size() > 1) {
    try {
      translate(batch);
      return;
    } catch (const std::exception&) {
      // One of the requests is in error, or all together took too long. Alone, each gets its own answer.
    }
  }
  for (const std::shared_ptr<PendingRequest>& pending : batch) answer_alone(pending);
}

void Answerer::answer_alone(const std::shared_ptr<PendingRequest>& pending) {
  const auto fail = [&](int status, const std::string& message) {
    pending->answer.finish(error_body(status, message), status);
  };
  try {
    if (std::holds_alternative<AlignRequest>(pending->request))
      align(pending);
    else
      translate({pending});
  } catch (const RequestError& error) {
    fail(error.status(), error.what());
  } catch (const std::bad_alloc&) {
    fail(500, "out of memory");
  } catch (const std::exception& error) {
    fail(500, error.what());
  }
}

template <class Work>
auto Answerer::within_limits(const RequestQueue::Batch& batch, Work&& work) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  const std::chrono::duration<double> limit(limits_.decode_seconds * static_cast<double>(batch.size()));
  const auto is_late = [&] { return Clock::now() - begin > limit; };
  const auto is_unwanted = [&] {
    return std::all_of(batch.begin(), batch.end(), [](const auto& each) { return each->answer.is_cancelled(); });
  };
  try {
    return work([&] { return stops_ || is_unwanted() || is_late(); });
  } catch (const ef::Error&) {
    if (stops_) throw RequestError(503, "the server is stopping");
    if (is_unwanted()) throw RequestError(503, "the client is gone");
    if (is_late()) {
      std::ostringstream seconds;
      seconds << limits_.decode_seconds;
      throw RequestError(503, "the answer takes more than " + seconds.str() + " seconds, the limit of a request");
    }
    throw;
  }
}

void Answerer::translate(const RequestQueue::Batch& batch) {
  PendingRequest& first = *batch.front();
  const TranslateRequest& request = translation_of(first);
  const ServedModel& served = models_.get(models_.find(request.model));
  Encoded all;
  std::vector<std::size_t> counts;
  for (const std::shared_ptr<PendingRequest>& pending : batch) {
    Encoded own = encode(served, translation_of(*pending));
    counts.push_back(own.sources.size());
    std::move(own.sources.begin(), own.sources.end(), std::back_inserter(all.sources));
    std::move(own.prefixes.begin(), own.prefixes.end(), std::back_inserter(all.prefixes));
  }

  DecodingArguments decoding = request.decoding;
  StreamedText streamed(served.model.target);
  if (request.stream)
    decoding.options.callback = [&](const ef::DecodingStepResult& step) {
      if (!step.is_last)
        first.answer.add(line_of({{"token", served.model.target.vocabulary.token(step.token)},
                                  {"log_probability", rounded(step.log_probability)},
                                  {"text", streamed.add(step.token)}}));
      return false;
    };
  const auto results = within_limits(batch, [&](const std::function<bool()>& cancelled) {
    decoding.options.cancelled = cancelled;
    const Translator translator = make_translator(served, decoding, all.sources, limits_.batch_tokens);
    check_attention_weights(translator.options(), all.sources, limits_.max_attention);
    return translator.decode(all.sources, all.prefixes);
  });

  std::size_t sentence = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    ef::Json translations = ef::Json::array();
    for (std::size_t k = 0; k < counts[i]; ++k, ++sentence)
      translations.push_back(
          to_json(served, all.sources[sentence], results[sentence], request.decoding.options.return_attention));
    const ef::Json answer{
        {"request", batch[i]->number}, {"model", model_json(served)}, {"results", std::move(translations)}};
    batch[i]->answer.finish(line_of(request.stream ? ef::Json{{"result", answer}} : answer));
  }
}

void Answerer::align(const std::shared_ptr<PendingRequest>& pending) {
  const AlignRequest& request = std::get<AlignRequest>(pending->request);
  const ServedModel& served = models_.get(models_.find(request.model));
  TokenPair pair = tokenize_pair(served.model, request.source, request.target);
  if (request.has_target_tokens) {
    pair.target = request.target_tokens;
    pair.target_ids = ids_of_known(served.model.target.vocabulary, pair.target);
  }
  check_length(pair.source.size(), served.model, "source");
  check_length(pair.target.size(), served.model, request.has_target_tokens ? "target_tokens" : "target");
  if (request.influence)
    check_influence(pair, limits_.max_influence);
  else
    check_layer_and_head(served, request);
  const Reading reading = within_limits({pending}, [&](const std::function<bool()>& cancelled) {
    if (request.influence) return influence_between(served.model, pair, cancelled);
    return attention_between(served.model, pair, static_cast<int>(request.layer), static_cast<int>(request.head));
  });
  pending->answer.finish(line_of({{"request", pending->number},
                                  {"model", model_json(served)},
                                  {"source_tokens", reading.source},
                                  {"target_tokens", reading.target},
                                  {"values", to_json(reading.values)},
                                  {"shades", to_json(reading.shades)}}));
}

}  // namespace translate
