#include "eigenformer/kernels/scores/relative_bias.hpp"

#include "eigenformer/kernels/scores/score_traits.hpp"
#include "kernels/scores/naive_bucket.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using namespace ef::testing;

static_assert(ef::Score<ef::RelativeBias<float>> && ef::ScoreTraits<ef::RelativeBias<float>>::changes_values);
static_assert(ef::ScoreTraits<ef::RelativeBias<float>>::sequences_share_gradient);
static_assert(!ef::ScoreTraits<ef::RelativeBias<float>>::heads_share_gradient);

TEST_CASE("T5's buckets", "[kernels]") {
  for (const ef::RelativeBuckets& b :
       {ef::RelativeBuckets{32, 128, true}, {32, 128, false}, {8, 20, true}, {4, 3, true}})
    for (Index distance = -300; distance <= 300; ++distance) CHECK(b.bucket(distance) == naive_bucket(-distance, b));
  // As the published models have them: distances to keys before and after, where buckets begin.
  const ef::RelativeBuckets t5;
  const Index begins[][2] = {{0, 0},   {1, 1},     {7, 7},   {8, 8},   {11, 8},  {12, 9},    {16, 10},
                             {91, 15}, {1000, 15}, {-1, 17}, {-7, 23}, {-8, 24}, {-1000, 31}};
  for (const auto& [distance, bucket] : begins) CHECK(t5.bucket(distance) == bucket);
}

TEST_CASE("a relative bias that makes no sense says so", "[kernels]") {
  const Matrix<float> weights = Matrix<float>::Zero(32, 3);
  const auto message = [&](const ef::RelativeBuckets& buckets) {
    return message_of([&] { ef::RelativeBias<float>(ef::strided_view(weights), buckets); });
  };
  CHECK(message({32, 9, true}) == "nothing was thrown");
  CHECK(message({30, 128, true}) == "RelativeBias: weights have 32 rows, expected 30, one per bucket");
  CHECK(message({3, 128, true}) == "RelativeBias: buckets is 3, expected at least 4");
  CHECK(message({1, 128, false}) == "RelativeBias: buckets is 1, expected at least 2");
  CHECK(message({32, 8, true}) ==
        "RelativeBias: max_distance is 8, expected more than 8, the number of distances with a bucket of their own");
}
