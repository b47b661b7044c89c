#include "eigenformer/text/encoded_pairs.hpp"

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;

TEST_CASE("without tokens there are no pairs", "[text]") {
  const ef::EncodedPairs none{};
  CHECK(none.size() == 0);
  CHECK(none.target.sequences() == 0);
  const std::vector<ef::Index> first{0};
  CHECK(ef::testing::message_of([&] { ef::translation_batch(none, first); }).starts_with("translation_batch: "));
}

TEST_CASE("batches of encoded pairs have labels if the pairs have links", "[text]") {
  const std::vector<std::vector<ef::Token>> sources{{3, 4, 5, 6}, {3, 4}, {5, 6}}, targets{{7, 8, 9}, {7}, {8}};
  ef::EncodedPairs pairs{ef::Tokens::of(sources), ef::Tokens::of(targets)};
  const std::vector<ef::Index> chosen{2, 0};
  const ef::TranslationBatch plain = ef::translation_batch(pairs, chosen);
  const ef::TranslationBatch expected = ef::translation_batch(sources, targets, chosen);
  CHECK(pairs.size() == 3);
  CHECK((plain.source.ids == expected.source.ids && plain.target.ids == expected.target.ids));
  CHECK((plain.next == expected.next && plain.alignment.empty()));

  pairs.alignments.add(ef::parse_alignment("0-0 1-2 3-2"), 4, 3, "a");
  pairs.alignments.add({}, 2, 1, "b");
  CHECK(ef::testing::message_of([&] { ef::translation_batch(pairs, chosen); }) ==
        "translation_batch: 3 pairs, links of 2");
  pairs.alignments.add(ef::parse_alignment("1-0"), 2, 1, "c");
  const ef::TranslationBatch linked = ef::translation_batch(pairs, chosen);
  CHECK((linked.source.ids == expected.source.ids && linked.next == expected.next));
  // Rows 0 and 1 are pair 2 (its token, its end), and 2 to 5 are pair 0.
  CHECK(linked.alignment == std::vector<ef::AlignmentLabel>{{0, 1, 1}, {2, 0, 1}, {4, 1, 0.5}, {4, 3, 0.5}});
}
