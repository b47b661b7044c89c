// Tests train/mpi.hpp: `mpirun -np N ranks_by_mpi`. Prints what fails, and returns the number of failures.
#include <cstring>
#include <iostream>

#include "eigenformer/autograd/context.hpp"
#include "eigenformer/ops/arithmetic.hpp"
#include "eigenformer/ops/reductions.hpp"
#include "eigenformer/train/gradient_sum.hpp"
#include "eigenformer/train/mpi.hpp"

namespace ef = eigenformer;

namespace {

int failures = 0;

void check(bool condition, const std::string& what) {
  if (condition) return;
  std::cerr << what << '\n';
  ++failures;
}

/// Parameters that share buckets of messages and fill several of them.
struct Sizes {
  ef::Parameter<float> small{3, 5}, large{257, 1201}, seldom{7, 3};
  static void visit(auto& self, auto&& visitor) {
    visitor("small", self.small);
    visitor("large", self.large);
    visitor("seldom", self.seldom);
  }
};

ef::Matrix<float> slope_of(const ef::Parameter<float>& parameter, ef::Index leaf) {
  ef::Matrix<float> slope(parameter.value.rows(), parameter.value.cols());
  for (ef::Index i = 0; i < slope.size(); ++i)
    slope.data()[i] = static_cast<float>((i * 40503 + leaf * 7919) % 1'000'003) / 7;
  return slope;
}

ef::Matrix<float> sum_of_slopes(const ef::Parameter<float>& parameter, ef::Index first, ef::Index count) {
  if (count == 1) return slope_of(parameter, first);
  ef::Index half = 1;
  while (2 * half < count) half *= 2;
  return sum_of_slopes(parameter, first, half) + sum_of_slopes(parameter, first + half, count - half);
}

bool same_bits(const ef::Matrix<float>& a, const ef::Matrix<float>& b) {
  const auto bytes = static_cast<std::size_t>(a.size()) * sizeof(float);
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), bytes) == 0;
}

/// Checks the sums of three updates. Only leaf 1 uses `seldom`.
void check_sums(ef::Ranks& ranks, ef::Index leaves) {
  const Sizes model;
  ef::Tape<float> tape;
  ef::GradientSum<float> sum;
  const ef::LeafDivision division{leaves, ranks.size()};
  const ef::Matrix<float> small = sum_of_slopes(model.small, 0, leaves), large = sum_of_slopes(model.large, 0, leaves);
  for (int update = 0; update < 3; ++update) {
    sum.begin(model, tape, division, &ranks);
    for (ef::Index leaf = division.begin(ranks.rank()); leaf < division.end(ranks.rank()); ++leaf) {
      const ef::Context<float> context{.tape = &tape};
      const auto product = [&](const ef::Parameter<float>& x) {
        return ef::sum(context, ef::multiply(context, context.use(x), ef::Variable<float>(slope_of(x, leaf))));
      };
      ef::Variable<float> loss = ef::add(context, product(model.small), product(model.large));
      if (leaf == 1) loss = ef::add(context, loss, product(model.seldom));
      sum.backward(loss);
    }
    sum.finish();
    const std::string where = " over " + std::to_string(leaves) + " batches differs on rank " +
                              std::to_string(ranks.rank()) + " of " + std::to_string(ranks.size());
    check(same_bits(tape.gradients()[model.small], small), "the small sum" + where);
    check(same_bits(tape.gradients()[model.large], large), "the large sum" + where);
    check((tape.gradients().find(model.seldom) != nullptr) == (leaves > 1), "the seldom sum" + where);
  }
}

template <class Function>
void check_error(Function function, const std::string& part_of_message) {
  try {
    function();
    check(false, "no error, expected one with: " + part_of_message);
  } catch (const ef::Error& error) {
    const std::string message = error.what();
    check(message.find(part_of_message) != std::string::npos, message + ", expected: " + part_of_message);
  }
}

}  // namespace

int main() {
  ef::MpiEnvironment environment;
  ef::MpiRanks ranks;
  for (const ef::Index leaves : {1, 2, 3, 4, 6, 8}) check_sums(ranks, leaves);
  std::string text = "from rank " + std::to_string(ranks.rank());
  ef::broadcast_text(ranks, text);
  check(text == "from rank 0", "the text was " + text);
  check_error([] { ef::MpiEnvironment again; }, "MpiEnvironment: MPI was started before");
  const std::string self = "MPI: rank " + std::to_string(ranks.rank());
  std::byte bytes[8] = {}, shorter[4] = {};
  check_error([&] { ranks.send(bytes, 1000, 1); }, self + " sends to rank 1000: ");
  check_error(
      [&] {
        const auto sent = ranks.send(shorter, ranks.rank(), 7);
        ef::wait(*ranks.receive(bytes, ranks.rank(), 7));
      },
      self + " receives from rank " + std::to_string(ranks.rank()) + ": the message has 4 bytes, expected 8");
  return failures;
}
