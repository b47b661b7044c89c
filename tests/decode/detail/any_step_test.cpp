#include "eigenformer/decode/detail/any_step.hpp"

#include <limits>

#include "support/catch.hpp"

namespace ef = eigenformer;
namespace detail = ef::detail;

namespace {

// Scores token t of hypothesis i with parents[i] + t / 4, which half holds exactly.
struct PlainStep {
  ef::Matrix<Eigen::half> operator()(std::span<const ef::Index> parents, std::span<const ef::Token>) const {
    ef::Matrix<Eigen::half> logits(static_cast<ef::Index>(parents.size()), 3);
    for (ef::Index i = 0; i < logits.rows(); ++i)
      for (ef::Index t = 0; t < 3; ++t)
        logits(i, t) =
            Eigen::half(static_cast<float>(parents[static_cast<std::size_t>(i)]) + static_cast<float>(t) / 4);
    return logits;
  }
};

struct FullStep : PlainStep {
  bool records = false;
  ef::Index max_tokens() const { return 7; }
  void record_alignments(bool wanted) { records = wanted; }
  ef::Matrix<double> alignment(ef::Index hypothesis) const {
    return ef::Matrix<double>::Constant(1, 2, static_cast<double>(hypothesis) + 0.5);
  }
};

}  // namespace

TEST_CASE("a step function of any type is called through one type", "[decode]") {
  PlainStep plain;
  FullStep full;
  detail::StepReference plain_reference(plain);
  detail::StepReference full_reference(full);
  const std::vector<ef::Index> parents{5, 2};
  const std::vector<ef::Token> tokens{1, 1};
  for (detail::AnyStep<float>* const step : {static_cast<detail::AnyStep<float>*>(&plain_reference),
                                             static_cast<detail::AnyStep<float>*>(&full_reference)}) {
    ef::Matrix<float> logits;
    step->step(parents, tokens, [&](const ef::ConstMatrixRef<float>& given) { logits = given; });
    CHECK(logits == (ef::Matrix<float>(2, 3) << 5, 5.25, 5.5, 2, 2.25, 2.5).finished());
  }

  std::vector<float> weights{9};
  CHECK(plain_reference.max_tokens() == (std::numeric_limits<ef::Index>::max)());
  CHECK_FALSE(plain_reference.record_alignments());
  plain_reference.read_alignment(0, weights);
  CHECK(weights == std::vector<float>{9});

  CHECK(full_reference.max_tokens() == 7);
  CHECK(full_reference.record_alignments());
  CHECK(full.records);
  full_reference.read_alignment(3, weights);
  CHECK(weights == std::vector<float>{3.5F, 3.5F});
}
