// Vocabularies: the mapping between tokens and ids.
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
  Index min_count = 1;  ///< rarer tokens are left out
  Index max_size = 0;   ///< of the vocabulary, including the special tokens; 0 sets no limit
};

/// Counts tokens, sentence by sentence, so that a text need not fit in memory.
class TokenCounts {
 public:
  void add(std::span<const std::string> sentence) {
    for (const std::string& token : sentence) ++counts_[token];
  }
  /// Adds the counts of another text.
  void add(const TokenCounts& part) {
    for (const auto& [token, count] : part.counts_) counts_[token] += count;
  }
  /// Removes the counts of a part that was added.
  void remove(const TokenCounts& part) {
    if (&part == this) return counts_.clear();
    for (const auto& [token, count] : part.counts_) {
      const auto found = counts_.find(token);
      check(found != counts_.end() && found->second >= count, "TokenCounts: \"", token, "\" was not added ", count,
            " times");
      found->second -= count;
      if (found->second == 0) counts_.erase(found);
    }
  }
  const std::unordered_map<std::string, Index>& counts() const { return counts_; }
  /// Returns the number of all tokens that were added.
  Index total() const {
    Index sum = 0;
    for (const auto& [token, count] : counts_) sum += count;
    return sum;
  }

 private:
  std::unordered_map<std::string, Index> counts_;
};

/// The tokens that a model knows, and their ids. The first three are special: unknown, begin of sentence and end of
/// sentence.
class Vocabulary {
 public:
  static constexpr Token unknown = 0;
  static constexpr Token begin = 1;
  static constexpr Token end = 2;

  /// Holds only the special tokens.
  Vocabulary() : Vocabulary(std::vector<std::string>(specials.begin(), specials.end())) {}

  /// Gives tokens[i] the id i. Throws unless tokens begin with `<unk>`, `<s>`, `</s>`. Throws if one is empty or occurs
  /// twice. where: begins messages; for example, the name of a file.
  explicit Vocabulary(std::vector<std::string> tokens, std::string_view where = "Vocabulary")
      : tokens_(std::move(tokens)) {
    check(tokens_.size() >= specials.size(), where, ": ", tokens_.size(), " tokens, expected at least ",
          specials.size(), ": <unk>, <s>, </s>");
    ids_.reserve(tokens_.size());
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      check(i >= specials.size() || tokens_[i] == specials[i], where, ": token ", i, " is \"", tokens_[i],
            "\", expected \"", specials[std::min<std::size_t>(i, specials.size() - 1)], "\"");
      check(!tokens_[i].empty(), where, ": token ", i, " is empty");
      const auto [entry, is_new] = ids_.emplace(tokens_[i], static_cast<Token>(i));
      check(is_new, where, ": token ", i, ", \"", tokens_[i], "\", is token ", entry->second, " too");
    }
  }

  /// Builds the vocabulary of some sentences: the most frequent tokens first, equally frequent ones ordered by their
  /// bytes. Empty tokens are left out. Throws if an option is negative or max_size is too small for the special tokens.
  static Vocabulary of(std::span<const std::vector<std::string>> sentences, const VocabularyOptions& options = {}) {
    TokenCounts counts;
    for (const std::vector<std::string>& sentence : sentences) counts.add(sentence);
    return of(counts, options);
  }

  /// Builds the vocabulary of counted tokens: the most frequent first, equally frequent ones ordered by their bytes.
  /// Empty tokens are left out. Throws if an option is negative or max_size is too small for the special tokens.
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

  /// The number of tokens, including the special ones.
  Index size() const { return static_cast<Index>(tokens_.size()); }

  bool contains(std::string_view token) const { return ids_.find(token) != ids_.end(); }

  /// Returns the id of a token, or `unknown` if it is not in the vocabulary.
  Token id(std::string_view token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? unknown : found->second;
  }

  /// Returns the token with an id. Throws if there is none.
  const std::string& token(Token id) const {
    check(id >= 0 && static_cast<Index>(id) < size(), "Vocabulary: there is no token ", id, ", only 0 to ", size() - 1);
    return tokens_[static_cast<std::size_t>(id)];
  }

  /// All tokens, ordered by id, as the constructor takes them.
  std::span<const std::string> tokens() const { return tokens_; }

  /// Returns the ids of a sentence's tokens, without adding begin and end tokens. A token that reads `<s>` or `</s>`
  /// becomes unknown, so that text cannot end its own sentence.
  std::vector<Token> encode(std::span<const std::string> sentence) const {
    std::vector<Token> ids;
    ids.reserve(sentence.size());
    for (const std::string& token : sentence) {
      const Token found = id(token);
      ids.push_back(found == begin || found == end ? unknown : found);
    }
    return ids;
  }

  /// Returns the tokens of a sentence, without begin and end tokens. Throws if an id has no token.
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

  // Enables lookup by string_view without constructing a string.
  struct StringHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  std::vector<std::string> tokens_;
  std::unordered_map<std::string, Token, StringHash, std::equal_to<>> ids_;
};

}  // namespace eigenformer::inline EIGENFORMER_ABI
