// Exchanges encoded pairs between ranks. Each rank encodes its share of a buffer and receives the other shares.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "eigenformer/text/encoded_pairs.hpp"
#include "eigenformer/train/ranks.hpp"
#include "eigenformer/train/sum_tree.hpp"

namespace eigenformer::inline EIGENFORMER_ABI {

namespace detail {

inline void append_number(std::vector<std::byte>& bytes, std::int32_t number) {
  const std::span<const std::byte> added = std::as_bytes(std::span(&number, 1));
  bytes.insert(bytes.end(), added.begin(), added.end());
}

/// Removes and returns the first number.
inline std::int32_t next_number(std::span<const std::byte>& bytes) {
  std::int32_t number = 0;
  std::memcpy(&number, bytes.data(), sizeof(number));
  bytes = bytes.subspan(sizeof(number));
  return number;
}

/// Appends the number of pairs, whether they have links, and the sentences and links of each pair. Each list begins
/// with its length.
inline void append_pairs(std::vector<std::byte>& bytes, const EncodedPairs& pairs) {
  append_number(bytes, static_cast<std::int32_t>(pairs.size()));
  append_number(bytes, pairs.alignments.empty() ? 0 : 1);
  for (Index pair = 0; pair < pairs.size(); ++pair) {
    for (const Tokens* side : {&pairs.source, &pairs.target}) {
      const std::span<const Token> tokens = (*side)[pair];
      append_number(bytes, static_cast<std::int32_t>(tokens.size()));
      bytes.insert(bytes.end(), std::as_bytes(tokens).begin(), std::as_bytes(tokens).end());
    }
    if (pairs.alignments.empty()) continue;
    append_number(bytes, static_cast<std::int32_t>(pairs.alignments[pair].size()));
    for (const StoredAlignments::Link& link : pairs.alignments[pair]) {
      append_number(bytes, link.source);
      append_number(bytes, link.target);
    }
  }
}

/// Removes and returns what append_pairs() has appended.
inline EncodedPairs next_pairs(std::span<const std::byte>& bytes) {
  EncodedPairs pairs;
  const std::int32_t count = next_number(bytes);
  const bool has_links = next_number(bytes) != 0;
  std::vector<Index> source_rows{0}, target_rows{0};
  const auto append_sentence = [&](Tokens& side, std::vector<Index>& rows) {
    for (std::int32_t left = next_number(bytes); left > 0; --left) side.ids.push_back(next_number(bytes));
    rows.push_back(static_cast<Index>(side.ids.size()));
    return rows.back() - rows[rows.size() - 2];
  };
  for (std::int32_t pair = 0; pair < count; ++pair) {
    const Index source_tokens = append_sentence(pairs.source, source_rows);
    const Index target_tokens = append_sentence(pairs.target, target_rows);
    if (!has_links) continue;
    WordAlignment links;
    for (std::int32_t left = next_number(bytes); left > 0; --left) {
      const Index source = next_number(bytes);
      links.insert({source, next_number(bytes)});
    }
    pairs.alignments.add(links, source_tokens, target_tokens, "all_gather_pairs");
  }
  pairs.source.rows = RowOffsets(std::move(source_rows));
  pairs.target.rows = RowOffsets(std::move(target_rows));
  return pairs;
}

/// Sends this rank's parts to all ranks and receives theirs. division: says which rank has which parts.
inline void all_gather_pairs(Ranks& ranks, const LeafDivision& division, std::span<EncodedPairs> parts) {
  std::vector<std::byte> own;
  for (Index i = division.begin(ranks.rank()); i < division.end(ranks.rank()); ++i)
    append_pairs(own, parts[static_cast<std::size_t>(i)]);
  std::vector<Index> begins(static_cast<std::size_t>(ranks.size()) + 1, 0);
  begins[static_cast<std::size_t>(ranks.rank()) + 1] = static_cast<Index>(own.size());
  all_gather(ranks, std::span(begins).subspan(1), [](Index rank) { return rank; });
  for (std::size_t rank = 1; rank < begins.size(); ++rank) begins[rank] += begins[rank - 1];
  std::vector<std::byte> all(static_cast<std::size_t>(begins.back()));
  std::copy(own.begin(), own.end(), all.begin() + begins[static_cast<std::size_t>(ranks.rank())]);
  all_gather(ranks, std::span(all), [&](Index rank) { return begins[static_cast<std::size_t>(rank)]; });
  std::span<const std::byte> left = all;
  for (Index i = 0; i < division.leaves; ++i) {
    EncodedPairs part = next_pairs(left);
    if (division.rank_of(i) != ranks.rank()) parts[static_cast<std::size_t>(i)] = std::move(part);
  }
}

}  // namespace detail

}  // namespace eigenformer::inline EIGENFORMER_ABI
