#include "eigenformer/decode/detail/source_queue.hpp"

#include "support/catch.hpp"

namespace ef = eigenformer;

namespace {

std::vector<ef::Index> numbers(std::span<const ef::detail::SentencePlan> plans) {
  std::vector<ef::Index> sentences;
  for (const ef::detail::SentencePlan& plan : plans) sentences.push_back(plan.sentence);
  return sentences;
}

}  // namespace

TEST_CASE("sources are handed out by length, and as many as fit", "[decode]") {
  using Numbers = std::vector<ef::Index>;
  const ef::Tokens sources{{1, 2, 3, 4, 5, 6, 7, 8, 9}, {0, 1, 4, 4, 7, 9}};  // lengths 1, 3, 0, 3, 2
  ef::DecodingOptions options{.max_batch_size = 2};
  ef::detail::SourceQueue by_examples(sources, options, "test");
  const auto first = by_examples.take(0);
  CHECK(numbers(first) == Numbers{1, 3});
  CHECK(by_examples.tokens(first).ids == std::vector<ef::Token>{2, 3, 4, 5, 6, 7});
  CHECK(by_examples.tokens(first).rows == ef::RowOffsets{0, 3, 6});
  CHECK(by_examples.take(2).empty());
  CHECK(numbers(by_examples.take(1)) == Numbers{4});
  CHECK(numbers(by_examples.take(0)) == Numbers{0, 2});
  CHECK(by_examples.empty());

  options.max_batch_size = 4;
  options.batch_type = ef::BatchType::tokens;
  ef::detail::SourceQueue by_tokens(sources, options, "test");
  CHECK(numbers(by_tokens.take(0)) == Numbers{1});
  CHECK(by_tokens.take(3).empty());  // the next needs 3 tokens
  CHECK(by_tokens.take(4).empty());
  CHECK(numbers(by_tokens.take(1)) == Numbers{3});
  CHECK(numbers(by_tokens.take(0)) == Numbers{4, 0, 2});

  options.max_batch_size = 1;  // a sentence that is longer than the batch is decoded alone
  ef::detail::SourceQueue alone(sources, options, "test");
  CHECK(numbers(alone.take(0)) == Numbers{1});
  CHECK(alone.take(3).empty());
  options.max_batch_size = 0;
  ef::detail::SourceQueue all(sources, options, "test");
  CHECK(numbers(all.take(0)) == Numbers{1, 3, 4, 0, 2});
}
