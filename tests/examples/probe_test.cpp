#include "questions/support/probe.hpp"

#include "eigenformer/core/rng.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;

namespace {

/// Returns rows of noise with `signal` added to the column of the class of the row.
ef::Matrix<float> rows_with(double signal, const std::vector<ef::Token>& classes, ef::Rng& rng) {
  ef::Matrix<float> x(static_cast<ef::Index>(classes.size()), 12);
  for (ef::Index i = 0; i < x.size(); ++i) x.data()[i] = 100 + static_cast<float>(rng.normal());
  for (std::size_t i = 0; i < classes.size(); ++i)
    x(static_cast<ef::Index>(i), classes[i]) += static_cast<float>(signal);
  return x;
}

}  // namespace

TEST_CASE("a linear probe reads off what is there, and guesses what is not", "[examples]") {
  const std::uint64_t seed = 7;
  CAPTURE(seed);
  ef::Rng rng(seed);
  std::vector<ef::Token> learnt, unseen;
  for (int i = 0; i < 800; ++i) {
    learnt.push_back(static_cast<ef::Token>(rng.randint(4)));
    unseen.push_back(static_cast<ef::Token>(rng.randint(4)));
  }
  const auto read = [&](double signal) {
    const ef::Matrix<float> a = rows_with(signal, learnt, rng), b = rows_with(signal, unseen, rng);
    return questions::linear_probe(a, learnt, b, unseen, 4);
  };
  CHECK(read(8) > 0.99);
  CHECK(read(0) < 0.35);
  const double some = read(1);
  CHECK(some > 0.4);
  CHECK(some < 0.9);

  const ef::Matrix<float> same = ef::Matrix<float>::Ones(800, 3);  // all rows are equal
  const double alike = questions::linear_probe(same, learnt, same, unseen, 4);
  CHECK(alike > 0.15);
  CHECK(alike < 0.35);
}

TEST_CASE("a linear probe wants a class for each row", "[examples]") {
  const ef::Matrix<float> x = ef::Matrix<float>::Zero(3, 2);
  const std::vector<ef::Token> two{0, 1}, three{0, 1, 0};
  CHECK_THROWS_AS(questions::linear_probe(x, two, x, three, 2), ef::Error);
  CHECK_THROWS_AS(questions::linear_probe(x, three, x, two, 2), ef::Error);
  CHECK_THROWS_AS(questions::linear_probe(x.topRows(0), {}, x, three, 2), ef::Error);
}
