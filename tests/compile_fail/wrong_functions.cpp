// Functions that are no scores or masks.
#include <eigenformer/kernels/scores/combine.hpp>
#include <eigenformer/kernels/scores/score_function.hpp>

namespace ef = eigenformer;

void make(int n);

void make(int n) {
  // expected: the function of a score takes the score and its position: ef::score([](auto s, const
  const auto a = ef::score([](float s) { return s; });
  // expected: the function of a score takes the score and its position
  const auto b = ef::score([](auto s, ef::Index query, ef::Index key) { return s * float(query - key); });
  // expected: the function of a score gives the new score
  const auto c = ef::score([](auto, auto) {});
  // expected: the function of a score gives the new score
  const auto d = ef::score([](auto s, auto) { return int(s); });
  // expected: a function that gives a bool is a mask: ef::mask(
  const auto e = ef::score([](auto, auto at) { return at.key <= at.query; });
  // expected: threads share the function of a score: write its lambda without mutable
  const auto f = ef::score([n](auto s, auto) mutable { return s + float(++n); });
  // expected: a mask is a function of a position that gives a bool: ef::mask([](const ef::ScorePosition& at)
  const auto g = ef::mask([](ef::Index query, ef::Index key) { return key <= query; });
  // expected: the function of a mask gives a bool
  const auto h = ef::mask([](auto at) { return at.key <= at.query ? 0.0F : -1e9F; });
  // expected: the function of a mask gives a bool
  const auto i = ef::mask([](auto) {});
  // expected: threads share the function of a mask: write its lambda without mutable
  const auto j = ef::mask([n](auto) mutable { return ++n > 3; });
  // expected: wrap the function in ef::score or ef::mask
  const auto k = ef::combine(ef::Causal{}, [](auto s, auto) { return s; });
}
