#include "eigenformer/layers/key_value_cache.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;

TEST_CASE("a cache keeps rows in the order in which they came", "[layers]") {
  ef::KeyValueCache<double> cache;
  const ef::Matrix<double> keys = ef::Matrix<double>::Random(10, 3), values = ef::Matrix<double>::Random(10, 2);
  for (ef::Index i = 0; i < 10; i += 2) cache.append(keys.middleRows(i, 2), values.middleRows(i, 2));
  CHECK(cache.rows() == 10);
  CHECK(cache.keys().value() == keys);
  CHECK(cache.values().value() == values);
  CHECK_THROWS_AS(cache.append(values, values), ef::Error);
}

TEST_CASE("a cache without rows has the width of what was appended, or the width it is asked for", "[layers]") {
  ef::KeyValueCache<float> cache;
  CHECK(ef::shape(cache.keys(5)) == ef::Shape{0, 5});
  const ef::Matrix<float> keys(0, 3), values(0, 2);
  cache.append(keys, values);
  CHECK(ef::shape(cache.keys(5)) == ef::Shape{0, 3});
  CHECK(ef::shape(cache.values()) == ef::Shape{0, 2});
}
