#include "eigenformer/train/gradient_sum.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "eigenformer/ops/arithmetic.hpp"
#include "eigenformer/ops/reductions.hpp"
#include "eigenformer/train/adam.hpp"
#include "eigenformer/train/parameter_hash.hpp"
#include "eigenformer/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/copy_task.hpp"
#include "support/random.hpp"
#include "support/thread_ranks.hpp"

namespace ef = eigenformer;

namespace {

struct Weights {
  ef::Parameter<float> w;
  static void visit(auto& self, auto&& visitor) { visitor("w", self.w); }
};

/// Parameters of odd sizes. The large one fills a bucket and shares the next with the others.
struct OddSizes {
  ef::Parameter<float> small{3, 5}, large{271, 971}, never{2, 2}, seldom{7, 3}, empty{0, 4};
  static void visit(auto& self, auto&& visitor) {
    visitor("small", self.small);
    visitor("large", self.large);
    visitor("never", self.never);
    visitor("seldom", self.seldom);
    visitor("empty", self.empty);
  }
};

/// Any thread may call it. Each matrix is drawn once, because that takes most of the time of the test.
const ef::Matrix<float>& slope_of(const ef::Parameter<float>& parameter, ef::Index leaf) {
  static std::mutex mutex;
  static std::map<std::pair<ef::Index, ef::Index>, ef::Matrix<float>> slopes;
  const std::lock_guard lock(mutex);
  const auto [entry, is_new] = slopes.try_emplace({parameter.value.size(), leaf});
  ef::Matrix<float>& slope = entry->second;
  if (!is_new) return slope;
  ef::Rng rng(static_cast<std::uint64_t>(1 + leaf));
  slope.resize(parameter.value.rows(), parameter.value.cols());
  for (ef::Index i = 0; i < slope.size(); ++i)
    slope.data()[i] = static_cast<float>(rng.normal()) * std::exp2(static_cast<float>(rng.randint(20)));
  if (slope.size() > 0) slope(0, 0) = -0.0F;
  return slope;
}

/// A loss whose gradients are known. Leaf 3 is the only one that uses the parameter `seldom`.
ef::Variable<float> loss_of_leaf(const OddSizes& model, ef::Tape<float>& tape, ef::Index leaf) {
  const ef::Context<float> context{.tape = &tape};
  const auto product = [&](const ef::Parameter<float>& x) {
    return ef::sum(context, ef::multiply(context, context.use(x), ef::Variable<float>(slope_of(x, leaf))));
  };
  ef::Variable<float> loss = ef::add(context, product(model.small), product(model.large));
  return leaf == 3 ? ef::add(context, loss, product(model.seldom)) : loss;
}

/// The tree over the slopes, by its definition.
ef::Matrix<float> summed_slopes(const ef::Parameter<float>& parameter, ef::Index first, ef::Index count) {
  if (count == 1) return slope_of(parameter, first);
  ef::Index half = 1;
  while (2 * half < count) half *= 2;
  return summed_slopes(parameter, first, half) + summed_slopes(parameter, first + half, count - half);
}

bool same_bits(const ef::Matrix<float>& a, const ef::Matrix<float>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), sizeof(float) * static_cast<std::size_t>(a.size())) == 0;
}

}  // namespace

TEST_CASE("gradients of all ranks sum to the same bits for every number of ranks", "[train][threads]") {
  OddSizes model;
  for (const ef::Index leaves : {1, 2, 3, 4, 5, 6, 8, 11}) {
    const ef::Matrix<float> small = summed_slopes(model.small, 0, leaves),
                            large = summed_slopes(model.large, 0, leaves);
    for (const ef::Index size : {1, 2, 3, 4, 5, 8}) {
      std::mutex mutex;
      ef::testing::run_ranks(size, [&](ef::Ranks& ranks) {
        ef::Tape<float> tape;
        ef::GradientSum<float> sum;
        const ef::LeafDivision division{leaves, size};
        for (int update = 0; update < 2; ++update) {
          sum.begin(model, tape, division, size == 1 ? nullptr : &ranks);
          for (ef::Index leaf = division.begin(ranks.rank()); leaf < division.end(ranks.rank()); ++leaf)
            sum.backward(loss_of_leaf(model, tape, leaf));
          sum.finish();
          const std::lock_guard lock(mutex);
          CAPTURE(leaves, size, ranks.rank(), update);
          CHECK(same_bits(tape.gradients()[model.small], small));
          CHECK(same_bits(tape.gradients()[model.large], large));
          CHECK(tape.gradients().find(model.never) == nullptr);
          CHECK((tape.gradients().find(model.seldom) != nullptr) == (leaves > 3));
          if (leaves > 3) CHECK(same_bits(tape.gradients()[model.seldom], slope_of(model.seldom, 3)));
        }
      });
    }
  }
}

TEST_CASE("buckets of gradients hold 1 MB, or more if there would be more buckets than tags", "[train]") {
  using ef::detail::bucket_entries;
  CHECK(bucket_entries(1, 4) == std::size_t{1} << 18);
  CHECK(bucket_entries(60'000'000, 4) == std::size_t{1} << 18);
  CHECK(bucket_entries(60'000'000, 8) == std::size_t{1} << 17);
  for (const std::uint64_t entries : {std::uint64_t{32'000} << 18, (std::uint64_t{32'000} << 18) + 1,
                                      std::uint64_t{70'000'000'000}, std::uint64_t{1} << 45}) {
    if (entries > std::numeric_limits<std::size_t>::max()) continue;  // on 32-bit machines
    const auto all = static_cast<std::size_t>(entries), each = bucket_entries(all, 4);
    CAPTURE(all, each);
    CHECK(each >= std::size_t{1} << 18);
    CHECK((all + each - 1) / each <= 32'000);
    CHECK(each - 1 <= std::max<std::size_t>((std::size_t{1} << 18) - 1, all / 32'000));
  }
}

TEST_CASE("a model trained by several ranks has the bits of one process", "[train][threads]") {
  ef::TransformerOptions shape = ef::testing::small_transformer();
  shape.layer.dropout = 0.2;
  const auto train = [&](ef::Ranks* ranks, ef::Index accumulate, std::vector<double>& losses) {
    ef::Rng rng(4);
    ef::Transformer<float> model(shape, rng);
    ef::Adam<float> adam;
    ef::Index number = 0;
    ef::train(
        model, adam,
        [&] {
          ef::Rng of_batch(static_cast<std::uint64_t>(++number));
          return ef::testing::copy_batch({1 + number % 5, 4}, of_batch);
        },
        [&](const ef::Context<float>& context, const ef::TranslationBatch& batch) {
          return ef::BatchLoss<float>{model.loss(context, batch, {.reduction = ef::Reduction::sum}),
                                      static_cast<ef::Index>(batch.next.size())};
        },
        [&](const ef::TrainingProgress& progress) {
          losses.push_back(progress.loss);
          return progress.update < 3;  // rank 0 decides for all
        },
        {.accumulate = accumulate, .seed = 5, .ranks = ranks, .skip_batch = [&] { ++number; }});
    ef::check(adam.updates() == 3, "there were ", adam.updates(), " updates, expected 3");  // on several threads
    return ef::parameter_hash(model);
  };
  for (const ef::Index accumulate : {2, 3, 8}) {
    std::vector<double> expected_losses;
    const std::uint64_t expected = train(nullptr, accumulate, expected_losses);
    for (const ef::Index size : {2, 3, 4, 8}) {
      std::mutex mutex;
      ef::testing::run_ranks(size, [&](ef::Ranks& ranks) {
        std::vector<double> losses;
        const std::uint64_t hash = train(&ranks, accumulate, losses);
        const std::lock_guard lock(mutex);
        CAPTURE(accumulate, size, ranks.rank());
        CHECK(hash == expected);
        CHECK(losses == (ranks.rank() == 0 ? expected_losses : std::vector<double>()));
      });
    }
  }
}

TEST_CASE("memory of updates serves a larger model in the place of another", "[train][threads]") {
  ef::testing::run_ranks(2, [](ef::Ranks& ranks) {
    Weights model;
    ef::UpdateMemory<float> memory;
    for (const ef::Index size : {2, 4096, 3}) {
      model.w = ef::Parameter<float>(1, size);
      ef::Adam<float> adam;
      ef::make_update(
          model, adam, memory, [] { return 0; },
          [&](const ef::Context<float>& context, int) {
            return ef::BatchLoss<float>{ef::sum(context, context.use(model.w)), 1};
          },
          {.accumulate = 2, .seed = 1, .ranks = &ranks});
      const float total = memory.tape.gradients()[model.w].sum();
      ef::check(total == static_cast<float>(2 * size), "the gradients' sum is ", total, ", expected ", 2 * size);
    }
  });
}

TEST_CASE("a loss that is not finite on one rank stops all ranks", "[train][threads]") {
  std::mutex mutex;
  ef::Index stopped = 0;
  ef::testing::run_ranks(3, [&](ef::Ranks& ranks) {
    OddSizes model;
    ef::Adam<float> adam;
    const auto train = [&] {
      ef::Index batch = 0;
      ef::train(
          model, adam, [&] { return batch++; },
          [&](const ef::Context<float>& context, ef::Index leaf) {
            const float factor = leaf == 1 ? std::numeric_limits<float>::quiet_NaN() : 1;
            return ef::BatchLoss<float>{ef::scale(context, ef::sum(context, context.use(model.small)), factor), 1};
          },
          [](const ef::TrainingProgress&) { return true; }, {.accumulate = 3, .seed = 5, .ranks = &ranks});
    };
    std::string message;
    try {
      train();
    } catch (const ef::Error& error) {
      message = error.what();
    }
    const std::lock_guard lock(mutex);
    CHECK(message.find("the loss of update 1 is not finite") != std::string::npos);
    ++stopped;
  });
  CHECK(stopped == 3);
}
