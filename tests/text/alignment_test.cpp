#include "eigenformer/text/alignment.hpp"

#include <cmath>
#include <fstream>

#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/temporary_folder.hpp"

namespace ef = eigenformer;
using ef::WordAlignment;
using ef::testing::message_of;
using Alignments = std::vector<WordAlignment>;

namespace {

bool nearly(double a, double b) {
  return std::abs(a - b) < 1e-15;
}

}  // namespace

TEST_CASE("alignments in Pharaoh's format are read and written", "[text]") {
  CHECK(ef::parse_alignment("0-0 1-2") == WordAlignment{{0, 0}, {1, 2}});
  CHECK(ef::parse_alignment("  10-2\t1-2 1-2 007-0 \r") == WordAlignment{{1, 2}, {7, 0}, {10, 2}});
  CHECK(ef::parse_alignment("").empty());
  CHECK(ef::to_string(WordAlignment{}).empty());
  CHECK(ef::to_string(WordAlignment{{10, 0}, {2, 3}, {2, 1}}) == "2-1 2-3 10-0");
  CHECK(ef::to_string(ef::parse_alignment("4-0 0-4")) == "0-4 4-0");
}

TEST_CASE("what is not in Pharaoh's format is refused, and found", "[text]") {
  for (const std::string bad : {"1", "1-", "-1", "1_2", "-1-2", "1--2", "1-2-3", "1-x", "+1-2", "1-2,", "1-+2", "a-b",
                                "99999999999999999999-0", "-"}) {
    CAPTURE(bad);
    CHECK(message_of([&] { ef::parse_alignment("0-0 " + bad); }) ==
          "parse_alignment: expected links as in 0-0 1-2, given \"" + bad + "\" at byte 4");
  }
  CHECK(message_of([] { ef::parse_alignment("\xff", "links.txt:7"); }) == "links.txt:7: invalid UTF-8 at byte 0");
  const ef::testing::TemporaryFolder folder;
  const auto read = [&](const std::string& bytes) {
    std::ofstream(folder / "links", std::ios::binary) << bytes;
    return ef::read_alignments(folder / "links");
  };
  CHECK(read("0-0 1-1\r\n\n2-1\n") == Alignments{{{0, 0}, {1, 1}}, {}, {{2, 1}}});
  const std::string file = ef::path_text(folder / "links");
  CHECK(message_of([&] { read("0-0\n\n1-0 1:1\n"); }) ==
        file + ":3: expected links as in 0-0 1-2, given \"1:1\" at byte 4");
  CHECK(message_of([&] { read(""); }) == file + ": has no lines");
}

TEST_CASE("the alignment error rate, computed by hand", "[text]") {
  const auto parse = [](const std::vector<std::string>& lines) {
    Alignments alignments;
    for (const std::string& line : lines) alignments.push_back(ef::parse_alignment(line));
    return alignments;
  };
  // |A| = 3, |S| = 2; of A, 0-0 is sure, 0-0 and 1-2 are possible: 1 - (1 + 2) / 5.
  const Alignments a = parse({"0-0 1-2 2-2"}), sure = parse({"0-0 1-1"}), possible = parse({"0-0 1-1 1-2 3-3"});
  CHECK(nearly(ef::alignment_error_rate(a, sure, possible), 0.4));
  // All links sure: precision 1/3, recall 1/2, F1 = 0.4.
  CHECK(nearly(ef::alignment_error_rate(a, sure), 0.6));
  // All that is sure and nothing that is not possible is perfect, with any number of the possible.
  CHECK(ef::alignment_error_rate(possible, sure, possible) == 0);
  CHECK(ef::alignment_error_rate(sure, sure, possible) == 0);
  CHECK(ef::alignment_error_rate(parse({"5-5"}), sure, possible) == 1);
  CHECK(ef::alignment_error_rate(parse({""}), sure, possible) == 1);
  // Over two sentences: |A| = 3 + 1, |S| = 2 + 2, found 1 + 2 and 1 + 1. The mean of 0.4 and 1/3 would be another.
  CHECK(nearly(ef::alignment_error_rate(parse({"0-0 1-2 2-2", "1-0"}), parse({"0-0 1-1", "0-1 1-0"}),
                                        parse({"0-0 1-1 1-2 3-3", "0-1 1-0"})),
               1 - 5.0 / 8));
  // A sentence without links counts for nothing.
  CHECK(nearly(ef::alignment_error_rate(parse({"", "0-0 1-2 2-2"}), parse({"", "0-0 1-1"})), 0.6));

  CHECK(message_of([&] {
          ef::alignment_error_rate(parse({"", ""}), sure, possible);
        }) == "alignment_error_rate: alignments of 2 sentences, sure links of 1, possible links of 1");
  CHECK(message_of([&] {
          ef::alignment_error_rate(parse({"", ""}), parse({"", "1-2"}), parse({"", "1-1"}));
        }) == "alignment_error_rate: sentence 1: the sure link 1-2 is not among the possible");
  CHECK(message_of([&] { ef::alignment_error_rate(parse({""}), parse({""}), possible); }) ==
        "alignment_error_rate: there are no links");
  CHECK(message_of([&] { ef::alignment_error_rate({}, {}); }) == "alignment_error_rate: there are no links");
}

TEST_CASE("the best links are those of the largest weights, the first of equal ones", "[text]") {
  const ef::Matrix<float> weights{{0.2F, 0.5F, 0.3F}, {0.4F, 0.2F, 0.4F}, {0, 0, 1}, {0.1F, 0.45F, 0.45F}};
  CHECK(ef::best_links(weights) == WordAlignment{{1, 0}, {0, 1}, {2, 2}, {1, 3}});
  const Eigen::MatrixXd by_columns = weights.cast<double>();
  CHECK(ef::best_links(by_columns) == ef::best_links(weights));
  CHECK(ef::best_links(weights.block(1, 1, 2, 2) * 2) == WordAlignment{{1, 0}, {1, 1}});
  CHECK(ef::best_links(weights * ef::Matrix<float>::Identity(3, 3)) == ef::best_links(weights));
  CHECK(ef::best_links(ef::Matrix<float>(0, 3)).empty());
  CHECK(ef::best_links(ef::Matrix<float>(3, 0)).empty());
}
