// The loop over the keys of a sequence, a tile at a time, that all ways of attending share.
#pragma once

#include <algorithm>

#include "eigenformer/kernels/detail/attention/call.hpp"
#include "eigenformer/kernels/detail/attention/tile_reader.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Some neighbouring keys of a sequence and their values, in the view of the queries of `tile`.
template <class Scalar>
struct KeyTile {
  ScoreTile tile;
  Visible seen;  // by the head that sees least of it
  Strided<Scalar> keys, values;

  Index size() const { return tile.key_end - tile.key_begin; }
  /// The part of the tile with the keys from `begin` to `end` of the sequence.
  KeyTile part(Index begin, Index end) const {
    KeyTile some = *this;
    some.tile.key_begin = begin;
    some.tile.key_end = end;
    some.keys = keys.from_row(begin - tile.key_begin);
    some.values = values.from_row(begin - tile.key_begin);
    return some;
  }
};

/// How the keys of a sequence are cut into tiles.
struct KeyTileSizes {
  Index keys;                  // of a tile
  Index partly_hidden;         // of a tile that some head sees a part of; at most `keys`
  Index heads = 1;             // query heads that read the tile together, from the tile's own on
  bool whole_packets = false;  // rows of keys and values are filled up to whole packets
};

/// What several heads see of a tile: who sees most of it, and who sees least.
struct SeenByHeads {
  Visible most = Visible::none, least = Visible::all;
};
/// Asks for `heads` heads from tile.head on.
template <Score S>
SeenByHeads seen_by_heads(const S& score, ScoreTile tile, Index heads) {
  SeenByHeads seen;
  for (const Index end = tile.head + heads; tile.head < end; ++tile.head) {
    const Visible of_head = score.visible(tile);
    seen.most = std::max<Visible>(seen.most, of_head);
    seen.least = std::min<Visible>(seen.least, of_head);
  }
  return seen;
}

/// Calls body(KeyTile) for each tile of keys that a query of `tile` may see, in order. Returns whether any key of these
/// tiles may be hidden from any query: by a mask, or by a change of values to minus infinity.
template <class Scalar, class Stored, Score S, class Body>
bool for_each_key_tile(const AttentionCall<Scalar, Stored, S>& call, ScoreTile tile, const KeyTileSizes& sizes,
                       Body body) {
  TileReader<Scalar> k_reader, v_reader;
  const Index key_head = call.layout.key_head(tile.head);
  const auto read = [&](TileReader<Scalar>& reader, const HeadRows<const Stored>& rows) {
    return sizes.whole_packets ? reader.read_packets(rows, call.layout, key_head, tile)
                               : reader.read(rows, call.layout, key_head, tile);
  };
  bool hides = ScoreTraits<S>::changes_values;
  for (tile.key_begin = 0; tile.key_begin < tile.keys; tile.key_begin = tile.key_end) {
    tile.key_end = std::min<Index>(tile.keys, tile.key_begin + sizes.keys);
    SeenByHeads seen = seen_by_heads(call.score, tile, sizes.heads);
    if (seen.most == Visible::some && sizes.partly_hidden < sizes.keys) {  // hidden keys should not be read
      tile.key_end = std::min<Index>(tile.key_end, tile.key_begin + sizes.partly_hidden);
      seen = seen_by_heads(call.score, tile, sizes.heads);
    }
    if (seen.most == Visible::none) continue;
    hides = hides || seen.least != Visible::all;
    body(KeyTile<Scalar>{tile, seen.least, read(k_reader, call.rows.k), read(v_reader, call.rows.v)});
  }
  return hides;
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
