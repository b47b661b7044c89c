// Names of decoding options in messages, and the checks that need several options.
#pragma once

#include "eigenformer/decode/options.hpp"

namespace translate {

/// What a user calls the options of decoding. The command line's names are the defaults.
struct DecodingNames {
  const char* beam_size = "--beam-size";
  const char* patience = "--patience";
  const char* num_hypotheses = "--n-best";
  const char* sampling_topk = "--sampling-topk";
  const char* sampling_topp = "--sampling-topp";
  const char* sampling_temperature = "--sampling-temperature";
  const char* min_decoding_length = "--min-decoding-length";
  const char* max_decoding_length = "--max-decoding-length";
  const char* suppress = "--suppress";
  const char* end_token = "--end-token";
};

/// Throws if options contradict each other. A max_decoding_length of 0 is not known yet.
void check_together(const eigenformer::DecodingOptions& options, const DecodingNames& names);

}  // namespace translate
