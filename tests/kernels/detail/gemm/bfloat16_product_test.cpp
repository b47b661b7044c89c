#include "eigenformer/kernels/detail/gemm/bfloat16_product.hpp"

#include <functional>

#include "kernels/kernel_checks.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::Index;
using ef::Matrix;
using ef::Threads;
using ef::detail::BlockCallback;
using namespace ef::testing;

namespace {

using Kernel = std::function<void(const ef::detail::Product<float>&, Threads*, BlockCallback)>;

/// Every kernel for bfloat16 products that this machine can run, by name.
std::vector<std::pair<std::string, Kernel>> bfloat16_kernels() {
  std::vector<std::pair<std::string, Kernel>> kernels{
      {"rounded copies", ef::detail::multiply_rounded_copies},
      {"portable unit",
       [](const auto& product, Threads* threads, BlockCallback epilogue) {
         ef::detail::multiply_on_unit(ef::matrix_unit::Portable<Eigen::bfloat16>(), product, threads, epilogue);
       }},
      {"chosen", ef::detail::multiply_bfloat16<float>}};
  return kernels;
}

Matrix<double> as_bfloat16(const Matrix<float>& x) {
  return x.cast<Eigen::bfloat16>().cast<float>().cast<double>();
}

/// A product C = start + A B, with A and B stored as they are or transposed.
struct RoundedProduct {
  Matrix<float> a, b, start;  // [rows x depth], [depth x cols], [rows x cols]
  bool transposes_a = false, transposes_b = false;

  RoundedProduct(Index rows, Index depth, Index cols, ef::Rng& rng)
      : a(random_matrix<float>(rows, depth, rng)),
        b(random_matrix<float>(depth, cols, rng)),
        start(random_matrix<float>(rows, cols, rng)) {}

  enum class Start { zeros, row, matrix };

  /// Returns the product of `rows` rows from first_row on; rows < 0: of all. Checks that the kernel finishes each entry
  /// once and writes nothing beyond the result.
  Matrix<float> compute(const Kernel& kernel, Start from, Threads* threads = nullptr, Index first_row = 0,
                        Index rows = -1) const {
    const Index count = rows < 0 ? a.rows() : rows;
    const Matrix<float> own_a = a.middleRows(first_row, count), a_transposed = own_a.transpose(),
                        b_transposed = b.transpose();
    Surrounded<float> c(Matrix<float>::Constant(count, b.cols(), 99));
    if (from == Start::matrix) c.inside() = start.middleRows(first_row, count);
    const ef::detail::ContiguousRows<float> to{c.inside().data(), c.inside().outerStride()};
    Matrix<int> finished = Matrix<int>::Zero(count, b.cols());
    const auto finish = [&](Index i, Index block_rows, Index j, Index cols) {
      finished.block(i, j, block_rows, cols).array() += 1;
    };
    kernel({.rows = count,
            .cols = b.cols(),
            .depth = a.cols(),
            .a = transposes_a ? ef::detail::Strided<float>{a_transposed.data(), 1, count}
                              : ef::detail::Strided<float>{own_a.data(), a.cols(), 1},
            .b = transposes_b ? ef::detail::Strided<float>{b_transposed.data(), 1, b.rows()}
                              : ef::detail::Strided<float>{b.data(), b.cols(), 1},
            .start = from == Start::zeros ? ef::detail::ContiguousRows<const float>{nullptr, 0}
                     : from == Start::row ? ef::detail::ContiguousRows<const float>{start.data(), 0}
                                          : ef::detail::ContiguousRows<const float>{to.data, to.stride},
            .c = to},
           threads, finish);
    CHECK((finished.array() == 1).all());
    const Matrix<float> result = c.inside();
    CHECK(c.rest_is_untouched());
    return result;
  }

  /// Returns the largest error of c in units of its bound: depth + 2 roundings of the sum of magnitudes.
  double error(const Matrix<float>& c, Start from) const {
    Matrix<double> expected = as_bfloat16(a) * as_bfloat16(b),
                   bound = as_bfloat16(a).cwiseAbs() * as_bfloat16(b).cwiseAbs();
    if (from != Start::zeros) {
      const Matrix<double> added =
          from == Start::row ? start.row(0).replicate(a.rows(), 1).cast<double>().eval() : start.cast<double>().eval();
      expected += added;
      bound += added.cwiseAbs();
    }
    const double epsilon = rounding<float>(static_cast<double>(a.cols()) + 2);
    return ((c.cast<double>() - expected).cwiseAbs().array() / (epsilon * bound.array() + 1e-30)).maxCoeff();
  }
};

}  // namespace

TEST_CASE("bfloat16 products round their operands and sum in float", "[kernels][threads]") {
  const std::uint64_t seed = 72;
  CAPTURE(seed);
  ef::Rng rng(seed);
  using Start = RoundedProduct::Start;
  for (const auto& [name, kernel] : bfloat16_kernels())
    for (Index size = 1; size <= 40; ++size)
      for (int form = 0; form < 4; ++form) {
        RoundedProduct product(size, 1 + rng.randint(70), 1 + rng.randint(40), rng);
        product.transposes_a = form % 2 == 1;
        product.transposes_b = form / 2 == 1;
        const Start start = std::array{Start::zeros, Start::row, Start::matrix}[static_cast<std::size_t>(size % 3)];
        CAPTURE(name, size, form, product.a.cols(), product.b.cols());
        CHECK(product.error(product.compute(kernel, start), start) <= 1);
      }
}

TEST_CASE("bfloat16 products do not depend on threads or on other rows", "[kernels][threads]") {
  const std::uint64_t seed = 73;
  CAPTURE(seed);
  ef::Rng rng(seed);
  ef::ThreadPool two(2), three(3);
  const RoundedProduct::Start zeros = RoundedProduct::Start::zeros;
  for (const auto& [name, kernel] : bfloat16_kernels()) {
    const RoundedProduct product(150, 1100, 301, rng);  // several tasks, and several pieces of the depth
    CAPTURE(name);
    const Matrix<float> whole = product.compute(kernel, zeros);
    CHECK(product.error(whole, zeros) <= 1);
    CHECK(identical<float>(product.compute(kernel, zeros, &two), whole));
    CHECK(identical<float>(product.compute(kernel, zeros, &three), whole));
    for (const Index rows : {1, 2, 3, 5, 17, 100}) {
      CAPTURE(rows);
      CHECK(identical<float>(product.compute(kernel, zeros, nullptr, 37, rows), whole.middleRows(37, rows)));
    }
  }
}

TEST_CASE("bfloat16 products without depth return the start", "[kernels][threads]") {
  ef::Rng rng(74);
  for (const auto& [name, kernel] : bfloat16_kernels()) {
    CAPTURE(name);
    const RoundedProduct no_depth(3, 0, 5, rng), no_rows(0, 4, 5, rng), no_cols(3, 4, 0, rng);
    CHECK((no_depth.compute(kernel, RoundedProduct::Start::zeros).array() == 0).all());
    CHECK(identical<float>(no_depth.compute(kernel, RoundedProduct::Start::matrix), no_depth.start));
    CHECK(no_rows.compute(kernel, RoundedProduct::Start::zeros).rows() == 0);
    CHECK(no_cols.compute(kernel, RoundedProduct::Start::zeros).cols() == 0);
  }
}

TEST_CASE("products of doubles have no bfloat16 precision", "[kernels]") {
  const Matrix<double> a = Matrix<double>::Ones(2, 2);
  Matrix<double> c(2, 2);
  CHECK(message_of([&] {
          ef::detail::multiply<double>({.rows = 2,
                                        .cols = 2,
                                        .depth = 2,
                                        .a = {a.data(), 2, 1},
                                        .b = {a.data(), 2, 1},
                                        .start = {},
                                        .c = {c.data(), 2}},
                                       ef::ProductOptions(nullptr, ef::Precision::bfloat16));
        }) == "matmul: the precision is bfloat16, but the matrices are not of floats; expected precision float32");
}
