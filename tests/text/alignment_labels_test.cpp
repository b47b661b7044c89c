#include "eigenformer/text/alignment_labels.hpp"

#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ef = eigenformer;
using ef::testing::message_of;

namespace {

ef::StoredAlignments three_alignments() {
  ef::StoredAlignments links;
  links.add(ef::parse_alignment("0-0 1-2 3-2"), 4, 3, "a");
  links.add({}, 2, 1, "b");
  links.add(ef::parse_alignment("1-0"), 2, 1, "c");
  return links;
}

ef::TranslationBatch batch_of(const std::vector<ef::Index>& chosen) {
  const std::vector<std::vector<ef::Token>> sources{{3, 4, 5, 6}, {3, 4}, {5, 6}}, targets{{7, 8, 9}, {7}, {8}};
  return ef::translation_batch(sources, targets, chosen);
}

}  // namespace

TEST_CASE("links of a corpus are kept pair by pair", "[text]") {
  const ef::StoredAlignments links = three_alignments();
  REQUIRE(links.size() == 3);
  CHECK(ef::StoredAlignments().empty());
  REQUIRE(links[0].size() == 3);
  CHECK((links[0][2].source == 3 && links[0][2].target == 2));
  CHECK(links[1].empty());
  REQUIRE(links[2].size() == 1);
  CHECK((links[2][0].source == 1 && links[2][0].target == 0));
}

TEST_CASE("alignments of parts are joined", "[text]") {
  const ef::StoredAlignments part = three_alignments();
  ef::StoredAlignments whole;
  whole.reserve(2 * part.size(), 2 * part.links());
  whole.add(part);
  whole.add(ef::StoredAlignments());
  whole.add(ef::parse_alignment("2-1"), 3, 2, "between");
  whole.add(part);
  REQUIRE(whole.size() == 7);
  CHECK(part.links() == 4);
  CHECK(whole.links() == 9);
  CHECK((whole[3].size() == 1 && whole[3][0].source == 2 && whole[3][0].target == 1));
  for (ef::Index pair = 0; pair < 7; ++pair) {
    if (pair == 3) continue;
    const auto found = whole[pair], expected = part[pair < 3 ? pair : pair - 4];
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i)
      CHECK((found[i].source == expected[i].source && found[i].target == expected[i].target));
  }
  whole.add(whole);
  CHECK((whole.size() == 14 && whole.links() == 18 && whole[13].size() == 1 && whole[13][0].source == 1));
}

TEST_CASE("a link's label is in the row that predicts its target token", "[text]") {
  const std::vector<ef::Index> chosen{2, 1, 0};
  const ef::TranslationBatch batch = batch_of(chosen);
  const std::vector<ef::AlignmentLabel> labels = ef::alignment_labels(three_alignments(), chosen, batch);
  // Rows 0 and 1 are pair 2 (its token, its end), 2 and 3 are pair 1, and 4 to 7 are pair 0.
  CHECK(labels == std::vector<ef::AlignmentLabel>{{0, 1, 1}, {4, 0, 1}, {6, 1, 0.5}, {6, 3, 0.5}});
  CHECK((batch.next[0] == 8 && batch.next[4] == 7 && batch.next[6] == 9));
  CHECK(ef::alignment_labels(three_alignments(), std::vector<ef::Index>{1}, batch_of({1})).empty());
}

TEST_CASE("links that leave their pair are refused", "[text]") {
  ef::StoredAlignments links;
  const auto message = [&](const char* line) {
    return message_of([&] { links.add(ef::parse_alignment(line), 2, 3, "links.txt:7"); });
  };
  CHECK(message("0-0 2-1") ==
        "links.txt:7: the link 2-1 leaves the pair, which has 2 source tokens and 3 target tokens; they count from 0");
  CHECK(message("1-3").starts_with("links.txt:7: the link 1-3 leaves the pair"));
  CHECK_NOTHROW(links.add(ef::parse_alignment("1-2"), 2, 3, "links.txt:7"));
  const std::vector<ef::Index> other{1}, both{0, 1}, missing{3};
  CHECK(message_of([&] { ef::alignment_labels(three_alignments(), std::vector<ef::Index>{0}, batch_of(other)); }) ==
        "alignment_labels: pair 0 has the link 1-2, but in the batch it has 2 source tokens and 1 target tokens");
  CHECK(message_of([&] { ef::alignment_labels(three_alignments(), both, batch_of(other)); }) ==
        "alignment_labels: 2 pairs are chosen, the batch has 1 sources and 1 targets");
  CHECK(message_of([&] { ef::alignment_labels(three_alignments(), missing, batch_of(other)); }) ==
        "alignment_labels: there is no pair 3, only 0 to 2");
}
