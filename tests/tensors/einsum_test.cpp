#include "eigenformer/tensors/einsum.hpp"

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "eigenformer/core/thread_pool.hpp"
#include "support/approx.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "tensors/tensor_cases.hpp"

namespace ef = eigenformer;
using ef::einsum;
using ef::Index;
using ef::Sizes;
using ef::Tensor;
using ef::TensorView;
using ef::testing::entries_of;
using ef::testing::entry;
using ef::testing::for_each_index;
using ef::testing::GuardedView;
using ef::testing::largest_difference;
using ef::testing::message_of;
using ef::testing::rounding;

namespace {

// Einstein's sum by a loop over the result's labels and one over the others. Each operand's and the result's labels are
// one character for each dimension; dimensions of one entry broadcast.
template <class Scalar>
Tensor<double> naive_einsum(const std::vector<std::string>& labels, const std::string& result,
                            const std::vector<TensorView<const Scalar>>& operands) {
  std::map<char, Index> size_of, index_of;
  for (std::size_t k = 0; k < operands.size(); ++k)
    for (std::size_t d = 0; d < labels[k].size(); ++d) {
      const auto [place, is_new] = size_of.emplace(labels[k][d], 1);
      const Index n = operands[k].shape()[static_cast<int>(d)];
      if (n != 1) place->second = n;
    }
  std::string summed;
  Sizes shape, summed_shape;
  for (const char label : result) shape.push_back(size_of.at(label));
  for (const auto& [label, n] : size_of)
    if (result.find(label) == std::string::npos) {
      summed += label;
      summed_shape.push_back(n);
    }
  const auto set_indices = [&](const std::string& of, const Sizes& index) {
    for (std::size_t d = 0; d < of.size(); ++d) index_of[of[d]] = index[static_cast<int>(d)];
  };
  Tensor<double> sums(shape);
  for_each_index(shape, [&](const Sizes& index) {
    set_indices(result, index);
    double& sum = sums.data()[ef::testing::offset_of(sums.strides(), index)];
    for_each_index(summed_shape, [&](const Sizes& inner) {
      set_indices(summed, inner);
      double product = 1;
      for (std::size_t k = 0; k < operands.size(); ++k) {
        Sizes at = operands[k].shape();
        for (int d = 0; d < at.rank(); ++d) at[d] = at[d] == 1 ? 0 : index_of[labels[k][static_cast<std::size_t>(d)]];
        product *= static_cast<double>(entry(operands[k], at));
      }
      sum += product;
    });
  });
  return sums;
}

// A random equation and its operands. Dimensions of an ellipsis have the labels '0', '1' ..; '0' is the last.
template <class Scalar>
struct RandomEinsum {
  std::string equation, result;
  std::vector<std::string> labels;
  std::vector<std::unique_ptr<GuardedView<Scalar>>> operands;
  std::vector<TensorView<const Scalar>> views;

  RandomEinsum(ef::Rng& rng, Index largest) {
    const std::string alphabet = "aZbYcxXq";
    const int letters = 1 + static_cast<int>(rng.randint(5)), first = static_cast<int>(rng.randint(4));
    std::map<char, Index> size_of;
    const auto random_size = [&] { return rng.randint(20) == 0 ? 0 : 1 + rng.randint(largest); };
    const auto letter = [&] { return alphabet[static_cast<std::size_t>(first + rng.randint(letters)) % 8]; };
    for (const char c : alphabet + "012") size_of[c] = random_size();
    const auto spaces = [&] { return std::string(rng.randint(8) == 0 ? 1 : 0, ' '); };
    int ellipsis = 0;
    bool has_ellipsis = false;
    std::map<char, int> count;
    for (Index k = 0, many = 1 + rng.randint(4); k < many; ++k) {
      std::string own, text;
      const Index rank = rng.randint(5), place = rng.randint(4) == 0 ? rng.randint(rank + 1) : -1;
      for (Index d = 0; d <= rank; ++d) {
        if (d == place) {
          has_ellipsis = true;
          text += "..." + spaces();
          const int own_rank = static_cast<int>(rng.randint(3));
          ellipsis = std::max(ellipsis, own_rank);
          for (int e = own_rank; e-- > 0;) own += static_cast<char>('0' + e);
        }
        if (d == rank) break;
        own += letter();
        text += own.back() + spaces();
        ++count[own.back()];
      }
      labels.push_back(own);
      equation += (k == 0 ? "" : ",") + spaces() + text;
      Sizes shape;
      std::map<char, Index> own_size;  // one for each label, since a diagonal does not broadcast
      for (const char label : own) {
        const Index size = rng.randint(8) == 0 ? 1 : size_of.at(label);
        shape.push_back(own_size.emplace(label, size).first->second);
      }
      operands.push_back(std::make_unique<GuardedView<Scalar>>(shape, rng));
      views.push_back(operands.back()->constant());
    }
    std::string dots;
    for (int e = ellipsis; e-- > 0;) dots += static_cast<char>('0' + e);
    if (rng.randint(3) == 0) {  // without an arrow
      result = dots;
      for (const auto& [label, times] : count)  // in the order of characters: capitals first
        if (times == 1) result += label;
      return;
    }
    equation += spaces() + "->" + spaces();
    std::vector<char> used;
    for (const auto& [label, times] : count) used.push_back(label);
    const Sizes order = ef::testing::random_order(static_cast<int>(used.size()), rng);
    const Index kept = rng.randint(order.rank() + 1),
                place = has_ellipsis && rng.randint(8) > 0 ? rng.randint(kept + 1) : -1;
    for (Index d = 0; d <= kept; ++d) {
      if (d == place) {
        result += dots;
        equation += "...";
      }
      if (d == kept) break;
      result += used[static_cast<std::size_t>(order[static_cast<int>(d)])];
      equation += result.back() + spaces();
    }
  }

  Tensor<Scalar> compute(ef::Threads* threads = nullptr) const {
    const auto& v = views;
    if (v.size() == 1) return einsum(threads, equation, v[0]);
    if (v.size() == 2) return einsum(threads, equation, v[0], v[1]);
    if (v.size() == 3) return einsum(threads, equation, v[0], v[1], v[2]);
    return einsum(threads, equation, v[0], v[1], v[2], v[3]);
  }
};

template <class Scalar>
Tensor<Scalar> random_entries(const Sizes& shape, ef::Rng& rng) {
  Tensor<Scalar> x(shape);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<Scalar>(rng.normal());
  return x;
}

// Checks an equation of single letters against the naive loop, and with threads.
template <class Scalar, class... Others>
void check_equation(const std::string& equation, const Others&... others) {
  CAPTURE(equation);
  std::vector<std::string> labels(1);
  for (const char c : equation.substr(0, equation.find("->")))
    if (c == ',')
      labels.emplace_back();
    else
      labels.back() += c;
  const Tensor<double> expected =
      naive_einsum<Scalar>(labels, equation.substr(equation.find("->") + 2), {TensorView<const Scalar>(others)...});
  const Tensor<Scalar> alone = einsum(equation, others...);
  CHECK(largest_difference(alone, expected.shape(), [&](const Sizes& index) { return entry(expected, index); }) <=
        rounding<Scalar>(100));
  ef::ThreadPool threads(3);
  const Tensor<Scalar> together = einsum(&threads, equation, others...);
  REQUIRE(together.shape() == alone.shape());
  CHECK(std::memcmp(alone.data(), together.data(), static_cast<std::size_t>(alone.size()) * sizeof(Scalar)) == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("random equations", "[tensors][threads]", double, float, int) {
  constexpr bool is_float = std::is_same_v<TestType, float>;
  ef::ThreadPool threads(3);
  for (std::uint64_t seed = 0; seed < (std::is_same_v<TestType, double> ? 2000 : 600); ++seed) {
    ef::Rng rng(seed);
    const RandomEinsum<TestType> random(rng, is_float ? 3 : 4);
    CAPTURE(seed, random.equation, random.labels, random.result);
    if (is_float && random.views.size() > 3) continue;  // so that float is exact
    const Tensor<double> expected = naive_einsum<TestType>(random.labels, random.result, random.views);
    const Tensor<TestType> result = random.compute();
    CHECK(largest_difference(result, expected.shape(), [&](const Sizes& index) { return entry(expected, index); }) ==
          0);
    if (seed % 4 == 0) CHECK(entries_of(random.compute(&threads)) == entries_of(result));
  }
}

TEST_CASE("the equations of attention", "[tensors][threads]") {
  ef::Rng rng(7);
  const Tensor<float> x = random_entries<float>({2, 5, 12}, rng), weight = random_entries<float>({3, 12, 4}, rng);
  check_equation<float>("btd,hde->bhte", x, weight);
  const Tensor<float> q = random_entries<float>({2, 3, 5, 8}, rng), k = random_entries<float>({2, 3, 7, 8}, rng);
  check_equation<float>("bhqd,bhkd->bhqk", q, k);
  check_equation<float>("bqhd,bkhd->bhqk", q.transpose(1, 2), k.transpose(1, 2));
  const Tensor<float> weights = random_entries<float>({2, 3, 5, 7}, rng);
  check_equation<float>("bhqk,bhkd->bhqd", weights, k);
  check_equation<float>("bhqk,bhkd->bqhd", weights, k);
  const Tensor<float> heads = random_entries<float>({2, 3, 5, 4}, rng), out = random_entries<float>({3, 4, 12}, rng);
  check_equation<float>("bhte,hed->btd", heads, out);
  // Many heads, so that each product is a task.
  check_equation<float>("bhqd,bhkd->bhqk", random_entries<float>({3, 8, 9, 5}, rng),
                        random_entries<float>({3, 8, 11, 5}, rng));
  check_equation<double>("bhqd,bhkd->bhqk", random_entries<double>({3, 8, 9, 5}, rng),
                         random_entries<double>({3, 8, 11, 5}, rng));
}

TEST_CASE("the equations of linear algebra", "[tensors][threads]") {
  ef::Rng rng(8);
  const Tensor<double> a = random_entries<double>({6, 6}, rng), b = random_entries<double>({6, 5}, rng);
  const Tensor<double> u = random_entries<double>({6}, rng), v = random_entries<double>({5}, rng);
  check_equation<double>("ij,jk->ik", a, b);
  check_equation<double>("ij,jk->ki", a, b);
  check_equation<double>("ji,jk->ik", a, b);
  check_equation<double>("ij,j->i", a, u);
  check_equation<double>("i,ij->j", u, b);
  check_equation<double>("i,i->", u, u);
  check_equation<double>("i,j->ij", u, v);
  check_equation<double>("i,j->ji", u, v);
  check_equation<double>("ii->", a);
  check_equation<double>("ii->i", a);
  check_equation<double>("ij->ji", a);
  check_equation<double>("ij->j", b);
  check_equation<double>("ij->", b);
  check_equation<double>("ij->ij", b);
  check_equation<double>("ij,ij->ij", a, a);
  check_equation<double>("ij,ji->", a, a);
  check_equation<double>("i,j->", u, v);
  check_equation<double>("i,ij,j->", u, b, v);
  check_equation<double>("bn,anm,bm->ba", random_entries<double>({4, 6}, rng), random_entries<double>({3, 6, 5}, rng),
                         random_entries<double>({4, 5}, rng));
  check_equation<double>("ij,jk,kl,li->i", a, b, random_entries<double>({5, 4}, rng),
                         random_entries<double>({4, 6}, rng));
  check_equation<double>("ij,ij,ij->j", b, b, b);
  CHECK(einsum("ii->", Tensor<int>({2, 2}, 3)).item() == 6);
  CHECK(einsum(",ij->ij", Tensor<int>({}, 2), Tensor<int>({2, 2}, 3))(1, 0) == 6);
  CHECK(einsum("->", Tensor<int>({}, 2)).item() == 2);
  CHECK(einsum(",", Tensor<int>({}, 2), Tensor<int>({}, 4)).item() == 8);
}

TEST_CASE("long sums, and products larger than a block", "[tensors][threads]") {
  ef::Rng rng(9);
  check_equation<float>("ijk,kjl->il", random_entries<float>({70, 9, 11}, rng),
                        random_entries<float>({11, 9, 90}, rng));
  check_equation<double>("bij,bjk->ik", random_entries<double>({6, 20, 15}, rng),
                         random_entries<double>({6, 15, 30}, rng));
}

TEST_CASE("more than two operands are contracted in the cheapest order", "[tensors]") {
  // From left to right, the first product alone would have 10^12 entries.
  const Tensor<float> column({1'000'000, 1}, 1.0F), row({1, 1'000'000}, 2.0F);
  CHECK(einsum("ij,jk,kl->il", row, column, Tensor<float>({1, 1}, 3.0F)).item() == 6'000'000);
  CHECK(einsum("ij,jk,kl->il", column.slice(0, {.end = 2}), row, column).shape() == Sizes{2, 1});
  CHECK(einsum("ia,ja,ka,la->ijkl", column.slice(0, {.end = 2}), column.slice(0, {.end = 3}),
               column.slice(0, {.end = 4}), column.slice(0, {.end = 5}))
            .shape() == Sizes{2, 3, 4, 5});
  // Nine operands are too many to try all orders.
  const Tensor<double> m({3, 3}, 1.0 / 3);
  const Tensor<double> power = einsum("ab,bc,cd,de,ef,fg,gh,hi,ij->aj", m, m, m, m, m, m, m, m, m);
  CHECK(largest_difference(power, {3, 3}, [](const Sizes&) { return 1.0 / 3; }) <= rounding<double>(16));
}

TEST_CASE("tensors of eight dimensions", "[tensors][threads]") {
  ef::Rng rng(10);
  const Sizes two = Sizes::of_rank(8, 2);
  const Tensor<double> x = random_entries<double>(two, rng), y = random_entries<double>({2, 3}, rng);
  check_equation<double>("abcdefgh,hi->abcdefgi", x, y);
  check_equation<double>("abcdefgh,hgfedcba->", x, x);
  check_equation<double>("abcdefgh,efghijkl->abcdijkl", x, x);
  check_equation<double>("abcdefgh,abcdefgh->dbca", x, x);
  const Tensor<int> i(two, 1), j({2, 3}, 2);
  CHECK(einsum("abcdefgh,hi->abcdefgi", i, j)(1, 1, 1, 1, 1, 1, 1, 2) == 4);
  // Orders of equal cost: one of them would need nine dimensions on the way.
  const Tensor<double> ones(Sizes::of_rank(5, 1), 2.0), none({1, 1, 0, 1, 1});
  CHECK(einsum("abcde,fghij,abcde,fghij->", ones, ones, ones, ones).item() == 16);
  CHECK(einsum("abcde,fghij,abcde,fghij->", none, none, none, none).item() == 0);
}

TEST_CASE("operands of other types, expressions and temporaries", "[tensors]") {
  const Tensor<Eigen::half> h({3000}, Eigen::half(1));
  CHECK(static_cast<float>(einsum("i,i->", h, h).item()) == 3000);  // summed in float
  const Tensor<Eigen::bfloat16> b({2, 300}, Eigen::bfloat16(1));
  CHECK(static_cast<float>(einsum("ij,kj->ik", b, b)(1, 1)) == static_cast<float>(Eigen::bfloat16(300)));
  CHECK(einsum("i,i", Tensor<Index>({2}, Index{1} << 40), Tensor<Index>({2}, 3)).item() == 6 * (Index{1} << 40));
  Tensor<float> x({2, 2}, 3.0F);
  CHECK(einsum("ij,jk", x + 1, Tensor<float>({2, 2}, 2.0F))(1, 1) == 16);
  CHECK(einsum("ij->ji", x.array())(0, 1) == 3);
  // The result does not refer to the operand.
  Tensor<float> copy = einsum("ij->ij", x);
  copy(0, 0) = 5;
  CHECK(x(0, 0) == 3);
}

TEST_CASE("a diagonal of a tensor of eight dimensions", "[tensors]") {
  const Tensor<double> x(Sizes::of_rank(8, 2), 1.5);
  CHECK(einsum("abcdefgg->abcdefg", x).shape() == Sizes::of_rank(7, 2));
  CHECK(einsum("abcdefgg->", x).item() == 128 * 1.5);
}

TEST_CASE("equations that do not fit", "[tensors]") {
  const Tensor<float> x({2, 3}), y({3, 4}), v({3});
  CHECK(message_of([&] { einsum("ij,jk->ik", x); }) ==
        "einsum: \"ij,jk->ik\": the number of operands is 1, expected 2");
  CHECK(message_of([&] { einsum("ij->ij", x, y); }) == "einsum: \"ij->ij\": the number of operands is 2, expected 1");
  CHECK(message_of([&] { einsum("ij,j,k->ik", x, y); }) ==
        "einsum: \"ij,j,k->ik\": the number of operands is 2, expected 3");
  CHECK(message_of([&] { einsum("ijk,jk->i", x, y); }) == "einsum: \"ijk,jk->i\": \"ijk\" for a tensor of rank 2");
  CHECK(message_of([&] { einsum("i...,j->i", v, x); }) == "einsum: \"i...,j->i\": \"j\" for a tensor of rank 2");
  CHECK(message_of([&] { einsum("ijk...->i", x); }) == "einsum: \"ijk...->i\": \"ijk...\" for a tensor of rank 2");
  CHECK(message_of([&] { einsum("ij,ik->jk", x, y); }) ==
        "einsum: \"ij,ik->jk\": one label has sizes 2 and 3, expected equal sizes, or 1");
  CHECK(message_of([&] { einsum("ii->i", x); }) ==
        "einsum: \"ii->i\": one label has sizes 2 and 3 in one operand, expected equal sizes");
  CHECK(message_of([&] { einsum("ii->i", x.slice(0, {.end = 1})); }) ==
        "einsum: \"ii->i\": one label has sizes 1 and 3 in one operand, expected equal sizes");
  CHECK(message_of([&] { einsum("ii->", x.slice(1, {.end = 1})); }) ==
        "einsum: \"ii->\": one label has sizes 2 and 1 in one operand, expected equal sizes");
  CHECK(message_of([&] { einsum("ij->ii", x); }) == "einsum: \"ij->ii\": the result names a label twice");
  CHECK(message_of([&] { einsum("ij->k", x); }) == "einsum: \"ij->k\": the result has a label that no operand has");
  CHECK(message_of([&] { einsum("i1->i", x); }) == "einsum: \"i1->i\": '1' is not a letter");
  CHECK(message_of([&] { einsum("i[->i", x); }) == "einsum: \"i[->i\": '[' is not a letter");
  CHECK(message_of([&] { einsum("ij->i->j", x); }) == "einsum: \"ij->i->j\": '-' is not a letter");
  CHECK(message_of([&] { einsum("ij->i,j", x); }) == "einsum: \"ij->i,j\": ',' is not a letter");
  CHECK(message_of([&] { einsum("i..->i", x); }) == "einsum: \"i..->i\": expected letters and one ...");
  CHECK(message_of([&] { einsum("...i...->i", x); }) == "einsum: \"...i...->i\": expected letters and one ...");
  CHECK(message_of([&] { einsum("...i,...j->ij", x, y); }) ==
        "einsum: \"...i,...j->ij\": one label has sizes 2 and 3, expected equal sizes, or 1");
  CHECK(message_of([&] { einsum("", x); }) == "einsum: \"\": \"\" for a tensor of rank 2");
  const Tensor<float> large(Sizes::of_rank(5, 1)), larger(Sizes::of_rank(8, 1));
  CHECK(message_of([&] { einsum("abcde,fghij", large, large); }) ==
        "einsum: \"abcde,fghij\": a tensor of 10 dimensions, expected at most 8");
  CHECK(message_of([&] { einsum("abcdefgh,abcdijkl,efghijkl->a", larger, larger, larger); }) == "nothing was thrown");
  CHECK(message_of([&] { einsum("abcdefgh,efghijkl,ijklabcd->aei", larger, larger, larger); }) ==
        "einsum: \"abcdefgh,efghijkl,ijklabcd->aei\": every order of products has tensors of more than 8 dimensions on "
        "the way");
  // Each operand shares one label with each other, so the product of any two has ten. Of more than six operands, not
  // all orders are tried, and the message does not say so.
  const Tensor<float> six(Sizes::of_rank(6, 1));
  CHECK(message_of(
            [&] { einsum("abcdef,aghijk,bglmno,chlpqr,dimpst,ejnqsu,fkortu->", six, six, six, six, six, six, six); }) ==
        "einsum: \"abcdef,aghijk,bglmno,chlpqr,dimpst,ejnqsu,fkortu->\" for 7 operands: taking the cheapest products "
        "first gives tensors of more than 8 dimensions; expected at most 6 operands, for which every order is tried");
  CHECK(message_of([&] { einsum("abcde,fghij->abcdefghij", large, large); }) ==
        "einsum: \"abcde,fghij->abcdefghij\": a tensor of 10 dimensions, expected at most 8");
  CHECK(message_of([&] { einsum("abcdefghij->a", x); }) ==
        "einsum: \"abcdefghij->a\": \"abcdefghij\" for a tensor of rank 2");
}
