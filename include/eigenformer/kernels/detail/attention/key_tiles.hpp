// The loop over the keys of a sequence, tile by tile. All query paths share it.
#pragma once

#include <algorithm>
#include <type_traits>

#include "eigenformer/core/function_ref.hpp"
#include "eigenformer/kernels/detail/attention/call.hpp"
#include "eigenformer/kernels/detail/attention/tile_reader.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Consecutive keys of a sequence and their values, as read by the queries of `tile`.
template <class Scalar>
struct KeyTile {
  ScoreTile tile;
  Visible seen;  // by the head that sees least
  Strided<Scalar> keys, values;
  const Index* numbers = nullptr;  // of the rows of keys and values; null: they follow one another

  Index size() const { return tile.key_end - tile.key_begin; }
  /// Returns the part of the tile with the keys [begin, end) of the sequence.
  KeyTile part(Index begin, Index end) const {
    KeyTile some = *this;
    some.tile.key_begin = begin;
    some.tile.key_end = end;
    some.keys = keys.from_row(begin - tile.key_begin);
    some.values = values.from_row(begin - tile.key_begin);
    return some;
  }
};

/// How the keys of a sequence are split into tiles.
struct KeyTileSizes {
  Index keys;                  // per tile
  Index partly_hidden;         // per tile that no head sees in full; at most `keys`
  Index heads = 1;             // query heads that read a tile together, from tile.head on
  bool whole_packets = false;  // whether rows of keys and values are padded to whole packets
  bool by_number = false;      // whether rows may lie apart; then `keys` is at most max_numbers, without parts

  static constexpr Index max_numbers = 512;
};

/// A reference to seen_by_heads of a score: takes the tile and the number of heads.
using SeenByHeadsRef = FunctionRef<SeenByHeads(const ScoreTile&, Index)>;

/// Calls `body`, in order, for each tile of keys that a query of `tile` may see. Returns whether any key of these tiles
/// is hidden from any query. `seen_by` and `body` are references, so that this is compiled once for all scores and
/// query paths.
template <class Scalar, class Stored>
bool for_each_key_tile(const AttentionLayout& layout, const AttentionRows<Scalar, Stored>& rows, SeenByHeadsRef seen_by,
                       ScoreTile tile, const KeyTileSizes& sizes,
                       std::type_identity_t<FunctionRef<void(const KeyTile<Scalar>&)>> body) {
  TileReader<Scalar> k_reader, v_reader;
  const Index key_head = layout.key_head(tile.head);
  const auto read = [&](TileReader<Scalar>& reader, const HeadRows<const Stored>& from) {
    return sizes.whole_packets ? reader.read_packets(from, layout, key_head, tile)
                               : reader.read(from, layout, key_head, tile);
  };
  const auto read_rows = [&](const HeadRows<const Scalar>& from) { return from.of(tile.sequence).from(key_head, 0); };
  const bool by_number =
      sizes.by_number && TileReader<Scalar>::has_packets(rows.k) && TileReader<Scalar>::has_packets(rows.v);
  Index numbers[KeyTileSizes::max_numbers];
  bool hides = false;
  for (tile.key_begin = 0; tile.key_begin < tile.keys; tile.key_begin = tile.key_end) {
    tile.key_end = std::min<Index>(tile.keys, tile.key_begin + sizes.keys);
    SeenByHeads seen = seen_by(tile, sizes.heads);
    if (seen.most == Visible::some && sizes.partly_hidden < sizes.keys) {  // a smaller tile has fewer hidden keys
      tile.key_end = std::min<Index>(tile.key_end, tile.key_begin + sizes.partly_hidden);
      seen = seen_by(tile, sizes.heads);
    }
    if (seen.most == Visible::none) continue;
    hides = hides || seen.least != Visible::all;
    if constexpr (std::is_same_v<Stored, Scalar>)
      if (by_number && !layout.has_adjacent_rows(tile.sequence, tile.key_begin, tile.key_end)) {
        KeyRowCursor key(layout, tile.sequence, tile.key_begin);
        for (Index i = 0; i < tile.key_end - tile.key_begin; ++i, key.advance()) numbers[i] = key.row();
        body(KeyTile<Scalar>{tile, seen.least, read_rows(rows.k), read_rows(rows.v), numbers});
        continue;
      }
    body(KeyTile<Scalar>{tile, seen.least, read(k_reader, rows.k), read(v_reader, rows.v)});
  }
  return hides;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
