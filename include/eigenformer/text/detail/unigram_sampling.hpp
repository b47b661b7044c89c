// Random splits by a unigram language model of pieces (Kudo 2018, arXiv 1804.10959).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string_view>
#include <vector>

#include "eigenformer/core/rng.hpp"
#include "eigenformer/text/detail/subword_table.hpp"
#include "eigenformer/text/utf8.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A graph of all ways to split a text. Its nodes are the places between characters, and its edges are pieces. Every
/// path from the first place to the last is one split.
class SubwordLattice {
 public:
  /// Both the text and the table must outlive the lattice.
  SubwordLattice(std::string_view text, const SubwordTable& table) : text_(text) {
    std::vector<std::size_t> places{0};
    std::vector<char32_t> characters;
    for (const CodePoint& c : CodePoints(text, "sample")) {
      places.push_back(places.back() + c.bytes.size());
      characters.push_back(c.value);
    }
    ending_at_.resize(places.size());
    for (std::size_t begin = 0; begin + 1 < places.size(); ++begin) {
      bool has_character = false;  // whether the next character is a piece
      const SubwordTable::Node* node = table.root();
      for (std::size_t end = begin + 1; end < places.size(); ++end) {
        node = table.find_next(node, characters[end - 1]);
        if (node == nullptr) break;  // no piece begins with this text
        if (node->piece == nullptr || node->piece->kind == PieceKind::unused) continue;
        const double score = table.score(*node->piece, end - begin);
        ending_at_[end].push_back({begin, places[begin], places[end], score, true});
        has_character = has_character || end == begin + 1;
      }
      if (!has_character)
        ending_at_[begin + 1].push_back({begin, places[begin], places[begin + 1], table.unknown_score(), false});
    }
  }

  /// Draws a path with a probability in proportion to exp(alpha * score). Sums over all paths forwards, then draws
  /// edges backwards.
  std::vector<SubwordPart> sample(double alpha, Rng& rng) const {
    alpha = std::min<double>(alpha, 1e100);           // keeps sums of alpha * score finite
    std::vector<double> log_sums(ending_at_.size());  // over all paths to each place
    for (std::size_t place = 1; place < ending_at_.size(); ++place) {
      double largest = -std::numeric_limits<double>::infinity(), sum = 0;
      for (const Edge& edge : ending_at_[place])
        largest = std::max<double>(largest, log_sums[edge.from] + alpha * edge.score);
      for (const Edge& edge : ending_at_[place]) sum += std::exp(log_sums[edge.from] + alpha * edge.score - largest);
      log_sums[place] = largest + std::log(sum);
    }
    std::vector<SubwordPart> parts;
    for (std::size_t place = ending_at_.size() - 1; place > 0;) {
      double left = rng.uniform();
      const Edge* drawn = nullptr;
      for (const Edge& edge : ending_at_[place]) {
        drawn = &edge;
        left -= std::exp(log_sums[edge.from] + alpha * edge.score - log_sums[place]);
        if (left < 0) break;
      }
      parts.push_back(part(*drawn));
      place = drawn->from;
    }
    std::reverse(parts.begin(), parts.end());
    return parts;
  }

  /// Draws one of the `count` best paths with a probability in proportion to exp(alpha * score).
  std::vector<SubwordPart> sample_best(double alpha, std::size_t count, Rng& rng) const {
    std::vector<std::vector<Path>> best(ending_at_.size());  // to each place, the best first
    best[0].push_back({});
    for (std::size_t place = 1; place < ending_at_.size(); ++place) {
      std::vector<Path> paths;
      for (const Edge& edge : ending_at_[place])
        for (std::size_t rank = 0; rank < best[edge.from].size(); ++rank)
          paths.push_back({best[edge.from][rank].score + edge.score, &edge, rank});
      const auto is_better = [](const Path& a, const Path& b) { return a.score > b.score; };
      std::stable_sort(paths.begin(), paths.end(), is_better);
      paths.resize(std::min<std::size_t>(paths.size(), count));
      best[place] = std::move(paths);
    }

    const std::vector<Path>& whole = best.back();
    double sum = 0;
    for (const Path& path : whole) sum += std::exp(alpha * (path.score - whole.front().score));
    double left = rng.uniform() * sum;
    const Path* drawn = nullptr;
    for (const Path& path : whole) {
      drawn = &path;
      left -= std::exp(alpha * (path.score - whole.front().score));
      if (left < 0) break;
    }
    std::vector<SubwordPart> parts;
    for (; drawn->last != nullptr; drawn = &best[drawn->last->from][drawn->rank]) parts.push_back(part(*drawn->last));
    std::reverse(parts.begin(), parts.end());
    return parts;
  }

 private:
  struct Edge {
    std::size_t from = 0;            // the place where it begins
    std::size_t begin = 0, end = 0;  // in the text
    double score = 0;
    bool known = true;
  };
  /// A path from the first place. It ends with the edge `last`, after path number `rank` of the best paths to its
  /// start.
  struct Path {
    double score = 0;
    const Edge* last = nullptr;
    std::size_t rank = 0;
  };

  SubwordPart part(const Edge& edge) const { return {text_.substr(edge.begin, edge.end - edge.begin), edge.known}; }

  std::string_view text_;
  std::vector<std::vector<Edge>> ending_at_;  // the edges that end at each place
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
