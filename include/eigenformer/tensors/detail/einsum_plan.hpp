// What an einsum equation says, and in which order its operands are contracted. It does not depend on a scalar type.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eigenformer/core/sizes.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// A set of labels. Labels 0 to 51 are letters. The dimensions of an ellipsis are 52, 53, .., counted from the last.
using LabelSet = std::uint64_t;
inline constexpr int first_ellipsis_label = 52;

inline LabelSet label_set(const Sizes& labels) {
  LabelSet set = 0;
  for (const Index label : labels) set |= LabelSet{1} << label;
  return set;
}
inline bool contains(LabelSet set, Index label) {
  return (set >> label & 1U) != 0;
}
/// Returns the labels that are in the set, in their order.
inline Sizes labels_in(const Sizes& labels, LabelSet set) {
  Sizes chosen;
  for (const Index label : labels)
    if (contains(set, label)) chosen.push_back(label);
  return chosen;
}

/// An equation such as "bhqd,bhkd->bhqk": the labels of each operand's dimensions and of the result's, and the sizes of
/// labels.
struct EinsumEquation {
  std::string text;  // for messages
  std::vector<Sizes> operands;
  Sizes result;
  std::array<Index, 64> size_of{};
};

/// Returns a list of labels. Throws if there are more than eight.
inline Sizes checked_labels(std::string_view equation, const std::vector<Index>& labels) {
  check(labels.size() <= Sizes::max_rank, "einsum: \"", equation, "\": a tensor of ", labels.size(),
        " dimensions, expected at most ", Sizes::max_rank);
  return Sizes(std::span<const Index>(labels));
}

/// Parses one term of an equation for a tensor of `rank` dimensions. An ellipsis stands for all dimensions without a
/// letter.
inline Sizes parse_term(std::string_view equation, std::string_view term, int rank) {
  std::vector<Index> labels;
  int letters = 0;
  for (const char c : term) letters += c >= 'A' && c != '.' ? 1 : 0;
  bool has_ellipsis = false;
  for (std::size_t i = 0; i < term.size(); ++i) {
    const char c = term[i];
    if (c == ' ') continue;
    if (c == '.') {
      check(term.substr(i, 3) == "..." && !has_ellipsis, "einsum: \"", equation, "\": expected letters and one ...");
      has_ellipsis = true;
      for (int k = rank - letters; k > 0; --k) labels.push_back(first_ellipsis_label + k - 1);
      i += 2;
      continue;
    }
    const bool is_upper = c >= 'A' && c <= 'Z', is_lower = c >= 'a' && c <= 'z';
    check(is_upper || is_lower, "einsum: \"", equation, "\": '", c, "' is not a letter");
    labels.push_back(is_upper ? c - 'A' : c - 'a' + 26);
  }
  check(static_cast<int>(labels.size()) == rank, "einsum: \"", equation, "\": \"", term, "\" for a tensor of rank ",
        rank);
  return checked_labels(equation, labels);
}

/// Parses an equation for operands of these shapes. Without "->" the result has the labels that occur once, in
/// alphabetical order, after the ellipsis. Throws if the equation does not fit the shapes.
inline EinsumEquation parse_einsum(std::string_view equation, const std::vector<Sizes>& shapes) {
  EinsumEquation parsed;
  parsed.text = equation;
  const std::size_t arrow = equation.find("->");
  std::string_view terms = equation.substr(0, arrow);
  const auto expected = static_cast<std::size_t>(1 + std::count(terms.begin(), terms.end(), ','));
  check(shapes.size() == expected, "einsum: \"", equation, "\": the number of operands is ", shapes.size(),
        ", expected ", expected);
  std::array<int, 64> count{};
  int ellipsis = 0;
  for (std::size_t k = 0; k < shapes.size(); ++k) {
    const std::size_t comma = terms.find(',');
    parsed.operands.push_back(parse_term(equation, terms.substr(0, comma), shapes[k].rank()));
    terms.remove_prefix(comma == std::string_view::npos ? terms.size() : comma + 1);
    for (int d = 0; d < shapes[k].rank(); ++d) {
      const Index label = parsed.operands[k][d];
      Index& size = parsed.size_of[static_cast<std::size_t>(label)];
      int& seen = count[static_cast<std::size_t>(label)];
      for (int before = 0; before < d; ++before)  // a diagonal does not broadcast
        check(parsed.operands[k][before] != label || shapes[k][before] == shapes[k][d], "einsum: \"", equation,
              "\": one label has sizes ", shapes[k][before], " and ", shapes[k][d],
              " in one operand, expected equal sizes");
      check(seen == 0 || size == shapes[k][d] || size == 1 || shapes[k][d] == 1, "einsum: \"", equation,
            "\": one label has sizes ", size, " and ", shapes[k][d], ", expected equal sizes, or 1");
      size = seen++ == 0 || size == 1 ? shapes[k][d] : size;
      ellipsis = std::max<int>(ellipsis, static_cast<int>(label) - first_ellipsis_label + 1);
    }
  }
  if (arrow != std::string_view::npos) {
    const std::string_view term = equation.substr(arrow + 2);
    int rank = term.find("...") == std::string_view::npos ? 0 : ellipsis;
    for (const char c : term) rank += c >= 'A' ? 1 : 0;
    parsed.result = parse_term(equation, term, rank);
  } else {
    std::vector<Index> labels;
    for (int k = ellipsis; k > 0; --k) labels.push_back(first_ellipsis_label + k - 1);
    for (Index label = 0; label < first_ellipsis_label; ++label)
      if (count[static_cast<std::size_t>(label)] == 1) labels.push_back(label);
    parsed.result = checked_labels(equation, labels);
  }
  check(std::popcount(label_set(parsed.result)) == parsed.result.rank(), "einsum: \"", equation,
        "\": the result names a label twice");
  for (const Index label : parsed.result)
    check(count[static_cast<std::size_t>(label)] > 0, "einsum: \"", equation,
          "\": the result has a label that no operand has");
  return parsed;
}

/// A step of a contraction: operands `left` and `right` are replaced by their contraction, at the end of the list.
struct EinsumStep {
  std::size_t left, right;
};

/// Chooses the order of contractions. A contraction costs the product of all its sizes.
/// - Up to six operands: takes the cheapest of all orders.
/// - More: contracts the cheapest pair until six are left.
/// Skips steps whose result has more than eight dimensions; steps() is empty if no order is left.
class EinsumOrder {
 public:
  EinsumOrder(const std::vector<LabelSet>& operands, LabelSet result, const std::array<Index, 64>& size_of)
      : result_(result), size_of_(size_of) {
    search(operands, 0);
  }
  const std::vector<EinsumStep>& steps() const { return best_; }

  /// The largest number of operands for which all orders are tried.
  static constexpr std::size_t max_searched = 6;

 private:
  double cost(LabelSet labels) const {
    double product = 1;
    for (std::size_t label = 0; label < size_of_.size(); ++label)
      if (contains(labels, static_cast<Index>(label))) product *= static_cast<double>(size_of_[label]);
    return product;
  }
  void search(const std::vector<LabelSet>& operands, double cost_so_far) {
    if (cost_so_far >= best_cost_) return;
    if (operands.size() < 2) {
      best_ = steps_;
      best_cost_ = cost_so_far;
      return;
    }
    std::optional<EinsumStep> cheapest;
    const auto cost_of = [&](const EinsumStep& s) { return cost(operands[s.left] | operands[s.right]); };
    for (std::size_t i = 0; i < operands.size(); ++i)
      for (std::size_t j = i + 1; j < operands.size(); ++j) {
        const EinsumStep step{i, j};
        if (std::popcount(contraction(operands, step)) > Sizes::max_rank) continue;
        if (operands.size() <= max_searched)
          take(operands, step, cost_so_far + cost_of(step));
        else if (!cheapest.has_value() || cost_of(step) < cost_of(*cheapest))
          cheapest = step;
      }
    if (cheapest.has_value()) take(operands, *cheapest, cost_so_far + cost_of(*cheapest));
  }
  /// The labels that a step leaves: those that the result or another operand needs.
  LabelSet contraction(const std::vector<LabelSet>& operands, const EinsumStep& step) const {
    LabelSet needed = result_;
    for (std::size_t k = 0; k < operands.size(); ++k)
      if (k != step.left && k != step.right) needed |= operands[k];
    return (operands[step.left] | operands[step.right]) & needed;
  }
  void take(const std::vector<LabelSet>& operands, const EinsumStep& step, double cost_so_far) {
    std::vector<LabelSet> left;
    for (std::size_t k = 0; k < operands.size(); ++k)
      if (k != step.left && k != step.right) left.push_back(operands[k]);
    left.push_back(contraction(operands, step));
    steps_.push_back(step);
    search(left, cost_so_far);
    steps_.pop_back();
  }

  const LabelSet result_;
  const std::array<Index, 64>& size_of_;
  std::vector<EinsumStep> steps_, best_;
  double best_cost_ = std::numeric_limits<double>::infinity();
};

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
