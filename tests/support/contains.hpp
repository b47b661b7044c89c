#pragma once

#include <string>

namespace eigenformer::testing {

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace eigenformer::testing
