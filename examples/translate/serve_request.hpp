// The requests that `serve` answers, read from JSON.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "translate/program.hpp"
#include "translate/serve_fields.hpp"

namespace translate {

/// POST /translate.
struct TranslateRequest {
  std::string model;  // name of its folder; empty: the one of --model
  std::vector<std::string> sentences;
  std::vector<std::string> target_prefix;  // one per sentence, or empty
  DecodingArguments decoding;
  bool stream = false;
  std::string shared;  // equal for requests that may be decoded as one batch
};

/// POST /align.
struct AlignRequest {
  std::string model;  // name of its folder; empty: the one of --model
  std::string source, target;
  std::vector<std::string> target_tokens;  // in place of `target`
  bool has_target_tokens = false;
  bool influence = false;         // instead of attention
  ef::Index layer = 0, head = 0;  // see attention_between
};

using AnyRequest = std::variant<TranslateRequest, AlignRequest>;

/// Reads the body of POST /translate. The options of decoding have CTranslate2's names. Throws a RequestError of status
/// 400, or 413 if there are too many sentences.
TranslateRequest translate_request(const std::string& body, const ServeLimits& limits);

/// Reads the body of POST /align. Throws a RequestError of status 400.
AlignRequest align_request(const std::string& body);

/// Returns the number of sentences that a request translates.
std::size_t sentence_count(const AnyRequest& request);

/// Returns whether two requests may be decoded as one batch, with the results that each has alone.
bool can_share_batch(const AnyRequest& a, const AnyRequest& b);

}  // namespace translate
