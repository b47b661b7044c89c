// Tokens and their numbers.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "eigenformer/core/check.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

struct VocabularyOptions {
  Index min_count = 1;  ///< a token that is seen less often is unknown
  Index max_size = 0;   ///< of the vocabulary, the specials among them; 0 sets no limit
};

/// How often each token occurs in a text, which need not be in memory as a whole.
class TokenCounts {
 public:
  void add(std::span<const std::string> sentence) {
    for (const std::string& token : sentence) ++counts_[token];
  }
  const std::unordered_map<std::string, Index>& counts() const { return counts_; }

 private:
  std::unordered_map<std::string, Index> counts_;
};

/// The tokens that a model knows. The first three are special: the unknown token, and those for the beginning and the
/// end of a sentence.
class Vocabulary {
 public:
  static constexpr Token unknown = 0;
  static constexpr Token begin = 1;
  static constexpr Token end = 2;

  /// Nothing but the specials.
  Vocabulary() : Vocabulary(std::vector<std::string>(specials.begin(), specials.end())) {}

  /// tokens: token i gets the number i. Throws unless they begin with `<unk>`, `<s>`, `</s>` and none is empty or there
  /// twice.
  explicit Vocabulary(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {
    check(tokens_.size() >= specials.size(), "Vocabulary: ", tokens_.size(), " tokens, expected at least ",
          specials.size(), ": <unk>, <s>, </s>");
    ids_.reserve(tokens_.size());
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      check(i >= specials.size() || tokens_[i] == specials[i], "Vocabulary: token ", i, " is \"", tokens_[i],
            "\", expected \"", specials[std::min<std::size_t>(i, specials.size() - 1)], "\"");
      check(!tokens_[i].empty(), "Vocabulary: token ", i, " is empty");
      const auto [entry, is_new] = ids_.emplace(tokens_[i], static_cast<Token>(i));
      check(is_new, "Vocabulary: token ", i, ", \"", tokens_[i], "\", is token ", entry->second, " too");
    }
  }

  /// The tokens of these sentences, the most frequent first, equally frequent ones by their bytes. Empty ones are left
  /// out. Throws if an option is negative or max_size does not hold the specials.
  static Vocabulary of(std::span<const std::vector<std::string>> sentences, const VocabularyOptions& options = {}) {
    TokenCounts counts;
    for (const std::vector<std::string>& sentence : sentences) counts.add(sentence);
    return of(counts, options);
  }

  /// The tokens that were counted, chosen and ordered as above.
  static Vocabulary of(const TokenCounts& counts, const VocabularyOptions& options = {}) {
    check(options.min_count >= 0, "Vocabulary: min_count is ", options.min_count, ", expected 0 or more");
    const auto reserved = static_cast<Index>(specials.size());
    check(options.max_size == 0 || options.max_size >= reserved, "Vocabulary: max_size is ", options.max_size,
          ", expected 0 or at least ", reserved);

    using Counted = std::pair<std::string_view, Index>;
    std::vector<Counted> counted;
    for (const auto& [token, count] : counts.counts()) {
      const bool special = std::find(specials.begin(), specials.end(), token) != specials.end();
      if (count >= options.min_count && !token.empty() && !special) counted.emplace_back(token, count);
    }
    std::sort(counted.begin(), counted.end(), [](const Counted& a, const Counted& b) {
      return a.second != b.second ? a.second > b.second : a.first < b.first;
    });

    std::vector<std::string> tokens(specials.begin(), specials.end());
    for (const Counted& entry : counted) {
      if (options.max_size > 0 && static_cast<Index>(tokens.size()) == options.max_size) break;
      tokens.emplace_back(entry.first);
    }
    return Vocabulary(std::move(tokens));
  }

  /// How many tokens there are, the specials among them.
  Index size() const { return static_cast<Index>(tokens_.size()); }

  bool contains(std::string_view token) const { return ids_.find(token) != ids_.end(); }

  /// The number of a token, `unknown` if it has none.
  Token id(std::string_view token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? unknown : found->second;
  }

  /// The token with this number. Throws if there is none.
  const std::string& token(Token id) const {
    check(id >= 0 && static_cast<Index>(id) < size(), "Vocabulary: there is no token ", id, ", only 0 to ", size() - 1);
    return tokens_[static_cast<std::size_t>(id)];
  }

  /// All tokens in order: what the constructor takes.
  std::span<const std::string> tokens() const { return tokens_; }

  /// The numbers of a sentence's tokens. Nothing is added at its beginning and end, and a token that happens to read
  /// `<s>` or `</s>` is unknown: text cannot end its own sentence.
  std::vector<Token> encode(std::span<const std::string> sentence) const {
    std::vector<Token> ids;
    ids.reserve(sentence.size());
    for (const std::string& token : sentence) {
      const Token found = id(token);
      ids.push_back(found == begin || found == end ? unknown : found);
    }
    return ids;
  }

  /// The tokens of a sentence, without those for its beginning and end. Throws if a number has no token.
  std::vector<std::string> decode(std::span<const Token> ids) const {
    std::vector<std::string> sentence;
    sentence.reserve(ids.size());
    for (const Token id : ids)
      if (id != begin && id != end) sentence.push_back(token(id));
    return sentence;
  }

  friend bool operator==(const Vocabulary& a, const Vocabulary& b) { return a.tokens_ == b.tokens_; }

 private:
  static constexpr std::array<std::string_view, 3> specials{"<unk>", "<s>", "</s>"};

  // Lets a map of strings be searched by string_view, without a copy.
  struct StringHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  std::vector<std::string> tokens_;
  std::unordered_map<std::string, Token, StringHash, std::equal_to<>> ids_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
