// Text of files in messages.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "eigenformer/core/config.hpp"

namespace eigenformer::inline EIGENFORMER_ABI::detail {

/// Returns text of a file for a message: at most `size` bytes, and without bytes that are not printable. A file may
/// come from anyone, and a terminal would obey its control characters.
inline std::string printable(std::string_view text, std::size_t size = 60) {
  std::string shown(text.substr(0, size));
  for (char& c : shown)
    if (c < ' ' || c > '~') c = '?';
  return text.size() > shown.size() ? shown + ".." : shown;
}
/// Returns the name of a tensor in a file for a message. Names of parameters are longer than other texts.
inline std::string printable_name(std::string_view name) {
  return printable(name, 200);
}

}  // namespace eigenformer::inline EIGENFORMER_ABI::detail
