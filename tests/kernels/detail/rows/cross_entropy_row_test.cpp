#include "eigenformer/kernels/detail/rows/cross_entropy_row.hpp"

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
namespace detail = eigenformer::detail;
using ef::testing::message_of;

TEST_CASE("a target has the label's share and that of every class", "[kernels]") {
  const std::vector<double> weights{1, 2, 4, 1};
  const detail::CrossEntropyTarget plain(4, {}), smoothed(4, {.label_smoothing = 0.2, .class_weights = weights});
  CHECK(plain.each == 0);
  CHECK(plain.of_label(2) == 1);
  CHECK(plain.total(2) == 1);
  CHECK(smoothed.each == Approx(0.05));
  CHECK(smoothed.of_label(2) == Approx(0.8 * 4));
  CHECK(smoothed.total(2) == Approx(0.8 * 4 + 0.05 * 8));
}

TEST_CASE("a row's cross entropy is that of its target", "[kernels]") {
  const std::vector<double> logits{0.5, -1, 2};
  const double lse = std::log(std::exp(0.5) + std::exp(-1.0) + std::exp(2.0));
  double log_sum_exp = 0;
  CHECK(detail::cross_entropy_row<double>(logits.data(), 3, 1, detail::CrossEntropyTarget(3, {}), log_sum_exp) ==
        Approx(lse + 1));
  CHECK(log_sum_exp == Approx(lse));
  const detail::CrossEntropyTarget smoothed(3, {.label_smoothing = 0.3});
  CHECK(detail::cross_entropy_row<double>(logits.data(), 3, 1, smoothed, log_sum_exp) ==
        Approx(0.7 * (lse + 1) + 0.3 * (lse - 0.5)));
}

TEST_CASE("rows count by their labels' weights", "[kernels]") {
  const std::vector<ef::Token> labels{0, -100, 2};
  const std::vector<double> weights{1, 2, 4};
  CHECK(detail::check_cross_entropy({3, 3}, labels, {}) == 0.5);
  CHECK(detail::check_cross_entropy({3, 3}, labels, {.class_weights = weights}) == 0.2);
  CHECK(detail::check_cross_entropy({3, 3}, labels, {.reduction = ef::Reduction::sum}) == 1);
  CHECK(message_of([&] {
          detail::check_cross_entropy({3, 2}, labels, {});
        }) == "cross_entropy: the label of row 2 is 2, the size of the vocabulary is 2");
}
