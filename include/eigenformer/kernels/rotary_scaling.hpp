// Scaled frequencies of rotary position embeddings, for sequences longer than those that a model was trained with.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "eigenformer/core/check.hpp"
#include "eigenformer/core/named_enum.hpp"
#include "eigenformer/core/types.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

/// How rotary frequencies are scaled. The names are Hugging Face's `rope_type`, except for ntk.
enum class RopeType {
  unscaled,  // "default"
  linear,    // position interpolation: all frequencies divided by factor (Chen et al. 2023, arXiv 2306.15595)
  ntk,       // a larger base: divides the lowest frequency by factor, higher ones by less (Peng et al., section 3.1)
  dynamic,   // ntk with a factor that depends on sequence_length (Peng et al., section 3.3)
  yarn,      // Peng et al. 2023, arXiv 2309.00071, section 3.4
  longrope,  // a divisor per pair, and a second list for long sequences (Ding et al. 2024, arXiv 2402.13753)
  llama3     // Llama 3.1 (Grattafiori et al. 2024, arXiv 2407.21783) as in the format of Hugging Face
};

constexpr auto enum_names(RopeType) {
  return std::to_array<EnumName<RopeType>>({{RopeType::unscaled, "default"},
                                            {RopeType::linear, "linear"},
                                            {RopeType::ntk, "ntk"},
                                            {RopeType::dynamic, "dynamic"},
                                            {RopeType::yarn, "yarn"},
                                            {RopeType::longrope, "longrope"},
                                            {RopeType::llama3, "llama3"}});
}

/// The scaling of rotary frequencies, with the names of `rope_scaling` in Hugging Face's config.json:
///
///   RotaryScaling{.rope_type = RopeType::yarn, .factor = 4, .original_max_position_embeddings = 32768}
///
/// The frequencies of dynamic and longrope depend on sequence_length, not on the current length of a sequence, so they
/// never change while a sequence grows. Cached keys stay valid, decoding step by step equals a call with all tokens,
/// and results do not depend on the batch. Hugging Face recomputes the frequencies when the longest sequence of a batch
/// grows, but cached keys keep the old ones. To get its results for sequences of one length, set sequence_length to
/// that length.
struct RotaryScaling {
  RopeType rope_type = RopeType::unscaled;
  double factor = 1;                           // length of the sequences / length in training
  Index original_max_position_embeddings = 0;  // dynamic, yarn, longrope, llama3: length in training
  double low_freq_factor = 1;                  // llama3: pairs that turn less often than this in training are scaled
  double high_freq_factor = 4;                 // llama3: pairs that turn more often than this in training are kept
  double beta_fast = 32;                       // yarn: pairs that turn more often than this in training are kept
  double beta_slow = 1;                        // yarn: pairs that turn less often than this in training are scaled
  bool truncate = true;                        // yarn: round the pair indices where interpolation begins and ends
  double attention_factor = 0;                 // yarn, longrope: see rotary_attention_factor; 0: the default
  double mscale = 0;                           // yarn: 0 or more; see rotary_attention_factor
  double mscale_all_dim = 0;                   // yarn: 0 or more; see rotary_attention_factor
  Index sequence_length = 0;                   // dynamic, longrope: longest sequence; 0: factor * length in training
  std::vector<double> short_factor{};          // longrope: the pairs' divisors up to the length in training
  std::vector<double> long_factor{};           // longrope: the pairs' divisors for a longer sequence_length

  friend bool operator==(const RotaryScaling&, const RotaryScaling&) = default;
};

namespace detail {

/// Throws if options of the scaling are out of range.
inline void check_rotary_scaling(const RotaryScaling& scaling) {
  const RopeType type = scaling.rope_type;
  if (type == RopeType::unscaled) return;
  const auto fail_if = [&](bool wrong, const char* name, auto given, const char* expected) {
    check(!wrong, "RotaryScaling: ", name, " is ", given, " with rope_type ", to_string(type), ", expected ", expected);
  };
  fail_if(!(scaling.factor >= 1 && std::isfinite(scaling.factor)), "factor", scaling.factor,
          "a finite number, 1 or more");
  const Index length = scaling.original_max_position_embeddings;
  if (type == RopeType::longrope)
    fail_if(length < 2, "original_max_position_embeddings", length, "2 or more");
  else if (type == RopeType::dynamic || type == RopeType::yarn || type == RopeType::llama3)
    fail_if(length < 1, "original_max_position_embeddings", length, "1 or more");
  if (type == RopeType::dynamic || type == RopeType::longrope)
    fail_if(scaling.sequence_length < 0, "sequence_length", scaling.sequence_length, "0 or more");
  if (type == RopeType::llama3) {
    fail_if(!(scaling.low_freq_factor > 0), "low_freq_factor", scaling.low_freq_factor, "more than 0");
    fail_if(!(scaling.high_freq_factor > scaling.low_freq_factor && std::isfinite(scaling.high_freq_factor)),
            "high_freq_factor", scaling.high_freq_factor, "a finite number above low_freq_factor");
  }
  if (type == RopeType::yarn) {
    fail_if(!(scaling.beta_slow > 0), "beta_slow", scaling.beta_slow, "more than 0");
    fail_if(!(scaling.beta_fast >= scaling.beta_slow && std::isfinite(scaling.beta_fast)), "beta_fast",
            scaling.beta_fast, "a finite number, beta_slow or more");
    const auto is_usable = [&](double mscale) {
      return mscale >= 0 && std::isfinite(mscale * std::log(scaling.factor));
    };
    fail_if(!is_usable(scaling.mscale), "mscale", scaling.mscale, "0 or more, with a finite mscale * ln(factor)");
    fail_if(!is_usable(scaling.mscale_all_dim), "mscale_all_dim", scaling.mscale_all_dim,
            "0 or more, with a finite mscale_all_dim * ln(factor)");
  }
  if (type == RopeType::yarn || type == RopeType::longrope)
    fail_if(!(scaling.attention_factor >= 0 && std::isfinite(scaling.attention_factor)), "attention_factor",
            scaling.attention_factor, "a finite number, 0 or more");
}

/// Returns the ratio of the longest sequence to the length in training, for dynamic and longrope.
inline double relative_length(const RotaryScaling& scaling) {
  if (scaling.sequence_length == 0) return scaling.factor;
  return static_cast<double>(scaling.sequence_length) / static_cast<double>(scaling.original_max_position_embeddings);
}

/// Returns the factor by which ntk and dynamic divide the lowest frequency.
inline double ntk_factor(const RotaryScaling& scaling) {
  if (scaling.rope_type == RopeType::ntk) return scaling.factor;
  return 1 + scaling.factor * (std::max<double>(relative_length(scaling), 1) - 1);
}

/// Returns the divisor of each pair's frequency for longrope. Throws unless both lists have one positive divisor for
/// each pair.
inline const std::vector<double>& longrope_divisors(Index width, const RotaryScaling& scaling) {
  for (const auto& [name, list] :
       {std::pair("short_factor", &scaling.short_factor), std::pair("long_factor", &scaling.long_factor)}) {
    check(static_cast<Index>(list->size()) == width / 2, "RotaryScaling: ", name, " has ", list->size(),
          " entries with rope_type longrope, expected ", width / 2, ", one for each pair of features");
    for (const double divisor : *list)
      check(divisor > 0 && std::isfinite(divisor), "RotaryScaling: ", name, " has the entry ", divisor,
            ", expected a finite number above 0");
  }
  return relative_length(scaling) > 1 ? scaling.long_factor : scaling.short_factor;
}

/// Returns the share of the unscaled frequency in each pair's frequency for YaRN: 1 for the first pairs, 0 for the
/// last, and a straight line between them.
inline std::vector<double> yarn_shares(Index width, double base, const RotaryScaling& scaling) {
  // Pair i turns L / (2 pi base^(2i / width)) times in L positions. Solved for i:
  const auto pair_of = [&](double turns) {
    const double length = static_cast<double>(scaling.original_max_position_embeddings);
    return static_cast<double>(width) * std::log(length / (2 * std::numbers::pi * turns)) / (2 * std::log(base));
  };
  double first = pair_of(scaling.beta_fast), last = pair_of(scaling.beta_slow);
  if (scaling.truncate) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max<double>(first, 0);
  last = std::min<double>(last, static_cast<double>(width - 1));
  if (first == last) last += 0.001;  // avoids 0 / 0: the shares jump from 1 to 0
  std::vector<double> shares;
  for (Index i = 0; i < width / 2; ++i)
    shares.push_back(1 - std::clamp<double>((static_cast<double>(i) - first) / (last - first), 0, 1));
  return shares;
}

/// Returns the frequency of Llama 3.1 for a pair's unscaled frequency. Long wavelengths are scaled, short ones kept,
/// and those between are interpolated in the number of turns.
inline double llama3_frequency(double frequency, const RotaryScaling& scaling) {
  const double turns =
      static_cast<double>(scaling.original_max_position_embeddings) * frequency / (2 * std::numbers::pi);
  const double kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  if (kept <= 0) return frequency / scaling.factor;
  if (kept >= 1) return frequency;
  return (1 - kept) * frequency / scaling.factor + kept * frequency;
}

}  // namespace detail

/// Returns the frequency of each pair: [width / 2] angles per position. Unscaled, pair i has base^(-2i / width).
///
/// - dynamic: the base is multiplied by (factor n / L - factor + 1)^(width / (width - 2)) for a sequence_length n above
///   the length in training L, as in Hugging Face.
/// - YaRN: the share of the unscaled frequency falls linearly from pair to pair, as in Hugging Face's and the authors'
///   programs. In the paper's section 3.2 it falls linearly in the number of turns.
/// - Llama 3.1: the share falls linearly in the number of turns.
///
/// Throws if the width is odd or negative, if an option is out of range, if a frequency is not finite, or unless base
/// is finite and above 0 (YaRN: above 1).
inline std::vector<double> rotary_frequencies(Index width, double base = 10000, const RotaryScaling& scaling = {}) {
  check(width >= 0 && width % 2 == 0, "rotary_table: width is ", width, ", expected an even number, 0 or more");
  const bool is_yarn = scaling.rope_type == RopeType::yarn;  // YaRN divides by log(base)
  check(base > (is_yarn ? 1 : 0) && std::isfinite(base), "rotary_table: base is ", base,
        is_yarn ? " with rope_type yarn, expected a finite number above 1" : ", expected a finite number above 0");
  detail::check_rotary_scaling(scaling);
  if ((scaling.rope_type == RopeType::ntk || scaling.rope_type == RopeType::dynamic) && width > 2)
    base *= std::pow(detail::ntk_factor(scaling), static_cast<double>(width) / static_cast<double>(width - 2));
  std::vector<double> frequencies;
  for (Index i = 0; i < width / 2; ++i)
    frequencies.push_back(std::pow(base, -2 * static_cast<double>(i) / static_cast<double>(width)));
  switch (scaling.rope_type) {
    case RopeType::unscaled:
    case RopeType::ntk:
    case RopeType::dynamic:
      break;
    case RopeType::linear:
      for (double& frequency : frequencies) frequency /= scaling.factor;
      break;
    case RopeType::yarn: {
      const std::vector<double> shares = detail::yarn_shares(width, base, scaling);
      for (std::size_t i = 0; i < frequencies.size(); ++i)
        frequencies[i] *= (1 - shares[i]) / scaling.factor + shares[i];
      break;
    }
    case RopeType::longrope: {
      const std::vector<double>& divisors = detail::longrope_divisors(width, scaling);
      for (std::size_t i = 0; i < frequencies.size(); ++i) frequencies[i] /= divisors[i];
      break;
    }
    case RopeType::llama3:
      for (double& frequency : frequencies) frequency = detail::llama3_frequency(frequency, scaling);
      break;
  }
  for (const double frequency : frequencies)
    check(std::isfinite(frequency), "rotary_table: base is ", base, ", which gives a frequency of ", frequency,
          ", expected finite frequencies");
  return frequencies;
}

/// Returns the factor of all cosines and sines, and so of queries and keys: 1, except for YaRN and longrope. Theirs is
/// attention_factor, or by default:
///
/// - YaRN: 0.1 ln(factor) + 1, which divides the softmax's temperature by its square (Peng et al. 2023, section 3.4).
///   If both mscales are set: (0.1 mscale ln(factor) + 1) / (0.1 mscale_all_dim ln(factor) + 1).
/// - longrope: sqrt(1 + ln(factor) / ln(original_max_position_embeddings)), for every sequence_length.
///
/// Throws if an option that it reads is out of range.
inline double rotary_attention_factor(const RotaryScaling& scaling) {
  if (scaling.rope_type != RopeType::yarn && scaling.rope_type != RopeType::longrope) return 1;
  RotaryScaling read = scaling;
  if (scaling.rope_type == RopeType::yarn) read.original_max_position_embeddings = 1;  // does not influence the factor
  detail::check_rotary_scaling(read);
  if (scaling.attention_factor != 0) return scaling.attention_factor;
  if (scaling.rope_type == RopeType::longrope)
    return std::sqrt(1 + std::log(scaling.factor) /
                             std::log(static_cast<double>(scaling.original_max_position_embeddings)));
  const auto factor_of = [&](double mscale) { return 0.1 * mscale * std::log(scaling.factor) + 1; };
  if (scaling.mscale != 0 && scaling.mscale_all_dim != 0)
    return factor_of(scaling.mscale) / factor_of(scaling.mscale_all_dim);
  return factor_of(1);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI
