#include "eigenformer/ops/einsum.hpp"

#include "eigenformer/ops/matmul.hpp"
#include "eigenformer/tensors/comparison.hpp"
#include "ops/tensor_ops.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::testing::check_tensor_op;
using Context = ef::Context<double>;
using Inputs = std::vector<ef::Variable<double>>;

TEST_CASE("contractions have gradients", "[ops]") {
  ef::Rng rng(1);
  const auto check = [&](const char* equation, const std::vector<ef::Sizes>& shapes) {
    CAPTURE(equation);
    check_tensor_op(shapes, rng, [&](const Context& c, const Inputs& in) { return ef::einsum(c, equation, in); });
  };
  check("btd,hde->bhte", {{2, 3, 4}, {2, 4, 5}});          // projections
  check("bhqd,bhkd->bhqk", {{2, 2, 3, 4}, {2, 2, 5, 4}});  // scores
  check("bhqk,bhkd->bhqd", {{2, 2, 3, 5}, {2, 2, 5, 4}});  // mixing
  check("bhte,hed->btd", {{2, 2, 3, 4}, {2, 4, 5}});       // output projection
  check("bi,oij,bj->bo", {{3, 2}, {4, 2, 5}, {3, 5}});     // a bilinear form
  check("ii->", {{4, 4}});                                 // a trace
  check("bii->bi", {{3, 4, 4}});                           // diagonals
  check("iij->j", {{3, 3, 4}});
  check("i,j->ij", {{3}, {4}});                     // an outer product
  check("ij,jk,kl->il", {{2, 3}, {3, 4}, {4, 2}});  // three operands
  check("ij,ij->", {{3, 4}, {3, 4}});
  check("ij,k->i", {{3, 4}, {5}});                         // labels that only one operand has
  check("...ij,...jk->...ik", {{2, 1, 3, 4}, {3, 4, 2}});  // an ellipsis that broadcasts
  check("ij,ij->ij", {{1, 4}, {3, 4}});
}

TEST_CASE("products of tensors have gradients in every combination of ranks", "[ops]") {
  ef::Rng rng(2);
  const std::vector<std::vector<ef::Sizes>> shapes{
      {{4}, {4}},       {{4}, {4, 3}},       {{3, 4}, {4}},       {{2, 3, 4}, {4}},
      {{4}, {2, 4, 3}}, {{2, 3, 4}, {4, 5}}, {{3, 4}, {2, 4, 5}}, {{2, 1, 3, 4}, {3, 4, 2}}};
  for (const std::vector<ef::Sizes>& pair : shapes) {
    CAPTURE(pair[0].rank(), pair[1].rank());
    const auto a = ef::testing::random_tensor(pair[0], rng), b = ef::testing::random_tensor(pair[1], rng);
    CHECK(ef::all_close(ef::matmul<double>({}, a, b).tensor(), ef::matmul(a.tensor(), b.tensor())));
    check_tensor_op(pair, rng, [](const Context& c, const Inputs& in) { return ef::matmul(c, in[0], in[1]); });
  }
  CHECK(ef::testing::message_of([] { ef::einsum<double>({}, "i,i->", Inputs{}); }) ==
        "einsum: \"i,i->\" without operands");
}
