#include "eigenformer/tensors/padding.hpp"

#include <vector>

#include "eigenformer/tensors/elementwise.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/random.hpp"
#include "tensors/tensor_cases.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::RowOffsets;
using ef::Sizes;
using ef::Tensor;
using ef::testing::entry;
using ef::testing::largest_difference;
using ef::testing::message_of;

TEST_CASE("a ragged batch is padded, and unpadded again", "[tensors]") {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    CAPTURE(seed);
    ef::Rng rng(seed);
    std::vector<Index> lengths;
    Index longest = 0;
    for (Index left = rng.randint(5); left > 0; --left) {
      lengths.push_back(rng.randint(6));
      longest = std::max(longest, lengths.back());
    }
    const RowOffsets offsets = RowOffsets::from_lengths(lengths);
    const Index width = rng.randint(4);
    const ef::Matrix<float> rows = ef::testing::random_matrix<float>(offsets.rows(), width, rng);
    const Tensor<float> padded = ef::pad(rows, offsets, -1);
    const Sizes shape{static_cast<Index>(lengths.size()), longest, width};
    CHECK(largest_difference(padded, shape, [&](const Sizes& index) {
            Index row = index[1];
            for (Index s = 0; s < index[0]; ++s) row += lengths[static_cast<std::size_t>(s)];
            const bool is_padding = index[1] >= lengths[static_cast<std::size_t>(index[0])];
            return is_padding ? -1 : static_cast<double>(rows(row, index[2]));
          }) == 0);
    CHECK(ef::unpad(padded, lengths) == rows);
    // Of any strides, and longer than the longest sequence.
    const ef::testing::GuardedView<float> view({shape[0], shape[1] + 2, width}, rng, ef::testing::Repeats::none);
    if (!lengths.empty()) view.view().slice(1, {.end = longest}).array() = padded;
    CHECK(ef::unpad(view.view(), lengths) == rows);
    CHECK(ef::unpad(view.constant(), lengths) == rows);
  }
}

TEST_CASE("expressions and other storage orders are padded", "[tensors]") {
  const Eigen::MatrixXd x = Eigen::MatrixXd::Random(4, 3);
  const RowOffsets offsets{0, 1, 4};
  const Tensor<double> of_product = ef::pad(x * x.transpose(), offsets, 0);
  CHECK(of_product.shape() == Sizes{2, 3, 4});
  CHECK(of_product.matrix(1).isApprox((x * x.transpose()).bottomRows(3)));
  CHECK(of_product.matrix(0).row(1).isZero(0));
  CHECK(ef::pad(x, offsets, 0).matrix(1) == x.bottomRows(3));
  // Without offsets, all rows are one sequence.
  CHECK(ef::pad(x, {}, 0).shape() == Sizes{1, 4, 3});
}

TEST_CASE("offsets and lengths that do not fit", "[tensors]") {
  const ef::Matrix<float> rows = ef::Matrix<float>::Zero(4, 3);
  CHECK(message_of([&] { ef::pad(rows, {0, 2, 5}, 0); }).find("pad: ") == 0);
  const Tensor<float> padded({2, 3, 4});
  const auto unpad = [&](const Tensor<float>& x, std::vector<Index> lengths) {
    return message_of([&] { ef::unpad(x, lengths); });
  };
  CHECK(unpad(padded, {3, 0}) == "nothing was thrown");
  CHECK(unpad(padded, {3}) == "unpad: the number of lengths is 1, the tensor is [2 x 3 x 4], expected 2");
  CHECK(unpad(padded, {1, 4}) == "unpad: a sequence has 4 rows, the tensor is [2 x 3 x 4], expected at most 3 rows");
  CHECK(unpad(padded, {1, -1}).find("RowOffsets") == 0);
  CHECK(unpad(Tensor<float>({3, 4}), {1, 1, 1}) == "unpad: the tensor is [3 x 4], expected [batch x longest x width]");
  CHECK(ef::unpad(Tensor<float>({0, 3, 4}), std::vector<Index>{}).rows() == 0);
  CHECK(ef::unpad(Tensor<float>({2, 0, 4}), std::vector<Index>{0, 0}).cols() == 4);
}
