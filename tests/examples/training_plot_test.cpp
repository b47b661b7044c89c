#include "translate/training_plot.hpp"

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "examples/well_formed.hpp"
#include "support/catch.hpp"
#include "support/contains.hpp"

namespace ef = eigenformer;
using ef::testing::contains;
using questions::testing::occurrences;
using questions::testing::xml_fault;
using translate::LossCurve;
using translate::svg_training_plot;
using translate::TrainingCurves;

namespace {

/// A loss that is exact in binary, so that means of 2^n updates are too.
double loss_at(ef::Index update) {
  return static_cast<double>(update % 64) / 64;
}

}  // namespace

TEST_CASE("a loss curve of any length has few points, which are means over updates", "[examples]") {
  const ef::Index updates = GENERATE(1, 2, 255, 256, 257, 511, 512, 1000, 5000);
  const ef::Index begin = GENERATE(0, 1, 40);
  CAPTURE(updates, begin);
  LossCurve curve;
  for (ef::Index update = begin + 1; update <= begin + updates; ++update)
    curve.add(update, loss_at(update), 1 / static_cast<double>(update));
  CHECK(curve.begin == begin);
  REQUIRE(curve.losses.size() < LossCurve::max_points);
  REQUIRE(curve.rates.size() == curve.losses.size());
  CHECK((curve.updates_per_point == 1) == (updates < 256));
  ef::Index update = begin;
  for (std::size_t i = 0; i < curve.losses.size(); ++i) {
    double sum = 0;
    while (update < begin + (static_cast<ef::Index>(i) + 1) * curve.updates_per_point) sum += loss_at(++update);
    CHECK(curve.update_of(i) == update);
    CHECK(curve.losses[i] == sum / static_cast<double>(curve.updates_per_point));
    CHECK(curve.rates[i] == 1 / static_cast<double>(update));
  }
  CHECK(update + curve.unfinished == begin + updates);
  double left = 0;
  while (update < begin + updates) left += loss_at(++update);
  CHECK(curve.unfinished_loss == left);
}

TEST_CASE("a training plot is well-formed and marks the best validations", "[examples]") {
  TrainingCurves curves;
  for (ef::Index update = 1; update <= 1000; ++update)
    curves.training.add(update, 2 + 7 * std::exp(-static_cast<double>(update) / 200), 0.00071);
  curves.validations = {{250, 310.5, 3}, {500, 40.25, 21.5}, {750, 12.125, 30.25}, {1000, 12.5, 29}};
  const std::string svg = svg_training_plot(curves, "a <model> & more");
  CHECK(xml_fault(svg).empty());
  CHECK(contains(svg, "a &lt;model&gt; &amp; more"));
  CHECK(occurrences(svg, "<polyline") == 4);
  CHECK(occurrences(svg, "<circle") == 8);
  CHECK(contains(svg, "best 30.25 at update 750"));
  CHECK(contains(svg, "lowest 12.13 at update 750"));
  CHECK(contains(svg, "last 0.00071"));
  CHECK(contains(svg, "means of 4 updates; last 2.0"));
  CHECK(contains(svg, "<title>update 500: 21.50</title>"));
  CHECK(occurrences(svg, "circle class=\"bleu best\"") == 1);
  CHECK(contains(svg, "prefers-color-scheme: dark"));
  for (const char* const label : {">0<", ">200<", ">1000<", ">10<", ">100<", ">0.0004<", ">8<"})
    CHECK(contains(svg, label));
}

TEST_CASE("a training plot writes very small and very large numbers with exponents", "[examples]") {
  struct Written {
    double rate;
    std::vector<std::string> parts;
  };
  for (const Written& each : std::vector<Written>{{4.5e-7, {"last 4.5e-7<", ">0<", ">1e-7<", ">3e-7<", ">5e-7<"}},
                                                  {1.234e-9, {"last 1.23e-9<", ">5e-10<", ">1e-9<", ">1.5e-9<"}},
                                                  {9.999e-6, {"last 0.00001<", ">0.000005<", ">0.00001<"}},
                                                  {0.000071, {"last 0.000071<", ">0.00002<", ">0.00008<"}},
                                                  {0.00071, {"last 0.00071<", ">0.0002<"}},
                                                  {0.5, {"last 0.5<", ">0.2<", ">0.6<"}},
                                                  {3, {"last 3<", ">1<", ">3<"}},
                                                  {120, {"last 120<", ">50<", ">150<"}},
                                                  {2'500'000, {"last 2500000<", ">1000000<", ">3000000<"}},
                                                  {25'000'000, {"last 2.5e7<", ">1e7<", ">3e7<"}}}) {
    TrainingCurves curves;
    curves.training.add(1, 1, each.rate);
    const std::string svg = svg_training_plot(curves, "");
    CAPTURE(each.rate);
    for (const std::string& part : each.parts) {
      CAPTURE(part);
      CHECK(contains(svg, part));
    }
  }
  TrainingCurves curves;  // a loss below 0, and updates and a perplexity far above
  curves.training.add(30'000'000, -0.5, 1);
  curves.training.add(30'000'001, 0.25, 1);
  curves.validations = {{30'000'000, 1e9, 1}, {30'000'001, 2, 1}};
  const std::string svg = svg_training_plot(curves, "");
  for (const char* const label : {">-0.6<", ">-0.4<", ">0.4<", ">5e6<", ">1e7<", ">3e7<", ">1<", ">1000<", ">1e9<"}) {
    CAPTURE(label);
    CHECK(contains(svg, label));
  }
}

TEST_CASE("a training plot has no point outside of its panels", "[examples]") {
  TrainingCurves curves;
  const double perplexity = GENERATE(1.0, 7.5, 1e300);
  const double loss = GENERATE(0.0, 1e-9, 3.0, 123456.0);
  const ef::Index updates = GENERATE(0, 1, 3, 700);
  CAPTURE(perplexity, loss, updates);
  for (ef::Index update = 1; update <= updates; ++update)
    curves.training.add(update, loss * static_cast<double>(1 + update % 3), 1e-12 * static_cast<double>(update % 5));
  if (updates > 0) curves.validations = {{1, perplexity, 0}, {updates, 3, 0}};
  const std::string svg = svg_training_plot(curves, "");
  CHECK(xml_fault(svg).empty());
  CHECK(occurrences(svg, "none yet") == (updates == 0 ? 4 : 0));
  CHECK_FALSE(contains(svg, "nan"));
  CHECK_FALSE(contains(svg, "inf"));
  std::size_t at = 0;
  for (int panel = 0; (at = svg.find(" points=\"", at)) != std::string::npos; ++panel) {
    at += 9;
    const double top = 84 + 160 * panel;
    for (int read = 0; svg[at] != '"'; at += static_cast<std::size_t>(read)) {
      double x = -1, y = -1;
      REQUIRE(std::sscanf(svg.c_str() + at, "%lf,%lf %n", &x, &y, &read) == 2);
      CHECK((x >= 76 && x <= 736));
      CHECK((y >= top && y <= top + 110));
    }
  }
}
