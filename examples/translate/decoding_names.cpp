#include "translate/decoding_names.hpp"

namespace translate {

namespace ef = eigenformer;

void check_together(const ef::DecodingOptions& options, const DecodingNames& names) {
  ef::check(!options.samples() || options.beam_size == 1, names.sampling_topk, ": is ", options.sampling_topk, ", so ",
            names.beam_size, " must be 1, but is ", options.beam_size);
  const auto expect_draws = [&](const char* name, double value, bool is_default) {
    ef::check(is_default || options.sampling_topk != 1, name, ": is ", value, ", but ", names.sampling_topk,
              " is 1, which draws nothing; set ", names.sampling_topk, " to 0 to draw from all tokens");
  };
  expect_draws(names.sampling_topp, options.sampling_topp, options.sampling_topp == 1);
  expect_draws(names.sampling_temperature, options.sampling_temperature,
               options.sampling_temperature == 1 || options.sampling_temperature == 0);  // 0: greedy search
  const ef::Index available = options.beam_size == 1 ? 1 : options.max_candidates();
  const auto expect_at_most = [&](const auto&... limit) {
    ef::check(options.samples() || options.num_hypotheses <= available, names.num_hypotheses, ": is ",
              options.num_hypotheses, ", expected at most ", available, limit...);
  };
  if (options.beam_size == 1)
    expect_at_most(" with ", names.beam_size, " 1");
  else
    expect_at_most(", ", names.beam_size, " * ", names.patience);
  ef::check(options.max_decoding_length == 0 || options.min_decoding_length <= options.max_decoding_length,
            names.min_decoding_length, ": is ", options.min_decoding_length, ", expected at most ",
            options.max_decoding_length, ", which is ", names.max_decoding_length, " or the model's limit");
}

}  // namespace translate
