#include "eigenformer/tensors/printing.hpp"

#include <limits>
#include <sstream>
#include <vector>

#include "eigenformer/tensors/arithmetic.hpp"
#include "eigenformer/tensors/creation.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "tensors/tensor_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Tensor;
using ef::tensor;
using ef::to_string;

TEST_CASE("tensors are printed in nested brackets", "[tensors]") {
  CHECK(to_string(tensor<int>({{1, 2, 3}, {4, 5, 6}})) ==
        "Tensor [2 x 3]\n"
        "[[1, 2, 3],\n"
        " [4, 5, 6]]");
  CHECK(to_string(tensor<int>({{{1, 20}, {-3, 4}}, {{5, 6}, {7, 8}}})) ==
        "Tensor [2 x 2 x 2]\n"
        "[[[ 1, 20],\n"
        "  [-3,  4]],\n"
        " [[ 5,  6],\n"
        "  [ 7,  8]]]");
  CHECK(to_string(tensor<int>({7})) == "Tensor [1]\n[7]");
  CHECK(to_string(tensor<int>(7)) == "Tensor []\n7");
  CHECK(to_string(Tensor<float>()) == "Tensor [0]\n[]");
  CHECK(to_string(Tensor<float>({2, 0})) == "Tensor [2 x 0]\n[[],\n []]");
  CHECK(to_string(Tensor<float>({0, 2})) == "Tensor [0 x 2]\n[]");
  CHECK(to_string(tensor<bool>({true, false})) == "Tensor [2]\n[ true, false]");
  CHECK(to_string(tensor<std::uint8_t>({65, 200})) == "Tensor [2]\n[ 65, 200]");
}

TEST_CASE("numbers are rounded to some digits, and aligned", "[tensors]") {
  CHECK(to_string(tensor<float>({1, 0.5F, -0.25F})) == "Tensor [3]\n[    1,   0.5, -0.25]");
  CHECK(to_string(tensor<double>({3.14159265, 1e10, -2e-7})) == "Tensor [3]\n[ 3.142,  1e+10, -2e-07]");
  CHECK(to_string(tensor<double>({3.14159265}), {.precision = 7}) == "Tensor [1]\n[3.141593]");
  CHECK(to_string(tensor<double>({-2.0 / 3 * 1e-200}), {.precision = 60}).find("e-201]") != std::string::npos);
  using ef::testing::infinite, ef::testing::not_a_number;
  CHECK(to_string(tensor<double>({not_a_number, -not_a_number, infinite, -infinite})) ==
        "Tensor [4]\n[ nan,  nan,  inf, -inf]");
  CHECK(to_string(tensor<Eigen::half>({Eigen::half(0.5F), Eigen::half(3)})) == "Tensor [2]\n[0.5,   3]");
  CHECK(to_string(tensor<Eigen::bfloat16>({Eigen::bfloat16(0.5F)})) == "Tensor [1]\n[0.5]");
}

TEST_CASE("views and expressions are printed", "[tensors]") {
  const Tensor<int> x = tensor<int>({{1, 2, 3}, {4, 5, 6}});
  CHECK(to_string(x.transpose()) == "Tensor [3 x 2]\n[[1, 4],\n [2, 5],\n [3, 6]]");
  CHECK(to_string(x.slice(1, {.step = -2}) * 10) == "Tensor [2 x 2]\n[[30, 10],\n [60, 40]]");
  CHECK(to_string(x > 3) == "Tensor [2 x 3]\n[[false, false, false],\n [ true,  true,  true]]");
  std::ostringstream stream;
  stream << x.select(0, 1) << '\n' << tensor<int>(3) << '\n' << x.select(0, 0) + 1;
  CHECK(stream.str() == "Tensor [3]\n[4, 5, 6]\nTensor []\n3\nTensor [3]\n[2, 3, 4]");
}

TEST_CASE("tensors without entries are abridged too", "[tensors]") {
  CHECK(to_string(Tensor<float>({0})) == "Tensor [0]\n[]");
  CHECK(to_string(Tensor<float>({20'000'000, 0}), {.edge = 1}) == "Tensor [20000000 x 0]\n[[],\n ...,\n []]");
}

TEST_CASE("large tensors are abridged", "[tensors]") {
  CHECK(to_string(ef::arange<int>(1001)) == "Tensor [1001]\n[   0,    1,    2, ...,  998,  999, 1000]");
  const std::string whole = to_string(ef::arange<int>(1000));
  CHECK(whole.find("...") == std::string::npos);
  CHECK(to_string(ef::arange<int>(8), {.threshold = 7}) == "Tensor [8]\n[0, 1, 2, ..., 5, 6, 7]");
  CHECK(to_string(ef::arange<int>(7), {.threshold = 6}) == "Tensor [7]\n[0, 1, 2, ..., 4, 5, 6]");
  CHECK(to_string(ef::arange<int>(6), {.threshold = 5}) == "Tensor [6]\n[0, 1, 2, 3, 4, 5]");
  CHECK(to_string(ef::arange<int>(8), {.threshold = 7, .edge = 1}) == "Tensor [8]\n[0, ..., 7]");
  // The width is of the numbers that are printed.
  Tensor<int> x = ef::arange<int>(30).reshape({10, 3});
  x(5, 0) = 123456;
  CHECK(to_string(x, {.threshold = 10, .edge = 2}) ==
        "Tensor [10 x 3]\n"
        "[[ 0,  1,  2],\n"
        " [ 3,  4,  5],\n"
        " ...,\n"
        " [24, 25, 26],\n"
        " [27, 28, 29]]");
  CHECK(to_string(ef::arange<int>(64).reshape({2, 4, 8}), {.threshold = 10, .edge = 1}) ==
        "Tensor [2 x 4 x 8]\n"
        "[[[ 0, ...,  7],\n"
        "  ...,\n"
        "  [24, ..., 31]],\n"
        " [[32, ..., 39],\n"
        "  ...,\n"
        "  [56, ..., 63]]]");
}

TEST_CASE("an abridged tensor takes no time for what it leaves out", "[tensors]") {
  const Tensor<int> one({1}, 1);
  const Index many = Index{1} << 40;
  CHECK(to_string(one.view().expand({many})) == "Tensor [1099511627776]\n[1, 1, 1, ..., 1, 1, 1]");
  CHECK(to_string(ef::arange<int>(3), {.threshold = 2, .edge = (std::numeric_limits<Index>::max)()}) ==
        "Tensor [3]\n[0, 1, 2]");
  CHECK(to_string(ef::arange<int>(3), {.threshold = 2, .edge = 0}) == "Tensor [3]\n[...]");
  CHECK(ef::testing::message_of([] { to_string(ef::arange<int>(3), {.edge = -1}); }) ==
        "to_string: edge is -1, expected 0 or more");
}
