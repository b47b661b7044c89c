#include "eigenformer/autograd/gradients.hpp"

#include "eigenformer/core/thread_pool.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"

namespace ef = eigenformer;

TEST_CASE("gradients are summed until they are cleared, in the same memory", "[autograd]") {
  const ef::Parameter<double> a(2, 2), b(1, 3);
  ef::Gradients<double> gradients;
  REQUIRE(gradients.find(a) == nullptr);
  REQUIRE(gradients[a].isZero(0));

  const ef::Matrix<double> ones = ef::Matrix<double>::Ones(2, 2);
  const ef::ConstMatrixMap<double> map(ones.data(), 2, 2);
  gradients.add(a, map);
  gradients.add(a, map);
  REQUIRE(gradients[a] == 2 * ones);
  REQUIRE(gradients.find(b) == nullptr);

  const double* memory = gradients.find(a)->data();
  gradients.clear();
  REQUIRE(gradients.find(a) == nullptr);
  gradients.add(a, map);
  REQUIRE(gradients[a] == ones);
  REQUIRE(gradients.find(a)->data() == memory);
}

TEST_CASE("gradients of two batches are added, and one can be overwritten", "[autograd]") {
  const ef::Parameter<double> a(2, 2), b(1, 3), c(1, 1);
  const ef::Matrix<double> ones = ef::Matrix<double>::Ones(2, 2), row = ef::Matrix<double>::Constant(1, 3, 5);
  ef::Gradients<double> first, second;
  first.add(a, ef::ConstMatrixMap<double>(ones.data(), 2, 2));
  second.add(a, ef::ConstMatrixMap<double>(ones.data(), 2, 2));
  second.add(b, ef::ConstMatrixMap<double>(row.data(), 1, 3));
  second.writable(c)(0, 0) = 1;
  second.clear();
  second.add(a, ef::ConstMatrixMap<double>(ones.data(), 2, 2));
  second.add(b, ef::ConstMatrixMap<double>(row.data(), 1, 3));
  first.add(second);
  REQUIRE(first[a] == 2 * ones);
  REQUIRE(first[b] == row);
  REQUIRE(first.find(c) == nullptr);
  first.writable(c)(0, 0) = 7;
  REQUIRE(first[c](0, 0) == 7);
  REQUIRE(second[a] == ones);
}

TEST_CASE("gradients of two batches have the same sum with any number of threads", "[autograd][threads]") {
  const ef::Parameter<float> large(701, 307), small(1, 3), empty(0, 4), only_second(3, 5);
  ef::Rng rng(1);
  ef::Gradients<float> second, alone;
  const auto fill = [&](ef::Gradients<float>& gradients, const ef::Parameter<float>& parameter) {
    gradients.writable(parameter) =
        ef::testing::random_matrix<float>(parameter.value.rows(), parameter.value.cols(), rng);
  };
  for (const ef::Parameter<float>* parameter : {&large, &small, &empty}) {
    fill(second, *parameter);
    fill(alone, *parameter);
  }
  fill(second, only_second);
  const ef::Matrix<float> expected = alone[large] + second[large];
  for (const int threads : {2, 3}) {
    CAPTURE(threads);
    ef::ThreadPool pool(threads);
    ef::Gradients<float> together = alone;
    together.add(second, &pool);
    CHECK(together[large] == expected);
    CHECK(together[small] == alone[small] + second[small]);
    CHECK(together[only_second] == second[only_second]);
    CHECK(together[empty].size() == 0);
  }
  alone.add(second);
  CHECK(alone[large] == expected);
}

TEST_CASE("a parameter whose shape changed gets no gradient on top of that of the old shape", "[autograd]") {
  ef::Parameter<double> parameter(1, 2);
  const ef::Matrix<double> small = ef::Matrix<double>::Ones(1, 2), large = ef::Matrix<double>::Ones(300, 2);
  const ef::ConstMatrixMap<double> of_small(small.data(), 1, 2), of_large(large.data(), 300, 2);
  ef::Gradients<double> gradients, other;
  gradients.add(parameter, of_small);
  parameter.value = large;
  other.add(parameter, of_large);
  const std::string expected =
      "Gradients::add: the gradient is [300 x 2], expected [1 x 2], the shape of this parameter's gradients since the "
      "last clear()";
  CHECK(ef::testing::message_of([&] { gradients.add(parameter, of_large); }) == expected);
  CHECK(ef::testing::message_of([&] { gradients.add(other); }) == expected);
  CHECK(*gradients.find(parameter) == small);
  gradients.clear();
  gradients.add(parameter, of_large);
  CHECK(gradients[parameter] == large);
}
