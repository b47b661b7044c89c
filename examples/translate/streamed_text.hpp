// The text of a translation while it is generated.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "eigenformer/models/translation_model.hpp"

namespace translate {

/// Puts the tokens of a translation together, one by one.
class StreamedText {
 public:
  explicit StreamedText(const eigenformer::TranslationSide& side) : side_(side) {}

  /// Adds a token. Returns the text so far, without the bytes of an unfinished character.
  std::string add(eigenformer::Token token) {
    tokens_.push_back(token);
    std::string text = side_.decode(tokens_);
    while (text.ends_with(replacement)) text.resize(text.size() - replacement.size());
    return text;
  }

  /// Forgets the tokens.
  void clear() { tokens_.clear(); }

 private:
  /// U+FFFD, which stands for a character whose last bytes are still missing.
  static constexpr std::string_view replacement = "\xEF\xBF\xBD";

  const eigenformer::TranslationSide& side_;
  std::vector<eigenformer::Token> tokens_;
};

}  // namespace translate
