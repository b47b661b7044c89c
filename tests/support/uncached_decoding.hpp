// The reference for tests of step-by-step decoding: decoding without a cache.
#pragma once

#include <span>
#include <vector>

#include "eigenformer/text/tokens.hpp"

namespace eigenformer::testing {

/// A step function that runs the model over all tokens so far in every step.
template <class Model>
struct Uncached {
  const Model& model;
  const Tokens& source;
  std::vector<std::vector<Token>> prefixes = {};
  std::vector<Index> sentences = {};
  bool begun = false;

  Matrix<double> operator()(std::span<const Index> parents, std::span<const Token> tokens) {
    std::vector<std::vector<Token>> next, sources;
    std::vector<Index> next_sentences;
    for (std::size_t i = 0; i < parents.size(); ++i) {
      const auto parent = static_cast<std::size_t>(parents[i]);
      next.push_back(begun ? prefixes[parent] : std::vector<Token>{});
      next.back().push_back(tokens[i]);
      next_sentences.push_back(begun ? sentences[parent] : parents[i]);
      const auto s = source[next_sentences.back()];
      sources.emplace_back(s.begin(), s.end());
    }
    begun = true;
    prefixes = next;
    sentences = next_sentences;
    const Tokens target = Tokens::of(prefixes);
    const Matrix<double> all = model({}, Tokens::of(sources), target).value();
    Matrix<double> last(target.sequences(), all.cols());
    for (Index i = 0; i < last.rows(); ++i) last.row(i) = all.row(target.rows.end(i) - 1);
    return last;
  }
};

template <class Model>
Uncached(const Model&, const Tokens&) -> Uncached<Model>;

}  // namespace eigenformer::testing
