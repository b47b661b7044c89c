#include "eigenformer/text/tokens.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::testing::message_of;
using Ids = std::vector<ef::Token>;

namespace {

Ids copy(std::span<const ef::Token> ids) {
  return {ids.begin(), ids.end()};
}

}  // namespace

TEST_CASE("sequences stand one under another", "[text]") {
  const std::vector<Ids> sequences{{5, 6, 7}, {}, {8}};
  const ef::Tokens tokens = ef::Tokens::of(sequences);
  CHECK(tokens.ids == Ids{5, 6, 7, 8});
  CHECK(tokens.rows == ef::RowOffsets{0, 3, 3, 4});
  REQUIRE(tokens.sequences() == 3);
  for (ef::Index i = 0; i < 3; ++i) CHECK(copy(tokens[i]) == sequences[static_cast<std::size_t>(i)]);
  CHECK(ef::Tokens::of(std::vector<Ids>{}).sequences() == 0);
}

TEST_CASE("ids without rows are one sequence", "[text]") {
  const ef::Tokens tokens{.ids = {4, 5, 2}, .rows = {}};
  CHECK(tokens.sequences() == 1);
  CHECK(copy(tokens[0]) == Ids{4, 5, 2});
}

TEST_CASE("a translation batch shifts what is read against what is said", "[text]") {
  const std::vector<Ids> sources{{10, 11}, {12}, {13, 14, 15}};
  const std::vector<Ids> targets{{20}, {21, 22, 23}, {}};
  const std::vector<ef::Index> chosen{2, 0, 1, 0};
  const ef::TranslationBatch batch = ef::translation_batch(sources, targets, chosen);
  CHECK(batch.source.ids == Ids{13, 14, 15, 2, 10, 11, 2, 12, 2, 10, 11, 2});
  CHECK(batch.source.rows == ef::RowOffsets{0, 4, 7, 9, 12});
  CHECK(batch.target.ids == Ids{1, 1, 20, 1, 21, 22, 23, 1, 20});
  CHECK(batch.target.rows == ef::RowOffsets{0, 1, 3, 7, 9});
  CHECK(batch.next == Ids{2, 20, 2, 21, 22, 23, 2, 20, 2});

  const ef::TranslationBatch same =
      ef::translation_batch(ef::Tokens::of(sources), ef::Tokens::of(targets), chosen);  // sentences one under another
  CHECK(same.source.ids == batch.source.ids);
  CHECK(same.source.rows == batch.source.rows);
  CHECK(same.target.ids == batch.target.ids);
  CHECK(same.target.rows == batch.target.rows);
  CHECK(same.next == batch.next);

  const ef::TranslationBatch none = ef::translation_batch(sources, targets, {});
  CHECK(none.source.sequences() == 0);
  CHECK(none.next.empty());
}

TEST_CASE("a translation batch of sentences that do not exist is refused", "[text]") {
  const std::vector<Ids> two(2);
  const std::vector<Ids> three(3);
  const auto message = [&](const std::vector<ef::Index>& chosen, const std::vector<Ids>& targets) {
    const std::string of_vectors = message_of([&] { ef::translation_batch(two, targets, chosen); });
    CHECK(message_of([&] { ef::translation_batch(ef::Tokens::of(two), ef::Tokens::of(targets), chosen); }) ==
          of_vectors);
    return of_vectors;
  };
  CHECK(message({0}, three) == "translation_batch: 2 sources, 3 targets");
  CHECK(message({0, 2}, two) == "translation_batch: there is no sentence 2, only 0 to 1");
  CHECK(message({-1}, two) == "translation_batch: there is no sentence -1, only 0 to 1");
}
